"""Samples for a person to read: which examples of a region."""

import numpy as np
import pandas as pd

EXTREMES = {"easy": ("confidence", False), "ambiguous": ("variability", False), "hard": ("confidence", True)}


def region_rows(metrics: pd.DataFrame, region: str, n_examples: int, seed: int) -> dict[str, np.ndarray]:
    """Row numbers of a region's most extreme and most typical examples, up to `n_examples` of each and none twice.

    Extreme is the highest confidence (easy), the highest variability (ambiguous) or the lowest confidence (hard);
    typical is nearest to the region's mean confidence and variability. Equal examples are drawn with the seed.
    """
    rows = np.flatnonzero((metrics["region"] == region).to_numpy())
    rows = np.random.default_rng(seed).permutation(rows)
    name, rising = EXTREMES[region]
    key = metrics[name].to_numpy()[rows]
    extreme = rows[np.argsort(key if rising else -key, kind="stable")][:n_examples]
    rest = rows[~np.isin(rows, extreme)]
    points = metrics[["confidence", "variability"]].to_numpy()
    distance = np.linalg.norm(points[rest] - points[rows].mean(axis=0), axis=1) if len(rest) else np.empty(0)
    return {"extreme": extreme, "typical": rest[np.argsort(distance, kind="stable")][:n_examples]}
