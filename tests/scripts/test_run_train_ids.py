"""run.py --train_ids: the rows of a file are trained on, recorded, put into folds, found again; no others."""

import json

import pytest

from datamap.dynamics import recordings
from datamap.files import manifests
from tests.audits import rows_of
from tests.lines import lines_of, write_lines
from tests.rows import aspirin_rows
from tests.running import in_process

N_ROWS = 24
SHORT = ("--max_length", 40, "--doc_stride", 12, "--no_cuda")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with rows.jsonl: six contexts of four questions; row 023 cannot be trained on."""
    monkeypatch.chdir(tmp_path)
    rows = aspirin_rows(N_ROWS - 1)
    rows.append(rows[0] | {"id": "023", "question": " "})
    write_lines(tmp_path / "rows.jsonl", rows)
    return tmp_path


def listed(path, ids):
    path.write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")
    return path.name


def train(command, model, *argv):
    code, _, err = command("--do_train", "--dataset", "rows.jsonl", "--model", model, "--max_steps", 2, *argv, *SHORT)
    assert code == 0, err
    return err


def kept():
    """Ids that --validation_fraction 0.3 does not hold out, backwards."""
    from datamap.data.examples import hold_out, load_examples
    from datamap.data.sources import open_source

    whole = load_examples(open_source("rows.jsonl", "qa"), "train", "qa")
    rest, held_out = hold_out(whole, 0.3)
    return rest.trainable().frame["id"].tolist()[::-1], held_out.frame["id"].tolist()


def test_the_rows_of_the_file_are_trained_on_recorded_and_found_again(command, capsys, here, tiny_model):
    import extract_embeddings

    usable, held_out = kept()
    ids = usable[::2]
    argv = ("--do_eval", "--enable_cartography", "--num_train_epochs", 2, "--max_steps", -1)
    err = train(command, tiny_model, *argv, "--validation_fraction", 0.3, "--train_ids", listed(here / "ids.txt", ids))
    assert f"{len(ids)} of {len(usable)} rows of rows.jsonl, train, chosen by ids.txt." in err
    evaluated = [row["id"] for row in lines_of(here / "trainer_output" / "eval_predictions.jsonl")]
    assert evaluated == held_out
    data = manifests.read_manifest(here / "trainer_output")["data"]
    digest = manifests.file_hash(here / "ids.txt")
    assert (data["train"]["train_ids_sha256"], data["train"]["n_rows"]) == (digest, len(ids))
    assert data["train"]["ids_sha256"] == manifests.ids_hash(ids)
    assert "train_ids_sha256" not in data["eval"]
    recorded = json.loads(recordings.epoch_path(here / "cartography_output", 2).read_text())
    assert [row["id"] for row in recorded] == sorted(ids)  # in the order of the data, not of the file

    extract = in_process(capsys, extract_embeddings.main)
    code, _, err = extract("--output_dir", "vectors", "--no_cuda")
    assert code == 0, err
    assert manifests.read_manifest(here / "vectors")["data"]["rows"] == data["train"]
    (here / "ids.txt").write_text((here / "ids.txt").read_text() + "\n")
    told = "error: --train_ids ids.txt, by which the training chose its rows, {}: put it back, or give --dataset and "
    for what in ("has changed", "is gone"):
        code, _, err = extract("--output_dir", "late", "--no_cuda")
        assert (code, err.splitlines()[-1]) == (1, told.format(what) + "--split.")
        (here / "ids.txt").unlink(missing_ok=True)
    assert not (here / "late").exists()


def test_a_file_with_all_rows_changes_nothing_and_neither_does_its_order(command, here, tiny_model):
    ids = [f"{n:03d}" for n in range(N_ROWS - 1)]
    files = {"none": (), "forth": ("--train_ids", listed(here / "forth.txt", ids))}
    files["back"] = ("--train_ids", listed(here / "back.txt", reversed(ids)))
    for name, argv in files.items():
        train(command, tiny_model, *argv, "--output_dir", name)
    weights = {(here / name / "model.safetensors").read_bytes() for name in files}
    assert len(weights) == 1
    described = [manifests.read_manifest(here / name)["data"]["train"] for name in files]
    assert "train_ids_sha256" not in described[0]
    assert described[1].keys() - described[0].keys() == {"train_ids_sha256"}


def test_folds_and_groups_are_of_the_rows_of_the_file(command, here, tiny_model):
    rows_of(here / "audit", {f"{n:03d}": n % 8 for n in range(N_ROWS)})
    ids = [f"{n:03d}" for n in range(4, 20)]
    argv = ("--cross_fit", 2, "--groups", "audit/rows.csv", "--train_ids", listed(here / "ids.txt", ids))
    train(command, tiny_model, *argv)
    predictions = lines_of(here / "crossfit_output" / recordings.CROSSFIT_PREDICTIONS)
    assert [row["id"] for row in predictions] == ids
    folds = {}
    for row in predictions:
        folds.setdefault(int(row["id"]) % 8, set()).add(row["fold"])
    assert {len(found) for found in folds.values()} == {1}
    trained = manifests.read_manifest(here / "crossfit_output")["data"]["train"]
    assert trained["train_ids_sha256"] == manifests.file_hash(here / "ids.txt")


def test_a_recording_goes_on_with_the_same_ids_alone(command, here, tiny_model):
    ids = [f"{n:03d}" for n in range(8)]
    recording = ("--enable_cartography", "--save_strategy", "steps", "--save_steps", 1, "--output_dir", "out")
    train(command, tiny_model, *recording, "--train_ids", listed(here / "ids.txt", ids))
    (here / "out" / "manifest.json").unlink()
    going_on = ("--do_train", "--dataset", "rows.jsonl", "--model", tiny_model, "--max_steps", 2, *recording, *SHORT)
    going_on += ("--resume_from_checkpoint", "out/checkpoint-1", "--overwrite_output_dir", "--train_ids")
    code, _, err = command(*going_on, listed(here / "others.txt", [*ids[:-1], "010"]))
    assert (code, "its recording is of other examples (their ids differ)" in err.splitlines()[-1]) == (1, True)
    code, _, err = command(*going_on, listed(here / "same.txt", reversed(ids)))
    assert code == 0, err


def refused(command, here, tiny_model, *argv):
    code, out, err = command("--dataset", "rows.jsonl", "--model", tiny_model, *argv, *SHORT)
    assert out == ""
    assert not (here / "trainer_output").exists()
    return code, err.splitlines()[-1]


def test_ids_that_cannot_be_trained_on_are_refused(command, here, tiny_model):
    _, held_out = kept()
    argv = ("--do_train", "--do_eval", "--validation_fraction", 0.3, "--train_ids", "ids.txt")
    listed(here / "ids.txt", [*held_out, "new"])
    answer = refused(command, here, tiny_model, *argv)
    assert answer == (
        1,
        f"error: --train_ids ids.txt: this run holds out {len(held_out)} of its {len(held_out) + 1} ids "
        f"('{held_out[0]}' is the first): take them out of the file, or hold out other rows.",
    )
    listed(here / "ids.txt", ["001", "23", "24"])
    assert refused(command, here, tiny_model, "--do_train", "--train_ids", "ids.txt") == (
        1,
        "error: --train_ids ids.txt: rows.jsonl, split train lacks 2 of its 3 ids ('23' is the first): take them out "
        "of the file, or name the --dataset and --train_split that they are of.",
    )
    listed(here / "ids.txt", ["001", "023"])
    assert refused(command, here, tiny_model, "--do_train", "--train_ids", "ids.txt") == (
        1,
        "error: --train_ids ids.txt: the check of rows.jsonl, split train leaves out 1 of its 2 ids ('023' is the "
        "first): take them out of the file, or mend these rows.",
    )


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("--do_eval",), "error: --train_ids needs --do_train: add it."),
        (("--do_predict",), "error: --train_ids needs --do_train: add it."),
        (("--do_train", "--max_train_samples", 3),
         "error: --train_ids and --max_train_samples both say which rows to train on: leave one out."),
    ],
)  # fmt: skip
def test_ids_that_cannot_act_are_refused(command, here, tiny_model, argv, sentence):
    listed(here / "ids.txt", ["001"])
    assert refused(command, here, tiny_model, *argv, "--train_ids", "ids.txt") == (2, sentence)
