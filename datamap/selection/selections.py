"""Selections: the arms of one recording, each by its seeds, and what they are taken from."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from datamap.data.examples import described_rows
from datamap.errors import DataError, UsageError
from datamap.files.outputs import same_name
from datamap.selection import arms, weights
from datamap.selection.units import Units

if TYPE_CHECKING:
    from datamap.joint.join import Dynamics

WEIGHTED, PERMUTED = "weighted", "permuted"
WEIGHED = (WEIGHTED, PERMUTED)
WHOLE = ("full", *WEIGHED)  # arms that have all rows
DRAWN = ("random", "coverage", "clusters", "trusted")  # arms that a seed draws; all others are the same for every seed


@dataclasses.dataclass(frozen=True)
class Source:
    """What arms are taken from.

    Attributes:
        tracked: units of the rows with metrics.
        pool: units of all rows that may be drawn, without metrics too where these are kept.
        metrics: by name, of every row with metrics by its id.
        cluster_of, suspicion_of: of every row of the pool by its id; empty where no arm needs them.
    """

    tracked: Units
    pool: Units
    metrics: Mapping[str, Mapping[str, float]]
    cluster_of: Mapping[str, int]
    suspicion_of: Mapping[str, float]


def source_of(
    dynamics: "Dynamics", *, keeps_untracked: bool, beside: Mapping[str, dict], contexts: Mapping[str, str] | None
) -> Source:
    """What arms of a recording are taken from.

    Args:
        keeps_untracked: whether rows without metrics may be drawn.
        beside: `cluster` and `score`, each by id, as far as they are known.
        contexts: by id, where contexts stay whole.
    """
    metrics = dynamics.metrics
    ids = metrics["id"].tolist()
    pool = dynamics.ids if keeps_untracked else ids
    tracked, whole = (Units(rows) if contexts is None else Units.of_contexts(rows, contexts) for rows in (ids, pool))
    numbers = metrics.drop(columns=["id", "region"]).select_dtypes(["number", "bool", "boolean"])
    by_name = {name: dict(zip(ids, column.tolist(), strict=True)) for name, column in numbers.astype(float).items()}
    forgotten = arms.forgetting(metrics["forgetting_events"], metrics["never_learnt"], metrics["num_epochs"])
    by_name["forgotten"] = dict(zip(ids, forgotten, strict=True))
    return Source(tracked, whole, by_name, beside.get("cluster", {}), beside.get("score", {}))


def metric_arm(name: str, end: str, source: Source) -> str:
    """What the arm of a metric is called.

    Raises:
        UsageError: the recording has no such metric, or one value of it.
    """
    known = sorted(metric for metric, values in source.metrics.items() if len(set(values.values())) > 1)
    if name not in known:
        raise UsageError(f"--metric {name} is none that tells rows of this recording apart: {', '.join(known)}.")
    return f"{name}_{end}"


def selection(source: Source, arm: str, seed: int, n_rows: int, cut: float, own: tuple[str, str] | None) -> list[str]:
    """The ids of an arm, in the order they were taken.

    Args:
        source: what it is taken from.
        arm: its name.
        seed: of its draw.
        n_rows: that it has, except for those of WHOLE.
        cut: share left out by coverage and trusted.
        own: (metric, end) of an arm by --metric.

    Raises:
        DataError: there are fewer rows to take from.
    """
    tracked, pool = source.tracked, source.pool
    by_metric = arms.METRIC_ARMS | {"forgotten": ("forgotten", "high")}
    if own is not None:
        by_metric[f"{own[0]}_{own[1]}"] = own
    if arm in WHOLE:
        return pool.rows(pool.names)
    if arm in by_metric:
        name, end = by_metric[arm]
        values = tracked.means(source.metrics[name])
        return tracked.rows(arms.by_metric(arm, tracked.names, values, n_rows, end, tracked.sizes))
    if arm == "coverage":
        values = tracked.means(source.metrics["aum"])
        return tracked.rows(arms.coverage(tracked.names, values, n_rows, cut, seed, tracked.sizes))
    if arm == "clusters":
        cluster_of = pool.commonest(source.cluster_of)
        return pool.rows(arms.clusters(pool.names, cluster_of, n_rows, seed, pool.sizes))
    if arm == "trusted":
        suspicion = pool.means(source.suspicion_of)
        return pool.rows(arms.trusted(pool.names, suspicion, n_rows, cut, seed, pool.sizes))
    return pool.rows(arms.drawn("random", pool.names, n_rows, np.random.default_rng(seed), pool.sizes))


def selections(
    source: Source, names: Sequence[str], seeds: Sequence[int], n_rows: int, cut: float, own: tuple[str, str] | None
) -> pd.DataFrame:
    """A row an id of an arm and seed: id, arm, seed; arguments and errors as of `selection`."""
    parts = []
    for arm in names:
        ids: list[str] = []
        for seed in seeds:
            if arm in DRAWN or not ids:
                ids = selection(source, arm, seed, n_rows, cut, own)
            parts.append(pd.DataFrame({"id": ids, "arm": arm, "seed": seed}))
    return pd.concat(parts, ignore_index=True)


def refuse_line_breaks(ids: Sequence[str]) -> None:
    """DataError where an id could not stand on a line of its own."""
    broken = next((identifier for identifier in ids if "\n" in identifier or identifier.endswith("\r")), None)
    if broken is not None:
        raise DataError(f"the id {broken!r} holds a line break, so that no list of ids can name it: give other ids.")


def refuse_other_data(name: str, manifest: dict, recorded: dict) -> None:
    """DataError where what lies beside a recording was made from another data set; `name` of it for the sentence."""
    own, other = (described_rows(part).get("dataset") for part in (recorded, manifest))
    if other is not None and not same_name(own, other):
        raise DataError(f"{name} is of {other}, and the recording of {own}: make it from the same data.")


def by_id(table: pd.DataFrame, column: str, ids: Sequence[str], flag: str) -> dict:
    """A column of another script's table by id; a DataError where it lacks one of these ids."""
    found = dict(zip(table["id"], table[column].tolist(), strict=True))
    missing = [identifier for identifier in ids if identifier not in found]
    if missing:
        raise DataError(
            f"{flag} lacks {len(missing)} of the {len(ids)} ids of the recording ({missing[0]} is the first): make it "
            "from the same data."
        )
    return found


