"""Metrics over epochs and regions against a loop over examples; drawing the map; writing the metrics."""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import timing
from datamap.dynamics import plots, recordings
from datamap.dynamics.measures import (
    AMBIGUOUS_FRACTION,
    CONFIDENCE_THRESHOLD,
    LEAST_AMBIGUOUS_VARIABILITY,
    assign_regions,
    over_epochs,
)
from datamap.files import pictures
from inputs import SEED

N_EXAMPLES, N_EPOCHS = 130_000, 5


def measure(options: argparse.Namespace) -> list[timing.Row]:
    """From the epochs' numbers to metrics and regions, and from these to the files."""
    epochs = random_dynamics()
    ids = [f"row{number}" for number in range(N_EXAMPLES)]
    examples = by_example(epochs, ids)
    metrics = own_metrics(epochs, ids)
    variants = {
        "loop over examples": lambda: usual_metrics(examples),
        "over_epochs, assign_regions": lambda: own_metrics(epochs, ids),
    }
    amount = {"amount": N_EXAMPLES, "unit": "examples"}
    rows = timing.take_turns(f"metrics over {N_EPOCHS} epochs", variants, compared=agreement, **amount)
    with tempfile.TemporaryDirectory() as folder:
        draws = {"data_map, write_figure": lambda: draw(metrics, Path(folder))}
        rows += timing.take_turns("data map drawn and written", draws, **amount)
        writes = {"write_metrics": lambda: write(metrics, epochs, Path(folder))}
        rows += timing.take_turns("metrics written as CSV and JSON", writes, **amount)
    return rows


def random_dynamics() -> dict[str, np.ndarray]:
    """Measures of every epoch, float32 [n_epochs, n_examples]: examples of different ease that are learnt in time."""
    generator = np.random.default_rng(SEED)
    shape = N_EPOCHS, N_EXAMPLES
    ease = generator.normal(size=N_EXAMPLES) * 2
    margin = ease + np.arange(N_EPOCHS)[:, None] + generator.normal(size=shape)
    start, end = (1 / (1 + np.exp(-margin - generator.normal(size=shape) / 2)) for _ in range(2))
    correct = margin > 0
    span_f1 = np.where(correct, 1, generator.random(shape))
    epochs = {"gold_prob": start * end, "start_prob": start, "end_prob": end, "correct": correct, "span_f1": span_f1}
    epochs |= {"margin": margin, "loss": -np.log(start * end) / 2}
    return {name: values.astype(np.float32) for name, values in epochs.items()}


def by_example(epochs: dict[str, np.ndarray], ids: list[str]) -> dict[str, dict[str, list[float]]]:
    """The same numbers as the usual recipe keeps them: for every id, a list over epochs of each measure."""
    columns = {name: values.T.tolist() for name, values in epochs.items()}
    return {ids[row]: {name: lists[row] for name, lists in columns.items()} for row in range(N_EXAMPLES)}


def usual_metrics(examples: dict[str, dict[str, list[float]]]) -> pd.DataFrame:
    """A row an example, computed one by one."""
    rows = [{"id": identifier, **usual_row(numbers)} for identifier, numbers in examples.items()]
    least = np.quantile([row["variability"] for row in rows], 1 - AMBIGUOUS_FRACTION)
    least = max(least, LEAST_AMBIGUOUS_VARIABILITY)
    for row in rows:
        if row["variability"] >= least:
            row["region"] = "ambiguous"
        else:
            row["region"] = "easy" if row["confidence"] >= CONFIDENCE_THRESHOLD else "hard"
    return pd.DataFrame(rows)


def usual_row(numbers: dict[str, list[float]]) -> dict:
    """The metrics of one example."""
    correct = numbers["correct"]
    confidence = np.mean(numbers["gold_prob"])
    forgetting_events = 0
    for before, now in zip(correct[:-1], correct[1:], strict=True):
        forgetting_events += before > now
    return {
        "confidence": confidence,
        "variability": np.std(numbers["gold_prob"]),
        "correctness": np.mean(correct),
        "start_confidence": np.mean(numbers["start_prob"]),
        "end_confidence": np.mean(numbers["end_prob"]),
        "span_f1": np.mean(numbers["span_f1"]),
        "forgetting_events": forgetting_events,
        "never_learnt": not any(correct),
        "threshold_closeness": confidence * (1 - confidence),
        "aum": np.mean(numbers["margin"]),
        "loss": np.mean(numbers["loss"]),
        "num_epochs": len(correct),
    }


def own_metrics(epochs: dict[str, np.ndarray], ids: list[str]) -> pd.DataFrame:
    """The same table from the arrays."""
    metrics = over_epochs(epochs)
    metrics.insert(0, "id", ids)
    regions = assign_regions(metrics["confidence"].to_numpy(), metrics["variability"].to_numpy())
    return metrics.assign(region=regions)


def agreement(usual: pd.DataFrame, own: pd.DataFrame) -> str:
    """The share of rows with the same region, and the largest difference of a metric.

    Raises:
        ValueError: the tables have different columns.
    """
    if list(usual) != list(own):
        raise ValueError(f"the ways differ in their columns: {list(usual)} and {list(own)}")
    numbers = [name for name in own if name not in ("id", "region")]
    largest = np.abs(usual[numbers].astype(float) - own[numbers].astype(float)).to_numpy().max()
    same = np.mean(usual["region"] == own["region"])
    return f"same region in {same:.2%}, largest difference of a metric {largest:.0e}"


def draw(metrics: pd.DataFrame, folder: Path) -> None:
    """The data map as a PNG file."""
    figure = plots.data_map(metrics, title="random dynamics", n_epochs=N_EPOCHS, seed=SEED)
    pictures.write_figure(folder / recordings.MAP, figure)


def write(metrics: pd.DataFrame, epochs: dict[str, np.ndarray], folder: Path) -> None:
    """cartography_metrics.csv and .json."""
    recordings.write_metrics(folder, metrics.drop(columns="region"), epochs["gold_prob"], epochs["correct"])
