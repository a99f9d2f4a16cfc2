"""The pipeline around the density clustering: standardise, reduce, place on a map, predict further rows, number.

Rows must come in a fixed order (the script sorts them by id): then neither labels nor coordinates depend on the order
of a file.
"""

import copy
import dataclasses
import hashlib
import warnings
from typing import Any

import numpy as np
from hdbscan import approximate_predict
from hdbscan.plots import CondensedTree
from hdbscan.prediction import PredictionData
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler, normalize

from datamap.clusters.files import NOISE
from datamap.clusters.spanning_trees import Clustering

BLOCK_ROWS = 65_536
MAP_NEIGHBOURS = 15
# Distances in shares of a row's length. Below the first a matrix product finds little but its own rounding; rows within
# the second, which float32 hardly tells apart, are taken for the same row.
NEAR, SAME_ROW = 1e-3, 1e-6
NEAR_ROWS = 8_192


@dataclasses.dataclass(frozen=True)
class Reduction:
    """What was learnt from the fitted rows, to reduce any row; `variance_explained` in [0, 1], None without PCA."""

    scaler: StandardScaler
    reducer: Any
    cosine: bool
    variance_explained: float | None

    def __call__(self, vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """float64 [n, n_dimensions] of some rows (at least one) of vectors [n_rows, n_columns], block by block."""
        blocks = [rows[begin : begin + BLOCK_ROWS] for begin in range(0, len(rows), BLOCK_ROWS)]
        return np.concatenate([self._block(vectors[block]) for block in blocks])

    def _block(self, vectors: np.ndarray) -> np.ndarray:
        points = self.scaler.transform(np.asarray(vectors, dtype=np.float64))
        points = self.reducer.transform(points) if self.reducer is not None else points
        points = np.asarray(points, dtype=np.float64)
        return normalize(points) if self.cosine else points


def reduce_rows(
    vectors: np.ndarray, *, method: str, n_dimensions: int, metric: str, seed: int
) -> tuple[np.ndarray, Reduction]:
    """Standardise the columns, reduce them, and with the metric "cosine" bring every row to length 1.

    On rows of length 1 the squared euclidean distance is twice the cosine distance, so both order pairs alike.

    Args:
        vectors: [n_rows, n_columns], finite, in the order of their ids.
        method: "pca" (exact, by the eigenvectors of the covariance; the largest loading of each is positive), "umap"
            (seeded, one thread) or "none".
        n_dimensions: to reduce to, at most min(n_rows, n_columns) (pca); not read with "none".

    Returns:
        points, float64 [n_rows, n_dimensions], and the Reduction for further rows.
    """
    scaler = StandardScaler()
    points = scaler.fit_transform(np.asarray(vectors, dtype=np.float64))
    reducer, variance = None, None
    if method == "pca":
        reducer = PCA(n_dimensions, svd_solver="covariance_eigh")
        points = reducer.fit(points).transform(points)
        variance = float(reducer.explained_variance_ratio_.sum())
    elif method == "umap":
        reducer = umap_model(len(points), n_dimensions, seed, n_neighbours=30, min_dist=0.0)
        points = reducer.fit_transform(points).astype(np.float64)
    cosine = metric == "cosine"
    return (normalize(points) if cosine else points), Reduction(scaler, reducer, cosine, variance)


def first_equal(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """For each of some rows of vectors the place, among them, of the first that holds the same numbers; int64 [n]."""
    seen: dict[bytes, int] = {}
    places = np.empty(len(rows), dtype=np.int64)
    for place, row in enumerate(rows):
        digest = hashlib.blake2b(vectors[row].tobytes(), digest_size=16).digest()
        places[place] = seen.setdefault(digest, place)
    return places


def umap_model(
    n_rows: int,
    n_dimensions: int,
    seed: int,
    *,
    n_neighbours: int = MAP_NEIGHBOURS,
    min_dist: float = 0.1,
    **options: Any,
) -> Any:
    """An unfitted UMAP that gives the same coordinates for the same rows: seeded, on one thread, started from PCA."""
    from umap import UMAP

    return UMAP(
        n_components=n_dimensions,
        n_neighbors=min(n_neighbours, n_rows - 1),
        min_dist=min_dist,
        init="pca" if n_rows > n_dimensions else "random",
        random_state=seed,
        n_jobs=1,
        **options,
    )


def flat_coordinates(points: np.ndarray, rest: np.ndarray, method: str, seed: int, neighbours: Any) -> np.ndarray:
    """Two coordinates of every row for a picture, float64 [n_points + n_rest, 2]; NaN with the method "none".

    Args:
        points: the clustered rows, float64 [n_points, n_dimensions].
        rest: further rows, placed by what was learnt from `points`; may be empty.
        method: "umap" (seeded), "pca" or "none".
        neighbours: of `nearest_neighbours(points, ...)`, for "umap" to start from; with None, or with further rows,
            it searches by itself, approximately.
    """
    if method == "none":
        return np.full((len(points) + len(rest), 2), np.nan)
    if method == "pca":
        model = PCA(2, svd_solver="covariance_eigh").fit(points)
        return model.transform(np.concatenate([points, rest]))
    known: dict[str, Any] = {}
    if neighbours is not None and not len(rest):  # its own search takes longer to compile than to run
        known["precomputed_knn"] = with_itself(neighbours[0], neighbours[1], MAP_NEIGHBOURS)
    model = umap_model(len(points), 2, seed, **known)
    with warnings.catch_warnings():  # that no row can be placed afterwards, which none is
        warnings.filterwarnings("ignore", message="precomputed_knn")
        placed = model.fit_transform(points)
    placed = np.concatenate([placed, model.transform(rest)]) if len(rest) else placed
    return placed.astype(np.float64)


def with_itself(distances: np.ndarray, rows: np.ndarray, n_neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """Nearest neighbours as UMAP takes them: each row itself first, row numbers and then float32 distances."""
    rows = np.column_stack([np.arange(len(rows)), rows])[:, :n_neighbours]
    distances = np.column_stack([np.zeros(len(distances)), distances])[:, :n_neighbours]
    return rows, distances.astype(np.float32)


class _ExactNeighbours:
    """What hdbscan's prediction asks of a search tree, answered by blocked matrix products."""

    def __init__(self, points: np.ndarray, metric: str):
        self.points = points
        self.search = NearestNeighbors(algorithm="brute", metric=metric).fit(points)

    def query(self, points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances, float64 [n, k], rising in each row, and row numbers of the k nearest rows."""
        distances, rows = self.search.kneighbors(points, k)
        for begin in range(0, len(points), NEAR_ROWS):
            block = slice(begin, begin + NEAR_ROWS)
            self._measure_near(points[block], distances[block], rows[block])
        order = np.argsort(distances, axis=1, kind="stable")
        return np.take_along_axis(distances, order, axis=1), np.take_along_axis(rows, order, axis=1)

    def _measure_near(self, points: np.ndarray, distances: np.ndarray, rows: np.ndarray) -> None:
        """Put the small ones of `distances` [n, k] right: by differences, of which equal rows have none."""
        is_near = distances < NEAR * np.linalg.norm(points, axis=1, keepdims=True)
        for place in np.flatnonzero(is_near.any(axis=0)):
            near = is_near[:, place]
            distances[near, place] = np.linalg.norm(points[near] - self.points[rows[near, place]], axis=1)


@dataclasses.dataclass(frozen=True)
class _Answered:
    """A search tree that was asked before."""

    answer: tuple[np.ndarray, np.ndarray]

    def query(self, points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        return self.answer


class _Prediction(PredictionData):
    _tree_type_map = {"kdtree": _ExactNeighbours}


@dataclasses.dataclass(frozen=True)
class _Fitted:
    """The attributes that `hdbscan.approximate_predict` reads of a model."""

    condensed_tree_: CondensedTree
    prediction_data_: PredictionData
    min_samples: int
    min_cluster_size: int


def predict_rows(
    clustering: Clustering, points: np.ndarray, rest: np.ndarray, *, min_samples: int, min_cluster_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of rows that were not clustered, by where they would join the tree.

    A row that equals a clustered one gets what that one has. By its place in the tree alone it would get a probability
    of 0: in a cluster with repeated rows densities are infinite, and every finite share of them is 0.

    Args:
        points: the clustered rows, float64 [n_rows, n_dimensions], at least 2 x `min_samples` of them.
        rest: further rows, float64 [n_rest, n_dimensions].

    Returns:
        labels int64 [n_rest] (-1 = noise), probabilities float64 [n_rest] in [0, 1].
    """
    labels, probabilities = np.full(len(rest), NOISE, dtype=np.int64), np.zeros(len(rest))
    if not clustering.n_clusters:
        return labels, probabilities
    tree = CondensedTree(clustering.tree, clustering.labels)
    prediction = _Prediction(points, tree, min_samples)
    is_one = not len(prediction.cluster_tree)  # nothing ever parts, and the one cluster is the tree's root
    branches = clustering.tree if is_one else prediction.cluster_tree
    for begin in range(0, len(rest), BLOCK_ROWS):
        block = slice(begin, begin + BLOCK_ROWS)
        distances, rows = prediction.tree.query(rest[block], 2 * min_samples)
        known = copy.copy(prediction)
        known.tree, known.cluster_tree = _Answered((distances, rows)), branches
        labels[block], probabilities[block] = approximate_predict(
            _Fitted(tree, known, min_samples, min_cluster_size), rest[block]
        )
        same = np.flatnonzero(distances[:, 0] <= SAME_ROW * np.linalg.norm(rest[block], axis=1))
        labels[begin + same] = clustering.labels[rows[same, 0]]
        probabilities[begin + same] = clustering.probabilities[rows[same, 0]]
    if is_one:  # members of a root are, as hdbscan has it, its densest rows alone
        labels[probabilities < 1] = NOISE
    return labels, np.where(labels == NOISE, 0.0, probabilities)


def numbered_by_size(labels: np.ndarray, persistence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels with the clusters numbered by falling size, equal ones by their first row; their persistence likewise.

    Args:
        labels: int [n_rows], -1 = noise, else 0 .. n_clusters - 1, all in use; rows in the order of their ids.
        persistence: float64 [n_clusters].
    """
    numbers, first, sizes = np.unique(labels[labels != NOISE], return_index=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    new = np.empty(len(numbers), dtype=np.int64)
    new[order] = np.arange(len(numbers))
    return np.append(new, NOISE)[labels], persistence[order]


def shown_members(
    points: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, cluster: int, n_shown: int, seed: int
) -> dict[str, np.ndarray]:
    """Row numbers of members of a cluster that a person is shown, up to `n_shown` of each kind and none twice.

    `central`: nearest to the mean of the members; `uncertain`: of the lowest probability; `random`: drawn with the
    seed. Of equal rows the first. Noise (-1) has only `random`.

    Args:
        points: float64 [n_rows, n_dimensions]; labels, probabilities: of the same rows.
    """
    rows = np.flatnonzero(labels == cluster)
    shown = {}
    if cluster != NOISE:
        distances = np.linalg.norm(points[rows] - points[rows].mean(axis=0), axis=1).round(12)
        shown["central"] = rows[np.argsort(distances, kind="stable")][:n_shown]
        rows = np.setdiff1d(rows, shown["central"])
        shown["uncertain"] = rows[np.argsort(probabilities[rows], kind="stable")][:n_shown]
        rows = np.setdiff1d(rows, shown["uncertain"])
    generator = np.random.default_rng([seed, cluster + 1])
    shown["random"] = np.sort(generator.permutation(rows)[:n_shown])
    return shown
