"""Several processes against one: every example once, the same figures, one writer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.paths import ROOT

COMMON = ["--dataset", "demo:v2", "--max_length", "48", "--doc_stride", "12", "--no_cuda", "--precision", "float32"]
SMALL_BATCHES = ["--per_device_eval_batch_size", "4"]
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ACCELERATE = ["accelerate.commands.launch", "--num_processes", "2", "--cpu", "--main_process_port", "0"]


def launch(launcher: list[str], *argv, cwd, script="run.py") -> subprocess.CompletedProcess:
    command = [sys.executable, *(["-m", *launcher] if launcher else []), str(ROOT / script), *map(str, argv)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=1200, check=False
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    return answer


def read(directory: Path) -> tuple[dict, list[dict]]:
    figures = json.loads((directory / "eval_metrics.json").read_text())
    lines = (directory / "eval_predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return figures, [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def trained_model(tmp_path_factory, tiny_model):
    """A tiny model with a QA head, after one step that leaves its predictions as varied as chance made them."""
    import helpers
    import run

    directory = tmp_path_factory.mktemp("head")
    argv = ["--do_train", "--model", tiny_model, "--max_train_samples", 64, "--max_steps", 1, *COMMON]
    assert (
        helpers.run_script(run.main, [*map(str, argv), "--learning_rate", "1e-5", "--output_dir", str(directory)]) == 0
    )
    return directory


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_two_processes_evaluate_as_one(launcher, tmp_path, trained_model):
    """29 examples with several windows each do not divide by 2 x 4, so the sampler repeats rows."""
    argv = ["--do_eval", "--model", trained_model, "--max_eval_samples", "29", *COMMON, *SMALL_BATCHES]
    launch([], *argv, "--output_dir", tmp_path / "one", cwd=tmp_path)
    answer = launch(launcher, *argv, "--output_dir", tmp_path / "two", cwd=tmp_path)
    (one, one_rows), (two, two_rows) = read(tmp_path / "one"), read(tmp_path / "two")
    assert len(two_rows) == len({row["id"] for row in two_rows}) == 29
    for name, value in one.items():
        if not name.endswith(("_runtime", "_per_second", "_time")):
            assert two[name] == pytest.approx(value, abs=1e-5), name
    for first, second in zip(one_rows, two_rows, strict=True):
        assert (first["id"], first["predicted_answer"]) == (second["id"], second["predicted_answer"])
    assert len({row["predicted_answer"] for row in one_rows}) > 3
    assert answer.stdout.count("exact match") == 1
    assert answer.stderr.count("all rows") == 1


@pytest.mark.slow
def test_two_processes_predict_as_one(tmp_path, trained_model):
    """Windows of one example go to both processes, and the sampler repeats rows; every row comes once."""
    rows = [{"id": f"n{n}", "context": f"Patient {n} takes drug {n} daily. " * (n + 1), "question": f"What takes {n}?"}
            for n in range(13)]  # fmt: skip
    (tmp_path / "notes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    argv = ["--do_predict", "--model", trained_model, *COMMON, "--dataset", "notes.jsonl", *SMALL_BATCHES]
    launch([], *argv, "--output_dir", "one", cwd=tmp_path)
    answer = launch(TORCHRUN, *argv, "--output_dir", "two", cwd=tmp_path)
    lines = [
        (tmp_path / name / "predictions.jsonl").read_text(encoding="utf-8").splitlines() for name in ("one", "two")
    ]
    one, two = ([json.loads(line) for line in found] for found in lines)
    assert [row["id"] for row in two] == [row["id"] for row in rows]
    for first, second in zip(one, two, strict=True):
        assert first["predicted_answer"] == second["predicted_answer"]
        assert second["predicted_prob"] == pytest.approx(first["predicted_prob"], rel=1e-4)
    assert answer.stdout.count("13 questions answered") == 1


@pytest.mark.slow
def test_two_processes_train_and_load_the_best_model(tmp_path, still_model):
    """The same steps from 1 x 8 and 2 x 4 rows: the same loss, and the best checkpoint's figures at the end."""
    argv = ["--do_train", "--do_eval", "--model", still_model, "--max_train_samples", "32", "--max_eval_samples", "20",
            "--num_train_epochs", "2", "--eval_strategy", "epoch", "--metric_for_best_model", "eval_f1", *COMMON,
            "--load_best_model_at_end", "--train_sampling_strategy", "sequential", "--learning_rate", "1e-3",
            "--logging_steps", "1"]  # fmt: skip
    launch([], *argv, "--output_dir", tmp_path / "one", "--per_device_train_batch_size", "8", cwd=tmp_path)
    launch(TORCHRUN, *argv, "--output_dir", tmp_path / "two", "--per_device_train_batch_size", "4", cwd=tmp_path)
    states = [json.loads((tmp_path / name / "trainer_state.json").read_text()) for name in ("one", "two")]
    losses = [[entry["loss"] for entry in state["log_history"] if "loss" in entry] for state in states]
    assert losses[1][:4] == pytest.approx(losses[0][:4], abs=1e-5)
    figures = read(tmp_path / "two")[0]
    evaluated = [entry["eval_f1"] for entry in states[1]["log_history"] if "eval_f1" in entry]
    assert figures["eval_f1"] == pytest.approx(max(evaluated), abs=1e-9)
    assert states[1]["best_metric"] == pytest.approx(max(evaluated), abs=1e-9)


