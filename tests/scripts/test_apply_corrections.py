"""apply_corrections.py: a corrected data set that run.py trains on, what takes it back, and what it refuses."""

import json

import pandas as pd
import pytest

from datamap.data.examples import load_examples
from datamap.data.sources import open_source
from datamap.files import manifests, outputs
from datamap.labels.rows import row_hash
from tests.lines import lines_of, write_lines
from tests.running import in_process

CONTEXT = "Aspirin 81 mg was stopped. Warfarin 5 mg was begun."
NONE = {"text": [], "answer_start": []}
CHANGE_TEXTS = ("id", "field", "before", "after", "decision", "reviewer", "decided_at", "row")


def answer(text):
    return {"text": [text], "answer_start": [CONTEXT.index(text)]} if text else NONE


def correction(identifier, before, after, **more):
    return {"id": identifier, "field": "answers", "before": before, "after": after} | more


@pytest.fixture
def apply(capsys, tmp_path, monkeypatch):
    """Run apply_corrections.py in an empty directory; returns (exit code, stdout, stderr)."""
    import apply_corrections

    monkeypatch.chdir(tmp_path)
    return in_process(capsys, apply_corrections.main)


@pytest.fixture
def notes(tmp_path):
    """Five questions without ids, with a column of numbers, one of lists, and marks of unanswerable ones."""
    asked = [
        ("Aspirin", 1.5, ["a"]),
        ("81 mg", None, []),
        ("", 2.0, None),
        ("Warfarin", 0.0, ["b", "c"]),
        ("5 mg", 3.0, ["d"]),
    ]
    rows = [{"question": f"Q{number}?", "context": CONTEXT, "answers": answer(text), "is_impossible": not text,
             "weight": weight, "votes": votes} for number, (text, weight, votes) in enumerate(asked)]  # fmt: skip
    return write_lines(tmp_path / "notes.jsonl", rows)


def ids_of(path):
    return load_examples(open_source(str(path), "qa"), "train", "qa").frame["id"].tolist()


