"""Figures by level, held against plain means and intervals of a selection of one's own."""

import numpy as np
import pandas as pd
import pytest

from datamap.audit.scores import scores_by_level, sentence
from datamap.evaluation.metrics import bootstrap_interval

LEVELS = ["exact", "normalised", "answer", "context", "contained", "template", "none"]


@pytest.mark.parametrize("seed", range(6))
def test_figures_are_means_of_the_rows_with_their_interval(seed):
    random = np.random.default_rng(seed)
    levels, groups = random.choice(np.array(LEVELS, dtype=object), 50), random.integers(0, 15, 50)
    predicted = pd.DataFrame({"em": random.integers(0, 2, 50).astype(float), "f1": random.random(50)})
    kept = {"all": LEVELS, "seen": LEVELS[:5], "not seen": LEVELS[5:]} | {name: [name] for name in LEVELS}
    found = scores_by_level(levels, predicted, groups, "qa").set_index("rows")
    assert list(found.index) == [name for name, some in kept.items() if set(some) & set(levels)]
    for name in found.index:
        here = [at for at in range(50) if levels[at] in kept[name]]
        values = predicted["f1"].to_numpy()[here]
        low, high = bootstrap_interval(values, groups[here], 42)
        expected = [100 * sum(values) / len(here), 100 * low, 100 * high]
        assert found.loc[name, "n_rows"] == len(here)
        np.testing.assert_allclose(found.loc[name, ["f1", "f1_low", "f1_high"]].to_list(), expected, rtol=1e-12)
        assert found.loc[name, "em"] == pytest.approx(100 * np.mean(predicted["em"].to_numpy()[here]))


def test_the_sentence_says_seen_and_others():
    predicted = pd.DataFrame({"predicted_correct": [1.0, 1, 0, 0]})
    table = scores_by_level(np.array(["context"] * 2 + ["none"] * 2, dtype=object), predicted, np.arange(4), "nli")
    table[["predicted_correct_low", "predicted_correct_high"]] = [0.0, 100.0]
    assert sentence(table, "nli") == (
        "Accuracy 50.0 (0.0 to 100.0) in all 4; 100.0 (0.0 to 100.0) on the 2 rows that share a sentence with "
        "training, whole or in part; 0.0 (0.0 to 100.0) on the 2 others (95% intervals)."
    )


def test_rows_of_one_group_have_no_interval_and_the_sentence_says_so():
    predicted = pd.DataFrame({"predicted_correct": [1.0, 1, 0, 0]})
    levels = np.array(["context"] * 2 + ["none"] * 2, dtype=object)
    told = sentence(scores_by_level(levels, predicted, np.array([7, 7, 8, 9]), "nli"), "nli")
    assert "; 100.0 (of one group, so no interval) on the 2 rows that share a sentence" in told
    assert "; 0.0 (0.0 to 0.0) on the 2 others" in told


def test_where_training_has_seen_nothing_only_the_others_are_said():
    predicted = pd.DataFrame({"predicted_correct": [1.0, 1]})
    told = sentence(scores_by_level(np.array(["none"] * 2, dtype=object), predicted, np.arange(2), "nli"), "nli")
    assert told == "Accuracy 100.0 (100.0 to 100.0) in all 2; 100.0 (100.0 to 100.0) on the 2 others (95% intervals)."
