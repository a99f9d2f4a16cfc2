"""Dropout on a CPU, where PyTorch draws its mask one number at a time on one thread.

Four draws are cut from each random 64-bit number and turned into a mask that is laid over the values bit by bit.
"""

from typing import Any

import numpy as np
import torch

# A mask is a whole number as wide as a value.
MASKS = {torch.float32: torch.int32, torch.bfloat16: torch.int16}
N_DRAWS = 2**16  # a draw is a signed number of 16 bits


def n_dropped(p: float) -> int:
    """How many of all possible draws are dropped for a dropout probability."""
    return round(p * N_DRAWS)


def kept_scale(p: float) -> float:
    """What kept values are multiplied by: one over the share that is kept, `p` as a whole number of draws."""
    return 1 / (1 - n_dropped(p) / N_DRAWS)


def fits(p: float, dtype: torch.dtype) -> bool:
    """Whether values of this type can be dropped by draws with this probability, some of them but not all."""
    return dtype in MASKS and 0 < n_dropped(p) < N_DRAWS


def keep_mask(shape: torch.Size, p: float, dtype: torch.dtype) -> torch.Tensor:
    """Which values dropout keeps, each independently of the others: all bits set or none, int16 or int32 [*shape].

    The numbers are SFC64's, seeded by one number of PyTorch's generator of the CPU, so seeds and checkpoints govern
    them.

    Args:
        p: dropout probability, one that `fits`.
        dtype: bfloat16 or float32, of the values.
    """
    n_values = shape.numel()
    seed = int(torch.empty((), dtype=torch.int64).random_(0, None))
    numbers = np.random.SFC64(seed).random_raw(-(-n_values // 4))
    draws = torch.from_numpy(numbers.view(np.int16)[:n_values]).view(shape)
    first_dropped = N_DRAWS // 2 - n_dropped(p)
    return draws.clamp_(first_dropped - 1, first_dropped).sub_(first_dropped).to(MASKS[dtype])


def laid_over(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Values where a mask has its bits set, else 0."""
    return (values.view(mask.dtype) & mask).view(values.dtype)


class Dropout(torch.autograd.Function):
    """Dropout (Srivastava et al. 2014) with kept values divided by the share that is kept."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, p: float) -> torch.Tensor:
        """Values of any shape, some set to 0."""
        mask = keep_mask(values.shape, p, values.dtype)
        ctx.save_for_backward(mask)
        ctx.scale = kept_scale(p)
        return laid_over(values, mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple:
        """The gradient of the kept values."""
        (mask,) = ctx.saved_tensors
        return laid_over(gradient, mask).mul_(ctx.scale), None
