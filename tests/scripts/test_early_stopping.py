"""--early_stopping_patience: when training stops, what is recorded until then, and that resuming changes nothing."""

import json

import pytest

from datamap.dynamics import recordings
from datamap.files import manifests

ARGUMENTS = ("--do_train", "--do_eval", "--dataset", "demo", "--max_train_samples", 12, "--max_eval_samples", 8,
             "--num_train_epochs", 6, "--learning_rate", 0, "--eval_strategy", "epoch", "--load_best_model_at_end",
             "--early_stopping_patience", 2, "--enable_cartography", "--per_device_train_batch_size", 64,
             "--max_length", 96, "--doc_stride", 16, "--no_cuda")  # fmt: skip


@pytest.fixture
def train(command, tiny_model, tmp_path):
    """Train at a rate of 0, so that nothing gets better after the first epoch; patience 2 ends that after three."""

    def call(name: str, *argv) -> tuple[int, str]:
        directories = ("--output_dir", tmp_path / name, "--cartography_output_dir", tmp_path / f"{name}_map")
        code, _, err = command(*ARGUMENTS, "--model", tiny_model, *directories, *argv)
        return code, err

    return call


def recorded(directory) -> dict[str, bytes]:
    left_out = (manifests.MANIFEST, recordings.MAP)
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name not in left_out}


def test_training_stops_when_patience_ends_and_the_recording_holds_what_was_trained(train, tmp_path):
    code, err = train("run")
    assert code == 0, err
    assert "Stopped early, at step 3: loss did not get better in 2 evaluations." in err
    assert sorted(path.name for path in (tmp_path / "run").glob("checkpoint-*")) == [
        f"checkpoint-{n}" for n in (1, 2, 3)
    ]
    assert list(recordings.epoch_paths(tmp_path / "run_map")) == [1, 2, 3]
    manifest = manifests.read_manifest(tmp_path / "run_map")
    assert (manifest["n_epochs"], manifest["n_tracked"]) == (3, 12)
    state = json.loads((tmp_path / "run" / "trainer_state.json").read_text())
    assert state["best_model_checkpoint"] == str(tmp_path / "run" / "checkpoint-1")


def test_training_that_gets_better_goes_on(train, tmp_path):
    code, err = train("run", "--learning_rate", 1e-3)
    assert code == 0, err
    assert "Stopped early" not in err
    assert list(recordings.epoch_paths(tmp_path / "run_map")) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("step", [2, 3])
def test_a_resumed_run_stops_where_the_whole_one_did(train, tmp_path, monkeypatch, step):
    """Stopped with patience half used up, and just after the checkpoint in which it had ended."""
    from datamap.training.trainer import ExampleTrainer

    assert train("whole")[0] == 0
    save = ExampleTrainer._save_checkpoint

    def save_and_stop(trainer, model, trial):
        save(trainer, model, trial)
        if trainer.state.global_step == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(ExampleTrainer, "_save_checkpoint", save_and_stop)
    code, err = train("cut")
    assert (code, f"the last checkpoint is {tmp_path}/cut/checkpoint-{step}" in err) == (1, True), err
    monkeypatch.undo()
    code, err = train("cut", "--resume_from_checkpoint", "last")
    assert code == 0, err
    assert "Stopped early, at step 3" in err
    assert recorded(tmp_path / "cut_map") == recorded(tmp_path / "whole_map")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


def test_patience_may_be_given_when_resuming_a_run_without_it(train, tmp_path):
    assert train("run", "--early_stopping_patience", 5, "--num_train_epochs", 1)[0] == 0
    state = tmp_path / "run" / "checkpoint-1" / "trainer_state.json"
    content = json.loads(state.read_text())
    del content["stateful_callbacks"]["EarlyStopping"]
    state.write_text(json.dumps(content))
    code, err = train("run", "--resume_from_checkpoint", "last", "--overwrite_output_dir")
    assert code == 0, err
    assert "Stopped early, at step 3" in err
