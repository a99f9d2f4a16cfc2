"""find_label_errors.py: the table against the recordings it was made from, proposals, and what it refuses."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from datamap.data.examples import load_examples
from datamap.data.sources import open_source
from datamap.files import manifests, outputs
from tests.lines import lines_of, write_lines
from tests.pages import report_data

TEXT = ("id", "kind", "label", "proposal", "predicted_answer", "question", "context", "reason")
NLI_TEXT = ("id", "kind", "label", "proposal", "predicted_label", "premise", "hypothesis", "reason")


def in_directory(cwd, main, *argv):
    import helpers

    before = os.getcwd()
    os.chdir(cwd)
    code = helpers.run_script(main, [str(word) for word in argv])
    os.chdir(before)
    return code


def qa_rows():
    """48 rows: two that contradict each other, one unanswerable, one whose answer does not stand in its context."""
    frame = load_examples(open_source("demo:v2", "qa"), "train", "qa").frame.head(44)
    rows = [{"id": f"r{number:02}", "question": row.question, "context": row.context, "answers": row.answers}
            for number, row in enumerate(frame.itertuples())]  # fmt: skip
    answered = next(row for row in rows if row["answers"]["text"])
    other = {"text": [answered["context"].split()[0]], "answer_start": [0]}
    lost = {"text": ["not there"], "answer_start": [0]}
    return [*rows, answered | {"id": "again", "answers": other}, rows[0] | {"id": "lost", "answers": lost}]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, tiny_model):
    """A directory with the data, an out-of-fold recording and one of a training, of QA and of NLI."""
    import run

    cwd = tmp_path_factory.mktemp("recorded")
    write_lines(cwd / "notes.jsonl", qa_rows())
    common = ["--do_train", "--model", tiny_model, "--no_cuda", "--num_train_epochs", 2, "--learning_rate", "3e-3",
              "--precision", "float32", "--save_strategy", "no", "--max_train_samples", 44]  # fmt: skip
    qa = [*common, "--dataset", "notes.jsonl", "--max_length", 64, "--doc_stride", 16]
    nli = [*common, "--task", "nli", "--dataset", "demo:nli"]
    assert in_directory(cwd, run.main, *qa, "--cross_fit", 2) == 0
    assert in_directory(cwd, run.main, *qa, "--enable_cartography") == 0
    assert in_directory(cwd, run.main, *nli, "--cross_fit", 2, "--crossfit_output_dir", "nli_output") == 0
    return cwd


@pytest.fixture
def find(capsys):
    """Run find_label_errors.py in a directory; returns (exit code, stdout, stderr)."""
    import find_label_errors

    def call(cwd, *argv):
        capsys.readouterr()
        code = in_directory(cwd, find_label_errors.main, *argv)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def predictions(recorded):
    return {row["id"]: row for row in lines_of(recorded / "crossfit_output" / "crossfit_predictions.jsonl")}


def test_every_row_is_ranked_by_what_the_recording_says(recorded, predictions, find, tmp_path):
    code, stdout, stderr = find(recorded, "--output_dir", tmp_path / "out", "--score", "expected_f1")
    assert code == 0, stderr
    names = {"label_errors.csv", "label_errors.json", "label_errors.png", "review.html", "manifest.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    table = outputs.read_csv(tmp_path / "out" / "label_errors.csv", TEXT)
    rows = {row["id"]: row for row in qa_rows()}
    assert sorted(table["id"]) == sorted(rows)
    ranked = table[table["rank"].notna()]
    assert ranked["rank"].tolist() == list(range(1, 45))
    assert (np.diff(ranked["score"]) <= 0).all()
    for row in ranked.to_dict("records"):
        predicted, answers = predictions[row["id"]], rows[row["id"]]["answers"]
        assert row["score"] == pytest.approx(1 - predicted["expected_f1"], abs=1e-12)
        assert row["label"] == (answers["text"][0] if answers["text"] else "")
        assert row["label_start"] == (answers["answer_start"][0] if answers["text"] else -1)
        assert row["reason"] == ""
        masses = {
            "boundary": predicted["boundary_prob"],
            "place": predicted["place_prob"],
            "no_answer": predicted["null_prob"],
        }
        if row["kind"] != "contradiction":
            assert row["kind"] == (max(masses, key=masses.get) if answers["text"] else "has_answer")
        if predicted["other_prob"] > predicted["label_prob"]:
            assert (row["proposal"], row["proposal_start"]) == (predicted["other_answer"], predicted["other_start"])
            assert row["proposal_prob"] == predicted["other_prob"]
        else:
            assert row["proposal"] == ""
            assert np.isnan([row["proposal_start"], row["proposal_prob"]]).all()
    first = ranked.iloc[0]
    assert stdout.startswith(f"  1  {first['score']:.3f}  {first['kind']}  (id {first['id']})\n     Q: ")
    assert stdout.count("label: ") == 10
    summary = json.loads((tmp_path / "out" / "label_errors.json").read_text())
    assert summary["n_rows"] == 46
    assert summary["n_ranked"] == 44
    assert {kind: entry["rows"] for kind, entry in summary["kinds"].items()} == ranked["kind"].value_counts().to_dict()


def test_both_recordings_rank_together(recorded, find, tmp_path):
    both = ["--crossfit_dir", "crossfit_output", "--cartography_dir", "cartography_output"]
    assert find(recorded, *both, "--output_dir", tmp_path)[0] == 0
    table = outputs.read_csv(tmp_path / "label_errors.csv", TEXT)
    ranked = table[table["rank"].notna()]
    means = {}
    for name, columns in (("crossfit_output", ["label_prob", "expected_f1"]), ("cartography_output", ["confidence"])):
        metrics = outputs.read_csv(recorded / name / "cartography_metrics.csv", ("id",)).set_index("id")
        means[name] = metrics.loc[ranked["id"], columns].prod(axis=1).to_numpy()
    places = [[np.sum(values >= value) / len(values) for value in values] for values in means.values()]
    np.testing.assert_allclose(ranked["score"], np.mean(places, axis=0), rtol=0, atol=1e-9)
    summary = json.loads((tmp_path / "label_errors.json").read_text())
    assert (summary["score"], "confidence, in the training" in summary["definition"]) == ("combined", True)
    code, _, stderr = find(recorded, "--score", "combined", "--output_dir", tmp_path / "one")
    assert (code, "--score combined needs in_sample_confidence" in stderr) == (2, True)


def test_the_default_is_the_support_over_all_epochs(recorded, find, tmp_path):
    assert find(recorded, "--output_dir", tmp_path)[0] == 0
    table = outputs.read_csv(tmp_path / "label_errors.csv", TEXT)
    ranked = table[table["rank"].notna()]
    means = outputs.read_csv(recorded / "crossfit_output" / "cartography_metrics.csv", ("id",)).set_index("id")
    means = means.loc[ranked["id"], ["label_prob", "expected_f1"]].to_numpy()
    np.testing.assert_allclose(ranked["score"], 1 - np.sqrt(means.prod(axis=1)), rtol=0, atol=1e-9)
    assert json.loads((tmp_path / "label_errors.json").read_text())["score"] == "label_support"


def test_rows_without_numbers_come_last_with_their_reason(recorded, find, tmp_path):
    assert find(recorded, "--output_dir", tmp_path)[0] == 0
    table = outputs.read_csv(tmp_path / "label_errors.csv", TEXT)
    last = table[table["rank"].isna()].set_index("id")
    assert last.loc["lost", "reason"] == "answer not in context"
    drawn_out = last.drop(index="lost")
    assert drawn_out["reason"].tolist() == ["not in the recording (held out or not drawn)"] * len(drawn_out) != []
    assert (last["kind"] == "").all()
    assert table["id"].tolist()[-len(last) :] == last.index.tolist()


def test_contradictions_are_named(recorded, find, tmp_path):
    assert find(recorded, "--output_dir", tmp_path)[0] == 0
    table = outputs.read_csv(tmp_path / "label_errors.csv", TEXT)
    named = set(table["id"][table["kind"] == "contradiction"])
    answered = next(row["id"] for row in qa_rows() if row["answers"]["text"])
    assert named <= {"again", answered}
    assert named == {"again", answered} & set(table["id"][table["rank"].notna()]) != set()


def test_a_training_ranks_by_confidence_and_stands_beside_the_other(recorded, find, tmp_path):
    code, _, stderr = find(recorded, "--cartography_dir", "cartography_output", "--output_dir", tmp_path / "one")
    assert (code, "docs/label_errors.md" in stderr) == (0, True)
    metrics = outputs.read_csv(recorded / "cartography_output" / "cartography_metrics.csv", ("id",)).set_index("id")
    one = outputs.read_csv(tmp_path / "one" / "label_errors.csv", TEXT[:4] + TEXT[5:])
    ranked = one[one["rank"].notna()]
    expected = 1 - metrics.loc[ranked["id"], "confidence"].to_numpy()
    np.testing.assert_allclose(ranked["score"], expected, rtol=0, atol=1e-6)
    assert set(ranked["kind"]) <= {"place", "boundary", "has_answer", "contradiction"}
    both = ["--crossfit_dir", "crossfit_output", "--cartography_dir", "cartography_output"]
    assert find(recorded, *both, "--output_dir", tmp_path / "both", "--score", "label_support")[0] == 0
    assert find(recorded, "--output_dir", tmp_path / "alone")[0] == 0
    both, alone = (outputs.read_csv(tmp_path / name / "label_errors.csv", TEXT) for name in ("both", "alone"))
    pd.testing.assert_frame_equal(both[alone.columns.tolist()], alone)
    found = both[both["rank"].notna()].set_index("id")["in_sample_confidence"]
    np.testing.assert_allclose(found, metrics.loc[found.index, "confidence"], rtol=0, atol=1e-6)


def test_the_review_page_has_the_rankings_head_and_rows_drawn_from_all(recorded, predictions, find, tmp_path):
    words = ["--review_rows", 20, "--audit_share", 0.5, "--seed", 7]
    code, _, stderr = find(recorded, "--output_dir", tmp_path / "out", *words)
    assert code == 0, stderr
    head, rows = report_data(tmp_path / "out" / "review.html")
    table = outputs.read_csv(tmp_path / "out" / "label_errors.csv", TEXT).set_index("id")
    assert (head["labels"], head["n_rows"], head["show_origin"]) == ([], 46, False)
    for row in rows:
        known = table.loc[row["id"]]
        assert (row["before"]["text"] or [""])[0] == known["label"]
        assert row["rank"] == (None if np.isnan(known["rank"]) else known["rank"])
        if row["rank"] is not None:
            found = predictions[row["id"]]
            assert row["other"] == [found["other_answer"], found["other_start"]]
    queued = [row["rank"] for row in rows if row["drawn"] == "queue"]
    audited = {row["rank"] for row in rows if row["drawn"] == "audit"}
    assert queued == [rank for rank in range(1, 47) if rank not in audited][:10]
    code, _, _ = find(recorded, "--output_dir", tmp_path / "again", *words, "--show_origin")
    assert report_data(tmp_path / "again" / "review.html")[1] == rows


def test_a_page_that_would_be_too_large_has_the_first_of_its_rows_and_says_so(recorded, find, tmp_path, monkeypatch):
    from datamap.report import review

    assert find(recorded, "--output_dir", tmp_path / "whole")[0] == 0
    _, whole = report_data(tmp_path / "whole" / "review.html")
    size = (tmp_path / "whole" / "review.html").stat().st_size
    monkeypatch.setattr(review, "MAX_CHARACTERS", size - 1500)
    code, _, stderr = find(recorded, "--output_dir", tmp_path / "cut")
    assert code == 0
    _, rows = report_data(tmp_path / "cut" / "review.html")
    assert 0 < len(rows) < 46
    assert rows == whole[: len(rows)]
    assert (tmp_path / "cut" / "review.html").stat().st_size <= size - 1500
    assert f"review.html has {len(rows)} rows instead of 46" in stderr


@pytest.mark.parametrize("share", ["-0.1", "1.5", "nan"])
def test_a_share_is_a_number_from_0_to_1(recorded, find, tmp_path, share):
    code, _, stderr = find(recorded, "--output_dir", tmp_path / "no", f"--audit_share={share}")
    assert (code, (tmp_path / "no").exists()) == (2, False)
    assert "does not lie from 0 to 1" in stderr


@pytest.mark.parametrize(
    "score", ["label_support", "self_confidence", "normalized_margin", "confidence", "aum", "loss", "el2n"]
)
def test_scores_can_be_chosen(recorded, find, tmp_path, score):
    assert find(recorded, "--output_dir", tmp_path, "--score", score)[0] == 0
    table = outputs.read_csv(tmp_path / "label_errors.csv", TEXT)
    ranked = table[table["rank"].notna()]
    assert ranked["score"].between(0, 1).all()
    assert ranked["score"].nunique() > 20
    assert json.loads((tmp_path / "label_errors.json").read_text())["score"] == score


def test_nli_is_ranked_by_its_labels_probability(recorded, find, tmp_path):
    by_label = ["--crossfit_dir", "nli_output", "--output_dir", tmp_path, "--score", "self_confidence"]
    code, stdout, stderr = find(recorded, *by_label)
    assert code == 0, stderr
    lines = (recorded / "nli_output" / "crossfit_predictions.jsonl").read_text(encoding="utf-8").splitlines()
    scores = {row["id"]: row["predicted_scores"] for row in map(json.loads, lines)}
    table = outputs.read_csv(tmp_path / "label_errors.csv", NLI_TEXT)
    ranked = table[table["rank"].notna()]
    assert len(ranked) == 44
    for row in ranked.to_dict("records"):
        probs = scores[row["id"]]
        assert row["score"] == pytest.approx(1 - probs[row["label"]], abs=1e-12)
        best = max((name for name in probs if name != row["label"]), key=probs.get)
        assert row["proposal"] == (best if probs[best] > probs[row["label"]] else "")
        assert row["kind"] in ("label", "contradiction")
    assert "     P: " in stdout
    assert find(recorded, *by_label[:4])[0] == 0
    table = outputs.read_csv(tmp_path / "label_errors.csv", NLI_TEXT)
    metrics = outputs.read_csv(recorded / "nli_output" / "cartography_metrics.csv", ("id",)).set_index("id")
    ranked = table[table["rank"].notna()]
    np.testing.assert_allclose(ranked["score"], metrics.loc[ranked["id"], "el2n"] / np.sqrt(2), rtol=0, atol=1e-6)
    code, _, stderr = find(recorded, "--crossfit_dir", "nli_output", "--output_dir", tmp_path, "--score", "expected_f1")
    assert (code, "--score expected_f1 needs expected_f1, which an out-of-fold recording of nli" in stderr) == (2, True)


def test_what_cannot_be_read_is_refused_and_nothing_is_written(recorded, find, tmp_path):
    out = tmp_path / "out"
    for argv, code, sentence in (
        (["--crossfit_dir", "cartography_output"], 2, "not one out of fold"),
        (["--cartography_dir", "crossfit_output"], 2, "give it as --crossfit_dir"),
        (["--crossfit_dir", "absent"], 1, "--crossfit_dir absent: there is no such directory"),
        (["--crossfit_dir", "nli_output", "--cartography_dir", "cartography_output"], 2, "recordings of other rows"),
        (["--dataset", "demo:v2"], 1, "ids asked for are there"),
        (["--output_dir", "crossfit_output"], 2, "is --crossfit_dir as well"),
        (["--score", "best"], 2, "invalid choice: 'best'"),
    ):
        words = argv if "--output_dir" in argv else [*argv, "--output_dir", out]
        found, _, stderr = find(recorded, *words)
        assert (found, sentence in stderr.splitlines()[-1]) == (code, True), stderr
        assert not out.exists()


def test_other_predictions_or_other_texts_are_refused(recorded, find, tmp_path):
    for name in ("crossfit_output", "notes.jsonl"):
        source = recorded / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    rows = qa_rows()
    write_lines(tmp_path / "notes.jsonl", [row | {"question": row["question"] + "?"} for row in rows])
    code, _, stderr = find(tmp_path)
    assert (code, "but with other texts" in stderr) == (1, True)
    write_lines(tmp_path / "notes.jsonl", rows)
    path = tmp_path / "crossfit_output" / "crossfit_predictions.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"fold": 1', '"fold": 2', 1), encoding="utf-8")
    code, _, stderr = find(tmp_path)
    assert (code, "is not the file that" in stderr) == (1, True)
    assert not (tmp_path / "label_errors").exists()
    assert not manifests.has_manifest(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "code", "said"),
    [
        ("untracked_examples.csv", "row,why\n1,2\n", 1, "untracked_examples.csv cannot be read (it has no column id)"),
        ("untracked_examples.csv", "", 1, "untracked_examples.csv cannot be read (No columns to parse from file)"),
        ("manifest.json", {"out_of_fold": None}, 1, "crossfit_predictions.jsonl is not the file that"),
        ("manifest.json", {"out_of_fold": {"n_folds": 2}}, 1, "crossfit_predictions.jsonl is not the file that"),
        ("manifest.json", {"data": None}, 2, "crossfit_output names no data set: give --dataset."),
    ],
)
def test_edited_files_of_a_recording_are_refused(recorded, find, tmp_path, name, text, code, said):
    shutil.copytree(recorded / "crossfit_output", tmp_path / "crossfit_output")
    shutil.copy(recorded / "notes.jsonl", tmp_path)
    path = tmp_path / "crossfit_output" / name
    if isinstance(text, dict):
        manifest = json.loads(path.read_text(encoding="utf-8")) | text
        text = json.dumps({key: value for key, value in manifest.items() if key != "data" or value})
    path.write_text(text, encoding="utf-8")
    found, _, stderr = find(tmp_path)
    assert (found, said in stderr.splitlines()[-1]) == (code, True), stderr
    assert not (tmp_path / "label_errors").exists()


def test_nli_labels_that_changed_since_the_recording_are_refused(recorded, find, tmp_path):
    examples = load_examples(open_source("demo:nli", "nli"), "train", "nli")
    names = examples.label_names
    rows = [row | {"label": names[row["label"]]} for row in
            examples.frame[["id", "premise", "hypothesis", "label"]].to_dict("records")]  # fmt: skip
    words = "--crossfit_dir", "nli_output", "--dataset", tmp_path / "pairs.jsonl", "--output_dir", tmp_path / "out"
    write_lines(tmp_path / "pairs.jsonl", rows)
    code, _, stderr = find(recorded, *words)
    assert code == 0, stderr
    shutil.rmtree(tmp_path / "out")
    judged = lines_of(recorded / "nli_output" / "crossfit_predictions.jsonl")[3]["id"]
    other = {row["id"]: names[(names.index(row["label"]) + 1) % len(names)] for row in rows if row["id"] == judged}
    write_lines(tmp_path / "pairs.jsonl", [row | {"label": other.get(row["id"], row["label"])} for row in rows])
    code, _, stderr = find(recorded, *words)
    assert (code, f"the data have another label of the row {judged} than the one" in stderr) == (1, True), stderr
    assert not (tmp_path / "out").exists()
