"""Weighted training: gradients against plain autograd over one window at a time, and what no weight may change."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from datamap.data.row_numbers import RowNumbers
from datamap.dynamics import recordings
from datamap.training.objective import PLAIN, emphasis_of, mean_one
from tests.rows import nli_examples
from tests.trainers import demo_windows, gradients_of_one_step, make_trainer, recorded, weights

ON_CPU = SimpleNamespace(device=torch.device("cpu"), label_smoothing_factor=0.0)
ONE_STEP = {"max_steps": 1, "max_grad_norm": 0.0, "per_device_train_batch_size": 16, "seed": 3}
N_ROWS = 10  # windows of more than one length, some rows with several


def uneven(n_rows):
    """Weights of rows by id, from 0.05 to 3."""
    return {str(row): float(w) for row, w in enumerate(np.random.default_rng(0).uniform(0.05, 3, n_rows))}


def examples_with(frame, weights=None):
    weights = None if weights is None else RowNumbers(weights, "hash")
    return SimpleNamespace(frame=frame, weights=weights, smoothing=None, has_unanswerable=False)


def emphasis(tokenizer, weights, n_rows=N_ROWS):
    frame, windows = demo_windows(tokenizer, n_rows=n_rows)
    return emphasis_of(ON_CPU, examples_with(frame, weights), windows)


def alone(trainer, window):
    """(start logits, end logits, gold start, gold end) of one window without padding, as float32 tensors."""
    item = trainer.train_dataset[window]
    inputs = {key: torch.tensor(item[key])[None] for key in ("input_ids", "token_type_ids")}
    output = trainer.model(**inputs)
    return output.start_logits[0], output.end_logits[0], item["start_positions"], item["end_positions"]


def gradients_by_hand(trainer, losses):
    """Gradients of the sum of `losses` (tensors) by plain autograd."""
    trainer.model.zero_grad()
    sum(losses).backward()
    return {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}


def assert_close(one, other, atol=1e-6):
    assert one.keys() == other.keys()
    assert max(gradient.abs().max() for gradient in one.values()) > 1e-3
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=atol)


def assert_equal(one, other):
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def trainer_of(still_model, tokenizer, directory, weights, **arguments):
    arguments = ONE_STEP | arguments
    told = PLAIN if weights is None else emphasis(tokenizer, weights)
    return make_trainer(still_model, tokenizer, directory, n_rows=N_ROWS, emphasis=told, **arguments)


def test_the_gradient_is_that_of_weighted_windows_one_at_a_time(still_model, tokenizer, tmp_path):
    """One step over all windows; weights divided by their mean over windows, not over examples."""
    of_id = uneven(N_ROWS)
    windows = demo_windows(tokenizer, n_rows=N_ROWS)[1]
    n_windows = len(windows)
    assert n_windows > N_ROWS
    trainer = trainer_of(still_model, tokenizer, tmp_path / "a", of_id, per_device_train_batch_size=n_windows)
    by_hand = trainer_of(still_model, tokenizer, tmp_path / "b", None)
    of_window = [of_id[str(row)] for row in windows.example]
    mean = sum(of_window) / n_windows
    losses = []
    for window in range(n_windows):
        start, end, gold_start, gold_end = alone(by_hand, window)
        loss = -(start.log_softmax(0)[gold_start] + end.log_softmax(0)[gold_end]) / 2
        losses.append(of_window[window] / mean * loss / n_windows)
    assert_close(gradients_of_one_step(trainer), gradients_by_hand(by_hand, losses))


@pytest.mark.parametrize(
    "arguments",
    [
        {"micro_batch_tokens": 100},
        {"micro_batch_tokens": 1},
        {"micro_batch_tokens": 130, "for_gpu": True},
        {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4},
    ],
    ids=["micro-batches", "a row at a time", "for a GPU", "accumulation"],
)
def test_the_order_of_work_leaves_the_weighted_gradient(still_model, tokenizer, tmp_path, arguments):
    weights = uneven(N_ROWS)
    arguments = {"train_sampling_strategy": "sequential"} | arguments
    whole = trainer_of(still_model, tokenizer, tmp_path / "a", weights, train_sampling_strategy="sequential",
                       micro_batch_tokens=10**6)  # fmt: skip
    parts = trainer_of(still_model, tokenizer, tmp_path / "b", weights, **arguments)
    plain = trainer_of(still_model, tokenizer, tmp_path / "c", None, **arguments)
    one, other, unweighted = (gradients_of_one_step(trainer) for trainer in (whole, parts, plain))
    assert_close(one, other)
    assert max((one[name] - unweighted[name]).abs().max() for name in one) > 1e-3


@pytest.mark.parametrize("weight", [1.0, 0.1, 1 / 3, 7e-300, 1.7e308])
def test_equal_weights_train_to_the_very_weights_of_none(tiny_model, tokenizer, tmp_path, weight):
    told = emphasis(tokenizer, dict.fromkeys(map(str, range(20)), weight), n_rows=20)
    assert torch.equal(told.weights, torch.ones_like(told.weights))
    arguments = {"n_rows": 20, "num_train_epochs": 1, "per_device_train_batch_size": 4, "learning_rate": 1e-3}
    plain = make_trainer(tiny_model, tokenizer, tmp_path / "plain", **arguments)
    start = weights(plain)
    plain.train()
    even = make_trainer(tiny_model, tokenizer, tmp_path / "even", emphasis=told, **arguments)
    even.train()
    assert_equal(weights(plain), weights(even))
    assert any(not torch.equal(value, start[name]) for name, value in weights(plain).items())
    assert plain.state.log_history[-1]["train_loss"] == even.state.log_history[-1]["train_loss"]


def test_only_the_ratios_of_weights_count(still_model, tokenizer, tmp_path):
    of_id = uneven(N_ROWS)
    times_7 = {name: 7 * weight for name, weight in of_id.items()}
    one, other = (
        gradients_of_one_step(trainer_of(still_model, tokenizer, tmp_path / name, weights))
        for name, weights in (("a", of_id), ("b", times_7))
    )
    assert_close(one, other)


def test_scaled_weights_have_mean_one():
    generator = np.random.default_rng(1)
    for spread in (0.1, 1, 5):
        scaled = mean_one(np.exp(spread * generator.normal(size=1001)))
        assert scaled.dtype == np.float32
        assert scaled.mean(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(mean_one(np.array([1.0, 3.0])), np.array([0.5, 1.5], dtype=np.float32))


def test_nli_rows_weigh_what_their_file_says():
    examples = nli_examples(["a", "b"], [0, 1, 0])
    pairs = SimpleNamespace(example=np.arange(3))
    told = emphasis_of(ON_CPU, examples_with(examples.frame, {"0": 1.0, "1": 2.0, "2": 6.0, "other": 50.0}), pairs)
    losses = told.of_losses(torch.tensor([1.0, 1.0]), torch.tensor([2, 0]), lambda: None)
    torch.testing.assert_close(losses, torch.tensor([2.0, 1 / 3]))


def test_what_is_recorded_and_evaluated_stays_unweighted(still_model, tokenizer, tmp_path):
    """At a learning rate of 0, so that both models are the same."""
    ids, told = [str(row) for row in range(N_ROWS)], emphasis(tokenizer, uneven(N_ROWS))
    found, losses = [], []
    for name, emphasised in (("plain", PLAIN), ("weighed", told)):
        trainer = make_trainer(
            still_model, tokenizer, tmp_path / name, n_rows=N_ROWS, emphasis=emphasised, num_train_epochs=2,
            learning_rate=0.0,
        )  # fmt: skip
        recorded(trainer, tmp_path / f"{name}_map", ids)
        found.append(
            {
                path.name: path.read_bytes()
                for path in (tmp_path / f"{name}_map").iterdir()
                if path.name != recordings.IN_PROGRESS
            }
        )
        trained = trainer.state.log_history[-1]["train_loss"]
        losses.append((trainer.evaluate()["eval_loss"], trained))
    assert len(found[0]) > 2
    assert found[0] == found[1]
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != pytest.approx(losses[1][1], abs=1e-3)
