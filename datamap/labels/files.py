"""The table of suspects as a file: its writer and its reader."""

import csv
from pathlib import Path

import pandas as pd

from datamap.errors import DataError
from datamap.files import manifests, outputs

TABLE, SUMMARY, FIGURE = "label_errors.csv", "label_errors.json", "label_errors.png"
REVIEW = "review.html"
SCRIPT = "find_label_errors.py"
# The columns of text that a table may have.
TEXT = ("id", "kind", "label", "proposal", "predicted_answer", "predicted_label", "question", "context", "premise",
        "hypothesis", "reason")  # fmt: skip


def write_table(directory: Path, table: pd.DataFrame) -> None:
    """Write a table of `suspects.suspects`."""
    outputs.write_csv(directory / TABLE, table)


def read_table(directory: Path) -> pd.DataFrame:
    """Read what `write_table` wrote: texts as texts, everything else as numbers; without a rank it is NaN.

    Raises:
        DataError: it is no finished run of find_label_errors.py, or its table cannot be read.
    """
    if not directory.is_dir():
        raise DataError(f"--label_errors_dir {directory}: there is no such directory.")
    if manifests.read_manifest(directory).get("script") != SCRIPT:
        raise DataError(f"--label_errors_dir {directory} holds no finished run of {SCRIPT}: give its --output_dir.")
    path = directory / TABLE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            columns = next(csv.reader(file), [])
        table = outputs.read_csv(path, [name for name in TEXT if name in columns])
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): run {SCRIPT} again.") from error
    missing = [name for name in ("id", "rank", "score", "kind", "proposal") if name not in table]
    if missing or table["id"].duplicated().any():
        what = f"has no column {missing[0]}" if missing else "has an id twice"
        raise DataError(f"{path} {what}: run {SCRIPT} again.")
    return table


def joined_columns(table: pd.DataFrame) -> pd.DataFrame:
    """What is joined to other tables by id: suspicion in [0, 1], its rank, its kind and the proposal.

    Kind and proposal are missing where there is none; a proposal of no answer is "".
    """
    proposed = table["proposal_prob"].notna()
    return pd.DataFrame(
        {
            "id": table["id"],
            "suspicion": table["score"],
            "suspicion_rank": table["rank"].astype("Int64"),
            "suspicion_kind": table["kind"].where(table["kind"] != "", None),
            "proposal": table["proposal"].where(proposed, None),
        }
    )
