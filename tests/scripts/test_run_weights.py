"""run.py --example_weights: what the files of a run say of them, with what a run goes on, what is refused."""

import json

import pytest
from safetensors.numpy import load_file

from datamap.crossfit import loop
from datamap.dynamics import recordings
from datamap.files import manifests
from tests.lines import write_lines

N_ROWS = 24
SHORT = ("--max_length", 40, "--doc_stride", 12, "--no_cuda")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with rows.jsonl (six contexts of four questions), even.csv and uneven.csv, a weight of every row."""
    monkeypatch.chdir(tmp_path)
    rows = []
    for n in range(N_ROWS):
        context = f"Eve takes aspirin {n // 4}."
        answers = {"text": ["aspirin" if n % 2 else "Eve"], "answer_start": [10 if n % 2 else 0]}
        rows.append({"id": f"{n:03d}", "context": context, "question": f"Question {n}?", "answers": answers})
    write_lines(tmp_path / "rows.jsonl", rows)
    weighed(tmp_path / "even.csv", lambda n: 0.3)
    weighed(tmp_path / "uneven.csv", lambda n: 5 if n % 2 else 0.2)
    return tmp_path


def weighed(path, weight_of, rows=range(N_ROWS)):
    path.write_text("id,weight\n" + "".join(f"{n:03d},{weight_of(n)}\n" for n in rows), encoding="utf-8")


def train(command, model, *argv):
    argv = ("--do_train", "--dataset", "rows.jsonl", "--model", model, "--learning_rate", "1e-3", *argv, *SHORT)
    code, _, err = command(*argv)
    assert code == 0, err
    return err


def test_even_weights_are_none_and_uneven_ones_teach_the_heavy_rows(command, here, tiny_model):
    """The heavy half has another answer than the light one."""
    recording = ("--enable_cartography", "--num_train_epochs", 4, "--validation_fraction", 0.2, "--do_eval")
    files = {"none": (), "even": ("--example_weights", "even.csv"), "uneven": ("--example_weights", "uneven.csv")}
    for name, argv in files.items():
        err = train(command, tiny_model, *recording, "--output_dir", name, "--cartography_output_dir", f"{name}_map",
                    *argv)  # fmt: skip
        assert ("Windows weigh" in err) == (name != "none")
    none, even, uneven = (load_file(here / name / "model.safetensors") for name in files)
    assert [name for name in none if (none[name] != even[name]).any()] == []
    assert any((none[name] != uneven[name]).any() for name in none)
    epochs = [recordings.epoch_path(here / f"{name}_map", 4).read_bytes() for name in files]
    assert epochs[0] == epochs[1] != epochs[2]
    plain, heavy = ({row["id"]: row["loss"] for row in json.loads(epoch)} for epoch in epochs[1:])
    better = [plain[name] - heavy[name] for name in plain]
    odd = [int(name) % 2 for name in plain]
    assert min(gain for gain, is_heavy in zip(better, odd, strict=True) if is_heavy) > 0
    assert max(gain for gain, is_heavy in zip(better, odd, strict=True) if not is_heavy) < 0

    for directory in ("{}", "{}_map"):
        manifest = {name: manifests.read_manifest(here / directory.format(name)) for name in files}
        assert "example_weights_sha256" not in manifest["none"]["data"]["train"]
        assert manifest["even"]["data"]["train"].keys() - manifest["none"]["data"]["train"].keys() == {
            "example_weights_sha256"
        }
        for name in ("even", "uneven"):
            digest = manifests.file_hash(here / f"{name}.csv")
            assert manifest[name]["data"]["train"]["example_weights_sha256"] == digest
            assert manifest[name].get("identity", {}).get("example weights", digest) == digest
    assert "example weights" not in manifest["none"]["identity"]
    assert "example_weights_sha256" not in manifests.read_manifest(here / "even")["data"]["eval"]


def test_the_directory_of_the_weights_is_what_a_run_was_made_from(command, here, tiny_model):
    manifests.write_manifest(here / "selection", {"script": "select_examples.py"})
    (here / "even.csv").rename(here / "selection" / "weights.csv")
    train(command, tiny_model, "--max_steps", 1, "--example_weights", "selection/weights.csv")
    assert "selection/manifest.json" in manifests.read_manifest(here / "trainer_output")["made_from"]


def test_a_recording_goes_on_with_the_same_weights_alone(command, here, tiny_model):
    recording = ("--enable_cartography", "--save_strategy", "steps", "--save_steps", 1, "--output_dir", "out")
    recording += ("--max_steps", 2)
    going_on = ("--resume_from_checkpoint", "out/checkpoint-1", "--overwrite_output_dir")
    told = "error: --resume_from_checkpoint out/checkpoint-1: its recording is of other example weights: resume "
    argv = ("--do_train", "--dataset", "rows.jsonl", "--model", tiny_model, "--learning_rate", "1e-3", *SHORT)
    train(command, tiny_model, *recording, "--example_weights", "uneven.csv")
    for words in ((), ("--example_weights", "even.csv")):
        code, _, err = command(*argv, *recording, *going_on, *words)
        assert (code, err.splitlines()[-1]) == (1, f"{told}with the file of --example_weights that it had.")
    before = load_file(here / "out" / "model.safetensors")
    train(command, tiny_model, *recording, *going_on, "--example_weights", "uneven.csv")
    after = load_file(here / "out" / "model.safetensors")
    assert [name for name in before if (before[name] != after[name]).any()] == []
    train(command, tiny_model, *recording, "--overwrite_output_dir")
    code, _, err = command(*argv, *recording, *going_on, "--example_weights", "uneven.csv")
    assert (code, err.splitlines()[-1]) == (1, f"{told}without --example_weights.")


def test_an_unfinished_cross_fit_goes_on_with_the_same_weights_alone(command, here, tiny_model, monkeypatch):
    def killed(run):
        raise KeyboardInterrupt("stopped")

    argv = ("--do_train", "--cross_fit", 3, "--dataset", "rows.jsonl", "--model", tiny_model, "--max_steps", 1, *SHORT)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "cross_fit", killed)
        command(*argv, "--example_weights", "uneven.csv")
    told = "error: --resume_from_checkpoint last: the unfinished run in crossfit_output is of other example weights: "
    for words in ((), ("--example_weights", "even.csv")):
        code, _, err = command(*argv, *words, "--resume_from_checkpoint", "last")
        assert (code, err.splitlines()[-1].startswith(told)) == (1, True)
    code, _, err = command(*argv, "--example_weights", "uneven.csv", "--resume_from_checkpoint", "last")
    assert code == 0, err
    assert err.count("Windows weigh") == 3
    manifest = manifests.read_manifest(here / "crossfit_output")
    assert manifest["identity"]["example weights"] == manifests.file_hash(here / "uneven.csv")


def test_weights_of_rows_that_are_not_trained_on_are_of_no_account(command, here, tiny_model):
    """Those held out, and those that --train_ids leaves out."""
    weighed(here / "wild.csv", lambda n: 0.3 if n < 8 else 10 + n)
    (here / "ids.txt").write_text("".join(f"{n:03d}\n" for n in range(8)))
    argv = ("--train_ids", "ids.txt", "--max_steps", 2)
    train(command, tiny_model, *argv, "--output_dir", "plain")
    err = train(command, tiny_model, *argv, "--output_dir", "weighed", "--example_weights", "wild.csv")
    assert "Windows weigh 1 to 1, 1 on average." in err
    plain, other = (load_file(here / name / "model.safetensors") for name in ("plain", "weighed"))
    assert [name for name in plain if (plain[name] != other[name]).any()] == []


def test_weights_of_nli(command, here, tiny_model):
    from datamap.data.examples import load_examples
    from datamap.data.sources import open_source

    ids = load_examples(open_source("demo:nli", "nli"), "train", "nli").frame["id"].tolist()
    (here / "nli.csv").write_text("weight,id\n" + "".join(f"{1 + n % 3},{name}\n" for n, name in enumerate(ids)))
    argv = ("--do_train", "--task", "nli", "--dataset", "demo:nli", "--model", tiny_model, "--max_steps", 2)
    code, _, err = command(*argv, "--example_weights", "nli.csv", "--no_cuda", "--enable_cartography")
    assert code == 0, err
    assert "Windows weigh 0.5" in err


@pytest.mark.parametrize("argv", [("--do_eval",), ("--do_predict",)])
def test_weights_that_cannot_act_are_refused(command, here, tiny_model, argv):
    code, _, err = command("--dataset", "rows.jsonl", "--model", tiny_model, *argv, "--example_weights", "even.csv")
    assert (code, err.splitlines()[-1]) == (2, "error: --example_weights needs --do_train: add it.")


def test_weights_that_do_not_fit_leave_nothing_behind(command, here, tiny_model):
    weighed(here / "few.csv", lambda n: 1, range(3))
    argv = ("--do_train", "--dataset", "rows.jsonl", "--model", tiny_model, "--example_weights", "few.csv", *SHORT)
    code, _, err = command(*argv)
    assert (code, err.splitlines()[-1]) == (
        1,
        "error: --example_weights few.csv lacks 21 of the 24 rows to train on of rows.jsonl, split train ('003' is "
        "the first): give each of them a weight.",
    )
    assert not (here / "trainer_output").exists()
