"""A split by groups: rows that meet lie on one side, and no random number takes part."""

import dataclasses

import numpy as np
import pandas as pd

from datamap.data.groups import group_keys
from datamap.errors import DataError

TRAIN, VALIDATION = "train.jsonl", "validation.jsonl"
WHY = "resplit_why"


@dataclasses.dataclass(frozen=True)
class Resplit:
    """Which rows are validation rows.

    Attributes:
        in_validation: bool [n].
        why: a sentence a row.
        asked: the share of rows asked for.
        largest: rows of the largest group.
        n_groups: of all rows; `n_too_large` of them are larger than the share asked for.
    """

    in_validation: np.ndarray
    why: list[str]
    asked: float
    largest: int
    n_groups: int
    n_too_large: int

    @property
    def share(self) -> float:
        """The share of rows that are validation rows, in [0, 1]."""
        return float(self.in_validation.mean())

    def sentence(self) -> str:
        """How the split came out, and what large groups did to it."""
        n_rows = len(self.in_validation)
        told = f"validation has {int(self.in_validation.sum()):,} of {n_rows:,} rows ({self.share:.1%}; asked for "
        told += (
            f"{self.asked:.1%}), train the rest; no group is on both sides. The largest of {self.n_groups:,} groups "
        )
        told += f"has {self.largest:,} rows ({self.largest / n_rows:.1%})"
        if self.n_too_large:
            told += f"; {self.n_too_large} larger than the share asked for can only be training rows"
        return f"{told}."


def resplit(frame: pd.DataFrame, groups: np.ndarray, fraction: float, levels: str) -> Resplit:
    """Move whole groups to the validation side, in the order of the SHA-256 of their texts, each that still fits.

    Args:
        frame: canonical.
        groups: int64 [n], rows of equal numbers stay together.
        fraction: of the rows, in (0, 1).
        levels: by which the groups came about, as `why` says it.

    Raises:
        DataError: no group fits, or all rows are one group.
    """
    sizes = np.bincount(groups)
    room = fraction * len(frame)
    if sizes.min() > room:
        raise DataError(
            f"--resplit {fraction}: the {len(frame)} rows are {len(sizes)} groups by {levels}, the smallest with "
            f"{sizes.min()} rows ({sizes.min() / len(frame):.0%}), so none fits: give a larger share, or other levels "
            "with --resplit_by."
        )
    keys = group_keys(frame, groups.tolist())
    chosen, n_rows = np.zeros(len(sizes), dtype=bool), 0
    for group in sorted(range(len(sizes)), key=keys.__getitem__):
        if n_rows + sizes[group] <= room:
            chosen[group] = True
            n_rows += int(sizes[group])
    in_validation = chosen[groups]
    reasons = {True: f"validation, as the hash of its texts came early enough for the share of {fraction}",
               False: "train, as its group did not fit into validation before others"}  # fmt: skip
    why = [
        f"group of {sizes[group]} rows by {levels}: {reasons[bool(side)]}"
        for group, side in zip(groups, in_validation, strict=True)
    ]
    return Resplit(in_validation, why, fraction, int(sizes.max()), len(sizes), int((sizes > room).sum()))


def distinct_ids(rows: list[dict], splits: list[str]) -> int:
    """Give rows an id of their own where a row of an earlier split has it: SPLIT:id. Returns how many got one.

    Rows are changed in place. SPLIT: is put before it again where that, too, is the id of any row.
    """
    taken, seen = {row["id"] for row in rows}, set()
    renamed = 0
    for row, split in zip(rows, splits, strict=True):
        if row["id"] in seen:
            while row["id"] in taken:
                row["id"] = f"{split}:{row['id']}"
            taken.add(row["id"])
            renamed += 1
        seen.add(row["id"])
    return renamed
