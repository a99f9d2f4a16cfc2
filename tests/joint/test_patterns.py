"""Tests by cluster against exact counting, false discoveries against the procedure by hand, findings as sentences."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from datamap.joint.patterns import enrichment_tests, examples_of, interesting_patterns, shown_q, wilson_interval

REGION_CONFIDENCE = {"easy": 0.9, "ambiguous": 0.5, "hard": 0.1}


def examples(groups):
    """A row an example from (cluster, words, region, count); ids count up from a00000, the metrics with them."""
    rows = [(c, words, region) for c, words, region, count in groups for _ in range(count)]
    frame = pd.DataFrame(rows, columns=["cluster", "words", "region"])
    frame.insert(0, "id", [f"a{row:05d}" for row in range(len(frame))])
    confidence = frame["region"].map(REGION_CONFIDENCE) + np.arange(len(frame)) / 1e6
    correctness = frame["region"].map({"easy": 1.0, "ambiguous": 0.5, "hard": 0.0})
    variability = frame["region"].map({"easy": 0.05, "ambiguous": 0.4, "hard": 0.02}) + np.arange(len(frame)) / 1e6
    return frame.assign(confidence=confidence, correctness=correctness, variability=variability)


SMALL = examples(
    [(0, "dose, drug, daily", "easy", 9), (0, "dose, drug, daily", "hard", 1), (0, "dose, drug, daily", "ambiguous", 2),
     (1, "scan, bone, left", "easy", 2), (1, "scan, bone, left", "hard", 8), (1, "scan, bone, left", "ambiguous", 1),
     (2, "", "easy", 4), (2, "", "ambiguous", 3), (-1, "", "easy", 5), (-1, "", "hard", 3), (-1, "", "ambiguous", 2)]
)  # fmt: skip


def exact_p(count, n_all, n_in_region, size):
    """P(X >= count) of the hypergeometric distribution, by counting draws."""
    ways = [
        math.comb(n_in_region, k) * math.comb(n_all - n_in_region, size - k)
        for k in range(count, min(size, n_in_region) + 1)
    ]
    return float(Fraction(sum(ways), math.comb(n_all, size)))


def benjamini_hochberg(p_values):
    """q values by the definition: the smallest p · m / rank over the ranks from one's own upwards."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    q_values, lowest = [0.0] * len(p_values), 1.0
    for rank in range(len(p_values), 0, -1):
        lowest = min(lowest, p_values[order[rank - 1]] * len(p_values) / rank)
        q_values[order[rank - 1]] = lowest
    return q_values


def test_every_p_value_is_that_of_exact_counting():
    columns = ["cluster", "words", "region", "cluster_size", "count", "expected", "ratio", "p_value", "q_value"]
    assert enrichment_tests(SMALL).columns.tolist() == columns
    tests = enrichment_tests(SMALL).to_dict("records")
    assert {(test["cluster"], test["region"]) for test in tests} == {
        (cluster, region) for cluster in (0, 1, 2) for region in ("hard", "ambiguous")
    }
    for test in tests:
        n_in_region = int((SMALL["region"] == test["region"]).sum())
        rows = SMALL[SMALL["cluster"] == test["cluster"]]
        assert (test["cluster_size"], test["count"]) == (len(rows), (rows["region"] == test["region"]).sum())
        assert test["p_value"] == pytest.approx(exact_p(test["count"], 40, n_in_region, len(rows)), rel=1e-9)
        assert test["expected"] == pytest.approx(len(rows) * n_in_region / 40)
        assert test["ratio"] == pytest.approx(test["count"] / test["expected"])


def test_q_values_are_those_of_benjamini_and_hochberg_over_both_regions():
    tests = enrichment_tests(SMALL)
    assert tests["q_value"].tolist() == pytest.approx(benjamini_hochberg(tests["p_value"].tolist()), rel=1e-12)


def test_the_procedure_gives_what_a_hand_worked_example_gives():
    # 0.005 · 5 / 1, 0.011 · 5 / 2, 0.02 · 5 / 3, 0.04 · 5 / 4, 0.13 · 5 / 5
    p_values, by_hand = [0.04, 0.005, 0.13, 0.011, 0.02], [0.05, 0.025, 0.13, 0.0275, 0.1 / 3]
    assert benjamini_hochberg(p_values) == pytest.approx(by_hand)
    assert stats.false_discovery_control(p_values).tolist() == pytest.approx(by_hand)


def test_a_region_without_examples_is_not_tested():
    tests = enrichment_tests(SMALL[SMALL["region"] != "ambiguous"])
    assert set(tests["region"]) == {"hard"}
    assert len(enrichment_tests(SMALL[SMALL["region"] == "easy"])) == 0


def test_noise_alone_gives_no_test_and_no_cluster():
    noise = SMALL[SMALL["cluster"] == -1]
    found = interesting_patterns(noise, seed=0)
    assert (found["n_clusters"], found["n_tests"]) == (0, 0)
    assert [finding["kind"] for finding in found["findings"]] == ["hard_outliers"]
    assert found["findings"][0]["share_of_clustered"] is None
    assert found["findings"][0]["sentence"] == (
        "3 of the 10 outliers (noise) are hard (30.0%, 95% interval 10.8% to 60.3%)."
    )


