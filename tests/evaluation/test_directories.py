"""An evaluation beside its model: what it writes and leaves alone, what it replaces, and what stops it."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from datamap.errors import DataError
from datamap.evaluation import directories as evaluation_dirs
from datamap.files import directories, manifests, outputs

EVALUATE = ("--do_eval", "--dataset", "demo", "--max_eval_samples", 20, "--max_length", 96, "--doc_stride", 16,
            "--no_cuda")  # fmt: skip
FILES = {"eval_metrics.json", "eval_predictions.jsonl", "eval_data_problems.csv", "eval_manifest.json"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_model):
    """A tiny model trained on demo by the script, not evaluated."""
    import helpers
    import run

    directory = tmp_path_factory.mktemp("run") / "out"
    argv = ["--do_train", "--dataset", "demo", "--model", tiny_model, "--output_dir", directory, "--max_steps", 2,
            "--max_train_samples", 16, "--max_length", 96, "--doc_stride", 16, "--no_cuda"]  # fmt: skip
    assert helpers.run_script(run.main, [*map(str, argv), "--precision", "float32"]) == 0
    return directory


@pytest.fixture
def model(trained, tmp_path) -> Path:
    """A copy of that training, to evaluate."""
    return shutil.copytree(trained, tmp_path / "model")


def contents(directory: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of change of every file below a directory, by name."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_an_evaluation_lies_beside_its_model_and_leaves_the_training_alone(command, model, monkeypatch):
    monkeypatch.chdir(model.parent)
    before = contents(model)
    code, out, err = command(*EVALUATE, "--model", "./model", "--save_nbest")
    assert code == 0, err
    assert "exact match" in out
    after = contents(model)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == FILES | {"nbest_predictions.jsonl"}
    assert names(model.parent) == {"model"}
    by_age = sorted(after.keys() - before.keys(), key=lambda name: after[name][1])
    assert by_age[-1] == "eval_manifest.json"
    manifest = manifests.read_manifest(model, manifests.EVAL_MANIFEST)
    assert list(manifest["data"]) == ["eval"]
    assert manifest["made_from"] == {"model/manifest.json": manifests.file_hash(model / "manifest.json")}


def test_the_same_evaluation_replaces_itself_and_its_leftovers(command, model):
    assert command(*EVALUATE, "--model", model, "--save_nbest")[0] == 0
    first = contents(model)
    code, _, err = command(*EVALUATE, "--model", model, "--max_answer_length", 2)
    assert code == 0, err
    second = contents(model)
    assert first.keys() - second.keys() == {"nbest_predictions.jsonl"}
    assert second["eval_metrics.json"][0] != first["eval_metrics.json"][0]
    assert second["manifest.json"] == first["manifest.json"]


OTHERS = {
    "another split": (("--eval_split", "train"), "on demo, split validation (20 rows)", "other rows or texts"),
    "another sample": (("--max_eval_samples", 21), "on demo, split validation (20 rows)", "other rows or texts"),
    "another draw": (("--seed", 7), "on demo, split validation (20 rows)", "other rows or texts"),
    "other data": (("--dataset", "demo:v2"), "on demo, split validation (20 rows)", "other rows or texts"),
    "another ablation": (("--ablations", "q_only"), "on demo, split validation (20 rows)", "another ablation"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_an_evaluation_of_something_else_stops_and_says_what_is_there(command, model, other):
    argv, there, differing = OTHERS[other]
    assert command(*EVALUATE, "--model", model)[0] == 0
    before = contents(model)
    code, out, err = command(*EVALUATE, "--model", model, *argv)
    assert (code, out) == (2, "")
    sentence = err.splitlines()[-1]
    assert f"{model} holds an evaluation of {model} {there}" in sentence
    assert f"this run has {differing}" in sentence
    assert "--output_dir" in sentence
    assert "--overwrite_output_dir" in sentence
    assert contents(model) == before
    code, _, err = command(*EVALUATE, "--model", model, *argv, "--overwrite_output_dir")
    assert code == 0, err
    after = contents(model)
    assert {name: after[name] for name in after.keys() - FILES} == {
        name: before[name] for name in before.keys() - FILES
    }
    assert after["eval_predictions.jsonl"][0] != before["eval_predictions.jsonl"][0]


def test_other_weights_of_the_same_name_are_another_model(command, model, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    elsewhere = ("--output_dir", tmp_path / "elsewhere")
    assert command(*EVALUATE, "--model", model, *elsewhere)[0] == 0
    weights = load_file(model / "model.safetensors")
    weights["qa_outputs.bias"] += torch.tensor([0.5, 0.0])
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    code, _, err = command(*EVALUATE, "--model", model, *elsewhere)
    assert code == 2
    assert "this run has other weights" in err
    moved = model.rename(tmp_path / "moved")  # the same weights in another place are the same model
    assert command(*EVALUATE, "--model", moved, *elsewhere, "--overwrite_output_dir")[0] == 0
    moved.rename(model)
    assert command(*EVALUATE, "--model", model, *elsewhere)[0] == 0


def test_an_evaluation_does_not_lie_beside_another_model(command, model, tmp_path):
    other = shutil.copytree(model, tmp_path / "other")
    (other / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes()[:-4] + b"\0\0\0\0")
    before = contents(model)
    for flags in ((), ("--overwrite_output_dir",)):
        code, _, err = command(*EVALUATE, "--model", other, "--output_dir", model, *flags)
        assert code == 2
        assert f"--output_dir {model} holds the training of another model than --model {other}" in err
        assert contents(model) == before


def test_an_evaluation_into_another_scripts_directory_is_refused(command, model, tmp_path):
    manifests.write_manifest(tmp_path / "analysis", {"script": "analyze_cartography.py"})
    code, _, err = command(*EVALUATE, "--model", model, "--output_dir", tmp_path / "analysis")
    assert code == 2
    assert "holds the finished run of another script" in err


def test_training_into_a_directory_replaces_the_evaluation_only_when_told(command, model, tiny_model):
    assert command(*EVALUATE, "--model", model)[0] == 0
    argv = ("--do_train", "--dataset", "demo", "--model", tiny_model, "--output_dir", model, "--max_steps", 1,
            "--max_train_samples", 8, "--no_cuda")  # fmt: skip
    before = contents(model)
    code, _, err = command(*argv)
    assert code == 2
    assert "holds a finished run" in err
    assert contents(model) == before
    assert command(*argv, "--overwrite_output_dir")[0] == 0
    assert not names(model) & FILES
    assert (model / "manifest.json").is_file()
    code, _, err = command(*argv[:4], model, *argv[5:], "--overwrite_output_dir")
    assert code == 2
    assert f"--model {model} lies in --output_dir {model}" in err


def test_training_beside_an_evaluation_of_another_model_is_refused(command, model, tiny_model, tmp_path):
    masked = tmp_path / "masked"
    assert command(*EVALUATE, "--model", model, "--output_dir", masked)[0] == 0
    argv = ("--do_train", "--dataset", "demo", "--model", tiny_model, "--output_dir", masked, "--max_steps", 1,
            "--max_train_samples", 8, "--no_cuda")  # fmt: skip
    code, _, err = command(*argv)
    assert code == 2
    assert f"{masked} holds an evaluation of {model} on demo" in err
    assert names(masked) == FILES
    assert command(*argv, "--overwrite_output_dir")[0] == 0
    assert not names(masked) & FILES


@pytest.mark.parametrize("directory", ["file", "file/below"])
def test_a_directory_that_cannot_be_written_is_said_before_the_model_is_loaded(
    command, model, tmp_path, monkeypatch, directory
):
    import helpers

    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(helpers, "load_model", None)
    code, _, err = command(*EVALUATE, "--model", model, "--output_dir", tmp_path / directory)
    assert code == 2
    assert f"error: --output_dir {tmp_path / directory} " in err
    assert "Traceback" not in err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_read_only_place_is_said_and_nothing_is_left_in_a_good_one(tmp_path):
    from datamap.errors import UsageError

    with pytest.raises(UsageError, match="--output_dir /proc/run cannot be written to"):
        directories.refuse_unwritable(Path("/proc/run"))
    directories.refuse_unwritable(tmp_path / "new" / "deep")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("predictions.jsonl", ("--do_predict", "--dataset")),
        ("eval_predictions.jsonl", ("--do_eval", "--eval_dataset")),
        ("predictions.jsonl", ("--do_train", "--overwrite_output_dir", "--dataset")),
    ],
)
def test_a_data_set_is_never_replaced_by_what_is_made_of_it(command, model, tiny_model, monkeypatch, name, argv):
    monkeypatch.chdir(model.parent)
    (model / name).write_text('{"context": "Aspirin daily.", "question": "How often?"}\n')
    before = contents(model)
    directory = ("--model", tiny_model, "--output_dir", "model") if "--do_train" in argv else ("--model", "model")
    code, _, err = command(*argv, f"./model/{name}", *directory)
    assert code == 2
    assert f"{argv[-1]} ./model/{name} is a file that this run replaces: choose another --output_dir." in err
    assert contents(model) == before


def killed_at(function: str, argv: list, monkeypatch) -> int:
    """Run run.py in a forked process that dies, as by `kill -9`, where it calls a function; returns its exit status."""
    import torch

    import helpers
    import run

    process = os.fork()
    if process == 0:
        torch.set_num_threads(1)  # the parent's threads do not live on in a fork, which would wait for them for ever
        owner = next(module for module in (evaluation_dirs, outputs, manifests) if hasattr(module, function))
        monkeypatch.setattr(owner, function, lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL))
        os._exit(helpers.run_script(run.main, [*map(str, argv), "--precision", "float32"]))
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_a_killed_evaluation_never_looks_finished_and_is_begun_again(command, model, monkeypatch):
    argv = [*EVALUATE, "--model", model]
    assert command(*argv, "--save_nbest")[0] == 0
    whole = contents(model)
    for function in ("write_evaluation", "write_json", "write_csv"):
        assert killed_at(function, argv, monkeypatch) == -signal.SIGKILL
        left = {name: file for name, file in contents(model).items() if not name.startswith("unfinished_evaluation/")}
        assert left == whole  # the earlier one is still whole
    assert killed_at("close_evaluation", argv, monkeypatch) == -signal.SIGKILL
    assert "eval_manifest.json" not in names(model)
    assert "nbest_predictions.jsonl" not in names(model)
    assert contents(model)["manifest.json"] == whole["manifest.json"]
    assert command(*argv, "--eval_split", "train")[0] == 0  # what an unfinished one has left stops nobody
    assert names(model) >= FILES
    assert not [name for name in names(model) if name.startswith((".", "unfinished"))]


def test_a_full_disk_leaves_the_earlier_evaluation_as_it_is(command, model, monkeypatch):
    argv = [*EVALUATE, "--model", model]
    assert command(*argv)[0] == 0
    whole = contents(model)

    def full(path, table):
        raise DataError(f"{path} could not be written (No space left on device): choose another directory.")

    monkeypatch.setattr(outputs, "write_csv", full)
    code, _, err = command(*argv)
    assert (code, err.splitlines()[-1].endswith("choose another directory.")) == (1, True)
    assert contents(model) == whole


def test_a_killed_training_leaves_no_model_of_the_one_that_it_replaces(command, model, tiny_model, monkeypatch):
    argv = ["--do_train", "--dataset", "demo", "--model", tiny_model, "--output_dir", model, "--max_steps", 1,
            "--max_train_samples", 8, "--no_cuda"]  # fmt: skip
    monkeypatch.setattr(
        "datamap.training.trainer.ExampleTrainer.train", lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)
    )
    assert killed_at("is_full", [*argv, "--overwrite_output_dir"], monkeypatch) == -signal.SIGKILL
    monkeypatch.undo()
    assert not [name for name in names(model) if name.endswith((".safetensors", ".bin")) and "args" not in name]
    code, _, err = command(*EVALUATE, "--model", model)
    assert code == 1
    assert "without weights" in err
    assert command(*argv)[0] == 0  # begun again
    assert (model / "model.safetensors").is_file()


def old_evaluation(directory: Path, *, alone: bool) -> None:
    """Turn a directory's evaluation into what the first version wrote: closed by manifest.json."""
    manifest = manifests.read_manifest(directory, manifests.EVAL_MANIFEST)
    del manifest["identity"], manifest["evaluated_model"]
    if not alone:
        manifest["data"] |= manifests.read_manifest(directory)["data"]
        manifest["model"] = "what/training-began-with"
    outputs.write_json(directory / "manifest.json", manifest | {"contract_version": 1})
    (directory / "eval_manifest.json").unlink()
    (directory / "eval_data_problems.csv").unlink()


