"""The recording that all folds make together, and what their models would answer."""

import logging
import math
import uuid
from collections.abc import Iterator

import numpy as np
import pandas as pd

from datamap.crossfit import state
from datamap.crossfit.loop import Run
from datamap.dynamics import closing, recordings
from datamap.evaluation.label_masses import PROBABILITIES
from datamap.evaluation.spans import NO_SPAN
from datamap.files import manifests, outputs
from datamap.training.memory import peak_memory

logger = logging.getLogger(__name__)


def write_recording(run: Run, identity: dict) -> pd.DataFrame:
    """Put the passes of all folds together, write everything, the manifest last, and remove the folds' folders.

    Args:
        identity: what the numbers depend on, by name.

    Returns:
        The metrics, a row an example that has them.
    """
    features = run.features(run.examples, to_train_on=False)
    directory, ids = run.directory, run.examples.frame["id"].tolist()
    epochs, answers = gathered(run)
    counts = {
        "n_windows": np.bincount(features.example, minlength=len(ids)),
        "n_gold_windows": np.bincount(features.example[features.has_gold], minlength=len(ids)),
    }
    epoch_files = {}
    for number, epoch in epochs.items():
        path = recordings.epoch_path(directory, number)
        recordings.write_epoch(path, number, ids, epoch, counts)
        epoch_files[number] = manifests.file_hash(path)
    metrics = closing.write_tables(directory, ids, epochs, counts, features.without_gold_window())
    predict = qa_predictions if run.options.task == "qa" else nli_predictions
    outputs.write_jsonl(directory / recordings.CROSSFIT_PREDICTIONS, predict(run, answers))
    recorded = closing.Recorded(directory, uuid.uuid4().hex, identity, epoch_files, metrics)
    folds = run.folds
    out_of_fold = {"n_folds": folds.n_folds, "fold_sizes": folds.sizes, "n_groups": folds.n_groups}
    out_of_fold |= {"groups_cut_by_premise": folds.split_groups}
    out_of_fold["predictions_sha256"] = manifests.file_hash(directory / recordings.CROSSFIT_PREDICTIONS)
    memory = peak_memory(run.training_args.device)
    settings = run.settings | state.finished_fold(state.fold_directory(directory, 0))["computing"]
    settings |= {"peak_memory_gb": memory}
    logger.info("Memory at most: %s.", ", ".join(f"{size:.2f} GB ({name})" for name, size in memory.items()))
    closing.close_recording(run.options, run.training_args, recorded, run.examples, settings, out_of_fold=out_of_fold)
    state.remove_folds(directory, keep_models=run.options.keep_fold_models)
    return metrics


def gathered(run: Run) -> tuple[dict[int, dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """(measures of all rows by epoch and name, NaN where a fold had no such epoch; answers of each fold's last one)."""
    n_rows = len(run.examples.frame)
    epochs: dict[int, dict[str, np.ndarray]] = {}
    answers: dict[str, np.ndarray] = {}
    for fold in range(run.folds.n_folds):
        fold_dir, rows = state.fold_directory(run.directory, fold), np.flatnonzero(run.folds.of_row == fold)
        last = state.finished_fold(fold_dir)["n_epochs"]
        for number in range(1, last + 1):
            measures, found = state.read_pass(state.pass_path(fold_dir, number))
            epoch = epochs.setdefault(number, {name: np.full(n_rows, np.nan, np.float32) for name in measures})
            for name, values in measures.items():
                epoch[name][rows] = values
        for name, values in found.items():
            whole = answers.setdefault(name, np.zeros((n_rows, *values.shape[1:]), dtype=values.dtype))
            whole[rows] = values
    return dict(sorted(epochs.items())), answers


def qa_predictions(run: Run, answers: dict[str, np.ndarray]) -> Iterator[dict]:
    """A line a row: the most probable answer, the masses of the label, the most probable answer that is not the label.

    "No answer" is "" at -1; where nothing but the label can be answered, the other answer is null.
    """
    columns = {name: values.tolist() for name, values in answers.items()}
    frame = run.examples.frame
    for row, (identifier, context) in enumerate(zip(frame["id"], frame["context"], strict=True)):
        found = {name: values[row] for name, values in columns.items()}
        has_other = not math.isnan(found["other_prob"])
        yield {
            "id": identifier,
            "fold": int(run.folds.of_row[row]) + 1,
            "predicted_answer": text_at(context, found["predicted_start"], found["predicted_end"]),
            "predicted_start": found["predicted_start"],
            "predicted_score": found["predicted_score"],
            "predicted_prob": found["predicted_prob"],
            **{name: found[name] for name in PROBABILITIES},
            "other_answer": text_at(context, found["other_start"], found["other_end"]) if has_other else None,
            "other_start": found["other_start"] if has_other else None,
            "other_prob": found["other_prob"],
        }


def text_at(context: str, start: int, end: int) -> str:
    """The text between two characters, "" for no answer."""
    return "" if start == NO_SPAN else context[start:end]


def nli_predictions(run: Run, answers: dict[str, np.ndarray]) -> Iterator[dict]:
    """A line a row: the most probable label and the probabilities of all."""
    names = run.examples.label_names
    for row, (identifier, probs) in enumerate(zip(run.examples.frame["id"], answers["probs"].tolist(), strict=True)):
        yield {
            "id": identifier,
            "fold": int(run.folds.of_row[row]) + 1,
            "predicted_label": names[int(np.argmax(probs))],
            "predicted_scores": dict(zip(names, probs, strict=True)),
        }


def headline(run: Run, metrics: pd.DataFrame) -> str:
    """The result in a few words."""
    parts = [f"mean confidence {metrics['confidence'].mean():.4f}", f"correctness {metrics['correctness'].mean():.4f}"]
    if "expected_f1" in metrics:
        parts.append(f"expected F1 {metrics['expected_f1'].mean():.4f}")
    return f"{', '.join(parts)} out of fold, {len(metrics)} examples, {run.folds.n_folds} models"
