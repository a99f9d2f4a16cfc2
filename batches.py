"""Batches by a budget of tokens: rows of like lengths together, so that little of a batch is padding."""

import numpy as np
import torch


def pack(lengths: np.ndarray, batch_tokens: int) -> list[np.ndarray]:
    """Cut rows, given in falling order of length, into batches whose padded size is at most `batch_tokens`.

    A row longer than that makes a batch of its own. Returns positions in `lengths`.
    """
    batches, begin = [], 0
    while begin < len(lengths):
        n_rows = max(1, batch_tokens // int(lengths[begin]))
        batches.append(np.arange(begin, min(begin + n_rows, len(lengths))))
        begin += n_rows
    return batches


def micro_batches(batch: dict[str, torch.Tensor], batch_tokens: int) -> list[dict[str, torch.Tensor]]:
    """Cut a padded batch into parts of at most `batch_tokens` tokens each, longest rows first, padded no further.

    Every row is in one part, so a sum over rows is the same over the parts as over the batch. A batch within the budget
    stays whole, and its tensors are not looked at.

    Args:
        batch: tensors [n_rows, ...]; those [n_rows, n_tokens] of the shape of `attention_mask`, which is 1 for tokens
            and 0 for the padding behind them, are cut to the longest row of a part.
        batch_tokens: padding included; a row longer than that makes a part of its own.
    """
    mask = batch["attention_mask"]
    if mask.numel() <= batch_tokens:
        return [batch]
    lengths = mask.sum(1).cpu().numpy()
    order = np.argsort(-lengths, kind="stable")
    parts = []
    for places in pack(lengths[order], batch_tokens):
        rows = torch.from_numpy(order[places]).to(mask.device)
        n_tokens = int(lengths[order[places[0]]])
        part = {name: values[rows] for name, values in batch.items()}
        parts.append({name: v[:, :n_tokens] if v.shape[1:] == mask.shape[1:] else v for name, v in part.items()})
    return parts