@pytest.mark.parametrize("alone", [True, False])
def test_evaluations_of_the_first_version_are_replaced_only_when_told(command, model, tmp_path, alone):
    directory = tmp_path / "old" if alone else model
    argv = (*EVALUATE, "--model", model, "--output_dir", directory)
    assert command(*argv)[0] == 0
    old_evaluation(directory, alone=alone)
    before = contents(directory)
    code, _, err = command(*argv)
    assert code == 2
    assert f"an evaluation of {model} on demo, split validation (20 rows), and an earlier version wrote it" in err
    assert contents(directory) == before
    assert command(*argv, "--overwrite_output_dir")[0] == 0
    assert names(directory) >= FILES
    assert ("manifest.json" in names(directory)) == (not alone)
    assert command(*argv)[0] == 0


def test_gold_labels_belong_to_what_an_nli_evaluation_is_of():
    import pandas as pd

    from datamap.data.examples import Examples

    frame = pd.DataFrame({"id": ["1", "2"], "premise": ["a", "b"], "hypothesis": ["c", "d"], "label": [0, 1]})
    parts = [Examples(changed, pd.DataFrame(), "x", "dev") for changed in (frame, frame.assign(label=[0, 2]))]
    first, second = (evaluation_dirs.identity("hub/name", part, "none") for part in parts)
    assert first["rows"] != second["rows"]
    assert first == evaluation_dirs.identity("hub/name", parts[0].replaced(frame[::-1]), "none")
    assert first["weights"] == "hub/name"


def test_the_figures_of_both_ways_to_evaluate_are_the_same(command, tiny_model, tmp_path):
    """Trained and evaluated at once, then evaluated alone: the same five files, taken for the same evaluation."""
    argv = ("--do_train", "--dataset", "demo", "--model", tiny_model, "--max_steps", 1, "--max_train_samples", 8)
    assert command(*argv, *EVALUATE[3:], "--do_eval", "--output_dir", tmp_path / "both", "--save_nbest")[0] == 0
    first = contents(tmp_path / "both")
    assert command(*EVALUATE, "--model", tmp_path / "both", "--save_nbest")[0] == 0
    second = contents(tmp_path / "both")
    assert first.keys() == second.keys()
    assert second["eval_predictions.jsonl"][0] == first["eval_predictions.jsonl"][0]
    assert second["nbest_predictions.jsonl"][0] == first["nbest_predictions.jsonl"][0]
    identities = [json.loads(found["eval_manifest.json"][0])["identity"] for found in (first, second)]
    assert identities[0] == identities[1]
