"""How far clusters can be trusted: validity, stability under resampling, and sizes at which they fall apart."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from hdbscan.validity import validity_index
from sklearn.metrics import adjusted_rand_score

from datamap.clusters.files import NOISE

SCAN_FACTORS = (2 / 3, 4 / 5, 1, 5 / 4, 3 / 2)
# Neighbouring sizes of the scan of which one has at most this share of the other's clusters are a cliff.
CLIFF_SHARE = 0.5
DBCV_ROWS = 5_000
LEAST_MEMBERS = 3


def noise_share(labels: np.ndarray) -> float:
    """The share of rows in no cluster, [0, 1]."""
    return float((labels == NOISE).mean())


def density_validity(points: np.ndarray, labels: np.ndarray, seed: int) -> float | None:
    """DBCV (Moulavi et al. 2014), [-1, 1], higher is better, from `hdbscan.validity`; noise lowers it.

    Above DBCV_ROWS rows it is that of a seeded sample. The package breaks ties by the order of the rows, which moves it
    a little; its fast form, which looks at the spanning tree alone, moves by as much as its value.

    Args:
        points: float64 [n_rows, n_dimensions].
        labels: int [n_rows], -1 = noise.

    Returns:
        None with fewer than two clusters, for which there is no separation.
    """
    if len(points) > DBCV_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(len(points), DBCV_ROWS, replace=False))
        points, labels = points[rows], labels[rows]
    counts = pd.Series(labels[labels != NOISE]).value_counts()
    large = counts.index[counts >= LEAST_MEMBERS]
    if len(large) < 2:
        return None
    number = {label: place for place, label in enumerate(sorted(large))}
    labels = np.array([number.get(label, NOISE) for label in labels.tolist()])
    with np.errstate(all="ignore"):  # distances to the power of the dimensions may overflow, which it allows for
        found = float(validity_index(np.ascontiguousarray(points), labels))
    return found if np.isfinite(found) else None


def resampled_agreement(
    points: np.ndarray,
    labels: np.ndarray,
    cluster: Callable[[np.ndarray], np.ndarray],
    *,
    n_resamples: int,
    seed: int,
) -> list[float]:
    """The adjusted Rand index of the clusters with those of each bootstrap resample, [-0.5, 1], 1 = the same clusters.

    A resample draws as many rows as there are, with replacement, and keeps each drawn row once (about 63% of the
    rows): repeats would lie at distance 0 and be clusters of their own. It is clustered again and compared on its
    rows; noise counts as a cluster of its own on both sides.

    Args:
        points: float64 [n_rows, n_dimensions].
        labels: of all rows, int [n_rows], -1 = noise.
        cluster: points to labels; sizes that count rows have to go by the share of rows that is left.
        n_resamples: how many.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    agreement = []
    for _ in range(n_resamples):
        rows = np.unique(generator.integers(len(points), size=len(points)))
        agreement.append(float(adjusted_rand_score(labels[rows], cluster(points[rows]))))
    return agreement


def scan_sizes(chosen: int, n_rows: int) -> list[int]:
    """The `min_cluster_size` to look at, around the chosen one and with it, rising: at least 2, at most `n_rows`."""
    return sorted({min(max(2, round(factor * chosen)), n_rows) for factor in SCAN_FACTORS})


def scan_table(sizes: list[int], labels_at: Callable[[int], np.ndarray]) -> pd.DataFrame:
    """One row a `min_cluster_size`: min_cluster_size, n_clusters, noise_share, largest_share (of all rows)."""
    rows = []
    for size in sizes:
        labels = labels_at(size)
        counts = np.bincount(labels[labels != NOISE], minlength=1)
        largest = counts.max() / len(labels)
        rows.append((size, labels.max() + 1, noise_share(labels), largest))
    return pd.DataFrame(rows, columns=["min_cluster_size", "n_clusters", "noise_share", "largest_share"])


def cliff_sentence(scan: pd.DataFrame, chosen: int) -> str | None:
    """A warning where, one step of the scan beside the chosen size, half of the clusters or more (and two) are gone."""
    sizes, counts = scan["min_cluster_size"].tolist(), scan["n_clusters"].tolist()
    place = sizes.index(chosen)
    for step in (place - 1, place):
        if not 0 <= step < len(sizes) - 1:
            continue
        before, after = counts[step], counts[step + 1]
        if before - after >= 2 and after <= CLIFF_SHARE * before:
            return (
                f"The number of clusters falls off a cliff at --min_cluster_size {chosen}: {before} clusters at "
                f"{sizes[step]}, {after} at {sizes[step + 1]}. Look at both before you trust either."
            )
    return None
