"""From raw rows to the canonical frames: one set of columns, one shape of answers, ids that stay the same.

Nothing is repaired here; what a row says is taken as it stands, and `checks` looks at it afterwards. Rows
that cannot be read at all are left out and listed in the frame of problems (id, problem, action, before, after).
"""

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from datamap import errors
from datamap.data.answers import LEFT_OUT, has_marks, read_all_answers, settle_impossible
from datamap.data.cells import LONE_SURROGATE, clean, is_empty, is_missing, is_scalar, shorten
from datamap.data.columns import ANSWER_TEXTS, ID_NAMES, by_lower_name, nli_columns, require

logger = logging.getLogger(__name__)

PROBLEM_COLUMNS = ("id", "problem", "action", "before", "after")
NLI_ORDER = ("entailment", "neutral", "contradiction")
MOST_CLASSES = 100


def problems_frame(entries: Iterable[tuple]) -> pd.DataFrame:
    """A frame of problems from tuples (id, problem, action, before, after), all text."""
    return pd.DataFrame(list(entries), columns=list(PROBLEM_COLUMNS), dtype=object)


def canonical_qa(raw: pd.DataFrame, where: str, *, whole: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The canonical QA frame of raw rows, and the problems found on the way.

    Columns of the frame: id, context, question, answers {"text": [str], "answer_start": [int]} (and "answer_end"
    where the data has it), usable_for_training (True), then the scalar extra columns (`whole`: structured ones too).
    An answer without a start gets −1. Rows with answers that cannot be read are left out. `where` names the data in
    errors.
    Raises errors.DataError for missing or clashing columns, and when no row can be read.
    """
    columns = _with_ids(raw, by_lower_name(raw.columns, where), where)
    require(columns, ("context", "question"), where)
    problems: list[tuple] = []
    contexts = _texts(raw[columns["context"]], "context", where)
    questions = _texts(raw[columns["question"]], "question", where)
    cells, answer_columns = _answer_cells(raw, columns, contexts, where)
    answers, listed = read_all_answers(cells, contexts)
    unreadable = [entry for entry in listed if entry[2] == LEFT_OUT]
    if len(raw) and len(unreadable) == len(raw):
        _, reason, _, before = unreadable[0]
        raise errors.DataError(f"{where}: no row can be used; {reason}, such as {before!r}.")
    contents = [(q, c, a["text"], a["answer_start"]) for q, c, a in zip(questions, contexts, answers, strict=True)]
    ids = _assign_ids(raw, columns, contents, problems, where)
    flags = list(raw[columns["is_impossible"]]) if "is_impossible" in columns else None
    answers, listed_too = settle_impossible(answers, cells, flags)
    left_out = {row for row, _, action, _ in listed + listed_too if action == LEFT_OUT}
    listed += [entry for entry in listed_too if entry[0] not in {row for row, *_ in unreadable}]
    problems += [(ids[row], problem, action, before, "") for row, problem, action, before in listed]
    if not has_marks(flags) and (n_empty := sum(not answers[row]["text"] for row in set(range(len(raw))) - left_out)):
        logger.info(
            "%s: %d rows have no answers; without marks in a column is_impossible they count as unanswerable.",
            where,
            n_empty,
        )
    _list_replaced_characters(raw, columns, ("context", "question"), ids, problems)
    frame = pd.DataFrame({"id": ids, "context": contexts, "question": questions}, dtype=object)
    frame["answers"] = pd.Series(answers, dtype=object)
    frame["usable_for_training"] = True
    taken = {columns[name] for name in ("id", "context", "question", *answer_columns) if name in columns}
    frame = pd.concat([frame, _extras(raw, taken, frame.columns, whole)], axis=1)
    kept = [row for row in range(len(frame)) if row not in left_out]
    return frame.iloc[kept].reset_index(drop=True), problems_frame(problems)


def canonical_nli(
    raw: pd.DataFrame, where: str, label_names: Sequence[str] | None, *, whole: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """The canonical NLI frame of raw rows, the problems found on the way, and the names of the classes.

    Columns of the frame: id, premise, hypothesis, label (int, index into the names), usable_for_training (True),
    then the scalar extra columns (`whole`: structured ones too). Rows without a gold label (−1, "-", empty) or with
    one outside the names are left out and listed. Without `label_names` the names are the labels that occur: in the
    order entailment, neutral, contradiction if they are those, else sorted; ints from 0 (or 1 to 3 and more) are named
    by their number.
    Raises errors.DataError for missing or clashing columns, and when no row has a usable label.
    """
    columns = _with_ids(raw, by_lower_name(raw.columns, where), where)
    first, second, label = nli_columns(columns, where)
    problems: list[tuple] = []
    premises = _texts(raw[columns[first]], first, where)
    hypotheses = _texts(raw[columns[second]], second, where)
    published = [_published_label(value) for value in raw[columns[label]]]
    ids = _assign_ids(raw, columns, list(zip(premises, hypotheses, published, strict=True)), problems, where)
    if label_names is None:
        published = _spelled_out(published)
        label_names = _names_of_labels(published, where)
    places = {value: _label_index(value, label_names) for value in set(published)}
    labels = [places[value] for value in published]
    for row, (value, index) in enumerate(zip(published, labels, strict=True)):
        if index is None:
            problem = "no gold label" if value is None else "unknown label"
            problems.append((ids[row], problem, "left out", shorten(raw[columns[label]].iloc[row]), ""))
    kept = [row for row, index in enumerate(labels) if index is not None]
    if len(raw) and not kept:
        expected = f" ({errors.shortlist(label_names)})" if label_names else ""
        raise errors.DataError(f"{where}: none of the {len(raw)} rows has a gold label{expected}.")
    _list_replaced_characters(raw, columns, (first, second), ids, problems)
    frame = pd.DataFrame({"id": ids, "premise": premises, "hypothesis": hypotheses}, dtype=object)
    frame["label"] = [-1 if index is None else index for index in labels]
    frame["usable_for_training"] = True
    taken = {columns[name] for name in ("id", first, second, label) if name in columns}
    frame = pd.concat([frame, _extras(raw, taken, frame.columns, whole)], axis=1)
    return frame.iloc[kept].reset_index(drop=True), problems_frame(problems), tuple(label_names)


def unlabelled_qa(raw: pd.DataFrame, where: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """As canonical_qa, for rows whose answers nobody needs: all rows stay, every `answers` is empty.

    Answers that are there belong to the ids that are made from the content, so that these are the same as elsewhere.
    """
    columns = _with_ids(raw, by_lower_name(raw.columns, where), where)
    require(columns, ("context", "question"), where)
    problems: list[tuple] = []
    contexts = _texts(raw[columns["context"]], "context", where)
    questions = _texts(raw[columns["question"]], "question", where)
    cells: list = [None] * len(raw)
    answer_columns: tuple[str, ...] = ()
    if any(name in columns for name in ("answers", *ANSWER_TEXTS) if name != "text" or "answer_start" in columns):
        cells, answer_columns = _answer_cells(raw, columns, contexts, where)
    answers = read_all_answers(cells, contexts)[0]
    contents = [(q, c, a["text"], a["answer_start"]) for q, c, a in zip(questions, contexts, answers, strict=True)]
    ids = _assign_ids(raw, columns, contents, problems, where)
    _list_replaced_characters(raw, columns, ("context", "question"), ids, problems)
    frame = pd.DataFrame({"id": ids, "context": contexts, "question": questions}, dtype=object)
    frame["answers"] = pd.Series([{"text": [], "answer_start": []} for _ in ids], dtype=object)
    frame["usable_for_training"] = True
    taken = {columns[name] for name in ("id", "context", "question", *answer_columns) if name in columns}
    return pd.concat([frame, _extras(raw, taken, frame.columns)], axis=1), problems_frame(problems)


def unlabelled_nli(raw: pd.DataFrame, where: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """As canonical_nli, for rows whose labels nobody needs: all rows stay, every `label` is -1."""
    columns = _with_ids(raw, by_lower_name(raw.columns, where), where)
    first, second, label = nli_columns(columns, where, labelled=False)
    problems: list[tuple] = []
    premises = _texts(raw[columns[first]], first, where)
    hypotheses = _texts(raw[columns[second]], second, where)
    published = [_published_label(value) for value in raw[columns[label]]] if label in columns else [None] * len(raw)
    ids = _assign_ids(raw, columns, list(zip(premises, hypotheses, published, strict=True)), problems, where)
    _list_replaced_characters(raw, columns, (first, second), ids, problems)
    frame = pd.DataFrame({"id": ids, "premise": premises, "hypothesis": hypotheses}, dtype=object)
    frame["label"], frame["usable_for_training"] = -1, True
    taken = {columns[name] for name in ("id", first, second, label) if name in columns}
    return pd.concat([frame, _extras(raw, taken, frame.columns)], axis=1), problems_frame(problems)


def _texts(column: pd.Series, name: str, where: str) -> list[str]:
    """Every cell as text, a missing one as ""; equal texts share one string object."""
    seen: dict = {}
    texts = []
    for row, value in enumerate(column):
        if not is_scalar(value):
            raise errors.DataError(f"{where}: the {name} of row {row + 1} is not text but {type(value).__name__}.")
        text = "" if is_missing(value) else str(value)
        if text not in seen:
            seen[text] = clean(text)
        texts.append(seen[text])
    return texts


def _list_replaced_characters(
    raw: pd.DataFrame, columns: Any, names: Sequence[str], ids: list[str], problems: list
) -> None:
    """List the rows in which a column's text had to be cleaned."""
    for name in names:
        for row, value in enumerate(raw[columns[name]]):
            if isinstance(value, str) and not value.isascii() and LONE_SURROGATE.search(value):
                problems.append((ids[row], "half a character", f"replaced by U+FFFD in {name}", "", ""))


def _answer_cells(
    raw: pd.DataFrame, columns: dict[str, str], contexts: list[str], where: str
) -> tuple[list, tuple[str, ...]]:
    """One value of answers a row, and the (lower-case) columns that it came from."""
    if "answers" in columns:
        return _answers_with_starts(raw, columns, contexts)
    named = [name for name in ANSWER_TEXTS if name in columns and (name != "text" or "answer_start" in columns)]
    text = next(iter(named), None)
    if text is None:
        require(columns, ("context", "question", "answers"), where)
    places = {"answer_start": "answer_start", "answer_end": "answer_end"}
    flat: dict[str, str] = {"text": text or ""} | {key: name for key, name in places.items() if name in columns}
    values = zip(*(raw[columns[name]] for name in flat.values()), strict=True)
    return [_flat_answer(dict(zip(flat, cell, strict=True))) for cell in values], tuple(flat.values())


def _answers_with_starts(
    raw: pd.DataFrame, columns: dict[str, str], contexts: list[str]
) -> tuple[list, tuple[str, ...]]:
    """The cells of `answers`: bare texts together with the starts and ends that stand in columns of their own."""
    cells = list(raw[columns["answers"]])
    beside = [name for name in ("answer_start", "answer_end") if name in columns]
    if "answer_start" not in beside:
        return cells, ("answers",)
    values = zip(cells, *(raw[columns[name]] for name in beside), strict=True)
    stated = [dict(zip(("text", *beside), cell, strict=True)) for cell in values]
    bare = [
        _is_bare(cell["text"], cell["answer_start"], context) for cell, context in zip(stated, contexts, strict=True)
    ]
    cells = [_flat_answer(cell) if is_bare else cell["text"] for cell, is_bare in zip(stated, bare, strict=True)]
    return cells, ("answers", *beside) if any(bare) else ("answers",)


def _is_bare(answers: Any, start: Any, context: str) -> bool:
    """Whether answers are one text, or texts with as many starts, rather than answers that have starts of their own."""
    if isinstance(answers, (list, np.ndarray)):
        return isinstance(start, (list, np.ndarray)) and all(map(is_scalar, answers))
    is_literal = str(answers).lstrip().startswith(("{", "["))
    return is_scalar(answers) and (not is_literal or str(answers).strip() in context)


def _flat_answer(cell: dict) -> Any:
    """The answer that a row's flat columns state: without a start the text alone, a whole answer object as it is."""
    beside = [value for key, value in cell.items() if key != "text"]
    if is_scalar(cell["text"]):
        return cell["text"] if all(map(is_empty, beside)) else cell
    return cell if "answer_start" in cell else cell["text"]


def _assign_ids(raw: pd.DataFrame, columns: Any, contents: list[tuple], problems: list, where: str) -> list[str]:
    """An id for every row: its own where present and unique, else one made from its content (see content_ids)."""
    own = [_own_id(value) for value in raw[columns["id"]]] if "id" in columns else [None] * len(raw)
    counts = Counter(own)
    if counts[None] == len(own):
        logger.info("%s: the rows have no ids; they are made from their content.", where)
    unique = {name for name, count in counts.items() if name is not None and count == 1}
    ids: list[str] = []
    taken, repeats = set(unique), Counter[str]()
    for name, content in zip(own, contents, strict=True):
        ids.append(name if name in unique else _content_id(content, taken, repeats))
        if name not in unique and counts[None] < len(own):
            problem = "missing id" if name is None else "duplicate id"
            problems.append((ids[-1], problem, "id made from the content", name or "", ids[-1]))
    return ids


def _with_ids(raw: pd.DataFrame, columns: dict[str, str], where: str) -> dict[str, str]:
    """`columns` with an id where the ids go by another name (see columns.ID_NAMES) and every row has one of its own."""
    for name in ID_NAMES if "id" not in columns else ():
        own = [_own_id(value) for value in raw[columns[name]]] if name in columns else [None]
        if None not in own and len(set(own)) == len(own):
            logger.info("%s: the ids are those of the column %s.", where, columns[name])
            return columns | {"id": columns[name]}
    return columns


def _own_id(value: Any) -> str | None:
    """The row's id as text; a float without a fraction is the int that a reader made it of."""
    if is_empty(value) or not is_scalar(value):
        return None
    if isinstance(value, (float, np.floating)) and value == value // 1:
        return str(int(value))
    return clean(str(value))


def _content_id(content: tuple, taken: set[str], repeats: Counter) -> str:
    """16 hex digits of the SHA-256 of the content as JSON, then -1, -2 … for repeats in the order of rows.

    `taken` (ids in use) and `repeats` (digest → next number) are brought up to date.
    """
    text = json.dumps(content, ensure_ascii=False)
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]
    name = None
    while name is None or name in taken:
        name = f"{digest}-{repeats[digest]}" if repeats[digest] else digest
        repeats[digest] += 1
    taken.add(name)
    return name


