"""The mathematics of the label-error benchmark: average precision against scikit-learn, draws of whole groups."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from benchmarks import label_rankings, label_sets, ranking_scores
from datamap.evaluation.metrics import token_f1
from tests.paths import REAL_DATA


def data(seed, n=300):
    generator = np.random.default_rng(seed)
    wrong = generator.random(n) < 0.15
    return wrong, generator.normal(size=n) + wrong, generator.integers(0, 60, n)


def test_average_precision_is_scikit_learn_s_also_for_rows_drawn_several_times():
    wrong, scores, groups = data(1)
    counts = ranking_scores.draws(groups, n_draws=20, seed=3)
    order = ranking_scores.order_of(scores)
    found = ranking_scores.figures(wrong[order], counts[:, order])
    for drawn, values in zip(counts, found, strict=True):
        assert values[0] == pytest.approx(average_precision_score(wrong, scores, sample_weight=drawn), abs=1e-12)


def test_precision_and_recall_by_counting():
    wrong, scores, groups = data(2)
    order = ranking_scores.order_of(scores)
    ranked = wrong[order]
    found = ranking_scores.figures(ranked, ranking_scores.draws(groups, n_draws=1)[:, order])[0]
    assert found[1] == pytest.approx(ranked[:100].mean())
    assert found[2] == pytest.approx(ranked[:30].sum() / wrong.sum())


def test_the_first_draw_is_the_data_and_groups_are_drawn_whole():
    _, _, groups = data(3)
    counts = ranking_scores.draws(groups, n_draws=5)
    assert (counts[0] == 1).all()
    for drawn in counts[1:]:
        assert all(len(set(drawn[groups == group])) == 1 for group in set(groups))
        assert drawn[np.unique(groups, return_index=True)[1]].sum() == len(set(groups))


def test_halves_hold_whole_groups_and_missing_scores_come_last():
    groups = [f"context {number % 40}" for number in range(200)]
    half = ranking_scores.choosing_half(groups)
    assert 60 < half.sum() < 140
    assert len({(group, bool(chosen)) for group, chosen in zip(groups, half, strict=True)}) == 40
    assert ranking_scores.choosing_half(groups[::-1]).tolist() == half[::-1].tolist()
    assert ranking_scores.order_of(np.array([0.1, np.nan, 0.9])).tolist() == [2, 0, 1]


def test_over_seeds_is_the_mean_and_intervals_are_percentiles():
    wrong, scores, groups = data(4)
    counts = ranking_scores.draws(groups, n_draws=50)
    one, other = (ranking_scores.over_seeds(wrong, [values], counts) for values in (scores, -scores))
    both = ranking_scores.over_seeds(wrong, [scores, -scores], counts)
    np.testing.assert_allclose(both, (one + other) / 2, rtol=0, atol=1e-12)
    value, low, high = ranking_scores.interval(one[:, 0])
    assert value == pytest.approx(average_precision_score(wrong, scores))
    assert (low, high) == tuple(np.percentile(one[1:, 0], [2.5, 97.5]))


def test_word_pairs_are_judged_by_what_other_folds_teach():
    generator = np.random.default_rng(5)
    words = np.array(["a", "dog", "cat", "runs", "sleeps", "not"])
    frame = pd.DataFrame({side: [" ".join(row) for row in generator.choice(words, (60, 4))] for side in ("p", "h")})
    frame = frame.rename(columns={"p": "premise", "h": "hypothesis"})
    frame["label"] = [int("not" in text) for text in frame["hypothesis"]]
    numbers = pd.DataFrame({"fold": np.arange(60) % 3})
    found = label_rankings.word_pairs(numbers, frame)
    own = numbers["fold"] == 1
    flipped = frame.assign(label=np.where(own, 1 - frame["label"], frame["label"]))
    changed = label_rankings.word_pairs(numbers, flipped)
    # a fold's own labels teach its model nothing: what it gives to the one label it takes from the other
    np.testing.assert_allclose(changed[own], 1 - found[own], rtol=0, atol=1e-12)
    assert np.abs(changed[~own] - found[~own]).max() > 0.01
    commoner = max(frame["label"].mean(), 1 - frame["label"].mean())
    assert (found < 0.5).mean() > commoner + 0.2  # one word gives the label away: no guessing


def test_the_demo_s_mistakes_are_known_with_their_right_answers():
    frame = label_sets.load("demo:noisy", REAL_DATA)
    counts = frame["truth"].value_counts().to_dict()
    assert counts == {"right": 648} | dict.fromkeys(label_sets.KINDS, 18)
    wrong = frame[frame["truth"] != "right"]
    assert frame["clean"].notna().sum() == 72
    for row in wrong.itertuples():
        assert row.clean in row.context
        assert token_f1(row.clean, row.answers["text"][0]) < 1


@pytest.mark.real_data
def test_real_mistakes_are_as_many_as_their_sources_say():
    sick, wiki = (label_sets.load(name, REAL_DATA) for name in ("sick", "wiki"))
    assert sick["truth"].value_counts().to_dict() == {"right": 4206, "wrong": 233, "": 61}
    assert sick["group"].nunique() == 939
    assert wiki["truth"].value_counts().to_dict() == {"right": 4638, "": 1332, "wrong": 300}
    assert wiki["clean"].notna().sum() == 300
