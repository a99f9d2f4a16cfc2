"""Patches: what people decided about labels, read from corrections.jsonl, checked against the rows, and applied.

Applying is a pure function of rows and decisions; nothing changes a row that no person decided about.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from datamap.data.answers import MARKS
from datamap.data.cells import LONE_SURROGATE, is_empty, is_scalar
from datamap.errors import DataError, shortlist
from datamap.labels.queue import AUDIT, QUEUE
from datamap.labels.rows import row_hash

LEFT_OUT = "left_out"
STAYS, MARKED, NO_ANSWER, LABEL = "stays", "marked", "no_answer", "label"
NEEDED = ("id", "field", "before", "after")
TEXTS = ("id", "field", "before_sha256", "decision", "kind", "drawn", "reviewer", "decided_at")
NUMBERS: dict[str, Any] = {"score": (int, float), "rank": int}
CHOICES = {"decision": (STAYS, "other", "both", MARKED, NO_ANSWER, LABEL, LEFT_OUT), "drawn": (QUEUE, AUDIT)}
IMPOSSIBLE = "is_impossible"


@dataclasses.dataclass(frozen=True)
class Decision:
    """A line of corrections.jsonl. `after` is None for a row that is left out; `where` names file and line."""

    where: str
    id: str
    field: str
    before: Any
    after: Any
    before_sha256: str | None = None
    decision: str = ""
    kind: str | None = None
    score: float | None = None
    rank: int | None = None
    drawn: str | None = None
    reviewer: str = ""
    decided_at: str = ""

    @property
    def state(self) -> str:
        """What becomes of the row: "stays", "changes" or "left out"."""
        return "left out" if self.after is None else STAYS if self.after == self.before else "changes"


def read_patch(path: str | Path) -> list[Decision]:
    """The decisions of a corrections.jsonl, in its order; blank lines count for nothing.

    Raises:
        DataError: it cannot be read, or a line is no correction.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"--corrections {path}: there is no such file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"--corrections {path} cannot be read ({error}): give a file that review.html saved."
        ) from error
    lines = enumerate(text.split("\n"), start=1)
    return [_decision(line, f"{path}, line {number}") for number, line in lines if line.strip()]


def checked(
    decisions: Iterable[Decision], rows: Sequence[dict], field: str, labels: Sequence[str] | Sequence[int]
) -> dict[str, Decision]:
    """The decisions of one file by id, after it is sure that every one fits its row.

    Args:
        decisions: of `read_patch`.
        rows: of `rows.written_rows`.
        field: that the task corrects, of `rows.FIELDS`.
        labels: NLI labels as the rows have them, of `rows.label_values`; a number may be stated as its text.

    Raises:
        DataError: a row is unknown or decided twice differently, its label is another one than the decision is about,
            or what is to stand there cannot.
    """
    by_id = {row["id"]: row for row in rows}
    found: dict[str, Decision] = {}
    for decision in decisions:
        row = by_id.get(decision.id)
        if row is None:
            raise DataError(
                f"{decision.where}: the data set has no row {decision.id!r}; give the one that was reviewed."
            )
        if decision.field != field:
            raise DataError(f"{decision.where}: the field is {decision.field!r}, but this task corrects {field!r}.")
        before, after = (_as_label(value, labels) for value in (decision.before, decision.after))
        decision = dataclasses.replace(decision, before=before, after=after)
        _refuse_contradiction(decision)
        if decision.before != row[field]:
            raise DataError(
                f"{decision.where}: the label of {decision.id!r} was {_short(decision.before)}, but the data set has "
                f"{_short(row[field])}: give the data set that was reviewed."
            )
        if decision.before_sha256 is not None and decision.before_sha256 != row_hash(row):
            raise DataError(
                f"{decision.where}: the row {decision.id!r} has other texts than the one that was reviewed "
                "(before_sha256 does not fit): give the data set that was reviewed."
            )
        _refuse_impossible_label(decision, row, labels)
        first = found.setdefault(decision.id, decision)
        if first.after != decision.after:
            raise DataError(
                f"{decision.where}: {first.where} decides otherwise about {decision.id!r}: keep one of them."
            )
    return found