@pytest.mark.slow
def test_two_processes_in_micro_batches_take_the_step_of_one(tmp_path, still_model):
    """One step of plain gradient descent at rate 1, so that the weights tell the gradient."""
    argv = ["--do_train", "--model", still_model, "--max_train_samples", "16", "--max_steps", "1", "--optim", "sgd",
            "--learning_rate", "1", "--lr_scheduler_type", "constant", "--max_grad_norm", "0", "--precision", "float32",
            "--train_sampling_strategy", "sequential", *COMMON]  # fmt: skip
    for name, launcher, batch, budget in (("one", [], "16", "100000"), ("two", TORCHRUN, "8", "200")):
        out = ["--output_dir", tmp_path / name, "--per_device_train_batch_size", batch, "--micro_batch_tokens", budget]
        launch(launcher, *argv, *out, cwd=tmp_path)
    places = still_model, tmp_path / "one", tmp_path / "two"
    before, one, two = (load_file(place / "model.safetensors") for place in places)
    assert one.keys() == two.keys()
    moved = [np.abs(one[f"electra.{name}"] - value).max() for name, value in before.items()]
    assert max(moved) > 1e-3
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=0, atol=2e-6)


@pytest.mark.slow
def test_two_processes_take_the_weighted_and_smoothed_step_of_one(tmp_path, still_model):
    """As above, with rows that weigh 0.1 or 4."""
    from datamap.data.examples import load_examples
    from datamap.data.sources import open_source

    ids = load_examples(open_source("demo:v2", "qa"), "train", "qa").frame["id"]
    lines = [f"{name},{4 if number % 3 else 0.1}\n" for number, name in enumerate(ids)]
    (tmp_path / "weights.csv").write_text("id,weight\n" + "".join(lines))
    argv = ["--do_train", "--model", still_model, "--max_train_samples", "16", "--max_steps", "1", "--optim", "sgd",
            "--learning_rate", "1", "--lr_scheduler_type", "constant", "--max_grad_norm", "0", *COMMON,
            "--train_sampling_strategy", "sequential"]  # fmt: skip
    weighed = ["--example_weights", "weights.csv", "--label_smoothing_factor", "0.3"]
    for name, launcher, batch, words in (
        ("plain", [], "16", []),
        ("one", [], "16", weighed),
        ("two", TORCHRUN, "8", [*weighed, "--micro_batch_tokens", "200"]),
    ):
        launch(launcher, *argv, *words, "--output_dir", name, "--per_device_train_batch_size", batch, cwd=tmp_path)
    plain, one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("plain", "one", "two"))
    assert max(np.abs(one[name] - value).max() for name, value in plain.items()) > 1e-3
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=0, atol=2e-6)


def epoch(directory: Path, number: int) -> dict[str, dict]:
    """The records of an epoch file by id; every id once."""
    records = json.loads((directory / f"training_dynamics_epoch_{number}.json").read_text(encoding="utf-8"))
    assert len({row["id"] for row in records}) == len(records)
    return {row["id"]: row for row in records}


