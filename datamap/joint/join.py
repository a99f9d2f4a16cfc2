"""The join of all outputs by id: metrics, clusters and predictions beside the texts, and tables over that frame.

Noise (cluster −1) has a row in every table, so that shares add up, but is no cluster. Rows without metrics (untracked
examples) count as members of a cluster and enter no figure of the dynamics.
"""

import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from datamap.clusters.files import NOISE, Clusters
from datamap.data.examples import described_rows
from datamap.data.questions import groupings
from datamap.dynamics import recordings
from datamap.dynamics.measures import OUT_OF_FOLD_MEASURES, REGIONS, assign_regions
from datamap.errors import DataError
from datamap.evaluation import directories
from datamap.files import outputs
from datamap.files.manifests import EVAL_MANIFEST, MANIFEST, ids_hash, read_manifest, texts_hash

if TYPE_CHECKING:
    from datamap.data.examples import Examples

logger = logging.getLogger(__name__)

METRICS = (
    "confidence", "variability", "correctness", "start_confidence", "end_confidence", "span_f1", "forgetting_events",
    "threshold_closeness", "aum", "loss", "el2n", *OUT_OF_FOLD_MEASURES,
)  # fmt: skip
NEEDED_METRICS = ("confidence", "variability", "correctness", "forgetting_events", "aum", "loss", "num_epochs")
# Types that hold whole numbers and truth values beside missing ones.
METRIC_TYPES = {name: "Int64" for name in ("forgetting_events", "num_epochs", *recordings.COUNTS)}
METRIC_TYPES |= {"never_learnt": "boolean"}
CLUSTER_COLUMNS = {"dim1": "x", "dim2": "y"}
# What is kept of a line of eval_predictions.jsonl, and the text that shows that its id means the same example.
PREDICTION_COLUMNS = {"qa": ("predicted_answer", "predicted_score", "em", "f1"), "nli": ("predicted_label",)}
PREDICTION_TEXT = {"qa": "question", "nli": "hypothesis"}
NUMERIC_PREDICTIONS = {"predicted_score", "em", "f1"}
PREDICTION_MEANS = ("em", "f1", "predicted_correct")


@dataclasses.dataclass(frozen=True)
class Dynamics:
    """What a recording says of its examples.

    Attributes:
        metrics: a row an example with metrics: id, region (one of REGIONS), then the metrics of a recording.
        untracked: a row an example without: id, reason.
        manifest: of the recording.
    """

    metrics: pd.DataFrame
    untracked: pd.DataFrame
    manifest: dict

    @property
    def ids(self) -> list[str]:
        """Of all examples that were trained on, those with metrics first."""
        return [*self.metrics["id"], *self.untracked["id"]]


