"""A full memory, raised where it would come from: one sentence with the flag that helps; embedding goes on."""

import numpy as np
import pytest
import torch

import helpers
from datamap.embeddings.encoder import Encoder

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
DRIVER_FULL = torch.AcceleratorError("CUDA error: out of memory")
CUBLAS_FULL = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
APPLE_FULL = RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB, max allowed: 9.07 GB)")
SMALL = ("--dataset", "demo", "--max_length", 96, "--doc_stride", 16)


def raising(error):
    def full(*args, **kwargs):
        raise error

    return full


@pytest.fixture
def train(command, tiny_model, tmp_path):
    """Start a small training; returns the sentence that it ends in."""

    def call(*argv):
        places = ("--output_dir", tmp_path / "out", "--no_cuda", "--max_train_samples", 16, "--max_steps", 2)
        places += ("--disable_tqdm", "true")
        code, _, err = command("--do_train", "--model", tiny_model, *SMALL, *places, *argv)
        assert (code, "Traceback" in err) == (1, False), err
        assert not (tmp_path / "out" / "manifest.json").exists()
        return err.strip().splitlines()[-1]

    return call


@pytest.mark.parametrize("error", [FULL, DRIVER_FULL, APPLE_FULL], ids=["allocator", "driver", "apple"])
def test_a_model_that_has_no_room(train, monkeypatch, error):
    monkeypatch.setattr("transformers.Trainer._move_model_to_device", raising(error))
    assert train().startswith("error: the GPU's memory is full: the model has no room there, ")


@pytest.mark.parametrize("error", [FULL, DRIVER_FULL, CUBLAS_FULL, APPLE_FULL], ids=lambda error: str(error)[:20])
def test_a_step_that_has_no_room(train, monkeypatch, error):
    monkeypatch.setattr("datamap.training.trainer.QaTrainer.row_losses", raising(error))
    assert train() == "error: the GPU's memory is full: lower --micro_batch_tokens or --max_length."


def test_no_batch_size_that_has_room(train, monkeypatch):
    monkeypatch.setattr("datamap.training.trainer.QaTrainer.row_losses", raising(FULL))
    sentence = train("--auto_find_batch_size")
    assert sentence.startswith("error: the GPU's memory is full: even a batch of one row does not fit")


def test_an_evaluation_on_the_way_names_its_own_flag(train, monkeypatch):
    monkeypatch.setattr("datamap.evaluation.qa.QaEvaluation.reduce", raising(CUBLAS_FULL))
    sentence = train("--do_eval", "--eval_strategy", "steps", "--eval_steps", 1, "--max_eval_samples", 8)
    assert sentence == "error: the GPU's memory is full: lower --per_device_eval_batch_size or --max_length."


@pytest.fixture
def embed(capsys, tiny_model, tmp_path):
    """Embed some rows; returns (exit code, vectors or None, stderr)."""
    import extract_embeddings

    def call(name, *argv):
        out = tmp_path / name
        words = ("--model_path", tiny_model, *SMALL, "--max_samples", 40, "--no_cuda", "--output_dir", out, *argv)
        capsys.readouterr()
        code = helpers.run_script(extract_embeddings.main, [str(word) for word in words])
        return code, np.load(out / "embeddings.npy") if code == 0 else None, capsys.readouterr().err

    return call


@pytest.mark.parametrize("error", [FULL, DRIVER_FULL, CUBLAS_FULL, APPLE_FULL], ids=lambda error: str(error)[:20])
def test_embedding_halves_its_batch_and_says_so_once(embed, monkeypatch, error):
    _, expected, _ = embed("whole")
    sizes, vectors = [], Encoder.vectors

    def holds_five(encoder, items, spans):
        sizes.append(len(items))
        if len(items) > 5:
            raise error
        return vectors(encoder, items, spans)

    monkeypatch.setattr(Encoder, "vectors", holds_five)
    code, found, err = embed("halved")
    assert code == 0, err
    assert max(sizes) > 20
    assert sum(size for size in sizes if size <= 5) == 40
    assert sum(size > 5 for size in sizes) <= 3
    assert err.count("embedding goes on in batches of") == 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_one_row_that_has_no_room_is_said(embed, monkeypatch):
    monkeypatch.setattr(Encoder, "vectors", raising(DRIVER_FULL))
    code, _, err = embed("none")
    assert (code, "Traceback" in err) == (1, False)
    assert err.strip().splitlines()[-1] == (
        "error: the GPU's memory is full: not even one row fits: lower --max_length, or take a smaller --model_path."
    )


def test_an_encoder_that_has_no_room_is_said(embed, monkeypatch):
    monkeypatch.setattr("torch.nn.Module.to", raising(FULL))
    code, _, err = embed("none")
    assert (code, "error: the GPU's memory is full: the model has no room there" in err) == (1, True)
