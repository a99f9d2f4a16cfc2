"""Train, evaluate and ablate an extractive-QA or NLI model with the Hugging Face Trainer.

    python run.py --do_train --do_eval --enable_cartography --dataset demo --model demo

Reads: a data set (hub name, saved directory, or file), a model (hub name or directory).
Writes into --output_dir: checkpoints, the final model and tokenizer, eval_metrics.json, eval_predictions.jsonl,
data_problems.csv and, last, manifest.json. With --enable_cartography, into --cartography_output_dir: the training
dynamics of every epoch, the metrics over all epochs, the data map and, last, manifest.json.
"""

import argparse
import difflib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import helpers
import outputs
from errors import DataError, UsageError
from helpers import CPU_MICRO_BATCH_TOKENS, DOC_STRIDE, MAX_LENGTH, N_BEST_SIZE, NULL_SCORE_THRESHOLD

logger = logging.getLogger("run")

OUTPUT_DIR = "./trainer_output"
TRAINER_DEFAULTS = {"output_dir": OUTPUT_DIR, "learning_rate": 1e-4, "logging_steps": 50, "save_strategy": "epoch"}
MODEL = "google/electra-small-discriminator"
CARTOGRAPHY_DIR = "./cartography_output"
QA_ONLY = ("doc_stride", "max_answer_length", "n_best_size", "null_score_threshold", "save_nbest")
EPILOG = """
All of Transformers' TrainingArguments work here as well (--help_trainer lists them), among them --do_train, --do_eval,
--output_dir DIR (default ./trainer_output), --num_train_epochs N (3), --per_device_train_batch_size N (8 rows),
--learning_rate X (1e-4), --seed N (42), --save_strategy, --save_total_limit N, --resume_from_checkpoint DIR|last,
--bf16, --report_to NAME. Three defaults differ from Transformers': --learning_rate 1e-4 (small encoders learn slowly
with its 5e-5), --save_strategy epoch, --logging_steps 50.
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of run.py's own options."""
    parser = helpers.SentenceParser(
        prog="run.py",
        description="Train, evaluate and ablate an extractive-QA or NLI model.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--help_trainer", action="store_true", help="list all options of Transformers' TrainingArguments and exit")
    add("--task", choices=("qa", "nli"), default="qa", help="extractive QA or natural language inference (default: qa)")
    add("--model", metavar="NAME", default=MODEL, help=f"hub name, model directory, or demo (default: {MODEL})")
    text = "hide one side in training and evaluation: q_only masks the context (nli: hypothesis only), "
    text += "p_only makes the question neutral (nli: premise only) (default: none)"
    add("--ablations", choices=("none", "q_only", "p_only"), default="none", help=text)
    text = "replace the run in --output_dir, checkpoints included, and the recording in --cartography_output_dir"
    add("--overwrite_output_dir", action="store_true", help=text)
    text = "record every training example's dynamics in the passes that train it, and draw the data map; wants 3 "
    text += "epochs or more, and analyze_cartography.py goes on from it"
    add("--enable_cartography", action="store_true", help=text)
    text = f"where the recording is written (with --enable_cartography; default: {CARTOGRAPHY_DIR})"
    add("--cartography_output_dir", metavar="DIR", type=helpers.named, help=text)
    add("--no_cuda", action="store_true", help="compute on the CPU (the same as --use_cpu)")
    helpers.add_precision(add, helpers.AUTO)
    text = "tokens, padding included, that are trained on at a time; a batch with more is cut into parts whose "
    text += "gradients are added up, so this changes speed and memory alone (default: "
    text += f"{CPU_MICRO_BATCH_TOKENS:,} on a CPU, what the memory holds on a GPU)"
    add("--micro_batch_tokens", metavar="N", type=helpers.positive, help=text)
    add_data_options(parser.add_argument_group("data").add_argument)
    add_window_options(parser.add_argument_group("windows and answers").add_argument)
    return parser


