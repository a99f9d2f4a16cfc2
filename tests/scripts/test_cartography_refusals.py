"""What recording refuses from the command line, each in one sentence and before anything is lost."""

import json

import pytest

import helpers
from datamap.dynamics import recordings
from datamap.files import manifests

SMALL = ("--do_train", "--enable_cartography", "--dataset", "demo", "--max_train_samples", 12, "--max_length", 48,
         "--doc_stride", 12, "--no_cuda", "--num_train_epochs", 2, "--save_strategy", "steps", "--save_steps", 1,
         "--max_steps", 3, "--per_device_train_batch_size", 4)  # fmt: skip


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory, tiny_model):
    """A recorded run that was left after its checkpoints: the manifests are gone and the mark is back."""
    import run

    place = tmp_path_factory.mktemp("unfinished")
    argv = [*SMALL, "--model", tiny_model, "--output_dir", place / "out", "--cartography_output_dir", place / "map"]
    assert helpers.run_script(run.main, [str(word) for word in argv]) == 0
    run_id = manifests.read_manifest(place / "map")["run_id"]
    assert not (place / "map" / recordings.IN_PROGRESS).exists()
    recordings.begin_recording(place / "map", run_id)
    for name in ("out", "map"):
        (place / name / "manifest.json").unlink()
    return place


def contents(place):
    return {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("--train_sampling_strategy", "sequential"), "--train_sampling_strategy random, and this run has"),
        (("--learning_rate", "0.5"), "--learning_rate 0.0001, and this run has --learning_rate 0.5"),
        (("--per_device_train_batch_size", "2"), "rows in a step 4, and this run has rows in a step 2"),
        (("--ablations", "q_only"), "other texts, labels or windows"),
        (("--dataset", "demo:v2"), "other examples (their ids differ)"),
        (("--dataloader_drop_last", "true"), "--dataloader_drop_last False"),
    ],
    ids=lambda part: part[0].strip("-") if isinstance(part, tuple) else "",
)
def test_resuming_with_other_settings_is_refused(command, unfinished, tiny_model, change, sentence):
    before = contents(unfinished)
    places = ("--output_dir", unfinished / "out", "--cartography_output_dir", unfinished / "map")
    code, _, err = command(*SMALL, "--model", tiny_model, *places, "--resume_from_checkpoint", "last", *change)
    assert code == 1
    assert err.strip().splitlines()[-1].startswith("error: --resume_from_checkpoint ")
    assert sentence in err
    assert contents(unfinished) == before


def test_another_model_is_refused(command, unfinished, still_model):
    places = ("--output_dir", unfinished / "out", "--cartography_output_dir", unfinished / "map")
    code, _, err = command(*SMALL, "--model", still_model, *places, "--resume_from_checkpoint", "last")
    assert (code, f"and this run has --model {still_model}" in err) == (1, True)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("--do_eval", "--enable_cartography"), "--enable_cartography needs --do_train"),
        (("--do_train", "--cartography_output_dir", "map"), "--cartography_output_dir needs --enable_cartography"),
        (("--do_train", "--enable_cartography", "--cartography_output_dir", " "), "the name is empty"),
        (
            ("--do_train", "--enable_cartography", "--output_dir", "same", "--cartography_output_dir", "./same"),
            "as well",
        ),
    ],
)
def test_flags_that_cannot_act_are_misuse(command, tmp_path, monkeypatch, argv, sentence):
    monkeypatch.chdir(tmp_path)
    code, _, err = command(*argv, "--dataset", "demo", "--model", "demo")
    assert (code, sentence in err) == (2, True), err
    assert list(tmp_path.iterdir()) == []


def test_one_label_has_no_margin(command, tmp_path, tiny_model):
    rows = [{"premise": f"It is {n}.", "hypothesis": "It is.", "label": "entailment"} for n in range(6)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    argv = ("--do_train", "--enable_cartography", "--task", "nli", "--dataset", data, "--model", tiny_model)
    code, _, err = command(*argv, "--no_cuda", "--output_dir", tmp_path / "out")
    assert (code, "one label only" in err) == (1, True), err


def test_a_batch_that_no_rows_fill_is_misuse(command, tmp_path, tiny_model):
    argv = ("--do_train", "--dataset", "demo", "--max_train_samples", 3, "--model", tiny_model, "--no_cuda")
    code, _, err = command(*argv, "--dataloader_drop_last", "true", "--output_dir", tmp_path / "out")
    assert (code, "drops all of the 3 rows" in err) == (2, True), err


def test_the_same_ids_with_other_texts_are_refused(command, unfinished, tiny_model, tmp_path, capsys):
    import analyze_cartography

    rows = [
        {"id": str(n), "context": f"A {colour} house {n}.", "question": f"What colour is house {n}?",
         "answers": {"text": [colour], "answer_start": [2]}}
        for n, colour in enumerate(["red", "green", "blue", "grey"])
    ]  # fmt: skip
    files = []
    for name, noun in (("a", "house"), ("b", "dog")):
        files.append(tmp_path / f"{name}.jsonl")
        files[-1].write_text("".join(json.dumps(row).replace("house", noun) + "\n" for row in rows))
    argv = ("--do_train", "--enable_cartography", "--model", tiny_model, "--dataset", files[0], "--no_cuda")
    places = ("--output_dir", tmp_path / "out", "--cartography_output_dir", tmp_path / "map")
    assert command(*argv, *places, "--num_train_epochs", 1)[0] == 0
    analysis = ["--cartography_dir", str(tmp_path / "map"), "--output_dir", str(tmp_path / "analysis")]
    assert helpers.run_script(analyze_cartography.main, [*analysis, "--dataset", str(files[1])]) == 1
    assert "all 4 ids asked for, but with other texts" in capsys.readouterr().err
    assert not (tmp_path / "analysis").exists()
    assert helpers.run_script(analyze_cartography.main, analysis) == 0
