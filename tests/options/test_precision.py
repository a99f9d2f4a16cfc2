"""--precision and --micro_batch_tokens on the command line: they act, are recorded, and contradict nothing."""

import json
import types

import pytest
import torch

SMALL = ("--do_train", "--dataset", "demo", "--max_train_samples", 24, "--num_train_epochs", 1, "--max_length", 48,
         "--doc_stride", 12, "--no_cuda", "--save_strategy", "no", "--enable_cartography")  # fmt: skip


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


@pytest.mark.on_cpu
@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "float32")])
def test_auto_goes_by_the_processor(command, still_model, tmp_path, monkeypatch, native, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    manifest, _, err = run_small(command, still_model, tmp_path, "--precision", "auto")
    assert manifest["settings"]["precision"] == expected
    assert f"Computing in {expected}: this CPU " in err


def test_the_trainers_own_flag_is_heeded(command, still_model, tmp_path):
    assert run_small(command, still_model, tmp_path, "--bf16")[0]["settings"]["precision"] == "bf16"


@pytest.mark.parametrize("trained", ["float32", "bf16"])
def test_a_later_evaluation_takes_the_precision_of_the_training(command, still_model, tmp_path, monkeypatch, trained):
    from datamap.options.arguments import parse_arguments

    run_small(command, still_model, tmp_path, "--precision", trained)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": trained == "float32"})
    argv = ["--do_eval", "--dataset", "demo", "--no_cuda", "--model"]
    other = "bf16" if trained == "float32" else "float32"
    assert parse_arguments([*argv, str(tmp_path / "out")])[1].bf16 == (trained == "bf16")
    assert parse_arguments([*argv, str(tmp_path / "out"), "--precision", other])[1].bf16 == (other == "bf16")
    assert parse_arguments([*argv, str(still_model)])[1].bf16 == (trained == "float32")  # it has no manifest


@pytest.mark.on_cpu
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
        pytest.param(("--fp16",), 2, "--fp16 needs a GPU", marks=pytest.mark.on_cpu),
        (("--bf16_full_eval",), 2, "not offered: give --precision bf16"),
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
        ("cuda", [], ["--dataloader_num_workers", "2", "--per_device_eval_batch_size", "1024"]),
        ("cuda", ["--dataloader_num_workers", "0"], ["--per_device_eval_batch_size", "1024"]),
        ("cuda", ["--dataloader-num-workers=0"], ["--per_device_eval_batch_size", "1024"]),
        ("cuda", ["--bf16", "--per_device_eval_batch_size=9"], ["--dataloader_num_workers", "2"]),
        ("cpu", [], ["--use_cpu"]),
    ],
)
def test_batches_are_loaded_beside_a_gpus_work(kind, rest, expected):
    from datamap.options import arguments

    flags = {name: False for name in ("fp16", "bf16_full_eval", "fp16_full_eval")}
    parsed = types.SimpleNamespace(device=torch.device(kind), do_train=True, **flags)
    options = types.SimpleNamespace(precision=None if "--bf16" in rest else "float32")
    assert arguments.device_words(options, parsed, arguments.given_flags(rest)) == expected


def test_micro_batches_without_training_are_refused(command, still_model):
    code, _, err = command("--do_eval", "--dataset", "demo", "--model", still_model, "--micro_batch_tokens", 100)
    assert (code, "--micro_batch_tokens acts in training" in err) == (2, True)


def saved(model, directory, tokenizer):
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def small(**more):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 16}
    return sizes | {"vocab_size": 30_522} | more


def test_a_model_that_does_not_compute_in_bf16_is_refused(command, tokenizer, tmp_path):
    from transformers import DebertaConfig, DebertaModel

    model = saved(DebertaModel(DebertaConfig(**small())), tmp_path / "model", tokenizer)
    argv = (*SMALL, "--model", model, "--output_dir", tmp_path / "out", "--cartography_output_dir", tmp_path / "map")
    code, _, err = command(*argv, "--precision", "bf16")
    assert (code, "DeBERTa" in err, "Traceback" in err) == (2, True, False)
    assert command(*argv, "--precision", "float32")[0] == 0


@pytest.mark.on_cpu
def test_sliding_windows_and_grouped_queries_train_in_bf16(command, tokenizer, tmp_path):
    """Attention of another kind stays with the model's own code, and all weights are numbers."""
    from safetensors.torch import load_file
    from transformers import ModernBertConfig, ModernBertModel

    special = {"pad_token_id": 0, "cls_token_id": 101, "sep_token_id": 102, "bos_token_id": 101, "eos_token_id": 102}
    config = ModernBertConfig(**small(local_attention=8, global_attn_every_n_layers=2, **special))
    model = saved(ModernBertModel(config), tmp_path / "model", tokenizer)
    manifest, found, _ = run_small(command, model, tmp_path / "run", "--precision", "bf16", "--max_length", 128)
    assert manifest["settings"]["attention"] == "eager"
    weights = load_file(tmp_path / "run" / "out" / "model.safetensors")
    assert all(value.isfinite().all() for value in weights.values())
    assert min(found.values()) > 0


def test_weights_in_16_bits_are_trained_in_float32(command, tiny_model, tokenizer, tmp_path):
    from safetensors.torch import load_file
    from transformers import AutoModel

    for dtype in (torch.float16, torch.bfloat16):
        model = saved(AutoModel.from_pretrained(tiny_model, dtype=dtype), tmp_path / str(dtype), tokenizer)
        run_small(command, model, tmp_path / f"run {dtype}", "--precision", "float32")
        weights = load_file(tmp_path / f"run {dtype}" / "out" / "model.safetensors")
        assert {value.dtype for value in weights.values()} == {torch.float32}


@pytest.mark.parametrize("kwargs", ['{"use_reentrant": true}', '{"use_reentrant": false}'])
def test_gradient_checkpointing_changes_no_weight(command, tiny_model, tmp_path, kwargs, monkeypatch):
    """With dropout: what is computed again draws the masks of the first time."""
    import contextlib

    from safetensors.torch import load_file

    from datamap.training import trainer

    argv = ("--precision", "float32", "--gradient_checkpointing", "--gradient_checkpointing_kwargs", kwargs)
    _, checkpointed, _ = run_small(command, tiny_model, tmp_path / "a", *argv)
    monkeypatch.setattr(trainer, "CpuFunctions", lambda **choices: contextlib.nullcontext())
    monkeypatch.setattr("datamap.training.devices.use_row_attention", lambda model: False)
    _, plain, _ = run_small(command, tiny_model, tmp_path / "b", "--precision", "float32")
    one, two = (load_file(tmp_path / name / "out" / "model.safetensors") for name in "ab")
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=0, atol=1e-6)


def test_weights_that_are_not_numbers_are_not_saved(command, still_model, tmp_path):
    places = ("--output_dir", tmp_path / "out")
    argv = (*SMALL[:-1], "--model", still_model, *places, "--learning_rate", 1e30, "--max_grad_norm", 0)
    code, _, err = command(*argv)
    assert (code, "not numbers (NaN), and no model is saved" in err) == (1, True), err
    assert not (tmp_path / "out" / "model.safetensors").exists()
