"""Span search: the best spans of every window, found on the device, folded into the best of every example."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from datamap.features.windows import QaWindows

NO_SPAN = -1
CANDIDATE = {"example": np.int64, "score": np.float32, "start": np.int32, "end": np.int32}


def span_logits(logits: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
    """Start or end logits in float32 with padding masked out, so that a batch's other rows never enter a softmax.

    Without a mask there is no padding.
    """
    if attention_mask is None:
        return logits.float()
    return logits.float().masked_fill(attention_mask == 0, torch.finfo(torch.float32).min)


def search_spans(
    start_logits: torch.Tensor,
    end_logits: torch.Tensor,
    context_start: torch.Tensor,
    context_end: torch.Tensor,
    max_answer_length: int,
    n_best: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The `n_best` spans with the highest start + end logit in every window, exactly.

    A span is valid when it lies inside the context, start <= end, and it has at most `max_answer_length` tokens. The
    usual recipe looks only at pairs of the `n_best` starts and the `n_best` ends and can miss the best valid span.
    Here the `n_best` starts with the best attainable sum are kept (each of the `n_best` best spans begins at one of
    them), and all their ends are compared.

    Args:
        start_logits, end_logits: float32 [batch, length].
        context_start, context_end: int64 [batch], the context's first position and one past its last.
        max_answer_length: tokens, at least 1.
        n_best: spans to keep, at least 1.

    Returns:
        scores (float32), starts and ends (int64, positions in the window, both inclusive), each [batch, n_best],
        best first; of equally good spans the first is the one that starts, then ends, earliest. Where a window has
        fewer valid spans the score is -inf and the positions are -1.
    """
    length = start_logits.shape[1]
    positions = torch.arange(length, device=start_logits.device)
    outside = (positions < context_start[:, None]) | (positions >= context_end[:, None])
    starts = start_logits.masked_fill(outside, -torch.inf)
    reach = min(max_answer_length, length)
    ends = torch.nn.functional.pad(end_logits.masked_fill(outside, -torch.inf), (0, reach - 1), value=-torch.inf)
    best_end = torch.nn.functional.max_pool1d(ends[:, None], reach, stride=1)[:, 0]
    best_starts = largest(starts + best_end, min(n_best, length))[1]
    candidate_ends = best_starts[:, :, None] + torch.arange(reach, device=starts.device)
    end_scores = torch.gather(ends, 1, candidate_ends.flatten(1)).view(candidate_ends.shape)
    scores = (torch.gather(starts, 1, best_starts)[:, :, None] + end_scores).flatten(1)
    top, places = largest(scores, min(n_best, scores.shape[1]))
    found_starts = torch.gather(best_starts, 1, places // reach)
    found_ends = found_starts + places % reach
    invalid = top == -torch.inf
    found = top, found_starts.masked_fill_(invalid, NO_SPAN), found_ends.masked_fill_(invalid, NO_SPAN)
    short = n_best - top.shape[1]
    if not short:
        return found
    fills = -torch.inf, NO_SPAN, NO_SPAN
    pairs = zip(found, fills, strict=True)
    return tuple(torch.nn.functional.pad(values, (0, short), value=fill) for values, fill in pairs)


def first_largest(values: torch.Tensor) -> torch.Tensor:
    """The place of the largest value along the last dimension, of equal ones the first, on every device."""
    length = values.shape[-1]
    places = torch.arange(length, device=values.device)
    largest = values == values.amax(-1, keepdim=True)
    return torch.where(largest, places, length).amin(-1).clamp(max=length - 1)  # NaN equals nothing


def largest(values: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest values of every row [n, m] and their places, best first; of equal best ones the first leads."""
    first = first_largest(values)[:, None]
    if k == 1:
        return values.gather(1, first), first
    found, places = torch.topk(values, k, dim=1)
    places = torch.where(places == first, places[:, :1], places)  # equal ones change places
    return found, torch.cat([first, places[:, 1:]], dim=1)


def best_span_scores(windows: Iterable[tuple[int, np.ndarray, np.ndarray]], max_answer_length: int) -> np.ndarray:
    """The start + end logit of every span of one example, each the highest of its windows.

    Args:
        windows: of the example: the first context token (counted in the context), start and end logits [n] of its
            context tokens.
        max_answer_length: tokens, at least 1.

    Returns:
        float64 [context tokens, tokens of the longest span]: at [s, d] the span of d + 1 tokens that begins at token s;
        -inf where no window holds it.
    """
    parts = [(first, starts.astype(np.float64), ends.astype(np.float64)) for first, starts, ends in windows]
    n_tokens = max(first + len(starts) for first, starts, _ in parts)
    reach = min(max_answer_length, max(n_tokens, 1))
    best = np.full((n_tokens, reach), -np.inf)
    for first, starts, ends in parts:
        reached = np.concatenate([ends, np.full(reach - 1, -np.inf)])
        scores = starts[:, None] + np.lib.stride_tricks.sliding_window_view(reached, reach)[: len(starts)]
        rows = slice(first, first + len(starts))
        best[rows] = np.maximum(best[rows], scores)
    return best


def log_span_sum(windows: Iterable[tuple[int, np.ndarray, np.ndarray]], max_answer_length: int) -> float:
    """log sum of exp(start + end logit) over the spans of one example (see `best_span_scores`); -inf without any."""
    best = best_span_scores(windows, max_answer_length)
    top = best.max(initial=-np.inf)
    return float(top + np.log(np.exp(best - top).sum())) if np.isfinite(top) else -np.inf


class WholeExamples:
    """Logits of windows that wait until all windows of their example came, in any order and repeatedly.

    Attributes:
        done: whether every window of the example came, bool [n_examples].
        waiting: the windows of the others by example: {window: (first context token, start logits, end logits)}.
    """

    def __init__(self, windows: "QaWindows"):
        self.windows = windows
        self.n_windows = np.bincount(windows.example, minlength=windows.n_examples)
        self.done = self.n_windows == 0
        self.waiting: dict[int, dict[int, tuple[int, np.ndarray, np.ndarray]]] = {}

    def take(
        self, rows: np.ndarray, starts: np.ndarray, ends: np.ndarray
    ) -> Iterator[tuple[int, list[tuple[int, np.ndarray, np.ndarray]]]]:
        """Take a batch: window rows [b], start and end logits [b, length].

        Yields:
            Each example that is whole now and its windows, as `best_span_scores` takes them; they are let go.
        """
        windows, begins = self.windows, self.windows.context_starts(rows)
        for row, begin, start, end in zip(rows.tolist(), begins.tolist(), starts, ends, strict=True):
            example = int(windows.example[row])
            if self.done[example]:
                continue
            context = slice(begin, begin + int(windows.last[row] - windows.first[row]))
            parts = self.waiting.setdefault(example, {})
            parts[row] = int(windows.first[row]), start[context].copy(), end[context].copy()
            if len(parts) == self.n_windows[example]:
                self.done[example] = True
                yield example, list(self.waiting.pop(example).values())


def keep_best(candidates: dict[str, np.ndarray], n_best: int) -> dict[str, np.ndarray]:
    """Keep the `n_best` different spans of every example, best first.

    Args:
        candidates: parallel arrays `example`, `score`, `start`, `end` [n]; the same span of an example may come from
            several windows and counts once, with its best score. Ties go to the span that starts, then ends, earlier.
        n_best: spans to keep of each example.

    Returns:
        The same arrays, sorted by example and then by score, best first.
    """
    example, score, start, end = (candidates[key] for key in ("example", "score", "start", "end"))
    order = np.lexsort((-score, end, start, example))
    same = np.zeros(len(order), dtype=bool)
    same[1:] = np.all([np.diff(key[order]) == 0 for key in (example, start, end)], axis=0)
    order = order[~same]
    order = order[np.lexsort((end[order], start[order], -score[order], example[order]))]
    _, first, counts = np.unique(example[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(first, counts)
    order = order[rank < n_best]
    return {key: values[order] for key, values in candidates.items()}


class SpanCollector:
    """Gathers the candidates of windows in any order, repeats included, and keeps the best spans of every example.

    Memory grows with examples x n_best: candidates are folded whenever more than `fold_at` are waiting.

    Attributes, as they are after `fold`:
        null_scores: float64 [n_examples], the lowest start + end logit of the classifier token over the windows.
        losses: float64 [n_windows], NaN for a window that has not come yet.
    """

    def __init__(self, windows: "QaWindows", n_best: int, fold_at: int = 200_000):
        self.windows, self.n_best, self.fold_at = windows, n_best, fold_at
        self.null_scores = np.full(windows.n_examples, np.inf)
        self.losses = np.full(len(windows), np.nan)
        self.waiting: list[tuple[np.ndarray, ...]] = []
        self.n_waiting = 0
        self.best = {name: np.empty(0, dtype=kind) for name, kind in CANDIDATE.items()}

    def add(self, rows: np.ndarray, losses: np.ndarray, null_scores: np.ndarray, found: tuple[np.ndarray, ...]) -> None:
        """Take a batch: window rows [b], losses [b], null scores [b] and (scores, starts, ends) [b, n_best]."""
        self.waiting.append((rows, losses, null_scores, *found))
        self.n_waiting += found[0].size
        if self.n_waiting > self.fold_at:
            self.fold()

    def fold(self) -> dict[str, np.ndarray]:
        """Merge everything that came so far; returns the arrays of `keep_best`."""
        if not self.waiting:
            return self.best
        parts = (np.concatenate(part) for part in zip(*self.waiting, strict=True))
        rows, losses, null_scores, scores, starts, ends = parts
        self.waiting, self.n_waiting = [], 0
        self.losses[rows] = losses
        np.minimum.at(self.null_scores, self.windows.example[rows], null_scores)
        valid = (starts != NO_SPAN) & np.isfinite(scores)
        window = np.broadcast_to(rows[:, None], starts.shape)[valid]
        char_starts, char_ends = self.windows.char_spans(window, starts[valid], ends[valid])
        new = {"example": self.windows.example[window], "score": scores[valid], "start": char_starts, "end": char_ends}
        merged = {name: np.concatenate([self.best[name], values]) for name, values in new.items()}
        self.best = keep_best(merged, self.n_best)
        return self.best