def read_dynamics(directory: Path) -> Dynamics:
    """Read the metrics of a finished recording of run.py and give every example its region.

    Raises:
        DataError: there is no finished recording, or its files are not those that its manifest speaks of.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise DataError(f"--cartography_dir {directory}: there is no such directory.")
    manifest = read_manifest(directory)
    if "epoch_files" not in manifest:
        raise DataError(
            f"{directory} holds no finished recording (no {MANIFEST} of one): give the "
            "--cartography_output_dir of a finished run with --enable_cartography."
        )
    path = directory / recordings.METRICS_CSV
    metrics = read_table(path, ("id",), NEEDED_METRICS)
    untracked = read_table(directory / recordings.UNTRACKED, ("id", "reason"))[["id", "reason"]]
    if ids_hash([*metrics["id"], *untracked["id"]]) != described_rows(manifest).get("ids_sha256"):
        raise DataError(
            f"{path} and {recordings.UNTRACKED} beside it do not hold the ids that {MANIFEST} speaks of: "
            "record the run again."
        )
    if metrics.empty:
        raise DataError(f"{directory} holds no metrics of any example: record a longer run.")
    refuse_missing_numbers(path, metrics)
    regions = assign_regions(metrics["confidence"].to_numpy(), metrics["variability"].to_numpy())
    metrics.insert(1, "region", regions)
    types = {name: kind for name, kind in METRIC_TYPES.items() if name in metrics}
    return Dynamics(metrics.astype(types), untracked, manifest)


def read_table(path: Path, text: Sequence[str], needed: Sequence[str] = ()) -> pd.DataFrame:
    """A CSV file of a recording; DataError where it cannot be read or lacks a column, of text or another needed one."""
    try:
        table = outputs.read_csv(path, text)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): record the run again.") from error
    missing = [name for name in needed if name not in table]
    if missing:
        raise DataError(f"{path} has no column {missing[0]}: record the run again.")
    return table


def refuse_missing_numbers(path: Path, metrics: pd.DataFrame) -> None:
    """DataError, with the number of rows and the first ids, where a metric is missing, NaN or infinite."""
    names = [name for name in METRICS if name in metrics]
    bad = metrics["id"][~np.isfinite(metrics[names].to_numpy(dtype=np.float64)).all(axis=1)].tolist()
    if bad:
        listed = ", ".join(bad[:3]) + (", …" if len(bad) > 3 else "")
        raise DataError(f"{path}: {len(bad)} rows hold metrics that are no numbers ({listed}): record the run again.")


def read_predictions(path: Path, task: str) -> pd.DataFrame:
    """Read an eval_predictions.jsonl of run.py.

    Returns:
        A row an example: id, then QA: predicted_answer, predicted_score, em and f1 in [0, 1], question; NLI:
        predicted_label, predicted_correct (1 or 0), hypothesis.

    Raises:
        DataError: the file cannot be read, a line is not a prediction of this task, or an id stands twice.
    """
    path, wanted = Path(path), ("id", *PREDICTION_COLUMNS[task], PREDICTION_TEXT[task])
    if not directories.earlier(path.parent, directories.EVALUATION):
        logger.warning("%s has no %s beside it, so its evaluation may be unfinished.", path, EVAL_MANIFEST)
    if task == "nli":
        wanted = (*wanted, "label_name")
    rows: list[list] = []
    try:
        with path.open(encoding="utf-8") as file:
            rows.extend(prediction_fields(path, number, line, wanted) for number, line in enumerate(file, start=1))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--predictions {path} cannot be read ({error}): give an eval_predictions.jsonl.") from error
    frame = pd.DataFrame(rows, columns=list(wanted))
    if frame["id"].duplicated().any():
        twice = frame["id"][frame["id"].duplicated()].iloc[0]
        raise DataError(f"{path} has the id {twice} twice: evaluate again.")
    if task == "nli":
        right = (frame["predicted_label"] == frame.pop("label_name")).astype(np.float64)
        frame.insert(2, "predicted_correct", right)
    return frame


def prediction_fields(path: Path, number: int, line: str, wanted: Sequence[str]) -> list:
    """The wanted fields of a line; DataError where it is not a prediction."""
    try:
        record = json.loads(line)
        if not isinstance(record["id"], str):
            raise TypeError("the id is no text")
        for name in wanted:
            numeric = name in NUMERIC_PREDICTIONS
            kinds = (int, float, type(None)) if numeric else (str, type(None))
            if not isinstance(record[name], kinds) or isinstance(record[name], bool):
                raise TypeError(f"{name} is {record[name]!r}, which is no {'number' if numeric else 'text'}")
        return [record[name] for name in wanted]
    except (ValueError, KeyError, TypeError) as error:
        what = f"not a prediction with {', '.join(wanted)} ({type(error).__name__}: {error})"
        raise DataError(f"{path}, line {number}: {what}; give run.py's {outputs.EVAL_PREDICTIONS}.") from error


def met_ids(dynamics: Dynamics, clusters: Clusters, allow_partial: bool) -> list[str]:
    """The ids that are in the recording and in the clusters, in the clusters' order; says how many rows met.

    Raises:
        DataError: the two are of different tasks, no id is in both, or they are of different data and `allow_partial`
            is not set. Untracked examples are part of the recorded data.
    """
    manifests = {"recording": dynamics.manifest, "clusters": clusters.manifest}
    tasks = {name: manifest.get("task") for name, manifest in manifests.items()}
    if len(set(tasks.values())) > 1:
        listed = " and ".join(f"the {name} of task {task}" for name, task in tasks.items())
        raise DataError(f"these do not go together, {listed}: give two directories of one task.")
    recorded, clustered = dynamics.ids, clusters.assignments["id"].tolist()
    known = set(recorded)
    met = [identifier for identifier in clustered if identifier in known]
    sizes = {"recording": len(recorded), "clusters": len(clustered)}
    told = [
        f"{name} of {sizes[name]} rows ({described_rows(manifest).get('dataset')}, "
        f"{described_rows(manifest).get('split')})"
        for name, manifest in manifests.items()
    ]
    found = f"a {told[0]} and {told[1]} share {len(met)} ids"
    if not met:
        raise DataError(f"{found}: give two directories that were made from the same data.")
    hashes = {described_rows(manifest).get("ids_sha256") for manifest in manifests.values()}
    whole = len(met) == len(recorded) == len(clustered)
    if not allow_partial and not (whole and len(hashes) == 1):
        raise DataError(
            f"{found}, so they were made from different data: make both from the same rows, or pass --allow_partial "
            "to go on with the rows that met."
        )
    named = [[described_rows(manifest).get(key) for key in ("dataset", "split")] for manifest in manifests.values()]
    if named[0] != named[1]:
        logger.warning("The two name different data: %s and %s.", *told)
    left_out = len(recorded) + len(clustered) - 2 * len(met)
    logger.info("%d rows met; %d of the recording's or the clusters' rows are left out.", len(met), left_out)
    return met


def refuse_other_texts(dynamics: Dynamics, examples: "Examples") -> None:
    """DataError when the recorded examples had other texts; not told when some of them are left out."""
    frame = examples.frame[examples.frame["id"].isin(set(dynamics.metrics["id"]))]
    told = dynamics.manifest.get("texts_sha256")
    if told and len(frame) == len(dynamics.metrics) and texts_hash(frame) != told:
        raise DataError(
            f"{examples.name}, split {examples.split}, has the recorded ids with other texts than were trained on: "
            "give the --dataset and --split of the recording, and clusters of the same data."
        )


def text_columns(examples: "Examples") -> pd.DataFrame:
    """What a person reads of every example, and its groups.

    Returns:
        A row an example: id, text (the question; NLI: premise and hypothesis on two lines), QA: question, context,
        answer (the first gold one, "" without), question_type; NLI: premise, hypothesis, gold_label, negation,
        hypothesis_length.
    """
    frame = examples.frame
    if "question" in frame:
        columns = {"text": frame["question"], "question": frame["question"], "context": frame["context"]}
        columns["answer"] = [(answer["text"] or [""])[0] for answer in frame["answers"]]
    else:
        columns = {"text": frame["premise"] + "\n" + frame["hypothesis"]}
        columns |= {"premise": frame["premise"], "hypothesis": frame["hypothesis"]}
    return pd.DataFrame({"id": frame["id"]} | columns | groupings(frame, examples.label_names))


def unify(
    texts: pd.DataFrame,
    dynamics: Dynamics | None,
    clusters: Clusters | None,
    predictions: pd.DataFrame | None,
    suspects: pd.DataFrame | None = None,
    seen: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Everything known of every example: `texts`, in their order, with what the other parts know of the same ids.

    Args:
        texts: of `text_columns`; its ids say which rows there are.
        dynamics: adds region, metrics and untracked_reason; missing where an example has none.
        clusters: adds cluster (−1 = noise), words ("" for noise), cluster_probability, assigned, x, y.
        predictions: of `read_predictions`; missing where an example has none.
        suspects: adds suspicion, suspicion_rank, suspicion_kind and proposal.
        seen: of `seen.read_seen`; adds seen, missing where the audit has no such row.
    """
    parts = []
    if dynamics is not None:
        parts += [dynamics.metrics, dynamics.untracked.rename(columns={"reason": "untracked_reason"})]
    if clusters is not None:
        assignments = clusters.assignments.rename(columns=CLUSTER_COLUMNS)
        words = dict(zip(clusters.statistics["cluster"], clusters.statistics["words"], strict=True)) | {NOISE: ""}
        assignments.insert(2, "words", [words[cluster] for cluster in assignments["cluster"]])
        parts.append(assignments)
    if predictions is not None:
        parts.append(predictions.drop(columns=[name for name in PREDICTION_TEXT.values() if name in predictions]))
    parts += [part for part in (suspects, seen) if part is not None]
    unified = texts
    for part in parts:
        unified = unified.merge(part, on="id", how="left", validate="one_to_one")
    return unified


