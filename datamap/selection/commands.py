"""commands.sh: a training and evaluation for every arm and seed on the recording's own data set and hold-out."""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

# Arguments of run.py that a training of an arm shares with the recording, and those of TrainingArguments.
SHARED = ("task", "model", "ablations", "dataset", "eval_dataset", "train_split", "eval_split", "groups", "max_length",
          "doc_stride", "max_answer_length", "null_score_threshold", "precision", "micro_batch_tokens",
          "example_weights", "example_smoothing")  # fmt: skip
TRAINING = ("learning_rate", "per_device_train_batch_size", "weight_decay", "warmup_steps", "warmup_ratio",
            "lr_scheduler_type", "lr_scheduler_kwargs", "optim", "optim_args", "adam_beta1", "adam_beta2",
            "adam_epsilon", "max_grad_norm", "label_smoothing_factor")  # fmt: skip
PAIRS = ("columns", "label_map")
PATHS = {"model", "dataset", "eval_dataset", "groups", "example_weights", "example_smoothing"}


def rows_in_step(manifest: dict) -> int:
    """Windows of an optimizer step of the recording, in all its processes."""
    args = manifest["training_arguments"]
    in_one = args["per_device_train_batch_size"] * args["gradient_accumulation_steps"]
    return manifest.get("identity", {}).get("rows in a step", in_one)


def n_steps(n_rows: float, windows_per_row: float, rows_in_step: int, n_epochs: float) -> int:
    """Optimizer steps of `n_epochs` over `n_rows` rows that have the data set's mean number of windows."""
    return max(1, math.ceil(n_epochs * math.ceil(n_rows * windows_per_row / rows_in_step)))


def words_of(names: Sequence[str], given: Mapping) -> list[str]:
    """Options with the values that they were given; paths that are there become absolute."""
    words = []
    for name in names:
        value = given.get(name)
        if value is None or value == {}:
            continue
        path = Path(str(value)).expanduser()
        if name in PATHS and path.exists():
            value = path.resolve()
        words += [f"--{name}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return words


def shared_words(manifest: dict) -> list[str]:
    """The words of run.py that every arm's training has from the recording."""
    # Its default would follow from the rows that each arm is trained on.
    length = manifest.get("settings", {}).get("max_answer_length")
    arguments = manifest["arguments"] | ({"max_answer_length": length} if length else {})
    args = manifest["training_arguments"]
    words = words_of(SHARED, arguments) + words_of(TRAINING, args)
    accumulated = rows_in_step(manifest) // args["per_device_train_batch_size"]
    words += ["--gradient_accumulation_steps", str(accumulated)]
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
) -> str:
    """The text of commands.sh; without rows to evaluate on it trains alone, since holding some out would take others.

    Args:
        selected: arm and seed of every row of every training.
        length: words that say how long is trained.
        suite: the directory that run.py lies in.
        weights: file of weights beside commands.sh by the arm that is trained with it.
        evaluates: whether there are rows to evaluate on that no arm trains on.
    """
    lines = [
        "#!/bin/sh",
        "# Train and evaluate every arm; start it from anywhere: it works beside this file.",
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
        lines.append(shlex.join(["python", str(suite / "run.py"), *work, *shared, *length, *own]))
    arms = {arm for arm, _ in runs}
    if "random" in arms and len(arms) > 1 and evaluates:
        named = [f"{arm}=runs/{arm}_{seed}" for arm, seed in runs]
        compare = ["python", str(suite / "compare_runs.py"), "--runs", *named, "--control", "random"]
        lines.append(shlex.join([*compare, "--output_dir", "comparison"]))
    return "\n".join(lines) + "\n"