def weight_tables(
    dynamics: "Dynamics", source: Source, kind: str, permute_seed: int | None
) -> tuple[dict[str, pd.DataFrame], int]:
    """(id and weight by arm: weighted, and permuted with a seed; rows that have the mean for want of a number)."""
    known = source.suspicion_of if kind == "suspicion" else source.metrics["variability"]
    values = np.array([known.get(identifier, np.nan) for identifier in dynamics.ids], dtype=np.float64)
    table = weights.weights_table(dynamics.ids, values, kind)
    found = {WEIGHTED: table}
    if permute_seed is not None:
        trained = set(source.pool.rows(source.pool.names))
        found[PERMUTED] = weights.permuted(table, permute_seed, trained)
    return found, int(np.isnan(values).sum())


def sizes_told(table: pd.DataFrame, n_rows: int, n_tracked: int) -> str:
    """How many rows each arm of `selections` has, in words; `n_rows` are aimed at, of `n_tracked` with metrics."""
    sizes = table.groupby(["arm", "seed"], sort=False).size()
    told, alike = [], []
    for arm in dict.fromkeys(table["arm"]):
        low, high = sizes[arm].min(), sizes[arm].max()
        if low == high == n_rows:
            alike.append(arm)
        else:
            told.append(f"{arm} {low}" + (f" to {high}" if high > low else ""))
    same = [f"{n_rows} of {n_tracked} rows in each of: {', '.join(alike)}"] if alike else []
    has_size = any(arm not in WHOLE for arm in sizes.index.levels[0])
    aim = "" if alike or not has_size else f"{n_rows} of {n_tracked} rows aimed at: "
    return "; ".join([*same, aim + ", ".join(told)] if told else same)