def _extras(raw: pd.DataFrame, taken: set[str], reserved: Iterable[str], whole: bool = False) -> pd.DataFrame:
    """The source's other columns, in its order; empty ones and, unless `whole`, structured ones are dropped."""
    kept = {}
    for name in raw.columns:
        values = [clean(v) if isinstance(v, str) else None if is_missing(v) else v for v in raw[name]]
        useful = any(value is not None for value in values) and (whole or all(map(is_scalar, values)))
        if useful and name and name not in taken and name not in reserved:
            kept[name] = raw[name] if raw[name].dtype.kind in "biuf" else pd.Series(values, dtype=object)
    return pd.DataFrame(kept, index=raw.index).reset_index(drop=True)


def _published_label(value: Any) -> int | str | None:
    """The label as it stands, a number in text as the number; None for "no gold label" (−1, "-", empty)."""
    if is_empty(value) or not is_scalar(value):
        return None
    text = str(value).strip()
    if re.fullmatch(r"-?\d+(\.0+)?", text):
        return None if int(float(text)) == -1 else int(float(text))
    return None if text == "-" else text


def _spelled_out(published: list) -> list:
    """ANLI's labels e, n and c as the words that they stand for, where there are no others."""
    letters = {name[0]: name for name in NLI_ORDER}
    folded = [str(value).casefold() for value in published if value is not None]
    if not set(folded) <= letters.keys():
        return published
    return [None if value is None else letters[str(value).casefold()] for value in published]


