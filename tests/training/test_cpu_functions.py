"""The stand-ins for dropout and embedding: the distribution and the gradients of the functions they stand in for."""

import math

import pytest
import torch
from torch.nn import functional

from datamap.training.cpu_functions import (
    ATTENTION,
    CpuFunctions,
    attend,
    keep_mask,
    kept_scale,
    n_dropped,
    use_fast_attention,
)
from datamap.training.devices import choose_attention

N = 400_000


def generator_state(seed=0):
    torch.manual_seed(seed)


TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)


@TYPES
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(p, dtype):
    generator_state()
    with CpuFunctions(sums_gradients=True):
        out = functional.dropout(torch.ones(N, dtype=dtype), p).double()
    dropped = (out == 0).double().mean().item()
    assert abs(dropped - p) < 5 * math.sqrt(p * (1 - p) / N)
    rounding = 2**-8 if dtype == torch.bfloat16 else 2**-16
    torch.testing.assert_close(out[out != 0], torch.full_like(out[out != 0], 1 / (1 - p)), rtol=rounding, atol=0)
    assert abs(out.mean().item() - 1) < 5 * math.sqrt(p / (1 - p) / N) + rounding
    assert abs(n_dropped(p, dtype) / 2 ** (8 * dtype.itemsize) - p) <= 2**-17
    assert abs(kept_scale(p, dtype) * (1 - p) - 1) < 2**-12


@TYPES
@pytest.mark.parametrize("lag", [1, 2, 3, 4])
def test_draws_cut_from_one_number_do_not_depend_on_each_other(lag, dtype):
    generator_state()
    mask = keep_mask(torch.Size([N]), 0.3, dtype)
    assert mask.unique().tolist() == [-1, 0]
    kept = -mask.float()
    covariance = ((kept[lag:] - 0.7) * (kept[:-lag] - 0.7)).mean().item()
    assert abs(covariance) < 5 * 0.3 * 0.7 / math.sqrt(N)


@TYPES
def test_each_place_within_a_number_drops_the_same_share(dtype):
    generator_state()
    shares = 1 + keep_mask(torch.Size([N]), 0.1, dtype).view(-1, 4).float().mean(0)
    assert (shares - 0.1).abs().max().item() < 5 * math.sqrt(0.1 * 0.9 / (N / 4))


@TYPES
def test_values_and_gradient_pass_where_values_were_kept(dtype):
    generator_state()
    values = torch.randn(50, 3, 7, dtype=dtype, requires_grad=True)
    with CpuFunctions(sums_gradients=True):
        out = functional.dropout(values.transpose(0, 2), 0.4)  # not contiguous
    out.sum().backward()
    kept = (out != 0).transpose(0, 2)
    assert 0 < kept.sum() < out.numel()
    scale = kept_scale(0.4, dtype)
    assert torch.equal(out.transpose(0, 2), (values.detach() * scale) * kept)
    assert torch.equal(values.grad, torch.ones_like(values) * scale * kept)


def test_the_seed_governs_the_mask_and_each_call_has_its_own():
    with CpuFunctions(sums_gradients=True):
        masks = []
        for seed in (1, 1, 2):
            generator_state(seed)
            masks.append([functional.dropout(torch.ones(1000), 0.5) for _ in range(2)])
    assert torch.equal(masks[0][0], masks[1][0])
    assert torch.equal(masks[0][1], masks[1][1])
    assert not torch.equal(masks[0][0], masks[0][1])
    assert not torch.equal(masks[0][0], masks[2][0])


def test_without_training_and_at_the_ends_of_the_range_dropout_is_pytorchs():
    values = torch.randn(9)
    with CpuFunctions(sums_gradients=True):
        assert torch.equal(functional.dropout(values, 0.5, training=False), values)
        assert torch.equal(functional.dropout(values, 0.0), values)
        assert torch.equal(functional.dropout(values, 1.0), torch.zeros(9))
        assert torch.equal(torch.nn.Dropout(0.5).eval()(values), values)


def attention_inputs(dtype=torch.float32, n_tokens=7):
    """Query, key, value [2, 3, n_tokens, 5] as transposed views, and a bias that hides the first row's last tokens."""
    generator_state()
    sides = [torch.randn(2, n_tokens, 3, 5).to(dtype).requires_grad_() for _ in range(3)]
    bias = torch.zeros(2, 1, 1, n_tokens)
    bias[0, ..., -2:] = torch.finfo(torch.float32).min
    return sides, bias


class Module:
    training = True


def stock_attention(query, key, value, bias, scaling, kept=1.0):
    """Attention in float64 by its definition; `kept` multiplies the probabilities."""
    scores = query.double() @ key.double().mT * scaling + bias.double()
    return ((torch.softmax(scores, -1) * kept) @ value.double()).transpose(1, 2)


