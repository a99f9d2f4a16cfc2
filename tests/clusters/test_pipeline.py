"""Reduction, spanning trees and the quality of clusters against planted clusters and other implementations."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hdbscan import HDBSCAN
from hdbscan.validity import validity_index
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

from datamap.clusters import pipeline, quality, spanning_trees
from datamap.clusters.spanning_trees import cut_tree, spanning_tree


def mixture(n_rows, n_columns=20, n_clusters=8, noise=0.2, seed=0, spread=4.0):
    """(vectors, planted labels): Gaussian clusters in uniform noise, which is labelled -1."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(n_clusters, n_columns)) * spread
    labels = generator.integers(n_clusters, size=n_rows)
    vectors = centres[labels] + generator.normal(size=(n_rows, n_columns))
    is_noise = generator.random(n_rows) < noise
    vectors[is_noise] = generator.uniform(-10, 10, size=(is_noise.sum(), n_columns))
    return vectors, np.where(is_noise, -1, labels)


@pytest.fixture(scope="module")
def planted():
    return mixture(2_000)


def exact_tree_weight(points, min_samples):
    """The weight of the minimum spanning tree, from the whole matrix of mutual reachability distances."""
    distances = cdist(points, points)
    core = np.sort(distances, axis=1)[:, min_samples]
    reachable = np.maximum(np.maximum(distances, core), core[:, None])
    np.fill_diagonal(reachable, 0)
    return minimum_spanning_tree(reachable).sum()


@pytest.mark.parametrize("algorithm", ["hdbscan", "neighbour_graph"])
def test_the_spanning_tree_weighs_what_the_whole_matrix_says(planted, algorithm):
    edges = spanning_tree(planted[0], 10, algorithm, seed=0)
    assert edges.shape == (1_999, 3)
    assert (np.diff(edges[:, 2]) >= 0).all()
    # Pairs of parts are searched in float32, which may pick a link that is longer by its rounding.
    assert edges[:, 2].sum() == pytest.approx(exact_tree_weight(planted[0], 10), rel=1e-6)


@pytest.mark.parametrize("algorithm", ["hdbscan", "neighbour_graph"])
def test_planted_clusters_are_found_among_a_fifth_of_noise(planted, algorithm):
    vectors, labels = planted
    found = cut_tree(spanning_tree(vectors, 15, algorithm, seed=0), min_cluster_size=15).labels
    assert adjusted_rand_score(labels, found) >= 0.95  # over all rows, noise as a cluster of its own


def test_straight_links_keep_noise_out_of_clusters():
    """In 50 dimensions the graph of neighbours alone leads through noise, and calls some of it members."""
    vectors, labels = mixture(3_000, n_columns=50, n_clusters=24)
    exact = cut_tree(spanning_tree(vectors, 15, "hdbscan", seed=0), min_cluster_size=15).labels
    linked = cut_tree(spanning_tree(vectors, 15, "neighbour_graph", seed=0), min_cluster_size=15).labels
    assert adjusted_rand_score(exact, linked) >= 0.99
    assert adjusted_rand_score(labels, linked) >= 0.95


def test_fast_hdbscan_finds_the_same_clusters(planted):
    pytest.importorskip("fast_hdbscan")
    exact = cut_tree(spanning_tree(planted[0], 15, "hdbscan", seed=0), min_cluster_size=15).labels
    edges = spanning_tree(planted[0], 15, "fast_hdbscan", seed=0)
    assert adjusted_rand_score(exact, cut_tree(edges, min_cluster_size=15).labels) >= 0.99


@pytest.mark.parametrize("selection", ["eom", "leaf"])
def test_the_cut_equals_hdbscan_itself(planted, selection):
    edges = spanning_tree(planted[0], 12, "hdbscan", seed=0)
    model = HDBSCAN(15, min_samples=12, cluster_selection_method=selection, approx_min_span_tree=False).fit(planted[0])
    found = cut_tree(edges, min_cluster_size=15, selection=selection)
    assert adjusted_rand_score(model.labels_, found.labels) == 1
    np.testing.assert_allclose(np.sort(found.persistence), np.sort(model.cluster_persistence_), rtol=1e-9)
    np.testing.assert_allclose(found.probabilities, model.probabilities_, rtol=1e-9)
    assert (found.probabilities[found.labels == -1] == 0).all()


