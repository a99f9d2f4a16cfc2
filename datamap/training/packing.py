"""Rows laid end to end: a batch goes through a model without its padding, and comes out as if it had been padded.

Linear layers, norms, dropout and embeddings see the real tokens and a few more; attention stays within each row.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from datamap.features.lengths import first_position
from datamap.training.attention import NAME, laid_out

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

# Tokens that lie end to end are filled up to a multiple of this many, for the reason that `attention` gives.
TOKENS_MULTIPLE = 64
# What models give for every token, of which heads of span extraction and bare models have these.
OF_TOKENS = ("start_logits", "end_logits", "last_hidden_state")


def can_pack(model: "PreTrainedModel") -> bool:
    """Whether a model attends within rows that lie end to end."""
    return model.config._attn_implementation == NAME


@dataclasses.dataclass(frozen=True)
class Packed:
    """Where the tokens of a padded batch lie end to end, longest row first.

    Attributes:
        rows, places: of every token, int64 [n_tokens]: its row of the batch, and which of that row's tokens it is.
        order: rows of the batch as they lie, int64 [n_rows].
        lengths: of the rows as they lie.
    """

    rows: torch.Tensor
    places: torch.Tensor
    order: np.ndarray
    lengths: list[int]

    @property
    def firsts(self) -> torch.Tensor:
        """Where the first token of every row of the batch lies, int64 [n_rows]."""
        begins = np.cumsum([0, *self.lengths[:-1]])
        return torch.from_numpy(begins[np.argsort(self.order)])

    def padded(self, values: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        """The tokens of [1, *, ...] as [n_rows, longest, ...] of a batch of this shape, 0 where padding was."""
        found = values.new_zeros(*shape, *values.shape[2:])
        return found.index_put((self.rows, self.places), values[0, : len(self.rows)])

    def filled(self, values: torch.Tensor) -> torch.Tensor:
        """Of a padded batch [n_rows, longest] the tokens, and zeros up to a multiple of TOKENS_MULTIPLE, [1, *]."""
        missing = -len(self.rows) % TOKENS_MULTIPLE
        return torch.nn.functional.pad(values[self.rows, self.places], (0, missing))[None]


def packed(mask: torch.Tensor) -> Packed:
    """How the rows of a batch are laid end to end; `mask` is 1 for tokens and 0 for the padding behind them."""
    lengths = mask.sum(1).numpy()
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    places = np.arange(ordered.sum()) - np.repeat(np.cumsum(ordered) - ordered, ordered)
    rows = torch.from_numpy(np.repeat(order, ordered))
    return Packed(rows, torch.from_numpy(places), order, ordered.tolist())


def forward_packed(
    model: "PreTrainedModel", inputs: dict[str, torch.Tensor], *, called: Any = None, firsts_alone: bool = False
) -> dict[str, torch.Tensor]:
    """What a model makes of a padded batch, computed without the padding.

    Args:
        model: for which `can_pack`.
        inputs: `input_ids` and `attention_mask` [n_rows, longest], `token_type_ids` where the model has them.
        called: in whose name the model is called, as a wrapper that shares gradients; the model itself unless given.
        firsts_alone: its head looks at each row's first token alone.

    Returns:
        Its outputs: [n_rows, longest, ...] with 0 at the padding, or as its head gives them, a row each.
    """
    mask = inputs["attention_mask"]
    lie = packed(mask)
    given = {name: lie.filled(inputs[name]) for name in inputs.keys() - {"attention_mask"}}
    given["position_ids"] = lie.filled(positions(model.config, inputs["input_ids"]))
    layout = laid_out(lie.lengths, model.config.num_attention_heads)
    plain = {"output_hidden_states": False, "output_attentions": False, "return_dict": True}
    with heads_see_firsts(model, lie.firsts) if firsts_alone else contextlib.nullcontext():
        outputs = (called or model)(**given, **plain, row_layout=layout)
    if firsts_alone:
        return dict(outputs)
    return {name: lie.padded(outputs[name], mask.shape) for name in OF_TOKENS if name in outputs}


def positions(config: "PreTrainedConfig", ids: torch.Tensor) -> torch.Tensor:
    """Of every token [n_rows, longest] its number in the model's table of positions, as the model's own code has it.

    RoBERTa's kinds do not count tokens that are the padding token, wherever they stand.
    """
    first = first_position(config)
    if not first:
        return torch.arange(ids.shape[1]).expand(ids.shape)
    counted = (ids != config.pad_token_id).long()
    return counted.cumsum(1) * counted + config.pad_token_id


@contextlib.contextmanager
def heads_see_firsts(model: "PreTrainedModel", firsts: torch.Tensor) -> Iterator[None]:
    """While it lasts, what follows a model's layers gets the first token of each row, [n_rows, 1, hidden size]."""

    def first_tokens(module: torch.nn.Module, args: tuple, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state[0, firsts][:, None]
        return output

    handle = model.base_model.encoder.register_forward_hook(first_tokens)
    try:
        yield
    finally:
        handle.remove()
