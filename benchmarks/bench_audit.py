"""Auditing large made-up data: seconds and peak memory of audit_dataset.py from the file to the manifest.

    python benchmarks/run_benchmarks.py --only audit --json audit.json

Two sizes, each once: 131,000 questions on 5,000 contexts of 50 to 400 words, filled from templates (the shape of the
default data), and 100,000 questions each on a context of its own of 300 words. Contexts are drawn words with Zipf's
frequencies; every hundredth is an excerpt of another.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import timing

ROOT = Path(__file__).resolve().parents[1]
N_WORDS, SEED = 50_000, 0
# Rows, contexts, least and most words of a context.
SIZES = {"131,000 questions on 5,000 contexts": (131_000, 5_000, 50, 400),
         "100,000 contexts of 300 words": (100_000, 100_000, 300, 300)}  # fmt: skip
TEMPLATES = tuple(
    f"What is the {name} of {{}} in this record?" for name in ("dose", "reason", "date", "result", "course")
)


def contexts(n_contexts: int, least: int, most: int, rng: np.random.Generator) -> list[list[str]]:
    """Made-up contexts as words; every hundredth is an excerpt of the one before."""
    words = np.array([f"word{number}" for number in range(N_WORDS)])
    shares = 1 / np.arange(1, N_WORDS + 1)
    lengths = rng.integers(least, most + 1, n_contexts)
    drawn = words[rng.choice(N_WORDS, int(lengths.sum()), p=shares / shares.sum())]
    found = [part.tolist() for part in np.split(drawn, np.cumsum(lengths)[:-1])]
    for number in range(1, n_contexts, 100):
        found[number] = found[number - 1][: len(found[number - 1]) // 2]
    return found


def write_rows(path: Path, n_rows: int, n_contexts: int, least: int, most: int) -> None:
    """A JSON Lines file of that shape."""
    rng = np.random.default_rng(SEED)
    made = contexts(n_contexts, least, most, rng)
    with path.open("w", encoding="utf-8") as file:
        for row in range(n_rows):
            words = made[row % n_contexts]
            place = int(rng.integers(len(words)))
            question = TEMPLATES[row % len(TEMPLATES)].format(words[int(rng.integers(len(words)))])
            start = len(" ".join(words[:place])) + (place > 0)
            answers = {"text": [words[place]], "answer_start": [start]}
            line = {"id": str(row), "context": " ".join(words), "question": question, "answers": answers}
            file.write(json.dumps(line) + "\n")


def measure(options: argparse.Namespace) -> list[timing.Row]:
    """A row a size: audited as nine tenths for training and a tenth for evaluation."""
    found = []
    for name, (n_rows, *shape) in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            whole, first, second = (Path(folder) / file for file in ("all.jsonl", "train.jsonl", "eval.jsonl"))
            write_rows(whole, n_rows, *shape)
            lines = whole.read_text(encoding="utf-8").splitlines(keepends=True)
            first.write_text("".join(lines[: 9 * n_rows // 10]), encoding="utf-8")
            second.write_text("".join(lines[9 * n_rows // 10 :]), encoding="utf-8")
            command = [sys.executable, str(ROOT / "audit_dataset.py"), "--dataset", str(first)]
            command += ["--eval_dataset", str(second), "--output_dir", str(Path(folder) / "audit")]
            done = timing.run_command(command)
        note = f"measured once, peak memory {done.megabytes:,.0f} MB"
        found.append(timing.Row(f"audit, {name}", "audit_dataset.py", (done.seconds,), n_rows, "rows", note))
    return found
