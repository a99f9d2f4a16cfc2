"""run.py from the command line: what it writes, what it refuses, and that treatments change something."""

import importlib.util
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.lines import lines_of

SMALL = ("--max_train_samples", 40, "--max_eval_samples", 30, "--num_train_epochs", 1, "--max_length", 48,
         "--doc_stride", 12, "--no_cuda", "--logging_steps", 2)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_model):
    """A tiny model trained and evaluated on demo:v2 by the script itself."""
    import helpers
    import run

    directory = tmp_path_factory.mktemp("run") / "out"
    argv = ["--do_train", "--do_eval", "--dataset", "demo:v2", "--model", tiny_model, "--output_dir", directory, *SMALL]
    assert helpers.run_script(run.main, [str(word) for word in [*argv, "--save_nbest", "--precision", "float32"]]) == 0
    return directory


def test_a_run_leaves_what_the_contract_says(trained):
    names = {path.name for path in trained.iterdir()}
    assert {
        "config.json", "model.safetensors", "tokenizer.json", "eval_metrics.json", "eval_predictions.jsonl",
        "nbest_predictions.jsonl", "data_problems.csv", "manifest.json", "trainer_state.json",
        "eval_data_problems.csv", "eval_manifest.json",
    } <= names  # fmt: skip
    assert len(list(trained.glob("checkpoint-*/model.safetensors"))) == 1
    written = {path.name: path.stat().st_mtime_ns for path in trained.iterdir()}  # in ticks, which files may share
    assert written.pop("manifest.json") >= written["eval_manifest.json"] == max(written.values())
    manifest = json.loads((trained / "manifest.json").read_text())
    assert manifest["contract_version"] == 2
    assert manifest["seed"] == 42
    assert manifest["data"]["train"]["n_rows"] == 40
    assert manifest["data"]["eval"] | {"ids_sha256": ""} == {
        "dataset": "demo:v2", "split": "validation", "columns": {}, "held_out": None, "n_rows": 30, "ids_sha256": "",
    }  # fmt: skip
    assert manifest["settings"]["doc_stride"] == 12
    assert {"torch", "transformers", "python"} <= manifest["versions"].keys()
    assert not [name for name in names if name.startswith(".")]


def test_predictions_carry_the_source_and_the_scores(trained):
    from datamap.demo.data import make_demo
    from datamap.files.manifests import ids_hash

    rows = lines_of(trained / "eval_predictions.jsonl")
    source = {(row["context"], row["question"]) for row in make_demo("v2")["validation"]}
    assert len(rows) == 30
    assert all((row["context"], row["question"]) in source for row in rows)
    assert all("usable_for_training" not in row for row in rows)
    manifest = json.loads((trained / "manifest.json").read_text())
    assert ids_hash(row["id"] for row in rows) == manifest["data"]["eval"]["ids_sha256"]
    for row in rows:
        text, start = row["predicted_answer"], row["predicted_start"]
        assert (start is None) == (text == "")
        assert text == "" or row["context"][start : start + len(text)] == text
        assert (text == "") == (row["null_score_diff"] > 0)


def test_metrics_equal_the_evaluate_metric_on_the_predictions(trained):
    from datamap.evaluation.squad_metric import SquadMetric

    rows = lines_of(trained / "eval_predictions.jsonl")
    figures = json.loads((trained / "eval_metrics.json").read_text())
    answers = [{key: row["answers"][key] for key in ("text", "answer_start")} for row in rows]
    expected = SquadMetric(keep_in_memory=True).compute(
        predictions=[{"id": row["id"], "prediction_text": row["predicted_answer"]} for row in rows],
        references=[{"id": row["id"], "answers": answer} for row, answer in zip(rows, answers, strict=True)],
    )
    assert {"NoAns_f1", "HasAns_exact"} <= expected.keys()
    for name, value in expected.items():
        assert figures[f"eval_{name}"] == pytest.approx(value)
    assert figures["eval_f1"] == pytest.approx(100 * sum(row["f1"] for row in rows) / 30)
    assert figures["eval_f1_low"] <= figures["eval_f1"] <= figures["eval_f1_high"]
    assert figures["eval_best_f1"] >= figures["eval_f1"]