def test_parts_without_a_common_neighbour_are_joined_by_the_shortest_links():
    generator = np.random.default_rng(0)
    points = np.concatenate([generator.normal(size=(60, 3)) + 100 * place for place in range(3)])
    edges = spanning_tree(points, 5, "neighbour_graph", seed=0)
    assert edges[:, 2].sum() == pytest.approx(exact_tree_weight(points, 5), rel=1e-6)
    assert cut_tree(edges, min_cluster_size=20).n_clusters == 3


def test_many_copies_of_a_row_are_no_trouble():
    generator = np.random.default_rng(0)
    points = np.concatenate([np.repeat(generator.normal(size=(2, 4)), 80, axis=0), generator.normal(size=(40, 4)) * 9])
    for algorithm in ("hdbscan", "neighbour_graph"):
        found = cut_tree(spanning_tree(points, 5, algorithm, seed=0), min_cluster_size=10)
        assert len(set(found.labels[:80])) == len(set(found.labels[80:160])) == 1
        assert found.labels[0] != found.labels[80]
        assert np.isfinite(found.probabilities).all()


def test_the_algorithm_is_chosen_by_size_and_by_what_is_installed(monkeypatch):
    monkeypatch.setattr(spanning_trees.importlib.util, "find_spec", lambda name: None)
    few, many = spanning_trees.FEW_ROWS, spanning_trees.MANY_ROWS
    names = [spanning_trees.chosen_algorithm("auto", n_rows)[0] for n_rows in (few, few + 1, many, many + 1)]
    assert names == ["hdbscan", "neighbour_graph", "neighbour_graph", "neighbour_graph"]
    assert "not installed" in spanning_trees.chosen_algorithm("auto", many + 1)[1]
    monkeypatch.setattr(spanning_trees.importlib.util, "find_spec", lambda name: object())
    assert spanning_trees.chosen_algorithm("auto", many + 1)[0] == "fast_hdbscan"
    assert spanning_trees.chosen_algorithm("hdbscan", many + 1)[0] == "hdbscan"


def reduced(vectors, method="pca", n_dimensions=5, metric="euclidean"):
    return pipeline.reduce_rows(vectors, method=method, n_dimensions=n_dimensions, metric=metric, seed=0)


def test_pca_equals_a_singular_value_decomposition(planted):
    vectors = planted[0].astype(np.float32)
    points, reduction = reduced(vectors)
    standard = vectors.astype(np.float64)
    standard = (standard - standard.mean(axis=0)) / standard.std(axis=0)
    _, values, axes = np.linalg.svd(standard, full_matrices=False)
    assert reduction.variance_explained == pytest.approx((values[:5] ** 2).sum() / (values**2).sum(), rel=1e-9)
    signs = np.sign(axes[np.arange(5), np.abs(axes[:5]).argmax(axis=1)])
    np.testing.assert_allclose(points, standard @ (axes[:5] * signs[:, None]).T, atol=1e-8)
    np.testing.assert_allclose(reduction(vectors, np.arange(40)), points[:40], atol=1e-9)


def test_cosine_brings_rows_to_length_one_and_orders_pairs_as_the_cosine_does(planted):
    points, reduction = reduced(planted[0], metric="cosine")
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1)
    plain = reduced(planted[0])[0]
    by_cosine = cdist(plain[:1], plain, "cosine")[0]
    np.testing.assert_allclose(cdist(points[:1], points)[0] ** 2, 2 * by_cosine, atol=1e-9)
    np.testing.assert_allclose(reduction(planted[0], np.arange(9)), points[:9], atol=1e-9)


def test_without_reduction_columns_are_standardised(planted):
    points, reduction = reduced(planted[0], method="none")
    np.testing.assert_allclose(points.std(axis=0), 1)
    assert (points.shape, reduction.variance_explained) == (planted[0].shape, None)


