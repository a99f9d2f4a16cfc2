"""The analysis of a data set's vectors: which rows are clustered, the clusters, their quality and their coordinates.

`options` are those of cluster_analysis.py.
"""

import argparse
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from datamap.clusters import pipeline, quality
from datamap.clusters.quality import noise_share
from datamap.clusters.spanning_trees import chosen_algorithm, cut_tree, nearest_neighbours, spanning_tree

logger = logging.getLogger(__name__)


def chosen_rows(options: argparse.Namespace, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(rows to cluster, rows to assign afterwards), each in the order of their ids.

    That order makes labels and coordinates the same for every order of the file.
    """
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__))
    if len(order) <= options.max_samples:
        return order, order[:0]
    drawn = np.random.default_rng(options.seed).choice(len(order), options.max_samples, replace=False)
    taken = np.isin(np.arange(len(order)), drawn)
    logger.info("%d of %d rows, drawn with seed %d, are clustered.", taken.sum(), len(order), options.seed)
    return order[taken], order[~taken]


def cut(options: argparse.Namespace, edges: np.ndarray, min_cluster_size: int) -> Any:
    """The clusters of a spanning tree at one size."""
    return cut_tree(
        edges,
        min_cluster_size=min_cluster_size,
        selection=options.cluster_selection_method,
        allow_single_cluster=options.allow_single_cluster,
    )


def measure(
    options: argparse.Namespace, points: np.ndarray, edges: np.ndarray, clustering: Any, algorithm: str
) -> dict:
    """The quality of the clusters: noise, validity, stability where it was asked for, and the scan of sizes."""

    def cluster_again(rows: np.ndarray) -> Any:
        """Labels of a resample; both sizes shrink with its share of the rows."""
        share = len(rows) / len(points)
        edges_again = spanning_tree(rows, max(1, round(share * options.min_samples)), algorithm, options.seed)
        return cut(options, edges_again, max(2, round(share * options.min_cluster_size))).labels

    found: dict[str, Any] = {"dbcv": quality.density_validity(points, clustering.labels, options.seed)}
    if options.stability and clustering.n_clusters:
        resampling = {"n_resamples": options.stability, "seed": options.seed}
        found["stability_values"] = quality.resampled_agreement(points, clustering.labels, cluster_again, **resampling)
        found["stability"] = mean_of(found["stability_values"])
    sizes = quality.scan_sizes(options.min_cluster_size, len(points))
    scan = quality.scan_table(sizes, lambda size: cut(options, edges, size).labels)
    found["scan"] = scan.to_dict("records")
    found["cliff"] = quality.cliff_sentence(scan, options.min_cluster_size)
    if found["cliff"]:
        logger.warning(found["cliff"])
    return found


def mean_of(values: Any) -> float | None:
    """The mean; None where there is nothing."""
    return float(sum(values) / len(values)) if len(values) else None


def cluster(options: argparse.Namespace, vectors: np.ndarray, chosen: np.ndarray, rest: np.ndarray) -> Any:
    """Reduce, cluster, predict the rest: (points, coordinates, labels, probabilities, persistence, metadata).

    Args:
        vectors: float32 [n_rows, n_columns], in any order.
        chosen, rest: rows to cluster and rows to assign; the results are in this order, `chosen` first.
    """

    points, reduction = pipeline.reduce_rows(
        vectors[chosen],
        method=options.reduction_method,
        n_dimensions=options.reduction_dim,
        metric=options.metric,
        seed=options.seed,
    )
    others = reduction(vectors, rest) if len(rest) else points[:0]
    # Equal rows are one point: a reduction gives them different last digits, and UMAP different places.
    first = pipeline.first_equal(vectors, np.concatenate([chosen, rest]))
    points, others = np.split(np.concatenate([points, others])[first], [len(points)])
    variance = reduction.variance_explained
    if variance is not None:
        logger.info("PCA to %d dimensions keeps %.1f%% of the variance.", points.shape[1], 100 * variance)
    algorithm, why = chosen_algorithm(options.algorithm, len(points))
    logger.info("Clustering %d rows of %d dimensions with %s: %s.", *points.shape, algorithm, why)
    # fast_hdbscan is for rows so many that a search of all pairs takes too long.
    neighbours = None if algorithm == "fast_hdbscan" else nearest_neighbours(points, options.min_samples)
    edges = spanning_tree(points, options.min_samples, algorithm, options.seed, neighbours)
    clustering = cut(options, edges, options.min_cluster_size)
    metadata = {
        "algorithm": algorithm,
        "algorithm_reason": why,
        "n_rows": len(vectors),
        "n_clustered": len(chosen),
        "n_approximate": len(rest),
        "n_dimensions": points.shape[1],
        "variance_explained": variance,
        "n_clusters": clustering.n_clusters,
    } | measure(options, points, edges, clustering, algorithm)
    labels, probabilities = clustering.labels, clustering.probabilities
    flat = pipeline.flat_coordinates(points, others, options.visualization_method, options.seed, neighbours)
    if len(rest):
        sizes = {"min_samples": options.min_samples, "min_cluster_size": options.min_cluster_size}
        more = pipeline.predict_rows(clustering, points, others, **sizes)
        points = np.concatenate([points, others])
        labels, probabilities = np.concatenate([labels, more[0]]), np.concatenate([probabilities, more[1]])
    metadata |= {"noise_share": noise_share(labels), "mean_probability": mean_of(probabilities[labels >= 0])}
    return points, flat, labels, probabilities, clustering.persistence, metadata
