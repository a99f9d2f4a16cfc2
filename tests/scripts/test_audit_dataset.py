"""audit_dataset.py as a user runs it: what it writes and says, across splits and within one, and what it refuses."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import audit_dataset
from datamap.data.groups import read_rows
from datamap.files import manifests, outputs
from datamap.files.manifests import read_manifest
from tests.paths import REAL_DATA
from tests.running import in_process

NOTE = "The patient was admitted on Monday with chest pain and was given aspirin 81 mg daily by mouth."
OTHER = "Blood pressure was normal and the lungs were clear on both sides when she came to the clinic again."
THIRD = "A third note says that the wound had healed well and that no further treatment was thought to be needed."


def row(identifier: str, context: str, question: str, answer: str) -> dict:
    answers = {"text": [answer], "answer_start": [context.index(answer)]}
    return {"id": identifier, "context": context, "question": question, "answers": answers}


TRAIN = [
    row("a", NOTE, "What was given?", "aspirin"),
    row("b", NOTE, "When was the patient admitted?", "Monday"),
    row("c", OTHER, "How were the lungs?", "clear"),
]
DEV = [
    row("a", NOTE, "What was given?", "aspirin"),  # an exact copy, under the same id
    row("d", NOTE.upper(), "what was GIVEN", "ASPIRIN"),  # but for case and punctuation
    row("e", NOTE, "Which drug did the patient receive?", "aspirin"),  # the same answer
    row("f", NOTE, "With what did the patient come?", "chest pain"),  # the same context
    row("g", f"{OTHER} {THIRD}", "What does the long note say of the wound?", "healed well"),  # one inside the other
    row("h", THIRD, "How had it healed?", "well"),  # inside g's, but that is on the same side
]
LEVELS = ["exact", "normalised", "answer", "context", "contained", "none"]


@pytest.fixture
def files(tmp_path):
    for name, rows in (("train.jsonl", TRAIN), ("dev.jsonl", DEV)):
        outputs.write_jsonl(tmp_path / name, rows)
    return tmp_path


@pytest.fixture
def audit(capsys):
    return in_process(capsys, audit_dataset.main)


def both(files, *more):
    return ("--dataset", files / "train.jsonl", "--eval_dataset", files / "dev.jsonl",
            "--output_dir", files / "audit", *more)  # fmt: skip


def test_every_row_meets_the_other_split_at_its_strongest_level(files, audit):
    code, out, err = audit(*both(files))
    assert code == 0, err
    rows = read_rows(files / "audit" / "rows.csv")
    found = rows[rows["split"] == "eval"]
    assert found["id"].tolist() == ["a", "d", "e", "f", "g", "h"]
    assert found["level"].tolist() == LEVELS
    assert rows[rows["split"] == "train"]["level"].tolist() == ["exact", "context", "contained"]
    # a, b, d, e, f share the note; c lies in g, and h too
    groups = rows.set_index(["split", "id"])["group"]
    assert groups["train", "a"] == groups["train", "b"] == groups["eval", "d"] == groups["eval", "f"]
    assert groups["train", "c"] == groups["eval", "g"] == groups["eval", "h"] != groups["train", "a"]
    opening = out.splitlines()[0]
    assert opening.startswith(
        "66.7% of the 6 eval questions are about a context that train has, and 33.3% are copies of"
    )
    assert opening.endswith("16.7% share nothing with train.")
    assert len(out.splitlines()) < 30


def test_pairs_and_figures_are_written_and_closed(files, audit):
    audit(*both(files))
    directory = files / "audit"
    pairs = outputs.read_csv(
        directory / "pairs.csv", ("id", "split", "other_id", "other_split", "level", "contradiction")
    )
    listed = {
        (one["split"], one["id"], one["other_split"], one["other_id"]): one["level"] for one in pairs.to_dict("records")
    }
    assert listed["eval", "a", "train", "a"] == "exact"
    assert listed["eval", "d", "train", "a"] == "normalised"
    assert listed["eval", "g", "train", "c"] == listed["eval", "h", "eval", "g"] == "contained"
    found = outputs.read_json(directory / "audit.json")
    assert found["splits"] == {"train": 3, "eval": 6}
    assert found["examples"]["exact"][0]["texts"][0]["question"] == "What was given?"
    assert (directory / "audit.png").stat().st_size > 10_000
    manifest = read_manifest(directory)
    assert (manifest["script"], manifest["data"]["eval_rows"]["audited_as"]) == ("audit_dataset.py", "eval")
    assert manifest["data"]["rows"]["n_rows"] == 3


def test_one_split_is_audited_against_itself(files, audit):
    code, out, err = audit("--dataset", files / "dev.jsonl", "--output_dir", files / "audit")
    assert code == 0, err
    rows = read_rows(files / "audit" / "rows.csv")
    assert rows["level"].tolist() == ["normalised", "normalised", "answer", "context", "contained", "contained"]
    assert out.startswith("33.3% of the 6 train questions repeat another one")


def test_contradictions_are_counted(files, audit):
    outputs.write_jsonl(files / "dev.jsonl", [*DEV, row("i", NOTE, "What was given?", "81 mg")])
    _, out, _ = audit(*both(files))
    assert "3 rows have the very texts of another row and another label; 4 where case" in out
    found = outputs.read_json(files / "audit" / "audit.json")["contradictions"]
    assert found["rows"] == {"exact": 3, "normalised": 4}
    assert {one["label"] for one in found["examples"][0]} == {"aspirin", "ASPIRIN", "81 mg"}


def test_resplit_keeps_groups_whole_and_ids_apart(files, audit):
    code, out, err = audit(*both(files, "--resplit", "0.5"))
    assert code == 0, err
    sides = {
        name: [json.loads(line) for line in (files / "audit" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("train", "validation")
    }
    # One group of six rows and one of three: only the smaller fits into half of nine.
    assert sorted(one["id"] for one in sides["validation"]) == ["c", "g", "h"]
    assert sorted(one["id"] for one in sides["train"]) == ["a", "b", "d", "e", "eval:a", "f"]
    assert sides["validation"][0]["resplit_why"].startswith("group of 3 rows by context and contained: validation")
    assert sides["train"][0]["answers"] == {"text": ["aspirin"], "answer_start": [NOTE.index("aspirin")]}
    assert "validation has 3 of 9 rows (33.3%; asked for 50.0%)" in out
    assert "1 ids stand in both splits: in train.jsonl and validation.jsonl those of eval have eval: before them" in err
    again = audit("--dataset", files / "audit" / "train.jsonl", "--eval_dataset", files / "audit" / "validation.jsonl",
                  "--output_dir", files / "second")  # fmt: skip
    assert again[1].splitlines()[0].endswith("100.0% share nothing with train.")


def test_a_resplit_without_room_writes_nothing(files, audit):
    code, _, err = audit(*both(files, "--resplit", "0.1"))
    assert code == 1
    assert err.splitlines()[-1] == (
        "error: --resplit 0.1: the 9 rows are 2 groups by context and contained, the smallest with 3 rows (33%), so "
        "none fits: give a larger share, or other levels with --resplit_by."
    )
    assert not (files / "audit").exists()


def predictions(directory, rows, right):
    directory.mkdir()
    lines = [
        one | {"predicted_answer": "x", "predicted_score": 1.0, "em": float(good), "f1": float(good)}
        for one, good in zip(rows, right, strict=True)
    ]
    outputs.write_jsonl(directory / outputs.EVAL_PREDICTIONS, lines)
    return directory / outputs.EVAL_PREDICTIONS


def test_predictions_are_scored_by_level(files, audit):
    path = predictions(files / "model", DEV, [1, 1, 1, 0, 1, 0])
    code, out, err = audit(*both(files, "--predictions", path))
    assert code == 0, err
    scores = {one["rows"]: one for one in outputs.read_json(files / "audit" / "audit.json")["scores"]}
    assert (scores["all"]["n_rows"], scores["seen"]["n_rows"], scores["not seen"]["n_rows"]) == (6, 5, 1)
    assert scores["seen"]["em"] == pytest.approx(80)
    assert scores["none"]["em"] == 0
    assert out.splitlines()[1].startswith("EM 66.7 (")
    assert "on the 5 rows whose context training has" in out


def test_predictions_of_other_data_are_refused(files, audit):
    path = predictions(files / "model", [DEV[0] | {"question": "Something else?"}], [1])
    code, _, err = audit(*both(files, "--predictions", path))
    assert code == 1
    assert "--predictions are of other data" in err
    assert not (files / "audit").exists()


@pytest.mark.parametrize(("score", "said"), [("null", "nan"), ("NaN", "nan"), ("7.0", "7.0"), ("-1", "-1.0")])
def test_predictions_without_a_score_are_refused(files, audit, score, said):
    path = predictions(files / "model", DEV[:2], [0, 1])
    path.write_text(path.read_text().replace('"em": 1.0', f'"em": {score}'))
    code, out, err = audit(*both(files, "--predictions", path))
    assert (code, out) == (1, "")
    assert f"error: --predictions: the row d has the em {said}, which does not lie between 0 and 1: give" in err
    assert not (files / "audit").exists()


@pytest.mark.parametrize(
    ("more", "code", "sentence"),
    [
        (("--resplit", "1.5"), 2, "1.5 does not lie between 0 and 1"),
        (("--resplit_by", "near"), 2, "invalid choice: 'near'"),
        (("--embedding_dir", "a", "b", "c"), 2, "--embedding_dir takes one directory, or two"),
        (("--embedding_dir", "nowhere"), 1, "--embedding_dir nowhere: there is no such directory."),
        (("--predictions", "nowhere.jsonl"), 1, "--predictions nowhere.jsonl cannot be read"),
        (("--ablation_dirs", "nowhere"), 1, "--ablation_dirs nowhere holds no finished evaluation"),
    ],
)
def test_what_cannot_act_is_refused_in_a_sentence(files, audit, more, code, sentence):
    found, out, err = audit(*both(files, *more))
    assert (found, out) == (code, "")
    assert sentence in err.splitlines()[-1]
    assert not (files / "audit").exists()


def test_predictions_need_a_second_split(files, audit):
    code, _, err = audit(
        "--dataset", files / "train.jsonl", "--predictions", "x.jsonl", "--output_dir", files / "audit"
    )
    assert code == 2
    assert err.splitlines()[-1] == ("error: --predictions needs a second split: give --eval_dataset or --eval_split.")


def test_the_split_that_is_trained_on_is_no_second_split(files, audit):
    code, _, err = audit("--dataset", "demo", "--eval_split", "train", "--output_dir", files / "audit")
    assert code == 2
    assert err.splitlines()[-1] == (
        "error: --eval_split train is the split that is trained on: give another one, or --eval_dataset."
    )
    assert audit("--dataset", "demo", "--split", "validation", "--output_dir", files / "audit")[0] == 0


def test_results_never_replace_the_data(files, audit):
    code, _, err = audit("--dataset", files / "train.jsonl", "--output_dir", files)
    assert code == 2
    assert "is where" in err
    code, _, err = audit("--dataset", "demo", "--output_dir", files / "train.jsonl")
    assert (code, "is a file" in err) == (2, True)


def test_another_scripts_directory_is_left_alone(files, audit):
    manifests.write_manifest(files / "audit", {"script": "run.py"})
    code, _, err = audit(*both(files))
    assert code == 2
    assert "holds the finished run of another script" in err


def write_vectors(directory, frame, vectors):
    """What extract_embeddings.py would write, with vectors that a person can check."""
    from datamap.embeddings import vectors as embedded

    directory.mkdir()
    np.save(directory / embedded.VECTORS, vectors.astype(np.float32))
    table = {"id": frame, "row": range(len(frame)), "span_source": "answer"}
    outputs.write_csv(directory / embedded.INDEX, pd.DataFrame(table))
    half = vectors.shape[1] // 2
    outputs.write_json(directory / embedded.METADATA, {"parts": {"cls": [0, half], "span": [half, 2 * half]}})
    fields = {"script": "extract_embeddings.py", "ids_sha256": manifests.ids_hash(frame)}
    manifests.write_manifest(directory, fields)


def test_near_rows_are_shown_and_not_counted(files, audit):
    write_vectors(files / "first", ["a", "b", "c"], np.array([[1, 0, 9, 9], [0, 1, 9, 9], [-1, 0, 9, 9]]))
    write_vectors(files / "second", ["f", "h"], np.array([[0.6, 0.8, 0, 0], [-3, 0, 0, 0]]))
    code, out, err = audit(*both(files, "--embedding_dir", files / "first", files / "second"))
    assert code == 0, err
    near = outputs.read_json(files / "audit" / "audit.json")["alike"]
    assert [(one["id"], one["other_id"]) for one in near] == [("h", "c"), ("f", "b")]
    assert near[1]["cosine"] == pytest.approx(0.8)
    assert "Nearest rows by their vectors, of 2 looked up: 50.0% at 0.99 or more" in out
    levels = outputs.read_csv(files / "audit" / "pairs.csv", audit_pairs())["level"]
    assert levels.tolist()[-2:] == ["alike", "alike"]
    assert read_rows(files / "audit" / "rows.csv")["level"].tolist()[3:] == LEVELS


def audit_pairs():
    return ("id", "split", "other_id", "other_split", "level", "contradiction")


def test_a_demo_split_and_its_groups_go_through_run_py(tmp_path, audit, tiny_model, command):
    code, out, err = audit("--dataset", "demo", "--output_dir", tmp_path / "audit")
    assert code == 0, err
    assert out.startswith("0.0% of the 300 validation questions are about a context that train has")
    words = ("--do_train", "--do_eval", "--dataset", "demo", "--model", tiny_model, "--num_train_epochs", "1",
             "--validation_fraction", "0.1", "--groups", tmp_path / "audit" / "rows.csv", "--no_cuda",
             "--output_dir", tmp_path / "model")  # fmt: skip
    code, _, err = command(*words)
    assert code == 0, err
    data = read_manifest(tmp_path / "model", manifests.EVAL_MANIFEST)["data"]
    assert data["eval"]["groups_sha256"] == manifests.file_hash(tmp_path / "audit" / "rows.csv")


def test_labels_that_two_files_order_differently_are_the_same(tmp_path, audit):
    first = [{"premise": "A dog runs.", "hypothesis": f"It moves {n}.", "label": name}
             for n, name in enumerate(["neutral", "entailment", "neutral", "contradiction"])]  # fmt: skip
    second = [first[3], first[1]]
    for name, rows in (("train.jsonl", first), ("dev.jsonl", second)):
        outputs.write_jsonl(tmp_path / name, rows)
    code, out, err = audit("--task", "nli", *both(tmp_path))
    assert code == 0, err
    assert out.startswith("100.0% of the 2 eval pairs share a sentence with train (100.0% both), and 100.0% are copies")
    assert "0 rows have the very texts of another row and another label; 0 where" in out


def test_levels_of_the_other_task_are_refused(tmp_path, audit):
    pairs = [("A dog runs.", "It moves.", "neutral"), ("A cat.", "It sits.", "entailment")]
    rows = [dict(zip(("premise", "hypothesis", "label"), pair, strict=True)) for pair in pairs]
    outputs.write_jsonl(tmp_path / "train.jsonl", rows)
    code, _, err = audit("--task", "nli", "--dataset", tmp_path / "train.jsonl", "--resplit_by", "template",
                         "--output_dir", tmp_path / "audit")  # fmt: skip
    assert code == 1
    assert err.splitlines()[-1] == (
        "error: --resplit_by template: the levels of nli are exact, normalised, context, contained."
    )


@pytest.mark.real_data
def test_sick_shares_sentences_as_counted_by_an_independent_loop(tmp_path, audit):
    train, test = (REAL_DATA / f"sick_{name}.jsonl" for name in ("train", "test"))
    code, out, err = audit(
        "--task", "nli", "--dataset", train, "--eval_dataset", test, "--output_dir", tmp_path / "audit"
    )
    assert code == 0, err
    known, rows = set(), [json.loads(line) for line in test.read_text(encoding="utf-8").splitlines()]
    for line in train.read_text(encoding="utf-8").splitlines():
        known |= {json.loads(line)[name].casefold().strip(". ") for name in ("premise", "hypothesis")}
    n_shared = [sum(one[name].casefold().strip(". ") in known for name in ("premise", "hypothesis")) for one in rows]
    figures = outputs.read_json(tmp_path / "audit" / "audit.json")["leading"]
    assert figures["context"] == pytest.approx(np.mean([count > 0 for count in n_shared]))
    assert figures["both"] == pytest.approx(np.mean([count == 2 for count in n_shared]))
    assert out.startswith("97.6% of the 4,927 eval pairs share a sentence with train (51.4% both)")


def test_a_killed_audit_leaves_no_manifest(files, audit, monkeypatch):
    audit(*both(files))
    monkeypatch.setattr(outputs, "write_json", lambda path, value: (_ for _ in ()).throw(KeyboardInterrupt))
    code, _, _ = audit(*both(files))
    assert code == 1
    assert not manifests.has_manifest(files / "audit")
    shutil.rmtree(files / "audit")
