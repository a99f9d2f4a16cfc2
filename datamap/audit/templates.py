"""Wordings that questions were filled from: what is left of a question without what it takes from its context."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

SLOT = "_"
LEAST_WORDS = 2
WORDING_SHARE = 0.01  # of all questions that have a word, where it may belong to their wording


def _word_set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_MONTHS = _word_set(
    """
    january february march april june july august september october november december jan feb mar apr jun jul aug sep
    sept oct nov dec monday tuesday wednesday thursday friday saturday sunday
    """
)
# Words of English grammar, which a question does not take from its context even where both have them.
_GRAMMAR = _word_set(
    """
    a an the this that these those and or but nor if than then so as of at by for from in into on onto off out over
    under up down to toward towards with within without about above across after against along among around before
    behind below beneath beside between beyond during except near per since through throughout till until upon via
    is are was were be been being am do does did done doing has have had having can could will would shall should may
    might must not no any some all both each every either neither such only own same other another there here
    i me my mine we us our ours you your yours he him his she her hers it its they them their theirs
    who whom whose what which when where why how many much more most few less least very too also just ever never
    s t d m re ve ll don doesn didn isn aren wasn weren hasn haven hadn won wouldn shouldn couldn
    """
)


def wordings(questions: Sequence[str], contexts: Sequence[str], context_of: np.ndarray) -> list[str]:
    """The wording of every question, "" where fewer than two words are left.

    In the question's normalised words, each word that its context has too is a slot, unless it is one of English
    grammar or at least 1% of all questions have it and most of those do not share it with their context (then it
    belongs to the wording, and a context has it by chance); so is a word with a digit and the name of a month or day.
    Slots that follow each other are one, `_`.

    Args:
        questions: normalised.
        contexts: normalised, distinct.
        context_of: the number of each question's context, int64 [n].
    """
    shared: list[frozenset[str]] = [frozenset()] * len(questions)
    current, words = -1, frozenset[str]()
    for row in np.argsort(context_of, kind="stable"):
        if context_of[row] != current:
            current = context_of[row]
            words = frozenset(contexts[current].split())
        shared[row] = words.intersection(questions[row].split()) - _GRAMMAR
    n_asked = Counter(word for question in questions for word in set(question.split()))
    n_shared = Counter(word for some in shared for word in some)
    often = WORDING_SHARE * len(questions)
    taken = frozenset(word for word, count in n_shared.items() if n_asked[word] < often or 2 * count >= n_asked[word])
    return [wording(question, some & taken) for question, some in zip(questions, shared, strict=True)]


def wording(question: str, taken: frozenset[str]) -> str:
    """The wording of one normalised question, of whose words those in `taken` are slots."""
    kept: list[str] = []
    for word in question.split():
        if not (word in taken or word in _MONTHS or any(map(str.isdigit, word))):
            kept.append(word)
        elif not kept or kept[-1] != SLOT:
            kept.append(SLOT)
    return " ".join(kept) if len(kept) - kept.count(SLOT) >= LEAST_WORDS else ""
