"""Samples for a person to read: which examples of a region, and what is shown of them."""

import numpy as np
import pandas as pd

from datamap.data.examples import Examples
from datamap.data.shown import shown_text
from datamap.dynamics.measures import REGIONS
from datamap.dynamics.recordings import shortest

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


def region_samples(
    metrics: pd.DataFrame, gold_probs: np.ndarray, examples: Examples | None, n_examples: int, seed: int
) -> dict[str, dict]:
    """The content of category_samples.json: for every region its count and its extreme and typical examples.

    Args:
        metrics: a row an example, with `id` and `region`.
        gold_probs: [n_epochs, n_examples] in [0, 1], NaN where an example was not seen.
        examples: with the texts of the same rows in the same order; None where no data set is known.
        n_examples: of each kind, as in `region_rows`.
    """
    texts = examples.frame.to_dict("records") if examples is not None else None
    rows = metrics.to_dict("records")

    def record(row: int) -> dict:
        text = shown_text(texts[row], examples.label_names) if texts and examples else {}
        figures = {name: value for name, value in rows[row].items() if name not in ("id", "region")}
        return {"id": rows[row]["id"], **text, **figures, "gold_probs": shortest(gold_probs[:, row])}

    found = {}
    for region in REGIONS:
        chosen = region_rows(metrics, region, n_examples, seed)
        listed = {kind: [record(row) for row in numbers] for kind, numbers in chosen.items()}
        found[region] = {"count": int((metrics["region"] == region).sum())} | listed
    return found
