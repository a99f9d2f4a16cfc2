"""The built-in demo data set: questions about invented clinical notes, made on the spot, the same every time.

`make_demo("")` gives rows in the shape of emrQA-msquad; "v2" swaps a third of the questions for
unanswerable ones, "noisy" plants wrong answers in a tenth of the training rows, "nli" gives premise and
hypothesis. Training and validation use different notes, and partly different names and wordings.
"""

import random

from datamap import errors
from datamap.demo.nli import NLI_LABELS, statements
from datamap.demo.noise import plant
from datamap.demo.notes import SPLITS, Note
from datamap.demo.questions import Question, ask, ask_unanswerable
from datamap.demo.sections import write_note

__all__ = ["NLI_LABELS", "VARIANTS", "make_demo"]

VARIANTS = ("", "v2", "noisy", "nli")
_SEED = 20260101
_N_NOTES = {"train": 120, "validation": 50}
_QUESTIONS_PER_NOTE = 6
_UNANSWERABLE_PER_NOTE = 2  # of these
# Sections after opening and drugs: short notes are quick to train on; an NLI row shows a sentence or two in any case.
_FURTHER_SECTIONS = (0, 0, 1)  # one entry is drawn
_FURTHER_SECTIONS_NLI = 2


def _row(note: Note, question: Question) -> dict:
    """A row in emrQA-msquad's shape; answer_end is just past the answer, and no answer is empty lists."""
    texts = [question.answer] if question.answer else []
    return {
        "context": note.text,
        "question": question.text,
        "answers": {
            "text": texts,
            "answer_start": [question.start for _ in texts],
            "answer_end": [question.start + len(text) for text in texts],
        },
    }


def _asked_notes(split: str) -> list[tuple[Note, list[Question]]]:
    """The notes of a split, each with its answerable questions."""
    rng = random.Random(_SEED + SPLITS.index(split))
    pairs = []
    for _ in range(_N_NOTES[split]):
        note = write_note(rng, split, rng.choice(_FURTHER_SECTIONS))
        pairs.append((note, ask(note, _QUESTIONS_PER_NOTE)))
    return pairs


def _default_rows(split: str) -> list[dict]:
    return [_row(note, question) for note, questions in _asked_notes(split) for question in questions]


def _v2_rows(split: str) -> list[dict]:
    """The default rows, a third of them replaced by questions that their note does not answer."""
    rows = []
    for note, questions in _asked_notes(split):
        unanswerable = ask_unanswerable(note, _UNANSWERABLE_PER_NOTE)
        kept = questions[len(unanswerable) :] + unanswerable
        rows += [_row(note, question) for question in note.rng.sample(kept, len(kept))]
    return rows


def _noisy_rows(split: str) -> list[dict]:
    """The default rows in their order with a column `planted`; a tenth of the training rows is wrong."""
    pairs = [(note, question) for note, questions in _asked_notes(split) for question in questions]
    notes, questions = [note for note, _ in pairs], [question for _, question in pairs]
    n_planted = round(len(pairs) / 10) if split == "train" else 0
    planted = plant(random.Random(_SEED), notes, questions, n_planted)
    rows = []
    for number, (note, question) in enumerate(pairs):
        kind, shown = planted.get(number, ("none", question))
        rows.append({**_row(note, shown), "planted": kind})
    return rows


def _nli_rows(split: str) -> list[dict]:
    rng = random.Random(_SEED + SPLITS.index(split))
    return statements([write_note(rng, split, _FURTHER_SECTIONS_NLI) for _ in range(_N_NOTES[split])])


def make_demo(variant: str) -> dict[str, list[dict]]:
    """The rows of one variant of the demo data, by split ("train", "validation"); the same on every call.

    "" (the default set), "v2", "noisy": 720 and 300 rows of context, question and answers (lists text,
    answer_start, answer_end; offsets in characters, end exclusive). "v2" has empty lists for the unanswerable
    third. "noisy" has a further column `planted`: "none" or the kind of mistake, one of noise.KINDS.
    "nli": 720 and 300 rows of premise, hypothesis and label, an index into NLI_LABELS. Raises UsageError
    for any other variant.

    Some questions are hard on purpose (HARD in demo_questions) and some ambiguous on purpose (AMBIGUOUS there):
    for those, no model can be sure which of two spans the data set names.
    """
    makers = {"": _default_rows, "v2": _v2_rows, "noisy": _noisy_rows, "nli": _nli_rows}
    if variant not in makers:
        known = ", ".join(f"demo:{name}" if name else "demo" for name in VARIANTS)
        raise errors.UsageError(f"There is no demo data set 'demo:{variant}'; choose one of {known}.")
    return {split: makers[variant](split) for split in SPLITS}
