"""Finished evaluations as they are compared: of which arm and seed, and the score of every row."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from datamap.errors import DataError
from datamap.files import manifests, outputs
from datamap.joint.join import prediction_fields

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Metric:
    """A figure of a task: its name in sentences, in eval_metrics.json, and what turns that one into points."""

    task: str
    title: str
    figure: str
    scale: float


METRICS = {
    "f1": Metric("qa", "F1", "eval_f1", 1.0),
    "exact_match": Metric("qa", "exact match", "eval_exact_match", 1.0),
    "accuracy": Metric("nli", "accuracy", "eval_accuracy", 100.0),
}
DEFAULTS = {"qa": "f1", "nli": "accuracy"}
ROW_FIELDS = {
    "f1": ("id", "context", "f1"),
    "exact_match": ("id", "context", "em"),
    "accuracy": ("id", "premise", "label_name", "predicted_label"),
}
TRAINER_STATE = "trainer_state.json"
TOLD = {"dataset", "split", "n_rows", "ids_sha256"}  # of the evaluated rows
TOLERANCE = 1e-6  # points: a mean taken in another order


@dataclasses.dataclass(frozen=True)
class Run:
    """An evaluation and the training of its model.

    Attributes:
        directory: as it was given.
        arm: as it was named, None in a matrix of ablations.
        manifest: of the evaluation.
        training: manifest of the training; empty where the model was not trained by run.py.
        steps: optimizer steps of the training, None without one.
    """

    directory: Path
    arm: str | None
    manifest: dict
    training: dict
    steps: int | None

    @property
    def task(self) -> str:
        """qa or nli."""
        return self.manifest["task"]

    @property
    def seed(self) -> int | None:
        """Of the training, None without one."""
        return self.training.get("seed")


def read_run(arm: str | None, directory: Path) -> Run:
    """The evaluation in a directory, without its rows.

    Raises:
        DataError: it is unfinished, an earlier version wrote it, or the model was trained again since.
    """
    manifest = manifests.read_manifest(directory, manifests.EVAL_MANIFEST)
    if not manifest:
        raise DataError(
            f"{directory} holds no finished evaluation (no {manifests.EVAL_MANIFEST}): run run.py --do_eval first."
        )
    parts = (manifest.get("identity"), manifest.get("settings"), manifest.get("data", {}).get("eval"))
    if not all(isinstance(part, dict) and part for part in parts) or not parts[2].keys() >= TOLD:
        raise DataError(f"{directory}: its {manifests.EVAL_MANIFEST} does not say what it is of: evaluate again.")
    trained = training_directory(directory, manifest)
    if trained is None:
        return Run(directory, arm, manifest, {}, None)
    state = outputs.read_json(trained / TRAINER_STATE)
    steps = state.get("global_step") if isinstance(state, dict) else None
    if steps is None:
        raise DataError(f"{trained / TRAINER_STATE} does not say how many steps were taken: train again.")
    return Run(directory, arm, manifest, manifests.read_manifest(trained), steps)


def training_directory(directory: Path, manifest: dict) -> Path | None:
    """Where the training of an evaluated model lies: beside the evaluation, or where the model was; None without one.

    Raises:
        DataError: what lies there is not the training that was evaluated.
    """
    if "train" in manifests.read_manifest(directory).get("data", {}):
        return directory
    model = Path(manifest.get("evaluated_model") or "").expanduser()
    told = {Path(name): known for name, known in manifest.get("made_from", {}).items()}.get(model / manifests.MANIFEST)
    if told is None:
        return None
    path = model / manifests.MANIFEST
    if not path.is_file() or manifests.file_hash(path) != told:
        what = "has been trained again since" if path.is_file() else "is not there (paths count from where it was run)"
        raise DataError(f"{directory} is an evaluation of {model}, which {what}: evaluate again.")
    return model if "train" in manifests.read_manifest(model).get("data", {}) else None


def read_scores(run: Run, name: str) -> pd.DataFrame:
    """The rows of an evaluation by id: `score` in points, 0 to 100, and `group`, the text of its context or premise.

    Args:
        run: its evaluation is read.
        name: of METRICS.

    Raises:
        DataError: the predictions are not the ones that the manifest and the figures are of.
    """
    path, fields = run.directory / outputs.EVAL_PREDICTIONS, ROW_FIELDS[name]
    again = "evaluate again"
    try:
        with path.open(encoding="utf-8") as file:
            rows = [prediction_fields(path, number, line, fields) for number, line in enumerate(file, start=1)]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}): {again}.") from error
    read = pd.DataFrame(rows, columns=list(fields))
    if manifests.ids_hash(read["id"]) != run.manifest["data"]["eval"]["ids_sha256"]:
        raise DataError(f"{path} does not hold the rows that {manifests.EVAL_MANIFEST} speaks of: {again}.")
    if name == "accuracy":
        scores = (read["label_name"] == read["predicted_label"]).astype(np.float64)
    else:
        scores = pd.to_numeric(read[fields[-1]]).astype(np.float64)
    metric = METRICS[name]
    if read[fields[1]].isna().any():
        raise DataError(f"{path} has a row without a {fields[1]}: {again}.")
    figures = outputs.read_json(run.directory / outputs.EVAL_METRICS)
    figure = figures.get(metric.figure) if isinstance(figures, dict) else None
    if figure is None or not abs(metric.scale * figure - 100 * scores.mean()) < TOLERANCE:
        raise DataError(f"{path} and {outputs.EVAL_METRICS} beside it do not give the same {metric.title}: {again}.")
    return pd.DataFrame({"score": 100 * scores.to_numpy(), "group": read[fields[1]].to_numpy()}, index=read["id"])


def shared(scores: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """The frames of `read_scores` with the rows that all have, in one order.

    Raises:
        DataError: there are none.
    """
    ids = scores[0].index
    for frame in scores[1:]:
        ids = ids.intersection(frame.index, sort=False)
    if not len(ids):
        raise DataError("the evaluations have no row in common: evaluate all on the same rows.")
    return [frame.loc[ids] for frame in scores]
