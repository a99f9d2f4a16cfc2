"""run.py with --full_determinism: the same weights, byte for byte, whatever else it does and whether it was killed."""

import concurrent.futures
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from accept_inputs import Place, save_model
from acceptance import Finding

ROOT = Path(__file__).resolve().parents[1]
POLL_SECONDS, KILL_LIMIT = 0.01, 120


def command(place: Place, name: str, *more: str) -> list[str]:
    """run.py's command line for a deterministic training into a directory of its own."""
    model = place.runs_dir / "repeats" / "model"
    steps, rows = place.some(60, 12), place.some(96, 16)
    words = ["--do_train", "--dataset", "demo", "--model", model, "--full_determinism", "--max_steps", steps]
    words += ["--max_train_samples", rows, "--max_length", place.max_length, "--save_strategy", "steps"]
    words += ["--save_steps", steps // 4, "--logging_steps", steps, "--report_to", "none", "--disable_tqdm", "true"]
    words += ["--doc_stride", place.max_length // 4, "--output_dir", output(place, name), "--overwrite_output_dir"]
    return [sys.executable, str(ROOT / "run.py"), *map(str, words), *more]


def output(place: Place, name: str) -> Path:
    """Where a training is written."""
    return place.runs_dir / "repeats" / name


def run(words: list[str]) -> None:
    """Run to the end.

    Raises:
        RuntimeError: it failed; with its last words.
    """
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"exit code {answer.returncode}: {answer.stderr[-800:]}")


def recorded(place: Place, name: str) -> tuple[str, ...]:
    """The options that record a training."""
    return "--enable_cartography", "--cartography_output_dir", str(place.runs_dir / "repeats" / f"{name}_map")


def kill_and_resume(place: Place, name: str) -> None:
    """Kill a training with its first checkpoint, then resume it."""
    words = command(place, name, *recorded(place, name))
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    begin = time.perf_counter()
    while not list(output(place, name).glob("checkpoint-*/trainer_state.json")):
        if process.poll() is not None or time.perf_counter() - begin > KILL_LIMIT:
            break
        time.sleep(POLL_SECONDS)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if (output(place, name) / "manifest.json").is_file():
        raise RuntimeError("the training ended before it was killed")
    words.remove("--overwrite_output_dir")
    run([*words, "--resume_from_checkpoint", "last"])


def check_weights(place: Place) -> Finding:
    """With and without recording, with 0 and 2 workers, killed and resumed."""
    save_model(place.shape, place.runs_dir / "repeats" / "model")
    workers = "--dataloader_num_workers"
    runs = {
        "plain": command(place, "plain", workers, "0"),
        "recorded": command(place, "recorded", workers, "0", *recorded(place, "recorded")),
        "2_workers": command(place, "2_workers", workers, "2"),
    }
    n_beside = max(1, (os.cpu_count() or 1) // 4)
    with concurrent.futures.ThreadPoolExecutor(n_beside) as pool:
        waiting = [pool.submit(run, words) for words in runs.values()]
        waiting.append(pool.submit(kill_and_resume, place, "resumed"))
        for job in waiting:
            job.result()
    names = [*runs, "resumed"]
    hashes = {n: hashlib.sha256((output(place, n) / "model.safetensors").read_bytes()).hexdigest()[:12] for n in names}
    listed = ", ".join(f"{name} {digest}" for name, digest in hashes.items())
    return Finding(len(set(hashes.values())) == 1, f"SHA-256 of the weights: {listed}", hashes)


CHECKS = {"weights": (check_weights, 0)}