def test_the_best_threshold_gives_the_best_score(trained, command, tmp_path):
    figures = json.loads((trained / "eval_metrics.json").read_text())
    threshold = figures["eval_best_f1_threshold"]
    argv = ("--do_eval", "--dataset", "demo:v2", "--model", trained, "--output_dir", tmp_path, *SMALL[2:])
    code, _, _ = command(*argv, "--null_score_threshold", threshold)
    assert code == 0
    again = json.loads((tmp_path / "eval_metrics.json").read_text())
    assert again["eval_f1"] == pytest.approx(figures["eval_best_f1"])


def test_nbest_lists_begin_with_the_prediction(trained):
    rows, nbest = (lines_of(trained / f"{name}_predictions.jsonl") for name in ("eval", "nbest"))
    for row, listed in zip(rows, nbest, strict=True):
        assert row["id"] == listed["id"]
        assert listed["nbest"][0]["text"] == row["predicted_answer"]
        assert sum(entry["probability"] for entry in listed["nbest"]) == pytest.approx(1)
        scores = [entry["score"] for entry in listed["nbest"]]
        assert scores == sorted(scores, reverse=True)
        spans = [(entry["start"], entry["text"]) for entry in listed["nbest"]]
        assert len(set(spans)) == len(spans) <= 21


def test_evaluating_the_saved_model_gives_the_same_figures(trained, command, tmp_path):
    code, out, _ = command(
        "--do_eval", "--dataset", "demo:v2", "--model", trained, "--output_dir", tmp_path, *SMALL[2:]
    )
    assert code == 0
    first, second = (json.loads((place / "eval_metrics.json").read_text()) for place in (trained, tmp_path))
    for name in ("eval_exact_match", "eval_f1", "eval_loss", "eval_NoAns_total"):
        assert first[name] == pytest.approx(second[name], abs=1e-6)
    assert f"exact match {first['eval_exact_match']:.2f}" in out
    manifest = json.loads((tmp_path / "eval_manifest.json").read_text())
    assert list(manifest["made_from"]) == [str(trained / "manifest.json")]
    assert {path.name for path in tmp_path.iterdir()} == {
        "eval_metrics.json", "eval_predictions.jsonl", "eval_data_problems.csv", "eval_manifest.json",
    }  # fmt: skip


@pytest.mark.parametrize("task", ["qa", "nli"])
def test_ablations_change_the_evaluation(task, command, tmp_path, tiny_model):
    name = {"qa": "demo", "nli": "demo:nli"}[task]
    strides = SMALL if task == "qa" else (*SMALL[:8], *SMALL[10:])
    model = tmp_path / "model"
    assert command("--task", task, "--do_train", "--dataset", name, "--model", tiny_model, "--output_dir", model,
                   *(word for word in strides if word not in ("--max_eval_samples", 30)))[0] == 0  # fmt: skip
    losses = set()
    for ablation in ("none", "q_only", "p_only"):
        argv = ("--task", task, "--do_eval", "--dataset", name, "--model", model, "--ablations", ablation)
        code, _, err = command(*argv, "--output_dir", tmp_path / ablation, *strides[2:])
        assert code == 0, err
        losses.add(json.loads((tmp_path / ablation / "eval_metrics.json").read_text())["eval_loss"])
    assert len(losses) == 3


def test_nli_writes_labels_and_scores(command, tmp_path, tiny_model):
    code, out, _ = command("--task", "nli", "--do_train", "--do_eval", "--dataset", "demo:nli", "--model", tiny_model,
                           "--output_dir", tmp_path / "out", "--max_train_samples", 30, "--max_eval_samples", 20,
                           "--num_train_epochs", 1, "--no_cuda")  # fmt: skip
    assert code == 0
    rows = lines_of(tmp_path / "out" / "eval_predictions.jsonl")
    figures = json.loads((tmp_path / "out" / "eval_metrics.json").read_text())
    names = ["entailment", "neutral", "contradiction"]
    for row in rows:
        assert list(row["predicted_scores"]) == names
        assert sum(row["predicted_scores"].values()) == pytest.approx(1)
        assert row["predicted_label"] == max(row["predicted_scores"], key=row["predicted_scores"].get)
        assert row["label_name"] == names[row["label"]]
    accuracy = sum(row["predicted_label"] == row["label_name"] for row in rows) / len(rows)
    assert figures["eval_accuracy"] == pytest.approx(accuracy)
    assert sum(map(sum, figures["confusion_matrix"])) == 20
    assert f"accuracy {accuracy:.4f}" in out


