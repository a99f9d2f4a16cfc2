"""Train, evaluate and ablate an extractive-QA or NLI model with the Hugging Face Trainer.

    python run.py --do_train --do_eval --enable_cartography --dataset demo --model demo

Reads: a data set (hub name, saved directory, or file), a model (hub name or directory).
Writes into --output_dir: checkpoints, the final model and tokenizer, data_problems.csv and, last, manifest.json. With
--do_eval, which may also come later and then writes beside the model: eval_metrics.json, eval_predictions.jsonl,
eval_data_problems.csv, eval_manifest.json. With --do_predict, for rows without labels, in the same place:
predictions.jsonl, predict_data_problems.csv, predict_manifest.json. With --enable_cartography, into
--cartography_output_dir: the training dynamics of every epoch, the metrics over all epochs, the data map and, last,
manifest.json. With --cross_fit, into --crossfit_output_dir and nowhere else: the same, out of fold, and
crossfit_predictions.jsonl.
"""

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import helpers
from datamap.errors import DataError
from datamap.evaluation import directories
from datamap.features import lengths
from datamap.files import checkpoints, outputs
from datamap.files.directories import refuse_unwritable
from datamap.options.arguments import CARTOGRAPHY_DIR, parse_arguments
from datamap.options.cross_fitting import CROSSFIT_DIR
from datamap.options.defaults import MAX_LENGTH
from datamap.training import refusals

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast, TrainingArguments

    from cartography_callback import CartographyCallback
    from datamap.training.trainer import ExampleTrainer

logger = logging.getLogger("run")


def prepare_trainer(
    options: argparse.Namespace,
    training_args: "TrainingArguments",
    data: dict,
    path: str,
    config: "PreTrainedConfig",
    tokenizer: "PreTrainedTokenizerFast",
) -> "tuple[ExampleTrainer, dict, dict]":
    """Tokenise the data and load the model from `path`; returns (trainer, resolved settings, features)."""
    from datamap.data.label_names import fit_labels
    from datamap.training.building import build_trainer
    from datamap.training.features import prepare_nli, prepare_qa
    from datamap.training.trainer import EarlyStopping

    max_length = lengths.resolve_max_length(options.max_length, MAX_LENGTH, lengths.window_limit(config, tokenizer))
    if options.task == "nli":
        data = fit_labels(config, data, options.label_map)
    prepare = prepare_qa if options.task == "qa" else prepare_nli
    features, evaluation, settings = prepare(options, data, tokenizer, max_length, training_args.seed)
    refusals.refuse_unknown_figure(training_args, evaluation)
    patience, trains = options.early_stopping_patience, "train" in data
    trainer, computing = build_trainer(
        options,
        training_args,
        features,
        evaluation,
        trained_on=data.get("train"),
        config=config,
        tokenizer=tokenizer,
        load=lambda: helpers.load_model(path, config, options.task, needs_trained_head=not trains),
        max_length=max_length,
        make_recorder=lambda computing: make_recorder(options, training_args, data, features, computing),
        callbacks=[EarlyStopping(patience)] if patience else (),
    )
    return trainer, settings | computing, features


def make_recorder(
    options: argparse.Namespace, training_args: "TrainingArguments", data: dict, features: dict, computing: dict
) -> "CartographyCallback | None":
    """The recorder of training dynamics, None without --enable_cartography.

    Raises:
        DataError: there is one label only.
    """
    if not options.enable_cartography:
        return None
    from cartography_callback import CartographyCallback
    from datamap.options.precision import precision_name
    from datamap.training import objective

    rows = training_args.train_batch_size * training_args.gradient_accumulation_steps * training_args.world_size
    if options.task == "nli" and len(data["train"].label_names) < 2:
        raise DataError(
            "the data have one label only, so there is no margin to record: leave --enable_cartography out."
        )
    names = ("seed", "data_seed", "learning_rate", "train_sampling_strategy", "dataloader_drop_last")
    identity = {f"--{name}": getattr(training_args, name) for name in names}
    identity |= {"--model": options.model, "rows in a step": rows, "--precision": precision_name(training_args)}
    identity |= {"--micro_batch_tokens": computing["micro_batch_tokens"], "attention": computing["attention"]}
    identity |= objective.identity_of(training_args, data["train"])
    directory, ids = cartography_dir(options), data["train"].frame["id"]
    return CartographyCallback(directory, ids, features["train"], task=options.task, identity=identity)


