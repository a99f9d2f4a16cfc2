"""The door: looks at every row of a canonical frame, repairs what can be repaired, and lists what it found.

Everything behind the door may trust the data: an answer stands at its `answer_start`, or its start is −1; the first
answer of a row that is used for training always stands.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd

from datamap.data.answers import LEFT_OUT, MISSING_START
from datamap.data.offsets import CHARACTERS_FROM_0, Convention, recognise
from datamap.data.places import TOLERANT, Place, find_answer, same_but_for_form
from datamap.data.records import problems_frame

logger = logging.getLogger(__name__)

NOT_TRAINED = "left out of training"
WRITTEN_OTHERWISE = "answer differs in blanks, hyphens, case or Unicode form"


class Stated(NamedTuple):
    """An answer as published: its text, start and exclusive or inclusive end; −1 for what is not stated."""

    text: str
    start: int
    end: int


def check_qa(frame: pd.DataFrame, problems: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The checked QA frame, and `problems` with those found here added, in the order of the rows.

    - Starts that count something else than characters throughout the data are converted (see offsets).
    - An answer that does not stand at its start moves to where it does (see places.find_answer). Where the context
      has it with other blanks, hyphens, case or Unicode form, the context's own text takes its place, and the text as
      published follows the others, for evaluation. One that does not occur keeps its text for evaluation, with start
      −1; if it is the first, the row is not usable for training.
    - `answer_end` is compared with the answer's place (see ends_are_inclusive) and dropped from the answers.
    - Blank answer texts are dropped; a row without any answer left counts as unanswerable.
    - A row with a blank question is not usable for training. One with a blank context is left out altogether:
      there is nothing to train on and no span to predict.

    Rows that are unanswerable as published are kept untouched and not listed. The arguments stay as they are.
    """
    convention = _convention_of(frame)
    inclusive = ends_are_inclusive(frame, convention)
    found, answers, usable, kept = [], [], [], []
    columns = (frame[name] for name in ("id", "context", "question", "answers", "usable_for_training"))
    for row, (example, context, question, published, was_usable) in enumerate(zip(*columns, strict=True)):
        if not context.strip():
            found.append((example, "empty context", LEFT_OUT, _as_text(published["text"]), ""))
            continue
        checked, of_row = _checked_answers(published, context, convention, inclusive)
        if not question.strip():
            of_row.append(("empty question", NOT_TRAINED, question, ""))
        found += [(example, *problem) for problem in of_row]
        lost = checked["answer_start"][:1] == [MISSING_START]
        answers.append(checked)
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


def ends_are_inclusive(frame: pd.DataFrame, convention: Convention = CHARACTERS_FROM_0) -> bool:
    """Whether the data set's `answer_end` is the place of the last character, not the one after it.

    The convention is that of the data set as a whole: the one that more of its answers agree with, exclusive where
    they are even. Only where it is known can a single row's end contradict. Ends count what starts count.
    """
    if not any("answer_end" in answers for answers in frame["answers"]):
        return False
    votes = 0
    for context, (text, start, end) in _all_stated(frame):
        if min(start, end) >= 0:
            after = convention.number(context, convention.place(context, text, start) + len(text))
            votes += (end == after - 1) - (end == after)
    return votes > 0


def n_repeats(frame: pd.DataFrame) -> int:
    """How many rows repeat an earlier one exactly: context, question and answers (NLI: both sides and the label)."""
    if "answers" not in frame:
        return int(frame.duplicated(["premise", "hypothesis", "label"]).sum())
    answers = ((*answer["text"], *answer["answer_start"]) for answer in frame["answers"])
    return len(frame) - len(set(zip(frame["context"], frame["question"], answers, strict=True)))


def summary_table(problems: pd.DataFrame, n_rows: int, n_unanswerable: int | None, n_repeats: int = 0) -> str:
    """What was found, as one aligned table of text: problem, action, rows concerned, share of the `n_rows` read.

    `rows` counts examples, so one with two misaligned answers counts once. The last lines count what is kept as it
    is: exact repeats where there are any, rows without an answer (None: the task has no answers), and all rows.
    """
    counts = problems.groupby(["problem", "action"], sort=False)["id"].nunique()
    lines = [(problem, action, n) for (problem, action), n in counts.items()]
    lines += [("exact repeat of an earlier row", "kept", n_repeats)] if n_repeats else []
    lines += [] if n_unanswerable is None else [("no answer", "unanswerable, kept", n_unanswerable)]
    lines.append(("all rows", "checked", n_rows))
    cells = [("problem", "action", "rows", "share")]
    cells += [(problem, action, f"{n:,}", f"{n / max(n_rows, 1):.1%}") for problem, action, n in lines]
    return _aligned(cells)