def refuse_other_predictions(texts: pd.DataFrame, predictions: pd.DataFrame, task: str, allow_partial: bool) -> None:
    """Say how many rows have a prediction; refuse predictions of other data.

    Raises:
        DataError: an id has another text in the predictions, no row has a prediction, or one has none and
            `allow_partial` is not set.
    """
    name = PREDICTION_TEXT[task]
    both = texts[["id", name]].merge(predictions[["id", name]], on="id", validate="one_to_one")
    other = both["id"][both[f"{name}_x"] != both[f"{name}_y"]]
    if len(other):
        raise DataError(
            f"--predictions are of other data: {len(other)} of {len(both)} ids that met have another {name} there "
            f"({other.iloc[0]} is the first): evaluate on the --dataset and --split of the other directories."
        )
    if not len(both) or (len(both) < len(texts) and not allow_partial):
        advice = ", or pass --allow_partial to leave the others empty" if len(both) else ""
        raise DataError(
            f"--predictions hold {len(both)} of the {len(texts)} ids: evaluate on the same rows (run.py --do_eval "
            f"--eval_split){advice}."
        )
    logger.info("%d of %d rows have a prediction; %d more are of other rows.", len(both), len(texts),
                len(predictions) - len(both))  # fmt: skip


def refuse_other_suspects(texts: pd.DataFrame, suspects: pd.DataFrame, task: str, allow_partial: bool) -> None:
    """Say how many rows have a suspicion; refuse suspects of other data.

    Raises:
        DataError: an id has another text among the suspects, no row is among them, or one is not and `allow_partial`
            is not set.
    """
    name = PREDICTION_TEXT[task]
    if name not in suspects:
        raise DataError(
            "--label_errors_dir is of the other task: run find_label_errors.py on a recording of these data."
        )
    both = texts[["id", name]].merge(suspects[["id", name]], on="id", validate="one_to_one")
    other, n_met = both["id"][both[f"{name}_x"] != both[f"{name}_y"]], len(both)
    if len(other):
        raise DataError(
            f"--label_errors_dir is of other data: {len(other)} of {n_met} ids that met have another {name} there "
            f"({other.iloc[0]} is the first): run find_label_errors.py on a recording of the same data."
        )
    if not n_met or (n_met < len(texts) and not allow_partial):
        advice = ", or pass --allow_partial to leave the others empty" if n_met else ""
        raise DataError(
            f"--label_errors_dir holds {n_met} of the {len(texts)} ids: run find_label_errors.py on a recording of the "
            f"same data{advice}."
        )
    logger.info("%d of %d rows are among the suspects; %d more are of other rows.", n_met, len(texts),
                len(suspects) - n_met)  # fmt: skip


