"""benchmarks/gpu_acceptance.py from end to end on a CPU, so that it works on the day there is a card."""

import json
import os
import subprocess
import sys

import pytest

from tests.paths import ROOT

NEEDS_A_CARD = {"card", "numbers", "memory", "processes", "budget", "tests"}


def accept(directory, *argv) -> subprocess.CompletedProcess:
    words = ["--runs_dir", directory / "runs", "--json", directory / "found.json", *argv]
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_acceptance.py"), *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1500, check=False)


@pytest.mark.slow
def test_all_checks_run_on_a_cpu_but_those_that_need_a_card(tmp_path):
    answer = accept(tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr[-2000:]
    checks = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["checks"]
    assert {check["verdict"] for check in checks.values()} == {"right", "not run"}
    run = {name for name, check in checks.items() if check["verdict"] == "right"}
    assert run == {
        "step/budgets",
        "step/checkpointing",
        "precision/products",
        "precision/learning",
        "repeats/weights",
        "evaluation/batches",
        "speed/training ELECTRA-small, batches of 8",
        "speed/evaluation",
        "speed/embedding",
    }
    left = [check["words"] for name, check in checks.items() if name.split("/")[0] in NEEDS_A_CARD]
    assert set(left) == {"needs 1 GPU", "needs 2 GPUs"}
    table = (tmp_path / "found.md").read_text(encoding="utf-8")
    assert table == answer.stdout
    assert table.count("| right |") == len(run)


@pytest.fixture
def lane(monkeypatch, tmp_path):
    """Run checks of a script that stands in for gpu_acceptance.py; returns what was reported of each."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import acceptance

    def call(script, names, limit=60):
        (tmp_path / "gpu_acceptance.py").write_text(script, encoding="utf-8")
        monkeypatch.setattr(acceptance, "__file__", str(tmp_path / "acceptance.py"))
        monkeypatch.setattr(acceptance, "LIMITS", {"cpu": limit})
        place = type("Place", (), {"runs_dir": tmp_path, "device": "cpu"})
        found = {}
        acceptance.run_lane(names, place, found.__setitem__)
        return {name: (finding.right, finding.words) for name, finding in found.items()}

    return call


GOOD = """
import json, sys, time
for name in sys.argv[sys.argv.index("--serve") + 1:]:
    if name == "a/fails":
        raise RuntimeError("the third matrix is singular")
    if name == "a/hangs":
        time.sleep(100)
    print(json.dumps({"right": name != "a/wrong", "words": "found", "figures": {}, "seconds": 0}), flush=True)
"""


def test_a_check_that_fails_or_hangs_ends_only_itself(lane):
    found = lane(GOOD, ["a/one", "a/fails", "a/two", "a/hangs", "a/wrong", "a/three"], limit=5)
    assert [right for right, _ in found.values()] == [True, False, True, False, False, True]
    assert "the third matrix is singular" in found["a/fails"][1]
    assert "without an answer: no words" in found["a/hangs"][1]
