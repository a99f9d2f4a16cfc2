"""Arms: which rows of a training set are selected, by a metric or by a draw; the order of the rows changes nothing."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from datamap.errors import DataError

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


def by_metric(arm: str, ids: Sequence[str], values: np.ndarray, n_rows: int, end: str) -> list[str]:
    """The `n_rows` ids at one end ("high" or "low") of a metric, the utmost first.

    Rows whose value is NaN are never taken; equal values go by the SHA-256 of their ids.

    Raises:
        DataError: fewer rows have a value.
    """
    signed = -np.asarray(values, dtype=np.float64) if end == "high" else np.asarray(values, dtype=np.float64)
    pairs = ((value, identifier) for value, identifier in zip(signed.tolist(), ids, strict=True) if value == value)
    ordered = sorted(pairs, key=lambda pair: (pair[0], hashlib.sha256(pair[1].encode()).digest()))
    refuse_too_few(arm, len(ordered), n_rows)
    return [identifier for _, identifier in ordered[:n_rows]]


def forgotten(metrics: pd.DataFrame, n_rows: int) -> list[str]:
    """The ids that were forgotten most often; those never learnt come first, as in arXiv 1812.05159."""
    events = metrics["forgetting_events"].to_numpy(dtype=np.float64, na_value=np.nan)
    events[metrics["never_learnt"].to_numpy(dtype=bool)] = np.inf
    return by_metric("forgotten", metrics["id"].tolist(), events, n_rows, "high")


def drawn(arm: str, ids: Sequence[str], n_rows: int, generator: np.random.Generator) -> list[str]:
    """`n_rows` ids drawn without replacement, each as likely as any other."""
    refuse_too_few(arm, len(ids), n_rows)
    ordered = sorted(ids)
    return [ordered[row] for row in generator.permutation(len(ordered))[:n_rows].tolist()]


def trusted(ids: Sequence[str], scores: dict[str, float], n_rows: int, cut: float, seed: int) -> list[str]:
    """A draw from all but the share `cut` of the ids with the highest suspicion; NaN counts as no suspicion."""
    suspicion = np.array([scores[identifier] for identifier in ids])
    suspicious = by_metric("trusted", ids, np.nan_to_num(suspicion, nan=-1.0), int(cut * len(ids)), "high")
    left = sorted(set(ids) - set(suspicious))
    return drawn("trusted", left, n_rows, np.random.default_rng(seed))


def coverage(ids: Sequence[str], aum: np.ndarray, n_rows: int, cut: float, seed: int) -> list[str]:
    """Coverage-centric selection (Zheng et al. 2023, arXiv 2210.15809, algorithm 1).

    The share `cut` (rounded down) with the lowest AUM is left out; 50 strata of equal width cover the AUM of the rest;
    the smallest stratum (the lower of two equal ones) comes first and gives min(its size, floor(budget left / strata
    left)) rows, drawn by the seed. The last stratum takes all that is left, so the size is exact.

    Raises:
        DataError: the cut leaves fewer rows than `n_rows`.
    """
    ranked = by_metric("coverage", ids, aum, int(np.count_nonzero(~np.isnan(aum))), "low")
    kept = ranked[int(cut * len(ranked)) :]
    refuse_too_few("coverage", len(kept), n_rows)
    value_of = dict(zip(ids, np.asarray(aum, dtype=np.float64).tolist(), strict=True))
    values = np.array([value_of[identifier] for identifier in kept])
    inner = np.linspace(values.min(), values.max(), N_STRATA + 1)[1:-1]
    strata: list[list[str]] = [[] for _ in range(N_STRATA)]
    for identifier, stratum in zip(kept, np.searchsorted(inner, values, side="right").tolist(), strict=True):
        strata[stratum].append(identifier)
    generator, left, found = np.random.default_rng(seed), n_rows, []
    for n_done, stratum_ids in enumerate(sorted(strata, key=len)):
        taken = min(len(stratum_ids), left // (N_STRATA - n_done))
        found += drawn("coverage", stratum_ids, taken, generator)
        left -= taken
    return found


def quotas(sizes: Sequence[int], n_rows: int) -> list[int]:
    """How many of `n_rows` go to each group in proportion to its size, by largest remainders (the first of equals)."""
    total = sum(sizes)
    found = [n_rows * size // total for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda group: (-(n_rows * sizes[group] % total), group))
    for group in by_remainder[: n_rows - sum(found)]:
        found[group] += 1
    return found


def clusters(ids: Sequence[str], cluster_of: dict[str, int], n_rows: int, seed: int) -> list[str]:
    """A draw that has every cluster's share of the rows; noise (-1) is a stratum of its own."""
    refuse_too_few("clusters", len(ids), n_rows)
    members: dict[int, list[str]] = {}
    for identifier in sorted(ids):
        members.setdefault(cluster_of[identifier], []).append(identifier)
    generator, groups = np.random.default_rng(seed), [members[number] for number in sorted(members)]
    found = []
    for group, n_taken in zip(groups, quotas([len(group) for group in groups], n_rows), strict=True):
        found += drawn("clusters", group, n_taken, generator)
    return found
