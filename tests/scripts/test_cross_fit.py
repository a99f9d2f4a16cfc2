"""run.py --cross_fit: every number out of fold against the fold's own model, example by example; what it refuses."""

import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from datamap.crossfit import state
from datamap.dynamics import recordings
from datamap.evaluation.metrics import normalize_answer
from datamap.files import manifests, outputs
from tests.lines import lines_of, write_lines
from tests.one_by_one import alone, distance, gold_of_window, softmax, window_numbers
from tests.paths import ROOT

MAX_LENGTH, STRIDE = 48, 12
COMMON = ["--do_train", "--cross_fit", "3", "--max_length", MAX_LENGTH, "--doc_stride", STRIDE, "--no_cuda"]


def demo_rows(variant):
    from datamap.data.examples import load_examples
    from datamap.data.sources import open_source

    task = "nli" if variant == "demo:nli" else "qa"
    return load_examples(open_source(variant, task), "train", task).frame.set_index("id")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, tiny_model):
    """A directory with crossfit_output of 45 rows, some without an answer, and the models of its three folds."""
    import helpers
    import run

    cwd = tmp_path_factory.mktemp("fitted")
    before = os.getcwd()
    os.chdir(cwd)
    argv = [*COMMON, "--dataset", "demo:v2", "--model", tiny_model, "--max_train_samples", 45, "--num_train_epochs", 2,
            "--keep_fold_models", "--learning_rate", "3e-3", "--precision", "float32"]  # fmt: skip
    code = helpers.run_script(run.main, [str(word) for word in argv])
    os.chdir(before)
    assert code == 0
    return cwd


def test_nothing_but_the_recording_and_the_models_is_written(fitted):
    assert [path.name for path in fitted.iterdir()] == ["crossfit_output"]
    directory = fitted / "crossfit_output"
    files = {"training_dynamics_epoch_1.json", "training_dynamics_epoch_2.json", *state.FILES, manifests.MANIFEST}
    assert {path.name for path in directory.iterdir()} == files | {"fold_1", "fold_2", "fold_3"}
    assert {"model.safetensors", "config.json", "tokenizer.json", "manifest.json"} <= {
        path.name for path in (directory / "fold_2").iterdir()
    }
    assert not list(directory.glob("fold_*/checkpoint-*"))
    assert not list(directory.glob("fold_*/held_out_*"))
    manifest = manifests.read_manifest(directory)
    assert manifest["out_of_fold"]["n_folds"] == 3
    assert sum(manifest["out_of_fold"]["fold_sizes"]) == 45
    assert manifest["settings"]["precision"] == "float32"


def test_no_model_saw_a_context_that_it_judges(fitted):
    predictions = lines_of(fitted / "crossfit_output" / recordings.CROSSFIT_PREDICTIONS)
    rows = demo_rows("demo:v2")
    fold = pd.Series({row["id"]: row["fold"] for row in predictions})
    assert fold.value_counts().sum() == 45
    assert (fold.groupby(rows.loc[fold.index, "context"].to_numpy()).nunique() == 1).all()
    assert all(row.keys() >= {"label_prob", "other_answer"} for row in predictions)
    for number in (1, 2, 3):
        trained = manifests.read_manifest(fitted / "crossfit_output" / f"fold_{number}")["data"]["train"]
        others = fold.index[fold != number]
        assert (trained["n_rows"], trained["ids_sha256"]) == (len(others), manifests.ids_hash(others))


def spans_of_row(model, tokenizer, row, longest):
    """({(first, last character): score}, lowest null score, numbers of the gold-bearing windows), by plain loops."""
    encoding = tokenizer(
        [row["question"]], [row["context"]], truncation="only_second", max_length=MAX_LENGTH, stride=STRIDE,
        return_overflowing_tokens=True, return_offsets_mapping=True,
    )  # fmt: skip
    spans, null_score, numbers = {}, math.inf, []
    for window in range(len(encoding["input_ids"])):
        starts, ends = alone(model, encoding, window)
        null_score = min(null_score, starts[0] + ends[0])
        places, sides = encoding["offset_mapping"][window], encoding.sequence_ids(window)
        context = [place for place, side in enumerate(sides) if side == 1]
        for begin in context:
            for end in range(begin, min(begin + longest, context[-1] + 1)):
                key = places[begin][0], places[end][1]
                spans[key] = max(spans.get(key, -math.inf), starts[begin] + ends[end])
        start, end, has_gold = gold_of_window(encoding, window, row["answers"])
        if has_gold:
            numbers.append(window_numbers(starts, ends, start, end))
    return spans, null_score, numbers


