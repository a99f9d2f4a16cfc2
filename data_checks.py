"""The door: looks at every row of a canonical frame, repairs what can be repaired, and lists what it found.

Everything behind the door may trust the data: an answer stands at its `answer_start`, or its start is −1; the first
answer of a row that is used for training always stands.
"""

import json
from collections.abc import Sequence

import pandas as pd

from answers import MISSING_START
from records import problems_frame

LEFT_OUT = "left out"
NOT_TRAINED = "left out of training"


def check_qa(frame: pd.DataFrame, problems: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The checked QA frame, and `problems` with those found here added, in the order of the rows.

    - An answer that does not stand at its start moves to the nearest occurrence of its text (the earlier of two
      equally near ones; the first in the context if no start was stated). One that does not occur keeps its text
      for evaluation, with start −1; if it is the first, the row is not usable for training.
    - `answer_end` is compared with start + length (see ends_are_inclusive) and dropped from the answers.
    - Blank answer texts are dropped; a row without any answer left counts as unanswerable.
    - A row with a blank question is not usable for training. One with a blank context is left out altogether:
      there is nothing to train on and no span to predict.

    Rows that are unanswerable as published are kept untouched and not listed. The arguments stay as they are.
    """
    inclusive = ends_are_inclusive(frame)
    found, answers, usable, kept = [], [], [], []
    columns = (frame[name] for name in ("id", "context", "question", "answers", "usable_for_training"))
    for row, (example, context, question, published, was_usable) in enumerate(zip(*columns, strict=True)):
        if not context.strip():
            found.append((example, "empty context", LEFT_OUT, _as_text(published["text"]), ""))
            continue
        stated = _stated_answers(published, example, found)
        placed = [_placed(answer, context, n == 0, example, found) for n, answer in enumerate(stated)]
        for answer, start in zip(stated, placed, strict=True):
            _check_end(answer, start, inclusive, example, found)
        if not question.strip():
            found.append((example, "empty question", NOT_TRAINED, question, ""))
        lost = bool(placed) and placed[0] == MISSING_START
        answers.append({"text": [text for text, _, _ in stated], "answer_start": placed})
        usable.append(bool(was_usable and question.strip() and not lost))
        kept.append(row)
    checked = frame.iloc[kept].reset_index(drop=True)
    checked["answers"] = pd.Series(answers, dtype=object)
    checked["usable_for_training"] = pd.Series(usable, dtype=bool)
    return checked, _joined(problems, found)


def check_nli(frame: pd.DataFrame, problems: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The checked NLI frame, and `problems` with those found here added.

    Rows with a blank side are not usable for training; they stay for evaluation. The arguments stay as they are.
    """
    blank = {side: ~frame[side].str.strip().astype(bool) for side in ("premise", "hypothesis")}
    found = [
        (example, f"empty {side}", NOT_TRAINED, text, "")
        for side, rows in blank.items()
        for example, text in zip(frame.loc[rows, "id"], frame.loc[rows, side], strict=True)
    ]
    usable = frame["usable_for_training"] & ~blank["premise"] & ~blank["hypothesis"]
    return frame.assign(usable_for_training=usable), _joined(problems, found)


def ends_are_inclusive(frame: pd.DataFrame) -> bool:
    """Whether the data set's `answer_end` is the place of the last character, not the one after it.

    The convention is that of the data set as a whole: the one that more of its answers agree with, exclusive where
    they are even. Only where it is known can a single row's end contradict.
    """
    votes = 0
    for answers in frame["answers"]:
        for text, start, end in zip(*_columns_of(answers), strict=True):
            after = start + len(text)
            votes += (end == after - 1) - (end == after) if min(start, end) >= 0 else 0
    return votes > 0


def nearest_occurrence(context: str, text: str, start: int) -> int:
    """The start, in characters, of the occurrence of `text` nearest to `start`; the earlier of two; −1 if none."""
    before = context.rfind(text, 0, max(start, 0) + len(text))
    after = context.find(text, max(start, 0))
    if before < 0 or after < 0:
        return max(before, after)
    return before if start - before <= after - start else after


def summary_table(problems: pd.DataFrame, n_rows: int, n_unanswerable: int) -> str:
    """What was found, as one aligned table of text: problem, action, rows concerned, share of the `n_rows` read.

    `rows` counts examples, so one with two misaligned answers counts once. The last two lines count the rows
    without an answer, which are kept as they are, and all rows.
    """
    counts = problems.groupby(["problem", "action"], sort=False)["id"].nunique()
    lines = [(problem, action, n) for (problem, action), n in counts.items()]
    lines += [("no answer", "unanswerable, kept", n_unanswerable), ("all rows", "checked", n_rows)]
    cells = [("problem", "action", "rows", "share")]
    cells += [(problem, action, f"{n:,}", f"{n / max(n_rows, 1):.1%}") for problem, action, n in lines]
    return _aligned(cells)


def _aligned(cells: Sequence[tuple[str, str, str, str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}" for a, b, c, d in cells)


def _columns_of(answers: dict) -> tuple[list[str], list[int], list[int]]:
    """Texts, starts and ends, −1 for every end where the data has none."""
    no_ends = [MISSING_START] * len(answers["text"])
    return answers["text"], answers["answer_start"], answers.get("answer_end", no_ends)


def _stated_answers(answers: dict, example: str, found: list) -> list[tuple[str, int, int]]:
    """(text, start, end) of the answers that have a text; the others are listed."""
    stated = []
    for text, start, end in zip(*_columns_of(answers), strict=True):
        if text.strip():
            stated.append((text, start, end))
            continue
        found.append((example, "empty answer text", "answer dropped", _as_text([text, start]), ""))
    return stated


def _placed(answer: tuple[str, int, int], context: str, is_first: bool, example: str, found: list) -> int:
    """Where the answer's text stands in the context: as stated, at the nearest occurrence, or nowhere (−1)."""
    text, start, _ = answer
    if start >= 0 and context.startswith(text, start):
        return start
    place = nearest_occurrence(context, text, start)
    problem = "misaligned answer" if start >= 0 else "missing answer_start"
    if place >= 0:
        target = "nearest" if start >= 0 else "first"
        found.append((example, problem, f"answer_start moved to the {target} occurrence", str(start), str(place)))
    else:
        action = NOT_TRAINED if is_first else "kept for evaluation only"
        found.append((example, "answer not in context", action, _as_text([text, start]), str(MISSING_START)))
    return place


def _check_end(answer: tuple[str, int, int], place: int, inclusive: bool, example: str, found: list) -> None:
    """List an end that fits neither the stated start nor the place where the text was found."""
    text, start, end = answer
    length = len(text) - inclusive
    if end >= 0 and end not in (start + length, place + length):
        expected = (place if place >= 0 else start) + length
        found.append((example, "answer_end contradicts", "answer_end ignored", str(end), str(expected)))


def _as_text(value) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:199] + "…"


def _joined(problems: pd.DataFrame, found: list[tuple]) -> pd.DataFrame:
    return pd.concat([problems, problems_frame(found)], ignore_index=True)
