"""Quality beside speed: the same training in float32 and in bf16 with several seeds, and its exact match and F1.

    python benchmarks/quality.py --dataset train.json --eval_dataset dev.json --runs_dir runs

A run that the folder already holds, finished, is not trained again, so a measurement can be stopped and gone on with.
Reads: the data sets. Writes: a folder for every run, named by precision and seed; the table to stdout.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import helpers  # noqa: E402
from datamap.errors import DataError  # noqa: E402
from datamap.files import manifests, outputs  # noqa: E402
from datamap.options import parsing  # noqa: E402

PRECISIONS, SEEDS = ("float32", "bf16"), (42, 43, 44)
FIGURES = {"eval_exact_match": "exact match", "eval_f1": "F1"}
ASKED = ("model", "dataset", "eval_dataset")
SETTINGS = {
    "num_train_epochs": 2,
    "per_device_train_batch_size": 16,
    "learning_rate": 5e-5,
    "max_length": 384,
    "max_answer_length": 30,
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of the measurement's options."""
    parser = parsing.SentenceParser(prog="quality.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", metavar="NAME", default="demo", help="as for run.py (default: demo)")
    add("--dataset", metavar="NAME", required=True, help="to train on, as for run.py")
    add("--eval_dataset", metavar="NAME", required=True, help="to evaluate on, as for run.py")
    add("--runs_dir", metavar="DIR", type=Path, required=True, help="where the runs are, or are to be")
    add("--seeds", metavar="N", type=parsing.whole, nargs="+", default=SEEDS, help="(default: 42 43 44)")
    return parser


def finish(options: argparse.Namespace, precision: str, seed: int) -> dict[str, float]:
    """The figures of one run, which is trained now where the folder does not hold it.

    Raises:
        DataError: the run there has other settings, or the training failed.
    """
    directory = options.runs_dir / f"{precision}_{seed}"
    if not manifests.has_manifest(directory):
        words = [f"--{name}={value}" for name, value in (SETTINGS | {"precision": precision, "seed": seed}).items()]
        words += [f"--{name}={getattr(options, name)}" for name in ASKED]
        words += ["--do_train", "--do_eval", "--save_strategy=no", f"--output_dir={directory}"]
        if subprocess.run([sys.executable, str(ROOT / "run.py"), *words], stdout=sys.stderr, check=False).returncode:
            raise DataError(f"the run in {directory} failed; its own words are above.")
    manifest = manifests.read_manifest(directory)
    held = manifest["training_arguments"] | manifest["arguments"] | {"precision": manifest["settings"]["precision"]}
    asked = {name: getattr(options, name) for name in ASKED}
    for name, value in (SETTINGS | asked | {"precision": precision, "seed": seed}).items():
        if held[name] != value:
            raise DataError(f"{directory} holds a run with --{name} {held[name]}, not {value}: remove it.")
    figures = outputs.read_json(directory / outputs.EVAL_METRICS)
    return {shown: figures[name] for name, shown in FIGURES.items()}


def table(found: dict[str, list[dict[str, float]]], seeds: Sequence[int]) -> str:
    """A line for every run, and for every precision the mean and the standard deviation over its seeds."""
    lines = [f"| precision | seed | {' | '.join(FIGURES.values())} |", "|---|---|---|---|"]
    for precision, runs in found.items():
        for seed, run in zip(seeds, runs, strict=True):
            lines.append(f"| {precision} | {seed} | {' | '.join(f'{value:.2f}' for value in run.values())} |")
        cells = []
        for name in FIGURES.values():
            values = [run[name] for run in runs]
            spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.2f}{spread}")
        lines.append(f"| {precision} | mean ± standard deviation | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Train what is missing, seed by seed, and print the table."""
    options = build_parser().parse_args(argv)
    found: dict[str, list[dict[str, float]]] = {precision: [] for precision in PRECISIONS}
    for seed in options.seeds:
        for precision in PRECISIONS:
            found[precision].append(finish(options, precision, seed))
    print(table(found, options.seeds))


if __name__ == "__main__":
    sys.exit(helpers.run_script(main))
