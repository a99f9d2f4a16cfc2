"""Command lines on a GPU box without one: counts and abilities of devices are patched, as PyTorch would tell them."""

import datetime
import json
import types

import pytest
import torch

from datamap.errors import UsageError
from datamap.options import arguments
from datamap.options.precision import settle_precision
from datamap.training import devices

TRAIN = ("--do_train", "--dataset", "demo", "--model", "demo")


@pytest.fixture
def box(monkeypatch):
    """A machine with some GPUs, with or without bfloat16."""

    def of(n_gpus, bf16=True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
        monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)

    return of


def logged(caplog):
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("n_gpus", [1, 2, 3, 4])
def test_a_plain_run_uses_one_gpu_and_the_batch_that_was_asked_for(box, caplog, n_gpus):
    from transformers.training_args import ParallelMode

    box(n_gpus)
    caplog.set_level("INFO")
    _, found = arguments.parse_arguments([*TRAIN, "--per_device_train_batch_size", "8"])
    assert (str(found.device), found.n_gpu, found.train_batch_size) == ("cuda:0", 1, 8)
    assert found.parallel_mode == ParallelMode.NOT_PARALLEL
    said = f"Using one of {n_gpus} GPUs; start with torchrun --nproc_per_node {n_gpus} for all."
    assert (said in logged(caplog)) is (n_gpus > 1)


def test_an_older_card_is_told_of_fp16(box, caplog):
    box(1, bf16=False)
    caplog.set_level("INFO")
    _, found = arguments.parse_arguments(TRAIN)
    assert (found.bf16, found.fp16) == (False, False)
    assert any("does not multiply in bfloat16; --fp16 is faster" in line for line in logged(caplog))


def test_batches_are_copied_to_a_gpu_without_waiting(box):
    box(1)
    for more, expected in (((), True), (("--dataloader_pin_memory", "false"), False), (("--no_cuda",), False)):
        _, found = arguments.parse_arguments([*TRAIN, *more])
        devices.copy_without_waiting(found)
        assert found.accelerator_config.non_blocking is expected


@pytest.fixture
def trained_in(tmp_path, monkeypatch):
    """A directory whose manifest says what its model was trained in."""

    def of(precision):
        settings = {"settings": {"precision": precision}}
        monkeypatch.setattr(arguments.manifests, "read_manifest", lambda directory: settings)
        return ["--do_eval", "--dataset", "demo", "--model", str(tmp_path)]

    return of


def test_a_model_is_evaluated_in_what_it_was_trained_in(box, trained_in, monkeypatch, caplog):
    box(1)
    caplog.set_level("INFO")
    monkeypatch.setattr("transformers.training_args.is_torch_tf32_available", lambda: True)
    monkeypatch.setattr("transformers.training_args.enable_tf32", lambda enable: None)
    found = {name: arguments.parse_arguments(trained_in(name))[1] for name in ("fp16", "tf32", "bf16", "float32")}
    kinds = {name: (args.fp16, bool(args.tf32), args.bf16) for name, args in found.items()}
    assert kinds == {
        "fp16": (True, False, False),
        "tf32": (False, True, False),
        "bf16": (False, False, True),
        "float32": (False, False, False),
    }
    assert arguments.parse_arguments([*trained_in("fp16"), "--precision", "float32"])[1].fp16 is False
    assert arguments.parse_arguments([*trained_in("fp16"), "--no_cuda"])[1].fp16 is False
    assert "Computing in float32: the model was trained in fp16, which needs a GPU." in logged(caplog)


@pytest.fixture
def products():
    """PyTorch's settings of float32 products on a GPU, put back afterwards."""
    kinds = [torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn]
    before = [kind.fp32_precision for kind in kinds]
    for kind in kinds:
        kind.fp32_precision = "tf32"  # as --torch_compile and --tf32 true leave them
    yield lambda: {kind.fp32_precision for kind in kinds}
    for kind, value in zip(kinds, before, strict=True):
        kind.fp32_precision = value


@pytest.mark.parametrize(("tf32", "name", "setting"), [(None, "float32", "ieee"), (True, "tf32", "tf32")])
def test_float32_is_float32_unless_tf32_was_asked_for(products, tf32, name, setting):
    args = types.SimpleNamespace(bf16=False, fp16=False, tf32=tf32, device=torch.device("cuda"))
    assert devices.settle_computing(args, types.SimpleNamespace(model_type="electra"))["precision"] == name
    assert products() == {setting}


def test_what_is_said_of_an_apple_gpu_is_asked_of_it(monkeypatch):
    for able, expected in ((True, "bf16"), (False, "float32")):
        monkeypatch.setattr("transformers.utils.is_torch_bf16_available_on_device", lambda device, able=able: able)
        precision, why = settle_precision("auto", torch.device("mps"))
        assert (precision, "this MPS " in why) == (expected, True)
    with pytest.raises(UsageError, match="this MPS does not compute in bfloat16"):
        settle_precision("bf16", torch.device("mps"))


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--deepspeed", "zero.json"), "--deepspeed is not offered, because it takes an optimizer step"),
        (("--fsdp", "full_shard"), "--fsdp is not offered, because nobody has tried it"),
        (("--accelerator_config", '{"even_batches": false}'), '{"even_batches": false} is not offered'),
    ],
)
def test_ways_to_share_a_training_that_do_not_fit_are_refused(command, argv, words):
    code, _, err = command(*TRAIN, *argv)
    assert (code, words in err, len(err.strip().splitlines())) == (2, True, 1), err


@pytest.mark.parametrize("name", ["DEEPSPEED", "FSDP"])
def test_what_accelerates_launcher_asks_for_is_refused_too(command, monkeypatch, name):
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")
    code, _, err = command(*TRAIN)
    assert (code, f"--{name.lower()} is not offered" in err) == (2, True), err


def test_a_model_that_fails_in_bf16_has_float32_where_nobody_asked(command, tokenizer, tmp_path, monkeypatch):
    from transformers import DebertaConfig, DebertaModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    DebertaModel(DebertaConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    argv = ("--do_train", "--dataset", "demo", "--model", tmp_path / "model", "--max_train_samples", 8, "--max_steps",
            1, "--max_length", 96, "--save_strategy", "no", "--no_cuda", "--output_dir", tmp_path / "out")  # fmt: skip
    code, _, err = command(*argv, "--precision", "auto")
    assert code == 0, err
    assert "Computing in float32 after all: this model's attention fails in bfloat16." in err
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["settings"]["precision"] == "float32"


def test_embedding_processes_wait_two_hours_for_each_other(monkeypatch, tiny_model, tmp_path):
    import extract_embeddings

    class Stop(Exception):
        pass

    def state(**choices):
        raise Stop(choices["timeout"])

    monkeypatch.setattr("accelerate.PartialState", state)
    argv = ["--model_path", str(tiny_model), "--dataset", "demo", "--output_dir", str(tmp_path / "out")]
    with pytest.raises(Stop) as caught:
        extract_embeddings.main(argv)
    assert caught.value.args == (datetime.timedelta(hours=2),)
