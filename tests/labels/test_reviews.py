"""What reviews amount to: the estimate of errors left and agreement, beside values worked by hand or by scipy."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import beta

from datamap.labels import patches, queue, reviews

YES, NO = {"text": ["a"], "answer_start": [0]}, {"text": ["b"], "answer_start": [2]}
AFTER = {"stays": YES, "other": NO, "both": {"text": ["a", "b"], "answer_start": [0, 2]}, "left_out": None}


def decided(identifier, decision="stays", rank=None, drawn="queue"):
    after = AFTER[decision]
    return patches.Decision("", identifier, "answers", YES, after, decision=decision, rank=rank, drawn=drawn)


def test_rows_of_the_audit_that_the_queue_reaches_by_itself_are_not_in_the_sample():
    decisions = [
        decided("1", rank=1), decided("2", rank=2, drawn="audit"), decided("3", rank=3, drawn="audit"),
        decided("4", rank=4), decided("5", rank=5, drawn="audit"), decided("9", rank=9, drawn="audit"),
        decided("x", drawn="audit"), decided("y"),
    ]  # fmt: skip
    assert [decision.id for decision in reviews.audit_sample(decisions)] == ["5", "9", "x"]


def test_a_row_on_which_files_disagree_was_reached_by_the_queue_all_the_same():
    first = [decided("1", rank=1), decided("2", rank=2, drawn="audit"), decided("3", rank=3)]
    second = [decided("1", rank=1), decided("2", rank=2, drawn="audit"), decided("3", "other", rank=3)]
    files = {name: {decision.id: decision for decision in found} for name, found in (("a", first), ("b", second))}
    agreed, contested = patches.merged(list(files.values()))
    estimate = reviews.summary(agreed, contested, files, 10)["estimate"]
    assert (estimate["n_undecided"], estimate["n_audited"]) == (8, 0)


def test_errors_left_are_the_undecided_rows_times_the_share_of_wrong_ones():
    audited = [decided(f"a{number}", "other" if number < 6 else "stays", 900 + number, "audit") for number in range(40)]
    audited[38:] = [decided("b", "both", 998, "audit"), decided("l", "left_out", 999, "audit")]
    queued = [decided(f"q{number}", "other", number + 1) for number in range(60)]
    found = reviews.errors_left(audited + queued, 1100)
    assert (found["n_undecided"], found["n_audited"], found["n_wrong"]) == (1000, 40, 6)
    low, high = beta.ppf(0.025, 6, 35), beta.ppf(0.975, 7, 34)  # Clopper and Pearson's bounds
    expected = (150, 1000 * low, 1000 * high)
    names = ("errors_left", "errors_left_low", "errors_left_high")
    assert [found[name] for name in names] == pytest.approx(expected, rel=1e-9)
    assert reviews.estimate_sentence(found).startswith("About 150 of the 1000 rows not decided probably have a label")
    few = reviews.errors_left(audited[:29] + queued, 1100)
    assert few["errors_left"] is None
    assert "too few (under 30)" in reviews.estimate_sentence(few)


def test_the_interval_covers_the_truth_over_simulated_reviews_that_stop_anywhere():
    """Rows whose chance to be wrong falls with their rank, reviewed in the order of the page until someone stops."""
    n_rows, n_covered, means = 600, 0, []
    for seed in range(200):
        generator = np.random.default_rng(seed)
        wrong = generator.random(n_rows) < np.linspace(0.5, 0.0, n_rows)
        order = generator.permutation(n_rows)
        places = queue.audit_places(n_rows, 0.3, seed)
        shown = queue.schedule(np.arange(n_rows), order, places)[: generator.integers(150, 400)]
        decisions = [decided(str(row), "other" if wrong[row] else "stays", row + 1, drawn) for row, drawn in shown]
        found = reviews.errors_left(decisions, n_rows)
        left = wrong.sum() - sum(wrong[row] for row, _ in shown)
        n_covered += found["errors_left_low"] <= left <= found["errors_left_high"]
        means.append(found["errors_left"] - left)
    assert n_covered >= 186
    assert abs(np.mean(means)) < 3 * np.std(means) / np.sqrt(len(means))


def test_kappa_by_hand():
    """Of ten rows: 4 both stay, 3 both change, 1 both left out, 2 stay against changes: observed 0.8, chance 0.40."""
    states = ["stays"] * 4 + ["other"] * 3 + ["left_out"] + ["stays"] * 2
    others = ["stays"] * 4 + ["other"] * 3 + ["left_out"] + ["other"] * 2
    one = {str(number): decided(str(number), state) for number, state in enumerate(states)}
    other = {str(number): decided(str(number), state) for number, state in enumerate(others)} | {"z": decided("z")}
    by_chance = (6 * 4 + 3 * 5 + 1 * 1) / 100
    assert reviews.kappa(one, other) == pytest.approx((0.8 - by_chance) / (1 - by_chance))
    assert reviews.kappa(other, one) == reviews.kappa(one, other)
    assert reviews.kappa(one, {"y": decided("y")}) is None
    assert reviews.kappa({"z": decided("z")}, other) is None


def test_the_summary_counts_decisions_kinds_files_and_disagreements():
    states = [("a", "other", "place"), ("b", "both", "place"), ("c", "left_out", None), ("d", "stays", "x")]
    first = {name: dataclasses.replace(decided(name, state), kind=kind, reviewer="Ann") for name, state, kind in states}
    second = {"d": decided("d", "other"), "e": decided("e")}
    agreed, contested = patches.merged([first, second])
    found = reviews.summary(agreed, contested, {"1.jsonl": first, "2.jsonl": second}, 10)
    assert {name: found[name] for name in ("n_rows", "decided", "changed", "left_out", "stay", "n_disagreements")} == {
        "n_rows": 10, "decided": 4, "changed": 2, "left_out": 1, "stay": 1, "n_disagreements": 1,
    }  # fmt: skip
    assert found["decisions"] == {"both": 1, "left_out": 1, "other": 1, "stays": 1}
    assert found["kinds"]["place"] == {"decided": 2, "stay": 0, "changed": 2, "left_out": 0}
    assert found["files"]["1.jsonl"] == {"decided": 4, "stay": 1, "changed": 2, "left_out": 1, "reviewers": ["Ann"]}
    assert found["agreement"] == [{"files": ["1.jsonl", "2.jsonl"], "rows_of_both": 1, "kappa": 0.0}]
