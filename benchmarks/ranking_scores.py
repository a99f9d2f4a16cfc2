"""How good a ranking of suspects is: average precision and its like, with intervals by group."""

import hashlib
from collections.abc import Sequence

import numpy as np

N_DRAWS, FIRST = 1_000, 100
FIGURES = ("AP", "P@100", "recall in the first tenth")


def order_of(scores: np.ndarray) -> np.ndarray:
    """Rows by falling score, NaN last; of equal ones the first in the data."""
    return np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")


def figures(wrong: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """FIGURES of rows in the order of a ranking, in [0, 1], float64 [n_draws, 3].

    Average precision is that of Manning et al. (2008, section 8.4), the mean of the precision at every wrong row.

    Args:
        wrong: bool [n].
        counts: [n_draws, n], how often each row is drawn; equal rows share a place.
    """
    counts = counts.astype(np.float64)
    hits, seen = np.cumsum(counts * wrong, axis=1), np.cumsum(counts, axis=1)
    n_wrong, n_rows = hits[:, -1], seen[:, -1]
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    average = (counts * wrong * precision).sum(axis=1) / n_wrong
    at_first = hits_within(hits, seen, np.full(len(counts), float(FIRST))) / np.minimum(FIRST, n_rows)
    return np.stack([average, at_first, hits_within(hits, seen, n_rows / 10) / n_wrong], axis=1)


def hits_within(hits: np.ndarray, seen: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Wrong rows among the first `most` [n_draws]; part of a row that is drawn several times counts as its share."""
    most = np.minimum(most, seen[:, -1])
    return np.array([np.interp(m, np.r_[0.0, s], np.r_[0.0, h]) for m, s, h in zip(most, seen, hits, strict=True)])


def draws(groups: np.ndarray, n_draws: int = N_DRAWS, seed: int = 0) -> np.ndarray:
    """How often each row comes in each bootstrap draw of whole groups, int [n_draws + 1, n]; the first is the data."""
    _, codes = np.unique(groups, return_inverse=True)
    n_groups = codes.max() + 1
    chosen = np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_draws)
    return np.vstack([np.ones((1, len(codes)), dtype=np.int64), chosen[:, codes]])


def over_seeds(wrong: np.ndarray, rankings: Sequence[np.ndarray], counts: np.ndarray) -> np.ndarray:
    """FIGURES of a ranking in every draw, the mean over its seeds, float64 [n_draws + 1, 3].

    Args:
        wrong: bool [n].
        rankings: scores [n] of each seed, higher = more suspicious.
        counts: of `draws`.
    """
    orders = [order_of(scores) for scores in rankings]
    return np.mean([figures(wrong[order], counts[:, order]) for order in orders], axis=0)


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """(value on the data, 2.5th and 97.5th percentile of the draws) of [n_draws + 1]."""
    low, high = np.percentile(values[1:], [2.5, 97.5])
    return float(values[0]), float(low), float(high)


def choosing_half(groups: Sequence[str], seed: int = 1) -> np.ndarray:
    """Whether each row's group is in the half on which formulas are chosen, by hash; bool [n]."""
    digests = {group: hashlib.sha256(f"{seed} {group}".encode("utf-8", "surrogatepass")).digest() for group in groups}
    return np.array([digests[group][0] % 2 == 0 for group in groups])
