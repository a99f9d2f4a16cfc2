"""Ceilings: how many examples a second the matrix products of a training step alone allow.

Timed are the products of every linear layer (forward, and the two of its gradients) and of the attention, with nothing
between them: with the same products, no training is faster than that.
"""

import argparse
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator

import torch
from transformers import ElectraConfig

import timing
from inputs import SEED, demo_config

N_TOKENS = 172
MICRO_BATCH_TOKENS = {"cpu": 1024, "cuda": 65_536}
FLOAT32, FAST_FLOAT32, BF16 = PRECISIONS = ("float32", "fast float32", "bf16")
# What the products of float32 numbers may be computed in with "fast float32". On a CPU it is this permission that has
# PyTorch call oneDNN for them; whether oneDNN then rounds to bfloat16 depends on the processor. On a GPU it is TF32.
PERMITTED = {"cpu": "bf16", "cuda": "tf32"}
SHOWN = {("cpu", FAST_FLOAT32): "float32 by oneDNN", ("cuda", FAST_FLOAT32): "float32 as TF32"}
N_HEAD_OUTPUTS = 2


def measure(options: argparse.Namespace) -> list[timing.Row]:
    """Both small models in every precision; the note has the error of a product."""
    device, rows = options.device, []
    n_rows = micro_batch_rows(N_TOKENS, device)
    for name, config in (("ELECTRA-small", ElectraConfig()), ("MiniLM-L6", demo_config())):
        steps = {SHOWN.get((device, found), found): step(config, N_TOKENS, found, device) for found in PRECISIONS}
        item = f"products of {name}, {n_rows} rows of {N_TOKENS} tokens"
        measured = timing.take_turns(item, steps, amount=n_rows, unit="examples")
        errors = [product_error(config, precision, device) for precision in PRECISIONS]
        notes = [f"error of a product {error:.1e}" for error in errors]
        rows += [dataclasses.replace(row, note=note) for row, note in zip(measured, notes, strict=True)]
    return rows


def ceiling(config, n_tokens: int, precision: str, device: str) -> float:
    """Examples a second, of `n_tokens` tokens each, by the median of some repeats.

    Args:
        config: Transformers' configuration of an encoder.
        precision: one of PRECISIONS.
        device: "cpu" or "cuda".
    """
    n_rows = micro_batch_rows(n_tokens, device)
    (row,) = timing.take_turns("ceiling", {precision: step(config, n_tokens, precision, device)}, amount=n_rows)
    return row.amount / row.median


def micro_batch_rows(n_tokens: int, device: str) -> int:
    """Rows of `n_tokens` tokens in a micro-batch."""
    return max(1, round(MICRO_BATCH_TOKENS[device] / n_tokens))


def step(config, n_tokens: int, precision: str, device: str) -> Callable[[], None]:
    """A call that computes all products of a training step on one micro-batch, and waits for them."""
    dtype = torch.bfloat16 if precision == BF16 else torch.float32
    triples = products(config, micro_batch_rows(n_tokens, device), n_tokens, dtype, device)

    def call() -> None:
        with multiplying(precision, device):
            for left, right, result in triples:
                torch.matmul(left, right, out=result)
        if device == "cuda":
            torch.cuda.synchronize()

    return call


@contextlib.contextmanager
def multiplying(precision: str, device: str) -> Iterator[None]:
    """Have products of float32 numbers computed as `precision` says."""
    settings = torch.backends.cuda.matmul if device == "cuda" else torch.backends.mkldnn.matmul
    before = settings.fp32_precision
    settings.fp32_precision = PERMITTED[device] if precision == FAST_FLOAT32 else "ieee"
    try:
        yield
    finally:
        settings.fp32_precision = before


def products(config, n_rows: int, n_tokens: int, dtype: torch.dtype, device: str) -> list[tuple[torch.Tensor, ...]]:
    """(left, right, result) of every product of a step.

    Weights and their gradients are each layer's own, as a processor's cache has to take them; activations of the same
    shape share their memory.
    """

    @functools.cache
    def shared(name: str, *shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=dtype, device=device)

    triples = []
    for n_in, n_out in linear_layers(config):
        weights, gradient = (torch.randn(n_out, n_in, dtype=dtype, device=device) for _ in range(2))
        given, asked = (shared(name, n_rows * n_tokens, n_in) for name in ("inputs", "gradients of inputs"))
        made, back = (shared(name, n_rows * n_tokens, n_out) for name in ("outputs", "gradients of outputs"))
        triples += [(given, weights.T, made), (back, weights, asked), (back.T, given, gradient)]
    n_heads = config.num_attention_heads
    heads = n_rows * n_heads, n_tokens, config.hidden_size // n_heads
    scores, back_scores = (shared(name, *heads[:2], n_tokens) for name in ("scores", "gradients of scores"))
    queries, keys, values, mixed, back, asked = (shared(f"heads {number}", *heads) for number in range(6))
    forward = [(queries, keys.mT, scores), (scores, values, mixed)]
    backward = [(back, values.mT, back_scores), (scores.mT, back, asked)]
    backward += [(back_scores, keys, asked), (back_scores.mT, queries, asked)]
    return triples + (forward + backward) * config.num_hidden_layers


def linear_layers(config) -> list[tuple[int, int]]:
    """(inputs, outputs) of every linear layer of an encoder with a question-answering head."""
    hidden, wide = config.hidden_size, config.intermediate_size
    embedding = getattr(config, "embedding_size", hidden)
    first = [(embedding, hidden)] if embedding != hidden else []
    a_layer = [(hidden, hidden)] * 4 + [(hidden, wide), (wide, hidden)]
    return [*first, *a_layer * config.num_hidden_layers, (hidden, N_HEAD_OUTPUTS)]


def product_error(config, precision: str, device: str) -> float:
    """The largest error of a product against float64, in units of its results' standard deviation."""
    generator = torch.Generator().manual_seed(SEED)
    left = torch.randn(MICRO_BATCH_TOKENS["cpu"], config.hidden_size, generator=generator)
    right = torch.randn(config.hidden_size, config.intermediate_size, generator=generator)
    dtype = torch.bfloat16 if precision == BF16 else torch.float32
    with multiplying(precision, device):
        found = (left.to(device, dtype) @ right.to(device, dtype)).cpu().double()
    return float((found - left.double() @ right.double()).abs().max()) / config.hidden_size**0.5
