"""What an audit says of rows: at which level each meets a row of the other split (without one, of its own)."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from datamap.data.groups import ROWS, SCRIPT, read_rows
from datamap.errors import DataError, shortlist
from datamap.files.manifests import read_manifest
from datamap.files.outputs import same_name

if TYPE_CHECKING:
    from datamap.data.examples import Examples

logger = logging.getLogger(__name__)


def read_seen(directory: Path, examples: "Examples", allow_partial: bool) -> pd.DataFrame:
    """The levels of rows in a finished audit; says how many of the examples are among them.

    Args:
        directory: --audit_dir.
        examples: whose split is looked for.
        allow_partial: whether some of them may be absent.

    Returns:
        A row an example that the audit has: id, seen (one of groups.LEVELS).

    Raises:
        DataError: it is no finished audit, is about other splits, or lacks one of the examples and `allow_partial` is
            not set (or lacks all of them).
    """
    if not directory.is_dir():
        raise DataError(f"--audit_dir {directory}: there is no such directory.")
    manifest = read_manifest(directory)
    if manifest.get("script") != SCRIPT:
        raise DataError(f"--audit_dir {directory} holds no finished run of {SCRIPT}: give its --output_dir.")
    rows = read_rows(directory / ROWS)
    split = audited_split(manifest, examples, directory)
    of_split = rows[rows["split"] == split]
    met = of_split[of_split["id"].isin(set(examples.frame["id"]))]
    refuse_other_audit(directory, examples, rows["split"].unique().tolist(), len(met), allow_partial)
    logger.info("%d of %d rows are in the audit; %d more are of other rows.", len(met), len(examples.frame),
                len(of_split) - len(met))  # fmt: skip
    return met[["id", "level"]].rename(columns={"level": "seen"})


def audited_split(manifest: dict, examples: "Examples", directory: Path) -> str:
    """What an audit calls the split of the examples: by its name, unless both of its data sets call theirs so."""
    audited = [manifest.get("data", {}).get(purpose, {}) for purpose in ("rows", "eval_rows")]
    for part in audited:
        if part.get("split") == examples.split and same_name(part.get("dataset"), examples.name):
            return part.get("audited_as", examples.split)
    names = [part["dataset"] for part in audited if "dataset" in part]
    logger.warning("The audit in %s is of %s, and the examples are of %s.", directory, shortlist(names), examples.name)
    return examples.split


def refuse_other_audit(
    directory: Path, examples: "Examples", splits: list[str], n_met: int, allow_partial: bool
) -> None:
    """DataError where an audit is of other splits, or has not all of the examples and this is not allowed."""
    if examples.split not in splits:
        raise DataError(
            f"--audit_dir {directory} is of the splits {shortlist(splits)}, not of {examples.split}: run {SCRIPT} on "
            "the data of the other directories."
        )
    n_rows = len(examples.frame)
    if not n_met or (n_met < n_rows and not allow_partial):
        advice = ", or pass --allow_partial to leave the others empty" if n_met else ""
        raise DataError(
            f"--audit_dir {directory} holds {n_met} of the {n_rows} ids of the split {examples.split}: run {SCRIPT} on "
            f"the same data{advice}."
        )
