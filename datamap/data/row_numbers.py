"""A number of every row from a file of a person: how much the row weighs, how smooth its label is."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from datamap.data.listed_ids import first, quoted, read_table, refuse_repeated, refuse_unknown
from datamap.errors import DataError
from datamap.files.manifests import file_hash


@dataclasses.dataclass(frozen=True)
class RowNumbers:
    """A number of every row that is trained on, and perhaps of others of its split.

    Attributes:
        of_id: the number of a row by its id.
        sha256: of the file that says so.
    """

    of_id: Mapping[str, float]
    sha256: str

    def of_rows(self, ids: Iterable[str]) -> np.ndarray:
        """The numbers of rows by their ids, float64 [n_rows]."""
        return np.array([self.of_id[name] for name in ids], dtype=np.float64)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What the numbers of a file are.

    Attributes:
        flag: that names the file.
        column: in which they stand, beside the column id.
        is_allowed: whether a number may be one of them; of NaN it may not.
        wrong, remedy: what is said of a number that may not, and what to do.
    """

    flag: str
    column: str
    is_allowed: Callable[[float], bool]
    wrong: str
    remedy: str


WEIGHTS = Kind(
    "--example_weights",
    "weight",
    lambda weight: 0 < weight < np.inf,
    "is no finite number above 0",
    "give every row a weight above 0, and leave rows out by --train_ids",
)
SMOOTHING = Kind(
    "--example_smoothing",
    "factor",
    lambda factor: 0 <= factor < 1,
    "does not lie from 0 to below 1",
    "give every row a factor in that range, 0 for its label as it is",
)


def read_row_numbers(
    kind: Kind, path: str, where: str, *, trained: Sequence[str], known: Collection[str]
) -> RowNumbers:
    """The numbers in a table.

    Args:
        path: of the table, which has the columns `id` and that of `kind`.
        where: the data set and split in words.
        trained: ids of the rows that are trained on; each of them is to be in the table.
        known: ids of all rows of the split; those that are held out or left out may be in the table too.

    Raises:
        DataError: the file cannot be read, lists an id twice or one that is not known, lacks one of `trained`, or a
            number is not allowed.
    """
    name, table = f"{kind.flag} {path}", read_table(path, kind.flag, ["id", kind.column])
    ids, cells = table["id"].tolist(), table[kind.column].tolist()
    refuse_repeated(name, ids)
    refuse_unknown(name, ids, known, where)
    of_id = {identifier: number_of(cell) for identifier, cell in zip(ids, cells, strict=True)}
    wrong = [place for place, number in enumerate(of_id.values()) if not kind.is_allowed(number)]
    if wrong:
        raise DataError(
            f"{name}: the {kind.column} of {len(wrong)} of its {len(ids)} ids {kind.wrong} ({quoted(ids[wrong[0]])} "
            f"has {quoted(cells[wrong[0]])} and is the first): {kind.remedy}."
        )
    missing = [identifier for identifier in trained if identifier not in of_id]
    if missing:
        raise DataError(
            f"{name} lacks {len(missing)} of the {len(trained)} rows to train on of {where} ({first(missing)}): give "
            f"each of them a {kind.column}."
        )
    return RowNumbers(of_id, file_hash(Path(path).expanduser()))


def number_of(cell: str) -> float:
    """The number that a cell holds, NaN where it holds none."""
    try:
        return float(cell)
    except ValueError:
        return np.nan
