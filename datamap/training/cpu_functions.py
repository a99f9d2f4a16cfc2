"""Stand-ins for functions that take most of a small model's training step on a CPU beside its matrix products.

Dropout draws its mask one number at a time on one thread; here two or four draws are cut from each random 64-bit
number, and turned into masks that are laid over the values bit by bit. The gradient of an embedding is a dense table
for every micro-batch; here the rows that occur are added where it is summed. Attention casts its probabilities to
float32 and back; here they stay in the precision of the products, and only their softmax is in float32.
"""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, TrainingArguments

# A draw is a signed number as wide as a value.
DRAWS = {torch.float32: torch.int32, torch.bfloat16: torch.int16}
NO_PADDING = -1
ATTENTION = "cpu_products"
# Models whose attention is what `attend` computes: as many keys as queries, all of one type, padding masked, no more.
PLAIN_ATTENTION = {"bert", "electra", "roberta", "xlm-roberta", "camembert"}
PLAIN_EMBEDDING = {"max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False, "sparse": False}


def n_dropped(p: float, dtype: torch.dtype) -> int:
    """How many of the draws for values of a type are dropped for a dropout probability."""
    return round(p * 2 ** torch.iinfo(DRAWS[dtype]).bits)


def kept_scale(p: float, dtype: torch.dtype) -> float:
    """What kept values are multiplied by: one over the share that is kept, `p` as a whole number of draws."""
    return 1 / (1 - n_dropped(p, dtype) / 2 ** torch.iinfo(DRAWS[dtype]).bits)


def fits(p: float, dtype: torch.dtype) -> bool:
    """Whether values of this type can be dropped by draws with this probability, some of them but not all."""
    return dtype in DRAWS and 0 < n_dropped(p, dtype) < 2 ** torch.iinfo(DRAWS[dtype]).bits


def keep_mask(shape: torch.Size, p: float, dtype: torch.dtype) -> torch.Tensor:
    """Which values dropout keeps, each independently of the others: all bits set or none, int16 or int32 [*shape].

    The numbers are SFC64's, seeded by one number of PyTorch's generator of the CPU, so seeds and checkpoints govern
    them.

    Args:
        p: dropout probability, one that `fits`.
        dtype: bfloat16 or float32, of the values.
    """
    limits, n_values = torch.iinfo(DRAWS[dtype]), shape.numel()
    seed = int(torch.empty((), dtype=torch.int64).random_(0, None))
    numbers = np.random.SFC64(seed).random_raw(-(-n_values * limits.bits // 64))
    draws = torch.from_numpy(numbers.view(f"int{limits.bits}")[:n_values]).view(shape)
    first_dropped = limits.max + 1 - n_dropped(p, dtype)
    return draws.clamp_(first_dropped - 1, first_dropped).sub_(first_dropped)


def laid_over(values: torch.Tensor, mask: torch.Tensor, scale: float) -> torch.Tensor:
    """Values times `scale` where a mask has its bits set, else 0."""
    return (values.view(mask.dtype) & mask).view(values.dtype).mul_(scale)


class Dropout(torch.autograd.Function):
    """Dropout (Srivastava et al. 2014) with kept values divided by the share that is kept."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, p: float) -> torch.Tensor:
        """Values of any shape, some set to 0."""
        mask = keep_mask(values.shape, p, values.dtype)
        ctx.save_for_backward(mask)
        ctx.scale = kept_scale(p, values.dtype)
        return laid_over(values, mask, ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple:
        """The gradient of the kept values."""
        (mask,) = ctx.saved_tensors
        return laid_over(gradient, mask, ctx.scale), None


class Attention(torch.autograd.Function):
    """Softmax attention (Vaswani et al. 2017, equation 1) with dropout of its probabilities."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: Any,
        bias: torch.Tensor | None,
        scaling: float,
        p: float,
    ) -> torch.Tensor:
        """Values mixed by the softmax of the scaled products of queries and keys, [batch, heads, n_tokens, n].

        Args:
            query, key, value: float [batch, heads, n_tokens, n], all of one type.
            bias: added to the scaled products, broadcast to [batch, heads, n_tokens, n_tokens]; or None.
            p: dropout probability; 0 for none.
        """
        with torch.autocast("cpu", enabled=False):
            query = query * scaling
            scores = query @ key.mT
            if bias is not None:
                scores += bias
            probs = torch.softmax(scores, -1, dtype=torch.float32).to(value.dtype)
            kept, mask = probs, None
            if p:
                ctx.scale = kept_scale(p, value.dtype)
                mask = keep_mask(probs.shape, p, probs.dtype)
                kept = laid_over(probs, mask, ctx.scale)
            out = kept @ value
        ctx.scaling = scaling
        ctx.save_for_backward(query, key, value, probs, mask, kept, out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple:
        """The gradients of query, key and value.

        That of the scores is probs · (gradient of probs − its mean over probs), and that mean is the product of output
        and gradient (Dao et al. 2022, arXiv 2205.14135, appendix B.2).
        """
        query, key, value, probs, mask, kept, out = ctx.saved_tensors
        with torch.autocast("cpu", enabled=False):
            gradient = gradient.to(value.dtype)
            scores = gradient @ value.mT
            if mask is not None:
                scores = laid_over(scores, mask, ctx.scale)
            mean = (gradient.float() * out.float()).sum(-1, keepdim=True)
            scores = scores.sub_(mean).mul_(probs)
            return (scores @ key).mul_(ctx.scaling), scores.mT @ query, kept.mT @ gradient, None, None, None


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: Any,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as Transformers' AttentionInterface calls it: ([batch, n_tokens, heads, n], None)."""
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    p = dropout if module.training and fits(dropout, value.dtype) else 0.0
    bias = attention_mask
    if bias is not None:  # the least float32 would be -inf in bfloat16, and a row of nothing else NaN
        bias = bias.clamp(min=torch.finfo(value.dtype).min).to(value.dtype)
    return Attention.apply(query, key, value, bias, scaling, p).transpose(1, 2).contiguous(), None


def use_fast_attention(model: "PreTrainedModel") -> bool:
    """Have a model on a CPU attend by `attend`, where that is what its own code computes; whether it does."""
    dropout = getattr(model.config, "attention_probs_dropout_prob", 0.0)
    if model.config.model_type not in PLAIN_ATTENTION or dropout >= 1:
        return False
    AttentionInterface.register(ATTENTION, attend)
    AttentionMaskInterface.register(ATTENTION, ALL_MASK_ATTENTION_FUNCTIONS["eager"])
    model.set_attn_implementation(ATTENTION)
    return True


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
