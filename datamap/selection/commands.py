"""commands.sh: a training and evaluation for every arm and seed on the recording's own data set and hold-out."""

import math
import shlex
from pathlib import Path

# Arguments of run.py that a training of an arm shares with the recording, and those of TrainingArguments.
SHARED = ("task", "model", "ablations", "dataset", "eval_dataset", "train_split", "eval_split", "groups", "max_length",
          "doc_stride", "max_answer_length", "null_score_threshold", "precision")  # fmt: skip
TRAINING = ("learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "weight_decay",
            "warmup_steps", "lr_scheduler_type")  # fmt: skip
PATHS = {"model", "dataset", "eval_dataset", "groups"}


def n_steps(n_rows: int, windows_per_row: float, rows_in_step: int, n_epochs: float) -> int:
    """Optimizer steps of `n_epochs` over `n_rows` rows that have the data set's mean number of windows."""
    return max(1, math.ceil(n_epochs * math.ceil(n_rows * windows_per_row / rows_in_step)))


def shared_words(manifest: dict) -> list[str]:
    """The words of run.py that every arm's training has from the recording; paths that are there become absolute."""
    words = []
    # Its default would follow from the rows that each arm is trained on.
    length = manifest.get("settings", {}).get("max_answer_length")
    arguments = manifest["arguments"] | ({"max_answer_length": length} if length else {})
    for names, given in ((SHARED, arguments), (TRAINING, manifest["training_arguments"])):
        for name in names:
            value = given.get(name)
            path = Path(str(value)).expanduser()
            if value is not None:
                words += [f"--{name}", str(path.resolve()) if name in PATHS and path.exists() else str(value)]
    held_out = manifest["data"]["train"].get("held_out")
    words += ["--validation_fraction", str(held_out)] if held_out else []
    columns = [f"{role}={name}" for role, name in (manifest["arguments"].get("columns") or {}).items()]
    return words + (["--columns", *columns] if columns else [])


def script(
    manifest: dict, arms: list[str], seeds: list[int], length: list[str], suite: Path, *, evaluates: bool
) -> str:
    """The text of commands.sh; without rows to evaluate on it trains alone, since holding some out would take others.

    Args:
        length: words that say how long is trained.
        suite: the directory that run.py lies in.
        evaluates: whether there are rows to evaluate on that no arm trains on.
    """
    lines = [
        "#!/bin/sh",
        "# Train and evaluate every arm; start it from anywhere: it works beside this file.",
        "set -e",
    ]
    lines.append('cd "$(dirname "$0")"')
    shared = shared_words(manifest)
    work = ["--do_train", "--do_eval"] if evaluates else ["--do_train"]
    for arm in arms:
        for seed in seeds:
            name = f"{arm}_{seed}"
            own = ["--train_ids", f"ids/{name}.txt", "--seed", str(seed), "--output_dir", f"runs/{name}"]
            lines.append(shlex.join(["python", str(suite / "run.py"), *work, *shared, *length, *own]))
    if "random" in arms and len(arms) > 1 and evaluates:
        runs = [f"{arm}=runs/{arm}_{seed}" for arm in arms for seed in seeds]
        compare = ["python", str(suite / "compare_runs.py"), "--runs", *runs, "--control", "random"]
        lines.append(shlex.join([*compare, "--output_dir", "comparison"]))
    return "\n".join(lines) + "\n"