def expected_masses(tokenizer, row, spans, null_score):
    """label, boundary, place, null mass and expected F1 of a row from the scores of all its spans."""
    top = max(*spans.values(), null_score)
    total = sum(math.exp(score - top) for score in spans.values()) + math.exp(null_score - top)
    found = {"label_prob": 0.0, "boundary_prob": 0.0, "place_prob": 0.0, "expected_f1": 0.0}
    found["null_prob"] = math.exp(null_score - top) / total
    context, answers = row["context"], row["answers"]
    places = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    if not answers["text"]:
        rest = sum(math.exp(score - top) for score in spans.values()) / total
        null = found["null_prob"]
        return found | {"label_prob": null, "null_prob": 0.0, "place_prob": rest, "expected_f1": null}
    gold = answers["answer_start"][0], answers["answer_start"][0] + len(answers["text"][0])
    for (begin, end), score in spans.items():
        prob = math.exp(score - top) / total
        inner = max(begin, gold[0]), min(end, gold[1])
        shared, *lengths = (
            sum(span[0] <= start and stop <= span[1] for start, stop in places) for span in (inner, (begin, end), gold)
        )
        same = normalize_answer(context[begin:end]) == normalize_answer(answers["text"][0])
        f1 = 1.0 if same else 2 * shared / sum(lengths)
        found["expected_f1"] += prob * f1
        found["label_prob" if f1 == 1 else "boundary_prob" if shared else "place_prob"] += prob
    return found


def test_every_number_equals_a_loop_over_examples_with_the_fold_s_model(fitted, tokenizer):
    from transformers import AutoModelForQuestionAnswering

    directory, rows = fitted / "crossfit_output", demo_rows("demo:v2")
    longest = manifests.read_manifest(directory)["settings"]["max_answer_length"]
    last = recordings.read_epoch(recordings.epoch_path(directory, 2)).set_index("id")
    predictions = lines_of(directory / recordings.CROSSFIT_PREDICTIONS)
    unanswerable = [row for row in predictions if not rows.loc[row["id"], "answers"]["text"]]
    chosen = [*unanswerable[:3], *[row for row in predictions if row not in unanswerable][:9]]
    assert {row["fold"] for row in chosen} == {1, 2, 3}
    for predicted in chosen:
        row = rows.loc[predicted["id"]]
        model = AutoModelForQuestionAnswering.from_pretrained(directory / f"fold_{predicted['fold']}").eval()
        spans, null_score, numbers = spans_of_row(model, tokenizer, row, longest)
        masses = expected_masses(tokenizer, row, spans, null_score)
        for name, value in masses.items():
            assert predicted[name] == pytest.approx(value, abs=2e-5), (name, row["question"])
        best = max(spans, key=spans.get)
        score = max(spans[best], null_score)
        assert predicted["predicted_score"] == pytest.approx(score, abs=1e-4)
        told = "" if null_score > spans[best] else row["context"][slice(*best)]
        assert predicted["predicted_answer"] == told
        assert predicted["predicted_start"] == (best[0] if told else -1)
        assert (predicted["id"] in last.index) == bool(numbers)
        if numbers:
            for name in numbers[0].keys() - {"correct"}:
                mean = np.mean([entry[name] for entry in numbers])
                assert last.loc[predicted["id"], name] == pytest.approx(mean, abs=2e-5), name
            assert last.loc[predicted["id"], "correct"] == all(entry["correct"] for entry in numbers)
            assert last.loc[predicted["id"], "expected_f1"] == pytest.approx(masses["expected_f1"], abs=2e-5)


def test_scripts_that_read_recordings_read_it(fitted, tmp_path):
    import analyze_cartography
    import helpers

    argv = ["--cartography_dir", fitted / "crossfit_output", "--output_dir", tmp_path / "analysis"]
    assert helpers.run_script(analyze_cartography.main, [str(word) for word in argv]) == 0
    recording = recordings.read_recording(fitted / "crossfit_output")
    assert {"el2n", "label_prob", "expected_f1"} <= recording.epochs.keys()
    assert recording.n_epochs == 2
    regions = outputs.read_csv(tmp_path / "analysis" / "cartography_regions.csv", ("id", "region", "question_type"))
    means = recording.epochs["expected_f1"].astype(float).mean(axis=0)
    np.testing.assert_allclose(regions["expected_f1"], means, rtol=0, atol=1e-12)