def files_in(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_corrections_are_applied_counted_and_taken_back_byte_for_byte(apply, notes, tmp_path):
    ids = ids_of(notes)
    patch = write_lines(tmp_path / "corrections.jsonl", [
        correction(ids[0], answer("Aspirin"), None, reviewer="Ann", decided_at="2026-11-26T10:00:00Z"),
        correction(ids[1], answer("81 mg"), NONE, decision="no_answer", kind="no_answer"),
        correction(ids[2], NONE, answer("stopped")),
        correction(ids[3], answer("Warfarin"), answer("Warfarin")),
        correction(ids[4], answer("5 mg"), None),
    ])  # fmt: skip
    code, stdout, stderr = apply("--dataset", notes, "--corrections", patch)
    assert code == 0, stderr
    assert stdout.startswith(
        "5 of 5 rows decided: 2 changed, 2 left out, 1 stay.\n0 of the rows decided were drawn at random"
    )
    out = tmp_path / "corrected"
    assert set(files_in(out)) == {
        "corrected.jsonl",
        "changes.csv",
        "review_summary.json",
        "data_problems.csv",
        "manifest.json",
    }
    rows = lines_of(out / "corrected.jsonl")
    assert [row["id"] for row in rows] == ids[1:4]
    assert [row["answers"] for row in rows] == [NONE, answer("stopped"), answer("Warfarin")]
    assert [row["is_impossible"] for row in rows] == [True, False, False]
    assert [row["votes"] for row in rows] == [[], None, ["b", "c"]]
    changes = outputs.read_csv(out / "changes.csv", CHANGE_TEXTS)
    assert changes["position"].tolist() == [0, 1, 2, 4]
    assert changes["after"].tolist()[0] == "null"
    assert (changes["reviewer"][0], changes["decided_at"][0]) == ("Ann", "2026-11-26T10:00:00Z")
    again = load_examples(open_source(str(out / "corrected.jsonl"), "qa"), "train", "qa")
    assert again.frame["id"].tolist() == ids[1:4]
    assert again.frame["usable_for_training"].all()
    assert again.n_unanswerable == 1
    empty = write_lines(tmp_path / "empty.jsonl", [])
    assert apply("--dataset", notes, "--corrections", empty, "--output_dir", "unpatched")[0] == 0
    assert len(lines_of(tmp_path / "unpatched" / "corrected.jsonl")) == 5
    code, stdout, stderr = apply("--dataset", "corrected/corrected.jsonl", "--revert")
    assert (code, stdout) == (0, "4 rows are as they were before; 5 in all.\n"), stderr
    unpatched = (tmp_path / "unpatched" / "corrected.jsonl").read_bytes()
    assert (tmp_path / "restored" / "corrected.jsonl").read_bytes() == unpatched
    assert apply("--dataset", "restored/corrected.jsonl", "--corrections", empty, "--output_dir", "twice")[0] == 0
    assert (tmp_path / "twice" / "corrected.jsonl").read_bytes() == unpatched


def test_the_hash_of_a_row_holds_it_to_its_texts(apply, notes, tmp_path):
    empty = write_lines(tmp_path / "empty.jsonl", [])
    assert apply("--dataset", notes, "--corrections", empty)[0] == 0
    row = lines_of(tmp_path / "corrected" / "corrected.jsonl")[0]
    good = correction(row["id"], row["answers"], NONE, before_sha256=row_hash(row))
    patch = write_lines(tmp_path / "patch.jsonl", [good])
    assert apply("--dataset", notes, "--corrections", patch)[0] == 0
    others = [json.loads(line) | {"id": f"r{number}"} for number, line in enumerate(notes.read_text().splitlines())]
    others[0] |= {"id": row["id"], "weight": 9}
    other = write_lines(tmp_path / "other.jsonl", others)
    code, _, stderr = apply("--dataset", other, "--corrections", patch, "--output_dir", "no")
    assert code == 1
    assert "before_sha256 does not fit" in stderr
    assert not (tmp_path / "no").exists()


def test_several_reviewers_where_they_disagree_the_row_stays_and_is_listed(apply, notes, tmp_path):
    ids = ids_of(notes)
    befores = [answer(text) for text in ("Aspirin", "81 mg", "")]
    first = [
        correction(identifier, before, None, reviewer="Ann") for identifier, before in zip(ids, befores, strict=False)
    ]
    second = [
        first[0],
        correction(ids[1], befores[1], NONE, reviewer="Bob"),
        correction(ids[3], answer("Warfarin"), NONE),
    ]
    paths = [write_lines(tmp_path / f"{name}.jsonl", rows) for name, rows in (("ann", first), ("bob", second))]
    code, stdout, stderr = apply("--dataset", notes, "--corrections", *paths)
    assert code == 0, stderr
    out = tmp_path / "corrected"
    rows = {row["id"]: row["answers"] for row in lines_of(out / "corrected.jsonl")}
    assert rows == {ids[1]: befores[1], ids[3]: NONE, ids[4]: answer("5 mg")}
    listed = pd.read_csv(out / "disagreements.csv", dtype=str, na_filter=False)
    assert listed["id"].tolist() == [ids[1]] * 2
    assert listed["reviewer"].tolist() == ["Ann", "Bob"]
    assert listed["after"].tolist() == ["null", json.dumps(NONE)]
    summary = outputs.read_json(out / "review_summary.json")
    assert summary["n_disagreements"] == 1
    assert summary["agreement"][0]["kappa"] == 0.0  # observed 1/2, by chance (2 of 2) x (1 of 2)
    assert "On 1 rows files disagree: they stay, see disagreements.csv." in stdout


def test_nli_is_corrected_by_names(apply, tmp_path):
    written = write_lines(tmp_path / "pairs.jsonl", [
        {"premise": "p", "hypothesis": f"h{number}", "label": label, "id": f"r{number}"}
        for number, label in enumerate(["neutral", "entailment", "contradiction"])
    ])  # fmt: skip
    lines = [{"id": "r0", "field": "label", "before": "neutral", "after": "contradiction"},
             {"id": "r1", "field": "label", "before": "entailment", "after": None}]  # fmt: skip
    patch = write_lines(tmp_path / "patch.jsonl", lines)
    code, _, stderr = apply("--task", "nli", "--dataset", written, "--corrections", patch)
    assert code == 0, stderr
    found = [(row["id"], row["label"]) for row in lines_of(tmp_path / "corrected" / "corrected.jsonl")]
    assert found == [("r0", "contradiction"), ("r2", "contradiction")]


def test_run_trains_on_it_and_says_which_corrections_it_holds(apply, command, notes, tiny_model, tmp_path):
    ids = ids_of(notes)
    patch = write_lines(tmp_path / "patch.jsonl", [correction(ids[0], answer("Aspirin"), answer("stopped")),
                                                   correction(ids[2], NONE, None)])  # fmt: skip
    assert apply("--dataset", notes, "--corrections", patch)[0] == 0
    words = ["--do_train", "--dataset", "corrected/corrected.jsonl", "--model", tiny_model, "--no_cuda", "--max_steps",
             1, "--save_strategy", "no", "--max_length", 64, "--doc_stride", 16]  # fmt: skip
    assert command(*words)[0] == 0
    held = manifests.read_manifest(tmp_path / "trainer_output")["data"]["train"]["corrections"]
    assert held == {
        "n_changed": 1,
        "n_left_out": 1,
        "files": {str(patch): manifests.file_hash(patch)},
        "manifest_sha256": manifests.file_hash(tmp_path / "corrected" / "manifest.json"),
    }
    with (tmp_path / "corrected" / "corrected.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(lines_of(notes)[0]) + "\n")
    code, _, stderr = command(*words, "--overwrite_output_dir")
    assert (code, "has changed since the corrections were applied" in stderr) == (0, True)
    assert "corrections" not in manifests.read_manifest(tmp_path / "trainer_output")["data"]["train"]


def test_what_does_not_fit_is_refused_and_what_was_there_stays(apply, notes, tmp_path):
    ids = ids_of(notes)
    good = write_lines(tmp_path / "good.jsonl", [correction(ids[0], answer("Aspirin"), None)])
    assert apply("--dataset", notes, "--corrections", good)[0] == 0
    inside = write_lines(tmp_path / "corrected" / "corrections.jsonl", [])
    before = files_in(tmp_path / "corrected")
    bad = write_lines(tmp_path / "bad.jsonl", [correction(ids[0], answer("Warfarin"), None)])
    other = tmp_path / "other"
    other.mkdir()
    (other / "manifest.json").write_text('{"script": "run.py"}')
    refused = [
        (["--corrections", bad], 1, "bad.jsonl, line 1: the label of"),
        (["--corrections", tmp_path / "none.jsonl"], 1, "there is no such file"),
        (["--corrections", good, good], 2, "names a file twice"),
        ([], 2, "give --corrections"),
        (["--corrections", good, "--revert"], 2, "leave --corrections out"),
        (["--revert", "--task", "qa"], 2, "leave --task out"),
        (["--revert", "--split", "train"], 2, "leave --split out"),
        (["--corrections", good, "--output_dir", tmp_path], 2, "is where --dataset lies"),
        (["--corrections", good, "--output_dir", other], 2, "holds the finished run of another script"),
        (["--corrections", good, "--split", "dev"], 1, "no split 'dev'"),
        (["--corrections", good, "--task", "nli"], 1, "premise"),
        (["--corrections", inside], 2, "lies in --output_dir"),
        (["--revert"], 1, "no finished run of apply_corrections.py"),
    ]  # fmt: skip
    for words, code, said in refused:
        found, stdout, stderr = apply("--dataset", notes, *words)
        assert (found, stdout) == (code, ""), (words, stderr)
        assert said in stderr
        assert "Traceback" not in stderr
        assert files_in(tmp_path / "corrected") == before
    assert not (tmp_path / "restored").exists()


@pytest.mark.parametrize("name", ["corrected.jsonl", "changes.csv"])
def test_only_what_was_written_is_taken_back(apply, notes, tmp_path, name):
    patch = write_lines(tmp_path / "patch.jsonl", [correction(ids_of(notes)[0], answer("Aspirin"), None)])
    assert apply("--dataset", notes, "--corrections", patch)[0] == 0
    with (tmp_path / "corrected" / name).open("a", encoding="utf-8") as file:
        file.write("\n")
    code, _, stderr = apply("--dataset", "corrected/corrected.jsonl", "--revert")
    assert code == 1
    assert f"{name} is not the file that apply_corrections.py wrote" in stderr
    assert not (tmp_path / "restored").exists()
