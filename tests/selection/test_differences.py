"""Differences of arms: by hand, against plain loops and scipy, and on simulated experiments."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks import receipt_simulation
from datamap.selection import differences as of
from datamap.selection.power import detectable, power


def test_a_clustered_variance_worked_by_hand():
    # mean 2; sums of what is off it: context 0: (1 - 2) + (2 - 2) = -1, context 1: (3 - 2) = 1, context 2: 0
    # 3 / 2 * (1 + 1 + 0) / 4^2
    values, groups = np.array([1.0, 2.0, 3.0, 2.0]), np.array([0, 0, 1, 2])
    assert of.clustered_variance(values, groups) == pytest.approx(3 / 2 * 2 / 16)


def test_contexts_of_one_row_give_the_variance_of_a_mean():
    values = np.random.default_rng(1).normal(size=50)
    expected = stats.sem(values) ** 2
    assert of.clustered_variance(values, np.arange(50)) == pytest.approx(expected)


# Two seeds, two contexts of two rows; arm minus control:
#   seed 1: 4 2 | 0 2   mean 2          seed 2: 8 4 | 2 2   mean 4
HAND = {1: np.array([4.0, 2, 0, 2]), 2: np.array([8.0, 4, 2, 2])}
ZERO = {1: np.zeros(4), 2: np.zeros(4)}
HAND_GROUPS = np.array([0, 0, 1, 1])


def test_a_paired_difference_worked_by_hand():
    found = of.difference(HAND, ZERO, HAND_GROUPS)
    assert (found.mean, found.how, found.n_seeds) == (3.0, of.PAIRED, 2)
    # variance of 2 and 4 is 2, of their mean 1
    assert found.seeds == pytest.approx(1.0)
    # rows over seeds: 6 3 1 2, mean 3; contexts' sums off it: 3 and -3; 2 / 1 * 18 / 16
    assert found.contexts == pytest.approx(2.25)
    # left in seed 1: -2 -1 -1 0, mean -1, contexts' sums off it -1 and 1; 2 * 2 / 16 = 0.25; as much in seed 2
    assert found.both == pytest.approx((0.25 + 0.25) / 2)
    variance = 1 + 2.25 - 0.25
    assert found.standard_error == pytest.approx(math.sqrt(variance))
    assert found.df == pytest.approx(variance**2 / (1**2 / 1 + 2.25**2 / 1 + 0.25**2 / 1))
    reach = stats.t.ppf(0.975, found.df) * math.sqrt(variance)
    assert found.interval() == pytest.approx((3 - reach, 3 + reach))
    assert found.p_value() == pytest.approx(2 * stats.t.sf(3 / math.sqrt(variance), found.df))


def test_a_shift_of_all_rows_by_seed_is_the_seeds_part_alone():
    groups = np.repeat(np.arange(20), 3)
    base = np.random.default_rng(2).normal(size=60)
    arm = {seed: base + shift for seed, shift in enumerate((1.0, 2.0, 6.0))}
    found = of.difference(arm, {seed: base for seed in range(3)}, groups)
    assert found.contexts == pytest.approx(0, abs=1e-20)
    assert found.both == pytest.approx(0, abs=1e-20)
    assert found.standard_error == pytest.approx(stats.sem([1.0, 2.0, 6.0]))
    assert found.df == pytest.approx(2)
    assert found.p_value() == pytest.approx(stats.ttest_1samp([1.0, 2.0, 6.0], 0).pvalue)


def test_rows_that_differ_alike_in_all_seeds_are_the_contexts_part_alone():
    values = np.random.default_rng(3).normal(1, 2, size=40)
    arm = {seed: values for seed in range(4)}
    found = of.difference(arm, {seed: np.zeros(40) for seed in range(4)}, np.arange(40))
    assert (found.seeds, found.both) == (pytest.approx(0, abs=1e-20), pytest.approx(0, abs=1e-20))
    assert found.p_value() == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert found.df == pytest.approx(39)


def by_loops(sides, groups):
    """(seeds, contexts, both) of one side (paired differences) or two, from plain loops over seeds, contexts, rows."""

    def mean(values):
        return sum(values) / len(values)

    def clustered(values):
        sums = {}
        for value, group in zip(values, groups, strict=True):
            sums[group] = sums.get(group, 0.0) + value - mean(values)
        return len(sums) / (len(sums) - 1) * sum(total**2 for total in sums.values()) / len(values) ** 2

    n_rows = len(groups)
    seeds = both = 0.0
    row_means = []
    for side in sides:
        n_seeds = len(side)
        row_mean = [mean([seed[row] for seed in side]) for row in range(n_rows)]
        means = [mean(list(seed)) for seed in side]
        seeds += sum((one - mean(means)) ** 2 for one in means) / (n_seeds - 1) / n_seeds
        left = [[seed[row] - row_mean[row] for row in range(n_rows)] for seed in side]
        both += sum(clustered(one) for one in left) / n_seeds / (n_seeds - 1)
        row_means.append(row_mean)
    last = row_means[1] if len(sides) > 1 else [0.0] * n_rows
    return seeds, clustered([one - other for one, other in zip(row_means[0], last, strict=True)]), both


def random_arms(seeds, other_seeds, n_rows=60):
    generator = np.random.default_rng(5)
    return tuple({s: generator.normal(60, 9, n_rows) for s in names} for names in (seeds, other_seeds))


def test_paired_parts_equal_loops_and_only_seeds_that_match_count():
    arm, control = random_arms((1, 2, 3, 7), (9, 3, 2, 1))
    groups = np.sort(np.random.default_rng(6).integers(0, 12, 60))
    groups = np.unique(groups, return_inverse=True)[1]
    found = of.difference(arm, control, groups)
    expected = by_loops([[arm[s] - control[s] for s in (1, 2, 3)]], groups)
    assert (found.seeds, found.contexts, found.both) == pytest.approx(expected)
    assert found.mean == pytest.approx(np.mean([(arm[s] - control[s]).mean() for s in (1, 2, 3)]))
    assert (found.how, found.n_seeds) == (of.PAIRED, 3)


def test_unpaired_parts_equal_loops():
    arm, control = random_arms((1, 2, 3), (4, 5, 6, 7))
    groups = np.repeat(np.arange(15), 4)
    found = of.difference(arm, control, groups)
    expected = by_loops([list(arm.values()), list(control.values())], groups)
    assert (found.seeds, found.contexts, found.both) == pytest.approx(expected)
    assert (found.how, found.n_seeds) == (of.UNPAIRED, 3)
    variance = max(expected[0], expected[1], expected[0] + expected[1] - expected[2])
    assert found.standard_error == pytest.approx(math.sqrt(variance))
    one, other = (by_loops([list(side.values())], groups) for side in (arm, control))
    parts = [(one[0], 2), (other[0], 3), (expected[1], 14), (one[2], 2 * 14), (other[2], 3 * 14)]
    assert found.df == pytest.approx(variance**2 / sum(part**2 / df for part, df in parts))


def test_unpaired_seeds_without_differing_rows_are_welchs_test():
    first, second = [61.0, 62.5, 60.2], [58.0, 59.5, 60.1, 57.7]
    arm = {number: np.full(30, value) for number, value in enumerate(first)}
    control = {number + 10: np.full(30, value) for number, value in enumerate(second)}
    found = of.difference(arm, control, np.repeat(np.arange(10), 3))
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert found.p_value() == pytest.approx(expected.pvalue)
    assert found.df == pytest.approx(expected.df)


@pytest.mark.parametrize(
    ("seeds", "other_seeds"), [((1,), (1,)), ((1,), (1, 2, 3)), ((1,), (2,)), ((1,), (2, 3)), ((1, 2), (3,))]
)
def test_one_seed_leaves_contexts_alone(seeds, other_seeds):
    arm, control = random_arms(seeds, other_seeds)
    groups = np.repeat(np.arange(15), 4)
    found = of.difference(arm, control, groups)
    first, last = (np.mean(list(side.values()), axis=0) for side in (arm, control))
    assert found.mean == pytest.approx((first - last).mean())
    assert found.standard_error**2 == pytest.approx(of.clustered_variance(first - last, groups))
    assert (found.how, found.n_seeds, found.df, found.seeds) == (of.ONE_SEED, 1, 14, 0)


def test_one_seed_in_common_is_not_enough_to_pair():
    arm, control = random_arms((1, 2), (2, 3))
    assert of.difference(arm, control, np.repeat(np.arange(15), 4)).how == of.UNPAIRED


def test_where_nothing_varies_nothing_is_known():
    found = of.difference(
        {1: np.ones(6), 2: np.ones(6)}, {1: np.zeros(6), 2: np.zeros(6)}, np.array([0, 0, 1, 1, 2, 2])
    )
    assert (found.mean, found.standard_error) == (1.0, 0.0)
    assert np.isnan([*found.interval(), found.p_value(), found.df]).all()


def test_satterthwaite_worked_by_hand():
    # (3 + 1)^2 / (3^2 / 4 + 1^2 / 2)
    assert of.satterthwaite(4.0, [of.Part(3.0, 4), of.Part(1.0, 2)]) == pytest.approx(16 / 2.75)


def test_holm_worked_by_hand():
    # in order: 0.01 * 4, 0.02 * 3, 0.03 * 2 (not below the one before), 0.5 * 1
    p_values = np.array([0.03, 0.01, np.nan, 0.5, 0.02])
    assert of.holm(p_values).tolist() == pytest.approx([0.06, 0.04, np.nan, 0.5, 0.06], nan_ok=True)
    assert of.holm(np.array([0.6, 0.7])).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("df", "alpha"), [(1.5, 0.05), (4.0, 0.05), (4.0, 0.0125), (80.0, 0.05)])
def test_power_is_that_of_the_noncentral_t(df, alpha):
    bound = stats.t.isf(alpha / 2, df)
    true = 0.7 / math.sqrt(stats.chi2.median(df) / df)  # as often above an estimate of 0.7 as below
    for size in (0.5, 2.0, 4.0):
        noncentral = stats.nct(df, size / true)
        assert power(size, 0.7, df, alpha) == pytest.approx(noncentral.sf(bound) + noncentral.cdf(-bound), abs=1e-3)
    assert power(detectable(0.7, df, alpha), 0.7, df, alpha) == pytest.approx(0.8)


def test_with_many_degrees_the_detectable_difference_is_the_normal_ones():
    assert detectable(1.0, 1e6) == pytest.approx(stats.norm.isf(0.025) + stats.norm.isf(0.2), abs=1e-3)
    assert detectable(1.0, 1.0, 0.01) > 50  # one degree of freedom shows next to nothing


def test_simulated_experiments_find_what_they_say():
    sizes = {"n_seeds": 5, "n_contexts": 300}
    none = receipt_simulation.simulate(difference=0.0, n=200, seed=1, **sizes)
    planted = receipt_simulation.simulate(difference=2.0, n=200, seed=2, **sizes)
    # 10 expected of 200; more than 17 of them come with a probability of 1% where the error is 5%
    assert none.found * 200 <= stats.binom.isf(0.01, 200, 0.05)
    assert abs(planted.found - planted.stated) <= 0.1
    assert none.covered == 1 - none.found


def test_magnitudes_are_estimated_as_they_were_simulated():
    draw, truth = np.random.default_rng(4), receipt_simulation.Magnitudes(3.0, 6.0, 10.0, 5.0, 20.0)
    groups = np.repeat(np.arange(600), draw.integers(1, 8, 600))
    arm, control = receipt_simulation.experiment(draw, groups, 1.0, 40, truth, True)
    found = receipt_simulation.fitted(np.stack([arm[seed] - control[seed] for seed in arm]), groups)
    assert found.seed == pytest.approx(truth.seed, rel=0.35)  # of 40 draws
    for name in ("context", "row", "noise_context", "noise_row"):
        assert getattr(found, name) == pytest.approx(getattr(truth, name), rel=0.1)
