"""The end of a recording: its tables, its data map and its manifest."""

import argparse
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from datamap.dynamics import measures, recordings
from datamap.files import outputs, pictures
from datamap.files.manifests import made_from, rows_fields, run_fields

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from datamap.data.examples import Examples

logger = logging.getLogger(__name__)

NOT_REACHED = "in no epoch were all windows with its gold answer trained on"


@dataclasses.dataclass(frozen=True)
class Recorded:
    """A recording whose epochs are written.

    Attributes:
        directory: where it lies.
        run_id: tells its run from any other.
        identity: what its numbers depend on, by name.
        epoch_files: SHA-256 of the file of every epoch, by its number.
        metrics: a row an example with metrics.
    """

    directory: Path
    run_id: str
    identity: dict
    epoch_files: dict[int, str]
    metrics: pd.DataFrame


def write_tables(
    directory: Path,
    ids: Sequence[str],
    epochs: Mapping[int, dict[str, np.ndarray]],
    counts: Mapping[str, np.ndarray],
    why: Mapping[int, str],
) -> pd.DataFrame:
    """Write cartography_metrics.csv and .json and untracked_examples.csv, and say what they hold; returns the metrics.

    Args:
        ids: of all examples.
        epochs: float32 arrays [n_examples] by measure, of every epoch from 1, NaN where an example was not seen.
        counts: `n_windows` and `n_gold_windows`, int arrays [n_examples].
        why: the reason of every example, by its row, of which no window holds the gold answer.
    """
    stacked = {name: np.stack([epoch[name] for epoch in epochs.values()]) for name in epochs[1]}
    tracked = np.flatnonzero(~np.isnan(stacked["gold_prob"]).all(axis=0))
    stacked = {name: values[:, tracked] for name, values in stacked.items()}
    metrics = measures.over_epochs(stacked)
    metrics.insert(0, "id", [ids[row] for row in tracked.tolist()])
    for name in recordings.COUNTS:
        metrics[name] = counts[name][tracked]
    recordings.write_metrics(directory, metrics, stacked["gold_prob"], stacked["correct"])
    rows = np.setdiff1d(np.arange(len(ids)), tracked)
    untracked = pd.DataFrame({"id": [ids[row] for row in rows.tolist()]}, dtype=object)
    untracked["reason"] = [why.get(row, NOT_REACHED) for row in rows.tolist()]
    untracked = untracked.assign(**{name: counts[name][rows] for name in recordings.COUNTS})
    outputs.write_csv(directory / recordings.UNTRACKED, untracked)
    report(metrics, untracked)
    return metrics


def report(metrics: pd.DataFrame, untracked: pd.DataFrame) -> None:
    """Log how many examples were recorded how often, and why some were not."""
    epochs = metrics["num_epochs"].value_counts().sort_index(ascending=False)
    times = ", ".join(f"{count} examples in {number} epochs" for number, count in epochs.items())
    logger.info("Training dynamics recorded: %s.", times or "no example")
    for reason, count in untracked["reason"].value_counts().items():
        logger.warning("%d examples untracked (%s): %s.", count, recordings.UNTRACKED, reason)
    if len(epochs) and epochs.index.max() < measures.FEW_EPOCHS:
        logger.warning("Variability over fewer than %d epochs means little.", measures.FEW_EPOCHS)


def close_recording(
    options: argparse.Namespace,
    training_args: "TrainingArguments",
    recorded: Recorded,
    examples: "Examples",
    settings: dict,
    **more: Any,
) -> None:
    """Draw the data map of a finished recording and write its manifest.

    Args:
        examples: the Examples that were recorded.
        settings: resolved ones of the run.
        more: fields of the manifest beside the usual ones.
    """
    from datamap.dynamics import plots

    metrics = recorded.metrics
    confidence, variability = (metrics[name].to_numpy() for name in ("confidence", "variability"))
    drawn = metrics.assign(region=measures.assign_regions(confidence, variability))
    n_epochs = len(recorded.epoch_files)
    if len(metrics):
        model = Path(outputs.short_name(options.model)).name  # of a model of a hub without its owner
        title = f"{examples.title}, learnt by {model}"
        figure = plots.data_map(drawn, title=title, n_epochs=n_epochs, seed=training_args.seed)
        pictures.write_figure(recorded.directory / recordings.MAP, figure)
    fields = run_fields(options, training_args, {"train": examples}, settings)
    fields |= {"n_epochs": n_epochs, "n_tracked": len(metrics), "epoch_files": recorded.epoch_files}
    fields |= {"run_id": recorded.run_id, "identity": recorded.identity} | more
    frame = examples.frame
    fields |= rows_fields(frame[frame["id"].isin(set(metrics["id"]))])
    recordings.end_recording(recorded.directory, fields, made_from(options))
    logger.info("The recording is in %s.", recorded.directory)
