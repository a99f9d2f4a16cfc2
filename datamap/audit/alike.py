"""Rows whose vectors lie close together: shown, never counted, because near is not the same."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from datamap.audit.meetings import hash_order

N_DRAWN, N_SHOWN, BLOCK = 2_000, 20, 65_536


def nearest(vectors: np.ndarray, others: np.ndarray, chosen: np.ndarray, *, same: bool) -> tuple[np.ndarray, ...]:
    """(the row of `others` with the highest cosine, that cosine in [-1, 1]) of every chosen row of `vectors`.

    Exact, in blocks; of equal ones the first. A vector of zeros has the cosine 0 with everything.

    Args:
        vectors: float32 [n, d].
        others: float32 [m, d], of which a block at a time is read.
        chosen: int64 [k], rows of `vectors`.
        same: whether `others` are `vectors`, so that a row is not its own neighbour.
    """
    mine = _of_length_one(vectors[chosen])
    best, best_at = np.full(len(chosen), -np.inf, dtype=np.float32), np.zeros(len(chosen), dtype=np.int64)
    for begin in range(0, len(others), BLOCK):
        cosines = mine @ _of_length_one(others[begin : begin + BLOCK]).T
        if same:
            inside = (chosen >= begin) & (chosen < begin + BLOCK)
            cosines[np.flatnonzero(inside), chosen[inside] - begin] = -np.inf
        at = cosines.argmax(axis=1)
        value = cosines[np.arange(len(chosen)), at]
        better = value > best
        best[better], best_at[better] = value[better], at[better] + begin
    return best_at, best


def _of_length_one(vectors: np.ndarray) -> np.ndarray:
    found = np.asarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return found / np.where(lengths > 0, lengths, 1)


def drawn(ids: Sequence[str]) -> np.ndarray:
    """At most 2,000 rows, those whose ids have the smallest SHA-256, as rising row numbers, int64 [k]."""
    return np.sort(hash_order(ids)[:N_DRAWN])


def alike_pairs(
    ids: Sequence[str], vectors: np.ndarray, other_ids: Sequence[str], others: np.ndarray, *, same: bool
) -> pd.DataFrame:
    """The nearest neighbours of at most 2,000 rows, the closest first: id, other_id, cosine."""
    chosen = drawn(ids)
    at, cosine = nearest(vectors, others, chosen, same=same)
    names, other_names = np.asarray(ids, dtype=object), np.asarray(other_ids, dtype=object)
    columns = {"id": names[chosen], "other_id": other_names[at], "cosine": cosine}
    table = pd.DataFrame(columns).sort_values("cosine", ascending=False, kind="stable", ignore_index=True)
    if same:  # two that are each other's nearest neighbours are one pair
        key = [tuple(sorted(pair)) for pair in zip(table["id"], table["other_id"], strict=True)]
        table = table[~pd.Series(key, dtype=object).duplicated()].reset_index(drop=True)
    return table