def test_prediction_gives_rows_back_their_cluster_and_strangers_none(planted):
    vectors, labels = planted
    clustering = cut_tree(spanning_tree(vectors[:1_500], 15, "hdbscan", seed=0), min_cluster_size=15)
    sizes = {"min_samples": 15, "min_cluster_size": 15}
    found, probabilities = pipeline.predict_rows(clustering, vectors[:1_500], vectors[1_500:], **sizes)
    assert adjusted_rand_score(labels[1_500:], found) >= 0.95
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert (probabilities[found == -1] == 0).all()
    model = HDBSCAN(15, approx_min_span_tree=False, prediction_data=True).fit(vectors[:1_500])
    from hdbscan import approximate_predict

    expected, expected_probabilities = approximate_predict(model, vectors[1_500:])
    assert adjusted_rand_score(expected, found) == 1
    np.testing.assert_allclose(probabilities, expected_probabilities, rtol=1e-9)


@pytest.mark.parametrize("off", [0, 1e-9])
def test_rows_that_equal_a_clustered_one_get_its_cluster_and_probability(planted, off):
    """Some rows are there thirty times, so that their clusters are infinitely dense."""
    points = np.concatenate([planted[0][:600], np.repeat(planted[0][:3], 29, axis=0)])
    clustering = cut_tree(spanning_tree(points, 10, "hdbscan", seed=0), min_cluster_size=10)
    assert (clustering.labels == -1).any()
    assert len(set(clustering.probabilities[:600])) > 2
    assert np.isinf(clustering.tree["lambda_val"]).any()
    sizes = {"min_samples": 10, "min_cluster_size": 10}
    labels, probabilities = pipeline.predict_rows(clustering, points, points + off, **sizes)
    assert labels.tolist() == clustering.labels.tolist()
    assert probabilities.tolist() == clustering.probabilities.tolist()


def test_near_rows_are_measured_exactly_and_far_ones_as_they_were():
    generator = np.random.default_rng(0)
    points = generator.normal(size=(300, 30)) + 50
    asked = points[:100] + generator.normal(size=(100, 30)) * 10.0 ** -generator.integers(1, 12, (100, 1))
    distances, rows = pipeline._ExactNeighbours(points, "euclidean").query(asked, 5)
    expected = cdist(asked, points)
    assert rows.tolist() == np.argsort(expected, axis=1)[:, :5].tolist()
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :5], rtol=1e-9)
    plain, _ = NearestNeighbors(algorithm="brute").fit(points).kneighbors(asked, 5)
    assert np.array_equal(distances[:, 1:], plain[:, 1:])
    assert not np.array_equal(distances[:, 0], plain[:, 0])


def test_the_first_of_equal_rows_is_found_among_those_asked_for():
    vectors = np.array([[1, 2], [3, 4], [1, 2], [3, 4.5], [3, 4]], dtype=np.float32)
    assert pipeline.first_equal(vectors, np.array([4, 3, 2, 1, 0, 4])).tolist() == [0, 1, 2, 0, 2, 0]


def test_rows_join_a_single_cluster_where_they_are_as_dense_as_its_members(recwarn):
    points = np.random.default_rng(0).normal(size=(200, 3))
    edges = spanning_tree(points[:150], 5, "hdbscan", seed=0)
    clustering = cut_tree(edges, min_cluster_size=60, allow_single_cluster=True)
    assert (clustering.n_clusters, set(clustering.tree["child_size"])) == (1, {1})
    sizes = {"min_samples": 5, "min_cluster_size": 60}
    labels, probabilities = pipeline.predict_rows(clustering, points[:150], points, **sizes)
    assert labels[:150].tolist() == clustering.labels.tolist()
    middle = np.linalg.norm(points[150:], axis=1) < 0.8
    assert set(labels[150:][middle]) == {0}
    assert set(labels[150:][np.linalg.norm(points[150:], axis=1) > 2.5]) == {-1}
    assert set(probabilities) == {0.0, 1.0}
    assert not [warning for warning in recwarn if "Clusterer" in str(warning.message)]