def _aligned(cells: Sequence[tuple[str, str, str, str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}" for a, b, c, d in cells)


def _stated(answers: dict) -> Iterator[Stated]:
    """A row's answers one by one."""
    no_ends = [MISSING_START] * len(answers["text"])
    return map(Stated, answers["text"], answers["answer_start"], answers.get("answer_end", no_ends))


def _all_stated(frame: pd.DataFrame) -> Iterator[tuple[str, Stated]]:
    """Every answer of the frame with its context."""
    pairs = zip(frame["context"], frame["answers"], strict=True)
    return ((context, answer) for context, answers in pairs for answer in _stated(answers))


def _convention_of(frame: pd.DataFrame) -> Convention:
    """What the starts of all answers count; said in the log where it is not characters from 0."""
    stated = [(context, text, start) for context, (text, start, _) in _all_stated(frame) if start >= 0 and text.strip()]
    convention = recognise(stated)
    if convention != CHARACTERS_FROM_0:
        logger.info("answer_start counts %s: all answers stand where it says so, and it is read so.", convention)
    return convention


def _checked_answers(
    published: dict, context: str, convention: Convention, inclusive: bool
) -> tuple[dict, list[tuple[str, str, str, str]]]:
    """A row's answers as its context has them, and the problems found as (problem, action, before, after).

    Texts that the context has in another form follow at the end as they are published, without a start, where they
    stay when they are checked again.
    """
    problems: list[tuple] = []
    texts: list[str] = []
    starts: list[int] = []
    otherwise: list = []
    for answer in _stated(published):
        text, start, _ = answer
        if not text.strip():
            problems.append(("empty answer text", "answer dropped", _as_text([text, start]), ""))
            continue
        meant = convention.place(context, text, start) if start >= 0 else MISSING_START
        place = find_answer(context, text, meant)
        is_known = place and place.how == TOLERANT and any(same_but_for_form(text, other) for other in texts)
        if start < 0 and is_known:
            otherwise.append(text)
            continue
        if place is None:
            action = "kept for evaluation only" if texts else NOT_TRAINED
            problems.append(("answer not in context", action, _as_text([text, start]), str(MISSING_START)))
        elif place.start != start or place.how == TOLERANT:
            problems.append(_moved(answer, meant, place, context, convention))
        problems += _contradicting_end(answer, meant, place, context, convention, inclusive)
        texts.append(context[place.start : place.end] if place else text)
        starts.append(place.start if place else MISSING_START)
        otherwise += [text] if texts[-1] != text else []
    return {"text": texts + otherwise, "answer_start": starts + [MISSING_START] * len(otherwise)}, problems


def _moved(answer: Stated, meant: int, place: Place, context: str, convention: Convention) -> tuple:
    """The problem of an answer that stands elsewhere, or otherwise, than it says; it means the character `meant`."""
    several = f", one of {place.n_choices}" if place.n_choices > 1 else ""
    target = f"the {'nearest' if meant >= 0 else 'first'}{' of several' if several else ''}"
    if place.how == TOLERANT:
        action = "placed where it says" if place.start == meant else f"placed at {target}"
        after = _as_text([context[place.start : place.end], place.start]) + several
        return WRITTEN_OTHERWISE, action, _as_text([answer.text, answer.start]), after
    if place.start == meant:
        return f"answer_start counts {convention}", "converted to characters", str(answer.start), str(meant)
    problem = "misaligned answer" if meant >= 0 else "missing answer_start"
    action = f"answer_start moved to {target} occurrence{'s' if several else ''}"
    return problem, action, str(answer.start), f"{place.start}{several}"


def _contradicting_end(
    answer: Stated, meant: int, place: Place | None, context: str, convention: Convention, inclusive: bool
) -> list[tuple]:
    """The problem, if it is one, of an end that fits neither the stated start nor the place of the text."""
    if answer.end < 0:
        return []
    ends = [] if place is None else [place.start + len(answer.text), place.end]
    ends += [meant + len(answer.text)] if meant >= 0 or place is None else []
    fitting = [convention.number(context, end) - inclusive for end in ends]
    if answer.end in fitting:
        return []
    return [("answer_end contradicts", "answer_end ignored", str(answer.end), str(fitting[0]))]


def _as_text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:199] + "…"


def _joined(problems: pd.DataFrame, found: list[tuple]) -> pd.DataFrame:
    return pd.concat([problems, problems_frame(found)], ignore_index=True)
