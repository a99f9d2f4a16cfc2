"""Wrong answers for the built-in data set: four kinds of mistakes, each an exact slice of the same note."""

import random
import re
import string
from dataclasses import replace

from datamap.demo.notes import Note
from datamap.demo.questions import AMBIGUOUS, Question

KINDS = ("random span", "shifted boundary", "wrong entity", "swapped question")
_WORD = re.compile(r"\w+(?:[./-]\w+)*%?")
_MAX_WORDS = 5
_MAX_SHIFT = 3


def _plain(text: str) -> list[str]:
    """The words that count when answers are compared: lower case, no punctuation, no articles."""
    bare = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return [word for word in bare.split() if word not in ("a", "an", "the")]


def differs(text: str, other: str) -> bool:
    """Whether two answers count as different: case, punctuation and articles do not matter."""
    return _plain(text) != _plain(other)


def _words(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _WORD.finditer(text)]


def _random_spans(note: Note, question: Question) -> list[tuple[int, str]]:
    """Spans of one to five words that do not touch the answer and do not repeat it."""
    words = _words(note.text)
    gold_end = question.start + len(question.answer)
    spans = [(first[0], last[1]) for n, first in enumerate(words) for last in words[n : n + _MAX_WORDS]]
    apart = [(start, end) for start, end in spans if end <= question.start or start >= gold_end]
    texts = [(start, note.text[start:end]) for start, end in apart]
    return [(start, text) for start, text in texts if question.answer not in text]


def _shifted_spans(note: Note, question: Question) -> list[tuple[int, str]]:
    """The answer with its first or its last word moved by one to three words, still holding part of it."""
    words = _words(note.text)
    gold_end = question.start + len(question.answer)
    inside = [n for n, (start, end) in enumerate(words) if start < gold_end and end > question.start]
    first, last = inside[0], inside[-1]
    steps = [step for step in range(-_MAX_SHIFT, _MAX_SHIFT + 1) if step]
    bounds = [(first + step, last) for step in steps] + [(first, last + step) for step in steps]
    kept = [(low, high) for low, high in bounds if 0 <= low <= last and first <= high < len(words) and low <= high]
    return [(words[low][0], note.text[words[low][0] : words[high][1]]) for low, high in kept]


def _other_entities(note: Note, question: Question) -> list[tuple[int, str]]:
    """The other values of the answer's type."""
    return note.places(question.answer_type)


_SPANS = {"random span": _random_spans, "shifted boundary": _shifted_spans, "wrong entity": _other_entities}


def _misplaced(
    rng: random.Random, kind: str, notes: list[Note], questions: list[Question], rows: list[int], share: int
) -> dict[int, tuple[str, Question]]:
    """A wrong answer of the kind for the first `share` of the rows whose note offers one."""
    planted: dict[int, tuple[str, Question]] = {}
    for row in rows:
        if len(planted) == share:
            break
        question = questions[row]
        wrong = [place for place in _SPANS[kind](notes[row], question) if differs(place[1], question.answer)]
        if wrong:
            start, answer = rng.choice(wrong)
            planted[row] = kind, replace(question, start=start, answer=answer)
    return planted


def _swapped(
    notes: list[Note], questions: list[Question], rows: list[int], share: int
) -> dict[int, tuple[str, Question]]:
    """Pairs of rows of one note exchange their questions and keep their answers, `share` rows in all."""
    by_note: dict[str, list[int]] = {}
    for row in rows:
        by_note.setdefault(notes[row].text, []).append(row)
    pairs = [
        (one, other)
        for one, *others in by_note.values()
        for other in others
        if differs(questions[one].answer, questions[other].answer)
    ]
    first_pairs = list({one: (one, other) for one, other in reversed(pairs)}.values())[: share // 2]
    swapped = first_pairs + [(other, one) for one, other in first_pairs]
    return {one: ("swapped question", replace(questions[one], text=questions[other].text)) for one, other in swapped}


def plant(
    rng: random.Random, notes: list[Note], questions: list[Question], n_planted: int
) -> dict[int, tuple[str, Question]]:
    """Wrong answers for `n_planted` rows (a multiple of 8), a quarter of them of each of KINDS.

    notes and questions run parallel, one pair a row. Ambiguous questions are left alone, because another
    span may be right there too. Gives, by row number, the kind of mistake and the question as planted.
    """
    rows = [row for row, question in enumerate(questions) if question.kind not in AMBIGUOUS]
    rows = rng.sample(rows, len(rows))
    planted: dict[int, tuple[str, Question]] = {}
    for kind in _SPANS:
        free = [row for row in rows if row not in planted]
        planted |= _misplaced(rng, kind, notes, questions, free, n_planted // len(KINDS))
    free = [row for row in rows if row not in planted]
    return planted | _swapped(notes, questions, free, n_planted // len(KINDS))
