"""Groups of rows that stay together when rows are held out or put into folds: the rows.csv of an audit."""

import dataclasses
import hashlib
import heapq
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datamap.errors import DataError, shortlist
from datamap.files import manifests, outputs

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

ROWS, SCRIPT = "rows.csv", "audit_dataset.py"
# At which level a row meets another one, the strongest first; the last says that it meets none.
LEVELS = ("exact", "normalised", "answer", "context", "contained", "template", "none")
TEXT, GROUP = ("id", "split", "level"), "group"
AGAIN = f"give the {ROWS} of a finished run of {SCRIPT}, or run it again"


@dataclasses.dataclass(frozen=True)
class Grouping:
    """Which rows of a split stay together.

    Attributes:
        of_id: the group of every row, by its id; its number means nothing else.
        sha256: of the file that says so.
    """

    of_id: Mapping[str, int]
    sha256: str

    def of_rows(self, ids: Iterable[str]) -> np.ndarray:
        """The groups of rows by their ids, int64 [n_rows], numbered from 0 as they come."""
        numbers: dict[int, int] = {}
        return np.array([numbers.setdefault(self.of_id[name], len(numbers)) for name in ids], dtype=np.int64)


def write_rows(directory: Path, frame: "pd.DataFrame") -> None:
    """Write rows.csv of an audit: `id`, `split`, `level` (of LEVELS) and `group` (whole, at least 0) of every row."""
    outputs.write_csv(Path(directory) / ROWS, frame[[*TEXT, GROUP]])


def read_rows(path: str | Path) -> "pd.DataFrame":
    """Read what `write_rows` wrote: id, split and level as text, group as int64.

    Raises:
        DataError: the file cannot be read, lacks a column, has an id of a split twice, an unknown level, or a group
            that is no whole number from 0 on.
    """
    path = Path(path).expanduser()
    try:
        rows = outputs.read_csv(path, TEXT)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): {AGAIN}.") from error
    if GROUP not in rows:
        raise DataError(f"{path} has no column {GROUP}: {AGAIN}.")
    twice, unknown = rows.duplicated(["split", "id"]), ~rows["level"].isin(LEVELS)
    groups = rows[GROUP].to_numpy(dtype=np.float64)
    bad = (groups != np.floor(groups)) | (groups < 0) | (groups >= 2**53)
    for wrong, name, why in (
        (twice, "id", "which its split has twice"),
        (unknown, "level", f"which is none of {', '.join(LEVELS)}"),
        (bad | (rows[GROUP].dtype == bool), GROUP, "which is no whole number from 0 on"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            value = shortlist([rows[name].iloc[row]]) if rows[name].iloc[row] != "" else "''"
            raise DataError(f"{path} has the {name} {value} in row {row + 1}, {why}: {AGAIN}.")
    return rows.astype({GROUP: np.int64})


def groups_of(path: str | Path, split: str) -> dict[str, int]:
    """The group of every row of a split, by its id.

    Raises:
        DataError: the file is none of `write_rows`, or has no row of the split.
    """
    rows = read_rows(path)
    of_split = rows[rows["split"] == split]
    if of_split.empty:
        there = shortlist(dict.fromkeys(rows["split"]))
        raise DataError(
            f"{path} has no row of the split {split} (its splits: {there}): give the {ROWS} of an audit of that split."
        )
    return dict(zip(of_split["id"], of_split[GROUP].tolist(), strict=True))


def read_grouping(path: str, split: str, ids: Iterable[str], where: str) -> Grouping:
    """The groups of some rows of a split; says how many groups and how many other rows of the split the file has.

    Args:
        ids: of the rows; each of them is to be in the file.
        where: the data set and split in words.

    Raises:
        DataError: the file cannot be read, or lacks one of the rows.
    """
    known, wanted, file = groups_of(path, split), list(ids), Path(path).expanduser()
    missing = [name for name in wanted if name not in known]
    if missing:
        raise DataError(
            f"--groups {path} lacks {len(missing)} of the {len(wanted)} rows of {where} ({shortlist(missing[:1])} is "
            f"the first): run {SCRIPT} on these data."
        )
    if not manifests.has_manifest(file.parent):
        logger.warning("%s has no %s beside it, so its audit may be unfinished.", path, manifests.MANIFEST)
    of_id = {name: known[name] for name in wanted}
    logger.info("The %d rows of %s lie in %d groups of %s, which has %d more rows of that split.", len(of_id), where,
                len(set(of_id.values())), path, len(known) - len(of_id))  # fmt: skip
    return Grouping(of_id, manifests.file_hash(file))


def text_hash(texts: Iterable[str]) -> str:
    """SHA-256 over texts, whatever their order and however often each comes."""
    digest = hashlib.sha256()
    for text in sorted(set(texts)):
        part = text.encode("utf-8", "surrogatepass")
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def group_keys(frame: "pd.DataFrame", groups: Iterable[int]) -> dict[int, tuple[str, str]]:
    """What groups are put in order by: the SHA-256 of all their texts, of equal ones the smallest id.

    Neither the order of the rows nor the numbers of the groups change it.

    Args:
        frame: canonical, of either task.
        groups: of its rows.
    """
    columns = ["context", "question"] if "context" in frame else ["premise", "hypothesis"]
    texts: dict[int, set[str]] = {}
    first: dict[int, str] = {}
    for group, name, *row in zip(groups, frame["id"], *(frame[column] for column in columns), strict=True):
        texts.setdefault(group, set()).update(row)
        first[group] = min(name, first.get(group, name))
    return {group: (text_hash(words), first[group]) for group, words in texts.items()}


def fill_folds(groups: np.ndarray, keys: Mapping | Sequence, n_folds: int) -> np.ndarray:
    """The fold of every row: group by group, each to the fold with the fewest rows (of equal ones the first).

    The largest group comes first, of equally large ones that with the smaller key.

    Args:
        groups: of the rows, counted from 0, int64 [n_rows].
        keys: of the groups.
        n_folds: how many there are.
    """
    sizes = np.bincount(groups)
    fold_of = np.empty(len(sizes), dtype=np.int64)
    filled = [(0, fold) for fold in range(n_folds)]
    for group in sorted(range(len(sizes)), key=lambda group: (-sizes[group], keys[group])):
        n_rows, fold = heapq.heappop(filled)
        fold_of[group] = fold
        heapq.heappush(filled, (n_rows + int(sizes[group]), fold))
    return fold_of[groups]
