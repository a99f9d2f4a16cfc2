"""Data sets whose wrong labels are known: which rows are wrong, what belongs together, and how they are trained on."""

import csv
import dataclasses
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from datamap.crossfit.folds import sentence_groups
from datamap.data.examples import load_examples
from datamap.data.sources import open_source
from datamap.demo.noise import KINDS


@dataclasses.dataclass(frozen=True)
class LabelSet:
    """A data set with known wrong labels.

    Attributes:
        task: "qa" or "nli".
        dataset: as for run.py, with {data} for the folder of the data.
        settings: further arguments of run.py; {start} is the model that training starts from.
        n_folds: of the out-of-fold recording.
        truth: gives of a frame, by id, "wrong", a kind of wrong, "right", or "" for rows that are not scored.
        clean: gives of a frame, by id, the right answers of wrong rows; empty for NLI.
    """

    task: str
    dataset: str
    settings: tuple[str, ...]
    n_folds: int
    truth: Callable[[pd.DataFrame, Path], dict[str, str]]
    clean: Callable[[pd.DataFrame, Path], dict[str, str]]


def sick_truth(frame: pd.DataFrame, data: Path) -> dict[str, str]:
    """Pairs that the re-annotation (Kalouli et al. 2019) covers: wrong where it gives another label."""
    with (data / "sick_corrections.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    return {row["id"]: "right" if row["published_label"] == row["corrected_label"] else "wrong" for row in rows}


def wiki_rows(data: Path) -> list[dict]:
    """The rows of the New Wikipedia questions with labels of other people in 300 of them."""
    with gzip.open(data / "wiki_human_noise.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def wiki_truth(frame: pd.DataFrame, data: Path) -> dict[str, str]:
    """Rows on whose answer two people agree: wrong where the label is a third person's that shares no word with it."""
    names = {"human": "wrong", "none": "right", "unknown": ""}
    return {row["id"]: names[row["planted"]] for row in wiki_rows(data)}


def wiki_clean(frame: pd.DataFrame, data: Path) -> dict[str, str]:
    """The answers that two people agree on, of the wrong rows."""
    return {row["id"]: row["clean_text"] for row in wiki_rows(data) if row["planted"] == "human"}


def demo_truth(frame: pd.DataFrame, data: Path) -> dict[str, str]:
    """The kind of mistake that was planted in a row."""
    return dict(zip(frame["id"], frame["planted"].replace("none", "right"), strict=True))


def demo_clean(frame: pd.DataFrame, data: Path) -> dict[str, str]:
    """The answer to a row's question in the notes as they were."""
    clean = load_examples(open_source("demo", "qa"), "train", "qa").frame
    answers = {(row.context, row.question): row.answers["text"][0] for row in clean.itertuples()}
    wrong = frame[frame["planted"] != "none"]
    return {row.id: answers[row.context, row.question] for row in wrong.itertuples()}


def no_answers(frame: pd.DataFrame, data: Path) -> dict[str, str]:
    """NLI has no answers."""
    return {}


SETS = {
    "sick": LabelSet(
        "nli", "{data}/sick_train.jsonl", ("--model", "demo", "--num_train_epochs", "3"), 5, sick_truth, no_answers
    ),
    "wiki": LabelSet(
        "qa", "{data}/wiki_human_noise.jsonl.gz", ("--model", "{start}", "--num_train_epochs", "2"), 3, wiki_truth,
        wiki_clean,
    ),
    "demo:noisy": LabelSet(
        "qa", "demo:noisy", ("--model", "demo", "--num_train_epochs", "5"), 5, demo_truth, demo_clean
    ),
}  # fmt: skip
PLANTED = ("wrong", *KINDS)


def load(name: str, data: Path) -> pd.DataFrame:
    """The rows of a set that can be trained on, with `truth`, `clean` and `group`, the key of what belongs together."""
    known = SETS[name]
    examples = load_examples(open_source(known.dataset.format(data=data), known.task), "train", known.task)
    frame = examples.trainable().frame
    truth, clean = known.truth(frame, data), known.clean(frame, data)
    frame = frame.assign(truth=[truth.get(row, "") for row in frame["id"]], clean=frame["id"].map(clean))
    if known.task == "qa":
        return frame.assign(group=frame["context"])
    labels = [examples.label_names[number] for number in frame["label"]]
    first = frame["premise"].groupby(sentence_groups(frame)).transform("min")  # whatever the order of the rows
    return frame.assign(group=first, label_name=labels)
