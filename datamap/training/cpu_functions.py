"""Stand-ins for functions that take most of a small model's training step on a CPU beside its matrix products.

Dropout is that of `dropout`. The gradient of an embedding is a dense table for every micro-batch; here the rows that
occur are added where it is summed.
"""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from datamap.training.dropout import Dropout, fits

if TYPE_CHECKING:
    from transformers import TrainingArguments

NO_PADDING = -1
PLAIN_EMBEDDING = {"max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False, "sparse": False}


class Embedding(torch.autograd.Function):
    """Rows of a table, whose gradient is added to the table's `grad` row by row; those of `padding_idx` get none."""

    @staticmethod
    def forward(ctx: Any, table: torch.Tensor, places: torch.Tensor, padding_idx: int) -> torch.Tensor:
        """float [*places.shape, n_columns]."""
        ctx.table, ctx.padding_idx = table, padding_idx
        ctx.save_for_backward(places)
        return table.detach()[places]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple:
        """Add to the table's gradient; autograd itself gets none."""
        (places,), table = ctx.saved_tensors, ctx.table
        rows = gradient.reshape(-1, gradient.shape[-1]).to(table.dtype)
        places = places.reshape(-1)
        if ctx.padding_idx != NO_PADDING:
            rows = rows * (places != ctx.padding_idx)[:, None]
        if table.grad is None:
            table.grad = torch.zeros_like(table)
        table.grad.index_add_(0, places, rows)
        return None, None, None


def can_stand_in(training_args: "TrainingArguments") -> bool:
    """Whether a training may use the stand-ins: on a CPU, where nothing is computed again backwards, or compiled.

    What is computed again in the backward pass would not meet them there, and would draw other masks.
    """
    on_cpu = training_args.device.type == "cpu"
    return on_cpu and not training_args.gradient_checkpointing and not training_args.torch_compile


class CpuFunctions(TorchFunctionMode):
    """While it is entered, training on a CPU calls the stand-ins where they do what was asked for.

    Args:
        sums_gradients: whether gradients of tables may be summed outside of autograd. Not where processes share
            gradients, which wait for autograd's.
    """

    def __init__(self, *, sums_gradients: bool):
        super().__init__()
        self.sums_gradients = sums_gradients

    def __torch_function__(self, function: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by PyTorch in place of `function`."""
        kwargs = kwargs or {}
        if function is torch.nn.functional.dropout:
            return self.dropout(*args, **kwargs)
        if function is torch.nn.functional.embedding and self.sums_gradients:
            return self.embedding(*args, **kwargs)
        return function(*args, **kwargs)

    def dropout(
        self, values: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> torch.Tensor:
        """As torch.nn.functional.dropout."""
        if not training or inplace or values.device.type != "cpu" or not fits(p, values.dtype):
            return torch.nn.functional.dropout(values, p, training, inplace)
        return Dropout.apply(values, p)

    def embedding(
        self, places: torch.Tensor, table: torch.Tensor, padding_idx: int | None = None, **options: argparse.Namespace
    ) -> torch.Tensor:
        """As torch.nn.functional.embedding."""
        learns = table.requires_grad and table.is_leaf and torch.is_grad_enabled() and table.device.type == "cpu"
        if not learns or PLAIN_EMBEDDING | options != PLAIN_EMBEDDING:
            return torch.nn.functional.embedding(places, table, padding_idx, **options)
        return Embedding.apply(table, places, NO_PADDING if padding_idx is None else padding_idx % len(table))
