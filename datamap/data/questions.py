"""Types of questions and of hypotheses, and how a model learns each of them.

Types are read off the words of a text by fixed rules; no model, no list of a data set's own templates, and
a misspelt word is not guessed. Functions take text or frames and return new ones; they open no files.
"""

import functools
import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import dropwhile

import pandas as pd

QUESTION_TYPES = ("who", "what", "which", "when", "where", "why", "how", "how many/much", "yes/no", "other")
NEGATION_GROUPS = ("negation", "no negation")
LENGTH_GROUPS = ("0-5 words", "6-10 words", "11-15 words", "16 or more words")
LENGTH_LIMITS = (5, 10, 15)


# Groups are listed in these orders; those of any other grouping in the order of their first row.
GROUP_ORDERS = {"question_type": QUESTION_TYPES, "negation": NEGATION_GROUPS, "hypothesis_length": LENGTH_GROUPS}

_APOSTROPHES = str.maketrans("‘’ʼ＇", "''''")
# Four letters before a full stop, so that "Mr." and "St." end no sentence.
_SENTENCE_END = re.compile(r"(?<=[:;?!])\s+|(?<=[^\W_]{4}\.)\s+(?=[A-Z])")
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*|,")
_NEGATION = re.compile(
    r"\b(?:not|no|never|nobody|none|nothing|nowhere|neither|nor|without|cannot)\b|\wn't\b", re.IGNORECASE
)

_ASKING = {word: word for word in ("who", "what", "which", "when", "where", "why", "how")}
_ASKING |= {"whom": "who", "whose": "who"}
# Inside a sentence these seldom begin a relative clause ("the man who ...", "when he was ill").
_SURELY_ASKING = {"what", "why", "how", "how many/much"}


def _word_set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_POSITIVE = _word_set("is are was were do does did has have had can could will would should may might must")
_AUXILIARIES = _POSITIVE | {f"{word}n't" for word in _POSITIVE} | _word_set("am shall can't won't shan't ain't cannot")
# An auxiliary inside a sentence asks when its subject follows.
_SUBJECTS = _word_set("the a an this that these those there he she it they we you his her its their any patient")

# What may stand before a question's opening word: the first before any, all of them before a question word.
_FILLERS = _word_set("and but so then or also well please")
_REQUESTS = _word_set("cite compare define describe explain give identify list mention name provide state tell me")
_INTRODUCTIONS = _word_set(
    """
    about above according across after against along although among approximately around as aside assuming at
    based because before behind below beside besides between beyond but by compared concerning considering despite
    due during except exactly excluding following for from given if in including inside into like near of on once
    other out outside over per prior regarding roughly since than though through throughout to toward towards under
    unless unlike until up upon using via when where while whereas whenever with within without
    """
)
N_KEPT = 2**18  # questions, so that a script that asks twice looks once
_OPENERS = (_REQUESTS | _INTRODUCTIONS) - _ASKING.keys()


@functools.lru_cache(maxsize=N_KEPT)
def question_type(question: str) -> str:
    """The one of QUESTION_TYPES that the words of a question ask for; "other" where none does.

    By word, not by the kind of answer: "What time" and "What year" are what, "How long" is how, "What is the
    number of" is what; whom and whose are who. "yes/no" is a question that opens with an auxiliary or modal
    verb, whatever stands further inside ("Did he stop when he was ill?", "Do you know who came?"). Case, quotes and
    other marks do not matter, except that "WHO" inside a sentence is the organisation. Of several sentences the
    first one that asks counts. In a sentence, in this order:

    1. its opening word, after prepositions and the like ("To whom", "By about how many"). A leading "When he was
       admitted, ..." gives way to a question word or auxiliary behind its comma;
    2. after an introduction ("According to the note, ..."), the opening word behind a comma;
    3. what, why or how anywhere ("The patient takes what?"); else who, which, when or where as the last word or
       after a preposition; else an auxiliary before its subject ("..., is he?"); else, where the sentence has a
       question mark, the first of who, which, when and where. A request ("Name the drug which ...") asks none of
       these four unless its own object begins with one ("State where ...").
    """
    sentences = _SENTENCE_END.split(question.translate(_APOSTROPHES))
    types = (_sentence_type(_words(sentence), "?" in sentence) for sentence in sentences)
    return next((found for found in types if found != "other"), "other")


def _words(sentence: str) -> list[str]:
    """Lower-case words and the commas between them, contractions of question words resolved."""
    words = list(dropwhile(",".__eq__, _WORD.findall(sentence)))
    if sentence != sentence.upper():
        words = words[:1] + [word for word in words[1:] if word != "WHO"]
    words = [word.lower() for word in words]
    return [word.split("'")[0] if word.split("'")[0] in _ASKING else word for word in words]


