"""What run.py's command line may say of single rows by files of their ids, and what of it could not act."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from datamap.errors import UsageError
from datamap.options import parsing

if TYPE_CHECKING:
    from transformers import TrainingArguments


def add_listed_options(add: Callable[..., Any]) -> None:
    """The options that name files about rows."""
    text = "train on these rows of --dataset alone, which may not be among those held out: a text file with one id a "
    text += "line, or a .csv with a column id (default: all rows)"
    add("--train_ids", metavar="FILE", type=parsing.named, help=text)
    text = "a .csv with columns id and weight: how much each row counts in training, above 0 and divided by the mean "
    text += "over the windows that are trained on; what is recorded and evaluated stays unweighted (default: all rows "
    text += "count alike)"
    add("--example_weights", metavar="FILE", type=parsing.named, help=text)
    text = "a .csv with columns id and factor: how much of each row's label is spread over all answers that may be "
    text += "right, from 0 to below 1, as --label_smoothing_factor does for all rows alike (default: 0)"
    add("--example_smoothing", metavar="FILE", type=parsing.named, help=text)


def refuse_idle_listed_options(options: argparse.Namespace, training_args: "TrainingArguments") -> None:
    """UsageError for files about rows that could not act."""
    factor = training_args.label_smoothing_factor
    if not 0 <= factor < 1:
        raise UsageError(f"--label_smoothing_factor {factor} does not lie from 0 to below 1.")
    if factor and not training_args.do_train:
        raise UsageError("--label_smoothing_factor needs --do_train: add it.")
    if factor and options.example_smoothing:
        raise UsageError(
            "--label_smoothing_factor and --example_smoothing both say how smooth labels are: leave one out."
        )
    for name in ("train_ids", "example_weights", "example_smoothing"):
        if getattr(options, name) and not training_args.do_train:
            raise UsageError(f"--{name} needs --do_train: add it.")
    if options.train_ids and options.max_train_samples:
        raise UsageError("--train_ids and --max_train_samples both say which rows to train on: leave one out.")