def _names_of_numbers(found: set[int], where: str) -> list[str]:
    """One class a number from 0 to the largest, or from 1 where those are 1, 2, 3 and so on, at least three of them.

    At most MOST_CLASSES and one more. Says in the log what was not taken from 0, and which numbers have no rows.
    """
    n_numbers = max(found, default=-1) + 1
    first = int(len(found) > 2 and found == set(range(1, n_numbers)))
    numbers = range(first, n_numbers)[: MOST_CLASSES + 1]
    if first:
        logger.info(
            "%s: the labels are the numbers from 1 to %d, which are read as %d classes.", where, *[len(found)] * 2
        )
    absent = [str(number) for number in numbers if number not in found]
    if absent and len(numbers) <= MOST_CLASSES:
        logger.warning("%s: no row has the label %s, which counts as a class all the same.", where, ", ".join(absent))
    return [str(number) for number in numbers]


def _names_of_labels(published: list, where: str) -> tuple[str, ...]:
    """Class names out of the labels that occur; see canonical_nli for their order."""
    found = {value for value in published if value is not None}
    if all(isinstance(value, int) for value in found):
        names = _names_of_numbers(found, where)
    else:
        spellings = {str(value).casefold(): str(value) for value in sorted(found, key=str)}
        of_nli = set(spellings) <= set(NLI_ORDER)
        names = [name for name in NLI_ORDER if name in spellings] if of_nli else sorted(spellings.values())
    if len(names) > MOST_CLASSES:
        raise errors.DataError(
            f"{where}: the labels need more than {MOST_CLASSES} classes ({shorten(sorted(found, key=str))}); "
            "are they class labels?"
        )
    return tuple(names)


def _label_index(value: int | str | None, label_names: Sequence[str]) -> int | None:
    """Where a published label stands among the names; None if it does not. Numbers are names before they are places."""
    folded = [name.casefold() for name in label_names]
    if str(value).casefold() in folded:
        return folded.index(str(value).casefold()) if value is not None else None
    named_by_numbers = any(name.isdigit() for name in folded)
    return value if isinstance(value, int) and 0 <= value < len(folded) and not named_by_numbers else None
