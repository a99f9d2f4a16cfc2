"""The test suite on the card."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

from accept_inputs import Place
from acceptance import Finding

ROOT = Path(__file__).resolve().parents[1]
PROCESSES = 8


def check_suite(place: Place) -> Finding:
    """Every test passes with its models on the card."""
    command = [sys.executable, "-m", "pytest", "--device", "cuda", "-q", "--tb", "line", "-p", "no:cacheprovider"]
    if importlib.util.find_spec("xdist"):
        command += ["-n", str(PROCESSES)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    (place.runs_dir / "tests.txt").write_text(answer.stdout + answer.stderr, encoding="utf-8")
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", answer.stdout, re.MULTILINE)
    last = (answer.stdout.strip().splitlines() or ["no output"])[-1].strip("= ")
    words = last + "".join(f"; {name}" for name in failed[:20])
    return Finding(answer.returncode == 0, words, {"failed": len(failed)})


CHECKS = {"suite": (check_suite, 1)}
