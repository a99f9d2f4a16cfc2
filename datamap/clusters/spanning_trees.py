"""Spanning trees over mutual reachability distances, and the clusters that are cut out of them: HDBSCAN in two steps.

Source: Campello, Moulavi and Sander 2013. The mutual reachability distance of two rows is the largest of their distance
and their core distances; a core distance is that to the `min_samples`-th neighbour. The algorithms differ in how they
find the tree alone, so that everything after it is the same code.
"""

import dataclasses
import importlib.util
import os
from typing import Any

import numpy as np
from hdbscan import HDBSCAN
from hdbscan._hdbscan_linkage import label
from hdbscan.hdbscan_ import _tree_to_labels
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from datamap.clusters.files import NOISE

# Up to this many rows hdbscan's own tree costs seconds; above, that over exact neighbours is several times faster.
FEW_ROWS = 5_000
# Up to this many rows exact neighbours were the fastest when measured; their time grows with the square.
MANY_ROWS = 100_000
# From this many dimensions on a tree of boxes prunes nothing, and Prim's algorithm beats Boruvka's.
MANY_DIMENSIONS = 16
# From here on fast_hdbscan turns to approximate neighbours.
FAST_DIMENSIONS = 30
# Neighbours in a graph of neighbours; its parts of at least as many rows are linked with each other directly.
LEAST_PART = 15
BLOCK_PAIRS = 20_000_000
# So many float32 distances stay in a processor's cache.
CACHED_PAIRS = 1_000_000


def chosen_algorithm(asked: str, n_rows: int) -> tuple[str, str]:
    """(algorithm, why) for `asked`; "auto" goes by the number of rows and by whether fast_hdbscan is installed."""
    if asked != "auto":
        return asked, "it was asked for"
    if n_rows <= FEW_ROWS:
        return "hdbscan", f"hdbscan's own tree of {n_rows:,} rows (at most {FEW_ROWS:,}) takes seconds"
    if n_rows <= MANY_ROWS:
        return "neighbour_graph", f"exact neighbours are fastest from {FEW_ROWS:,} to {MANY_ROWS:,} rows"
    if importlib.util.find_spec("fast_hdbscan") is None:
        why = f"fast_hdbscan, whose time grows more slowly above {MANY_ROWS:,} rows, is not installed (extra: fast)"
        return "neighbour_graph", why
    return "fast_hdbscan", f"above {MANY_ROWS:,} rows the time of approximate neighbours grows more slowly"