def test_umaps_word_about_neighbours_that_it_was_given_does_not_reach_the_user(monkeypatch, recwarn):
    class Model:
        def fit_transform(self, points):
            warnings.warn("precomputed_knn[2] (knn_search_index) is not an NNDescent object", stacklevel=1)
            warnings.warn("something else", stacklevel=1)
            return points[:, :2]

    monkeypatch.setattr(pipeline, "umap_model", lambda *_, **__: Model())
    points = np.random.default_rng(0).normal(size=(30, 3))
    neighbours = spanning_trees.nearest_neighbours(points, 5)
    assert pipeline.flat_coordinates(points, points[:0], "umap", 0, neighbours).shape == (30, 2)
    assert [str(warning.message) for warning in recwarn] == ["something else"]


def test_prediction_without_clusters_is_noise():
    nothing = spanning_trees.Clustering(np.full(5, -1), np.zeros(5), np.empty(0), np.empty(0))
    labels, probabilities = pipeline.predict_rows(
        nothing, np.zeros((5, 2)), np.ones((3, 2)), min_samples=2, min_cluster_size=2
    )
    assert labels.tolist() == [-1, -1, -1]
    assert probabilities.tolist() == [0, 0, 0]


def test_clusters_are_numbered_by_size_then_by_their_first_row():
    labels, persistence = pipeline.numbered_by_size(np.array([2, 0, 0, -1, 1, 2, 1, 1]), np.array([0.1, 0.2, 0.3]))
    assert labels.tolist() == [1, 2, 2, -1, 0, 1, 0, 0]
    assert persistence.tolist() == [0.2, 0.3, 0.1]


def test_shown_members_are_central_uncertain_and_random_and_none_twice():
    points = np.array([[0.0], [1], [2], [3], [4], [50], [60]])
    labels, probabilities = np.array([0, 0, 0, 0, 0, -1, -1]), np.array([0.9, 1, 1, 0.2, 0.8, 0, 0])
    shown = pipeline.shown_members(points, labels, probabilities, 0, 2, seed=0)
    assert shown["central"].tolist() == [2, 1]
    assert shown["uncertain"].tolist() == [3, 4]
    assert shown["random"].tolist() == [0]
    assert {
        key: rows.tolist() for key, rows in pipeline.shown_members(points, labels, probabilities, -1, 5, 0).items()
    } == {"random": [5, 6]}


def test_validity_tells_good_clusters_from_bad_ones():
    """Two tight groups far apart; the right labels, shuffled ones, some noise, one group, and another order."""
    generator = np.random.default_rng(0)
    truth = np.repeat([0, 1], 60)
    points = generator.normal(size=(120, 3)) * 0.1 + truth[:, None] * 5.0
    right = quality.density_validity(points, truth, 0)
    assert right > 0.9
    assert quality.density_validity(points, generator.permutation(truth), 0) < 0
    partly = np.where(np.arange(120) % 4 == 0, -1, truth)
    assert 0.5 < quality.density_validity(points, partly, 0) < right
    assert quality.density_validity(points, np.zeros(120, dtype=int), 0) is None
    assert quality.density_validity(points, np.where(np.arange(120) < 2, 1, 0), 0) is None  # two rows are no cluster
    order = generator.permutation(120)
    assert quality.density_validity(points[order], truth[order], 0) == pytest.approx(right, abs=0.02)


def test_validity_counts_clusters_of_three_and_looks_at_a_sample_of_many_rows(monkeypatch):
    generator = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [60, 60, 3])
    points = generator.normal(size=(123, 3)) * 0.1 + truth[:, None] * 5.0
    with_three = quality.density_validity(points, truth, 0)
    assert with_three == pytest.approx(validity_index(points, truth), rel=1e-12)
    assert with_three != quality.density_validity(points, np.where(truth == 2, -1, truth), 0)
    rows = np.sort(np.random.default_rng(7).choice(123, 80, replace=False))
    monkeypatch.setattr(quality, "DBCV_ROWS", 80)
    sampled = quality.density_validity(points[rows], truth[rows], 0)
    assert quality.density_validity(points, truth, 7) == sampled != with_three


