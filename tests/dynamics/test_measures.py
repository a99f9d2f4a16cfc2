"""Dynamics: folding windows, metrics against hand-worked rows and plain loops, regions on published maps."""

import json
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamap.dynamics.measures import assign_regions, fold_windows, forgetting_events, over_epochs
from tests.paths import REAL_DATA

NAN = float("nan")


def fold(start, end, correct, seen, example, has_gold, n_examples):
    windows = {"start_prob": np.array(start, np.float32), "end_prob": np.array(end, np.float32)}
    windows |= {"correct": np.array(correct, np.float32)}
    return fold_windows(windows, np.array(seen, bool), np.array(example), np.array(has_gold, bool), n_examples)


def test_an_example_is_the_mean_of_its_gold_bearing_windows_alone():
    folded = fold(
        start=[0.5, 0.25, 1.0, 0.75], end=[0.5, 1.0, 1.0, 0.5], correct=[1, 0, 1, 1], seen=[1, 1, 1, 1],
        example=[0, 0, 0, 1], has_gold=[1, 1, 0, 1], n_examples=2,
    )  # fmt: skip
    assert list(folded) == ["gold_prob", "start_prob", "end_prob", "correct"]
    assert folded["gold_prob"].tolist() == [0.25, 0.375]  # the mean of the products, not the product of the means
    assert folded["start_prob"].tolist() == [0.375, 0.75]
    assert folded["correct"].tolist() == [0, 1]
    assert folded["gold_prob"].dtype == np.float32


def test_examples_without_gold_or_not_wholly_seen_have_no_number():
    folded = fold(
        start=[1, 1, 1, 1], end=[1, 1, 1, 1], correct=[1, 1, 1, 1], seen=[1, 0, 1, 0], example=[0, 0, 1, 2],
        has_gold=[1, 1, 0, 1], n_examples=4,
    )  # fmt: skip
    assert np.isnan(folded["gold_prob"]).all()
    assert np.isnan(folded["correct"]).all()


def test_a_window_that_was_not_seen_does_not_enter_by_its_stale_number():
    folded = fold([0.5, NAN], [0.5, NAN], [1, NAN], seen=[1, 0], example=[0, 1], has_gold=[1, 1], n_examples=2)
    assert folded["gold_prob"].tolist() == pytest.approx([0.25, NAN], nan_ok=True)


def test_hand_worked_metrics():
    """Three epochs of three examples; the second missed epoch 2, the third was never correct."""
    table = over_epochs(
        {
            "gold_prob": np.array([[0.2, 0.4, 0.0], [0.8, NAN, 0.0], [0.5, 0.8, 0.3]]),
            "correct": np.array([[1, 0, 0], [0, NAN, 0], [1, 1, 0]]),
            "margin": np.array([[1.0, -2.0, -3.0], [-1.0, NAN, -3.0], [3.0, 4.0, 0.0]]),
            "loss": np.array([[1.0, 2.0, 3.0], [2.0, NAN, 3.0], [3.0, 4.0, 6.0]]),
        }
    )
    assert table["confidence"].tolist() == pytest.approx([0.5, 0.6, 0.1])
    assert table["variability"].tolist() == pytest.approx([0.06**0.5, 0.2, 0.02**0.5])
    assert table["correctness"].tolist() == pytest.approx([2 / 3, 0.5, 0])
    assert table["forgetting_events"].tolist() == [1, 0, 0]
    assert table["never_learnt"].tolist() == [False, False, True]
    assert table["threshold_closeness"].tolist() == pytest.approx([0.25, 0.24, 0.09])
    assert table["aum"].tolist() == pytest.approx([1, 1, -2])
    assert table["loss"].tolist() == pytest.approx([2, 3, 4])
    assert table["num_epochs"].tolist() == [3, 2, 3]
    assert "span_f1" not in table


