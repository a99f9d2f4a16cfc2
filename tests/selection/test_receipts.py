"""What a receipt says of an arm, for every way that a comparison can end."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from datamap.selection import differences, receipts
from datamap.selection.evaluations import Run

ONE = differences.Difference(
    mean=-0.8, how=differences.PAIRED, n_seeds=5, standard_error=0.6, df=12.0, seeds=0.2, contexts=0.2, both=0.04
)
ARM = receipts.Arm("ambiguous", [1, 2, 3, 4, 5], 61.2, ONE, p_holm=0.2, detectable=1.94)
CONTROL = receipts.Arm("random", [1, 2, 3, 4, 5], 62.0)


def said(arm=ARM, n_arms=1, metric="f1", **changed):
    arm = dataclasses.replace(arm, difference=dataclasses.replace(arm.difference, **changed))
    found = receipts.Receipt(metric, "random", [CONTROL, *[arm] * n_arms], 1200, 300, {"steps": "Allowed."})
    return receipts.lines(found)


def test_no_difference_is_a_result_and_reads_like_one():
    assert said() == [
        "F1 in points of 100 on 1,200 rows of 300 contexts; 95% t intervals.",
        "ambiguous: F1 61.2, 0.8 below random (-2.1 to +0.5): no difference is shown; one of 1.9 is shown by 80% of "
        "such experiments.",
        "Allowed.",
    ]


@pytest.mark.parametrize(
    ("p_holm", "mean", "verdict"),
    [
        (0.031, 2.0, "2.0 above random (+0.7 to +3.3): a difference is shown (p 0.031); one of"),
        (0.00001, 9.0, "9.0 above random (+7.7 to +10.3): a difference is shown (p <0.0001); one of"),
        (0.051, -1.5, "1.5 below random (-2.8 to -0.2): no difference is shown, with 2 arms looked at (p 0.051); one"),
        (0.9, 0.04, "level with random (-1.3 to +1.3): no difference is shown; one of"),
    ],
)
def test_a_verdict_follows_from_the_corrected_p(p_holm, mean, verdict):
    told = said(dataclasses.replace(ARM, p_holm=p_holm), n_arms=2, mean=mean)
    assert told[0].endswith("95% t intervals, p by Holm over 2 arms.")
    assert verdict in told[1]


def test_without_spread_nothing_is_claimed():
    told = said(dataclasses.replace(ARM, p_holm=float("nan")), standard_error=0.0, df=float("nan"))
    assert told[1] == (
        "ambiguous: F1 61.2, 0.8 below random: neither seeds nor contexts differ in it, so that no interval is known."
    )


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ({"n_seeds": 4}, "the difference is from the 4 seeds that both have; the mean is of all."),
        ({"n_seeds": 4, "how": differences.UNPAIRED}, "fewer than two seeds match, so that they are compared unpaired"),
        ({"n_seeds": 4}, "4 seeds, fewer than five, tell roughly how far trainings differ."),
        ({"n_seeds": 1, "how": differences.ONE_SEED}, "with one seed, seeds are not covered: the interval tells what"),
    ],
)
def test_what_is_not_covered_is_said(changed, note):
    assert not any(note in line for line in said())
    assert any(line.startswith(f"ambiguous and random: {note}") for line in said(**changed))


def test_premises_are_named_for_nli():
    told = said(metric="accuracy", n_seeds=1, how=differences.ONE_SEED)
    assert "1,200 rows of 300 premises" in told[0]
    assert "what other premises may change" in told[2]


def test_arms_that_nothing_tells_apart_do_not_count_in_the_correction():
    def run(arm, seed):
        return Run(None, arm, {}, {"seed": seed}, 1)

    def frame(values):
        return pd.DataFrame({"score": values, "group": list("aabbcc")}, index=list("123456"))

    base = np.array([10.0, 20, 30, 40, 50, 60])
    other = base + np.array([5.0, 9, 4, 6, 7, 5])
    runs = [run("same", 1), run("other", 1), run("random", 1)]
    found = receipts.receipt(runs, [frame(base), frame(other), frame(base)], "f1", "random", {})
    assert [arm.name for arm in found.arms] == ["random", "same", "other"]
    same, differing = found.others
    assert np.isnan([same.p_holm, same.detectable]).all()
    assert differing.p_holm == pytest.approx(differing.difference.p_value())
    table = receipts.table(found)
    assert table["difference"].tolist() == pytest.approx([np.nan, 0.0, 6.0], nan_ok=True)
    assert table["n_seeds"].tolist() == [pd.NA, 1, 1]
