"""What size of difference an experiment could have shown.

An estimated standard error is too small more often than too large, the more so the fewer its degrees of freedom, and an
experiment whose error came out small would promise too much. So both figures go by its median-unbiased estimate, the
standard error / sqrt(median of chi-squared / df), which is above the true one as often as below.
"""

import numpy as np
from scipy import stats
from scipy.optimize import brentq

ALPHA, POWER = 0.05, 0.8
N_POINTS = 1000  # equally likely values of the standard error that power is averaged over: exact to three digits


def power(size: float, standard_error: float, df: float, alpha: float = ALPHA) -> float:
    """The probability that a two-sided t test at `alpha` finds a true difference of `size`, in either direction.

    The estimate is normal around `size`, and the standard error is estimated with `df` degrees of freedom; averaged
    over it, which is the noncentral t distribution, in a form that holds for any size and few degrees.

    Args:
        size: of the difference, in points, like `standard_error`.
        standard_error: as estimated, above 0.
        df: its degrees of freedom, above 0.
        alpha: level of the test.
    """
    return _power(size / median_unbiased(standard_error, df), _bounds(df, alpha))


def detectable(standard_error: float, df: float, alpha: float = ALPHA, wanted: float = POWER) -> float:
    """The smallest true difference, in points, that the test finds with probability `wanted`; arguments as `power`."""
    bounds = _bounds(df, alpha)
    upper = float(bounds.max()) + 10.0
    return median_unbiased(standard_error, df) * float(brentq(lambda size: _power(size, bounds) - wanted, 0.0, upper))


def median_unbiased(standard_error: float, df: float) -> float:
    """The standard error that an estimate with `df` degrees of freedom falls short of as often as it exceeds it."""
    return standard_error / float(np.sqrt(stats.chi2.ppf(0.5, df) / df))


def _bounds(df: float, alpha: float) -> np.ndarray:
    """What the estimate, in true standard errors, must exceed, for equally likely estimates of the standard error."""
    shares = (np.arange(N_POINTS) + 0.5) / N_POINTS
    return stats.t.isf(alpha / 2, df) * np.sqrt(stats.chi2.ppf(shares, df) / df)


def _power(size: float, bounds: np.ndarray) -> float:
    return float((stats.norm.sf(bounds - size) + stats.norm.cdf(-bounds - size)).mean())