def add_data_options(add) -> None:
    """Which rows are trained and evaluated on."""
    text = "hub name, name:subset, directory from save_to_disk, file (.json, .jsonl, .csv, .parquet, each also .gz), "
    text += "or demo, demo:v2, demo:noisy, demo:nli (default: Eladio/emrqa-msquad; nli: snli)"
    add("--dataset", metavar="NAME", help=text)
    add("--eval_dataset", metavar="NAME", help="evaluate on another data set, given as for --dataset")
    add("--train_split", metavar="SPLIT", default="train", help="split to train on (default: train)")
    add("--eval_split", metavar="SPLIT", help="split to evaluate on (default: validation, validation_matched or dev)")
    text = "hold out this share of the training rows for evaluation, whole contexts at a time; between 0 and 1 "
    text += "(default: 0.1 where there is no split to evaluate on)"
    add("--validation_fraction", metavar="X", type=helpers.fraction, help=text)
    rows = "on this many rows, drawn with --seed (default: all)"
    add("--max_train_samples", metavar="N", type=helpers.positive, help=f"train {rows}")
    add("--max_eval_samples", metavar="N", type=helpers.positive, help=f"evaluate {rows}")
    text = "stop when the data have any problem instead of mending or leaving out rows"
    add("--strict_data", action="store_true", help=text)


def add_window_options(add) -> None:
    """How contexts are cut and answers are searched."""
    text = f"tokens in a window, special ones included (default: {MAX_LENGTH}, or the model's limit if smaller)"
    add("--max_length", metavar="N", type=helpers.positive, help=text)
    text = (
        f"tokens that neighbouring windows of a context share (qa; default: {DOC_STRIDE}, or a third of --max_length)"
    )
    add("--doc_stride", metavar="N", type=int, help=text)
    text = "longest answer in tokens (qa; default: the longest gold answer in the data)"
    add("--max_answer_length", metavar="N", type=helpers.positive, help=text)
    text = f"spans kept of each example with --save_nbest (qa; default: {N_BEST_SIZE})"
    add("--n_best_size", metavar="N", type=helpers.positive, help=text)
    text = "predict no answer when the null score exceeds the best span's by more than this many logits; "
    text += f"higher answers more (qa; default: {NULL_SCORE_THRESHOLD})"
    add("--null_score_threshold", metavar="X", type=helpers.finite, help=text)
    text = f"also write {outputs.NBEST_PREDICTIONS}, the best spans of each example (qa)"
    add("--save_nbest", action="store_true", help=text)


def parse_arguments(argv: Sequence[str]):
    """Own options (Namespace) and TrainingArguments; a UsageError for everything that cannot be done as asked."""
    options, rest = build_parser().parse_known_args(argv)
    if options.help_trainer:
        trainer_parser().print_help()
        raise SystemExit(0)
    if not any(flag.startswith("--do") for flag in rest):
        raise UsageError("nothing to do: pass --do_train to train, --do_eval to evaluate, or both.")
    rest += ["--use_cpu"] * options.no_cuda
    training_args = parse_training_arguments(rest + precision_words(options, rest))
    check_options(options, training_args)
    return options, training_args


def precision_words(options: argparse.Namespace, rest: Sequence[str]) -> list[str]:
    """What --precision comes to on this device, in TrainingArguments' words; says what it is and why.

    Raises:
        UsageError: --precision beside TrainingArguments' own flag, or bf16 on a GPU that has none.
    """
    own = [word for word in rest if word.split("=")[0] in ("--bf16", "--fp16")]
    if own and options.precision:
        raise UsageError(f"--precision {options.precision} and {own[0]} both say how to compute: leave one out.")
    if own:
        return []
    from devices import settle_precision

    device = parse_training_arguments(rest).device
    precision, why = settle_precision(options.precision or helpers.AUTO, device)
    logger.info("Computing in %s: %s.", precision, why)
    on_cpu = ["--use_cpu"] * (device.type == "cpu")  # TrainingArguments take bf16 on a CPU only where it is asked for
    return [*on_cpu, "--bf16"] * (precision == helpers.BF16)


def trainer_parser() -> argparse.ArgumentParser:
    """Transformers' own parser of TrainingArguments with this script's defaults."""
    from transformers import HfArgumentParser, TrainingArguments

    parser = HfArgumentParser(TrainingArguments, prog="run.py", allow_abbrev=False)
    parser.set_defaults(**TRAINER_DEFAULTS)
    parser.error = helpers.usage_error
    return parser


