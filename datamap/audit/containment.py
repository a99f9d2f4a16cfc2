"""Texts that lie in other texts, by the share of their runs of five words; exact, and without looking at every pair."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from tqdm.auto import tqdm

from datamap.audit.texts import word_numbers

SHINGLE_WORDS = 5
# Shares are kept as whole numbers, so that 0.8 of 10 runs is 8 of them and no rounding decides.
SHARE_NEEDED, SHARE_OF = 4, 5
CHUNK_ENTRIES = 20_000_000  # candidates that are looked at together: 240 MB


def contained_pairs(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(inner int64 [m], outer int64 [m], share float64 [m]): text `inner` lies in text `outer`.

    Of the distinct runs of five words (shingles) of the inner text at least 0.8 stand in the outer one, and `share`
    says how many do. Inner is the text with fewer of them (of two with equally many the earlier one). A text of one to
    four words lies in another one when it stands there whole. A text without words lies nowhere.

    Candidates: where A and B share 0.8 of A's shingles, at most a fifth of A's is missing in B, so any ⌊|A| / 5⌋ + 1 of
    them hold one that B has, and A's rarest are looked up (prefix filtering, Chaudhuri et al. 2006, ICDE). All
    candidates are then counted exactly: nothing is missed and nothing is estimated.

    Args:
        texts: normalised, distinct.

    Returns:
        Sorted by inner, then outer.
    """
    words, bounds = word_numbers(texts)
    lengths = np.diff(bounds)
    found = [_of_long_texts(words, bounds, lengths)]
    found += [_of_short_texts(words, bounds, lengths, n_words) for n_words in range(1, SHINGLE_WORDS)]
    inner, outer, share = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((outer, inner))
    return inner[order], outer[order], share[order]


def _runs(words: np.ndarray, bounds: np.ndarray, n_words: int) -> tuple[np.ndarray, np.ndarray]:
    """(text, number of the run) of every run of `n_words` words that lies inside a text; equal runs, equal numbers."""
    lengths = np.diff(bounds)
    text = np.repeat(np.arange(len(lengths)), np.maximum(lengths - n_words + 1, 0))
    starts = np.concatenate([[0], np.cumsum(np.maximum(lengths - n_words + 1, 0))])
    place = bounds[text] + np.arange(len(text)) - starts[text]
    n_distinct = int(words.max(initial=0)) + 1
    run = words[place]
    for step in range(1, n_words):
        run = np.unique(run * n_distinct + words[place + step], return_inverse=True)[1]
    return text, run.astype(np.int64)


def _incidence(text: np.ndarray, run: np.ndarray, n_texts: int) -> csr_array:
    """Which text has which run, as ones, int32 [n_texts, n_runs]; a run that a text repeats counts once."""
    n_runs = int(run.max(initial=-1)) + 1
    pairs = np.unique(text * max(n_runs, 1) + run)
    text, run = np.divmod(pairs, max(n_runs, 1))
    bounds = np.concatenate([[0], np.cumsum(np.bincount(text, minlength=n_texts))])
    return csr_array((np.ones(len(run), dtype=np.int32), run, bounds), shape=(n_texts, n_runs))


def _of_long_texts(words: np.ndarray, bounds: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, ...]:
    """The pairs of texts of at least five words."""
    has = _incidence(*_runs(words, bounds, SHINGLE_WORDS), len(lengths))
    sizes = np.diff(has.indptr)
    rare, shared = _rarest(has, sizes), has.T.tocsr()
    costs = np.concatenate([[0], np.cumsum(_lookups(rare, np.diff(shared.indptr)))])
    parts = []
    first, bar = 0, tqdm(total=len(sizes), desc="contexts inside contexts", unit=" texts", leave=False)
    while first < len(sizes):
        last = max(first + 1, int(np.searchsorted(costs, costs[first] + CHUNK_ENTRIES, side="right")) - 1)
        candidates = (rare[first:last] @ shared).tocoo()
        inner, outer = candidates.row.astype(np.int64) + first, candidates.col.astype(np.int64)
        kept = (sizes[inner] < sizes[outer]) | ((sizes[inner] == sizes[outer]) & (inner < outer))
        parts.append(_verified(has, sizes, inner[kept], outer[kept]))
        bar.update(last - first)
        first = last
    bar.close()
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True)) if parts else _nothing()


def _rarest(has: csr_array, sizes: np.ndarray) -> csr_array:
    """Of every text's runs the ⌊size / 5⌋ + 1 that the fewest texts have, without those that no other text has."""
    frequency = np.bincount(has.indices, minlength=has.shape[1])
    text = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((has.indices, frequency[has.indices], text))
    rank = np.arange(len(order)) - has.indptr[text]
    kept = order[(rank < sizes[text] // SHARE_OF + 1) & (frequency[has.indices[order]] > 1)]
    bounds = np.concatenate([[0], np.cumsum(np.bincount(text[kept], minlength=len(sizes)))])
    return csr_array((np.ones(len(kept), dtype=np.int32), has.indices[kept], bounds), shape=has.shape)


def _lookups(rare: csr_array, frequency: np.ndarray) -> np.ndarray:
    """How many candidates, repeats among them, the runs of every text lead to, int64 [n_texts]."""
    sums = np.concatenate([[0], np.cumsum(frequency[rare.indices], dtype=np.int64)])
    return sums[rare.indptr[1:]] - sums[rare.indptr[:-1]]


def _verified(has: csr_array, sizes: np.ndarray, inner: np.ndarray, outer: np.ndarray) -> tuple[np.ndarray, ...]:
    """Those candidates that share enough, with their share."""
    parts = [_nothing()]
    ends = np.concatenate([[0], np.cumsum(sizes[inner] + sizes[outer])])
    first = 0
    while first < len(inner):
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + CHUNK_ENTRIES, side="right")) - 1)
        some, others = inner[first:last], outer[first:last]
        common = np.asarray(has[some].multiply(has[others]).sum(axis=1)).ravel()
        kept = SHARE_OF * common >= SHARE_NEEDED * sizes[some]
        parts.append((some[kept], others[kept], common[kept] / sizes[some[kept]]))
        first = last
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def _of_short_texts(words: np.ndarray, bounds: np.ndarray, lengths: np.ndarray, n_words: int) -> tuple[np.ndarray, ...]:
    """The pairs whose inner text has exactly `n_words` words, fewer than five."""
    if not (lengths == n_words).any():
        return _nothing()
    has = _incidence(*_runs(words, bounds, n_words), len(lengths))
    short = np.flatnonzero(lengths == n_words)
    candidates = (has[short] @ has.T.tocsr()).tocoo()
    inner, outer = short[candidates.row], candidates.col.astype(np.int64)
    kept = lengths[outer] > n_words
    return inner[kept], outer[kept], np.ones(int(kept.sum()))


def _nothing() -> tuple[np.ndarray, ...]:
    return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)
