"""Smoothed labels: gradients against plain autograd, one window at a time, and Transformers' smoother; invariances."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers.trainer_pt_utils import LabelSmoother

from datamap.data.row_numbers import RowNumbers
from datamap.dynamics import recordings
from datamap.training.objective import PLAIN, Emphasis, emphasis_of, mean_surprise, tokens_that_may_be_right
from datamap.training.trainer import NliTrainer
from tests.trainers import demo_windows, gradients_of_one_step, make_trainer, recorded, weights

N_ROWS = 10
ONE_STEP = {"max_steps": 1, "max_grad_norm": 0.0, "per_device_train_batch_size": 16, "seed": 3}


def factors_of(n_rows, largest=0.9):
    """Factors of rows by id, the first 0."""
    factors = np.random.default_rng(0).uniform(0, largest, n_rows)
    return {str(row): float(factor) if row else 0.0 for row, factor in enumerate(factors)}


def numbers(of_id):
    return None if of_id is None else RowNumbers(of_id, "hash")


def emphasis(windows, frame, smoothing=None, weights=None, factor=0.0, allows_no_answer=False):
    arguments = SimpleNamespace(device=torch.device("cpu"), label_smoothing_factor=factor)
    examples = SimpleNamespace(
        frame=frame, weights=numbers(weights), smoothing=numbers(smoothing), has_unanswerable=allows_no_answer
    )
    return emphasis_of(arguments, examples, windows)


def smoothed_loss(logits, gold, may_be_right, factor):
    """(1 - f) · nll(gold) + f · mean of -log p, over a list of places, one after the other."""
    surprise = [-logits[place] + torch.logsumexp(logits, 0) for place in range(len(logits))]
    spread = sum(surprise[place] for place in may_be_right) / len(may_be_right)
    return (1 - factor) * surprise[gold] + factor * spread


def places_of(item, tokenizer, allows_no_answer):
    """The tokens between the two separators, and the first token where it is the gold or there may be no answer."""
    first, second = np.flatnonzero(item["input_ids"] == tokenizer.sep_token_id)
    no_answer = [0] if item["start_positions"] == 0 or allows_no_answer else []
    return no_answer + list(range(first + 1, second))


def assert_close(one, other):
    assert one.keys() == other.keys()
    assert max(gradient.abs().max() for gradient in one.values()) > 1e-3
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", ["", "v2"], ids=["always an answer", "perhaps no answer"])
def test_the_gradient_is_that_of_smoothed_and_weighed_windows_one_at_a_time(still_model, tokenizer, tmp_path, variant):
    frame, windows = demo_windows(tokenizer, variant, N_ROWS)
    n_windows, may_be_none = len(windows), variant == "v2"
    assert {bool(place) for place in windows.start_positions} == {True, False}
    weights_of, factors = {str(row): 0.1 + row for row in range(N_ROWS)}, factors_of(N_ROWS)
    told = emphasis(windows, frame, factors, weights_of, allows_no_answer=may_be_none)
    trainer = make_trainer(
        still_model, tokenizer, tmp_path / "a", variant, N_ROWS, emphasis=told,
        **(ONE_STEP | {"per_device_train_batch_size": n_windows}),
    )  # fmt: skip
    by_hand = make_trainer(still_model, tokenizer, tmp_path / "b", variant, N_ROWS)
    mean_weight = sum(weights_of[str(row)] for row in windows.example) / n_windows
    total = 0
    for window in range(n_windows):
        item, name = windows[window], str(windows.example[window])
        inputs = {key: torch.tensor(item[key])[None] for key in ("input_ids", "token_type_ids")}
        output = by_hand.model(**inputs)
        places = places_of(item, tokenizer, may_be_none)
        start = smoothed_loss(output.start_logits[0], item["start_positions"], places, factors[name])
        end = smoothed_loss(output.end_logits[0], item["end_positions"], places, factors[name])
        total = total + weights_of[name] / mean_weight * (start + end) / 2 / n_windows
    total.backward()
    expected = {name: p.grad for name, p in by_hand.model.named_parameters() if p.grad is not None}
    assert_close(gradients_of_one_step(trainer), expected)


@pytest.mark.parametrize(
    "arguments",
    [
        {"micro_batch_tokens": 100},
        {"micro_batch_tokens": 130, "for_gpu": True},
        {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4},
    ],
    ids=["micro-batches", "for a GPU", "accumulation"],
)
def test_the_order_of_work_leaves_the_smoothed_gradient(still_model, tokenizer, tmp_path, arguments):
    """Padding differs between these."""
    frame, windows = demo_windows(tokenizer, "v2", N_ROWS)
    common = ONE_STEP | {"train_sampling_strategy": "sequential"}
    told = emphasis(windows, frame, factors_of(N_ROWS), allows_no_answer=True)
    found = []
    for name, one, words in (("a", told, {"micro_batch_tokens": 10**6}), ("b", told, arguments), ("c", PLAIN, {})):
        trainer = make_trainer(still_model, tokenizer, tmp_path / name, "v2", N_ROWS, emphasis=one, **(common | words))
        found.append(gradients_of_one_step(trainer))
    whole, parts, plain = found
    assert_close(whole, parts)
    assert max((whole[name] - plain[name]).abs().max() for name in whole) > 1e-3


def test_smoothing_by_0_trains_to_the_very_weights_of_none(tiny_model, tokenizer, tmp_path):
    frame, windows = demo_windows(tokenizer, n_rows=20)
    zeros, flag_of_0 = (
        emphasis(windows, frame, dict.fromkeys(map(str, range(20)), 0.0)),
        emphasis(windows, frame, factor=0.0),
    )
    assert flag_of_0 == PLAIN
    assert zeros.smoothing is not None
    arguments = {"n_rows": 20, "num_train_epochs": 1, "per_device_train_batch_size": 4, "learning_rate": 1e-3}
    ends = []
    for name, told in (("plain", PLAIN), ("zeros", zeros), ("tenths", emphasis(windows, frame, factor=0.1))):
        trainer = make_trainer(tiny_model, tokenizer, tmp_path / name, emphasis=told, **arguments)
        trainer.train()
        ends.append(weights(trainer))
    plain, zeros, tenths = ends
    assert [name for name in plain if not torch.equal(plain[name], zeros[name])] == []
    assert any(not torch.equal(plain[name], tenths[name]) for name in plain)


def test_one_factor_for_all_is_a_file_of_equal_factors(tokenizer):
    frame, windows = demo_windows(tokenizer, n_rows=20)
    by_flag = emphasis(windows, frame, factor=0.1)
    by_file = emphasis(windows, frame, dict.fromkeys(map(str, range(20)), 0.1))
    assert torch.equal(by_flag.smoothing, by_file.smoothing)
    assert by_flag.smoothing.shape == (len(windows),)


def test_what_is_recorded_and_evaluated_stays_unsmoothed(still_model, tokenizer, tmp_path):
    """At a learning rate of 0, so that both models are the same."""
    frame, windows = demo_windows(tokenizer, n_rows=N_ROWS)
    found, losses = [], []
    for name, told in (("plain", PLAIN), ("smooth", emphasis(windows, frame, factor=0.4))):
        trainer = make_trainer(
            still_model, tokenizer, tmp_path / name, n_rows=N_ROWS, emphasis=told, num_train_epochs=2,
            learning_rate=0.0,
        )  # fmt: skip
        recorded(trainer, tmp_path / f"{name}_map", [str(row) for row in range(N_ROWS)])
        files = {path.name: path.read_bytes() for path in (tmp_path / f"{name}_map").iterdir()}
        found.append({name: content for name, content in files.items() if name != recordings.IN_PROGRESS})
        trained = trainer.state.log_history[-1]["train_loss"]
        losses.append((trainer.evaluate()["eval_loss"], trained))
    assert len(found[0]) > 2
    assert found[0] == found[1]
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != pytest.approx(losses[1][1], abs=1e-4)


@pytest.mark.parametrize("factor", [0.1, 0.75])
def test_nli_is_smoothed_as_by_transformers(factor):
    torch.manual_seed(0)
    labels = torch.tensor([0, 2, 1, 1, 0])
    ours, theirs = (torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2))
    expected = LabelSmoother(factor)({"logits": theirs}, labels)
    trainer = SimpleNamespace()
    outputs, inputs = {"logits": ours}, {"labels": labels}
    told = Emphasis(smoothing=torch.full((5,), factor))
    losses = NliTrainer.row_losses(trainer, outputs, inputs)
    spread = NliTrainer.spread_losses(trainer, outputs, inputs)
    loss = told.of_losses(losses, torch.arange(5), lambda: spread).mean()
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-6)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-6)


def test_over_all_classes_the_spread_is_transformers_and_over_some_it_is_theirs_alone():
    """With a factor near 1 their smoother gives the spread; classes that cannot be right do not count in ours."""
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    gold = torch.zeros(4, dtype=torch.int64)
    theirs = LabelSmoother(1.0)({"logits": logits}, gold)
    everywhere = torch.ones(4, 6, dtype=torch.bool)
    torch.testing.assert_close(mean_surprise(logits, everywhere).mean(), theirs, rtol=0, atol=1e-6)
    some = everywhere.clone()
    some[:, 3:] = False
    by_hand = -torch.log_softmax(logits, 1)[:, :3].mean(1)
    torch.testing.assert_close(mean_surprise(logits, some), by_hand, rtol=0, atol=1e-6)


@pytest.mark.parametrize("allows_no_answer", [False, True])
def test_where_an_answer_may_begin(allows_no_answer):
    """[CLS] q [SEP] c c c [SEP] and padding; the second window has its gold elsewhere."""
    inputs = {
        "input_ids": torch.zeros(2, 9, dtype=torch.int64),
        "context_start": torch.tensor([3, 4]),
        "context_end": torch.tensor([6, 6]),
        "start_positions": torch.tensor([4, 0]),
    }
    allowed = tokens_that_may_be_right(inputs, 0, allows_no_answer=allows_no_answer)
    expected = [[0] * allows_no_answer + [3, 4, 5], [0, 4, 5]]
    assert [row.nonzero()[:, 0].tolist() for row in allowed] == expected


def test_padding_never_enters_the_spread():
    """Masked logits are the lowest of float32; the mean and its gradient stay finite and equal those without them."""
    narrow = torch.tensor([[1.0, -2.0, 3.0]], requires_grad=True)
    wide = torch.tensor([[1.0, -2.0, 3.0, torch.finfo(torch.float32).min]], requires_grad=True)
    one = mean_surprise(narrow, torch.tensor([[True, False, True]]))
    other = mean_surprise(wide, torch.tensor([[True, False, True, False]]))
    torch.testing.assert_close(one, other)
    one.backward()
    other.backward()
    torch.testing.assert_close(wide.grad[:, :3], narrow.grad)
    assert wide.grad[0, 3] == 0


def test_a_classifier_token_may_stand_anywhere():
    inputs = {"input_ids": torch.zeros(3, 6), "context_start": torch.tensor([4, 4, 4])}
    inputs |= {"context_end": torch.tensor([6, 5, 6]), "start_positions": torch.tensor([2, 4, 0])}
    allowed = tokens_that_may_be_right(inputs, 2, allows_no_answer=False)
    assert allowed.int().tolist() == [[0, 0, 1, 0, 1, 1], [0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 1, 1]]
    assert tokens_that_may_be_right(inputs, 2, allows_no_answer=True)[:, 2].all()


def test_logits_in_bfloat16_are_smoothed_in_float32():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = NliTrainer.spread_losses(None, {"logits": logits}, {})
    expected = -torch.log_softmax(logits.double(), -1).mean(-1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)
