"""Rows as a corrected data set holds them: what a patch speaks of, and what an empty patch writes."""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from datamap.files.outputs import json_ready

if TYPE_CHECKING:
    from datamap.data.examples import Examples

FIELDS = {"qa": "answers", "nli": "label"}  # what a correction changes
OWN_COLUMNS = ("usable_for_training",)


def written_rows(examples: "Examples") -> list[dict]:
    """Every row as corrected.jsonl has it: id, texts, the label after the checks, then the source's other columns.

    QA: `answers` {"text": [str], "answer_start": [int]}, starts in code points, −1 where the text does not stand in
    the context; no answers: unanswerable. NLI: `label` is one of `label_values`. A number that is none (NaN) is null.

    Args:
        examples: of a whole split, loaded with `whole=True`, so that structured columns are among them.
    """
    frame, labels = examples.frame, label_values(examples.label_names)
    columns = [name for name in frame if name not in OWN_COLUMNS]
    rows = [dict(zip(columns, row, strict=True)) for row in frame[columns].itertuples(index=False, name=None)]
    if labels:
        rows = [row | {"label": labels[row["label"]]} for row in rows]
    return [json_ready(row) for row in rows]


def label_values(label_names: Sequence[str]) -> list[str] | list[int]:
    """What stands for NLI labels in a row: their names; whole numbers where all names are numbers."""
    are_numbers = all(name.isdecimal() for name in label_names)
    return [int(name) for name in label_names] if are_numbers else list(label_names)


def line_of(row: dict) -> str:
    """A row as its line of corrected.jsonl, without the end of the line."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def row_hash(row: dict) -> str:
    """SHA-256 of a row's line in UTF-8, in hex: what a patch calls `before_sha256`."""
    return hashlib.sha256(line_of(row).encode("utf-8")).hexdigest()
