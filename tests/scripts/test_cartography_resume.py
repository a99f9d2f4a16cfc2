"""Resuming a recording: the same files as without the interruption, or a refusal that says why."""

import pytest
import torch

from cartography_callback import CartographyCallback
from datamap.dynamics import recordings
from datamap.errors import DataError
from tests.trainers import make_trainer, recorded

RESUMED = {"num_train_epochs": 3, "per_device_train_batch_size": 6, "save_strategy": "steps", "save_steps": 3}


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, tiny_model, tokenizer):
    """An uninterrupted recording of 20 examples with a checkpoint every 3 steps."""
    place = tmp_path_factory.mktemp("whole")
    trainer = make_trainer(tiny_model, tokenizer, place / "run", n_rows=20, **RESUMED)
    recorded(trainer, place / "map", [str(number) for number in range(20)], **{"--seed": 5})
    return place


def checkpoint_steps(place):
    return sorted(int(path.name.removeprefix("checkpoint-")) for path in (place / "run").glob("checkpoint-*"))


def copy_epochs(source, target, numbers):
    target.mkdir()
    (target / recordings.IN_PROGRESS).write_bytes((source / recordings.IN_PROGRESS).read_bytes())
    for number in numbers:
        path = recordings.epoch_path(source, number)
        (target / path.name).write_bytes(path.read_bytes())


@pytest.mark.parametrize("moment", ["first epoch", "middle of the second", "end of the second", "last step"])
def test_resuming_gives_the_files_of_the_uninterrupted_run(whole_run, tiny_model, tokenizer, tmp_path, moment):
    steps = checkpoint_steps(whole_run)
    per_epoch = steps[-1] / 3
    wanted = {"first epoch": 0.5, "middle of the second": 1.5, "end of the second": 2, "last step": 3}[moment]
    step = min(steps, key=lambda number: abs(number - wanted * per_epoch))
    assert moment not in ("end of the second", "last step") or step == wanted * per_epoch
    checkpoint = whole_run / "run" / f"checkpoint-{step}"
    finished = recordings.read_state(checkpoint).finished
    copy_epochs(whole_run / "map", tmp_path / "map", (1, 2, 3))
    for number in {1, 2, 3} - finished.keys():  # written after the checkpoint, by another run: not to be mixed in
        recordings.epoch_path(tmp_path / "map", number).write_text('[{"id": "stale"}]')
    trainer = make_trainer(tiny_model, tokenizer, tmp_path / "run", n_rows=20, **RESUMED)
    recorded(trainer, tmp_path / "map", [str(number) for number in range(20)], checkpoint=checkpoint, **{"--seed": 5})
    written = {path.name: path.read_bytes() for path in (tmp_path / "map").iterdir()}
    assert written == {path.name: path.read_bytes() for path in (whole_run / "map").iterdir()}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"n_rows": 19}, "n_examples 20, and this run has n_examples 19"),
        ({"variant": "v2"}, "other texts, labels or windows"),
        ({"ids": [f"other {number}" for number in range(20)]}, "other examples (their ids differ)"),
        ({"seed": 6}, "--seed 5, and this run has --seed 6"),
        ({"task": "nli"}, "task qa, and this run has task nli"),
    ],
    ids=["size", "texts", "ids", "seed", "task"],
)
def test_resuming_another_run_is_refused_with_the_reason(whole_run, tiny_model, tokenizer, tmp_path, change, sentence):
    n_rows, variant = change.get("n_rows", 20), change.get("variant", "")
    trainer = make_trainer(tiny_model, tokenizer, tmp_path / "run", variant, n_rows, **RESUMED)
    ids = change.get("ids", [str(number) for number in range(n_rows)])
    identity = {"--seed": change.get("seed", 5)}
    task = change.get("task", "qa")
    recorder = CartographyCallback(whole_run / "map", ids, trainer.train_dataset, task=task, identity=identity)
    before = {path.name: path.read_bytes() for path in (whole_run / "map").iterdir()}
    with pytest.raises(DataError) as refused:
        recorder.resume_from(whole_run / "run" / f"checkpoint-{checkpoint_steps(whole_run)[-1]}")
    assert sentence in str(refused.value)
    assert {path.name: path.read_bytes() for path in (whole_run / "map").iterdir()} == before