def merged(patches: Sequence[dict[str, Decision]]) -> tuple[dict[str, Decision], list[Decision]]:
    """(decisions that nobody contradicts by id, all decisions about rows on which files disagree).

    Of files that agree, the first one's decision counts.
    """
    together: dict[str, list[Decision]] = {}
    for patch in patches:
        for identifier, decision in patch.items():
            together.setdefault(identifier, []).append(decision)
    agreed, contested = {}, []
    for identifier, decisions in together.items():
        if all(decision.after == decisions[0].after for decision in decisions):
            agreed[identifier] = decisions[0]
        else:
            contested += decisions
    return agreed, contested


def applied(rows: Sequence[dict], decisions: dict[str, Decision]) -> list[dict | None]:
    """The rows with what was decided, None for one that is left out; the arguments stay as they are.

    Where the data mark unanswerable questions (`is_impossible`), the mark follows the label.

    Args:
        rows: of `rows.written_rows`.
        decisions: by id, of `checked` or `merged`.
    """
    marks = marks_of(rows)
    return [_with_label(row, decisions[row["id"]], marks) if row["id"] in decisions else row for row in rows]


def marks_of(rows: Sequence[dict]) -> tuple[str, Any, Any] | None:
    """(name of the column, mark of an unanswerable row, mark of the others), in the column's own type.

    None where the data have no such column, or no mark in it.
    """
    name = next((name for name in (rows[0] if rows else {}) if name.lower() == IMPOSSIBLE), None)
    marks = [] if name is None else [row[name] for row in rows if is_scalar(row[name]) and not is_empty(row[name])]
    if name is None or not marks:
        return None
    by_meaning = {str(mark).strip().lower() in MARKS: mark for mark in reversed(marks)}
    opposites: dict[bool, Any] = {True: True, False: False}
    if isinstance(marks[0], str):
        opposites = {True: "true", False: "false"}
    elif not isinstance(marks[0], bool):
        opposites = {is_marked: type(marks[0])(is_marked) for is_marked in opposites}
    return name, by_meaning.get(True, opposites[True]), by_meaning.get(False, opposites[False])


def restored(lines: Sequence[str], changes: Sequence[dict]) -> list[str]:
    """The lines that an empty patch writes, from those of a corrected data set and what its changes.csv says.

    Args:
        lines: of corrected.jsonl, without their ends.
        changes: `position` (row number in the unpatched data, from 0), `is_left_out` and `row` (its line there).
    """
    changed = {change["position"]: change for change in changes}
    n_rows = len(lines) + sum(change["is_left_out"] for change in changes)
    waiting = iter(lines)
    found = []
    for position in range(n_rows):
        change = changed.get(position)
        if change is None or not change["is_left_out"]:
            line = next(waiting)
        found.append(line if change is None else change["row"])
    return found


def _decision(line: str, where: str) -> Decision:
    """A line as a decision.

    Raises:
        DataError: it is none.
    """
    try:
        entry = json.loads(line, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not a JSON object with each key once ({error}).") from error
    if not isinstance(entry, dict):
        raise DataError(f"{where} is not a JSON object but {_short(entry)}.")
    if LONE_SURROGATE.search(json.dumps(entry, ensure_ascii=False)):
        raise DataError(f"{where} has half a character (a lone surrogate), which no file can hold.")
    missing = [name for name in NEEDED if name not in entry]
    if missing:
        raise DataError(f"{where} has no {missing[0]!r}: a correction needs {', '.join(NEEDED)}.")
    known = {field.name for field in dataclasses.fields(Decision)} - {"where"}
    found = {name: value for name, value in entry.items() if name in known and value is not None}
    for name in found.keys() & set(TEXTS):
        if not isinstance(found[name], str):
            raise DataError(f"{where}: {name} is {_short(found[name])}, not a text.")
    for name, known_words in CHOICES.items():
        if found.get(name, known_words[0]) not in ("", *known_words):
            raise DataError(f"{where}: {name} is {_short(found[name])}, not one of {', '.join(known_words)}.")
    for name, kinds in NUMBERS.items():
        value = found.get(name, 0)
        is_odd = isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value))
        if is_odd or not isinstance(value, kinds):
            raise DataError(f"{where}: {name} is {_short(value)}, not a {'whole ' * (kinds is int)}number.")
    if not {"id", "field"} <= found.keys():
        raise DataError(f"{where}: id and field are texts and cannot be null.")
    found |= {"before": entry["before"], "after": entry["after"]}
    decision = Decision(where, **found)
    return decision if decision.decision else dataclasses.replace(decision, decision=_implied(decision))


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict:
    """A JSON object; a ValueError where a key stands twice."""
    names = [name for name, _ in pairs]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise ValueError(f"the key {repeated!r} stands twice")
    return dict(pairs)