def test_stability_equals_an_independent_computation():
    vectors, _ = mixture(500, n_columns=5, n_clusters=4, spread=1.5)
    labels = HDBSCAN(10, approx_min_span_tree=False).fit_predict(vectors)

    def again(points):
        return cut_tree(spanning_tree(points, 10, "neighbour_graph", 0), min_cluster_size=10).labels

    found = quality.resampled_agreement(vectors, labels, again, n_resamples=3, seed=7)
    generator = np.random.default_rng(7)
    for agreement in found:
        drawn = sorted(set(generator.integers(500, size=500).tolist()))
        resampled = HDBSCAN(10, approx_min_span_tree=False).fit_predict(vectors[drawn])
        # Equal distances may be merged in another order, which moves a row or two of 315 in or out of noise.
        assert agreement == pytest.approx(adjusted_rand_score(labels[drawn], resampled), abs=0.01)
    assert max(found) - min(found) > 0.02


def test_scan_counts_clusters_and_noise():
    sizes = quality.scan_sizes(15, 1_000)
    assert sizes == [10, 12, 15, 19, 22]
    assert quality.scan_sizes(2, 1_000) == [2, 3]
    labels = {10: np.array([0, 0, 1, -1]), 12: np.array([-1, -1, -1, -1])}
    table = quality.scan_table([10, 12], labels.__getitem__)
    assert table.to_dict("list") == {
        "min_cluster_size": [10, 12], "n_clusters": [2, 0], "noise_share": [0.25, 1.0], "largest_share": [0.5, 0.0],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([9, 9, 8, 8, 7], None),
        ([9, 9, 8, 4, 4], "8 clusters at 15, 4 at 19"),
        ([9, 8, 3, 3, 2], "8 clusters at 12, 3 at 15"),
        ([20, 8, 8, 8, 1], None),
        ([2, 2, 2, 1, 1], None),
        ([2, 2, 2, 0, 0], "2 clusters at 15, 0 at 19"),
    ],
)
def test_a_cliff_beside_the_chosen_size_is_said(counts, said):
    scan = pd.DataFrame({"min_cluster_size": [10, 12, 15, 19, 22], "n_clusters": counts})
    sentence = quality.cliff_sentence(scan, 15)
    assert sentence is None if said is None else said in sentence


@pytest.mark.parametrize(
    ("sizes", "counts", "chosen", "said"),
    [
        ([15, 19, 22], [8, 4, 4], 15, "8 clusters at 15, 4 at 19"),
        ([10, 12, 15], [9, 8, 3], 15, "8 clusters at 12, 3 at 15"),
        ([12, 15], [8, 3], 15, "8 clusters at 12, 3 at 15"),
        ([10, 12, 15], [9, 2, 2], 15, None),
        ([15, 19, 22], [4, 4, 1], 15, None),
        ([15], [3], 15, None),
    ],
)
def test_a_cliff_is_met_at_either_end_of_the_scan(sizes, counts, chosen, said):
    sentence = quality.cliff_sentence(pd.DataFrame({"min_cluster_size": sizes, "n_clusters": counts}), chosen)
    assert sentence is None if said is None else said in sentence


def test_a_planted_cliff_is_met():
    """Ten clusters of 17 rows are all gone when clusters need 19."""
    generator = np.random.default_rng(0)
    points = np.repeat(generator.normal(size=(10, 8)) * 20, 17, axis=0) + generator.normal(size=(170, 8))
    edges = spanning_tree(points, 5, "hdbscan", seed=0)
    scan = quality.scan_table(quality.scan_sizes(15, 170), lambda size: cut_tree(edges, min_cluster_size=size).labels)
    assert "10 clusters at 15" in quality.cliff_sentence(scan, 15)


def test_core_distances_leave_the_row_itself_out():
    points = np.array([[0.0], [1.0], [3.0], [7.0]])
    expected = NearestNeighbors(n_neighbors=1).fit(points).kneighbors()[0].ravel()
    edges = spanning_tree(points, 1, "neighbour_graph", seed=0)
    assert edges.tolist() == [[0, 1, 1], [1, 2, 2], [2, 3, 4]] or sorted(edges[:, 2]) == [1, 2, 4]
    assert expected.tolist() == [1, 1, 2, 4]
