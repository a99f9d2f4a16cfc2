"""What a split by question is worth beside one by note: one model, one recipe, the same rows, over seeds.

    python benchmarks/audit_inflation.py --seeds 1 2 3 --output FILE.json

The questions of the demo (training and validation together) are split twice: at random, so that both sides have the
same notes, and by whole notes. On each, run.py trains and evaluates, and audit_dataset.py says how much was seen.
Writes: a table to stdout, and FILE.json with FILE.md beside it.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from datamap.demo.data import make_demo  # noqa: E402
from datamap.files import outputs  # noqa: E402
from tables import markdown, write  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
N_EVALUATED = 300


def split_rows(rows: list[dict], by: str, seed: int) -> tuple[list[dict], list[dict]]:
    """(training rows, about 300 rows to evaluate), by question or by note."""
    rng = np.random.default_rng(seed)
    if by == "question":
        order = rng.permutation(len(rows))
        taken = set(order[:N_EVALUATED].tolist())
    else:
        notes = list(dict.fromkeys(row["context"] for row in rows))
        taken = set()
        for note in rng.permutation(len(notes)):
            if len(taken) < N_EVALUATED:
                taken |= {number for number, row in enumerate(rows) if row["context"] == notes[note]}
    sides = [[row for number, row in enumerate(rows) if (number in taken) == side] for side in (False, True)]
    return sides[0], sides[1]


def measured(rows: list[dict], by: str, seed: int) -> dict:
    """The figures of one split and seed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [folder / "train.jsonl", folder / "dev.jsonl"]
        for file, side in zip(files, split_rows(rows, by, seed), strict=True):
            outputs.write_jsonl(file, side)
        data = ["--dataset", str(files[0]), "--eval_dataset", str(files[1])]
        model = folder / "model"
        training = ["--do_train", "--do_eval", "--model", "demo", "--seed", str(seed), "--output_dir", str(model)]
        audit = ["--predictions", str(model / outputs.EVAL_PREDICTIONS), "--output_dir", str(folder / "audit")]
        for command in (["run.py", *training, *data], ["audit_dataset.py", *audit, *data]):
            subprocess.run([sys.executable, str(ROOT / command[0]), *command[1:]], check=True, capture_output=True)
        found = outputs.read_json(folder / "audit" / "audit.json")
    scores = {row["rows"]: row for row in found["scores"]}
    return {"split by": by, "seed": seed, "evaluated rows": scores["all"]["n_rows"],
            "about a context of training": f"{found['leading']['context']:.1%}",
            "EM": scores["all"]["em"], "F1": scores["all"]["f1"]}  # fmt: skip


def told(rows: list[dict]) -> str:
    """The rows as a table, and the means by split."""
    means = {by: np.mean([row["EM"] for row in rows if row["split by"] == by]) for by in ("question", "note")}
    return f"{markdown(rows, 2)}\nMean EM {means['question']:.2f} by question, {means['note']:.2f} by note.\n"


def main() -> None:
    """Split, train, evaluate, audit, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of splits and trainings (1 2 3)")
    parser.add_argument("--output", type=Path, help="file for the numbers, .json; the table lies beside it as .md")
    options = parser.parse_args()
    demo = make_demo("")
    rows = [row for split in demo.values() for row in split]
    found = [measured(rows, by, seed) for seed in options.seeds for by in ("question", "note")]
    write(options.output, found, told(found))


if __name__ == "__main__":
    main()