def _implied(decision: Decision) -> str:
    """How a decision that was written by hand is called."""
    if decision.after is None or decision.after == decision.before:
        return LEFT_OUT if decision.after is None else STAYS
    if isinstance(decision.after, (str, int, float)):
        return LABEL
    return MARKED if isinstance(decision.after, dict) and decision.after.get("text") else NO_ANSWER


def _as_label(value: Any, labels: Sequence[str] | Sequence[int]) -> Any:
    """A label of a patch as the rows have it: the whole number that its text or number states where labels are that."""
    if isinstance(value, (list, dict, bool)):
        return value
    return next((label for label in labels if label == value or str(label) == value), value)


def _refuse_contradiction(decision: Decision) -> None:
    """DataError where a decision is called what its `after` does not do."""
    name, state = decision.decision, decision.state
    if (name == LEFT_OUT) != (state == "left out") or (name == STAYS and state == "changes"):
        raise DataError(
            f"{decision.where}: the decision is {name!r}, but after is {_short(decision.after)}: correct one of them."
        )


def _refuse_impossible_label(decision: Decision, row: dict, labels: Sequence[str] | Sequence[int]) -> None:
    """DataError where a label cannot stand in its row."""
    after = decision.after
    if after is None:
        return
    if decision.field == "label":
        if isinstance(after, bool) or after not in labels:
            known = shortlist(list(map(str, labels)))
            raise DataError(f"{decision.where}: the data set has no label {_short(after)}, but {known}.")
        return
    if after == decision.before:
        return
    if not isinstance(after, dict) or after.keys() != {"text", "answer_start"}:
        raise DataError(
            f'{decision.where}: after is {_short(after)}, not {{"text": […], "answer_start": […]}} or null.'
        )
    texts, starts = after["text"], after["answer_start"]
    if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
        raise DataError(f"{decision.where}: after does not have a list of texts and a list of as many starts.")
    before = list(zip(decision.before["text"], decision.before["answer_start"], strict=True))
    for text, start in zip(texts, starts, strict=True):
        stays = type(start) is int and (text, start) in before  # 0.0 and false are equal to 0
        if not stays and not _stands(row["context"], text, start):
            raise DataError(
                f"{decision.where}: the context of {decision.id!r} does not have {_short(text)} at the character "
                f"{_short(start)} (counted from 0)."
            )


def _stands(context: str, text: Any, start: Any) -> bool:
    """Whether an answer stands where it says, in code points."""
    is_place = isinstance(start, int) and not isinstance(start, bool) and start >= 0
    return is_place and isinstance(text, str) and bool(text.strip()) and context[start : start + len(text)] == text


def _with_label(row: dict, decision: Decision, marks: tuple[str, Any, Any] | None) -> dict | None:
    """A row with the label that was decided on, and the mark that goes with it."""
    if decision.state == STAYS:
        return row
    if decision.after is None:
        return None
    changed = row | {decision.field: decision.after}
    if marks and decision.field == "answers" and bool(decision.after["text"]) != bool(decision.before["text"]):
        name, marked, unmarked = marks
        changed[name] = unmarked if decision.after["text"] else marked
    return changed


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"
