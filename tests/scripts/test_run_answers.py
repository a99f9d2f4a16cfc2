"""What the checks of answers do to a whole run: figures, training rows, the list of problems, --strict_data."""

import json

import pandas as pd
import pytest

NOTE = "The patient was started on aspirin 81 mg daily. Blood-pressure was HIGH, 💊 and later 120 over 80, pulse 80."
TINY = ("--num_train_epochs", 1, "--max_length", 64, "--no_cuda")


def row(example, question, answers, **others):
    return {"id": example, "context": f"{NOTE} Note {example}.", "question": question, "answers": answers} | others


@pytest.fixture
def run_on(command, tmp_path, tiny_model):
    """Train and evaluate on rows; returns (exit code, log, directory, problems of the training rows)."""

    def call(rows, *flags, task="qa"):
        data, directory = tmp_path / "rows.jsonl", tmp_path / "out"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        where = ("--dataset", data, "--eval_dataset", data, "--eval_split", "train", "--output_dir", directory)
        code, _, log = command("--do_train", "--do_eval", "--task", task, "--model", tiny_model, *where, *TINY, *flags)
        assert code in (0, 1), log
        problems = pd.read_csv(directory / "data_problems.csv", dtype=str, keep_default_na=False)
        return code, log, directory, problems

    return call


OPEN = [row(f"open{n}", "Which drug?", [], is_impossible=False) for n in range(3)]
ANSWERED = [row(f"done{n}", "Which drug?", {"text": ["aspirin"], "answer_start": [27]}, is_impossible=False)
            for n in range(3)]  # fmt: skip


def test_questions_that_nobody_has_answered_are_in_no_training_and_no_figure(run_on):
    code, log, directory, problems = run_on(OPEN + ANSWERED)
    assert code == 0
    assert problems["id"].tolist() == ["open0", "open1", "open2"]
    assert set(problems["problem"]) == {"no answer, yet not marked impossible"}
    assert "no answer, yet not marked impossible  left out               3   50.0%" in log
    assert "no answer                             unanswerable, kept     0    0.0%" in log
    figures = json.loads((directory / "eval_metrics.json").read_text())
    assert (figures["eval_total"], figures["allow_no_answer"]) == (3, False)
    assert not [name for name in figures if "NoAns" in name]
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["data"]["train"]["n_rows"] == 3


def test_strict_data_stops_at_questions_that_nobody_has_answered(run_on):
    code, log, directory, _ = run_on(OPEN + ANSWERED, "--strict_data")
    assert code == 1
    assert "--strict_data" in log
    assert not (directory / "manifest.json").exists()


def test_a_marked_question_still_means_no_answer(run_on):
    _, _, directory, problems = run_on([row("none", "Which scan?", [], is_impossible=True), *OPEN, *ANSWERED])
    figures = json.loads((directory / "eval_metrics.json").read_text())
    assert (figures["eval_total"], figures["eval_NoAns_total"], len(problems)) == (4, 1, 3)


def test_an_answer_in_another_form_is_trained_on_and_either_form_is_right(run_on):
    from datamap.evaluation.metrics import squad_scores

    rows = [row("form", "What was high?", {"text": ["blood pressure"], "answer_start": [48]}),
            row("twin", "Pulse?", {"text": ["80"], "answer_start": [88]})]  # fmt: skip
    code, _, directory, problems = run_on(rows)
    assert code == 0
    assert problems[["id", "before", "after"]].values.tolist() == [
        ["form", '["blood pressure", 48]', '["Blood-pressure", 48]'],
        ["twin", "88", "94, one of 2"],
    ]
    predictions = [json.loads(line) for line in (directory / "eval_predictions.jsonl").read_text().splitlines()]
    golds = predictions[0]["answers"]
    assert golds == {"text": ["Blood-pressure", "blood pressure"], "answer_start": [48, -1]}
    exact, _ = squad_scores(["Blood-pressure", "blood pressure", "pressure"], [golds["text"]] * 3, False)
    assert exact.tolist() == [1, 1, 0]
    untracked = json.loads((directory / "manifest.json").read_text())["data"]["train"]["n_rows"]
    assert untracked == 2


def test_nli_labels_from_1_make_no_empty_class(run_on):
    rows = [
        {"id": f"k{n}", "premise": f"a man eats soup {n}", "hypothesis": f"a man {verb}", "label": label}
        for n in range(4)
        for label, verb in ((1, "eats"), (2, "is tall"), (3, "sleeps"))
    ]
    rows = [row | {"id": f"k{n}"} for n, row in enumerate(rows)]
    code, log, directory, problems = run_on(rows + [rows[0] | {"id": "again"}], task="nli")
    assert (code, len(problems)) == (0, 0)
    assert "the labels are the numbers from 1 to 3, which are read as 3 classes" in log
    assert "exact repeat of an earlier row  kept        1    7.7%" in log
    assert "no answer" not in log
    figures = json.loads((directory / "eval_metrics.json").read_text())
    assert figures["label_names"] == ["1", "2", "3"]
    assert json.loads((directory / "config.json").read_text())["id2label"] == {"0": "1", "1": "2", "2": "3"}
