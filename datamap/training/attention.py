"""Attention of rows that are laid end to end: every row attends to itself alone, and nothing is padding.

Rows of equal length that follow each other go through a product together. The probabilities stay in the precision of
the products; only their softmax is in float32.
"""

from typing import Any, NamedTuple

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from datamap.training.dropout import fits, keep_mask, kept_scale, laid_over

NAME = "rows_end_to_end"
# Models whose attention is what `attend` computes: as many keys as queries, all of one type, padding masked, no more.
MODEL_TYPES = {"bert", "electra", "roberta", "xlm-roberta", "camembert"}
# Products of one group of rows stay below this many probabilities, which then fit a processor's cache.
MOST_PROBABILITIES = 2**20


class RowGroup(NamedTuple):
    """Rows of one length that lie next to each other, from the place of their first token on."""

    begin: int
    n_rows: int
    length: int


def row_groups(lengths: list[int], n_heads: int) -> list[RowGroup]:
    """Rows that lie end to end, as groups of equal length."""
    groups: list[RowGroup] = []
    begin = 0
    for length in lengths:
        last = groups[-1] if groups else None
        if last and last.length == length and (last.n_rows + 1) * n_heads * length**2 <= MOST_PROBABILITIES:
            groups[-1] = last._replace(n_rows=last.n_rows + 1)
        else:
            groups.append(RowGroup(begin, 1, length))
        begin += length
    return groups


def rows_of(values: torch.Tensor, group: RowGroup) -> torch.Tensor:
    """The view [n_rows, heads, length, n] of the rows of a group in [n_tokens, heads, n]."""
    part = values[group.begin : group.begin + group.n_rows * group.length]
    return part.view(group.n_rows, group.length, *values.shape[1:]).transpose(1, 2)


class RowAttention(torch.autograd.Function):
    """Softmax attention (Vaswani et al. 2017, equation 1) within rows, with dropout of its probabilities."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        groups: list[RowGroup],
        scaling: float,
        p: float,
        learns: bool,
    ) -> torch.Tensor:
        """Values mixed by the softmax of the scaled products of queries and keys, [n_tokens, heads, n].

        Args:
            query, key, value: float [n_tokens, heads, n], all of one type.
            groups: that cover all tokens.
            p: dropout probability; 0 for none.
            learns: whether gradients are asked for later.
        """
        ctx.groups, ctx.scaling, ctx.kept = groups, scaling, []
        ctx.scale = kept_scale(p) if p else 1.0
        out = torch.empty_like(value, memory_format=torch.contiguous_format)
        with torch.autocast("cpu", enabled=False):
            query, scaled = query * scaling, value * ctx.scale
            for group in groups:
                scores = rows_of(query, group) @ rows_of(key, group).mT
                probs = torch.softmax(scores, -1, dtype=torch.float32).to(value.dtype)
                mask = keep_mask(probs.shape, p, probs.dtype) if p else None
                if learns:
                    ctx.kept.append((probs, mask))
                rows_of(out, group).copy_(dropped(probs, mask) @ rows_of(scaled, group))
        ctx.save_for_backward(query, key, scaled)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple:
        """The gradients of query, key and value."""
        query, key, scaled = ctx.saved_tensors
        own = [torch.empty_like(side, memory_format=torch.contiguous_format) for side in (query, key, scaled)]
        with torch.autocast("cpu", enabled=False):
            gradient = gradient.to(scaled.dtype)
            for group, (probs, mask) in zip(ctx.groups, ctx.kept, strict=True):
                incoming = rows_of(gradient, group)
                of_query, of_key, of_value = (rows_of(side, group) for side in own)
                of_value.copy_(dropped(probs, mask).mT @ incoming)
                scores = dropped(incoming @ rows_of(scaled, group).mT, mask)
                scores = torch.ops.aten._softmax_backward_data(scores, probs, -1, probs.dtype)
                of_query.copy_(scores @ rows_of(key, group))
                of_key.copy_(scores.mT @ rows_of(query, group))
            own[0].mul_(ctx.scaling)
            own[2].mul_(ctx.scale)
        ctx.kept = None
        return *own, None, None, None, None


def dropped(values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Values that a mask keeps, the others 0; all where there is none."""
    return values if mask is None else laid_over(values, mask)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    row_groups: list[RowGroup] | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as Transformers' AttentionInterface calls it: ([1, n_tokens, heads, n], None).

    Args:
        query, key, value: [1, heads, n_tokens, n], rows end to end.
        row_groups: which tokens are whose; without them (a model that is called in the usual way) PyTorch's attention.
    """
    if row_groups is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    p = dropout if module.training and fits(dropout, value.dtype) else 0.0
    sides = (side[0].transpose(0, 1) for side in (query, key, value))
    return RowAttention.apply(*sides, row_groups, scaling, p, torch.is_grad_enabled())[None], None


def use_row_attention(model: "torch.nn.Module") -> bool:
    """Have a model on a CPU attend by `attend`, where that is what its own code computes; whether it does."""
    dropout = getattr(model.config, "attention_probs_dropout_prob", 0.0)
    if model.config.model_type not in MODEL_TYPES or dropout >= 1:
        return False
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    model.set_attn_implementation(NAME)
    return True
