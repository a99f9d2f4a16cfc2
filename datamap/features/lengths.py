"""Lengths of windows in tokens: what was asked for, the default, what a model takes."""

import sys
from typing import TYPE_CHECKING

from datamap.errors import UsageError
from datamap.options.defaults import DOC_STRIDE

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast


# Models that number positions from behind the number of their padding token.
COUNT_FROM_PADDING = {"roberta", "xlm-roberta", "camembert", "longformer", "mpnet", "roberta-prelayernorm"}


def first_position(config: "PreTrainedConfig") -> int:
    """The number of a row's first position in a model's table of positions."""
    return config.pad_token_id + 1 if config.model_type in COUNT_FROM_PADDING else 0


def window_limit(config: "PreTrainedConfig", tokenizer: "PreTrainedTokenizerFast") -> int:
    """The longest sequence, in tokens, that the model and its tokenizer take."""
    positions = getattr(config, "max_position_embeddings", None) or sys.maxsize
    return min(positions - first_position(config), tokenizer.model_max_length)


def resolve_doc_stride(asked: int | None, max_length: int) -> int:
    """The tokens that neighbouring windows share: what was asked for, else the default or a third of a window."""
    return min(DOC_STRIDE, max_length // 3) if asked is None else asked


def resolve_max_length(asked: int | None, default: int, limit: int) -> int:
    """The window length in tokens: what was asked for, else the default or, if smaller, the model's limit.

    Raises:
        UsageError: more was asked for than the model can take.
    """
    if asked is not None and asked > limit:
        raise UsageError(
            f"--max_length {asked} is more than the model's {limit} positions: lower it to {limit} or less."
        )
    return asked if asked is not None else min(default, limit)