def refuse_directories(options: argparse.Namespace, training_args: "TrainingArguments", path: str) -> None:
    """UsageError where the run's files would meet what is there already, or cannot be written; `path` of the model."""
    directory, overwrite = Path(training_args.output_dir), options.overwrite_output_dir
    if training_args.do_train:
        checkpoints.refuse_earlier_run(directory, overwrite, training_args, options.model)
        directories.refuse_any(directory, overwrite)
    else:
        directories.refuse_other_training(directory, options.model, path)
    trains, own = training_args.do_train, "predict" if training_args.do_predict else "eval"
    kinds = directories.KINDS.values() if trains else [directories.KINDS[own]]
    named = {"--dataset": options.dataset, "--eval_dataset": options.eval_dataset}
    directories.refuse_own_data(directory, named, kinds)
    refuse_unwritable(directory)
    if options.enable_cartography:
        from datamap.dynamics.recordings import refuse_earlier_recording

        resuming = bool(training_args.resume_from_checkpoint)
        refuse_earlier_recording(cartography_dir(options), directory, overwrite, resuming)


def cartography_dir(options: argparse.Namespace) -> Path:
    """Where the recording is written."""
    return Path(options.cartography_output_dir or CARTOGRAPHY_DIR)


def predict(trainer: "ExampleTrainer", problems: dict) -> None:
    """Predict, and write what comes of it from the first process."""
    output = trainer.evaluation_loop(trainer.get_eval_dataloader(), description="Prediction")
    trainer.callback_handler.on_predict(trainer.args, trainer.state, trainer.control, output.metrics)  # ends the bar
    if trainer.is_world_process_zero():
        directories.write_predictions(Path(trainer.args.output_dir), trainer.evaluation, problems["predict"])


def evaluate_model(options: argparse.Namespace, trainer: "ExampleTrainer", problems: dict) -> dict:
    """Evaluate, write figures and predictions from the first process, and return the figures.

    Raises:
        DataError: the device's memory does not hold a batch.
    """
    figures = trainer.evaluate()
    if trainer.is_world_process_zero():
        directory = Path(trainer.args.output_dir)
        directories.write_evaluation(directory, trainer.evaluation, figures, problems["eval"], options.save_nbest)
    return figures


def work(
    options: argparse.Namespace,
    trainer: "ExampleTrainer",
    checkpoint: str | None,
    data: dict,
    settings: dict,
    problems: dict,
) -> dict[str, float]:
    """Train and evaluate as far as asked for, or predict; the figures of the evaluation.

    Raises:
        KeyboardInterrupt: with the last checkpoint in its message.
    """
    from datamap.dynamics import closing
    from datamap.training import running

    try:
        if trainer.args.do_train:
            running.train_model(trainer, checkpoint)
        if options.enable_cartography and trainer.is_world_process_zero():
            closing.close_recording(options, trainer.args, trainer.recorder.recorded, data["train"], settings)
        if trainer.args.do_predict:
            predict(trainer, problems)
        return evaluate_model(options, trainer, problems) if trainer.args.do_eval else {}
    except KeyboardInterrupt as error:
        left = f"; {checkpoints.what_is_left(trainer.args.output_dir)}" if trainer.args.do_train else ""
        raise KeyboardInterrupt(f"stopped by Ctrl-C{left}.") from error


def begin(options: argparse.Namespace, training_args: "TrainingArguments", problems: dict, *, anew: bool) -> None:
    """Remove what training replaces, an evaluation of the earlier model included, and list the problems of its rows."""
    directory = Path(training_args.output_dir)
    for kind in directories.KINDS.values():
        directories.clear(directory, kind)
    if options.overwrite_output_dir:
        checkpoints.clear_earlier_run(directory, checkpoints_too=anew, weights=directories.weight_files(directory))
    outputs.write_csv(directory / outputs.DATA_PROBLEMS, problems["train"])


