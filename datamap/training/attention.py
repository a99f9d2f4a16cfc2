"""Attention of rows that are laid end to end: every row attends to itself alone, and next to nothing is padding.

Rows of like lengths that follow each other go through a product together, padded to a length of which there are few:
a CPU's library keeps what it has made for every shape of product that it has seen, and takes its time to make it. The
probabilities stay in the precision of the products; only their softmax is in float32.
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from datamap.features.batches import rounded
from datamap.training.dropout import fits, keep_mask, kept_scale, laid_over

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

NAME = "rows_end_to_end"
# Models whose attention is what `attend` computes: as many keys as queries, all of one type, padding masked, no more.
MODEL_TYPES = {"bert", "electra", "roberta", "xlm-roberta", "camembert"}
# Settings of a model with which it is not.
OTHERWISE = ("is_decoder", "add_cross_attention", "chunk_size_feed_forward")
# Rows are laid over a multiple of this many places in their products.
PLACES_MULTIPLE = 16
# Products of one group of rows stay below this many probabilities, which then fit a processor's cache.
MOST_PROBABILITIES = 2**20
# Products of rows of unlike lengths have at most this many times the probabilities of these rows alone.
MOST_PADDED = 1.25


class RowGroup(NamedTuple):
    """Rows of like lengths that lie next to each other, the longest first, and go through products together.

    Attributes:
        lengths: of the rows, in tokens.
        begin: how many rows of [*, n] lie before the group's in what goes through products: a place and head each.
        n_heads: of the model.
    """

    lengths: tuple[int, ...]
    begin: int
    n_heads: int

    @property
    def longest(self) -> int:
        """Places of each row."""
        return rounded(self.lengths[0], PLACES_MULTIPLE)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the group's queries but for n: rows, heads, places."""
        return len(self.lengths), self.n_heads, self.longest

    @property
    def end(self) -> int:
        """As `begin`, behind the group."""
        return self.begin + math.prod(self.shape)

    def of(self, laid: torch.Tensor) -> torch.Tensor:
        """The group's part of what is laid out [*, n]: a view [rows x heads, places, n]."""
        return laid[self.begin : self.end].view(-1, self.longest, laid.shape[1])

    def hide_padding(self, scores: torch.Tensor) -> None:
        """Set scores [rows x heads, places, places] of keys that are padding to minus infinity, in place."""
        shortest = self.lengths[-1]
        if shortest < self.longest:
            lengths = torch.tensor(self.lengths)
            hidden = torch.arange(shortest, self.longest) >= lengths[:, None]
            scores.view(*self.shape, -1)[..., shortest:].masked_fill_(hidden[:, None, None], -torch.inf)


class Layout(NamedTuple):
    """Where the tokens of rows that lie end to end go in products, head by head, and come from.

    A token and head are number `token x heads + head` of values [n_tokens x heads, n].

    Attributes:
        groups: of all rows.
        taken: the token and head that lies at each place, int64 [*]; at padding that of the row's last token.
        given: at which place each token and head lies, int64 [n_tokens x heads].
        padding: which places are padding, int64 [n].
    """

    groups: list[RowGroup]
    taken: torch.Tensor
    given: torch.Tensor
    padding: torch.Tensor

    def laid(self, values: torch.Tensor) -> torch.Tensor:
        """Values [n_tokens, heads, n] as they go through products, [*, n]; what stands at padding means nothing."""
        return values.reshape(-1, values.shape[-1]).index_select(0, self.taken)

    def back(self, laid: torch.Tensor, n_tokens: int) -> torch.Tensor:
        """What is laid out [*, n] as values [n_tokens, heads, n], 0 for tokens that are in no row."""
        values = laid.new_empty(n_tokens, self.groups[0].n_heads, laid.shape[1])
        flat = values.view(-1, laid.shape[1])
        torch.index_select(laid, 0, self.given, out=flat[: len(self.given)])
        flat[len(self.given) :].zero_()
        return values


def row_groups(lengths: list[int], n_heads: int) -> list[RowGroup]:
    """Rows that lie end to end, each no longer than the one before, as groups of like lengths."""
    groups: list[RowGroup] = []
    for length in lengths:
        last = groups[-1] if groups else None
        if last and fits_in(last, length):
            groups[-1] = last._replace(lengths=(*last.lengths, length))
        else:
            groups.append(RowGroup((length,), last.end if last else 0, n_heads))
    return groups


def fits_in(group: RowGroup, length: int) -> bool:
    """Whether a row goes with a group: its products stay small, and padding is a small part of them."""
    products = (len(group.lengths) + 1) * group.longest**2
    own = sum(rounded(one, PLACES_MULTIPLE) ** 2 for one in (*group.lengths, length))
    return products * group.n_heads <= MOST_PROBABILITIES and products <= MOST_PADDED * own


