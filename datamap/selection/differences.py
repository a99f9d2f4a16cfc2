"""The difference between two arms, how sure it is, and which of several differences are shown.

Scores of an arm are an array [seeds, rows], in points; the rows of all arms are the same, in one order. With
d[s, i] the difference of row i in seed s (arm minus control), and rows in contexts, the model is

    d[s, i] = difference + seed[s] + context[c(i)] + row[i] + noise[s, i]

where seed is what a training's luck adds to all rows, context and row are what the arm does to these rows in every
seed, and noise is what a seed does to single rows (it may hang together within a context). The mean over S seeds has
the variance

    Var(seed) / S  +  Var(mean of context + row)  +  Var(mean of noise) / S

Three numbers can be computed. `seeds`, the variance (S - 1) of the seeds' mean differences / S, estimates the first
and the third part: rows are the same in all seeds, so the second is not in it. `contexts`, the clustered variance of
the mean of the seed-averaged row differences, estimates the second and the third. Their sum has the third part
twice. `both`, the clustered variance of what is left of d without its row and seed means, / (S - 1), estimates that
part alone. So

    standard error^2 = seeds + contexts - both,

and at least the larger of the first two, since neither can exceed what it is part of. It is the variance of the grand
mean in a two-way layout of random seeds and random contexts. Degrees of freedom by Satterthwaite (Biometrics
Bulletin 2, 1946): standard error^4 / the sum of part^2 / its own degrees, S - 1, C - 1 and (S - 1)(C - 1).

Where the seeds of the two arms do not match, each arm has a part `seeds` and a part `both` of its own (Welch).
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from scipy import stats

LEVEL = 0.95
PAIRED, UNPAIRED, ONE_SEED = "paired by seed", "unpaired", "contexts alone"
# A standard error below this, in points, is rounding: nothing varied.
NO_SPREAD = 1e-9


@dataclasses.dataclass(frozen=True)
class Difference:
    """A difference of two arms, arm minus control, in points.

    Attributes:
        mean: over seeds and rows.
        how: PAIRED, UNPAIRED, or ONE_SEED where the training's luck is not covered.
        n_seeds: pairs of seeds that it is from; of unpaired ones the smaller arm's number.
        standard_error: of the mean; 0 where neither seeds nor contexts varied.
        df: degrees of freedom; NaN where the standard error is 0.
        seeds, contexts, both: the parts of its square as the module describes them.
    """

    mean: float
    how: str
    n_seeds: int
    standard_error: float
    df: float
    seeds: float
    contexts: float
    both: float

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """(low, high) of a two-sided t interval; NaN where nothing varied."""
        reach = float(stats.t.ppf((1 + level) / 2, self.df)) * self.standard_error
        return self.mean - reach, self.mean + reach

    def p_value(self) -> float:
        """Two-sided, from the same t as the interval; NaN where nothing varied."""
        if not self.standard_error:
            return float("nan")
        return float(2 * stats.t.sf(abs(self.mean) / self.standard_error, self.df))


@dataclasses.dataclass(frozen=True)
class Part:
    """An estimated variance with its degrees of freedom."""

    variance: float
    df: float


def clustered_variance(values: np.ndarray, groups: np.ndarray) -> float:
    """The variance of the mean of `values` [rows] when whole groups are drawn, C / (C - 1) * sum of sums^2 / rows^2.

    Args:
        values: one a row; their mean is taken off.
        groups: of the rows, from 0 without gaps, int [rows]; at least two.
    """
    sums = np.bincount(groups, weights=values - values.mean())
    return float(len(sums) / (len(sums) - 1) * (sums**2).sum() / len(values) ** 2)


def seed_parts(scores: np.ndarray, groups: np.ndarray) -> tuple[Part, Part]:
    """(`seeds`, `both`) of scores or differences [seeds, rows], of at least two seeds."""
    n_seeds, n_groups = len(scores), int(groups.max()) + 1
    means = scores.mean(axis=1)
    left = scores - scores.mean(axis=0)
    both = sum(clustered_variance(row, groups) for row in left) / (n_seeds * (n_seeds - 1))
    seeds = float(means.var(ddof=1)) / n_seeds
    return Part(seeds, n_seeds - 1), Part(both, (n_seeds - 1) * (n_groups - 1))


def difference(
    arm: Mapping[int | None, np.ndarray], control: Mapping[int | None, np.ndarray], groups: np.ndarray
) -> Difference:
    """The difference of two arms from the scores [rows] of each seed.

    Paired where at least two seeds match, and then from these alone; else unpaired where both arms have at least two
    seeds; else from contexts alone, of the means of both arms.

    Args:
        arm: scores of the rows by seed, in points.
        control: the same of the control.
        groups: contexts of the rows, from 0 without gaps, int [rows]; at least two.
    """
    matched = [seed for seed in arm if seed in control]
    if len(matched) >= 2:
        differing = np.stack([arm[seed] - control[seed] for seed in matched])
        return combined(differing.mean(axis=0), groups, [seed_parts(differing, groups)], PAIRED, len(matched))
    sides = [np.stack(list(side.values())) for side in (arm, control)]
    n_seeds = min(map(len, sides))
    if n_seeds >= 2:
        of_rows = sides[0].mean(axis=0) - sides[1].mean(axis=0)
        return combined(of_rows, groups, [seed_parts(side, groups) for side in sides], UNPAIRED, n_seeds)
    return combined(sides[0].mean(axis=0) - sides[1].mean(axis=0), groups, [], ONE_SEED, 1)


def combined(
    of_rows: np.ndarray, groups: np.ndarray, parts: list[tuple[Part, Part]], how: str, n_seeds: int
) -> Difference:
    """The difference with its standard error and degrees of freedom.

    Args:
        of_rows: seed-averaged difference of every row.
        groups: contexts of the rows.
        parts: (`seeds`, `both`) of the paired differences, or of each arm; none without seeds.
        how: as in Difference.
        n_seeds: as in Difference.
    """
    contexts = Part(clustered_variance(of_rows, groups), int(groups.max()))
    seeds, both = (sum(pair[place].variance for pair in parts) for place in (0, 1))
    variance = max(seeds, contexts.variance, seeds + contexts.variance - both)
    error, df = float(np.sqrt(variance)), float("nan")
    if error <= NO_SPREAD:
        error = 0.0
    else:
        df = satterthwaite(variance, [contexts, *(part for pair in parts for part in pair)])
    return Difference(float(of_rows.mean()), how, n_seeds, error, df, seeds, contexts.variance, both)


def satterthwaite(variance: float, parts: list[Part]) -> float:
    """Degrees of freedom of a variance that is put together from independent parts."""
    return variance**2 / sum(part.variance**2 / part.df for part in parts)


def holm(p_values: np.ndarray) -> np.ndarray:
    """p values as Holm's step-down corrects them for their number; NaN, where nothing was tested, stays and counts not.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    corrected = np.full(len(p_values), np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected
