"""Weights of rows: from their suspicion or their variability, and the same weights on shuffled rows as a control."""

from collections.abc import Collection

import numpy as np
import pandas as pd

LEAST = 0.05


def weights_table(ids: list[str], values: np.ndarray, kind: str) -> pd.DataFrame:
    """id and weight, above 0: max(1 - suspicion, 0.05) or variability + 0.05; a row without a value has the mean."""
    found = np.maximum(1 - values, LEAST) if kind == "suspicion" else values + LEAST
    return pd.DataFrame({"id": ids, "weight": np.where(np.isnan(found), np.nanmean(found), found)})


def permuted(table: pd.DataFrame, seed: int, rows: Collection[str]) -> pd.DataFrame:
    """The same weights on shuffled rows, of those `rows` that are trained on; all others keep theirs."""
    ordered = table.sort_values("id", ignore_index=True)
    weights, among = ordered["weight"].to_numpy(copy=True), ordered["id"].isin(rows).to_numpy()
    weights[among] = np.random.default_rng(seed).permutation(weights[among])
    return ordered.assign(weight=weights)