def parse_training_arguments(argv: Sequence[str]):
    """Parse TrainingArguments; a flag that nobody knows is named with the nearest one that exists.

    Raises:
        UsageError: an unknown flag, a value of the wrong type, or arguments that contradict each other.
    """
    parser = trainer_parser()
    unknown = parser.parse_known_args(list(argv))[1]
    if unknown:
        flags = [flag for own in (parser, build_parser()) for action in own._actions for flag in action.option_strings]
        near = difflib.get_close_matches(unknown[0].split("=")[0], sorted({*flags} - {"-h", "--help"}), n=1)
        hint = f"; did you mean {near[0]}?" if near else "; python run.py --help and --help_trainer list the options."
        raise UsageError(f"unknown argument {unknown[0]}{hint}")
    try:
        return parser.parse_args_into_dataclasses(list(argv), look_for_args_file=False)[0]
    except (ValueError, ImportError) as error:
        raise UsageError(f"the training arguments do not fit together: {helpers.one_line(error)}.") from error


def check_options(options: argparse.Namespace, training_args) -> None:
    """Refuse, with a UsageError, every option that could not act."""
    given = {name for name in QA_ONLY if getattr(options, name) is not None and getattr(options, name) is not False}
    searches = given & {"n_best_size", "null_score_threshold", "save_nbest"}
    sizes = ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps")
    zero = [name for name in sizes if getattr(training_args, name) < 1]
    trains, evaluates = training_args.do_train, training_args.do_eval
    for refused, sentence in (
        (not trains and not evaluates, "nothing to do: pass --do_train to train, --do_eval to evaluate, or both."),
        (training_args.do_predict, "--do_predict is not offered: pass --do_eval with --eval_dataset instead."),
        (options.task == "nli" and given, f"--{min(given, default='')} is for --task qa: leave it out."),
        (options.eval_dataset and not evaluates, "--eval_dataset needs --do_eval: add it."),
        (options.eval_split and not evaluates, "--eval_split needs --do_eval: add it."),
        (options.max_eval_samples and not evaluates, "--max_eval_samples needs --do_eval: add it."),
        (searches and not evaluates, f"--{min(searches, default='')} needs --do_eval: add it."),
        (options.n_best_size and not options.save_nbest, "--n_best_size acts with --save_nbest: add it."),
        (not training_args.output_dir.strip(), "--output_dir is empty: name a directory."),
        (zero, f"--{min(zero, default='')} must be at least 1."),
        (not 0 <= training_args.seed < 2**32, f"--seed {training_args.seed} does not lie between 0 and 2^32 - 1."),
        (training_args.num_train_epochs <= 0, f"--num_train_epochs {training_args.num_train_epochs} is not above 0."),
        (options.enable_cartography and not trains, "--enable_cartography needs --do_train: add it."),
        (
            options.cartography_output_dir is not None and not options.enable_cartography,
            "--cartography_output_dir needs --enable_cartography: add it.",
        ),
        (options.max_train_samples and not trains, "--max_train_samples needs --do_train: add it."),
        (training_args.resume_from_checkpoint and not trains, "--resume_from_checkpoint needs --do_train: add it."),
        (
            options.validation_fraction and (options.eval_dataset or options.eval_split),
            "--validation_fraction holds out training rows, so it does not go with --eval_dataset or --eval_split.",
        ),
        (options.doc_stride is not None and options.doc_stride < 0, "--doc_stride must be at least 0 tokens."),
        (training_args.label_smoothing_factor, "--label_smoothing_factor is not offered: leave it out."),
    ):
        if refused:
            raise UsageError(sentence)


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
    computing["attention"] = choose_attention(model, training_args.device)
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
        DataError: the device's memory does not hold a batch, or the disk is full.
    """
    import torch

    try:
        trainer.train(resume_from_checkpoint=checkpoint)
        trainer.save_model()
        trainer.save_state()
    except torch.OutOfMemoryError as error:
        raise DataError(out_of_memory("train")) from error
    except Exception as error:  # the tokenizer's writer raises a bare Exception when the disk is full
        if not outputs.is_full(trainer.args.output_dir, error):
            raise
        left = outputs.what_is_left(trainer.args.output_dir)
        raise DataError(f"the disk of {trainer.args.output_dir} is full: free some space; {left}.") from error


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
