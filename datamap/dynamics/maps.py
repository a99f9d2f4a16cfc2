"""The data map of one recording or of several: metrics after the burn-in, with a region for every example."""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from datamap.dynamics.agreement import Agreement, agreement, averaged
from datamap.dynamics.measures import FEW_EPOCHS, REGIONS, assign_regions, over_epochs
from datamap.dynamics.recordings import Recording
from datamap.errors import UsageError

logger = logging.getLogger(__name__)

MEANS = ("confidence", "variability", "correctness", "forgetting_events", "aum", "loss")


@dataclasses.dataclass(frozen=True)
class DataMap:
    """What is known of the examples after the burn-in.

    Attributes:
        metrics: a row an example: `id`, `region`, the metrics (means over recordings where there are several, then with
            `region_agreement`), counts of windows.
        gold_probs: [n_epochs, n_examples], NaN where an example was not seen; means over recordings.
        agreement: of several recordings.
    """

    metrics: pd.DataFrame
    gold_probs: np.ndarray
    agreement: Agreement | None = None


def data_map(recordings: Sequence[Recording], burn_in: int, rule: dict[str, Any]) -> DataMap:
    """The map of one recording, or of the means of several of the same rows.

    Args:
        recordings: one, or several that `agreement.refuse_other_rows` takes.
        burn_in: how many of the first epochs are left out.
        rule: what `assign_regions` takes beside confidence and variability.

    Raises:
        UsageError: the burn-in leaves no epoch, or none in which an example was seen.
    """
    parts = [metrics_after(recording, burn_in) for recording in recordings]
    if len(parts[0][1]) < FEW_EPOCHS:
        logger.warning("Variability over fewer than %d epochs means little.", FEW_EPOCHS)
    if len(parts) == 1:
        metrics, probs = parts[0]
        metrics.insert(1, "region", regions_of(metrics, rule))
        return DataMap(metrics, probs)
    metrics = averaged([part for part, _ in parts])
    rows = [part.reset_index().set_index("id")["index"].loc[metrics["id"]].to_numpy() for part, _ in parts]
    aligned = [part.iloc[here] for (part, _), here in zip(parts, rows, strict=True)]
    probs = _mean([values[:, here] for (_, values), here in zip(parts, rows, strict=True)])
    agreed = agreement(aligned, [regions_of(part, rule) for part in aligned])
    metrics.insert(1, "region", regions_of(metrics, rule))
    metrics.insert(2, "region_agreement", agreed.region_agreement)
    return DataMap(metrics, probs, agreed)


def regions_of(metrics: pd.DataFrame, rule: dict[str, Any]) -> np.ndarray:
    """The region of every example, [n]."""
    return assign_regions(metrics["confidence"].to_numpy(), metrics["variability"].to_numpy(), **rule)


def metrics_after(recording: Recording, burn_in: int) -> tuple[pd.DataFrame, np.ndarray]:
    """(metrics, a row an example; gold probabilities [n_epochs, n_examples]) without the first epochs.

    Raises:
        UsageError: the burn-in leaves no epoch, or none in which an example was seen.
    """
    if burn_in >= recording.n_epochs:
        raise UsageError(f"--burn_in {burn_in} leaves none of the {recording.n_epochs} epochs: lower it.")
    epochs = {name: values[burn_in:] for name, values in recording.epochs.items()}
    seen = (epochs["gold_prob"] == epochs["gold_prob"]).any(axis=0)
    if not seen.any():
        raise UsageError(f"--burn_in {burn_in} leaves epochs without any record: lower it.")
    if not seen.all():
        logger.warning("%d examples were not seen after the burn-in and are left out.", (~seen).sum())
    epochs = {name: values[:, seen] for name, values in epochs.items()}
    metrics = over_epochs(epochs)
    metrics.insert(0, "id", [identifier for identifier, kept in zip(recording.ids, seen, strict=True) if kept])
    for name, values in recording.counts.items():
        metrics[name] = values[seen]
    return metrics, epochs["gold_prob"]


def _mean(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of equally large arrays, element by element, of those that are not NaN; NaN where all are."""
    stacked = np.stack(arrays).astype(np.float64)
    known = ~np.isnan(stacked)
    n_known = known.sum(axis=0)
    sums = np.where(known, stacked, 0).sum(axis=0)
    return np.divide(sums, n_known, out=np.full(sums.shape, np.nan), where=n_known > 0)


def summary_table(metrics: pd.DataFrame) -> str:
    """Count, share and mean metrics of every region, and of all."""
    rows = {region: metrics[metrics["region"] == region] for region in REGIONS} | {"all": metrics}
    table = pd.DataFrame({"count": {name: f"{len(part):,}" for name, part in rows.items()}})
    table["share"] = [f"{len(part) / len(metrics):.1%}" for part in rows.values()]
    for name in MEANS:
        table[name] = [f"{part[name].mean():.3f}" if len(part) else "" for part in rows.values()]
    return table.to_string()