@pytest.mark.parametrize(("count", "total"), [(0, 7), (3, 10), (48, 77), (7, 7)])
def test_wilson_interval_is_scipys(count, total):
    expected = stats.binomtest(count, total).proportion_ci(0.95, method="wilson")
    assert wilson_interval(count, total) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_findings_carry_the_numbers_of_their_sentences():
    found = interesting_patterns(SMALL, seed=0)
    assert {name: found[name] for name in found if name != "findings"} == {
        "n_examples": 40, "n_tracked": 40, "n_clusters": 3, "n_tests": 6, "false_discovery_rate": 0.05,
    }  # fmt: skip
    kinds = [finding["kind"] for finding in found["findings"]]
    assert kinds == [
        "more_hard_than_chance", "lowest_correctness", "hard_outliers", "confident_in_hard_cluster",
    ]  # fmt: skip
    hard, lowest, outliers, confident = found["findings"]
    q_value = 6 * exact_p(8, 40, 12, 11)
    assert hard["q_value"] == pytest.approx(q_value)
    assert hard["sentence"] == (
        "Cluster 1 (scan, bone, left): 8 of its 11 examples are hard (72.7%, 95% interval 43.4% to 90.3%), 2.4 times "
        f"the 3.3 that chance would give (q = {q_value:.2g})."
    )
    assert (hard["count"], hard["cluster_size"], hard["expected"]) == (8, 11, pytest.approx(3.3))
    assert hard["share"] == 8 / 11
    assert hard["share_interval_95"] == pytest.approx([0.4344, 0.9025], abs=1e-4)
    assert hard["example_ids"] == ["a00014", "a00015", "a00016"]
    assert lowest["example_ids"] == ["a00014", "a00015", "a00016"]
    assert lowest["sentence"] == (
        "Cluster 1 (scan, bone, left) has the lowest mean correctness of the 3 clusters: 0.23 over 11 examples, "
        "against 0.60 over all."
    )
    assert (lowest["mean_correctness"], lowest["mean_correctness_of_all"]) == (2.5 / 11, 0.6)
    assert outliers["sentence"] == (
        "3 of the 10 outliers (noise) are hard (30.0%, 95% interval 10.8% to 60.3%), against 30.0% of the clustered "
        "examples."
    )
    assert (outliers["count"], outliers["n_outliers"], outliers["share"]) == (3, 10, 0.3)
    assert outliers["share_interval_95"] == pytest.approx([0.1078, 0.6032], abs=1e-4)
    assert outliers["share_of_clustered"] == 9 / 30
    assert outliers["example_ids"] == ["a00035", "a00036", "a00037"]
    assert confident["sentence"] == (
        "Cluster 1 (scan, bone, left) holds more hard examples than chance would give, yet 2 of its 11 are easy, with "
        "a mean confidence of 0.90: see what sets them apart."
    )
    assert (confident["count"], confident["cluster_size"], confident["share"]) == (2, 11, 2 / 11)
    assert confident["mean_confidence"] == pytest.approx(0.9 + 12.5e-6)
    assert confident["example_ids"] == ["a00013", "a00012"]


def test_hard_outliers_are_held_against_the_clustered_examples():
    frame = examples([(0, "a", "easy", 8), (0, "a", "hard", 2), (-1, "", "hard", 3), (-1, "", "easy", 1)])
    outliers = interesting_patterns(frame, seed=0)["findings"][-1]
    assert (outliers["share"], outliers["share_of_clustered"]) == (0.75, 0.2)
    assert "(75.0%, 95% interval 30.1% to 95.4%), against 20.0% of the clustered examples." in outliers["sentence"]


def test_ambiguous_examples_are_shown_most_variable_first():
    frame = examples([(0, "a, b, c", "easy", 40), (1, "d, e, f", "easy", 2), (1, "d, e, f", "ambiguous", 9)])
    finding = interesting_patterns(frame, seed=0)["findings"][0]
    assert (finding["kind"], finding["cluster"]) == ("more_ambiguous_than_chance", 1)
    assert finding["example_ids"] == ["a00050", "a00049", "a00048"]


def test_tests_come_by_their_excess_and_not_by_their_size():
    """Cluster 0 holds the most hard examples, 60, yet only 6 more than chance; cluster 1 holds 12, which is 10 more."""
    frame = examples(
        [(0, "a", "hard", 60), (0, "a", "easy", 240), (1, "b", "hard", 12), (2, "c", "easy", 88)]
    )  # fmt: skip
    tests = enrichment_tests(frame)
    excess = (tests["count"] - tests["expected"]).tolist()
    assert tests["cluster"].tolist() == [1, 0, 2]
    assert excess == pytest.approx([12 - 12 * 72 / 400, 60 - 300 * 72 / 400, -88 * 72 / 400])


