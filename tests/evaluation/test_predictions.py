"""--do_predict: answers without labels, and their probability against loops over all spans that are not our code."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from datamap.errors import DataError
from datamap.evaluation.qa import QaPrediction
from datamap.features.windows import QaWindows
from tests.lines import lines_of
from tests.rows import qa_frame

ROWS = [
    {"id": "t1", "context": "Eve takes aspirin 10 mg in ward 1. She sleeps well. She eats apples. " * 3,
     "question": "What does Eve take?"},
    {"id": "t2", "context": "Finn takes ibuprofen.", "question": "Which drug?"},
    {"id": "t3", "context": "Gus takes metformin 20 mg in ward 3, and nobody knows why he does so. " * 2,
     "question": "Which ward?"},
]  # fmt: skip
LENGTHS = {"max_length": 32, "doc_stride": 8}
PREDICT = ("--do_predict", "--max_length", 32, "--doc_stride", 8, "--no_cuda")


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def train(directory: Path, model, *argv) -> Path:
    """Train for a step, so that predictions stay as varied as chance made them."""
    import helpers
    import run

    words = ["--do_train", "--model", model, "--output_dir", directory, "--max_steps", 1, "--max_train_samples", 16,
             "--learning_rate", 1e-5, "--no_cuda", "--precision", "float32", *argv]  # fmt: skip
    assert helpers.run_script(run.main, list(map(str, words))) == 0
    return directory


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_model) -> dict[str, Path]:
    """A model trained on answers alone (of up to 6 tokens), and one on unanswerable questions, too."""
    place = tmp_path_factory.mktemp("models")
    flags = ("--max_length", 96, "--doc_stride", 16, "--max_answer_length", 6, "--dataset")
    return {name: train(place / name.replace(":", "_"), tiny_model, *flags, name) for name in ("demo", "demo:v2")}


@pytest.fixture
def model(trained, tmp_path) -> Path:
    return shutil.copytree(trained["demo"], tmp_path / "model")


def spans_of(starts, ends, max_answer_length: int) -> dict[tuple[int, int], float]:
    """Score of every span of one window by (first, last) token, in a plain loop."""
    return {
        (first, last): float(starts[first]) + float(ends[last])
        for first in range(len(starts))
        for last in range(first, min(first + max_answer_length, len(starts)))
    }


def shares(scores: dict, null_score: float | None) -> dict:
    """The softmax over all spans and, under None, the null outcome."""
    outcomes = scores | ({} if null_score is None else {None: null_score})
    top = max(outcomes.values())
    weights = {span: math.exp(score - top) for span, score in outcomes.items()}
    total = math.fsum(weights.values())
    return {span: weight / total for span, weight in weights.items()}


@pytest.mark.parametrize("allow_no_answer", [False, True])
@pytest.mark.parametrize("max_answer_length", [1, 4, 1000])
def test_a_probability_is_its_share_of_all_spans_of_all_windows(tokenizer, allow_no_answer, max_answer_length):
    """Random logits; windows overlap, come in random order, some twice, and padded differently in every batch."""
    frame = qa_frame(*((row["context"], row["question"], [], []) for row in ROWS))
    windows = QaWindows(frame, tokenizer, **LENGTHS)
    assert np.bincount(windows.example).tolist()[1] == 1
    assert np.bincount(windows.example).max() > 3
    random = np.random.default_rng(max_answer_length)
    logits = 3 * random.standard_normal((2, len(windows), windows.lengths.max())).astype(np.float32)
    logits[:, :, 0] -= 2  # the classifier token, so that some questions have an answer and some have none
    search = {"allow_no_answer": allow_no_answer, "null_score_threshold": 0.0, "n_best": 1}
    prediction = QaPrediction(frame, windows, max_answer_length=max_answer_length, **search)
    prediction.start()
    order = [*random.permutation(len(windows)), 0, 3]
    for rows in np.array_split(np.array(order), 4):
        items = [windows[row] for row in rows]
        width = max(len(item["input_ids"]) for item in items) + int(random.integers(3))
        mask = torch.tensor([[n < len(item["input_ids"]) for n in range(width)] for item in items])
        sides = [np.pad(side[rows], ((0, 0), (0, 3)))[:, :width] for side in logits]
        found = dict(zip(("start_logits", "end_logits"), map(torch.from_numpy, sides), strict=True))
        names = ("row", "context_start", "context_end")
        inputs = {name: torch.tensor([int(item[name]) for item in items]) for name in names}
        reduced = prediction.reduce(found, inputs | {"attention_mask": mask}, torch.zeros(len(rows)))
        prediction.add(*(part.numpy() for part in reduced))
    assert prediction.finish() == {}
    assert prediction.sums.whole.waiting == {}
    listed = list(prediction.predictions())
    assert [row["id"] for row in listed] == ["0", "1", "2"]
    for example, row in enumerate(listed):
        scores, null_score = {}, math.inf
        for window in np.flatnonzero(windows.example == example):
            item, first = windows[window], windows.first[window]
            context = slice(item["context_start"], item["context_end"])
            of_window = spans_of(*(side[window, context] for side in logits), max_answer_length)
            for (start, end), score in of_window.items():
                place = start + first, end + first
                scores[place] = max(score, scores.get(place, -math.inf))
            null_score = min(null_score, float(logits[0, window, 0]) + float(logits[1, window, 0]))
        probs = shares(scores, null_score if allow_no_answer else None)
        best = max(scores, key=scores.get)
        is_null = allow_no_answer and null_score > scores[best]
        assert (row["predicted_answer"] == "") == is_null
        assert row["predicted_prob"] == pytest.approx(probs[None if is_null else best], rel=1e-5)
        assert ("null_score_diff" in row) == allow_no_answer
        assert "answers" not in row
    assert 0 < listed[0]["predicted_prob"] < 1


def independent_predictions(directory: Path, rows: list[dict], max_answer_length: int) -> list[tuple[str, int, float]]:
    """(answer, start, probability) of every row by Transformers' own windows and loops over all spans."""
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    model, tokenizer = (
        AutoModelForQuestionAnswering.from_pretrained(directory),
        AutoTokenizer.from_pretrained(directory),
    )
    found = []
    for row in rows:
        encoded = tokenizer(row["question"], row["context"], truncation="only_second", max_length=LENGTHS["max_length"],
                            stride=LENGTHS["doc_stride"], return_overflowing_tokens=True, return_offsets_mapping=True,
                            padding="max_length")  # fmt: skip
        scores = {}
        for window in range(len(encoded["input_ids"])):
            names = ("input_ids", "token_type_ids", "attention_mask")
            inputs = {name: torch.tensor([encoded[name][window]]) for name in names}
            with torch.no_grad():
                output = model.eval()(**inputs)
            places = [n for n, side in enumerate(encoded.sequence_ids(window)) if side == 1]
            sides = (side[0, places].tolist() for side in (output.start_logits, output.end_logits))
            offsets = [encoded["offset_mapping"][window][n] for n in places]
            for (first, last), score in spans_of(*sides, max_answer_length).items():
                place = offsets[first][0], offsets[last][1]
                scores[place] = max(score, scores.get(place, -math.inf))
        best = max(scores, key=scores.get)
        found.append((row["context"][slice(*best)], best[0], shares(scores, None)[best]))
    return found


