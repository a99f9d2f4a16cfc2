"""Attention of rows that are laid end to end: every row attends to itself alone, and nothing is padding.

Rows of like lengths that follow each other go through a product together, padded to the longest of them. The
probabilities stay in the precision of the products; only their softmax is in float32.
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
# Products of rows of unlike lengths have at most this many times the probabilities of these rows alone.
MOST_PADDED = 1.25


class RowGroup(NamedTuple):
    """Rows of like lengths that lie next to each other, from the place of their first token on, the longest first.

    Rows of one length are seen as they lie; others are laid over as many zeros as the longest has tokens.

    Attributes:
        begin: place of the first token.
        lengths: of the rows.
    """

    begin: int
    lengths: tuple[int, ...]

    @property
    def n_tokens(self) -> int:
        """Of all rows together."""
        return sum(self.lengths)

    @property
    def is_even(self) -> bool:
        """Whether all rows have one length."""
        return self.lengths[0] == self.lengths[-1]


class Layout(NamedTuple):
    """Where the tokens of a group lie in its products.

    Attributes:
        group: that is laid out.
        places: of its tokens among n_rows x longest, int64 [n_tokens]; None where they fill them.
        padding: which keys are none, bool [n_rows, 1, 1, longest]; None where all are.
    """

    group: RowGroup
    places: torch.Tensor | None
    padding: torch.Tensor | None

    def rows_of(self, values: torch.Tensor) -> torch.Tensor:
        """[n_rows, heads, longest, n] of values [all tokens, heads, n]: a view, or a copy with zeros as padding."""
        n_rows, longest = len(self.group.lengths), self.group.lengths[0]
        part = values[self.group.begin : self.group.begin + self.group.n_tokens]
        if self.places is not None:
            part = part.new_zeros(n_rows * longest, *part.shape[1:]).index_copy_(0, self.places, part)
        return part.view(n_rows, longest, *part.shape[1:]).transpose(1, 2)

    def put(self, values: torch.Tensor, rows: torch.Tensor) -> None:
        """Write rows [n_rows, heads, longest, n] where their tokens are in values [all tokens, heads, n]."""
        part = values[self.group.begin : self.group.begin + self.group.n_tokens]
        if self.places is None:
            n_rows, longest = len(self.group.lengths), self.group.lengths[0]
            part.view(n_rows, longest, *part.shape[1:]).transpose(1, 2).copy_(rows)
        else:
            torch.index_select(rows.transpose(1, 2).flatten(0, 1), 0, self.places, out=part)


def row_groups(lengths: list[int], n_heads: int) -> list[RowGroup]:
    """Rows that lie end to end, each no longer than the one before, as groups of like lengths."""
    groups: list[RowGroup] = []
    begin = 0
    for length in lengths:
        last = groups[-1] if groups else None
        if last and fits_in(last, length, n_heads):
            groups[-1] = last._replace(lengths=(*last.lengths, length))
        else:
            groups.append(RowGroup(begin, (length,)))
        begin += length
    return groups


def fits_in(group: RowGroup, length: int, n_heads: int) -> bool:
    """Whether a row goes with a group: its products stay small, and padding is a small part of them."""
    products = (len(group.lengths) + 1) * group.lengths[0] ** 2
    own = sum(one**2 for one in group.lengths) + length**2
    return products * n_heads <= MOST_PROBABILITIES and products <= MOST_PADDED * own


def laid_out(groups: list[RowGroup]) -> list[Layout]:
    """The layout of each group."""
    found = []
    for group in groups:
        if group.is_even:
            found.append(Layout(group, None, None))
            continue
        lengths = torch.tensor(group.lengths)
        there = torch.arange(group.lengths[0]) < lengths[:, None]
        found.append(Layout(group, there.flatten().nonzero()[:, 0], ~there[:, None, None]))
    return found


class RowAttention(torch.autograd.Function):
    """Softmax attention (Vaswani et al. 2017, equation 1) within rows, with dropout of its probabilities."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        layouts: list[Layout],
        scaling: float,
        p: float,
        learns: bool,
    ) -> torch.Tensor:
        """Values mixed by the softmax of the scaled products of queries and keys, [n_tokens, heads, n].

        Args:
            query, key, value: float [n_tokens, heads, n], all of one type.
            layouts: of groups that cover all tokens.
            p: dropout probability; 0 for none.
            learns: whether gradients are asked for later.
        """
        ctx.layouts, ctx.scaling, ctx.kept = layouts, scaling, []
        ctx.scale = kept_scale(p) if p else 1.0
        out = torch.empty_like(value, memory_format=torch.contiguous_format)
        with torch.autocast("cpu", enabled=False):
            query, scaled = query * scaling, value * ctx.scale
            for layout in layouts:
                scores = layout.rows_of(query) @ layout.rows_of(key).mT
                if layout.padding is not None:
                    scores.masked_fill_(layout.padding, -torch.inf)
                probs = torch.softmax(scores, -1, dtype=torch.float32).to(value.dtype)
                mask = keep_mask(probs.shape, p, probs.dtype) if p else None
                if learns:
                    ctx.kept.append((probs, mask))
                layout.put(out, dropped(probs, mask) @ layout.rows_of(scaled))
        ctx.save_for_backward(query, key, scaled)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple:
        """The gradients of query, key and value."""
        query, key, scaled = ctx.saved_tensors
        own = [torch.empty_like(side, memory_format=torch.contiguous_format) for side in (query, key, scaled)]
        with torch.autocast("cpu", enabled=False):
            gradient = gradient.to(scaled.dtype)
            for layout, (probs, mask) in zip(ctx.layouts, ctx.kept, strict=True):
                incoming = layout.rows_of(gradient)
                layout.put(own[2], dropped(probs, mask).mT @ incoming)
                scores = dropped(incoming @ layout.rows_of(scaled).mT, mask)
                scores = torch.ops.aten._softmax_backward_data(scores, probs, -1, probs.dtype)
                layout.put(own[0], scores @ layout.rows_of(key))
                layout.put(own[1], scores.mT @ layout.rows_of(query))
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
    row_layouts: list[Layout] | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as Transformers' AttentionInterface calls it: ([1, n_tokens, heads, n], None).

    Args:
        query, key, value: [1, heads, n_tokens, n], rows end to end.
        row_layouts: which tokens are whose; without them (a model that is called in the usual way) PyTorch's attention.
    """
    if row_layouts is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    p = dropout if module.training and fits(dropout, value.dtype) else 0.0
    sides = (side[0].transpose(0, 1) for side in (query, key, value))
    return RowAttention.apply(*sides, row_layouts, scaling, p, torch.is_grad_enabled())[None], None


def use_row_attention(model: "torch.nn.Module") -> bool:
    """Have a model on a CPU attend by `attend`, where that is what its own code computes; whether it does."""
    dropout = getattr(model.config, "attention_probs_dropout_prob", 0.0)
    if model.config.model_type not in MODEL_TYPES or dropout >= 1:
        return False
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    model.set_attn_implementation(NAME)
    return True
