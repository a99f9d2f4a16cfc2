"""What would run on a GPU, found out without one: where tensors lie, what waits, which types are multiplied.

Tensors of FakeTensorMode know their device and shape and hold nothing, so an operation that mixes devices is an error,
and so is one that needs a value of the device on the host.
"""

import types

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cartography_callback import CartographyCallback
from datamap.embeddings.encoder import Batches, write_shard
from datamap.evaluation.gold_measures import nli_measures, qa_measures
from datamap.evaluation.nli import NliEvaluation
from datamap.evaluation.qa import QaEvaluation
from datamap.evaluation.spans import search_spans
from datamap.features.batches import micro_batches
from datamap.training import devices
from datamap.training.trainer import NliTrainer, QaTrainer
from tests.trainers import make_trainer

GPU = torch.device("cuda", 0)
BATCH, LENGTH, N_WINDOWS = 6, 24, 40


@pytest.fixture
def fake():
    """Every tensor made within the test is one without contents."""
    with FakeTensorMode(allow_non_fake_inputs=False) as mode:
        yield mode


def batch_on_gpu(masked=True):
    """(outputs, inputs) as the model and the collator for a GPU give them."""
    inputs = {"input_ids": torch.zeros(BATCH, LENGTH, dtype=torch.long, device=GPU)}
    for name in ("start_positions", "end_positions", "context_start", "context_end", "labels", "row"):
        inputs[name] = torch.zeros(BATCH, dtype=torch.long, device=GPU)
    if masked:
        inputs["attention_mask"] = torch.ones(BATCH, LENGTH, dtype=torch.long, device=GPU)
    inputs["lengths"] = np.array([24, 9, 8, 24, 5, 12])
    sides = {
        name: torch.zeros(BATCH, LENGTH, device=GPU, dtype=torch.bfloat16) for name in ("start_logits", "end_logits")
    }
    return sides | {"logits": torch.zeros(BATCH, 3, device=GPU, dtype=torch.bfloat16)}, inputs


def lies_on_gpu(*tensors):
    return {tensor.device for tensor in tensors} == {GPU}


@pytest.mark.parametrize("n_best", [1, 20])
def test_the_span_search_stays_on_the_device(fake, n_best):
    outputs, inputs = batch_on_gpu()
    sides = [outputs[name].float() for name in ("start_logits", "end_logits")]
    found = search_spans(*sides, inputs["context_start"], inputs["context_end"], 30, n_best)
    assert lies_on_gpu(*found)
    assert {tuple(values.shape) for values in found} == {(BATCH, n_best)}


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("n_best", [1, 20])
def test_losses_measures_and_the_reduction_of_an_evaluation_stay_on_the_device(fake, n_best, masked):
    outputs, inputs = batch_on_gpu(masked)
    evaluation = object.__new__(QaEvaluation)
    evaluation.windows = types.SimpleNamespace(template=types.SimpleNamespace(cls_index=0))
    evaluation.max_answer_length, evaluation.n_best = 30, n_best
    losses = QaTrainer.row_losses(None, outputs, inputs)
    assert lies_on_gpu(losses, qa_measures(outputs, inputs, losses), *evaluation.reduce(outputs, inputs, losses))
    losses = NliTrainer.row_losses(None, outputs, inputs)
    reduced = NliEvaluation.reduce(types.SimpleNamespace(merged=None), outputs, inputs, losses)
    assert lies_on_gpu(losses, nli_measures(outputs, inputs, losses), *reduced)
    assert losses.dtype == torch.float32


class OnDevice(TorchDispatchMode):
    """Notes operations that take a tensor of the host, which the device would have to wait for."""

    def __init__(self):
        super().__init__()
        self.from_host = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
        if any(tensor.device.type == "cpu" for tensor in tensors):
            self.from_host.append(function.name())
        return function(*args, **(kwargs or {}))