def close(
    options: argparse.Namespace, training_args: "TrainingArguments", data: dict, settings: dict, path: str
) -> None:
    """Write the manifests; `path` of the model that was loaded."""
    from datamap.files import manifests
    from datamap.training.memory import peak_memory

    memory = peak_memory(training_args.device)
    settings = settings | {"peak_memory_gb": memory}
    logger.info("Memory at most: %s.", ", ".join(f"{size:.2f} GB ({name})" for name, size in memory.items()))
    evaluated = training_args.output_dir if training_args.do_train else path
    for purpose in data.keys() & directories.KINDS.keys():
        of = directories.identity(evaluated, data[purpose], options.ablations)
        kind = directories.KINDS[purpose]
        manifests.close_evaluation(options, training_args, data, settings, kind, of)
    if training_args.do_train:
        manifests.close_run(options, training_args, data, settings)


def what_is_next(options: argparse.Namespace, training_args: "TrainingArguments") -> str:
    """Where the data map is, if one was drawn, and the command that goes on from a training; else nothing."""
    if options.enable_cartography:
        from datamap.dynamics.recordings import MAP

        directory = cartography_dir(options)
        command = shlex.join(["python", "analyze_cartography.py", "--cartography_dir", str(directory)])
        place = f"\nThe data map is {directory / MAP}." if (directory / MAP).is_file() else ""
        return f"{place}\nNext: {command}"
    if training_args.do_train:
        command = shlex.join(["python", "extract_embeddings.py", "--model_path", training_args.output_dir])
        return f"\nNext: {command}"
    return ""


def cross_fit(options: argparse.Namespace, training_args: "TrainingArguments", path: str) -> None:
    """Make an out-of-fold recording; `path` of the model that every fold begins with."""
    from accelerate import PartialState

    from datamap.crossfit import loop, preparing, recording, state
    from datamap.data.purposes import load_data

    directory, resuming = Path(options.crossfit_output_dir or CROSSFIT_DIR), bool(training_args.resume_from_checkpoint)
    state.refuse_earlier_run(directory, path, options.overwrite_output_dir, resuming)
    refuse_unwritable(directory, "--crossfit_output_dir")
    config, tokenizer = helpers.load_parts(path)
    max_length = lengths.resolve_max_length(options.max_length, MAX_LENGTH, lengths.window_limit(config, tokenizer))
    run, problems, identity = preparing.prepare(
        options,
        training_args,
        load_data(options, training_args)["train"],
        directory,
        config=config,
        tokenizer=tokenizer,
        load=lambda config: helpers.load_model(path, config, options.task, needs_trained_head=False),
        max_length=max_length,
    )
    preparing.begin(run, problems, identity, resuming=resuming)
    PartialState().wait_for_everyone()
    loop.cross_fit(run)
    if outputs.is_first_process():
        print(recording.headline(run, recording.write_recording(run, identity)))
    PartialState().destroy_process_group()


def main(argv: Sequence[str]) -> None:
    """Parse, load, train, evaluate or predict, save."""
    options, training_args = parse_arguments(argv)
    path = helpers.model_path(options.model)
    if options.cross_fit:
        cross_fit(options, training_args, path)
        return
    refuse_directories(options, training_args, path)
    directory = Path(training_args.output_dir)
    checkpoint = checkpoints.checkpoint_to_resume(directory, training_args.resume_from_checkpoint)
    config, tokenizer = helpers.load_parts(path)
    from accelerate import PartialState

    from datamap.data.purposes import load_data
    from datamap.training.features import list_problems

    data = load_data(options, training_args)
    refusals.refuse_trained_rows(options, data)
    if not training_args.do_train and not options.overwrite_output_dir:
        directories.refuse_others(directory, path, data, options.ablations)
    trainer, settings, features = prepare_trainer(options, training_args, data, path, config, tokenizer)
    if trainer.recorder is not None and checkpoint is not None:
        trainer.recorder.resume_from(checkpoint)
    problems = list_problems(options, data, features)
    refusals.refuse_problems(options, directory, problems)
    if training_args.do_train and outputs.is_first_process():
        begin(options, training_args, problems, anew=checkpoint is None)
    figures = work(options, trainer, checkpoint, data, settings, problems)
    if trainer.is_world_process_zero():
        close(options, training_args, data, settings, path)
        if trainer.evaluation is not None:
            print(trainer.evaluation.headline(figures))
        logger.info("Everything is in %s.%s", directory, what_is_next(options, training_args))
    PartialState().destroy_process_group()


if __name__ == "__main__":
    sys.exit(helpers.run_script(main))