def test_span_measures_are_means_over_the_epochs_in_which_an_example_was_seen():
    measures = {"start_prob": [[0.5, 0.25], [1.0, NAN]], "end_prob": [[0.125, 1.0], [0.375, NAN]]}
    measures |= {"span_f1": [[1.0, 0.5], [0.0, NAN]]}
    plain = dict.fromkeys(("gold_prob", "correct", "margin", "loss"), [[0.0, 0.0], [0.0, NAN]])
    table = over_epochs({name: np.array(values) for name, values in (plain | measures).items()})
    assert table["start_confidence"].tolist() == [0.75, 0.25]
    assert table["end_confidence"].tolist() == [0.25, 1.0]
    assert table["span_f1"].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("epochs", "events"),
    [
        ([0, 0, 0], 0),
        ([1, 1, 1], 0),
        ([1, 0, 1, 0], 2),
        ([0, 1, 0, 0, 1], 1),
        ([1, NAN, 0], 1),
        ([NAN, 0, NAN, 1, NAN, NAN, 0], 1),
        ([0, NAN, 1], 0),
    ],
)
def test_hand_worked_forgetting_events(epochs, events):
    assert forgetting_events(np.array(epochs, dtype=float)[:, None]).tolist() == [events]


@given(st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=1, max_size=6))
def test_mean_and_deviation_equal_the_standard_librarys(columns):
    probs = np.array(columns).T
    table = over_epochs({name: probs for name in ("gold_prob", "margin", "loss")} | {"correct": probs > 0.5})
    for row, values in enumerate(columns):
        assert table["confidence"][row] == pytest.approx(statistics.fmean(values), abs=1e-12)
        assert table["variability"][row] == pytest.approx(statistics.pstdev(values), abs=1e-9)
        assert 0 <= table["variability"][row] <= 0.5 + 1e-12
        assert table["correctness"][row] == pytest.approx(sum(value > 0.5 for value in values) / 4)


def regions(confidence, variability, **options):
    return assign_regions(np.array(confidence), np.array(variability), **options).tolist()


def test_hand_worked_regions():
    confidence, variability = [0.9, 0.5, 0.49, 0.1, 0.6, 0.2], [0.0, 0.05, 0.05, 0.0, 0.3, 0.4]
    assert regions(confidence, variability) == ["easy", "easy", "hard", "hard", "ambiguous", "ambiguous"]
    changed = regions(confidence, variability, ambiguous_fraction=0.1, confidence_threshold=0.2)
    assert changed == ["easy", "easy", "easy", "hard", "easy", "ambiguous"]
    assert regions([0.9, 0.1, 0.9], [0.01, 0.02, 0.09]) == ["easy", "hard", "easy"]  # nothing varies by 0.1
    assert regions([0.9, 0.1], [0.2, 0.2]) == ["ambiguous", "ambiguous"]  # equal values share a region
    assert regions([], []) == []


def test_ambiguous_is_the_top_third_where_more_than_that_vary():
    variability = np.arange(11, 23) / 100
    assert regions([0.9] * 12, variability) == ["easy"] * 8 + ["ambiguous"] * 4


def test_medians_call_a_right_and_confident_example_hard():
    confidence, variability = [0.95, 0.9, 0.99, 0.98, 0.97], [0.01, 0.0, 0.02, 0.03, 0.04]
    assert regions(confidence, variability)[1] == "easy"
    assert regions(confidence, variability, method="median")[1] == "hard"


@pytest.mark.real_data
def test_regions_of_the_published_winogrande_map():
    lines = (REAL_DATA / "winogrande_data_map.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    confidence, variability, correctness = (
        np.array([row[name] for row in rows]) for name in ("confidence", "variability", "correctness")
    )
    found = assign_regions(confidence, variability)
    assert {region: int((found == region).sum()) for region in ("easy", "ambiguous", "hard")} == {
        "easy": 26_870, "ambiguous": 13_466, "hard": 62,
    }  # fmt: skip
    hard = assign_regions(confidence, variability, method="median") == "hard"
    assert int(hard.sum()) == 2_820
    assert round((confidence[hard] >= 0.5).mean(), 3) == 0.985
    assert (correctness[hard] == 6).mean() > 0.95