def test_attention_and_its_gradient_equal_the_definition():
    sides, bias = attention_inputs()
    found, _ = attend(Module, *(side.transpose(1, 2) for side in sides), bias, scaling=0.3)
    expected = stock_attention(*(side.transpose(1, 2) for side in sides), bias, 0.3)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)
    weights = torch.randn_like(found)
    own = torch.autograd.grad((found * weights).sum(), sides)
    true = torch.autograd.grad((expected * weights).sum(), sides)
    assert max(gradient.abs().max() for gradient in true) > 0.1
    for one, other in zip(own, true, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-6)


def test_attention_drops_probabilities_and_passes_their_gradient():
    sides, bias = attention_inputs()
    heads = [side.transpose(1, 2) for side in sides]
    generator_state(3)
    found, _ = attend(Module, *heads, bias, dropout=0.5)
    generator_state(3)
    kept = -keep_mask(torch.Size([2, 3, 7, 7]), 0.5, torch.float32).double() * kept_scale(0.5, torch.float32)
    assert 0.3 < (kept == 0).double().mean() < 0.7
    expected = stock_attention(*heads, bias, 5**-0.5, kept)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)
    own, true = (torch.autograd.grad(out.square().sum(), sides, retain_graph=True) for out in (found, expected))
    for one, other in zip(own, true, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_attention_in_bfloat16_is_close_and_stays_in_it():
    sides, bias = attention_inputs(torch.bfloat16)
    found, _ = attend(Module, *(side.transpose(1, 2) for side in sides), bias)
    assert found.dtype == torch.bfloat16
    exact = stock_attention(*(side.transpose(1, 2) for side in sides), bias, 5**-0.5)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=0.03)


def test_a_model_gives_the_same_with_it_and_saves_no_trace_of_it(tiny_model, tmp_path):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(tiny_model).eval()
    ids, mask = torch.randint(5, 900, (3, 11)), torch.ones(3, 11, dtype=torch.int64)
    mask[1, 6:] = 0
    before = model(input_ids=ids, attention_mask=mask).last_hidden_state
    assert use_fast_attention(model)
    after = model(input_ids=ids, attention_mask=mask).last_hidden_state
    assert not torch.equal(before, after)
    torch.testing.assert_close(after[mask == 1], before[mask == 1], rtol=0, atol=1e-6)
    model.save_pretrained(tmp_path)
    assert ATTENTION not in (tmp_path / "config.json").read_text()


def test_a_model_whose_code_leaves_no_choice_is_left_alone():
    from transformers import DebertaConfig, DebertaModel

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = DebertaModel(DebertaConfig(vocab_size=20, **sizes))
    assert use_fast_attention(model) is False
    choose_attention(model, torch.device("cpu"))
    assert model.config._attn_implementation == "eager"


def test_a_row_without_any_key_is_a_number_in_bfloat16():
    sides, bias = attention_inputs(torch.bfloat16)
    bias = bias.expand(2, 1, 7, 7).clone()
    bias[0, 0, 3] = torch.finfo(torch.float32).min
    found, _ = attend(Module, *(side.transpose(1, 2) for side in sides), bias)
    assert found.isfinite().all()


@pytest.mark.parametrize("padding_idx", [None, 2, -1])
def test_summed_gradients_of_a_table_equal_autograds(padding_idx):
    generator_state()
    table = torch.randn(11, 5, requires_grad=True)
    twin = table.detach().clone().requires_grad_()
    weights = torch.randn(3, 4, 5)
    mode = CpuFunctions(sums_gradients=True)
    for seed in (0, 1):  # two micro-batches add up
        places = torch.randint(0, 11, (3, 4), generator=torch.Generator().manual_seed(seed))
        with mode:
            found = functional.embedding(places, table, padding_idx)
        expected = functional.embedding(places, twin, padding_idx)
        assert torch.equal(found, expected)
        (found * weights).sum().backward()
        (expected * weights).sum().backward()
    assert twin.grad.abs().max() > 1
    torch.testing.assert_close(table.grad, twin.grad, rtol=0, atol=1e-6)


def test_gradients_that_processes_share_stay_autograds():
    table = torch.randn(4, 3, requires_grad=True)
    with CpuFunctions(sums_gradients=False):
        out = functional.embedding(torch.tensor([1]), table)
    (gradient,) = torch.autograd.grad(out.sum(), table)
    assert gradient.sum() == 3
    assert table.grad is None


def test_a_frozen_table_gets_no_gradient():
    table = torch.randn(4, 3)
    with CpuFunctions(sums_gradients=True):
        out = functional.embedding(torch.tensor([1]), table)
    assert not out.requires_grad
    assert table.grad is None
