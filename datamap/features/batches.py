"""Batches by a budget of tokens: rows of like lengths together, so that little of a batch is padding."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

# GPUs multiply 16-bit matrices fast whose sides are multiples of this.
GPU_MULTIPLE = 8
# A batch on a GPU within the budget is cut into this many parts where more than this share of it is padding, and a part
# still has enough tokens to be worth its start.
MOST_PADDING, CUT_PARTS, LEAST_PART_TOKENS = 0.25, 4, 8192


def pack(
    lengths: np.ndarray, batch_tokens: int, most_rows: int | None = None, n_processes: int = 1
) -> list[np.ndarray]:
    """Cut rows, given in falling order of length, into batches whose padded size is at most `batch_tokens`.

    A row longer than that makes a batch of its own; no batch has more than `most_rows`. Of several processes each takes
    that much of a batch. Returns positions in `lengths`.
    """
    batches, begin = [], 0
    while begin < len(lengths):
        n_rows = n_processes * min(max(1, batch_tokens // int(lengths[begin])), most_rows or len(lengths))
        batches.append(np.arange(begin, min(begin + n_rows, len(lengths))))
        begin += n_rows
    return batches


class LengthBatches(torch.utils.data.Sampler):
    """Batches of rows by falling length within a budget of tokens, an equal share of each for every process.

    Where a batch does not divide by the processes, some of its rows are in it twice.
    """

    def __init__(self, lengths: np.ndarray, batch_tokens: int, most_rows: int, *, process: int, n_processes: int):
        """`batch_tokens` and `most_rows` are those of one process."""
        order = np.argsort(-lengths, kind="stable")
        batches = pack(rounded(lengths[order]), batch_tokens, most_rows, n_processes)
        shares = [np.resize(order[places], -(-len(places) // n_processes) * n_processes) for places in batches]
        self.batches = [share[process::n_processes].tolist() for share in shares]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def micro_batches(batch: dict, batch_tokens: int) -> list[dict]:
    """Cut a padded batch into parts of at most `batch_tokens` tokens each, longest rows first, padded no further.

    Every row is in one part, so a sum over rows is the same over the parts as over the batch. A batch within the budget
    stays whole, and its tensors are not looked at; on a GPU it is cut where much of it is padding.

    Args:
        batch: tensors [n_rows, ...]; those [n_rows, n_tokens] of the shape of `input_ids`, whose `attention_mask` is 1
            for tokens and 0 for the padding behind them, are cut to the longest row of a part. Where it comes from a
            collator for a GPU it has `lengths`, the rows' tokens on the host, so that nothing waits for the device, and
            no mask where nothing is padded.
        batch_tokens: padding included; a row longer than that makes a part of its own.
    """
    ids, for_gpu = batch["input_ids"], "lengths" in batch
    lengths: Any = batch.get("lengths")
    if for_gpu and lengths.sum() < (1 - MOST_PADDING) * ids.numel() and ids.numel() >= CUT_PARTS * LEAST_PART_TOKENS:
        batch_tokens = min(batch_tokens, ids.numel() // CUT_PARTS)
    if ids.numel() <= batch_tokens:
        return [batch]
    if not for_gpu:
        lengths = batch["attention_mask"].sum(1).cpu().numpy()
    order = np.argsort(-lengths, kind="stable")
    sizes = rounded(lengths[order]) if for_gpu else lengths[order]
    return [part_of(batch, lengths, order[places], for_gpu) for places in pack(sizes, batch_tokens)]


def end_to_end(batch: dict, batch_tokens: int) -> list[dict]:
    """Cut a padded batch into as few parts of about as many tokens as fit, longest rows first.

    Args:
        batch: as for `micro_batches`, not for a GPU.
        batch_tokens: the most of a part, padding not counted; a row longer than that makes a part of its own.
    """
    lengths = batch["attention_mask"].sum(1).numpy()
    order = np.argsort(-lengths, kind="stable")
    starts = shares(lengths[order], batch_tokens)
    if len(starts) == 1:
        return [batch]
    return [part_of(batch, lengths, rows, False) for rows in np.split(order, starts[1:])]


def shares(lengths: np.ndarray, batch_tokens: int) -> list[int]:
    """Where to cut rows into parts of at most `batch_tokens` tokens (or one row), as even as their order allows."""
    even = lengths.sum() / -(-lengths.sum() // batch_tokens)
    starts, n_tokens = [0], 0
    for row, length in enumerate(lengths.tolist()):
        if n_tokens and (n_tokens >= even or n_tokens + length > batch_tokens):
            starts.append(row)
            n_tokens = 0
        n_tokens += length
    return starts


def part_of(batch: dict, lengths: np.ndarray, rows: np.ndarray, for_gpu: bool) -> dict:
    """Some rows of a batch, longest first, padded no further than they need."""
    wide = batch["input_ids"].shape[1]
    n_tokens = min(wide, rounded(int(lengths[rows[0]]))) if for_gpu else int(lengths[rows[0]])
    chosen = torch.from_numpy(rows).to(batch["input_ids"].device, non_blocking=True)
    part = {}
    for name, values in batch.items():
        if name == "lengths":
            part[name] = values[rows]
        else:
            part[name] = values[chosen][:, :n_tokens] if values.shape[1:] == (wide,) else values[chosen]
    if for_gpu and lengths[rows[-1]] == n_tokens:
        part.pop("attention_mask", None)
    return part


def rounded(n_tokens: Any, multiple: int = GPU_MULTIPLE) -> Any:
    """Up to the next multiple, of which a GPU likes the one by default; of a number or an array of numbers."""
    return -(-n_tokens // multiple) * multiple
