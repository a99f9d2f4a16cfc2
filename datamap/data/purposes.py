"""What a run is about: the examples that it trains on, evaluates or predicts, from its options."""

import argparse
import dataclasses
import logging
from typing import TYPE_CHECKING, Any

from datamap.data import examples
from datamap.data.examples import (
    Examples,
    chosen,
    eval_split_of,
    grouped,
    hold_out,
    load_examples,
    load_unlabelled,
    sample_rows,
)
from datamap.data.row_numbers import SMOOTHING, WEIGHTS, read_row_numbers
from datamap.data.sources import open_source
from datamap.errors import UsageError, shortlist
from datamap.files.manifests import trained_part

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from datamap.data.sources import Source

logger = logging.getLogger(__name__)

DEFAULT_HELD_OUT = 0.1


def predicted_split(source: "Source", asked: str | None) -> str:
    """The split to predict: the one asked for, else the only one.

    Raises:
        UsageError: there are several.
    """
    if asked is None and len(source.splits) > 1:
        raise UsageError(f"{source.name} has the splits {', '.join(source.splits)}: choose one with --split.")
    return asked or source.splits[0]


def only_split(source: "Source") -> str:
    """The one split of a data set of --eval_dataset that has none of the usual ones to evaluate on.

    Raises:
        UsageError: there are several.
    """
    if len(source.splits) > 1:
        listed = shortlist(source.splits)
        raise UsageError(f"--eval_dataset {source.name} has the splits {listed}: choose one with --eval_split.")
    return source.splits[0]


def load_data(options: argparse.Namespace, training_args: "TrainingArguments") -> dict[str, Examples]:
    """The examples under "train" and "eval", as far as asked for: checked, held out, sampled, and fit to train on.

    Those to predict are under "predict", alone.

    Args:
        options: run.py's own options.
        training_args: TrainingArguments; `do_train`, `do_eval` and `do_predict` say what is needed.

    Raises:
        DataError: a data set or a file about its rows cannot be read, or has no usable rows.
        UsageError: it is not said on what to evaluate, or what to predict, or --groups would not act.
    """
    name = options.dataset or examples.DEFAULT_DATASETS[options.task]
    data: dict[str, Examples] = {}
    only_other = bool(options.eval_dataset) and not training_args.do_train
    with training_args.main_process_first(desc="loading the data"):
        source = open_as_trained(options, options.eval_dataset if only_other else name)
        if training_args.do_predict:
            return {"predict": load_unlabelled(source, predicted_split(source, options.split), options.task)}
        if training_args.do_train:
            data["train"] = whole = load_whole(options, source)
        if training_args.do_train and options.validation_fraction and not training_args.do_eval:
            data["train"] = hold_out(data["train"], options.validation_fraction)[0]
        if training_args.do_eval:
            apart = options.eval_dataset and not only_other
            eval_source = open_as_trained(options, options.eval_dataset) if apart else source
            data = add_eval_examples(options, data, source, eval_source)
    limits = {"train": options.max_train_samples, "eval": options.max_eval_samples}
    if "train" in data:
        data["train"] = chosen(data["train"], whole, options.train_ids)
    data = {purpose: sample_rows(part, limits[purpose], training_args.seed) for purpose, part in data.items()}
    if "train" in data:
        data["train"] = with_row_numbers(options, data["train"], whole)
    return data


def with_row_numbers(options: argparse.Namespace, trained: Examples, whole: Examples) -> Examples:
    """The rows to train on with what the files of --example_weights and --example_smoothing have for them.

    Args:
        trained: the rows.
        whole: all rows of their split, which may have numbers too.

    Raises:
        DataError: a file cannot be read, does not fit the rows, or has a number that may not be.
    """
    where, ids = f"{whole.name}, split {whole.split}", trained.frame["id"].tolist()
    known = {*whole.frame["id"], *whole.problems["id"]}
    kinds = {"weights": (WEIGHTS, options.example_weights), "smoothing": (SMOOTHING, options.example_smoothing)}
    found: dict[str, Any] = {
        name: read_row_numbers(kind, path, where, trained=ids, known=known)
        for name, (kind, path) in kinds.items()
        if path is not None
    }
    return dataclasses.replace(trained, **found)


def load_whole(options: argparse.Namespace, source: "Source") -> Examples:
    """The whole split to train on, in the groups of --groups where they are given."""
    return grouped(load_examples(source, options.train_split, options.task), options.groups)


def open_as_trained(options: argparse.Namespace, name: str) -> "Source":
    """A data set of run.py by --columns or, without them, as --model read it if it was trained on the same one."""
    columns = options.columns
    trained = trained_part(options.model, name) if columns is None else {}
    if trained.get("columns"):
        columns = trained["columns"]
        listed = " ".join(f"{role}={column}" for role, column in columns.items())
        logger.info("%s is read as --model read it: --columns %s.", name, listed)
    return open_source(name, options.task, columns)


def add_eval_examples(
    options: argparse.Namespace, data: dict[str, Examples], source: "Source", eval_source: "Source"
) -> dict[str, Examples]:
    """`data` with "eval": a split to evaluate on, or rows held out of the training split where there is none."""
    split = None if options.validation_fraction else eval_split_of(eval_source, options.eval_split)
    if split is None and options.eval_dataset:
        split = only_split(eval_source)
    if split is not None and options.groups:
        raise UsageError(
            f"--groups acts where rows are held out, but {eval_source.name} has the split {split} to evaluate on: add "
            "--validation_fraction, or leave it out."
        )
    if split is not None:
        return data | {"eval": load_examples(eval_source, split, options.task)}
    if "train" not in data and options.validation_fraction is None:
        trained = trained_part(options.model, source.name)
        held_out, groups = trained.get("held_out"), " and its --groups" * ("groups_sha256" in trained)
        rows = f"--validation_fraction {held_out}{groups} for those" if held_out else "the --validation_fraction"
        raise UsageError(
            f"{source.name} has no split to evaluate on (it has {shortlist(source.splits)}): pass --eval_split to "
            f"evaluate on all rows of one, or {rows} that training held out."
        )
    whole = data.get("train") or load_whole(options, source)
    rest, held_out = hold_out(whole, options.validation_fraction or DEFAULT_HELD_OUT)
    return {"train": rest, "eval": held_out} if "train" in data else {"eval": held_out}
