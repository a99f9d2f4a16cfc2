"""Before the first fold: the folds of the rows, the settings that all share, and what tells this run from another."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datamap.crossfit import state
from datamap.crossfit.folds import Folds, assign_folds
from datamap.crossfit.loop import Run
from datamap.data.examples import Examples
from datamap.data.label_names import fit_labels
from datamap.errors import DataError
from datamap.files import manifests, outputs
from datamap.options.precision import precision_name
from datamap.training import objective
from datamap.training.features import list_problems, prepare_nli, prepare_qa
from datamap.training.refusals import refuse_problems

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast, TrainingArguments

    from datamap.features.windows import NliPairs, QaWindows

OWN = (
    "cross_fit", "model", "ablations", "doc_stride", "max_answer_length", "max_train_samples", "micro_batch_tokens",
    "validation_fraction",
)  # fmt: skip
TRAINERS = (
    "seed", "data_seed", "learning_rate", "num_train_epochs", "max_steps", "lr_scheduler_type", "warmup_steps",
    "weight_decay", "train_sampling_strategy", "dataloader_drop_last",
)  # fmt: skip


def prepare(
    options: argparse.Namespace,
    training_args: "TrainingArguments",
    examples: Examples,
    directory: Path,
    *,
    config: "PreTrainedConfig",
    tokenizer: "PreTrainedTokenizerFast",
    load: Callable,
    max_length: int,
) -> "tuple[Run, pd.DataFrame, dict]":
    """(Run, problems of the rows, what tells the run from another by name).

    Args:
        examples: all rows to train on.
        directory: --crossfit_output_dir.
        load: gives the model anew for a configuration.
        max_length: of a window, in tokens.

    Raises:
        DataError: there are fewer groups than folds, a fold takes a label away, or the data are to be strict and have
            problems.
    """
    data = {"train": examples}
    if options.task == "nli":
        data = fit_labels(config, data)
    folds = assign_folds(data["train"].frame, options.cross_fit, data["train"].grouping)
    refuse_lost_labels(data["train"], folds)
    prepare_features = prepare_qa if options.task == "qa" else prepare_nli
    features, _, settings = prepare_features(options, data, tokenizer, max_length, training_args.seed)
    problems = list_problems(options, data, features)
    refuse_problems(options, directory, problems)
    identity = identity_of(options, training_args, data["train"], features["train"])
    run = Run(options, training_args, directory, data["train"], folds, settings, config, tokenizer, load)
    return run, problems["train"], identity


def refuse_lost_labels(examples: Examples, folds: Folds) -> None:
    """DataError where an NLI model could not learn a label, since all rows that have it are in the fold left out."""
    if not examples.label_names:
        return
    labels = examples.frame["label"].to_numpy()
    if len(np.unique(labels)) < 2:
        raise DataError("the data have one label only, so no model can tell a wrong one: leave --cross_fit out.")
    for number in np.unique(labels):
        places = np.unique(folds.of_row[labels == number])
        if len(places) == 1:
            raise DataError(
                f"all {np.sum(labels == number)} rows with the label {examples.label_names[number]} are in fold "
                f"{places[0] + 1} of {folds.n_folds}, so its model would never learn it: give another --cross_fit, or "
                "more data."
            )


def identity_of(
    options: argparse.Namespace,
    training_args: "TrainingArguments",
    examples: Examples,
    features: "QaWindows | NliPairs",
) -> dict:
    """What the numbers depend on, by name."""
    rows = training_args.train_batch_size * training_args.gradient_accumulation_steps * training_args.world_size
    identity = {"task": options.task, "examples": manifests.ids_hash(examples.frame["id"])}
    identity |= {"texts, labels or windows": features.fingerprint(), "rows in a step": rows}
    identity |= {f"--{name}": getattr(options, name) for name in OWN}
    identity |= {f"--{name}": getattr(training_args, name) for name in TRAINERS}
    if examples.grouping is not None:
        identity["groups"] = examples.grouping.sha256
    return identity | objective.identity_of(training_args, examples) | {"--precision": precision_name(training_args)}


def begin(run: Run, problems: "pd.DataFrame", identity: dict, *, resuming: bool) -> None:
    """Take up an unfinished run, or begin anew, from the first process.

    Raises:
        DataError: the unfinished run is another one.
    """
    if resuming:
        state.refuse_other_run(run.directory, identity)
    elif outputs.is_first_process():
        state.begin(run.directory, identity)
        outputs.write_csv(run.directory / outputs.DATA_PROBLEMS, problems)
