"""The stand-ins for dropout and embedding: the distribution and the gradients of the functions they stand in for."""

import math

import pytest
import torch
from torch.nn import functional

from datamap.training.cpu_functions import CpuFunctions
from datamap.training.dropout import keep_mask, kept_scale, n_dropped

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
    rounding = 2**-8 if dtype == torch.bfloat16 else 2**-13  # of p to a draw of 16 bits, where 0.1 is kept
    torch.testing.assert_close(out[out != 0], torch.full_like(out[out != 0], 1 / (1 - p)), rtol=rounding, atol=0)
    assert abs(out.mean().item() - 1) < 5 * math.sqrt(p / (1 - p) / N) + rounding
    assert abs(n_dropped(p) / 2**16 - p) <= 2**-17
    assert abs(kept_scale(p) * (1 - p) - 1) < 2**-12


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
    scale = kept_scale(0.4)
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
