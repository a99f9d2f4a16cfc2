"""Train, evaluate and ablate an extractive-QA or NLI model with the Hugging Face Trainer.

    python run.py --do_train --do_eval --enable_cartography --dataset demo --model demo

Reads: a data set (hub name, saved directory, or file), a model (hub name or directory).
Writes into --output_dir: checkpoints, the final model and tokenizer, eval_metrics.json, eval_predictions.jsonl,
data_problems.csv and, last, manifest.json. With --enable_cartography, into --cartography_output_dir: the training
dynamics of every epoch, the metrics over all epochs, the data map and, last, manifest.json.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import helpers
import outputs
from arguments import CARTOGRAPHY_DIR, parse_arguments
from errors import DataError, UsageError
from helpers import MAX_LENGTH

logger = logging.getLogger("run")


def refuse_trained_rows(options: argparse.Namespace, data: dict) -> None:
    """UsageError when rows are held out for evaluation alone, but --model was trained with another part held out."""
    if "train" in data or data["eval"].held_out is None:
        return
    trained = outputs.read_manifest(options.model).get("data", {}).get("train", {})
    if trained.get("dataset") == data["eval"].name and trained["held_out"] != data["eval"].held_out:
        raise UsageError(
            f"--validation_fraction {options.validation_fraction}: --model {options.model} was trained on "
            f"{data['eval'].name} with {trained['held_out'] or 'nothing'} held out, so it has seen these rows."
        )


def build_trainer(options: argparse.Namespace, training_args, data: dict, path: str):
    """Load model and tokenizer from `path`, tokenise the data; returns (trainer, resolved settings, features)."""
    from transformers import set_seed

    from cpu_functions import can_stand_in
    from devices import choose_attention, settle_computing
    from examples import fit_labels
    from features import prepare_nli, prepare_qa
    from training import NliTrainer, QaTrainer
    from windows import PadCollator

    config, tokenizer = helpers.load_config(path), helpers.load_tokenizer(path)
    max_length = helpers.resolve_max_length(options.max_length, MAX_LENGTH, helpers.window_limit(config, tokenizer))
    if options.task == "nli":
        data = fit_labels(config, data)
    prepare, trainer_class = (prepare_qa, QaTrainer) if options.task == "qa" else (prepare_nli, NliTrainer)
    features, evaluation, settings = prepare(options, data, tokenizer, max_length, training_args.seed)
    check_best_metric(training_args, evaluation)
    set_seed(training_args.seed)
    computing = settle_computing(training_args, options.micro_batch_tokens, config, max_length)
    model = helpers.load_model(path, config, options.task, needs_trained_head="train" not in data)
    if can_stand_in(training_args):
        choose_attention(model, training_args.device)
    computing["attention"] = model.config._attn_implementation
    check_batches(training_args, features)
    training_args.remove_unused_columns = False  # the items are ours and carry nothing unused
    part = features.get("train", features.get("eval"))
    try:
        trainer = trainer_class(
            model=model,
            args=training_args,
            train_dataset=features.get("train"),
            eval_dataset=features.get("eval"),
            processing_class=tokenizer,
            data_collator=PadCollator(tokenizer),
            evaluation=evaluation,
            recorder=make_recorder(options, training_args, data, features),
            examples_per_row=part.n_examples / len(part),
            micro_batch_tokens=computing["micro_batch_tokens"],
        )
    except (ValueError, ImportError, OSError) as error:
        raise UsageError(f"the Trainer refuses its arguments: {helpers.one_line(error)}.") from error
    return trainer, settings | computing, features


def check_batches(training_args, features: dict) -> None:
    """UsageError when --dataloader_drop_last drops every row."""
    n_rows = training_args.train_batch_size * training_args.world_size
    if "train" in features and training_args.dataloader_drop_last and len(features["train"]) < n_rows:
        raise UsageError(
            f"--dataloader_drop_last drops all of the {len(features['train'])} rows, which do not fill a batch of "
            f"{n_rows}: leave it out or lower --per_device_train_batch_size."
        )


def make_recorder(options: argparse.Namespace, training_args, data: dict, features: dict):
    """The recorder of training dynamics, None without --enable_cartography.

    Raises:
        DataError: there is one label only.
    """
    if not options.enable_cartography:
        return None
    from cartography_callback import CartographyCallback
    from devices import precision_name

    rows = training_args.train_batch_size * training_args.gradient_accumulation_steps * training_args.world_size
    if options.task == "nli" and len(data["train"].label_names) < 2:
        raise DataError(
            "the data have one label only, so there is no margin to record: leave --enable_cartography out."
        )
    names = ("seed", "data_seed", "learning_rate", "train_sampling_strategy", "dataloader_drop_last")
    identity = {f"--{name}": getattr(training_args, name) for name in names}
    identity |= {"--model": options.model, "rows in a step": rows, "--precision": precision_name(training_args)}
    directory, ids = cartography_dir(options), data["train"].frame["id"]
    return CartographyCallback(directory, ids, features["train"], task=options.task, identity=identity)


def refuse_earlier_recording(options: argparse.Namespace, training_args) -> None:
    """UsageError where the recording would meet another one."""
    from recordings import refuse_earlier_recording

    resuming = bool(training_args.resume_from_checkpoint)
    overwrite = options.overwrite_output_dir
    refuse_earlier_recording(cartography_dir(options), Path(training_args.output_dir), overwrite, resuming)


def cartography_dir(options: argparse.Namespace) -> Path:
    """Where the recording is written."""
    return Path(options.cartography_output_dir or CARTOGRAPHY_DIR)


def check_best_metric(training_args, evaluation) -> None:
    """UsageError when the best model is to be chosen by a figure that the evaluation does not give."""
    asked = training_args.metric_for_best_model
    if asked is None or evaluation is None:
        return
    if asked.removeprefix("eval_") not in evaluation.selectable():
        listed = ", ".join(f"eval_{name}" for name in sorted(evaluation.selectable()))
        raise UsageError(f"--metric_for_best_model {asked} is not a figure of the evaluation; choose one of {listed}.")


def list_problems(options: argparse.Namespace, training_args, data: dict, features: dict) -> None:
    """Write data_problems.csv, those that only tokens show included; stop here if the data are to be strict.

    Raises:
        DataError: `--strict_data` and there is a problem.
    """
    import pandas as pd

    from records import problems_frame

    found = [part.problems for part in data.values()]
    for purpose, part in data.items():
        rows = features[purpose].problems(options.max_answer_length) if options.task == "qa" else []
        listed = [(part.frame["id"].iloc[row], *problem) for row, *problem in rows]
        found.append(problems_frame(listed).assign(split=part.split))
        for problem, n_rows in found[-1]["problem"].value_counts().items():
            logger.info("%s, split %s: %s in %d rows.", part.name, part.split, problem, n_rows)
    problems = pd.concat(found, ignore_index=True).drop_duplicates()
    path = Path(training_args.output_dir) / outputs.DATA_PROBLEMS
    if helpers.is_first_process():
        outputs.write_csv(path, problems[outputs.PROBLEM_COLUMNS])
    if options.strict_data and len(problems):
        raise DataError(
            f"--strict_data: the data have {len(problems)} problems, listed in {path}; mend them or leave the flag out."
        )


def train_model(trainer, checkpoint: str | None) -> None:
    """Train, then save the model, the tokenizer and the trainer's state.

    Raises:
        DataError: the device's memory does not hold a batch, the weights are not numbers, or the disk is full.
    """
    import torch

    try:
        trainer.train(resume_from_checkpoint=checkpoint)
        refuse_nan_weights(trainer.model)
        trainer.save_model()
        trainer.save_state()
    except torch.OutOfMemoryError as error:
        raise DataError(out_of_memory("train")) from error
    except Exception as error:  # the tokenizer's writer raises a bare Exception when the disk is full
        if not outputs.is_full(trainer.args.output_dir, error):
            raise
        left = outputs.what_is_left(trainer.args.output_dir)
        raise DataError(f"the disk of {trainer.args.output_dir} is full: free some space; {left}.") from error


def refuse_nan_weights(model) -> None:
    """DataError where training has ended in weights that are not numbers."""
    if not all(weights.isfinite().all() for weights in model.parameters()):
        raise DataError(
            "training has ended in weights that are not numbers (NaN), and no model is saved: train again with a lower "
            "--learning_rate, or with --precision float32."
        )


def out_of_memory(purpose: str) -> str:
    """One sentence for a full GPU, with the two flags that help."""
    flag = "--micro_batch_tokens" if purpose == "train" else "--per_device_eval_batch_size"
    return f"the GPU's memory is full: lower {flag} or --max_length."


def evaluate_model(options: argparse.Namespace, trainer) -> dict:
    """Evaluate, write figures and predictions from the first process, and return the figures.

    Raises:
        DataError: the device's memory does not hold a batch.
    """
    import torch

    try:
        figures = trainer.evaluate()
    except torch.OutOfMemoryError as error:
        raise DataError(out_of_memory("eval")) from error
    if trainer.is_world_process_zero():
        directory, evaluation = Path(trainer.args.output_dir), trainer.evaluation
        outputs.write_jsonl(directory / outputs.EVAL_PREDICTIONS, evaluation.predictions())
        if options.save_nbest:
            outputs.write_jsonl(directory / outputs.NBEST_PREDICTIONS, evaluation.nbest_predictions())
        outputs.write_json(directory / outputs.EVAL_METRICS, figures | evaluation.tables())
    return figures


def main(argv: Sequence[str]) -> None:
    """Parse, load, train, evaluate, save."""
    options, training_args = parse_arguments(argv)
    directory = Path(training_args.output_dir)
    outputs.refuse_earlier_run(directory, options.overwrite_output_dir, training_args, options.model)
    if options.enable_cartography:
        refuse_earlier_recording(options, training_args)
    path = helpers.model_path(options.model)
    checkpoint = outputs.checkpoint_to_resume(directory, training_args.resume_from_checkpoint)
    from accelerate import PartialState

    import manifests
    from devices import peak_memory
    from examples import load_data

    data = load_data(options, training_args)
    refuse_trained_rows(options, data)
    trainer, settings, features = build_trainer(options, training_args, data, path)
    if trainer.recorder is not None and checkpoint is not None:
        trainer.recorder.resume_from(checkpoint)
    list_problems(options, training_args, data, features)
    if options.overwrite_output_dir and helpers.is_first_process():
        outputs.clear_earlier_run(directory, checkpoints_too=training_args.do_train and checkpoint is None)
    figures = work(options, trainer, checkpoint, data, settings)
    if trainer.is_world_process_zero():
        memory = peak_memory(training_args.device)
        manifests.close_run(options, training_args, data, settings | {"peak_memory_gb": memory})
        logger.info("Memory at most: %s.", ", ".join(f"{size:.2f} GB ({name})" for name, size in memory.items()))
        if training_args.do_eval:
            print(trainer.evaluation.headline(figures))
        logger.info("Everything is in %s.", directory)
    PartialState().destroy_process_group()


def work(options: argparse.Namespace, trainer, checkpoint: str | None, data: dict, settings: dict) -> dict:
    """Train and evaluate as far as asked for; the figures of the evaluation.

    Raises:
        KeyboardInterrupt: with the last checkpoint in its message.
    """
    import manifests

    try:
        if trainer.args.do_train:
            train_model(trainer, checkpoint)
        if options.enable_cartography and trainer.is_world_process_zero():
            manifests.close_recording(options, trainer, data, settings)
        return evaluate_model(options, trainer) if trainer.args.do_eval else {}
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"stopped by Ctrl-C; {outputs.what_is_left(trainer.args.output_dir)}.") from error


if __name__ == "__main__":
    sys.exit(helpers.run_script(main))