def nearest_neighbours(points: np.ndarray, min_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """The exact nearest other rows of every row, by blocked matrix products, as many as "neighbour_graph" looks at.

    Returns:
        distances, float64 [n_rows, n], rising in each row, and row numbers, int64 [n_rows, n]; n is 3 x `min_samples`
        but at least 15, or all other rows where there are fewer.
    """
    n_neighbours = min(max(3 * min_samples, LEAST_PART), len(points) - 1)
    return NearestNeighbors(n_neighbors=n_neighbours, algorithm="brute").fit(points).kneighbors()


def spanning_tree(
    points: np.ndarray, min_samples: int, algorithm: str, seed: int, neighbours: Any = None
) -> np.ndarray:
    """The minimum spanning tree over mutual reachability distances, float64 [n_rows - 1, 3]: row, row, distance.

    Args:
        points: float64 [n_rows, n_dimensions], at least two rows.
        min_samples: the neighbour, the row itself not counted, whose distance is a row's core distance.
        algorithm: "hdbscan" (exact), "neighbour_graph" (over exact nearest neighbours and the links between dense
            parts) or "fast_hdbscan" (the same over approximate neighbours, seeded).
        neighbours: of `nearest_neighbours`, where they are known; only "neighbour_graph" looks at them.

    Returns:
        edges by rising distance; equal distances in the order of the rows.
    """
    min_samples = min(min_samples, len(points) - 1)
    if algorithm == "hdbscan":
        name = "prims_kdtree" if points.shape[1] >= MANY_DIMENSIONS else "boruvka_kdtree"
        workers = os.cpu_count() or 1
        model = HDBSCAN(
            min_samples=min_samples,
            algorithm=name,
            approx_min_span_tree=False,
            gen_min_span_tree=True,
            core_dist_n_jobs=workers,
        )
        edges = model.fit(points).minimum_spanning_tree_.to_numpy()
    elif algorithm == "neighbour_graph":
        edges = neighbour_tree(points, min_samples, neighbours or nearest_neighbours(points, min_samples))
    else:
        edges = fast_tree(points, min_samples, seed)
    return in_order(edges)


def in_order(edges: np.ndarray) -> np.ndarray:
    """Edges by rising distance, equal ones in the order of their rows; float64, contiguous, as hdbscan reads them."""
    first, second = np.sort(edges[:, :2], axis=1).T
    return np.ascontiguousarray(edges[np.lexsort((second, first, edges[:, 2]))], dtype=np.float64)


def neighbour_tree(points: np.ndarray, min_samples: int, nearest: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The spanning tree over exact nearest neighbours, linked by parts."""
    distances, neighbours = nearest
    n_rows, n_neighbours = distances.shape
    core = distances[:, min_samples - 1].copy()
    weights = np.maximum(np.maximum(core[:, None], core[neighbours]), distances)
    rows = np.repeat(np.arange(n_rows), n_neighbours)
    edges = np.column_stack([rows, neighbours.ravel(), weights.ravel()])
    return linked_tree(points, core, lightest_forest(edges, n_rows))


def fast_tree(points: np.ndarray, min_samples: int, seed: int) -> np.ndarray:
    """The spanning tree of the package fast_hdbscan: exact up to 30 dimensions, else over approximate neighbours.

    The package searches in float32 and leaves parts of the graph unconnected; distances are taken again in float64.
    """
    from fast_hdbscan.hdbscan import compute_minimum_spanning_tree
    from fast_hdbscan.nndescent import compute_mst_from_knn_graph

    if points.shape[1] > FAST_DIMENSIONS:  # what the package would do by itself, but seeded
        edges, _, core = compute_mst_from_knn_graph(points, min_samples, random_state=seed)
    else:
        edges, _, core = compute_minimum_spanning_tree(points, min_samples, reproducible=True)
    core = np.asarray(core, dtype=np.float64)
    edges = np.array(edges[np.isfinite(edges[:, 2])])
    first, second = edges[:, :2].astype(np.int64).T
    distances = np.linalg.norm(points[first] - points[second], axis=1)
    edges[:, 2] = np.maximum(np.maximum(core[first], core[second]), distances)
    return linked_tree(points, core, edges)


def linked_tree(points: np.ndarray, core: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """A spanning forest of a graph of neighbours, made a tree and mended where neighbours do not reach.

    No row of a dense part has another part among its neighbours, so the graph leads from part to part through noise,
    where the exact tree may go straight: noise then passes for members. The shortest straight links between parts,
    first the finest ones and then the clusters, put this right.
    """
    edges = joined_tree(points, core, edges)
    for selection in ("leaf", "eom"):
        labels = cut_tree(in_order(edges), min_cluster_size=LEAST_PART, selection=selection).labels
        edges = lightest_forest(np.concatenate([edges, part_links(points, core, labels)]), len(points))
    return edges


def part_links(points: np.ndarray, core: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The links of a minimum spanning tree between parts, [n_parts - 1, 3]: row, row, mutual reachability distance.

    Pairs are searched in float32; the distance of those found is float64.

    Args:
        points: float64 [n_rows, n_dimensions]; core: float64 [n_rows].
        labels: int [n_rows], the part of each row from 0 on, -1 = none.
    """
    n_parts = int(labels.max()) + 1
    if n_parts < 2:
        return np.empty((0, 3))
    rows = np.flatnonzero(labels != NOISE)
    rows = rows[np.argsort(labels[rows], kind="stable")]
    starts = np.searchsorted(labels[rows], np.arange(n_parts + 1))
    shortest, nearest = shortest_between(points[rows].astype(np.float32), core[rows].astype(np.float32), starts)
    links = []
    for part, other in zip(*minimum_spanning_tree(shortest).nonzero(), strict=True):
        row, others = rows[nearest[part, other]], rows[starts[other] : starts[other + 1]]
        distances = np.linalg.norm(points[others] - points[row], axis=1)
        distances = np.maximum(np.maximum(distances, core[others]), core[row])
        links.append((row, others[distances.argmin()], distances.min()))
    return np.array(links, dtype=np.float64).reshape(-1, 3)


def shortest_between(points: np.ndarray, core: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every two parts (the lower one first) their least squared distance, and the lower one's row that has it.

    Args:
        points: float32 [n_rows, n_dimensions], part after part; core: float32 [n_rows].
        starts: int [n_parts + 1], where each part begins, and the end.

    Returns:
        float32 and int64 [n_parts, n_parts]; 0 on and below the diagonal.
    """
    n_parts = len(starts) - 1
    shortest = np.zeros((n_parts, n_parts), dtype=np.float32)
    nearest = np.zeros((n_parts, n_parts), dtype=np.int64)
    squares, core = (points**2).sum(axis=1), core**2
    ones = np.ones_like(squares)
    # The product of these two holds the squared distances themselves.
    left, right = np.column_stack([points, squares, ones]), np.column_stack([-2 * points, ones, squares]).T.copy()
    for part in range(n_parts - 1):
        begin, end = starts[part], starts[part + 1]
        shortest[part, part + 1 :] = np.inf
        step = max(16, CACHED_PAIRS // (starts[-1] - end))
        for first in range(begin, end, step):
            last = min(first + step, end)
            distances = left[first:last] @ right[:, end:]
            np.maximum(distances, core[end:], out=distances)
            least = np.minimum.reduceat(distances, starts[part + 1 : -1] - end, axis=1)
            least = np.maximum(least, core[first:last, None])
            places = least.argmin(axis=0)
            found = least[places, np.arange(least.shape[1])]
            better = found < shortest[part, part + 1 :]
            shortest[part, part + 1 :][better] = found[better]
            nearest[part, part + 1 :][better] = first + places[better]
    return shortest, nearest


def lightest_forest(edges: np.ndarray, n_rows: int) -> np.ndarray:
    """The edges of a minimum spanning forest of a graph, [n, 3]; of equal edges the first ones.

    SciPy drops edges of length 0, so it is given the places in the order of length instead.
    """
    edges = edges[np.argsort(edges[:, 2], kind="stable")]
    first, second = np.sort(edges[:, :2].astype(np.int64), axis=1).T
    kept = np.sort(np.unique(first * n_rows + second, return_index=True)[1])
    places = np.arange(1.0, len(kept) + 1)
    graph = csr_matrix((places, (first[kept], second[kept])), shape=(n_rows, n_rows))
    return edges[kept[minimum_spanning_tree(graph).data.astype(np.int64) - 1]]


def joined_tree(points: np.ndarray, core: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """A forest turned into one tree: each part but the largest is linked with its nearest other part, and so on.

    Args:
        points: float64 [n_rows, n_dimensions].
        core: core distances, float64 [n_rows].
        edges: of the forest, [n, 3].
    """
    n_rows = len(points)
    while len(edges) < n_rows - 1:
        first, second = edges[:, :2].astype(np.int64).T
        graph = csr_matrix((np.ones(len(edges)), (first, second)), shape=(n_rows, n_rows))
        n_parts, parts = connected_components(graph, directed=False)
        largest = np.bincount(parts).argmax()
        links = [shortest_link(points, core, parts == part) for part in range(n_parts) if part != largest]
        edges = lightest_forest(np.concatenate([edges, links]), n_rows)
    return edges


def shortest_link(points: np.ndarray, core: np.ndarray, inside: np.ndarray) -> tuple[int, int, float]:
    """(row inside, row outside, mutual reachability distance) of the shortest link out of a part of the rows."""
    inner, outer = np.flatnonzero(inside), np.flatnonzero(~inside)
    best = (-1, -1, np.inf)
    step = max(1, BLOCK_PAIRS // len(outer))
    for begin in range(0, len(inner), step):
        rows = inner[begin : begin + step]
        distances = pairwise_distances(points[rows], points[outer])
        np.maximum(distances, core[rows][:, None], out=distances)
        np.maximum(distances, core[outer], out=distances)
        row, column = np.unravel_index(distances.argmin(), distances.shape)
        if distances[row, column] < best[2]:
            best = (int(rows[row]), int(outer[column]), float(distances[row, column]))
    return best


@dataclasses.dataclass(frozen=True)
class Clustering:
    """Clusters of the rows that were clustered.

    Attributes:
        labels: int64 [n_rows], -1 = noise, else from 0 in the order of the tree.
        probabilities: float64 [n_rows] in [0, 1]: how near the row's last distance is to the cluster's densest; 0 for
            noise.
        persistence: float64 [n_clusters] in [0, 1]: the share of its possible excess of mass that a cluster has.
        tree: the condensed tree, as hdbscan keeps it.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    persistence: np.ndarray
    tree: np.ndarray

    @property
    def n_clusters(self) -> int:
        """Number of clusters, noise not counted."""
        return len(self.persistence)


def cut_tree(
    edges: np.ndarray, *, min_cluster_size: int, selection: str = "eom", allow_single_cluster: bool = False
) -> Clustering:
    """The clusters of a spanning tree: its condensed branches of at least `min_cluster_size` rows that last longest.

    Args:
        edges: of `spanning_tree`, by rising distance.
        selection: "eom" (the branches with the largest excess of mass) or "leaf" (the tips).
        allow_single_cluster: whether all rows may be one cluster (with noise around it).
    """
    found = _tree_to_labels(
        None,
        label(edges),
        min_cluster_size,
        cluster_selection_method=selection,
        allow_single_cluster=allow_single_cluster,
    )
    labels, probabilities, persistence, tree, _ = found
    probabilities = np.where(labels == NOISE, 0.0, np.nan_to_num(probabilities, nan=1.0))
    return Clustering(np.asarray(labels, dtype=np.int64), probabilities, np.asarray(persistence, dtype=float), tree)