def test_nli_probabilities_are_those_of_the_fold_s_model(command, tmp_path, monkeypatch, tiny_model, tokenizer):
    import torch
    from transformers import AutoModelForSequenceClassification

    monkeypatch.chdir(tmp_path)
    argv = [*COMMON[:3], "--no_cuda", "--task", "nli", "--dataset", "demo:nli", "--model", tiny_model,
            "--max_train_samples", 60, "--num_train_epochs", 1, "--keep_fold_models"]  # fmt: skip
    code, stdout, stderr = command(*argv, "--learning_rate", "3e-3")
    assert code == 0, stderr
    assert "out of fold, 60 examples, 3 models" in stdout
    assert [stderr.count(f"Fold {fold} of 3, epoch 1, rows held out: loss ") for fold in (1, 2, 3)] == [1, 1, 1]
    assert "eval_loss" not in stderr
    directory, rows = tmp_path / "crossfit_output", demo_rows("demo:nli")
    last = recordings.read_epoch(recordings.epoch_path(directory, 1)).set_index("id")
    assert list(last.columns) == ["epoch", "gold_prob", "correct", "margin", "loss", "el2n", *recordings.COUNTS]
    for predicted in lines_of(directory / recordings.CROSSFIT_PREDICTIONS)[:10]:
        row = rows.loc[predicted["id"]]
        model = AutoModelForSequenceClassification.from_pretrained(directory / f"fold_{predicted['fold']}").eval()
        with torch.no_grad():
            logits = model(**tokenizer(row["premise"], row["hypothesis"], return_tensors="pt")).logits[0].double()
        probs = softmax(logits.numpy())
        assert list(predicted["predicted_scores"]) == list(model.config.id2label.values())
        assert list(predicted["predicted_scores"].values()) == pytest.approx(probs.tolist(), abs=1e-6)
        assert predicted["predicted_label"] == model.config.id2label[int(probs.argmax())]
        assert last.loc[predicted["id"], "gold_prob"] == pytest.approx(probs[row["label"]], abs=1e-6)
        assert last.loc[predicted["id"], "el2n"] == pytest.approx(distance(probs, row["label"]), abs=1e-6)


