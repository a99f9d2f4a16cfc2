"""Measure the suite against the usual recipes, side by side on this machine, and print a table.

    uv run benchmarks/run_benchmarks.py --only features --json features.json

Every item has its usual way first; variants take turns, five times each or more (--quick: twice), and the table gives
the median, the least and the most seconds, the speed and the ratio to the usual way. What takes minutes (the chain,
clusters of 50,000 rows and more) is measured once, and its line says so. Lines come as soon as they are known, and
stderr says how long the rest of an item will take. Reads: the data set (default: the built-in demo).
Writes: stdout, and with --json every single time and the machine, and the table beside it as .md.
"""

import argparse
import datetime
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import helpers  # noqa: E402
import timing  # noqa: E402
from datamap.errors import UsageError  # noqa: E402
from datamap.files import outputs  # noqa: E402
from datamap.options import parsing  # noqa: E402
from inputs import questions  # noqa: E402

# Each is measured by the function `measure(options)` of a module beside this one, which gives timing.Rows.
ITEMS = {
    "ceilings": "bench_ceilings",
    "features": "bench_features",
    "spans": "bench_spans",
    "training": "bench_training",
    "recording": "bench_recording",
    "embeddings": "bench_embeddings",
    "metrics": "bench_metrics",
    "clusters": "bench_clusters",
    "report": "bench_report",
    "review": "bench_review",
    "audit": "bench_audit",
    "chain": "bench_chain",
}


QUICK = ("features", "spans", "training", "embeddings", "metrics")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the benchmark's options."""
    parser = parsing.SentenceParser(prog="run_benchmarks.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--only", nargs="+", choices=ITEMS, metavar="NAME", help=f"items to measure, of {', '.join(ITEMS)} (all)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where models run (default: cpu)")
    text = "write every time, and the machine, as JSON, and the table beside it as .md"
    add("--json", metavar="FILE", type=Path, help=text)
    text = "questions for features, spans, training, recording and embeddings, as for run.py (default: demo)"
    add("--dataset", metavar="NAME", default="demo", help=text)
    text = "fewer and shorter repeats, of the items that this leaves within ten minutes on two cores: "
    add("--quick", action="store_true", help=text + ", ".join(QUICK))
    return parser


def main(argv: Sequence[str]) -> None:
    """Measure item after item, print the table, write the files.

    Raises:
        UsageError: there is no such device.
        DataError: the data set cannot be read, or the file cannot be written.
    """
    options = build_parser().parse_args(argv)
    if options.json and options.json.suffix == ".md":
        raise UsageError(f"--json {options.json}: the table goes into a file of this name: end it in .json.")
    check_device(options.device)
    questions(options.dataset)  # what cannot be read is said before anything is measured
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users have compiled bytecode
    if options.quick:
        timing.REPEATS = timing.QUICK_REPEATS
    rows: list[timing.Row] = []
    write_results(options, rows)
    print(f"{described(options)}\n\n" + "\n".join(timing.HEAD), flush=True)
    for name in dict.fromkeys(options.only or ()) or (QUICK if options.quick else ITEMS):
        print(f"{name} …", file=sys.stderr, flush=True)
        for row in importlib.import_module(ITEMS[name]).measure(options):
            rows.append(row)
            print(timing.markdown(rows).splitlines()[-1], flush=True)
            write_results(options, rows)


def check_device(device: str) -> None:
    """Hide GPUs from an item that is to run on the CPU; a UsageError where there is no GPU."""
    import torch

    if device == "cpu":
        torch.cuda.is_available = lambda: False
    elif not torch.cuda.is_available():
        raise UsageError("--device cuda: this machine has no GPU that PyTorch can use.")


def described(options: argparse.Namespace) -> str:
    """The day, the machine and the data in a line."""
    of_machine = ", ".join(f"{name} {value}" for name, value in timing.machine().items())
    how = ", quick" if options.quick else ""
    return f"{datetime.date.today()}, {of_machine}, data set {Path(options.dataset).name}{how}"


def write_results(options: argparse.Namespace, rows: list[timing.Row]) -> None:
    """Write what was measured so far, where it was asked for."""
    if options.json is None:
        return
    fields = ("item", "variant", "seconds", "amount", "unit", "note")
    content = {
        "date": str(datetime.date.today()),
        "machine": timing.machine(),
        "device": options.device,
        "dataset": Path(options.dataset).name,
        "rows": [{name: getattr(row, name) for name in fields} for row in rows],
    }
    outputs.write_json(options.json, content)
    with outputs.atomic_writer(options.json.with_suffix(".md")) as file:
        file.write(f"{described(options)}\n\n{timing.markdown(rows)}\n")


if __name__ == "__main__":
    sys.exit(helpers.run_script(main))