def test_data_problems_are_listed_and_strict_data_stops(command, tmp_path, tiny_model):
    published = [
        ("moved", "Aspirin daily.", "daily", 3),
        ("lost", "Aspirin daily.", "statin", 0),
        ("long", "a b c d e f", "a b c d e", 0),
        ("fine", "Statin nightly.", "nightly", 7),
    ]
    rows = [
        {"id": name, "context": context, "question": "What?", "answers": {"text": [text], "answer_start": [start]}}
        for name, context, text, start in published
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    argv = (
        "--do_train",
        "--dataset",
        path,
        "--model",
        tiny_model,
        "--max_answer_length",
        3,
        "--max_steps",
        1,
        "--no_cuda",
    )
    code, _, _ = command(*argv, "--output_dir", tmp_path / "out")
    assert code == 0
    listed = pd.read_csv(tmp_path / "out" / "data_problems.csv", dtype=str).set_index("id")
    assert list(listed.columns) == ["problem", "action", "before", "after", "split"]
    assert listed.loc["moved", ["before", "after"]].tolist() == ["3", "8"]
    assert listed.loc["lost", "action"] == "left out of training"
    assert listed.loc["long", "problem"] == "gold answer longer than --max_answer_length"
    assert set(listed.index) == {"moved", "lost", "long"}
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["data"]["train"]["n_rows"] == 3
    code, _, err = command(*argv, "--output_dir", tmp_path / "strict", "--strict_data")
    assert code == 1
    assert "3 problems" in err
    assert {path.name for path in (tmp_path / "strict").iterdir()} == {"data_problems.csv"}


@pytest.fixture
def small_file(tmp_path):
    """Eight questions over four contexts, one file without splits."""
    rows = [
        {"context": f"Patient {n // 2} takes drug{n // 2} daily.", "question": f"Question {n}?",
         "answers": {"text": ["daily"], "answer_start": [21]}}
        for n in range(8)
    ]  # fmt: skip
    for row in rows:
        row["answers"]["answer_start"] = [row["context"].index("daily")]
    path = tmp_path / "small.json"
    path.write_text(json.dumps(rows))
    return path


def test_rows_are_held_out_by_whole_contexts_where_there_is_no_split(
    command, tmp_path, tiny_model, small_file, monkeypatch
):
    code, _, err = command("--do_train", "--do_eval", "--dataset", small_file, "--model", tiny_model, "--max_steps", 1,
                           "--validation_fraction", 0.5, "--output_dir", tmp_path / "out", "--no_cuda")  # fmt: skip
    assert code == 0, err
    held_out = {row["context"] for row in lines_of(tmp_path / "out" / "eval_predictions.jsonl")}
    assert len(held_out) == 2
    data = json.loads((tmp_path / "out" / "manifest.json").read_text())["data"]
    assert (data["train"]["n_rows"], data["eval"]["n_rows"]) == (4, 4)
    code, _, _ = command("--do_eval", "--dataset", small_file, "--model", tmp_path / "out", "--no_cuda",
                         "--validation_fraction", 0.5, "--output_dir", tmp_path / "again")  # fmt: skip
    assert code == 0
    assert {row["context"] for row in lines_of(tmp_path / "again" / "eval_predictions.jsonl")} == held_out
    argv = ("--do_eval", "--dataset", small_file, "--model", tmp_path / "out", "--output_dir", tmp_path / "seen")
    code, _, err = command(*argv, "--validation_fraction", 0.3)
    assert "with 0.5 held out, so it has seen these rows" in err
    assert code == 2
    code, _, err = command(*argv)
    assert (code, "or --validation_fraction 0.5 for those that training held out" in err) == (2, True), err
    monkeypatch.chdir(tmp_path)
    for other in ("small.json", "./small.json", f"{tmp_path}/../{tmp_path.name}/small.json"):
        code, _, err = command(*argv[:2], other, *argv[3:], "--validation_fraction", 0.3)
        assert (code, "so it has seen these rows" in err) == (2, True), err


def test_a_finished_run_is_not_overwritten_unasked(trained, command, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    before = {path.name: path.stat().st_mtime_ns for path in copy.iterdir()}
    argv = ("--do_train", "--dataset", "demo", "--model", trained, "--output_dir", copy, *SMALL[:2], "--max_steps", 1)
    code, _, err = command(*argv)
    assert code == 2
    assert "--overwrite_output_dir" in err
    assert {path.name: path.stat().st_mtime_ns for path in copy.iterdir()} == before
    assert command(*argv, "--overwrite_output_dir")[0] == 0
    assert not (copy / "eval_metrics.json").exists()
    assert [path.name for path in copy.glob("checkpoint-*")] == ["checkpoint-1"]
    (copy / "manifest.json").unlink()
    code, _, err = command(*argv)
    assert code == 2
    assert "--resume_from_checkpoint last" in err


def test_resuming_from_the_last_checkpoint_goes_on(command, tmp_path, tiny_model):
    argv = ("--do_train", "--dataset", "demo", "--model", tiny_model, "--max_train_samples", 16, "--no_cuda",
            "--save_strategy", "steps", "--save_steps", 1, "--max_length", 48, "--doc_stride", 8)  # fmt: skip
    assert command(*argv, "--max_steps", 3, "--output_dir", tmp_path / "whole")[0] == 0
    broken = tmp_path / "broken"
    shutil.copytree(tmp_path / "whole" / "checkpoint-1", broken / "checkpoint-1")
    (broken / "checkpoint-9").mkdir()  # a checkpoint that was being written when the run died
    assert command(*argv, "--max_steps", 3, "--output_dir", broken, "--resume_from_checkpoint", "last")[0] == 0
    assert (broken / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_the_last_lines_name_the_data_map_and_the_command_that_comes_next(command, tmp_path, tiny_model, monkeypatch):
    import shlex

    import analyze_cartography
    import extract_embeddings

    monkeypatch.chdir(tmp_path)
    argv = ("--do_train", "--dataset", "demo", "--model", tiny_model, "--max_train_samples", 8, "--max_steps", 1,
            "--max_length", 96, "--doc_stride", 16, "--no_cuda")  # fmt: skip
    code, _, err = command(*argv, "--enable_cartography", "--cartography_output_dir", "my map")
    assert code == 0, err
    *_, where, what = err.splitlines()
    assert where == "The data map is my map/cartography_map.png."
    assert Path("my map/cartography_map.png").is_file()
    program, script, *words = shlex.split(what.removeprefix("Next: "))
    assert (program, script) == ("python", "analyze_cartography.py")
    assert analyze_cartography.parse_arguments(words).cartography_dir == ["my map"]
    code, _, err = command(*argv, "--output_dir", "plain")
    assert code == 0, err
    assert err.splitlines()[-1] == "Next: python extract_embeddings.py --model_path plain"
    assert extract_embeddings.parse_arguments(["--model_path", "plain"]).model_path == "plain"


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_losses_and_figures_are_reported_to_tensorboard(command, tmp_path, tiny_model):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    code, _, err = command("--do_train", "--do_eval", "--dataset", "demo", "--model", tiny_model, "--report_to",
                           "tensorboard", "--output_dir", tmp_path, *SMALL)  # fmt: skip
    assert code == 0, err
    scalars = {}
    for path in (tmp_path / "runs").rglob("events.*"):
        events = EventAccumulator(str(path)).Reload()
        scalars |= {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    state = json.loads((tmp_path / "trainer_state.json").read_text())
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    assert scalars["train/loss"] == pytest.approx(losses, abs=1e-6)
    figures = json.loads((tmp_path / "eval_metrics.json").read_text())
    assert scalars["eval/f1"] == [pytest.approx(figures["eval_f1"], abs=1e-5)]
