"""Cross-fitting: a model for every fold, trained on the others and looked at on this one after each of its epochs."""

import argparse
import copy
import dataclasses
import gc
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import PartialState
from tqdm import tqdm
from transformers import PreTrainedConfig, PreTrainedTokenizerFast, TrainerCallback, TrainingArguments
from transformers.trainer_utils import IntervalStrategy

from datamap.crossfit import state
from datamap.crossfit.folds import Folds
from datamap.crossfit.passes import NliPass, QaPass
from datamap.data.examples import Examples
from datamap.errors import DataError
from datamap.features.windows import NliPairs, QaWindows
from datamap.files import manifests
from datamap.files.outputs import is_first_process
from datamap.training.building import build_trainer
from datamap.training.memory import said_where_full

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState

    from datamap.training.trainer import ExampleTrainer

logger = logging.getLogger(__name__)

REMEDY = "lower --micro_batch_tokens or --max_length"


@dataclasses.dataclass(frozen=True)
class Run:
    """What all folds share.

    Attributes:
        options, training_args: of run.py.
        directory: --crossfit_output_dir.
        examples: all rows.
        folds: which of them are held out together.
        settings: resolved settings of the windows and answers, from all rows.
        config, tokenizer: of the model.
        load: gives the model anew, for the configuration that it is given.
    """

    options: argparse.Namespace
    training_args: TrainingArguments
    directory: Path
    examples: Examples
    folds: Folds
    settings: dict
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerFast
    load: Callable

    def features(self, part: Examples, *, to_train_on: bool) -> QaWindows | NliPairs:
        """QaWindows or NliPairs of some of the rows."""
        max_length, ablations = self.settings["max_length"], self.options.ablations
        if self.options.task == "nli":
            return NliPairs(part.frame, self.tokenizer, max_length, ablations)
        stride = self.settings["doc_stride"]
        return QaWindows(part.frame, self.tokenizer, max_length, stride, ablations, to_train_on)

    def held_out_pass(self, part: Examples, features: QaWindows | NliPairs) -> QaPass | NliPass:
        """The evaluation of what a fold holds out."""
        if self.options.task == "nli":
            return NliPass(features, len(part.label_names))
        search = {name: self.settings[name] for name in ("max_answer_length", "allow_no_answer")}
        return QaPass(features, part.frame, **search)

    def parts(self, fold: int) -> tuple[Examples, Examples]:
        """(rows that the fold's model is trained on, rows that it is looked at on)."""
        frame, held_out = self.examples.frame, self.folds.of_row == fold
        return self.examples.replaced(frame[~held_out]), self.examples.replaced(frame[held_out])


class PassWriter(TrainerCallback):
    """Looks at the held-out rows at the end of every epoch and keeps the pass, before a checkpoint is saved."""

    def __init__(self, name: str, fold_dir: Path, looked: QaPass | NliPass):
        """`name` is the fold's in the log."""
        self.name, self.fold_dir, self.looked, self.n_epochs = name, fold_dir, looked, 0

    def on_evaluate(
        self, args: "TrainingArguments", state_of_trainer: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> None:
        """Write the pass of the epoch that has ended, and a line about it."""
        self.n_epochs = max(1, math.ceil(round(state_of_trainer.epoch, 6)))
        if not state_of_trainer.is_world_process_zero:
            return
        state.write_pass(state.pass_path(self.fold_dir, self.n_epochs), self.looked)
        means = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in self.looked.means.items())
        with tqdm.external_write_mode():
            logger.info("%s, epoch %d, rows held out: %s", self.name, self.n_epochs, means)


def cross_fit(run: Run) -> None:
    """Train and look at every fold that is not done yet.

    Raises:
        DataError: the device's memory does not hold a batch, the outputs are not numbers, or the disk is full.
        KeyboardInterrupt: with how to go on in its message.
    """
    say_what_it_costs(run)
    bar = tqdm(range(run.folds.n_folds), desc="Folds", unit="fold", disable=not is_first_process())
    try:
        for fold in bar:
            fit_fold(run, fold)
            PartialState().wait_for_everyone()
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(
            f"stopped by Ctrl-C in fold {fold + 1} of {run.folds.n_folds}; go on with --resume_from_checkpoint last."
        ) from error


