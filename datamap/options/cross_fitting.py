"""What run.py's command line may say of out-of-fold recordings, and what of it could not act."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from datamap.errors import UsageError
from datamap.options import parsing

if TYPE_CHECKING:
    from transformers import TrainingArguments

CROSSFIT_DIR = "./crossfit_output"
FOLDS = range(2, 21)
# What every fold settles by itself, and why.
SETTLED = {
    "--output_dir": "the models of the folds lie below --crossfit_output_dir",
    "--eval_strategy": "each model is looked at after every epoch",
    "--eval_steps": "each model is looked at after every epoch",
    "--eval_delay": "each model is looked at after every epoch",
    "--eval_on_start": "each model is looked at after every epoch",
    "--metric_for_best_model": "every epoch is kept",
    "--load_best_model_at_end": "every epoch is kept",
}


def n_folds(text: str) -> int:
    """A number of folds; ArgumentTypeError where it is none."""
    if not text.isdecimal() or int(text) not in FOLDS:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from {FOLDS[0]} to {FOLDS[-1]}")
    return int(text)


def add_crossfit_options(add: Callable[..., Any]) -> None:
    """The options of --cross_fit."""
    text = f"with --do_train: train K models ({FOLDS[0]} to {FOLDS[-1]}, 5 is usual), each on all folds but one, "
    text += "and record at the end of every epoch what it makes of the one left out; folds are whole contexts (nli: "
    text += "groups of pairs that share sentences); costs about K - 1 trainings"
    add("--cross_fit", metavar="K", type=n_folds, help=text)
    text = f"where the out-of-fold recording is written (with --cross_fit; default: {CROSSFIT_DIR})"
    add("--crossfit_output_dir", metavar="DIR", type=parsing.named, help=text)
    text = "leave the model of every fold in fold_1, fold_2, ... of --crossfit_output_dir"
    add("--keep_fold_models", action="store_true", help=text)


def refuse_settled(options: argparse.Namespace, given: set[str]) -> None:
    """UsageError for flags of TrainingArguments, of those `given`, that --cross_fit settles by itself."""
    for flag in sorted(SETTLED.keys() & given) if options.cross_fit else ():
        raise UsageError(f"{flag} does not go with --cross_fit, because {SETTLED[flag]}: leave it out.")


def refuse_idle_crossfit_options(options: argparse.Namespace, training_args: "TrainingArguments") -> None:
    """UsageError for options that cannot act with --cross_fit, or only with it."""
    if not options.cross_fit:
        for name in ("crossfit_output_dir", "keep_fold_models"):
            if getattr(options, name):
                raise UsageError(f"--{name} needs --cross_fit: add it.")
        return
    asked = str(training_args.resume_from_checkpoint or "last")
    for refused, sentence in (
        (not training_args.do_train, "--cross_fit needs --do_train: add it."),
        (training_args.do_eval, "--do_eval does not go with --cross_fit: evaluate a model that learnt all rows."),
        (
            options.enable_cartography,
            "--enable_cartography does not go with --cross_fit, which makes a recording of its own: run it by itself.",
        ),
        (
            asked.lower() not in ("last", "true"),
            f"--resume_from_checkpoint {asked}: --cross_fit knows where it was, so give last.",
        ),
    ):
        if refused:
            raise UsageError(sentence)
