"""Scores and ranks of labels: by hand."""

import numpy as np
import pandas as pd
import pytest

from datamap.labels import scores

NUMBERS = pd.DataFrame(
    {
        "expected_f1": [0.9, 0.25, np.nan],
        "label_prob": [0.8, 0.1, np.nan],
        "other_prob": [0.1, 0.7, np.nan],
        "mean_label_prob": [0.64, 0.01, np.nan],
        "mean_expected_f1": [0.81, 0.25, np.nan],
        "confidence": [0.6, 0.05, np.nan],
        "aum": [2.0, -1.0, np.nan],
        "last_loss": [np.log(2), 0.0, np.nan],
        "el2n": [0.2, np.sqrt(2), np.nan],
    }
)
BY_HAND = {
    "expected_f1": [0.1, 0.75],
    "label_support": [1 - 0.8 * 0.9, 1 - 0.1 * 0.5],
    "self_confidence": [0.2, 0.9],
    "normalized_margin": [0.15, 0.8],
    "confidence": [0.4, 0.95],
    "aum": [1 / (1 + np.e**2), 1 / (1 + np.e**-1)],
    "loss": [0.5, 0.0],
    "el2n": [0.2 / np.sqrt(2), 1.0],
}


@pytest.mark.parametrize("name", scores.DEFINITIONS)
def test_scores_by_hand(name):
    found = scores.suspicion(NUMBERS, name)
    assert found[:2].tolist() == pytest.approx(BY_HAND[name])
    assert np.isnan(found[2])


def test_a_label_that_alone_can_be_answered_has_no_other_probability():
    numbers = pd.DataFrame({"label_prob": [1.0], "other_prob": [np.nan]})
    assert scores.suspicion(numbers, "normalized_margin").tolist() == [0.0]


def test_ranks_are_a_permutation_and_ties_go_by_the_second_key_then_by_id():
    values = np.array([0.5, 0.9, 0.5, np.nan, 0.5, 0.1])
    ids = pd.Series(["f", "a", "b", "c", "a2", "z"])
    tie = np.array([1.0, 0.0, 1.0, 5.0, 2.0, np.nan])
    assert scores.ranks(values, ids, tie)[[1, 4, 2, 0, 5]].tolist() == [1, 2, 3, 4, 5]
    assert np.isnan(scores.ranks(values, ids, tie)[3])
    order = [3, 5, 0, 2, 4, 1]
    again = scores.ranks(values[order], ids.iloc[order], tie[order])
    np.testing.assert_array_equal(again, scores.ranks(values, ids, tie)[order])


def test_what_a_score_lacks_is_named():
    assert scores.missing_numbers("normalized_margin", NUMBERS[["label_prob"]]) == ["other_prob"]
    assert scores.missing_numbers("expected_f1", NUMBERS[["label_prob"]]) == ["expected_f1"]
    assert scores.missing_numbers("self_confidence", NUMBERS) == []
    assert {scores.IN_SAMPLE_DEFAULT, *scores.DEFAULTS.values()} <= scores.DEFINITIONS.keys() == scores.FORMULAS.keys()
