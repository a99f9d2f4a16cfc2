"""What recordings say of their rows, as one frame: the numbers that a ranking is made from."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from datamap.dynamics import recordings
from datamap.dynamics.measures import OUT_OF_FOLD_MEASURES, over_epochs
from datamap.errors import DataError, UsageError, one_line
from datamap.files import manifests, outputs

if TYPE_CHECKING:
    from datamap.data.examples import Examples


QA_FIELDS = (
    "predicted_answer", "predicted_start", "predicted_prob", "label_prob", "boundary_prob", "place_prob", "null_prob",
    "expected_f1", "other_answer", "other_start", "other_prob",
)  # fmt: skip
NLI_FIELDS = ("predicted_label", "predicted_scores")
SAME_PROB = 1e-4  # how far two numbers of one probability may lie apart: single precision, and digits in a file
METRICS = ("confidence", "variability", "correctness", "forgetting_events", "aum", "loss", "el2n", "span_f1")


def read(directory: str, flag: str, *, out_of_fold: bool) -> recordings.Recording:
    """Read a recording that has to be out of fold, or has not to be.

    Raises:
        UsageError: it is of the other sort.
        DataError: there is no finished recording.
    """
    if not Path(directory).is_dir():
        raise DataError(f"{flag} {directory}: there is no such directory.")
    recording = recordings.read_recording(Path(directory))
    if out_of_fold and "out_of_fold" not in recording.manifest:
        raise UsageError(
            f"{flag} {directory} holds a recording of a training, not one out of fold (run.py --cross_fit): give it as "
            "--cartography_dir."
        )
    if not out_of_fold and "out_of_fold" in recording.manifest:
        raise UsageError(f"{flag} {directory} holds an out-of-fold recording: give it as --crossfit_dir.")
    return recording


def metrics_of(recording: recordings.Recording) -> pd.DataFrame:
    """The metrics of every recorded row and `last_loss` and `last_prob` of its last epoch, by `id`.

    Means that have a number of the last epoch beside them in the predictions are called `mean_`.
    """
    found = over_epochs(recording.epochs)
    frame = pd.DataFrame({name: found[name] for name in METRICS if name in found})
    for name in OUT_OF_FOLD_MEASURES:
        if name in found:
            frame[f"mean_{name}"] = found[name]
    for name, measure in (("last_loss", "loss"), ("last_prob", "gold_prob")):
        frame[name] = last_values(recording.epochs[measure].astype(np.float64))
    return frame.set_axis(pd.Index(recording.ids, name="id"))


def last_values(epochs: np.ndarray) -> np.ndarray:
    """The last number of every column that is not NaN, [n_examples] of [n_epochs, n_examples]."""
    return pd.DataFrame(epochs).ffill().iloc[-1].to_numpy()


def read_predictions(directory: Path, manifest: dict) -> pd.DataFrame:
    """The lines of crossfit_predictions.jsonl by `id`.

    Raises:
        DataError: the file is missing, or not the one that the manifest names.
    """
    path = Path(directory) / recordings.CROSSFIT_PREDICTIONS
    told = (manifest["out_of_fold"] or {}).get("predictions_sha256")
    if not path.is_file() or manifests.file_hash(path) != told:
        raise DataError(
            f"{path} is not the file that {Path(directory) / manifests.MANIFEST} names: run run.py --cross_fit again."
        )
    with path.open(encoding="utf-8") as file:
        frame = pd.DataFrame([json.loads(line) for line in file])
    return frame.set_index("id")


def qa_numbers(predictions: pd.DataFrame) -> pd.DataFrame:
    """What the ranking needs of the predictions of a QA recording, by `id`."""
    frame = predictions[["fold", *QA_FIELDS]].copy()
    numbers = [name for name in QA_FIELDS if name.endswith(("_prob", "_f1"))]
    return frame.astype(dict.fromkeys(numbers, np.float64))


def nli_numbers(predictions: pd.DataFrame, labels: pd.Series) -> pd.DataFrame:
    """What the ranking needs of the predictions of an NLI recording, by `id`.

    Args:
        labels: the name of each row's label, by `id`.

    Raises:
        DataError: the model does not have one of the labels.
    """
    names = list(predictions["predicted_scores"].iloc[0])
    places = {name.lower(): place for place, name in enumerate(names)}
    labels = labels.reindex(predictions.index)
    lost = sorted({label for label in labels if str(label).lower() not in places})
    if lost:
        raise DataError(f"the data have the label {lost[0]}, which the out-of-fold recording does not know.")
    probs = np.array([list(scores.values()) for scores in predictions["predicted_scores"]], dtype=np.float64)
    rows, gold = np.arange(len(probs)), np.array([places[label.lower()] for label in labels])
    others = probs.copy()
    others[rows, gold] = -np.inf
    best = others.argmax(axis=1)
    frame = pd.DataFrame({"fold": predictions["fold"], "predicted_label": predictions["predicted_label"]})
    frame["predicted_prob"] = probs.max(axis=1)
    frame["label_prob"], frame["other_prob"] = probs[rows, gold], others[rows, best]
    frame["other_answer"] = [names[place] for place in best]
    return frame


def refuse_other_labels(numbers: pd.DataFrame) -> None:
    """DataError where the data have another NLI label of a row than the one whose probability was recorded.

    Args:
        numbers: by id, `label_prob` of the data's label and `last_prob` that the recording's last epoch has; of QA data
            the texts tell.
    """
    if "predicted_label" not in numbers:
        return
    differs = (numbers["label_prob"] - numbers["last_prob"]).abs() > SAME_PROB
    if differs.any():
        raise DataError(
            f"the data have another label of the row {numbers.index[differs][0]} than the one that was recorded "
            f"({differs.sum()} such rows): give the --dataset that was recorded, or record this one."
        )


def reasons(directory: Path, examples: "Examples") -> dict[str, str]:
    """Why rows have no numbers, by id: what the checks of the data found, or the recording's own reason.

    Raises:
        DataError: the recording's table of them cannot be read.
    """
    unusable = examples.frame.loc[~examples.frame["usable_for_training"], "id"]
    problems = examples.problems[examples.problems["id"].isin(set(unusable))]
    found = problems.groupby("id", sort=False)["problem"].agg(lambda listed: ", ".join(dict.fromkeys(listed))).to_dict()
    path = directory / recordings.UNTRACKED
    if not path.is_file():
        return found
    try:
        untracked = outputs.read_csv(path, ("id", "reason"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({one_line(error)}): record the run again.") from error
    return found | dict(zip(untracked["id"], untracked["reason"], strict=True))


def refuse_other_rows(one: recordings.Recording, other: recordings.Recording, one_name: str, other_name: str) -> None:
    """UsageError where two recordings are not of the same rows; the names are their flags and directories."""
    hashes = [recording.manifest.get("data", {}).get("train", {}).get("ids_sha256") for recording in (one, other)]
    if hashes[0] != hashes[1] or one.manifest.get("task") != other.manifest.get("task"):
        shared = len(set(one.ids) & set(other.ids))
        raise UsageError(
            f"{one_name} and {other_name} are recordings of other rows ({len(one.ids)} and {len(other.ids)}, {shared} "
            "of them in both): record both with the same data set and sample."
        )
