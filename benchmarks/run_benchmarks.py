"""Measure the suite against the usual recipes, side by side on this machine, and print a table.

    uv run benchmarks/run_benchmarks.py --only features --json features.json

Every item has its usual way first; variants take turns, at least five times each, and the table gives the median, the
least and the most seconds, the speed and the ratio to the usual way. Reads: the data set (default: the built-in demo).
Writes: stdout, and with --json every single time and the machine.
"""

import argparse
import datetime
import importlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import timing  # noqa: E402

# Each is measured by the function `measure(options) -> list[timing.Row]` of a module beside this one.
ITEMS = {
    "ceilings": "bench_ceilings",
    "features": "bench_features",
    "spans": "bench_spans",
    "training": "bench_training",
    "recording": "bench_recording",
    "embeddings": "bench_embeddings",
    "metrics": "bench_metrics",
    "clusters": "bench_clusters",
    "chain": "bench_chain",
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of the benchmark's options."""
    parser = argparse.ArgumentParser(prog="run_benchmarks.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--only", nargs="+", choices=ITEMS, metavar="NAME", help=f"items to measure, of {', '.join(ITEMS)} (all)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where models run (default: cpu)")
    add("--json", metavar="FILE", help="write every time, and the machine, as JSON")
    text = "questions for features, training and embeddings, as for run.py (default: demo)"
    add("--dataset", metavar="NAME", default="demo", help=text)
    return parser


def main() -> None:
    """Measure item after item, print the table, write the file."""
    options = build_parser().parse_args()
    if options.device == "cpu":
        import torch

        torch.cuda.is_available = lambda: False
    rows = []
    for name in options.only or ITEMS:
        print(f"{name} …", file=sys.stderr, flush=True)
        rows += importlib.import_module(ITEMS[name]).measure(options)
        if options.json:
            write_json(Path(options.json), options, rows)
    described = ", ".join(f"{name} {value}" for name, value in timing.machine().items())
    print(f"{datetime.date.today()}, {described}, data set {Path(options.dataset).name}\n\n{timing.markdown(rows)}")


def write_json(path: Path, options: argparse.Namespace, rows: list[timing.Row]) -> None:
    """Write what was measured so far."""
    fields = ("item", "variant", "seconds", "amount", "unit", "note")
    content = {
        "date": str(datetime.date.today()),
        "machine": timing.machine(),
        "device": options.device,
        "dataset": Path(options.dataset).name,
        "rows": [{name: getattr(row, name) for name in fields} for row in rows],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