def overlap_table(unified: pd.DataFrame) -> pd.DataFrame:
    """How clusters and regions overlap, over the rows with metrics.

    Returns:
        A row a cluster (and noise) and region: cluster, words, region, count, share_of_cluster (of the cluster's rows
        in this region) and share_of_region (of the region's rows in this cluster), both in [0, 1] and missing where
        there are no rows to share.
    """
    counts = pd.crosstab(unified["cluster"], unified["region"])
    counts = counts.reindex(index=np.unique(unified["cluster"]), columns=list(REGIONS), fill_value=0)
    of_cluster = counts.div(counts.sum(axis=1).replace(0, np.nan), axis=0)
    of_region = counts.div(counts.sum(axis=0).replace(0, np.nan), axis=1)
    words = unified.drop_duplicates("cluster").set_index("cluster")["words"]
    return pd.DataFrame(
        {
            "cluster": np.repeat(counts.index.to_numpy(), len(REGIONS)),
            "words": np.repeat(words.loc[counts.index].to_numpy(), len(REGIONS)),
            "region": list(REGIONS) * len(counts),
            "count": counts.to_numpy().ravel(),
            "share_of_cluster": of_cluster.to_numpy().ravel(),
            "share_of_region": of_region.to_numpy().ravel(),
        }
    )


def cluster_stats(unified: pd.DataFrame) -> pd.DataFrame:
    """What every cluster (and noise) is like: a row each, by rising number.

    Returns:
        cluster, words, n_examples, share (of all rows), mean_cluster_probability; with dynamics n_tracked, mean_ and
        median_ of the metrics, never_learnt (share) and easy, ambiguous, hard (shares); with predictions mean_em and
        mean_f1, or mean_predicted_correct. Figures are over the rows that have them, missing where none has.
    """
    rows = unified.groupby("cluster")
    stats = pd.DataFrame({"words": rows["words"].first(), "n_examples": rows.size()})
    stats["share"] = stats["n_examples"] / len(unified)
    stats["mean_cluster_probability"] = rows["cluster_probability"].mean()
    if "region" in unified:
        stats["n_tracked"] = rows["confidence"].count()
        for name in METRICS:
            if name in unified:
                stats[f"mean_{name}"], stats[f"median_{name}"] = rows[name].mean(), rows[name].median()
        stats["never_learnt"] = rows["never_learnt"].mean()
        for region in REGIONS:
            count = (unified["region"] == region).groupby(unified["cluster"]).sum()
            stats[region] = count / stats["n_tracked"].replace(0, np.nan)
    for name in PREDICTION_MEANS:
        if name in unified:
            stats[f"mean_{name}"] = rows[name].mean()
    return stats.reset_index()