REFUSED = {
    "alone": (["--cross_fit", "3", "--do_eval"], "--cross_fit needs --do_train"),
    "beside an evaluation": (["--do_train", "--cross_fit", "3", "--do_eval"], "--do_eval does not go with --cross_fit"),
    "beside a recording": (
        ["--do_train", "--cross_fit", "3", "--enable_cartography"],
        "--enable_cartography does not go with --cross_fit",
    ),
    "the best model": (
        ["--do_train", "--cross_fit", "3", "--load_best_model_at_end"],
        "--load_best_model_at_end does not go with --cross_fit",
    ),
    "an output directory": (
        ["--do_train", "--cross_fit", "3", "--output_dir", "out"],
        "--output_dir does not go with --cross_fit",
    ),
    "one fold": (["--do_train", "--cross_fit", "1"], "1 is not a whole number from 2 to 20"),
    "no folds": (["--do_train", "--keep_fold_models"], "--keep_fold_models needs --cross_fit"),
    "a directory without folds": (
        ["--do_train", "--crossfit_output_dir", "x"],
        "--crossfit_output_dir needs --cross_fit",
    ),
    "a checkpoint": (
        ["--do_train", "--cross_fit", "3", "--resume_from_checkpoint", "checkpoint-3"],
        "--cross_fit knows where it was, so give last",
    ),
    "nothing to resume": (
        ["--do_train", "--cross_fit", "3", "--resume_from_checkpoint", "last"],
        "crossfit_output holds no unfinished run",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_act_is_refused(name, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv, sentence = REFUSED[name]
    code, _, stderr = command(*argv, "--dataset", "demo", "--model", "demo", "--no_cuda")
    assert code == 2
    assert sentence in stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_another_run_and_folders_of_others_are_left_alone(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = ["--do_train", "--cross_fit", 3, "--dataset", "demo", "--model", "demo", "--no_cuda"]
    (tmp_path / "mine" / "fold_1").mkdir(parents=True)
    (tmp_path / "mine" / "fold_1" / "notes.txt").write_text("keep")
    (tmp_path / "other").mkdir()
    manifests.write_manifest(tmp_path / "other", {"script": "analyze_dataset.py"})
    for name in ("mine", "other"):
        code, _, stderr = command(*argv, "--crossfit_output_dir", name, "--overwrite_output_dir")
        assert (code, f"--crossfit_output_dir {name} holds another recording" in stderr) == (2, True)
    assert (tmp_path / "mine" / "fold_1" / "notes.txt").read_text() == "keep"
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["manifest.json"]


def test_more_folds_than_contexts_and_a_label_in_one_fold_are_refused(command, tmp_path, monkeypatch, tiny_model):
    monkeypatch.chdir(tmp_path)
    answers = {"text": ["aspirin"], "answer_start": [10]}
    rows = [{"context": f"Eve takes aspirin {n % 2}.", "question": f"{n}?", "answers": answers} for n in range(8)]
    write_lines(tmp_path / "two.jsonl", rows)
    code, _, stderr = command(*COMMON, "--dataset", "two.jsonl", "--model", tiny_model)
    assert code == 1
    assert "--cross_fit 3: the 8 rows have 2 contexts" in stderr
    rows = [{"premise": f"p {n}", "hypothesis": f"h {n}", "label": "entailment"} for n in range(9)]
    write_lines(tmp_path / "rare.jsonl", [*rows, {"premise": "p", "hypothesis": "h", "label": "contradiction"}])
    argv = ["--do_train", "--task", "nli", "--no_cuda", "--model", tiny_model, "--cross_fit", "3"]
    code, _, stderr = command(*argv, "--dataset", "rare.jsonl")
    assert code == 1
    assert "all 1 rows with the label contradiction are in fold" in stderr
    assert {path.name for path in tmp_path.iterdir()} == {"two.jsonl", "rare.jsonl"}


def test_a_finished_recording_is_kept_unless_it_is_to_be_overwritten(command, tmp_path, monkeypatch, tiny_model):
    monkeypatch.chdir(tmp_path)
    argv = [*COMMON[:3], "--no_cuda", "--task", "nli", "--dataset", "demo:nli", "--model", tiny_model,
            "--max_train_samples", 30, "--max_steps", 1]  # fmt: skip
    assert command(*argv)[0] == 0
    manifest = (tmp_path / "crossfit_output" / "manifest.json").read_bytes()
    assert sorted(path.name for path in (tmp_path / "crossfit_output").glob("fold_*")) == []
    code, _, stderr = command(*argv)
    assert (code, "holds a finished recording" in stderr) == (2, True)
    code, _, stderr = command("--do_train", "--enable_cartography", "--cartography_output_dir", "crossfit_output",
                              "--dataset", "demo", "--model", tiny_model, "--no_cuda")  # fmt: skip
    assert (code, "holds a finished recording" in stderr) == (2, True)
    assert (tmp_path / "crossfit_output" / "manifest.json").read_bytes() == manifest
    code, _, stderr = command(*argv, "--overwrite_output_dir", "--seed", 7)
    assert code == 0, stderr
    assert manifests.read_manifest(tmp_path / "crossfit_output")["seed"] == 7


MOMENTS = {
    "in a step of fold 2": ("datamap.training.trainer.QaTrainer", "row_losses", 40),
    "writing a pass": ("datamap.crossfit.state", "write_pass", 5),
    "between the folds": ("datamap.crossfit.state", "finish_fold", 2),
    "writing the metrics": ("datamap.dynamics.recordings", "write_metrics", 1),
}
KILLED = [*COMMON, "--dataset", "demo", "--max_train_samples", 40, "--num_train_epochs", 3, "--save_strategy", "steps",
          "--save_steps", 4, "--disable_tqdm", "true", "--precision", "float32"]  # fmt: skip


@pytest.fixture(scope="module")
def start(tiny_model):
    """Run run.py in a directory, in its own process; returns (exit code, stderr)."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "from tests.kills import serve; serve()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as server:

        def call(cwd, *argv, moment=None):
            words = [str(word) for word in (*KILLED, "--model", tiny_model, *argv)]
            server.stdin.write(json.dumps({"cwd": str(cwd), "argv": words, "moment": moment}) + "\n")
            server.stdin.flush()
            code = int(server.stdout.readline())
            return code, (cwd / "stderr.txt").read_text()

        yield call
        server.stdin.close()


def recorded_files(cwd):
    left_out = (manifests.MANIFEST, recordings.MAP, recordings.IN_PROGRESS)
    found = (cwd / "crossfit_output").iterdir()
    return {path.name: path.read_bytes() for path in found if path.is_file() and path.name not in left_out}


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
    assert not manifests.has_manifest(tmp_path / "crossfit_output")
    code, stderr = start(tmp_path)
    assert (code, "--resume_from_checkpoint last" in stderr) == (2, True)
    code, stderr = start(tmp_path, "--resume_from_checkpoint", "last", "--learning_rate", "1e-3")
    assert (code, "has --learning_rate 0.0001, and this run 0.001" in stderr) == (1, True)
    code, stderr = start(tmp_path, "--resume_from_checkpoint", "last")
    assert code == 0, stderr
    assert "Fold 1 of 3 is done." in stderr
    assert recorded_files(tmp_path) == undisturbed
    assert {"crossfit_predictions.jsonl", "training_dynamics_epoch_3.json"} <= undisturbed.keys()
