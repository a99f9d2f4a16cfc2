"""Units: what is taken or left as a whole, single rows or all rows of a context."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Units:
    """What arms are taken from.

    Attributes:
        names: of the units; of a row its id, of a context the first id in it.
        members: ids of the rows of each unit by its name; None where every unit is a row.
    """

    names: list[str]
    members: dict[str, list[str]] | None = None

    @classmethod
    def of_contexts(cls, ids: Sequence[str], contexts: Mapping[str, str]) -> "Units":
        """One unit for the rows with one context; `contexts` by id."""
        together: dict[str, list[str]] = {}
        for identifier in sorted(ids):
            together.setdefault(contexts[identifier], []).append(identifier)
        members = {rows[0]: rows for rows in together.values()}
        return cls(list(members), members)

    @property
    def sizes(self) -> dict[str, int] | None:
        """Rows of each unit by its name; None where each has one."""
        return None if self.members is None else {name: len(rows) for name, rows in self.members.items()}

    def means(self, values: Mapping[str, float]) -> np.ndarray:
        """The mean over its rows of every unit, float64 [n_units], of those that are not NaN; NaN where all are."""
        if self.members is None:
            return np.array([values[name] for name in self.names], dtype=np.float64)
        found = np.full(len(self.names), np.nan)
        for place, name in enumerate(self.names):
            known = [values[row] for row in self.members[name] if values[row] == values[row]]
            found[place] = sum(known) / len(known) if known else np.nan
        return found

    def commonest(self, labels: Mapping[str, int]) -> dict[str, int]:
        """The label that most rows of a unit have, by its name; of equals the lowest."""
        if self.members is None:
            return {name: labels[name] for name in self.names}
        found = {}
        for name, rows in self.members.items():
            counts = Counter(labels[row] for row in rows)
            found[name] = min(counts, key=lambda label: (-counts[label], label))
        return found

    def rows(self, names: Sequence[str]) -> list[str]:
        """The ids of the rows of some units, in the units' order."""
        if self.members is None:
            return list(names)
        return [row for name in names for row in self.members[name]]


def n_rows_of(names: Sequence[str], sizes: Mapping[str, int] | None) -> int:
    """How many rows some units have."""
    return len(names) if sizes is None else sum(sizes[name] for name in names)


def taken(ordered: Sequence[str], n_rows: int, sizes: Mapping[str, int] | None) -> list[str]:
    """The first units with `n_rows` rows, as near to that as their sizes allow.

    Each that still fits is taken, in order; at the end one more, where that brings the number of rows nearer.
    """
    if sizes is None:
        return list(ordered[: max(n_rows, 0)])
    left = n_rows
    found: list[str] = []
    others: list[str] = []
    for name in ordered:
        fits = sizes[name] <= left
        (found if fits else others).append(name)
        left -= sizes[name] if fits else 0
    nearest = min(others, key=lambda name: abs(sizes[name] - left), default=None)
    if nearest is not None and abs(sizes[nearest] - left) < left:
        found.append(nearest)
    return found
