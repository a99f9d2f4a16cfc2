"""commands.sh: a training and evaluation for every arm and seed on the recording's own data set and hold-out."""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import pandas as pd

from datamap.files.manifests import EVAL_MANIFEST, MANIFEST

# Arguments of run.py that a training of an arm shares with the recording, and those of TrainingArguments.
SHARED = ("task", "model", "ablations", "dataset", "eval_dataset", "train_split", "eval_split", "groups", "max_length",
          "doc_stride", "max_answer_length", "null_score_threshold", "micro_batch_tokens", "example_weights",
          "example_smoothing")  # fmt: skip
TRAINING = ("learning_rate", "per_device_train_batch_size", "weight_decay", "warmup_steps", "warmup_ratio",
            "lr_scheduler_type", "lr_scheduler_kwargs", "optim", "optim_args", "optim_target_modules", "adam_beta1",
            "adam_beta2", "adam_epsilon", "max_grad_norm", "label_smoothing_factor", "neftune_noise_alpha", "data_seed",
            "train_sampling_strategy", "dataloader_drop_last")  # fmt: skip
# Of the recording's precision (a setting) as words; what it was by itself, the arms are asked for.
PRECISIONS = {"bf16": ["--precision", "bf16"], "float32": ["--precision", "float32"], "fp16": ["--fp16"],
              "tf32": ["--tf32", "true"]}  # fmt: skip
PAIRS = ("columns", "label_map")
DEMO = "demo"  # before any path of this name
PATHS = {"model", "dataset", "eval_dataset", "groups", "example_weights", "example_smoothing"}


def rows_in_step(manifest: dict) -> int:
    """Windows of an optimizer step of the recording, in all its processes."""
    args = manifest["training_arguments"]
    in_one = args["per_device_train_batch_size"] * args["gradient_accumulation_steps"]
    return manifest.get("identity", {}).get("rows in a step", in_one)


def n_steps(n_rows: int, windows: Sequence[int], rows_in_step: int, n_epochs: float) -> int:
    """Optimizer steps of `n_epochs` over `n_rows` rows that have the mean number of `windows`; at least one.

    Exact: as decimals and fractions, since a rounded product would be a step too many.
    """
    in_epoch = math.ceil(Fraction(n_rows * sum(windows), len(windows) * rows_in_step))
    return max(1, math.ceil(Fraction(str(n_epochs)) * in_epoch))


def words_of(names: Sequence[str], given: Mapping) -> list[str]:
    """Options with the values that they were given; paths that are there become absolute."""
    words = []
    for name in names:
        value = given.get(name)
        if value is None or value in ({}, []):
            continue
        path = Path(str(value)).expanduser()
        if name in PATHS and path.exists() and str(value).partition(":")[0] != DEMO:
            value = path.resolve()
        listed = value if isinstance(value, list) else [value]
        words += [f"--{name}", *(json.dumps(one) if isinstance(one, dict) else str(one) for one in listed)]
    return words


def shared_words(manifest: dict) -> list[str]:
    """The words of run.py that every arm's training has from the recording."""
    # Its default would follow from the rows that each arm is trained on.
    settings = manifest.get("settings", {})
    length = settings.get("max_answer_length")
    arguments = manifest["arguments"] | ({"max_answer_length": length} if length else {})
    args = manifest["training_arguments"]
    words = words_of(SHARED, arguments) + words_of(TRAINING, args)
    accumulated = rows_in_step(manifest) // args["per_device_train_batch_size"]
    words += ["--gradient_accumulation_steps", str(accumulated), "--save_strategy", "no"]
    words += PRECISIONS.get(settings.get("precision"), [])
    words += ["--no_cuda"] if arguments.get("no_cuda") else []
    held_out = manifest["data"]["train"].get("held_out")
    words += ["--validation_fraction", str(held_out)] if held_out else []
    for name in PAIRS:
        pairs = [f"{key}={value}" for key, value in (manifest["arguments"].get(name) or {}).items()]
        words += [f"--{name}", *pairs] if pairs else []
    return words


def script(
    manifest: dict,
    selected: pd.DataFrame,
    length: list[str],
    suite: Path,
    *,
    weights: Mapping[str, str],
    evaluates: bool,
    allows: Sequence[str],
) -> str:
    """The text of commands.sh; without rows to evaluate on it trains alone, since holding some out would take others.

    Started again, it leaves out what has ended.

    Args:
        selected: arm and seed of every row of every training.
        length: words that say how long is trained.
        suite: the directory that run.py lies in.
        weights: file of weights beside commands.sh by the arm that is trained with it.
        evaluates: whether there are rows to evaluate on that no arm trains on.
        allows: kinds of differences that the comparison is to let through.
    """
    lines = [
        "#!/bin/sh",
        "# Train and evaluate every arm; start it from anywhere: it works beside this file. Started again, it goes on.",
        "set -e",
        'cd "$(dirname "$0")"',
    ]
    shared = shared_words(manifest)
    work = ["--do_train", "--do_eval"] if evaluates else ["--do_train"]
    runs = list(dict.fromkeys(zip(selected["arm"], selected["seed"].tolist(), strict=True)))
    for arm, seed in runs:
        name = f"{arm}_{seed}"
        own = ["--train_ids", f"ids/{name}.txt", "--seed", str(seed), "--output_dir", f"runs/{name}"]
        own += ["--example_weights", weights[arm]] if arm in weights else []
        closing = EVAL_MANIFEST if evaluates else MANIFEST
        command = shlex.join(["python", str(suite / "run.py"), *work, *shared, *length, *own, "--overwrite_output_dir"])
        lines.append(f"test -e runs/{name}/{closing} || {command}")
    arms = {arm for arm, _ in runs}
    if "random" in arms and len(arms) > 1 and evaluates:
        named = [f"{arm}=runs/{arm}_{seed}" for arm, seed in runs]
        compare = ["python", str(suite / "compare_runs.py"), "--runs", *named, "--control", "random"]
        allowed = ["--allow", *allows] if allows else []
        lines.append(shlex.join([*compare, *allowed, "--output_dir", "comparison"]))
    return "\n".join(lines) + "\n"
