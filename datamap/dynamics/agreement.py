"""Several recordings of the same rows: their metrics averaged, and how far their data maps agree."""

import dataclasses
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from datamap.dynamics.measures import REGIONS
from datamap.dynamics.recordings import COUNTS, Recording
from datamap.errors import UsageError

COMPARED = ("confidence", "variability")


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How far the maps of several recordings agree.

    Attributes:
        region_agreement: of every example, the share of recordings that give it the region that most of them do,
            float64 [n] in (0, 1].
        correlations: Spearman's rank correlation between recordings, the least and the mean of all pairs, by metric;
            NaN where a metric is the same for all examples.
        n_moving: examples that have different regions in different recordings.
        n_hard: examples that are hard in at least one; `n_hard_in_all` of them in all.
    """

    region_agreement: np.ndarray
    correlations: dict[str, tuple[float, float]]
    n_moving: int
    n_hard: int
    n_hard_in_all: int

    def sentences(self) -> str:
        """How far the map can be trusted, in words."""
        told = [
            f"Spearman's correlation of {name} between recordings: {mean:.2f} on average, {least:.2f} at least."
            for name, (least, mean) in self.correlations.items()
        ]
        n_rows = len(self.region_agreement)
        told.append(f"{self.n_moving:,} of {n_rows:,} examples ({self.n_moving / n_rows:.1%}) change their region.")
        told.append(f"Of {self.n_hard:,} that are hard in one recording at least, {self.n_hard_in_all:,} are in all.")
        return "\n".join(told)


def refuse_other_rows(recordings: Sequence[Recording], names: Sequence[str]) -> None:
    """UsageError where recordings are not of the same rows, task, windows and number of epochs as the first one."""
    first = recordings[0]
    places = {identifier: row for row, identifier in enumerate(first.ids)}
    for other, name in zip(recordings[1:], names[1:], strict=True):
        n_shared = sum(identifier in places for identifier in other.ids)
        why = ""
        if first.manifest.get("task") != other.manifest.get("task"):
            why = f"tasks {first.manifest.get('task')} and {other.manifest.get('task')}"
        elif not n_shared == len(first.ids) == len(other.ids):
            why = f"other rows ({len(first.ids)} and {len(other.ids)}, {n_shared} of them in both)"
        elif first.n_epochs != other.n_epochs:
            why = f"{first.n_epochs} and {other.n_epochs} epochs"
        else:
            order = [places[identifier] for identifier in other.ids]
            if any((first.counts[count][order] != other.counts[count]).any() for count in COUNTS):
                why = "other windows (max_length or doc_stride)"
        if why:
            raise UsageError(
                f"--cartography_dir {names[0]} and {name} are of {why}: give recordings of the same rows, of different "
                "seeds or models."
            )


def mean_numbers(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The mean of every number over frames of the same ids, in the order of the first; missing where one is."""
    first = frames[0]
    if len(frames) == 1:
        return first
    names = [name for name in first if all(name in frame for frame in frames)]
    stacked = np.stack([frame.reindex(first.index)[names].to_numpy(dtype=np.float64) for frame in frames])
    return pd.DataFrame(stacked.mean(axis=0), index=first.index, columns=names)


def averaged(metrics: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The mean of every number over recordings, a row an example of all of them, in the order of the first.

    Counts of windows stay as they are; `never_learnt` is true where it is in all recordings.

    Args:
        metrics: of each recording a row an example, `id` and numbers.
    """
    tables = [table.set_index("id") for table in metrics]
    ids = [name for name in tables[0].index if all(name in table.index for table in tables[1:])]
    tables = [table.loc[ids] for table in tables]
    kept = {name: tables[0][name] for name in COUNTS if name in tables[0]}
    never_learnt = np.all([table["never_learnt"] for table in tables], axis=0)
    return mean_numbers(tables).assign(never_learnt=never_learnt, **kept).reset_index()


def agreement(metrics: Sequence[pd.DataFrame], regions: Sequence[np.ndarray]) -> Agreement:
    """How far recordings agree.

    Args:
        metrics: of each recording, a row an example, the same examples in the same order: confidence, variability.
        regions: of each recording, those of the same examples, one of REGIONS, [n].
    """
    correlations = {}
    for name in COMPARED:
        ranks = [table[name].rank().to_numpy() for table in metrics]
        pairs = np.array([_correlation(one, other) for one, other in combinations(ranks, 2)])
        correlations[name] = (float(pairs.min()), float(pairs.mean()))
    counts = np.stack([np.sum([part == region for part in regions], axis=0) for region in REGIONS])
    n_hard = counts[REGIONS.index("hard")]
    return Agreement(
        region_agreement=counts.max(axis=0) / len(regions),
        correlations=correlations,
        n_moving=int((counts.max(axis=0) < len(regions)).sum()),
        n_hard=int((n_hard > 0).sum()),
        n_hard_in_all=int((n_hard == len(regions)).sum()),
    )


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation; NaN where one of them does not vary."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])
