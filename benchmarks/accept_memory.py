"""With nearly all of the card's memory held back: a sentence, and no traceback, from every script that computes."""

import concurrent.futures
import subprocess
import sys
from pathlib import Path

from accept_inputs import Place, save_model
from acceptance import Finding

ROOT = Path(__file__).resolve().parents[1]
SHAPE = "BERT-base"
# Of the card's memory: too little for large batches, for the optimizer's state, and for the weights.
LITTLE, LESS, NEXT_TO_NOTHING = 0.02, 0.008, 0.002
LAUNCH = """
import sys
sys.path.insert(0, {root!r})
import torch
torch.cuda.set_per_process_memory_fraction({share})
import helpers, {script}
sys.argv[0] = {script!r} + ".py"
sys.exit(helpers.run_script({script}.main))
"""


def ended(place: Place, name: str, script: str, share: float, words: list) -> tuple[int, list[str]]:
    """(exit code, lines on stderr) of a script that may use this share of the card's memory."""
    program = LAUNCH.format(root=str(ROOT), share=share, script=script)
    command = [sys.executable, "-c", program, *map(str, words), "--output_dir", str(place.runs_dir / "memory" / name)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    (place.runs_dir / "memory" / f"{name}.txt").write_text(answer.stderr, encoding="utf-8")
    return answer.returncode, [line for line in answer.stderr.splitlines() if line.strip()]


def judged(name: str, code: int, lines: list[str]) -> tuple[bool, str]:
    """Whether a script that failed said one sentence, or one that went on said that it took smaller batches."""
    errors = [line for line in lines if line.startswith("error")]
    if any("Traceback" in line for line in lines):
        return False, f"{name}: a traceback ({lines[-1][:200]})"
    if code == 0:
        halved = [line for line in lines if "batches of" in line and "memory" in line]
        return len(halved) == 1, f"{name}: went on ({'; '.join(halved) or 'and said nothing'})"
    return len(errors) == 1 and "memory" in errors[0], f"{name}: {'; '.join(errors) or lines[-1][:200]}"


def check_sentences(place: Place) -> Finding:
    """run.py, evaluation, --auto_find_batch_size and extract_embeddings.py."""
    model = save_model(SHAPE, place.runs_dir / "memory" / "model")
    data = ["--dataset", "demo", "--max_length", "384", "--report_to", "none", "--disable_tqdm", "true"]
    train = ["--do_train", "--model", model, *data, "--max_train_samples", "256", "--per_device_train_batch_size", "64"]
    train += ["--overwrite_output_dir", "--micro_batch_tokens", "1000000"]
    embed = ["--model_path", model, "--dataset", "demo", "--max_length", "384", "--batch_tokens", "1000000"]
    jobs = {
        "training": ("run", LITTLE, train),
        "moving the model": ("run", NEXT_TO_NOTHING, train),
        "finding a batch size": ("run", LESS, [*train, "--auto_find_batch_size"]),
        "embedding": ("extract_embeddings", LITTLE, embed),
        "embedding next to nothing": ("extract_embeddings", NEXT_TO_NOTHING, embed),
    }
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        waiting = {name: pool.submit(ended, place, name.replace(" ", "_"), *job) for name, job in jobs.items()}
        found = [judged(name, *job.result()) for name, job in waiting.items()]
    return Finding(all(right for right, _ in found), " // ".join(words for _, words in found))


CHECKS = {"sentences": (check_sentences, 1)}
