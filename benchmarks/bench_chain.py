"""The chain: every script on the built-in demo, one after the other, each as a command of its own."""

import argparse
import sys
import tempfile
from pathlib import Path

import timing

ROOT = Path(__file__).resolve().parents[1]
TRAIN = ["--do_train", "--do_eval", "--enable_cartography", "--dataset", "demo", "--model", "demo"]
SIDES = ["--cartography_dir", "./cartography_output", "--cluster_dir", "./cluster_output"]


def measure(options: argparse.Namespace) -> list[timing.Row]:
    """A row a script and one for all of them; measured once, because it takes minutes."""
    on_cpu = ["--no_cuda"] if options.device == "cpu" else []
    commands = {
        "run.py": TRAIN + on_cpu,
        "analyze_cartography.py": [],
        "extract_embeddings.py": on_cpu,
        "cluster_analysis.py": [],
        "analyze_dataset.py": SIDES,
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for script, arguments in commands.items():
            done = timing.run_command([sys.executable, str(ROOT / script), *arguments], Path(folder))
            note = f"measured once, peak memory {done.megabytes:,.0f} MB"
            rows.append(timing.Row(f"chain: {script}", "demo", (done.seconds,), note=note))
    whole = sum(row.median for row in rows)
    return [*rows, timing.Row("chain: all scripts", "demo", (whole,), note="measured once")]
