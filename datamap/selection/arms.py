"""Arms: which units of a training set are selected, by a metric or by a draw; the order of the rows changes nothing.

A unit is a row, or a whole context where `sizes` says how many rows each has: a number of rows is then met as nearly as
they allow.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from datamap.errors import DataError
from datamap.selection.units import n_rows_of, taken

Sizes = Mapping[str, int] | None

# Arms of one metric: its column, and which end of it is taken.
METRIC_ARMS = {
    "easy": ("confidence", "high"),
    "ambiguous": ("variability", "high"),
    "hard": ("confidence", "low"),
    "aum": ("aum", "low"),
}
N_STRATA = 50


def refuse_too_few(arm: str, n_there: int, n_rows: int) -> None:
    """DataError where an arm has fewer rows to choose from than it has to have."""
    if n_there < n_rows:
        raise DataError(f"the arm {arm} has {n_there} rows to take {n_rows} from: lower --fraction, or leave it out.")


def ranked(names: Sequence[str], values: np.ndarray, end: str) -> list[str]:
    """The units that have a value, from one end ("high" or "low") on; equal values go by the SHA-256 of their names."""
    signed = -np.asarray(values, dtype=np.float64) if end == "high" else np.asarray(values, dtype=np.float64)
    pairs = ((value, name) for value, name in zip(signed.tolist(), names, strict=True) if value == value)
    ordered = sorted(pairs, key=lambda pair: (pair[0], hashlib.sha256(pair[1].encode()).digest()))
    return [name for _, name in ordered]


def by_metric(
    arm: str, names: Sequence[str], values: np.ndarray, n_rows: int, end: str, sizes: Sizes = None
) -> list[str]:
    """The units of `n_rows` rows at one end ("high" or "low") of a metric, the utmost first.

    Units whose value is NaN are never taken; equal values go by the SHA-256 of their names.

    Raises:
        DataError: fewer rows have a value.
    """
    ordered = ranked(names, values, end)
    refuse_too_few(arm, n_rows_of(ordered, sizes), n_rows)
    return taken(ordered, n_rows, sizes)


def forgetting(events: Sequence[float], never_learnt: Sequence[bool], num_epochs: Sequence[int]) -> list[float]:
    """How often rows were forgotten; those never learnt come before all others, as in arXiv 1812.05159.

    They count as forgotten in every epoch, which no row that was learnt can be.
    """
    rows = zip(events, never_learnt, num_epochs, strict=True)
    return [float(epochs if never else times) for times, never, epochs in rows]


def drawn(
    arm: str, names: Sequence[str], n_rows: int, generator: np.random.Generator, sizes: Sizes = None
) -> list[str]:
    """Units of `n_rows` rows drawn without replacement, each as likely as any other."""
    refuse_too_few(arm, n_rows_of(names, sizes), n_rows)
    ordered = sorted(names)
    return taken([ordered[place] for place in generator.permutation(len(ordered)).tolist()], n_rows, sizes)


def without_first(ordered: Sequence[str], cut: float, sizes: Sizes) -> list[str]:
    """Ranked units without the first ones, which have at most the share `cut` of the rows (rounded down)."""
    left = int(cut * n_rows_of(ordered, sizes))
    for place, name in enumerate(ordered):
        left -= 1 if sizes is None else sizes[name]
        if left < 0:
            return list(ordered[place:])
    return []


def trusted(
    names: Sequence[str], suspicion: np.ndarray, n_rows: int, cut: float, seed: int, sizes: Sizes = None
) -> list[str]:
    """A draw from all but the share `cut` of the rows with the highest suspicion; NaN counts as no suspicion."""
    ordered = ranked(names, np.nan_to_num(suspicion, nan=-1.0), "high")
    return drawn("trusted", without_first(ordered, cut, sizes), n_rows, np.random.default_rng(seed), sizes)


def coverage(
    names: Sequence[str], aum: np.ndarray, n_rows: int, cut: float, seed: int, sizes: Sizes = None
) -> list[str]:
    """Coverage-centric selection (Zheng et al. 2023, arXiv 2210.15809, algorithm 1).

    The share `cut` of the rows (rounded down) with the lowest AUM is left out; 50 strata of equal width cover the AUM
    of the rest; the smallest stratum (the lower of two equal ones) comes first and gives min(its size, floor(budget
    left / strata left)) rows, drawn by the seed. The last stratum takes all that is left, so the size is exact.

    Raises:
        DataError: the cut leaves fewer rows than `n_rows`.
    """
    kept = without_first(ranked(names, aum, "low"), cut, sizes)
    refuse_too_few("coverage", n_rows_of(kept, sizes), n_rows)
    value_of = dict(zip(names, np.asarray(aum, dtype=np.float64).tolist(), strict=True))
    values = np.array([value_of[name] for name in kept])
    inner = np.linspace(values.min(), values.max(), N_STRATA + 1)[1:-1]
    strata: list[list[str]] = [[] for _ in range(N_STRATA)]
    for name, stratum in zip(kept, np.searchsorted(inner, values, side="right").tolist(), strict=True):
        strata[stratum].append(name)
    generator, left, found = np.random.default_rng(seed), n_rows, []
    for n_done, stratum_names in enumerate(sorted(strata, key=lambda members: n_rows_of(members, sizes))):
        wanted = min(n_rows_of(stratum_names, sizes), max(left, 0) // (N_STRATA - n_done))
        part = drawn("coverage", stratum_names, wanted, generator, sizes)
        found += part
        left -= n_rows_of(part, sizes)
    return evened(found, kept, n_rows, generator, sizes)


def quotas(sizes: Sequence[int], n_rows: int) -> list[int]:
    """How many of `n_rows` go to each group in proportion to its size, by largest remainders (the first of equals)."""
    total = sum(sizes)
    found = [n_rows * size // total for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda group: (-(n_rows * sizes[group] % total), group))
    for group in by_remainder[: n_rows - sum(found)]:
        found[group] += 1
    return found


def clusters(
    names: Sequence[str], cluster_of: Mapping[str, int], n_rows: int, seed: int, sizes: Sizes = None
) -> list[str]:
    """A draw that has every cluster's share of the rows; noise (-1) is a stratum of its own.

    What a cluster's sizes make it miss of its share is asked of the next one.
    """
    refuse_too_few("clusters", n_rows_of(names, sizes), n_rows)
    members: dict[int, list[str]] = {}
    for name in sorted(names):
        members.setdefault(cluster_of[name], []).append(name)
    generator, groups = np.random.default_rng(seed), [members[number] for number in sorted(members)]
    found: list[str] = []
    missed = 0
    for group, quota in zip(groups, quotas([n_rows_of(group, sizes) for group in groups], n_rows), strict=True):
        wanted = min(max(quota + missed, 0), n_rows_of(group, sizes))
        part = drawn("clusters", group, wanted, generator, sizes)
        missed += quota - n_rows_of(part, sizes)
        found += part
    return evened(found, names, n_rows, generator, sizes)


def evened(
    found: list[str], names: Sequence[str], n_rows: int, generator: np.random.Generator, sizes: Sizes
) -> list[str]:
    """Units taken by parts, brought nearer to `n_rows` rows by some more of `names`, drawn, or by one less."""
    if sizes is None:
        return found
    left = n_rows - n_rows_of(found, sizes)
    if left >= 0:
        there = set(found)
        others = sorted(name for name in names if name not in there)
        return found + taken([others[place] for place in generator.permutation(len(others))], left, sizes)
    nearest = min(found, key=lambda name: abs(sizes[name] + left))
    return [name for name in found if name != nearest] if abs(sizes[nearest] + left) < -left else found
