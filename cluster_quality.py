"""How far clusters can be trusted: validity, stability under resampling, and sizes at which they fall apart."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from cluster_files import NOISE

SCAN_FACTORS = (2 / 3, 4 / 5, 1, 5 / 4, 3 / 2)
# Neighbouring sizes of the scan of which one has at most this share of the other's clusters are a cliff.
CLIFF_SHARE = 0.5


def noise_share(labels: np.ndarray) -> float:
    """The share of rows in no cluster, [0, 1]."""
    return float((labels == NOISE).mean())


def relative_validity(edges: np.ndarray, labels: np.ndarray) -> float | None:
    """DBCV in its fast form, [-1, 1], higher is better: density-based validity along the spanning tree alone.

    For each cluster V = (separation - sparseness) / max(separation, sparseness): sparseness is the longest tree edge
    inside it, separation the shortest one to another cluster (2 x the tree's longest edge where there is none); the
    mean is weighted by size, and noise counts as rows with V = 0. It is hdbscan's `relative_validity_`, good for
    comparing settings on the same rows; the full DBCV (Moulavi et al. 2014) needs all pairs of rows.

    Args:
        edges: of the spanning tree, float64 [n_rows - 1, 3].
        labels: int [n_rows], -1 = noise.

    Returns:
        None with fewer than two clusters, for which there is no separation.
    """
    sizes = np.bincount(labels[labels != NOISE])
    if len(sizes) < 2:
        return None
    first, second = (labels[edges[:, column].astype(np.int64)] for column in (0, 1))
    lengths = edges[:, 2]
    in_clusters = (first != NOISE) & (second != NOISE)
    same, between = in_clusters & (first == second), in_clusters & (first != second)
    sparseness, separation = np.zeros(len(sizes)), np.full(len(sizes), np.inf)
    np.maximum.at(sparseness, first[same], lengths[same])
    np.minimum.at(separation, first[between], lengths[between])
    np.minimum.at(separation, second[between], lengths[between])
    separation[np.isinf(separation)] = 2 * lengths.max()
    larger = np.maximum(separation, sparseness)
    validity = np.divide(separation - sparseness, larger, out=np.zeros(len(sizes)), where=larger > 0)
    return float((sizes * validity).sum() / len(labels))


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
    rows): repeats would lie at distance 0 and be clusters of their own. It is clustered with the same settings and
    compared on its rows; noise counts as a cluster of its own on both sides.

    Args:
        points: float64 [n_rows, n_dimensions].
        labels: of all rows, int [n_rows], -1 = noise.
        cluster: points to labels.
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