def say_what_it_costs(run: Run) -> None:
    """Log the sizes of the folds, and the trainings and passes beside those of one training on all rows."""
    n_folds, sizes, n_rows = run.folds.n_folds, run.folds.sizes, len(run.examples.frame)
    args = run.training_args
    epochs = f"{args.num_train_epochs:g} epochs" if args.max_steps <= 0 else f"{args.max_steps} steps"
    logger.info(
        "%d folds of %d to %d rows, from %d groups. Each model trains on the other folds for %s, and looks at its own "
        "after each epoch: %d passes to train and %d to look in an epoch of all, %d times the work of one training.",
        n_folds, min(sizes), max(sizes), run.folds.n_groups, epochs, (n_folds - 1) * n_rows, n_rows, n_folds - 1,
    )  # fmt: skip


def fold_arguments(run: Run, fold_dir: Path) -> "TrainingArguments":
    """TrainingArguments of a fold: those of the run, in the fold's folder, looking after every epoch."""
    args = copy.copy(run.training_args)
    args.output_dir, args.eval_strategy = str(fold_dir), IntervalStrategy.EPOCH
    return args


def fit_fold(run: Run, fold: int) -> None:
    """Train the model of a fold, unless it is done."""
    fold_dir = state.fold_directory(run.directory, fold)
    if state.finished_fold(fold_dir):
        logger.info("Fold %d of %d is done.", fold + 1, run.folds.n_folds)
        return
    checkpoint = state.checkpoint_to_go_on_from(fold_dir)
    if checkpoint is None and is_first_process():
        state.clear_fold(fold_dir)
    PartialState().wait_for_everyone()
    trained_on, held_out = run.parts(fold)
    features = {
        "train": run.features(trained_on, to_train_on=True),
        "eval": run.features(held_out, to_train_on=False),
    }
    looked = run.held_out_pass(held_out, features["eval"])
    name = f"Fold {fold + 1} of {run.folds.n_folds}"
    writer, config = PassWriter(name, fold_dir, looked), copy.deepcopy(run.config)
    logger.info("%s: %d rows to train on.", name, len(trained_on.frame))
    trainer, computing = build_trainer(
        run.options,
        fold_arguments(run, fold_dir),
        features,
        looked,
        trained_on=trained_on,
        config=config,
        tokenizer=run.tokenizer,
        load=lambda: run.load(config),
        max_length=run.settings["max_length"],
        callbacks=[writer],
    )
    with said_where_full(REMEDY):
        trainer.train(resume_from_checkpoint=checkpoint)
    if run.options.keep_fold_models:
        trainer.save_model()
    if trainer.is_world_process_zero():
        close_fold(run, trained_on, trainer.args, computing)
        state.finish_fold(fold_dir, writer.n_epochs or last_pass(fold_dir), computing)
    let_go(trainer)


def last_pass(fold_dir: Path) -> int:
    """The number of the last epoch whose pass is there, of a fold that was gone on with after its last epoch.

    Raises:
        DataError: there is none.
    """
    numbers = [int(path.stem.removeprefix("held_out_epoch_")) for path in fold_dir.glob("held_out_epoch_*.npz")]
    if not numbers:
        raise DataError(f"{fold_dir} holds no pass of any epoch: remove it, and go on, which trains this fold again.")
    return max(numbers)


def close_fold(run: Run, trained_on: Examples, fold_args: "TrainingArguments", computing: dict) -> None:
    """Write the manifest of a fold's model where it is kept."""
    if run.options.keep_fold_models:
        manifests.close_run(run.options, fold_args, {"train": trained_on}, run.settings | computing)


def let_go(trainer: "ExampleTrainer") -> None:
    """Free what a fold's model held, so that memory is one model's."""
    trainer.accelerator.free_memory()
    trainer.model = trainer.model_wrapped = trainer.optimizer = trainer.lr_scheduler = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