@pytest.mark.slow
def test_two_processes_record_as_one(tmp_path, still_model):
    """No dropout, learning rate 0: the same numbers, and windows that fill the last batch count once."""
    argv = ["--do_train", "--enable_cartography", "--model", still_model, "--max_train_samples", "29",
            "--num_train_epochs", "2", "--learning_rate", "0", "--save_strategy", "no", *COMMON]  # fmt: skip
    for name, launcher, batch in (("one", [], "8"), ("two", TORCHRUN, "3")):
        out = ["--output_dir", tmp_path / name, "--cartography_output_dir", tmp_path / f"{name}_map"]
        launch(launcher, *argv, *out, "--per_device_train_batch_size", batch, cwd=tmp_path)
    for number in (1, 2):
        one, two = epoch(tmp_path / "one_map", number), epoch(tmp_path / "two_map", number)
        assert len(one) == 29
        assert two.keys() == one.keys()
        for identifier, record in one.items():
            assert two[identifier] == pytest.approx(record, abs=1e-6)


@pytest.mark.slow
def test_two_processes_that_really_train_record_every_example_in_every_epoch(tmp_path, tiny_model):
    argv = ["--do_train", "--enable_cartography", "--model", tiny_model, "--max_train_samples", "21",
            "--num_train_epochs", "3", "--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "2",
            "--save_strategy", "steps", "--save_steps", "2", *COMMON]  # fmt: skip
    launch(TORCHRUN, *argv, "--output_dir", tmp_path / "out", cwd=tmp_path)
    epochs = [epoch(tmp_path / "cartography_output", number) for number in (1, 2, 3)]
    assert [len(records) for records in epochs] == [21, 21, 21]
    assert len({round(record["loss"], 6) for records in epochs for record in records.values()}) > 60
    manifest = json.loads((tmp_path / "cartography_output" / "manifest.json").read_text())
    assert (manifest["n_epochs"], manifest["n_tracked"]) == (3, 21)
    assert list((tmp_path / "out").glob("checkpoint-*/cartography_state.npz"))


@pytest.mark.slow
def test_two_processes_cross_fit_as_one(tmp_path, still_model):
    """Learning rate 0: the same numbers of all rows, whose windows go to both processes, from one writer."""
    argv = ["--do_train", "--cross_fit", "2", "--model", still_model, "--max_train_samples", "20",
            "--num_train_epochs", "2", "--learning_rate", "0", *COMMON, *SMALL_BATCHES]  # fmt: skip
    launch([], *argv, "--crossfit_output_dir", "one", "--per_device_train_batch_size", "8", cwd=tmp_path)
    answer = launch(TORCHRUN, *argv, "--crossfit_output_dir", "two", "--per_device_train_batch_size", "4", cwd=tmp_path)
    assert answer.stdout.count("out of fold") == 1
    one, two = epoch(tmp_path / "one", 2), epoch(tmp_path / "two", 2)
    assert len(one) == 20
    assert two.keys() == one.keys()
    for identifier, record in one.items():
        assert two[identifier] == pytest.approx(record, abs=1e-5)
    lines = [(tmp_path / name / "crossfit_predictions.jsonl").read_text().splitlines() for name in ("one", "two")]
    for first, second in zip(*([json.loads(line) for line in found] for found in lines), strict=True):
        assert (first["id"], first["fold"]) == (second["id"], second["fold"])
        assert second["null_prob"] == pytest.approx(first["null_prob"], abs=1e-5)


@pytest.mark.slow
def test_two_processes_embed_as_one(tmp_path, tiny_model):
    argv = ["--model_path", tiny_model, "--max_samples", "41", *COMMON]
    for name, launcher in (("one", []), ("two", TORCHRUN)):
        launch(launcher, *argv, "--output_dir", tmp_path / name, cwd=tmp_path, script="extract_embeddings.py")
    one, two = (np.load(tmp_path / name / "embeddings.npy") for name in ("one", "two"))
    assert one.shape == two.shape == (41, 64)
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-5)
    indexes = [(tmp_path / name / "embeddings_index.csv").read_text() for name in ("one", "two")]
    assert indexes[0] == indexes[1]
