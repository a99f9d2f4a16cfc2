"""Killed runs: whatever the moment, resuming gives the recording of the run that was left in peace, byte for byte."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from datamap.dynamics import recordings
from datamap.files import manifests
from tests.paths import ROOT

ARGUMENTS = ["--do_train", "--enable_cartography", "--dataset", "demo", "--max_train_samples", "40", "--max_length",
             "40", "--doc_stride", "12", "--num_train_epochs", "3", "--save_strategy", "steps", "--save_steps", "4",
             "--no_cuda", "--disable_tqdm", "true"]  # fmt: skip
MOMENTS = {
    "in a step of epoch 2": ("cartography_callback.CartographyCallback", "record", 17),
    "writing the file of epoch 2": ("datamap.dynamics.recordings.json", "dumps", 20),
    "saving a checkpoint in epoch 2": ("transformers.Trainer", "_save_optimizer_and_scheduler", 5),
    "writing the metrics": ("datamap.dynamics.recordings", "write_metrics", 1),
}


@pytest.fixture(scope="module")
def start(tiny_model):
    """Run run.py in a directory, in its own process; returns (exit code, stderr)."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "from tests.kills import serve; serve()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}

    with subprocess.Popen(command, env=environment, **pipes) as server:

        def call(cwd: Path, *argv: str, moment=None) -> tuple[int, str]:
            job = {"cwd": str(cwd), "argv": [*ARGUMENTS, "--model", str(tiny_model), *argv], "moment": moment}
            server.stdin.write(json.dumps(job) + "\n")
            server.stdin.flush()
            code = int(server.stdout.readline())
            return code, (cwd / "stderr.txt").read_text()

        yield call
        server.stdin.close()


def recorded_files(cwd: Path) -> dict[str, bytes]:
    """Everything in the recording that does not name times, commands or versions."""
    left_out = (manifests.MANIFEST, recordings.MAP, recordings.IN_PROGRESS)
    return {
        path.name: path.read_bytes() for path in (cwd / "cartography_output").iterdir() if path.name not in left_out
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, start):
    cwd = tmp_path_factory.mktemp("undisturbed")
    code, stderr = start(cwd)
    assert code == 0, stderr
    return recorded_files(cwd)


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_goes_on_as_if_nothing_had_been(moment, undisturbed, start, tmp_path):
    code, stderr = start(tmp_path, moment=MOMENTS[moment])
    assert code == -signal.SIGKILL, stderr
    directory = tmp_path / "cartography_output"
    assert not manifests.has_manifest(directory)
    finished = {"writing the metrics": [1, 2, 3]}.get(moment, [1])
    assert list(recordings.epoch_paths(directory)) == finished
    left = [path for path in directory.iterdir() if path.name.startswith(".")]
    assert bool(left) == (moment == "writing the file of epoch 2")
    code, stderr = start(tmp_path)
    assert (code, "--resume_from_checkpoint last" in stderr) == (2, True)
    code, stderr = start(tmp_path, "--resume_from_checkpoint", "last")
    assert code == 0, stderr
    assert set(undisturbed) == {"cartography_metrics.csv", "cartography_metrics.json", "untracked_examples.csv",
                                *(f"training_dynamics_epoch_{number}.json" for number in (1, 2, 3))}  # fmt: skip
    assert recorded_files(tmp_path) == undisturbed
    assert manifests.has_manifest(directory)


def on_small_disk(program: str, cwd: Path, n_bytes: int) -> subprocess.CompletedProcess:
    """Run a Python program in a directory whose folder `full` is a disk of its own with `n_bytes`."""
    (cwd / "full").mkdir()
    shell = f'mount -t tmpfs -o size={n_bytes} tmpfs full && exec {sys.executable} -c "$0"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", shell, program]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=1200, check=False)


FULL_DISK = """
import sys, pathlib, shutil
sys.path.insert(0, {root!r})
import helpers, run

code = helpers.run_script(run.main, {argv!r})
shutil.copytree("full", "left")
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.skipif(subprocess.run(["unshare", "-rm", "true"], check=False).returncode, reason="no small disk here")
@pytest.mark.parametrize(("flag", "n_bytes"), [("--cartography_output_dir", 24_000), ("--output_dir", 30_000_000)])
def test_a_full_disk_is_one_sentence_and_loses_nothing(flag, n_bytes, undisturbed, start, tmp_path, tiny_model):
    """Epoch 2's file (or a later checkpoint) does not fit; with more room the run goes on and nothing is missing."""
    argv = [*ARGUMENTS, "--model", str(tiny_model), flag, "full", "--save_total_limit", "5"]
    answer = on_small_disk(FULL_DISK.format(root=str(ROOT), argv=argv), tmp_path, n_bytes)
    assert answer.returncode == 1, answer.stderr[-2000:]
    sentence = answer.stderr.strip().splitlines()[-1]
    assert sentence.startswith("error: ")
    assert "free some space" in sentence
    assert "Traceback" not in answer.stderr
    recording = tmp_path / ("left" if flag == "--cartography_output_dir" else "cartography_output")
    for number, path in recordings.epoch_paths(recording).items():
        assert path.read_bytes() == undisturbed[f"training_dynamics_epoch_{number}.json"]
    shutil.rmtree(tmp_path / "full")
    (tmp_path / "left").rename(tmp_path / "full")
    code, stderr = start(tmp_path, flag, "full", "--resume_from_checkpoint", "last")
    assert code == 0, stderr
    if flag == "--cartography_output_dir":
        (tmp_path / "full").rename(tmp_path / "cartography_output")
    assert recorded_files(tmp_path) == undisturbed
