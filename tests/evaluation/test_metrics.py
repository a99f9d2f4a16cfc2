"""The formulas of metrics.py against hand-worked values, independent implementations and invariants."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from datamap.evaluation import metrics

WORDS = ["the", "A", "an", "Ann", "aspirin", "50", "mg", "U.S.", "-", "naïve", "“daily”", "“the”", ""]
ANSWERS = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join) | st.text(max_size=12)


def reference_tokens(text):
    """Normalised tokens, read character by character: no regular expression, no translation table."""
    kept = [c for c in text.lower() if c not in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"]
    runs = ["".join(run) for _, run in itertools.groupby(kept, key=str.isalnum)]
    return "".join(" " if run in ("a", "an", "the") else run for run in runs).split()


def reference_f1(prediction, gold, has_unanswerable):
    prediction, gold = reference_tokens(prediction), reference_tokens(gold)
    if has_unanswerable and (not prediction or not gold):
        return float(prediction == gold)
    left, n_common = list(gold), 0
    for token in prediction:
        if token in left:
            left.remove(token)
            n_common += 1
    if n_common == 0:
        return 0.0
    precision, recall = n_common / len(prediction), n_common / len(gold)
    return (2 * precision * recall) / (precision + recall)


def reference_scores(prediction, golds, has_unanswerable):
    if has_unanswerable:
        golds = [gold for gold in golds if reference_tokens(gold)] or [""]
    em = max(float(reference_tokens(prediction) == reference_tokens(gold)) for gold in golds)
    return em, max(reference_f1(prediction, gold, has_unanswerable) for gold in golds)


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("The Denver Broncos!", "denver broncos"),
        ("U.S.", "us"),
        ("beta-blocker's", "betablockers"),
        ("An apple a day", "apple day"),
        ("Athena, Anna and theatre", "athena anna and theatre"),
        ("a-b", "ab"),
        ("snake_case", "snakecase"),
        ("vitamin A", "vitamin"),
        ("A", ""),
        ("the the  THE", ""),
        ("...", ""),
        ("“Quoted” – text…", "“quoted” – text…"),
        ("l’a", "l’"),
        ("“the” end", "“ ” end"),
        ("a\u0301", "\u0301"),
        ("\u00a0two\t\n words\u2003", "two words"),
        ("ÉCOLE", "école"),
    ],
)
def test_normalised_answer_by_hand(text, normalised):
    assert metrics.normalize_answer(text) == normalised


@given(ANSWERS)
def test_normalised_answer_equals_the_character_walk(text):
    assert metrics.normalize_answer(text) == " ".join(reference_tokens(text))


@pytest.mark.parametrize(
    ("prediction", "gold", "em", "f1"),
    [
        ("Denver Broncos", "the Denver Broncos.", 1.0, 1.0),
        ("Broncos Denver", "Denver Broncos", 0.0, 1.0),
        ("aspirin 50 mg daily", "aspirin 50 mg", 0.0, 6 / 7),
        ("mg mg mg", "mg mg", 0.0, 0.8),
        ("heart failure", "renal stone", 0.0, 0.0),
        ("", "aspirin", 0.0, 0.0),
        ("the", "aspirin", 0.0, 0.0),
        ("“aspirin”", "aspirin", 0.0, 0.0),
    ],
)
def test_scores_by_hand_where_both_rules_agree(prediction, gold, em, f1):
    assert metrics.exact_match(prediction, gold) == em
    for rule in (True, False):
        assert metrics.token_f1(prediction, gold, has_unanswerable=rule) == pytest.approx(f1, rel=1e-15)


def test_two_empty_answers_are_what_the_scripts_disagree_on():
    assert metrics.exact_match("A", "the") == 1.0
    assert metrics.token_f1("A", "the") == 1.0
    assert metrics.token_f1("A", "the", has_unanswerable=True) == 1.0
    assert metrics.token_f1("A", "the", has_unanswerable=False) == 0.0


@given(ANSWERS, ANSWERS, st.booleans())
def test_token_f1_equals_the_loop_is_symmetric_and_bounded(left, right, rule):
    f1 = metrics.token_f1(left, right, has_unanswerable=rule)
    assert f1 == reference_f1(left, right, rule)
    assert f1 == metrics.token_f1(right, left, has_unanswerable=rule)
    assert 0.0 <= f1 <= 1.0


@given(ANSWERS, ANSWERS)
def test_exact_match_never_exceeds_f1_by_the_rule_with_unanswerable_questions(prediction, gold):
    assert metrics.exact_match(prediction, gold) <= metrics.token_f1(prediction, gold)


def test_each_best_is_taken_over_golds_on_its_own():
    assert metrics.best_over_golds("Broncos Denver", ["Denver", "Broncos of Denver"]) == (0.0, 0.8)
    assert metrics.best_over_golds("aspirin", ["tylenol", "Aspirin."]) == (1.0, 1.0)


def test_gold_answers_that_normalise_to_nothing():
    assert metrics.best_over_golds("", ["the", "aspirin"]) == (0.0, 0.0)
    assert metrics.best_over_golds("", ["the", "aspirin"], has_unanswerable=False) == (1.0, 0.0)
    assert metrics.best_over_golds("", ["the", "?"]) == (1.0, 1.0)
    assert metrics.best_over_golds("", []) == (1.0, 1.0)
    assert metrics.best_over_golds("aspirin", []) == (0.0, 0.0)


def test_golds_that_cannot_be_scored_are_refused():
    with pytest.raises(ValueError, match="without gold answers"):
        metrics.best_over_golds("aspirin", [], has_unanswerable=False)
    with pytest.raises(TypeError, match="not the one text 'aspirin'"):
        metrics.best_over_golds("aspirin", "aspirin")


@given(st.lists(st.tuples(ANSWERS, st.lists(ANSWERS, max_size=4)), max_size=6), st.booleans())
def test_squad_scores_equal_the_loops(rows, rule):
    rows = [(prediction, golds) for prediction, golds in rows if golds or rule]
    em, f1 = metrics.squad_scores([row[0] for row in rows], [row[1] for row in rows], rule)
    expected = [reference_scores(prediction, golds, rule) for prediction, golds in rows]
    assert (em.shape, f1.shape, em.dtype, f1.dtype) == ((len(rows),), (len(rows),), np.float64, np.float64)
    assert list(zip(em, f1, strict=True)) == expected


def test_squad_scores_refuse_lists_of_different_length():
    with pytest.raises(ValueError, match="2 predictions, but 1 lists"):
        metrics.squad_scores(["a", "b"], [["a"]], False)


def test_summary_by_hand():
    em, f1 = np.array([1.0, 0.0, 1.0, 0.0]), np.array([1.0, 0.5, 1.0, 0.0])
    assert metrics.squad_summary(em, f1, np.zeros(4, dtype=bool)) == {
        "exact_match": 50.0,
        "f1": 62.5,
        "total": 4,
    }
    assert metrics.squad_summary(em, f1, np.array([False, False, True, False])) == {
        "exact_match": 50.0,
        "f1": 62.5,
        "total": 4,
        "HasAns_exact": pytest.approx(100 / 3),
        "HasAns_f1": 50.0,
        "HasAns_total": 3,
        "NoAns_exact": 100.0,
        "NoAns_f1": 100.0,
        "NoAns_total": 1,
    }


def test_summary_of_unanswerable_questions_only_has_no_answerable_part():
    summary = metrics.squad_summary(np.ones(2), np.ones(2), np.ones(2, dtype=bool))
    assert set(summary) == {"exact_match", "f1", "total", "NoAns_exact", "NoAns_f1", "NoAns_total"}


def test_summary_refuses_what_has_no_mean():
    with pytest.raises(ValueError, match="no example"):
        metrics.squad_summary(np.zeros(0), np.zeros(0), np.zeros(0, dtype=bool))
    with pytest.raises(ValueError, match="one common shape"):
        metrics.squad_summary(np.zeros(2), np.zeros(2), np.zeros(3, dtype=bool))


def score_at(threshold, diffs, scores, unanswerable):
    """Percent reached when every diff above the threshold is answered with nothing."""
    reached = [float(u) if d > threshold else s for d, s, u in zip(diffs, scores, unanswerable, strict=True)]
    return 100.0 * np.mean(reached)


def official_walk(diffs, scores, unanswerable):
    """The search of the SQuAD v2.0 script, one example at a time in order of its diff."""
    current = best = sum(unanswerable)
    best_threshold = 0.0
    for i in sorted(range(len(diffs)), key=lambda i: diffs[i]):
        current += -1 if unanswerable[i] else scores[i]
        if current > best:
            best, best_threshold = current, diffs[i]
    return 100.0 * best / len(diffs), best_threshold


THRESHOLD_ROWS = st.lists(
    st.tuples(
        st.sampled_from([-1e10, -3.5, -0.1, 0.0, 0.1, 2.0, 7.25]) | st.floats(-5, 5, width=32),
        st.sampled_from([0.0, 1 / 3, 0.4, 0.5, 6 / 7, 1.0]),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@given(THRESHOLD_ROWS, st.sampled_from([np.float64, np.float32]))
def test_best_threshold_is_the_best_of_all_and_gives_its_score(rows, precision):
    diffs = np.array([row[0] for row in rows], dtype=precision)
    scores, unanswerable = np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
    best, threshold = metrics.best_null_threshold(diffs, scores, unanswerable)
    assert best == score_at(threshold, diffs, scores, unanswerable)
    distinct = sorted({float(diff) for diff in diffs})
    others = [-math.inf, *distinct, *np.add(distinct[:-1], distinct[1:]) / 2, math.inf]
    by_threshold = {other: score_at(other, diffs, scores, unanswerable) for other in others}
    # 1e-7 percent: the sums of the search are taken in another order than these means.
    assert best == pytest.approx(max(by_threshold.values()), abs=1e-7)
    smallest = min(other for other, score in by_threshold.items() if score > best - 1e-7)
    assert threshold == smallest or (smallest == -math.inf and threshold < distinct[0])


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 1.0]), st.booleans()), min_size=1, max_size=12))
def test_best_threshold_is_the_official_one_where_diffs_are_distinct_and_positive(rows):
    diffs = np.arange(len(rows), dtype=float) * 7 % 13 + 0.5
    unanswerable = np.array([row[1] for row in rows])
    scores = np.where(unanswerable, 0.0, [row[0] for row in rows])
    best, threshold = metrics.best_null_threshold(diffs, scores, unanswerable)
    official, official_threshold = official_walk(list(diffs), list(scores), list(unanswerable))
    assert best == pytest.approx(official, rel=1e-12)
    assert threshold == official_threshold or (official_threshold == 0.0 and threshold < diffs.min())


def test_best_threshold_by_hand():
    diffs = np.array([3.0, -2.0, 1.0, 0.5])
    scores, unanswerable = np.array([0.0, 1.0, 0.6, 0.0]), np.array([True, False, False, True])
    # Nothing answered 2; up to -2: 3; up to 0.5: 2; up to 1: 2.6; all: 1.6, each out of 4.
    assert metrics.best_null_threshold(diffs, scores, unanswerable) == (75.0, -2.0)


def test_a_run_of_equal_diffs_is_answered_as_a_whole():
    diffs, scores, unanswerable = np.array([1.0, 1.0]), np.array([1.0, 0.0]), np.array([False, True])
    assert official_walk(diffs, scores, unanswerable) == (100.0, 1.0)
    assert score_at(1.0, diffs, scores, unanswerable) == 50.0
    assert metrics.best_null_threshold(diffs, scores, unanswerable) == (50.0, 0.0)


def test_answering_nothing_takes_a_threshold_below_negative_diffs():
    best, threshold = metrics.best_null_threshold(np.array([-9.0, 4.0]), np.zeros(2), np.ones(2, dtype=bool))
    assert (best, threshold) == (100.0, -10.0)


def test_the_threshold_below_all_survives_single_precision():
    diffs = np.array([-1e10, -1e10], dtype=np.float32)
    best, threshold = metrics.best_null_threshold(diffs, np.zeros(2), np.ones(2, dtype=bool))
    assert best == 100.0
    assert (diffs > threshold).all()


def test_a_span_of_nothing_on_an_unanswerable_question_costs_nothing():
    diffs, scores, unanswerable = np.array([0.5, 1.0]), np.array([1.0, 1.0]), np.array([True, False])
    assert metrics.best_null_threshold(diffs, scores, unanswerable) == (100.0, 1.0)


def test_threshold_search_refuses_diffs_that_no_threshold_divides():
    with pytest.raises(ValueError, match="finite"):
        metrics.best_null_threshold(np.array([math.nan]), np.ones(1), np.zeros(1, dtype=bool))
    with pytest.raises(ValueError, match="no example"):
        metrics.best_null_threshold(np.zeros(0), np.zeros(0), np.zeros(0, dtype=bool))


def test_bootstrap_equals_a_loop_over_redrawn_groups(monkeypatch):
    rng = np.random.default_rng(5)
    groups = rng.choice([3, -8, 40, 41, 7], size=60)
    values = rng.random(60)
    members = [values[groups == name] for name in np.unique(groups)]
    draws = np.random.default_rng(11).integers(5, size=(300, 5))
    means = sorted(np.concatenate([members[k] for k in draw]).mean() for draw in draws)
    expected = (np.percentile(means, 10), np.percentile(means, 90))
    for cells in (4_000_000, 35, 1):
        monkeypatch.setattr(metrics, "_BOOTSTRAP_CELLS", cells)
        interval = metrics.bootstrap_interval(values, groups, seed=11, n_resamples=300, level=0.8)
        assert interval == pytest.approx(expected, rel=1e-12)


def test_bootstrap_of_single_rows_has_the_analytic_width():
    values = np.random.default_rng(1).normal(3.0, 2.0, size=2_000)
    low, high = metrics.bootstrap_interval(values, np.arange(2_000), seed=0, n_resamples=4_000)
    error = values.std() / math.sqrt(2_000)
    # A quantile of 4,000 resamples is itself known to 2% of the half width; 6% is three of these.
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.06 * 1.96 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.06 * 1.96 * error)


def test_bootstrap_widens_by_the_root_of_the_size_of_uniform_groups():
    values = np.repeat(np.random.default_rng(2).random(200), 9)
    low, high = metrics.bootstrap_interval(values, np.repeat(np.arange(200), 9), seed=0)
    single_low, single_high = metrics.bootstrap_interval(values, np.arange(1_800), seed=0)
    # sqrt(9), each of the four limits known to about 4% of the half width.
    assert (high - low) / (single_high - single_low) == pytest.approx(3.0, rel=0.15)


def test_bootstrap_depends_on_its_seed_and_level_only():
    values, groups = np.random.default_rng(3).random(90), np.arange(90) // 3
    first = metrics.bootstrap_interval(values, groups, seed=7)
    assert first == metrics.bootstrap_interval(values, groups, seed=7)
    assert first != metrics.bootstrap_interval(values, groups, seed=8)
    narrow = metrics.bootstrap_interval(values, groups, seed=7, level=0.5)
    assert first[0] < narrow[0] < narrow[1] < first[1]


def test_bootstrap_over_many_groups_stays_in_bounded_memory():
    values = np.random.default_rng(4).random(100_000)
    tracemalloc.start()
    metrics.bootstrap_interval(values, np.arange(100_000), seed=0, n_resamples=400)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # 400 x 100,000 group numbers alone would be 320 MB.
    assert peak < 150e6


def test_bootstrap_knows_no_interval_below_two_groups():
    for values, groups in (([], []), ([0.2, 0.9], [5, 5])):
        low, high = metrics.bootstrap_interval(np.array(values), np.array(groups, dtype=int), seed=0)
        assert math.isnan(low)
        assert math.isnan(high)


def test_bootstrap_of_two_groups_of_one_resample_and_of_its_defaults():
    values, groups = np.array([0.0, 1.0, 1.0]), np.array([4, 9, 9])
    drawn = np.random.default_rng(3).integers(2, size=(1, 2))[0]
    mean = np.array([0.0, 2.0])[drawn].sum() / np.array([1, 2])[drawn].sum()
    assert metrics.bootstrap_interval(values, groups, seed=3, n_resamples=1) == (mean, mean)
    values = np.random.default_rng(4).random(50)
    named = metrics.bootstrap_interval(values, np.arange(50), seed=3, n_resamples=1000, level=0.95)
    assert metrics.bootstrap_interval(values, np.arange(50), seed=3) == named


@pytest.mark.parametrize(
    ("n_groups", "options"),
    [(3, {}), (2, {"level": 95}), (2, {"level": 0}), (2, {"level": 1}), (2, {"n_resamples": 0})],
)
def test_bootstrap_refuses_misuse(n_groups, options):
    with pytest.raises(ValueError, match="one group per value|n_resamples must be"):
        metrics.bootstrap_interval(np.zeros(2), np.arange(n_groups), seed=0, **options)


def test_classification_by_hand():
    summary = metrics.classification_summary(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), ["yes", "no", "never"])
    assert summary == {
        "accuracy": 0.75,
        "majority_share": 0.75,
        "per_class": {
            "yes": {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1},
            "no": {"precision": 1.0, "recall": pytest.approx(2 / 3), "f1": 0.8, "support": 3},
            "never": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0},
        },
        "confusion_matrix": [[1, 0, 0], [1, 2, 0], [0, 0, 0]],
    }


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_classification_equals_scikit_learn(rows):
    predicted, gold = np.array(rows, dtype=np.int8).T
    summary = metrics.classification_summary(predicted, gold, list("abcde"))
    expected = precision_recall_fscore_support(gold, predicted, labels=range(5), zero_division=0)
    figures = [list(row.values()) for row in summary["per_class"].values()]
    np.testing.assert_allclose(figures, np.transpose(expected), rtol=1e-12)
    assert summary["confusion_matrix"] == confusion_matrix(gold, predicted, labels=range(5)).tolist()
    assert summary["accuracy"] == np.mean(predicted == gold)
    assert summary["majority_share"] == max(np.mean(gold == label) for label in range(5))


def test_classification_refuses_labels_without_a_name():
    with pytest.raises(ValueError, match=r"gold labels must lie in 0\.\.1: 0\.\.2"):
        metrics.classification_summary(np.array([0, 1]), np.array([0, 2]), ["a", "b"])
    with pytest.raises(ValueError, match="predicted labels must lie"):
        metrics.classification_summary(np.array([-1]), np.array([0]), ["a", "b"])
    with pytest.raises(TypeError):
        metrics.classification_summary(np.array([0.9]), np.array([0]), ["a", "b"])