class Windows:
    example, has_gold = np.arange(N_WINDOWS), np.ones(N_WINDOWS, dtype=bool)

    def __len__(self):
        return N_WINDOWS

    def fingerprint(self):
        return ""


def test_the_recorder_stays_on_the_device_and_waits_for_nothing(fake, tmp_path):
    outputs, inputs = batch_on_gpu()
    recorder = CartographyCallback(tmp_path, [str(n) for n in range(N_WINDOWS)], Windows(), task="qa", identity={})
    state = types.SimpleNamespace(is_world_process_zero=False, global_step=0, max_steps=9, epoch=0)
    recorder.on_train_begin(types.SimpleNamespace(device=GPU), state, None)
    recorder.on_epoch_begin(None, state, types.SimpleNamespace(should_training_stop=False))
    losses = QaTrainer.row_losses(None, outputs, inputs)
    with OnDevice() as seen:
        recorder.record(outputs, inputs, losses)
    assert seen.from_host == []
    assert lies_on_gpu(recorder.values, recorder.seen_at)


def test_micro_batches_are_cut_without_asking_the_device(fake):
    _, inputs = batch_on_gpu()
    parts = micro_batches(inputs, 48)
    assert [tuple(part["input_ids"].shape) for part in parts] == [(2, 24), (3, 16), (1, 8)]
    assert [part["lengths"].tolist() for part in parts] == [[24, 24], [12, 9, 8], [5]]
    assert ["attention_mask" in part for part in parts] == [False, True, True]
    assert all(lies_on_gpu(*(v for name, v in part.items() if name != "lengths")) for part in parts)


class Products(TorchDispatchMode):
    """The types of all operands of products, those of the backward pass included."""

    def __init__(self):
        super().__init__()
        self.types = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name().removeprefix("aten::").split(".")[0]
        if name in {"mm", "bmm", "addmm", "baddbmm", "matmul", "linear"}:
            self.types += [(name, value.dtype) for value in args if isinstance(value, torch.Tensor)]
        return function(*args, **(kwargs or {}))


def test_every_product_of_a_micro_batched_bf16_step_is_in_bf16(tiny_model, tokenizer, tmp_path):
    arguments = {"max_steps": 1, "per_device_train_batch_size": 16, "bf16": True, "micro_batch_tokens": 300}
    trainer = make_trainer(tiny_model, tokenizer, tmp_path, **arguments)
    devices.choose_attention(trainer.model, torch.device("cpu"))  # as run.py does
    parts = []
    row_losses = trainer.row_losses
    trainer.row_losses = lambda *given: parts.append(given) or row_losses(*given)
    with Products() as seen:
        trainer.train()
    assert len(parts) > 2
    assert {dtype for _, dtype in seen.types} == {torch.bfloat16}
    n_products = 2 * (6 + 2) + 1 + 2  # of two layers, the embeddings' projection none, and the head and its gradients
    assert len(seen.types) > 2 * 2 * n_products * len(parts)


def test_embedding_prepares_the_next_batch_before_it_waits_for_one(tmp_path):
    events = []

    class Vectors:
        def __init__(self, row):
            self.row = row

        def cpu(self):
            events.append(f"wait for {self.row}")
            return torch.full((1, 4), float(self.row))

    def start(items, spans):
        events.append(f"start {items[0]}")
        return Vectors(items[0])

    class Items(list):
        lengths = np.ones(3, dtype=int)

    plan = types.SimpleNamespace(items=Items([0, 1, 2]), item=np.arange(3), spans=np.zeros((3, 2), dtype=int))
    encoder, bar = types.SimpleNamespace(vectors_where_room=start), types.SimpleNamespace(update=lambda n_rows: None)
    write_shard(tmp_path / "shard.npy", plan, encoder, np.arange(3), Batches(1), bar)
    assert events == ["start 0", "start 1", "wait for 0", "start 2", "wait for 1", "wait for 2"]
    assert np.load(tmp_path / "shard.npy")[:, 0].tolist() == [0, 1, 2]