def test_another_budget_is_no_reason_to_refuse_but_is_told(whole_run, tiny_model, tokenizer, tmp_path, caplog):
    trainer = make_trainer(tiny_model, tokenizer, tmp_path / "run", n_rows=20, **RESUMED)
    ids, identity = [str(number) for number in range(20)], {"--seed": 5, "--micro_batch_tokens": 64}
    recorder = CartographyCallback(whole_run / "map", ids, trainer.train_dataset, task="qa", identity=identity)
    recorder.resume_from(whole_run / "run" / f"checkpoint-{checkpoint_steps(whole_run)[-1]}")
    said = "made with another --micro_batch_tokens; from here on it is 64"
    assert sum(said in message for message in caplog.messages) == 1


def test_missing_and_foreign_epoch_files_are_refused(whole_run, tiny_model, tokenizer, tmp_path):
    trainer = make_trainer(tiny_model, tokenizer, tmp_path / "run", n_rows=20, **RESUMED)
    ids = [str(number) for number in range(20)]
    recorder = CartographyCallback(tmp_path / "map", ids, trainer.train_dataset, task="qa", identity={"--seed": 5})
    checkpoint = whole_run / "run" / f"checkpoint-{checkpoint_steps(whole_run)[-1]}"
    with pytest.raises(DataError, match=r"epoch_1\.json is missing"):
        recorder.resume_from(checkpoint)
    copy_epochs(whole_run / "map", tmp_path / "map", (1, 2))
    path = recordings.epoch_path(tmp_path / "map", 2)
    path.write_text(path.read_text().replace("0.", "0.1", 1))
    with pytest.raises(DataError, match=r"epoch_2\.json is not the file"):
        recorder.resume_from(checkpoint)


def test_another_runs_epochs_are_never_removed(whole_run, tiny_model, tokenizer, tmp_path):
    """A run that is resumed in its first epoch into the directory of another one, which has epochs already."""
    trainer = make_trainer(tiny_model, tokenizer, tmp_path / "run", n_rows=20, **RESUMED, max_steps=3)
    ids = [str(number) for number in range(20)]
    recorded(trainer, tmp_path / "map", ids, **{"--seed": 5})
    recorder = CartographyCallback(whole_run / "map", ids, trainer.train_dataset, task="qa", identity={"--seed": 5})
    with pytest.raises(DataError, match="holds the recording of another run"):
        recorder.resume_from(tmp_path / "run" / "checkpoint-3")
    assert sorted(recordings.epoch_paths(whole_run / "map")) == [1, 2, 3]


def test_memory_that_runs_out_after_resuming_is_no_reason_to_mix_epochs(whole_run, tiny_model, tokenizer, tmp_path):
    copy_epochs(whole_run / "map", tmp_path / "map", (1, 2))
    checkpoint = whole_run / "run" / f"checkpoint-{checkpoint_steps(whole_run)[-2]}"
    trainer = make_trainer(tiny_model, tokenizer, tmp_path / "run", n_rows=20, **RESUMED, auto_find_batch_size=True)
    failed = []

    def failing(model, inputs, n_items=None):
        failed.append(len(inputs["row"]))
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    trainer.training_step = failing
    ids = [str(number) for number in range(20)]
    with pytest.raises(DataError, match="memory ran out after resuming"):
        recorded(trainer, tmp_path / "map", ids, checkpoint=checkpoint, **{"--seed": 5})
    assert failed == [6]
    assert sorted(recordings.epoch_paths(tmp_path / "map")) == [1, 2]


def test_a_directory_that_cannot_be_written_stops_before_training(tiny_model, tokenizer, tmp_path):
    trainer = make_trainer(tiny_model, tokenizer, tmp_path / "run", n_rows=6)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="could not be written.*choose another directory") as refused:
        recorded(trainer, tmp_path / "file" / "map", [str(number) for number in range(6)])
    assert "free some space" not in str(refused.value)
    assert trainer.state.global_step == 0