def _sentence_type(words: list[str], has_question_mark: bool) -> str:
    opening, place = _asked_at(words, 0)
    behind_commas = [_asked_at(words, comma + 1)[0] for comma, word in enumerate(words) if word == ","]
    found_behind = next((found for found in behind_commas if found), None)
    if opening:
        return found_behind if found_behind and _is_subordinate(words, place) else opening
    is_introduced = bool(words) and (words[0] in _INTRODUCTIONS or words[0].endswith("ly"))
    if is_introduced and found_behind:
        return found_behind
    return _inner_type(words, is_introduced, has_question_mark)


def _asked_at(words: list[str], start: int) -> tuple[str | None, int]:
    """(type of the question that opens at `start`, place of the word that says so); (None, place) if none does."""
    place = start
    while place < len(words) and words[place] in _FILLERS:
        place += 1
    if _is_auxiliary(words, place):
        return "yes/no", place
    while place < len(words) and words[place] in _OPENERS:
        place += 1
    return _asking_type(words, place), place


def _asking_type(words: list[str], place: int) -> str | None:
    """The type of the question word at `place`, None where there is none."""
    if words[place : place + 1] == ["how"] and words[place + 1 : place + 2] in (["many"], ["much"]):
        return "how many/much"
    return _ASKING.get(words[place]) if place < len(words) else None


def _is_auxiliary(words: list[str], place: int) -> bool:
    """Whether an auxiliary stands at `place`; the month May before a number is none."""
    if place >= len(words) or words[place] not in _AUXILIARIES:
        return False
    return not (words[place] == "may" and "".join(words[place + 1 : place + 2])[:1].isdigit())


def _is_subordinate(words: list[str], place: int) -> bool:
    """Whether the question word at `place` begins a clause of time or place rather than a question."""
    follower = words[place + 1]
    return words[place] in ("when", "where") and follower != "," and not _is_auxiliary(words, place + 1)


def _inner_type(words: list[str], is_introduced: bool, has_question_mark: bool) -> str:
    """The type of a sentence that does not open with a question (step 3 of `question_type`)."""
    asking = [(place, found) for place in range(len(words)) if (found := _asking_type(words, place))]
    sure = [found for _, found in asking if found in _SURELY_ASKING]
    is_request = bool(words) and words[0] in _REQUESTS
    placed = [found for place, found in asking if place == len(words) - 1 or words[place - 1] in _INTRODUCTIONS]
    if sure or (placed and not is_request):
        return (sure or placed)[0]
    introduced_until = asking[0][0] if asking else len(words)
    if any(_asks_its_subject(words, place, is_introduced and place < introduced_until) for place in range(len(words))):
        return "yes/no"
    return asking[0][1] if asking and has_question_mark and not is_request else "other"


def _asks_its_subject(words: list[str], place: int, is_introduced: bool) -> bool:
    """Whether an auxiliary stands before its subject, as an introduction or a comma before it allows."""
    is_placed = is_introduced or words[place - 1] == ","
    return is_placed and _is_auxiliary(words, place) and not _SUBJECTS.isdisjoint(words[place + 1 : place + 2])


def negated(hypothesis: str) -> bool:
    """Whether a negation word stands in the text: not, n't, no, never, nobody, no one, none, nothing, nowhere,
    neither, nor, without, cannot; whole words, any case, either apostrophe ("note" and "know" are none).

    Source: Gururangan et al. 2018 (arXiv 1803.02324) found negation words in the hypothesis to give away
    contradiction in SNLI; the words they name are nobody, no, never and nothing.
    """
    return _NEGATION.search(hypothesis.translate(_APOSTROPHES)) is not None


def length_group(hypothesis: str) -> str:
    """The one of LENGTH_GROUPS that the number of white-space words falls into; an empty text has 0 words.

    Source: Gururangan et al. 2018 (arXiv 1803.02324): in SNLI long hypotheses tend to be neutral, short ones
    entailed.
    """
    return LENGTH_GROUPS[bisect_left(LENGTH_LIMITS, len(hypothesis.split()))]


def groupings(frame: pd.DataFrame, label_names: Sequence[str]) -> dict[str, list[str]]:
    """The group of every row, by the name of the grouping; each list has the length and the order of `frame`.

    A canonical QA frame (it has the column question) gives question_type; a canonical NLI frame gives gold_label
    (the names of its labels, int indices into `label_names`), negation and hypothesis_length. `label_names` is not
    read for QA.
    """
    if "question" in frame:
        return {"question_type": [question_type(text) for text in frame["question"]]}
    hypotheses = frame["hypothesis"].tolist()
    return {
        "gold_label": [label_names[label] for label in frame["label"]],
        "negation": [NEGATION_GROUPS[0 if negated(text) else 1] for text in hypotheses],
        "hypothesis_length": [length_group(text) for text in hypotheses],
    }
