"""The arguments of run.py: its own options, Transformers' TrainingArguments, and what of them could not act."""

import argparse
import difflib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamap import errors
from datamap.errors import UsageError
from datamap.files import manifests, outputs
from datamap.options import defaults, parsing
from datamap.options.cross_fitting import add_crossfit_options, refuse_idle_crossfit_options, refuse_settled
from datamap.options.defaults import (
    CPU_MICRO_BATCH_TOKENS,
    CPU_PADDED_TOKENS,
    DOC_STRIDE,
    MAX_LENGTH,
    N_BEST_SIZE,
    NULL_SCORE_THRESHOLD,
)
from datamap.options.listed_rows import add_listed_options, refuse_idle_listed_options
from datamap.options.precision import AUTO, BF16, FP16, PRECISIONS, TF32

if TYPE_CHECKING:
    import torch
    from transformers import TrainingArguments

logger = logging.getLogger(__name__)

OUTPUT_DIR = "./trainer_output"
TRAINER_DEFAULTS = {
    "output_dir": OUTPUT_DIR,
    "learning_rate": 1e-4,
    "logging_steps": 50,
    "logging_nan_inf_filter": False,  # it would show a loss that is not a number as 0
    "save_strategy": "epoch",
}
MODEL = "google/electra-small-discriminator"
# Defaults on a GPU: loading beside its work, and rows in a batch of an evaluation at most, which tokens bound first.
GPU_WORDS = {"--dataloader_num_workers": "2", "--per_device_eval_batch_size": "1024"}
UNTRIED = {
    "--deepspeed": "it takes an optimizer step for every micro-batch",
    "--fsdp": "nobody has tried it with this suite",
}
UNTRIED_VARIABLES = {"ACCELERATE_USE_DEEPSPEED": "--deepspeed", "ACCELERATE_USE_FSDP": "--fsdp"}
CARTOGRAPHY_DIR = "./cartography_output"
NOTHING_TO_DO = "nothing to do: pass --do_train to train, --do_eval to evaluate, or both; or --do_predict to predict."
QA_ONLY = ("doc_stride", "max_answer_length", "n_best_size", "null_score_threshold", "save_nbest")
EPILOG = """
All of Transformers' TrainingArguments work here as well (--help_trainer lists them), among them --do_train, --do_eval,
--do_predict (answers for rows without labels), --output_dir DIR (default ./trainer_output; to evaluate alone or to
predict, the directory of --model where it is one), --num_train_epochs N (3), --per_device_train_batch_size N (8 rows),
--learning_rate X (1e-4), --seed N (42), --save_strategy, --save_total_limit N, --resume_from_checkpoint DIR|last,
--report_to NAME, --label_smoothing_factor X (from 0 to below 1; 0: the share of every label that is spread over all
that may be right, in qa over the tokens of the context). Defaults that differ from
Transformers': --learning_rate 1e-4 (small encoders learn slowly with its 5e-5), --save_strategy epoch,
--logging_steps 50, --logging_nan_inf_filter false, and on a GPU --dataloader_num_workers 2 and
--per_device_eval_batch_size 1024: there a batch of an evaluation has at most that many rows, of like lengths, and no
more tokens than keep the GPU busy and fit into its memory.
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of run.py's own options."""
    parser = parsing.SentenceParser(
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
    text = "replace the run in --output_dir, checkpoints and evaluation included, and the recording in "
    text += "--cartography_output_dir, or that in --crossfit_output_dir; without --do_train the evaluation alone"
    add("--overwrite_output_dir", action="store_true", help=text)
    text = "record every training example's dynamics in the passes that train it, and draw the data map; wants 3 "
    text += "epochs or more, and analyze_cartography.py goes on from it"
    add("--enable_cartography", action="store_true", help=text)
    text = f"where the recording is written (with --enable_cartography; default: {CARTOGRAPHY_DIR})"
    add("--cartography_output_dir", metavar="DIR", type=parsing.named, help=text)
    add_crossfit_options(add)
    add("--no_cuda", action="store_true", help="compute on the CPU (the same as --use_cpu)")
    text = (
        "stop training when the figure of --metric_for_best_model (the loss, unless told) was no better than its best "
    )
    text += "in N evaluations in a row; with --load_best_model_at_end (default: train to the end)"
    add("--early_stopping_patience", metavar="N", type=parsing.positive, help=text)
    parsing.add_precision(add, f"{AUTO}; to evaluate alone, what the model was trained in")
    text = "tokens that are trained on at a time, padding included where there is any; a batch with more is cut into "
    text += (
        "parts whose gradients are added up, so this changes speed, memory and the draws of dropout alone (default: "
    )
    text += f"{CPU_MICRO_BATCH_TOKENS:,} on a CPU, {CPU_PADDED_TOKENS:,} there for a model that pads; what the memory "
    text += "holds on a GPU)"
    add("--micro_batch_tokens", metavar="N", type=parsing.positive, help=text)
    add_data_options(parser.add_argument_group("data").add_argument)
    add_window_options(parser.add_argument_group("windows and answers").add_argument)
    return parser


def add_data_options(add: Callable[..., Any]) -> None:
    """Which rows are trained and evaluated on."""
    text = "hub name, name:subset, directory from save_to_disk, file (.json, .jsonl, .csv, .tsv, .txt, .parquet, "
    text += "each also .gz), or demo, demo:v2, demo:noisy, demo:nli (default: Eladio/emrqa-msquad; nli: snli)"
    add("--dataset", metavar="NAME", help=text)
    add("--eval_dataset", metavar="NAME", help="evaluate on another data set, given as for --dataset")
    note = " (both data sets; default: as --model was trained, where that was on the same data set)"
    parsing.add_columns_option(add, note)
    add("--train_split", metavar="SPLIT", default="train", help="split to train on (default: train)")
    add(
        "--eval_split",
        metavar="SPLIT",
        help="split to evaluate on (default: validation, validation_matched, dev or trial)",
    )
    add("--split", metavar="SPLIT", type=parsing.named, help="split to predict (default: the only one)")
    text = "hold out this share of the training rows for evaluation, whole contexts at a time; between 0 and 1 "
    text += "(default: 0.1 where there is no split to evaluate on)"
    add("--validation_fraction", metavar="X", type=parsing.fraction, help=text)
    text = "rows.csv of audit_dataset.py: its groups of rows stay together in what --validation_fraction (or its "
    text += "default) and --cross_fit hold out, instead of contexts (nli: premises, or pairs that share sentences)"
    add("--groups", metavar="FILE", type=parsing.named, help=text)
    rows = "on this many rows, drawn with --seed (default: all)"
    add("--max_train_samples", metavar="N", type=parsing.positive, help=f"train {rows}")
    add("--max_eval_samples", metavar="N", type=parsing.positive, help=f"evaluate {rows}")
    add_listed_options(add)
    text = "evaluate a model of other labels: which of its labels count as which of the data's, as in "
    text += "non-entailment=neutral,contradiction (nli; default: by name, and neutral and contradiction as "
    text += "non-entailment where the data have that)"
    add("--label_map", metavar="LABEL=MODEL_LABEL,...", nargs="+", action=parsing.PairsAction, help=text)
    text = "stop when the data have any problem instead of mending or leaving out rows"
    add("--strict_data", action="store_true", help=text)


def add_window_options(add: Callable[..., Any]) -> None:
    """How contexts are cut and answers are searched."""
    text = f"tokens in a window, special ones included (default: {MAX_LENGTH}, or the model's limit if smaller)"
    add("--max_length", metavar="N", type=parsing.positive, help=text)
    text = (
        f"tokens that neighbouring windows of a context share (qa; default: {DOC_STRIDE}, or a third of --max_length)"
    )
    add("--doc_stride", metavar="N", type=int, help=text)
    text = "longest answer in tokens (qa; default: the longest gold answer in the data; to predict, as "
    text += "the model was trained, else 30)"
    add("--max_answer_length", metavar="N", type=parsing.positive, help=text)
    text = f"spans kept of each example with --save_nbest (qa; default: {N_BEST_SIZE})"
    add("--n_best_size", metavar="N", type=parsing.positive, help=text)
    text = "predict no answer when the null score exceeds the best span's by more than this many logits; "
    text += f"higher answers more (qa; default: {NULL_SCORE_THRESHOLD}; to predict, as the model was trained)"
    add("--null_score_threshold", metavar="X", type=parsing.finite, help=text)
    text = f"also write {outputs.NBEST_PREDICTIONS}, the best spans of each example (qa)"
    add("--save_nbest", action="store_true", help=text)


def parse_arguments(argv: Sequence[str]) -> "tuple[argparse.Namespace, TrainingArguments]":
    """Own options (Namespace) and TrainingArguments; a UsageError for everything that cannot be done as asked."""
    options, rest = build_parser().parse_known_args(argv)
    if options.help_trainer:
        trainer_parser().print_help()
        raise SystemExit(0)
    if not rest:
        raise UsageError(NOTHING_TO_DO)
    rest += ["--use_cpu"] * options.no_cuda
    given = given_flags(rest)
    refuse_untried(given)
    refuse_settled(options, given)
    parsed = parse_training_arguments(rest)
    check_options(options, parsed)
    refuse_idle_groups(options, parsed)
    refuse_idle_listed_options(options, parsed)
    refuse_idle_crossfit_options(options, parsed)
    words = device_words(options, parsed, given)
    if not parsed.do_train and "--output_dir" not in given:
        words += ["--output_dir", beside_model(options.model)]
    return options, settled(parse_training_arguments(rest + words), "--bf16" in given or options.precision == BF16)


def settled(training_args: "TrainingArguments", asked_for_bf16: bool) -> "TrainingArguments":
    """TrainingArguments for one GPU of several, which say whether a model that fails in bf16 may have float32."""
    from datamap.options.precision import use_one_gpu

    training_args.precision_is_free = not asked_for_bf16
    use_one_gpu(training_args)
    return training_args


def given_flags(words: Sequence[str]) -> set[str]:
    """The flags among the words of a command line, as their names are written here (argparse takes - for _ as well)."""
    flags = (word.split("=")[0] for word in words if word.startswith("--"))
    return {"--" + flag[2:].replace("-", "_") for flag in flags}


def beside_model(model: str) -> str:
    """Where an evaluation goes unless told otherwise: to its model's directory, or the default where it has none."""
    directory = Path(model).expanduser()
    return str(directory) if model != defaults.DEMO_MODEL and directory.is_dir() else OUTPUT_DIR


def device_words(options: argparse.Namespace, parsed: "TrainingArguments", given: set[str]) -> list[str]:
    """What this device does well, in TrainingArguments' words: precision, and loading beside a GPU's work.

    Args:
        options: run.py's own options.
        parsed: TrainingArguments of the command line as it is.
        given: its flags.

    Raises:
        UsageError: --precision beside TrainingArguments' own flag, or bf16 on a GPU that has none.
    """
    own = sorted(given & {"--bf16", "--fp16"})
    if own and options.precision:
        raise UsageError(f"--precision {options.precision} and {own[0]} both say how to compute: leave one out.")
    if parsed.bf16_full_eval or parsed.fp16_full_eval:
        raise UsageError("--bf16_full_eval and --fp16_full_eval are not offered: give --precision bf16.")
    device = parsed.device
    if parsed.fp16 and device.type == "cpu":
        raise UsageError("--fp16 needs a GPU: give --precision bf16 or float32.")
    if device.type == "cuda":
        words = [word for flag, value in GPU_WORDS.items() if flag not in given for word in (flag, value)]
    else:
        words = ["--use_cpu"] * (device.type == "cpu")  # TrainingArguments take bf16 on a CPU only with this flag
    if own:
        return words
    from datamap.options.precision import settle_precision

    asked, trained = options.precision, None if parsed.do_train else trained_precision(options.model)
    if trained in (FP16, TF32) and not asked:
        return words + trained_words(trained, device)
    precision, why = settle_precision(asked or trained or AUTO, device)
    if trained and not asked:
        why = "the model was trained in it; --precision chooses"
    logger.info("Computing in %s: %s.", precision, why)
    return words + ["--bf16"] * (precision == BF16)


def refuse_untried(given: set[str]) -> None:
    """UsageError for ways to share a training among GPUs that this suite's steps do not fit."""
    asked = {flag for variable, flag in UNTRIED_VARIABLES.items() if os.environ.get(variable, "false") == "true"}
    for flag in sorted((given | asked) & UNTRIED.keys()):
        raise UsageError(f"{flag} is not offered, because {UNTRIED[flag]}: use torchrun without it.")


def trained_precision(model: str) -> str | None:
    """What a model of this suite was trained in, as settings name it; None for any other model."""
    trained = manifests.read_manifest(model).get("settings", {}).get("precision")
    return trained if trained in {*PRECISIONS, FP16, TF32} else None


def trained_words(trained: str, device: "torch.device") -> list[str]:
    """TrainingArguments' words for evaluating in fp16 or TF32, which the model was trained in; only GPUs have them."""
    if device.type != "cuda":
        logger.info("Computing in float32: the model was trained in %s, which needs a GPU.", trained)
        return []
    logger.info("Computing in %s: the model was trained in it; --precision chooses.", trained)
    return ["--fp16"] if trained == FP16 else ["--tf32", "true"]


def trainer_parser() -> Any:
    """Transformers' own parser of TrainingArguments with this script's defaults."""
    from transformers import HfArgumentParser, TrainingArguments

    parser = HfArgumentParser(TrainingArguments, prog="run.py", allow_abbrev=False)
    parser.set_defaults(**TRAINER_DEFAULTS)
    parser.error = parsing.usage_error
    return parser


def parse_training_arguments(argv: Sequence[str]) -> "TrainingArguments":
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
        raise UsageError(f"the training arguments do not fit together: {errors.one_line(error)}.") from error


def check_options(options: argparse.Namespace, training_args: "TrainingArguments") -> None:
    """Refuse, with a UsageError, every option that could not act."""
    given = {name for name in QA_ONLY if getattr(options, name) is not None and getattr(options, name) is not False}
    searches = given & {"n_best_size", "null_score_threshold", "save_nbest"}
    sizes = ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps")
    zero = [name for name in sizes if getattr(training_args, name) < 1]
    trains, evaluates, predicts = training_args.do_train, training_args.do_eval, training_args.do_predict
    needless = searches - {"null_score_threshold"} if predicts else searches
    for refused, sentence in (
        (not trains and not evaluates and not predicts, NOTHING_TO_DO),
        (
            predicts and (trains or evaluates),
            "--do_predict goes by itself: run it when training and evaluation are done.",
        ),
        (options.split and not predicts, "--split is for --do_predict: give --train_split or --eval_split."),
        (
            predicts and options.validation_fraction,
            "--validation_fraction is for training and evaluation: leave it out.",
        ),
        (options.task == "nli" and given, f"--{min(given, default='')} is for --task qa: leave it out."),
        (options.eval_dataset and not evaluates, "--eval_dataset needs --do_eval: add it."),
        (options.task == "qa" and options.label_map, "--label_map is for --task nli: leave it out."),
        (options.label_map and not evaluates, "--label_map acts in evaluation, never in training: add --do_eval."),
        (options.eval_split and not evaluates, "--eval_split needs --do_eval: add it."),
        (options.max_eval_samples and not evaluates, "--max_eval_samples needs --do_eval: add it."),
        (needless and not evaluates, f"--{min(needless, default='')} needs --do_eval: add it."),
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
        (options.early_stopping_patience and not trains, "--early_stopping_patience needs --do_train: add it."),
        (
            options.early_stopping_patience and not training_args.load_best_model_at_end,
            "--early_stopping_patience needs --load_best_model_at_end and an --eval_strategy, such as epoch: add them.",
        ),
        (options.micro_batch_tokens and not trains, "--micro_batch_tokens acts in training: add --do_train."),
        (options.max_train_samples and not trains, "--max_train_samples needs --do_train: add it."),
        (training_args.resume_from_checkpoint and not trains, "--resume_from_checkpoint needs --do_train: add it."),
        (
            options.validation_fraction and (options.eval_dataset or options.eval_split),
            "--validation_fraction holds out training rows, so it does not go with --eval_dataset or --eval_split.",
        ),
        (options.doc_stride is not None and options.doc_stride < 0, "--doc_stride must be at least 0 tokens."),
        (
            not training_args.accelerator_config.even_batches,
            '--accelerator_config {"even_batches": false} is not offered: leave it out.',
        ),
    ):
        if refused:
            raise UsageError(sentence)
    refuse_absent_reporters(training_args.report_to)


def refuse_idle_groups(options: argparse.Namespace, training_args: "TrainingArguments") -> None:
    """UsageError for groups of rows where no rows are held out; whether a split stands in for them is seen later."""
    may_hold_out = training_args.do_train and training_args.do_eval and not (options.eval_dataset or options.eval_split)
    if options.groups and not (options.cross_fit or options.validation_fraction or may_hold_out):
        raise UsageError(
            "--groups acts where rows are held out: add --validation_fraction or --cross_fit, or leave it out."
        )


def refuse_absent_reporters(names: Sequence[str]) -> None:
    """UsageError where --report_to names nothing that Transformers reports to, or a package that is not installed."""
    from transformers.integrations import get_available_reporting_integrations
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, is_flytekit_available

    there = [*get_available_reporting_integrations(), *["flyte"] * is_flytekit_available()]
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            known = ", ".join(sorted(INTEGRATION_TO_CALLBACK))
            raise UsageError(f"--report_to {name} is not known: choose all, none or some of {known}.")
        if name not in there:
            raise UsageError(
                f"--report_to {name} needs the package of {name}, which is not installed (or too old): install it, or "
                "leave the flag out."
            )