def test_predictions_are_those_of_a_loop_over_transformers_windows(command, model, tmp_path):
    before = {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()}
    code, out, err = command(*PREDICT, "--model", model, "--dataset", write_jsonl(tmp_path / "notes.jsonl", ROWS))
    assert (code, out) == (0, "3 questions answered\n"), err
    assert "Answers of up to 6 tokens." in err
    expected = independent_predictions(model, ROWS, 6)
    for row, source, (answer, start, prob) in zip(lines_of(model / "predictions.jsonl"), ROWS, expected, strict=True):
        assert list(row) == [*source, "predicted_answer", "predicted_start", "predicted_score", "predicted_prob"]
        assert {name: row[name] for name in source} == source
        assert (row["predicted_answer"], row["predicted_start"]) == (answer, start)
        assert row["predicted_prob"] == pytest.approx(prob, abs=1e-5)
    after = {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()}
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"predictions.jsonl", "predict_data_problems.csv", "predict_manifest.json"}
    by_age = sorted(model.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert by_age[-1].name == "predict_manifest.json"


LABELS = {
    "answers elsewhere": ("answers", lambda n: {"text": ["takes"], "answer_start": [4]}),
    "an answer that is not there": ("answer_text", lambda n: "not in the context at all"),
    "answers that cannot be read": ("answers", lambda n: {"start": 3}),
    "marks": ("is_impossible", lambda n: n == 1),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_that_are_there_are_ignored(command, model, tmp_path, kind):
    column, label = LABELS[kind]
    labelled = [row | {column: label(number)} for number, row in enumerate(ROWS)]
    for name, rows in (("plain", ROWS), ("labelled", labelled)):
        argv = ("--dataset", write_jsonl(tmp_path / f"{name}.jsonl", rows), "--output_dir", tmp_path / name)
        code, _, err = command(*PREDICT, "--model", model, *argv, "--strict_data")
        assert code == 0, err
    first, second = (lines_of(tmp_path / name / "predictions.jsonl") for name in ("plain", "labelled"))
    for row in second:
        row.pop("is_impossible", None)
    assert second == first


def test_ids_that_are_made_are_those_of_an_evaluation(command, model, tmp_path):
    argv = ("--model", model, "--max_length", 96, "--doc_stride", 16, "--no_cuda", "--dataset", "demo")
    assert command("--do_eval", *argv, "--max_answer_length", 6, "--output_dir", tmp_path / "a")[0] == 0
    assert command("--do_predict", *argv, "--split", "validation", "--output_dir", tmp_path / "b")[0] == 0
    evaluated, predicted = (lines_of(tmp_path / name) for name in ("a/eval_predictions.jsonl", "b/predictions.jsonl"))
    names = ("id", "predicted_answer", "predicted_start")
    assert [[row[name] for name in names] for row in predicted] == [[row[name] for name in names] for row in evaluated]
    assert len(predicted) > 100


def test_the_null_outcome_takes_part_where_the_model_was_trained_so(command, trained, tmp_path):
    notes = write_jsonl(tmp_path / "notes.jsonl", ROWS)
    argv = (*PREDICT, "--model", trained["demo:v2"], "--dataset", notes)
    assert command(*argv, "--output_dir", tmp_path / "default")[0] == 0
    assert command(*argv, "--output_dir", tmp_path / "never", "--null_score_threshold", 100)[0] == 0
    assert command(*argv, "--output_dir", tmp_path / "always", "--null_score_threshold", -100)[0] == 0
    rows = {name: lines_of(tmp_path / name / "predictions.jsonl") for name in ("default", "never", "always")}
    for default, never, always in zip(*rows.values(), strict=True):
        assert (always["predicted_answer"], always["predicted_start"]) == ("", None)
        assert never["predicted_answer"] != ""
        odds = math.exp(never["predicted_score"] - always["predicted_score"])
        assert never["predicted_prob"] / always["predicted_prob"] == pytest.approx(odds, rel=1e-5)
        assert default == (always if default["null_score_diff"] > 0 else never)
        assert default["predicted_prob"] < 1


def test_without_a_manifest_there_is_always_an_answer_of_up_to_30_tokens(command, trained, tmp_path):
    model = shutil.copytree(trained["demo:v2"], tmp_path / "model")
    (model / "manifest.json").unlink()
    notes = write_jsonl(tmp_path / "notes.jsonl", ROWS)
    code, _, err = command(*PREDICT, "--model", model, "--dataset", notes)
    assert code == 0, err
    assert "Answers of up to 30 tokens." in err
    rows = lines_of(model / "predictions.jsonl")
    assert all(row["predicted_answer"] and "null_score_diff" not in row for row in rows)
    code, _, err = command(*PREDICT, "--model", model, "--dataset", notes, "--null_score_threshold", 1)
    assert (code, "the model was trained on no unanswerable questions" in err) == (2, True)


def test_nli_gives_labels_and_scores(command, tiny_model, tmp_path):
    model = train(tmp_path / "model", tiny_model, "--task", "nli", "--dataset", "demo:nli")
    rows = [{"premise": "The patient sleeps.", "hypothesis": "The patient is awake.", "ward": 3},
            {"premise": "The patient sleeps.", "hypothesis": "", "ward": 4}]  # fmt: skip
    argv = ("--task", "nli", "--do_predict", "--model", model, "--no_cuda", "--dataset")
    code, out, err = command(*argv, write_jsonl(tmp_path / "pairs.jsonl", rows))
    assert code == 0, err
    assert out.startswith("2 pairs labelled: entailment ")
    found = lines_of(model / "predictions.jsonl")
    for row, source in zip(found, rows, strict=True):
        assert list(row) == ["id", *source, "predicted_label", "predicted_scores"]
        assert list(row["predicted_scores"]) == ["entailment", "neutral", "contradiction"]
        assert sum(row["predicted_scores"].values()) == pytest.approx(1)
        assert row["predicted_label"] == max(row["predicted_scores"], key=row["predicted_scores"].get)
    problems = (model / "predict_data_problems.csv").read_text().splitlines()
    assert problems[1].split(",")[1:3] == ["empty hypothesis", "predicted all the same"]
    labelled = [row | {"label": label} for row, label in zip(rows, ("no such label", -1), strict=True)]
    code, _, err = command(*argv, write_jsonl(tmp_path / "labelled.jsonl", labelled), "--output_dir", tmp_path / "l")
    assert code == 0, err
    again = lines_of(tmp_path / "l" / "predictions.jsonl")
    assert [row["predicted_scores"] for row in again] == [row["predicted_scores"] for row in found]


def test_rows_that_cannot_be_predicted_are_listed(command, model, tmp_path):
    rows = [*ROWS, {"id": "t4", "context": " ", "question": "?"}, {"id": "t5", "context": "Ann.", "question": ""}]
    notes = write_jsonl(tmp_path / "notes.jsonl", rows)
    code, _, err = command(*PREDICT, "--model", model, "--dataset", notes, "--strict_data")
    assert (code, "--strict_data: the data have 2 problems" in err) == (1, True)
    assert command(*PREDICT, "--model", model, "--dataset", notes)[0] == 0
    assert [row["id"] for row in lines_of(model / "predictions.jsonl")] == ["t1", "t2", "t3", "t5"]
    lines = (model / "predict_data_problems.csv").read_text().splitlines()
    assert sorted(line.split(",")[0] for line in lines[1:]) == ["t4", "t5"]
    code, _, err = command(*PREDICT, "--model", model, "--dataset", write_jsonl(tmp_path / "no.jsonl", rows[3:4]))
    assert (code, "none of its 1 rows has a text to predict from" in err) == (1, True)


def test_predictions_are_replaced_as_evaluations_are(command, model, tmp_path):
    notes, others = (write_jsonl(tmp_path / f"{n}.jsonl", rows) for n, rows in (("a", ROWS), ("b", ROWS[:2])))
    argv = (*PREDICT, "--model", model, "--dataset")
    assert command(*argv, notes)[0] == 0
    first = (model / "predictions.jsonl").read_bytes()
    assert command(*argv, notes, "--max_answer_length", 1)[0] == 0
    assert (model / "predictions.jsonl").read_bytes() != first
    code, _, err = command(*argv, others)
    assert code == 2
    assert f"{model} holds predictions of {model} on {notes}, split train (3 rows)" in err
    assert "with --do_predict alone replaces them alone" in err
    assert command(*argv, others, "--overwrite_output_dir")[0] == 0
    assert len(lines_of(model / "predictions.jsonl")) == 2
    assert (model / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--do_train",), "--do_predict goes by itself"),
        (("--do_eval",), "--do_predict goes by itself"),
        (("--dataset", "demo"), "demo has the splits train, validation: choose one with --split"),
        (("--dataset", "demo", "--split", "train", "--save_nbest"), "--save_nbest needs --do_eval"),
        (("--dataset", "demo", "--validation_fraction", "0.1"), "--validation_fraction is for training"),
        (("--dataset", "demo", "--max_eval_samples", "3"), "--max_eval_samples needs --do_eval"),
        (("--dataset", "demo", "--split", "train", "--max_train_samples", "3"), "--max_train_samples needs --do_train"),
    ],
)
def test_what_does_not_go_with_predicting_is_refused(command, model, argv, words):
    code, _, err = command("--do_predict", "--model", model, "--no_cuda", *argv)
    assert (code, words in err) == (2, True), err
    assert not (model / "predictions.jsonl").exists()


def test_a_split_is_for_predicting(command):
    code, _, err = command("--do_eval", "--split", "test")
    assert (code, "--split is for --do_predict: give --train_split or --eval_split" in err) == (2, True)


def test_what_follows_a_prediction_stands_on_lines_of_its_own(command, model, tmp_path, monkeypatch):
    """The bar of a prediction ends before its files are written, so that a full disk is not told on its tail."""
    from datamap.evaluation import directories

    def full(*args):
        raise DataError("the disk is full.")

    monkeypatch.setattr(directories, "write_predictions", full)
    path = write_jsonl(tmp_path / "rows.jsonl", ROWS)
    code, _, err = command(*PREDICT, "--dataset", path, "--model", model)
    assert code == 1
    assert "error: the disk is full." in err.replace("\r", "\n").splitlines()