def test_the_largest_excess_comes_first_and_ambiguous_after_hard():
    frame = examples(
        [(0, "a", "easy", 200), (1, "b", "hard", 9), (2, "c", "hard", 20), (3, "d", "ambiguous", 60)]
    )  # fmt: skip
    found = [finding for finding in interesting_patterns(frame, seed=0)["findings"] if "q_value" in finding]
    assert [finding["cluster"] for finding in found] == [2, 1, 3]
    ranking = [f for f in interesting_patterns(frame, seed=0)["findings"] if f["kind"] == "lowest_correctness"]
    assert [finding["cluster"] for finding in ranking] == [1, 2, 3]
    assert "the third lowest mean correctness" in ranking[2]["sentence"]


def test_clusters_below_the_mean_of_all_are_ranked_up_to_three_of_them():
    frame = examples([(number, "a", "hard", 5 + number) for number in range(4)] + [(4, "b", "easy", 30)])
    ranking = [f for f in interesting_patterns(frame, seed=0)["findings"] if f["kind"] == "lowest_correctness"]
    assert [finding["cluster"] for finding in ranking] == [0, 1, 2]
    alone = interesting_patterns(frame[frame["cluster"] == 4], seed=0)
    assert alone["findings"] == []


@pytest.mark.parametrize(
    ("finding", "rows"),
    [
        ({"kind": "more_hard_than_chance", "cluster": 1, "region": "hard"}, [14, 15, 16, 17, 18, 19, 20, 21]),
        ({"kind": "more_ambiguous_than_chance", "cluster": 0, "region": "ambiguous"}, [10, 11]),
        ({"kind": "lowest_correctness", "cluster": 2}, [23, 24, 25, 26, 27, 28, 29]),
        ({"kind": "hard_outliers"}, [35, 36, 37]),
        ({"kind": "confident_in_hard_cluster", "cluster": 1}, [12, 13]),
    ],
)
def test_a_finding_is_about_all_the_rows_that_its_sentence_counts(finding, rows):
    untracked = SMALL.iloc[[0, 14, 25, 36]].assign(region=None)
    frame = pd.concat([SMALL, untracked], ignore_index=True)
    assert np.flatnonzero(examples_of(finding, frame)).tolist() == rows


def test_untracked_examples_are_counted_and_enter_no_test():
    more = SMALL.iloc[:6].assign(id=[f"b{row}" for row in range(6)], region=None, confidence=np.nan)
    found = interesting_patterns(pd.concat([SMALL, more], ignore_index=True), seed=0)
    alone = interesting_patterns(SMALL, seed=0)
    assert (found["n_examples"], found["n_tracked"]) == (46, 40)
    assert found["findings"] == alone["findings"]


def test_the_order_of_the_rows_changes_nothing():
    tied = SMALL.assign(confidence=SMALL["region"].map(REGION_CONFIDENCE), variability=0.2)
    shuffled = tied.sample(frac=1, random_state=3)
    assert interesting_patterns(shuffled, seed=5) == interesting_patterns(tied, seed=5)


def planted(seed):
    """3,000 examples in 12 clusters and noise; two thirds of cluster 4 are hard, a tenth elsewhere."""
    generator = np.random.default_rng(seed)
    cluster = generator.choice(np.arange(-1, 12), 3000)
    is_hard = generator.random(3000) < np.where(cluster == 4, 2 / 3, 0.1)
    region = np.where(is_hard, "hard", np.where(generator.random(3000) < 0.35, "ambiguous", "easy"))
    words = [f"word{number}, x, y" if number >= 0 else "" for number in cluster]
    frame = examples([(0, "", "easy", 3000)])
    confidence = pd.Series(region).map(REGION_CONFIDENCE) + generator.random(3000) / 20
    return frame.assign(cluster=cluster, words=words, region=region, confidence=confidence)


def named_by_tests(frame):
    found = interesting_patterns(frame, seed=0)["findings"]
    return [(finding["cluster"], finding["region"]) for finding in found if "q_value" in finding]


def test_a_cluster_made_hard_is_found():
    finding = interesting_patterns(planted(0), seed=0)["findings"][0]
    assert named_by_tests(planted(0))[0] == (4, "hard")
    assert finding["q_value"] < 1e-6
    assert finding["words"] == "word4, x, y"


def test_shuffled_labels_give_hardly_any_finding():
    frame, generator = planted(0), np.random.default_rng(1)
    columns = ["region", "confidence", "correctness", "variability"]
    false = []
    for _ in range(20):
        order = generator.permutation(len(frame))
        shuffled = frame[columns].iloc[order].reset_index(drop=True)
        false += named_by_tests(frame.assign(**{name: shuffled[name] for name in columns}))
    assert len(false) <= 1, false


@pytest.mark.parametrize(
    ("q_value", "text"), [(0.0123, "= 0.012"), (0.0001, "= 0.0001"), (9.9e-5, "< 0.0001"), (0.0, "< 0.0001")]
)
def test_q_values_in_words(q_value, text):
    assert shown_q(q_value) == text
