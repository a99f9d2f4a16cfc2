"""With two GPUs: a plain run takes one; two processes under NCCL train, evaluate and embed as one does."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from accept_inputs import NO_DROPOUT, Place, save_model
from acceptance import Finding, within

ROOT = Path(__file__).resolve().parents[1]
TORCHRUN = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29571"]
COMMON = ["--dataset", "demo", "--max_length", "384", "--precision", "float32"]
QUIET = ["--report_to", "none", "--disable_tqdm", "true", "--overwrite_output_dir"]
STEP_BOUND, FIGURES_BOUND, VECTORS_BOUND = 2e-5, 1e-4, 1e-5


def output(place: Place, name: str) -> Path:
    """Where a command writes."""
    return place.runs_dir / "processes" / name


def run(place: Place, name: str, launcher: list[str], script: str, words: list) -> str:
    """What a command says on stderr.

    Raises:
        RuntimeError: it failed; with its last words.
    """
    command = [sys.executable, *launcher, str(ROOT / script), *map(str, words), "--output_dir", output(place, name)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"exit code {answer.returncode}: {answer.stderr[-800:]}")
    return answer.stderr


def model(place: Place) -> Path:
    """ELECTRA-small without dropout."""
    return save_model("ELECTRA-small", output(place, "model"), **NO_DROPOUT)


def check_plain(place: Place) -> Finding:
    """A run without torchrun takes one GPU and says so."""
    words = ["--do_train", "--model", model(place), "--max_train_samples", 64, "--max_steps", 2, *COMMON, *QUIET]
    said = [line for line in run(place, "plain", [], "run.py", words).splitlines() if line.startswith("Using one of")]
    return Finding(len(said) == 1, said[0] if said else "nothing was said of the GPUs that are not used")


def check_step(place: Place) -> Finding:
    """A step of 2 x 8 rows is that of 16."""
    plain = ["--optim", "sgd", "--learning_rate", 1, "--lr_scheduler_type", "constant", "--max_grad_norm", 0]
    plain += ["--max_steps", 1, "--train_sampling_strategy", "sequential", "--max_train_samples", 16]
    words = ["--do_train", "--model", model(place), *plain, *COMMON, *QUIET, "--per_device_train_batch_size"]
    run(place, "step_1", [], "run.py", [*words, 16])
    run(place, "step_2", TORCHRUN, "run.py", [*words, 8])
    one, two = (load_file(output(place, name) / "model.safetensors") for name in ("step_1", "step_2"))
    return within({"largest difference": max(float(np.abs(one[k] - two[k]).max()) for k in one)}, STEP_BOUND)


def check_evaluation(place: Place) -> Finding:
    """The same figures from one process and from two."""
    words = ["--do_train", "--model", model(place), "--max_train_samples", 64, "--max_steps", 8, *COMMON, *QUIET]
    run(place, "trained", [], "run.py", words)
    words = ["--do_eval", "--model", output(place, "trained"), "--max_eval_samples", 151, *COMMON, *QUIET]
    found = []
    for name, launcher in (("eval_1", []), ("eval_2", TORCHRUN)):
        run(place, name, launcher, "run.py", words)
        found.append(json.loads((output(place, name) / "eval_metrics.json").read_text(encoding="utf-8")))
    names = ("eval_loss", "eval_f1", "eval_exact_match")
    return within({name: abs(found[0][name] - found[1][name]) for name in names}, FIGURES_BOUND)


def check_embeddings(place: Place) -> Finding:
    """The same vectors from one process and from two."""
    words = ["--model_path", model(place), "--max_samples", 301, *COMMON]
    for name, launcher in (("vectors_1", []), ("vectors_2", TORCHRUN)):
        run(place, name, launcher, "extract_embeddings.py", words)
    one, two = (np.load(output(place, name) / "embeddings.npy") for name in ("vectors_1", "vectors_2"))
    return within({"largest difference": float(np.abs(one - two).max())}, VECTORS_BOUND)


CHECKS = {
    "plain run": (check_plain, 2),
    "step": (check_step, 2),
    "evaluation": (check_evaluation, 2),
    "embeddings": (check_embeddings, 2),
}
