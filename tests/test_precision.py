"""--precision and --micro_batch_tokens on the command line: they act, are recorded, and contradict nothing."""

import json
import types

import pytest
import torch

SMALL = ("--do_train", "--dataset", "demo", "--max_train_samples", 24, "--num_train_epochs", 1, "--max_length", 96,
         "--doc_stride", 16, "--no_cuda", "--save_strategy", "no", "--enable_cartography")  # fmt: skip


def run_small(command, model, directory, *argv) -> tuple[dict, dict[str, float], str]:
    """(manifest, gold probability by id, stderr) of a small recorded run."""
    places = ("--output_dir", directory / "out", "--cartography_output_dir", directory / "map")
    code, _, err = command(*SMALL, "--model", model, *places, *argv)
    assert code == 0, err
    records = json.loads((directory / "map" / "training_dynamics_epoch_1.json").read_text())
    manifest = json.loads((directory / "out" / "manifest.json").read_text())
    return manifest, {record["id"]: record["gold_prob"] for record in records}, err


def test_precision_acts_and_is_recorded(command, still_model, tmp_path):
    one, exact, _ = run_small(command, still_model, tmp_path / "a", "--precision", "float32")
    two, rounded, err = run_small(command, still_model, tmp_path / "b", "--precision", "bf16")
    assert (one["settings"]["precision"], two["settings"]["precision"]) == ("float32", "bf16")
    assert "Computing in bf16: it was asked for." in err
    assert exact.keys() == rounded.keys()
    differences = [abs(exact[name] - rounded[name]) / exact[name] for name in exact]
    assert 1e-5 < max(differences) < 0.1
    assert one["settings"]["peak_memory_gb"]["host"] > 0.1


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "float32")])
def test_auto_goes_by_the_processor(command, still_model, tmp_path, monkeypatch, native, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    manifest, _, err = run_small(command, still_model, tmp_path, "--precision", "auto")
    assert manifest["settings"]["precision"] == expected
    assert f"Computing in {expected}: this CPU " in err


def test_the_trainers_own_flag_is_heeded(command, still_model, tmp_path):
    assert run_small(command, still_model, tmp_path, "--bf16")[0]["settings"]["precision"] == "bf16"


def test_micro_batches_change_no_recorded_number(command, still_model, tmp_path):
    """Without dropout, and at learning rate 0, so that rounding does not add up."""
    still = ("--learning_rate", 0)
    one, whole, _ = run_small(command, still_model, tmp_path / "a", *still, "--micro_batch_tokens", 10_000)
    two, cut, _ = run_small(command, still_model, tmp_path / "b", *still, "--micro_batch_tokens", 100)
    assert (one["settings"]["micro_batch_tokens"], two["settings"]["micro_batch_tokens"]) == (10_000, 100)
    assert cut == pytest.approx(whole, abs=1e-7)


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("--precision", "float32", "--bf16"), 2, "--precision float32 and --bf16 both say"),
        (("--precision", "bf16", "--fp16"), 2, "--precision bf16 and --fp16 both say"),
        (("--precision", "half"), 2, "invalid choice: 'half'"),
        (("--micro_batch_tokens", 0), 2, "0 is not at least 1"),
    ],
)
def test_contradictions_are_refused(command, still_model, tmp_path, argv, code, words):
    answer = command(*SMALL, "--model", still_model, "--output_dir", tmp_path / "out", *argv)
    assert (answer[0], words in answer[2]) == (code, True), answer[2]
    assert not (tmp_path / "out").exists()


def test_a_recording_does_not_mix_precisions(command, still_model, tmp_path):
    places = ("--output_dir", tmp_path / "out", "--cartography_output_dir", tmp_path / "map")
    argv = (*SMALL, "--model", still_model, *places, "--save_strategy", "steps", "--save_steps", 1)
    assert command(*argv, "--precision", "float32")[0] == 0
    (tmp_path / "out" / "manifest.json").unlink()  # as if it had been killed
    (tmp_path / "map" / "manifest.json").unlink()
    code, _, err = command(*argv, "--precision", "bf16", "--resume_from_checkpoint", "last", "--num_train_epochs", 2)
    assert (code, "made with --precision float32, and this run has --precision bf16" in err) == (1, True), err


@pytest.mark.parametrize(
    ("kind", "rest", "expected"),
    [
        ("cuda", [], ["--dataloader_num_workers", "2"]),
        ("cuda", ["--dataloader_num_workers", "0"], []),
        ("cuda", ["--bf16"], ["--dataloader_num_workers", "2"]),
        ("cpu", [], ["--use_cpu"]),
    ],
)
def test_batches_are_loaded_beside_a_gpus_work(monkeypatch, kind, rest, expected):
    import arguments

    device = types.SimpleNamespace(device=torch.device(kind))
    monkeypatch.setattr(arguments, "parse_training_arguments", lambda words: device)
    options = types.SimpleNamespace(precision=None if "--bf16" in rest else "float32")
    assert arguments.device_words(options, rest) == expected
