"""run.py --groups: what is held out, evaluated later, embedded and put into folds keeps to the groups of a file."""

import json

import pytest

from datamap.crossfit import loop
from datamap.dynamics import recordings
from datamap.files import manifests, outputs
from tests.audits import rows_of
from tests.lines import lines_of, write_lines
from tests.rows import aspirin_rows
from tests.running import in_process

N_ROWS = 24
SHORT = ("--max_length", 40, "--doc_stride", 12, "--no_cuda")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with rows.jsonl (six contexts of four questions) and audit/rows.csv, whose groups cross contexts."""
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "rows.jsonl", aspirin_rows(N_ROWS))
    grouped(tmp_path / "audit")
    return tmp_path


def grouped(directory, n_groups=8, start=0):
    """rows.csv of a directory: row n is in group n modulo n_groups."""
    of_id = {f"{n:03d}": start + n % n_groups for n in range(N_ROWS)}
    return rows_of(directory, of_id | {"left out": 90}, more={"000": 91})


def group_of(row):
    return int(row["id"]) % 8


def train(command, tiny_model, *argv):
    code, _, err = command(
        "--do_train", "--dataset", "rows.jsonl", "--model", tiny_model, "--max_steps", 1, *argv, *SHORT
    )
    assert code == 0, err
    return err


@pytest.mark.parametrize("fraction", [("--validation_fraction", 0.3), ()])
def test_the_rows_held_out_are_whole_groups_and_evaluated_later_by_the_same_file_alone(
    fraction, command, here, tiny_model
):
    err = train(command, tiny_model, "--do_eval", *fraction, "--groups", "audit/rows.csv")
    n_rows, share = (6, 0.3) if fraction else (3, 0.1)  # the first group is taken though it is more than a tenth
    assert "The 24 rows of rows.jsonl, split train lie in 8 groups of audit/rows.csv, which has 1 more rows" in err
    assert f"{n_rows} of 24 rows of rows.jsonl are held out for evaluation, by group of --groups." in err
    evaluated = lines_of(here / "trainer_output" / "eval_predictions.jsonl")
    ids = [row["id"] for row in evaluated]
    groups = {group_of(row) for row in evaluated}
    assert sorted(ids) == sorted(f"{n:03d}" for n in range(N_ROWS) if n % 8 in groups)
    digest = manifests.file_hash(here / "audit" / "rows.csv")
    data = manifests.read_manifest(here / "trainer_output")["data"]
    assert [part["groups_sha256"] for part in data.values()] == [digest, digest]
    assert [data[name]["n_rows"] for name in ("train", "eval")] == [N_ROWS - n_rows, n_rows]
    assert manifests.read_manifest(here / "trainer_output", manifests.EVAL_MANIFEST)["identity"]["groups"] == digest

    later = ("--do_eval", "--dataset", "rows.jsonl", "--model", "trainer_output", "--no_cuda")
    code, _, err = command(*later, "--validation_fraction", share, "--groups", "audit/rows.csv")
    assert code == 0, err  # replaces the evaluation, as it is of the same model and rows
    assert [row["id"] for row in lines_of(here / "trainer_output" / "eval_predictions.jsonl")] == ids
    before = (here / "trainer_output" / "eval_metrics.json").read_bytes()
    told = "error: --model trainer_output was trained on rows.jsonl with --groups audit/rows.csv as it was then, so it "
    told += "has seen some of the rows that this run would hold out: give that file."
    grouped(here / "other", start=1)
    for argv in ((), ("--groups", "other/rows.csv")):
        code, _, err = command(*later, "--validation_fraction", share, *argv)
        assert (code, err.splitlines()[-1]) == (2, told)
    code, _, err = command(*later)
    assert (code, f"or --validation_fraction {share} and its --groups for those that training held out" in err) == (
        2,
        True,
    )
    assert (here / "trainer_output" / "eval_metrics.json").read_bytes() == before


def test_groups_are_refused_for_a_model_that_held_out_contexts(command, here, tiny_model):
    train(command, tiny_model, "--validation_fraction", 0.3)
    assert "groups_sha256" not in manifests.read_manifest(here / "trainer_output")["data"]["train"]
    code, _, err = command("--do_eval", "--dataset", "rows.jsonl", "--model", "trainer_output", "--no_cuda",
                           "--validation_fraction", 0.3, "--groups", "audit/rows.csv")  # fmt: skip
    assert (code, err.splitlines()[-1]) == (
        2,
        "error: --model trainer_output was trained on rows.jsonl without --groups, so it has seen some of the rows "
        "that this run would hold out: leave it out.",
    )


def test_an_evaluation_by_other_groups_is_another_one(command, here, tiny_model):
    """Of a model whose manifest says nothing of its rows."""
    train(command, tiny_model)
    (here / "trainer_output" / "manifest.json").unlink()
    argv = (
        "--do_eval",
        "--dataset",
        "rows.jsonl",
        "--model",
        "trainer_output",
        "--no_cuda",
        "--validation_fraction",
        0.3,
    )
    assert command(*argv, "--groups", "audit/rows.csv")[0] == 0
    grouped(here / "other", start=1)  # the same groups with other numbers: the same rows
    code, _, err = command(*argv, "--groups", "other/rows.csv")
    assert (code, "(6 rows), and this run has other --groups: choose another" in err.splitlines()[-1]) == (2, True), err
    code, _, err = command(*argv)
    assert (code, "this run has other rows or texts and other --groups: choose" in err.splitlines()[-1]) == (2, True), (
        err
    )
    assert command(*argv, "--groups", "audit/rows.csv")[0] == 0


def test_the_rows_that_were_trained_on_are_found_again_by_the_file_as_it_was(command, capsys, here, tiny_model):
    import extract_embeddings

    extract = in_process(capsys, extract_embeddings.main)
    train(command, tiny_model, "--validation_fraction", 0.3, "--groups", "audit/rows.csv", "--max_train_samples", 9)
    trained = manifests.read_manifest(here / "trainer_output")
    code, _, err = extract("--output_dir", "vectors", "--no_cuda")
    assert code == 0, err
    assert manifests.read_manifest(here / "vectors")["data"]["rows"] == trained["data"]["train"]
    grouped(here / "audit", start=1)
    refused = "error: --groups audit/rows.csv, by which the training held out rows, has changed: put it back, or give "
    code, _, err = extract("--output_dir", "late", "--no_cuda")
    assert (code, err.splitlines()[-1]) == (1, f"{refused}--dataset and --split.")
    (here / "audit" / "rows.csv").unlink()
    code, _, err = extract("--output_dir", "late", "--no_cuda")
    assert (code, err.splitlines()[-1]) == (1, f"{refused.replace('has changed', 'is gone')}--dataset and --split.")
    assert not (here / "late").exists()


def test_folds_keep_to_the_groups_and_the_manifest_says_by_which_file(command, here, tiny_model):
    manifests.write_manifest(here / "audit", {"script": "audit_dataset.py"})
    train(command, tiny_model, "--cross_fit", 3, "--groups", "audit/rows.csv")
    manifest = manifests.read_manifest(here / "crossfit_output")
    digest = manifests.file_hash(here / "audit" / "rows.csv")
    assert (manifest["data"]["train"]["groups_sha256"], manifest["identity"]["groups"]) == (digest, digest)
    assert manifest["out_of_fold"]["n_groups"] == 8
    assert manifest["made_from"].keys() >= {"audit/manifest.json"}
    folds = {}
    for row in lines_of(here / "crossfit_output" / recordings.CROSSFIT_PREDICTIONS):
        folds.setdefault(group_of(row), set()).add(row["fold"])
    assert {group: len(found) for group, found in folds.items()} == dict.fromkeys(range(8), 1)
    assert set.union(*folds.values()) == {1, 2, 3}


def test_an_unfinished_cross_fit_of_other_groups_is_another_run(command, here, tiny_model, monkeypatch):
    def killed(run):
        raise KeyboardInterrupt("stopped")

    argv = ("--do_train", "--cross_fit", 3, "--dataset", "rows.jsonl", "--model", tiny_model, "--max_steps", 1, *SHORT)
    grouped(here / "other", start=1)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "cross_fit", killed)
        command(*argv, "--groups", "audit/rows.csv")
    identity = json.loads((here / "crossfit_output" / recordings.IN_PROGRESS).read_text())["identity"]
    assert identity["groups"] == manifests.file_hash(here / "audit" / "rows.csv")
    told = (
        "error: --resume_from_checkpoint last: the unfinished run in crossfit_output is of other groups: give the same "
    )
    for words in ((), ("--groups", "other/rows.csv")):
        code, _, err = command(*argv, *words, "--resume_from_checkpoint", "last")
        assert (code, err.splitlines()[-1]) == (1, f"{told}command, or --overwrite_output_dir to start again.")
    code, _, err = command(*argv, "--groups", "audit/rows.csv", "--resume_from_checkpoint", "last")
    assert code == 0, err


IDLE = "error: --groups acts where rows are held out: add --validation_fraction or --cross_fit, or leave it out."


@pytest.mark.parametrize(
    "argv",
    [
        ("--do_train",),
        ("--do_eval",),
        ("--do_predict",),
        ("--do_train", "--do_eval", "--eval_dataset", "demo"),
        ("--do_train", "--do_eval", "--eval_split", "train"),
    ],
)
def test_groups_that_cannot_act_are_refused(argv, command, here, tiny_model):
    code, _, err = command(*argv, "--dataset", "rows.jsonl", "--model", tiny_model, "--groups", "gone.csv", "--no_cuda")
    assert (code, err.splitlines()[-1]) == (2, IDLE)


def test_groups_are_refused_where_there_is_a_split_to_evaluate_on(command, here, tiny_model):
    from datamap.data.examples import load_examples
    from datamap.data.sources import open_source

    ids = load_examples(open_source("demo", "qa"), "train", "qa").frame["id"]
    rows_of(here / "demo", {name: number for number, name in enumerate(ids)})
    code, _, err = command("--do_train", "--do_eval", "--dataset", "demo", "--model", tiny_model, "--groups",
                           "demo/rows.csv", *SHORT)  # fmt: skip
    assert (code, err.splitlines()[-1]) == (
        2,
        "error: --groups acts where rows are held out, but demo has the split validation to evaluate on: add "
        "--validation_fraction, or leave it out.",
    )
    assert not (here / "trainer_output").exists()


def test_files_that_are_not_of_these_rows_are_refused(command, here, tiny_model):
    argv = ("--do_train", "--dataset", "rows.jsonl", "--model", tiny_model, "--validation_fraction", 0.3, *SHORT)
    rows_of(here / "few", {"001": 0})
    code, _, err = command(*argv, "--groups", "few/rows.csv")
    assert (code, err.splitlines()[-1]) == (
        1,
        "error: --groups few/rows.csv lacks 23 of the 24 rows of rows.jsonl, split train (000 is the first): run "
        "audit_dataset.py on these data.",
    )
    rows_of(here / "dev", {"001": 0}, split="dev")
    code, _, err = command(*argv, "--groups", "dev/rows.csv")
    assert (code, "dev/rows.csv has no row of the split train (its splits: dev)" in err.splitlines()[-1]) == (1, True)
    code, _, err = command(*argv, "--groups", "gone.csv")
    assert (code, "gone.csv cannot be read" in err.splitlines()[-1]) == (1, True)
    assert not (here / "trainer_output").exists()
    assert outputs.DATA_PROBLEMS not in {path.name for path in here.rglob("*.csv")}
