"""The files of a corrected data set: their writers, and what takes a correction back."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from datamap.errors import DataError
from datamap.files import manifests, outputs
from datamap.labels.patches import Decision
from datamap.labels.rows import line_of

SCRIPT = manifests.CORRECTING_SCRIPT
CORRECTED, CHANGES, SUMMARY = manifests.CORRECTED, "changes.csv", "review_summary.json"
DISAGREEMENTS = "disagreements.csv"
FILES = (CORRECTED, CHANGES, SUMMARY, DISAGREEMENTS, outputs.DATA_PROBLEMS)
CHANGE_COLUMNS = ("id", "position", "field", "before", "after", "decision", "reviewer", "decided_at", "row")


def changes_table(rows: Sequence[dict], changed: Sequence[dict | None], decisions: dict[str, Decision]) -> pd.DataFrame:
    """What changes.csv holds, a line a row that changed or was left out, as text.

    `position` is the row's number in the unpatched data, from 0; `before` and `after` are JSON (null: left out); `row`
    is its whole line before.

    Args:
        rows: of the unpatched data.
        changed: of `patches.applied`, as many.
        decisions: by id.
    """
    listed = []
    for position, (row, new) in enumerate(zip(rows, changed, strict=True)):
        if new is row:
            continue
        found = decisions[row["id"]]
        values = [json.dumps(value, ensure_ascii=False) for value in (found.before, found.after)]
        about = (found.decision, found.reviewer, found.decided_at)
        listed.append((found.id, position, found.field, *values, *about, line_of(row)))
    return pd.DataFrame(listed, columns=list(CHANGE_COLUMNS)).astype(object)


def disagreements_table(contested: Sequence[Decision]) -> pd.DataFrame:
    """Every decision about rows on which files disagree."""
    listed = [
        (found.id, found.where, found.reviewer, found.decision, json.dumps(found.after, ensure_ascii=False))
        for found in contested
    ]
    return pd.DataFrame(listed, columns=["id", "line", "reviewer", "decision", "after"], dtype=object)


def write_lines(directory: Path, lines: Iterable[str]) -> None:
    """Write corrected.jsonl from its lines."""
    outputs.write_text(directory / CORRECTED, "".join(f"{line}\n" for line in lines))


def write(directory: Path, rows: Sequence[dict | None], changes: pd.DataFrame, summary: dict) -> None:
    """Write corrected.jsonl, changes.csv and review_summary.json."""
    write_lines(directory, (line_of(row) for row in rows if row is not None))
    outputs.write_csv(directory / CHANGES, changes)
    outputs.write_json(directory / SUMMARY, summary)


def hashes(directory: Path) -> dict[str, str]:
    """What the manifest says of the files that a correction is taken back from."""
    found = {"corrected_sha256": manifests.file_hash(directory / CORRECTED)}
    if (directory / CHANGES).is_file():
        found["changes_sha256"] = manifests.file_hash(directory / CHANGES)
    return found


def read(path: Path) -> tuple[list[str], list[dict[str, Any]], dict]:
    """(the lines of a corrected data set, what `patches.restored` needs of its changes, its manifest).

    Raises:
        DataError: it is not the file that apply_corrections.py wrote, or its changes.csv is not.
    """
    if not path.is_file():
        raise DataError(f"--dataset {path}: there is no such file; give a {CORRECTED} with its {CHANGES} beside it.")
    manifest = manifests.read_manifest(path.parent)
    if manifest.get("script") != SCRIPT or "changes_sha256" not in manifest:
        raise DataError(f"{path.parent} holds no finished run of {SCRIPT} with corrections to take back.")
    for place, name in ((path, "corrected_sha256"), (path.parent / CHANGES, "changes_sha256")):
        if not place.is_file() or manifests.file_hash(place) != manifest.get(name):
            raise DataError(f"{place} is not the file that {SCRIPT} wrote: only that one can be taken back.")
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    table = outputs.read_csv(path.parent / CHANGES, [name for name in CHANGE_COLUMNS if name != "position"])
    columns = zip(table["position"], table["after"], table["row"], strict=True)
    changes = [
        {"position": int(position), "is_left_out": after == "null", "row": row} for position, after, row in columns
    ]
    return lines, changes, manifest


def as_text(summary: dict) -> str:
    """The review in a few lines."""
    counts = f"{summary['changed']} changed, {summary['left_out']} left out, {summary['stay']} stay"
    lines = [f"{summary['decided']} of {summary['n_rows']} rows decided: {counts}.", summary["estimate"]["sentence"]]
    for pair in summary["agreement"]:
        value = "not defined" if pair["kappa"] is None else f"{pair['kappa']:.2f}"
        lines.append(f"{' and '.join(pair['files'])}: {pair['rows_of_both']} rows of both, Cohen's kappa {value}.")
    if summary["n_disagreements"]:
        lines.append(f"On {summary['n_disagreements']} rows files disagree: they stay, see {DISAGREEMENTS}.")
    return "\n".join(lines)