def laid_out(lengths: list[int], n_heads: int) -> Layout:
    """The layout of rows that lie end to end, each no longer than the one before."""
    groups, taken, real, begin = row_groups(lengths, n_heads), [], [], 0
    for group in groups:
        ends = begin + np.cumsum(group.lengths)[:, None]
        tokens = ends - np.array(group.lengths)[:, None] + np.arange(group.longest)
        places = np.minimum(tokens, ends - 1)[:, None] * n_heads + np.arange(n_heads)[:, None]
        taken.append(places.ravel())
        real.append(np.broadcast_to((tokens < ends)[:, None], group.shape).ravel())
        begin = int(ends[-1, 0])
    all_taken, is_real = np.concatenate(taken), np.concatenate(real)
    given = np.empty(begin * n_heads, dtype=np.int64)
    given[all_taken[is_real]] = np.flatnonzero(is_real)
    return Layout(groups, *(torch.from_numpy(part) for part in (all_taken, given, np.flatnonzero(~is_real))))


class RowAttention(torch.autograd.Function):
    """Softmax attention (Vaswani et al. 2017, equation 1) within rows, with dropout of its probabilities."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        layout: Layout,
        scaling: float,
        p: float,
        learns: bool,
    ) -> torch.Tensor:
        """Values mixed by the softmax of the scaled products of queries and keys, [n_tokens, heads, n].

        Args:
            query, key, value: float [n_tokens, heads, n], all of one type.
            layout: of rows that are the first of these tokens, or all.
            p: dropout probability; 0 for none.
            learns: whether gradients are asked for later.
        """
        ctx.layout, ctx.scaling, ctx.kept = layout, scaling, []
        ctx.scale = kept_scale(p) if p else 1.0
        with torch.autocast("cpu", enabled=False):
            queries, keys = layout.laid(query).mul_(scaling), layout.laid(key)
            values = layout.laid(value).mul_(ctx.scale)
            mixed = torch.empty_like(values)
            for group in layout.groups:
                scores = torch.bmm(group.of(queries), group.of(keys).mT)
                group.hide_padding(scores)
                probs = torch.softmax(scores, -1, dtype=torch.float32).to(values.dtype)
                mask = keep_mask(probs.shape, p, probs.dtype) if p else None
                if learns:
                    ctx.kept.append((probs, mask))
                torch.bmm(dropped(probs, mask), group.of(values), out=group.of(mixed))
        ctx.save_for_backward(queries, keys, values)
        return layout.back(mixed, len(value))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple:
        """The gradients of query, key and value."""
        queries, keys, values = ctx.saved_tensors
        own = [torch.empty_like(side) for side in (queries, keys, values)]
        with torch.autocast("cpu", enabled=False):
            incoming = ctx.layout.laid(gradient.to(values.dtype)).index_fill_(0, ctx.layout.padding, 0)
            for group, (probs, mask) in zip(ctx.layout.groups, ctx.kept, strict=True):
                mine = group.of(incoming)
                torch.bmm(dropped(probs, mask).mT, mine, out=group.of(own[2]))
                scores = dropped(torch.bmm(mine, group.of(values).mT), mask)
                scores = torch.ops.aten._softmax_backward_data(scores, probs, -1, probs.dtype)
                torch.bmm(scores, group.of(keys), out=group.of(own[0]))
                torch.bmm(scores.mT, group.of(queries), out=group.of(own[1]))
            own[0].mul_(ctx.scaling)
            own[2].mul_(ctx.scale)
        ctx.kept = None
        return *(ctx.layout.back(side, len(gradient)) for side in own), None, None, None, None


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
    row_layout: Layout | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as Transformers' AttentionInterface calls it: ([1, n_tokens, heads, n], None).

    Args:
        query, key, value: [1, heads, n_tokens, n], rows end to end, and behind them tokens that are in no row.
        row_layout: of the rows; without them (a model that is called in the usual way) PyTorch's attention.
    """
    if row_layout is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    p = dropout if module.training and fits(dropout, value.dtype) else 0.0
    sides = (side[0].transpose(0, 1) for side in (query, key, value))
    return RowAttention.apply(*sides, row_layout, scaling, p, torch.is_grad_enabled())[None], None


def use_row_attention(model: "torch.nn.Module") -> bool:
    """Have a model on a CPU attend by `attend`, where that is what its own code computes; whether it does."""
    if not can_attend_by_rows(model.config):
        return False
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    model.set_attn_implementation(NAME)
    return True


def can_attend_by_rows(config: "PreTrainedConfig") -> bool:
    """Whether a model's tokens attend to all others of their row, and are not taken in chunks."""
    usual = config.model_type in MODEL_TYPES and getattr(config, "attention_probs_dropout_prob", 0.0) < 1
    return usual and not any(getattr(config, name, False) for name in OTHERWISE)
