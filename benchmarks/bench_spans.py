"""Span search: the usual loop over the best starts and ends of every window against search_spans and SpanCollector.

The usual loop makes n-best lists, of which an evaluation needs the first entry; run.py searches the best span alone,
and n-best lists with --save_nbest. Both are variants. The usual recipe keeps its windows in a data set and reads every
window's offsets from there; how long its loop takes when they lie in memory is a variant of its own.
"""

import argparse
from collections.abc import Callable, Sequence

import datasets
import numpy as np
import torch

import timing
from datamap.evaluation.spans import SpanCollector, search_spans
from datamap.features.windows import QaWindows
from inputs import DOC_STRIDE, MAX_LENGTH, SEED, demo_tokenizer, questions

N_ROWS = 3000
# Rows of a batch of evaluation: TrainingArguments' default, and a larger --per_device_eval_batch_size.
BATCH_ROWS, MANY_ROWS = 8, 32
N_BEST, MAX_ANSWER_LENGTH = 20, 30
# How far logits rise above the noise around a place, and over how many tokens, as those of a trained model do.
PEAK, PEAK_WIDTH = 8.0, 2.0


def measure(options: argparse.Namespace) -> list[timing.Row]:
    """The best spans of every question from the same logits."""
    frame = questions(options.dataset, N_ROWS)
    windows = QaWindows(frame, demo_tokenizer(), MAX_LENGTH, DOC_STRIDE)
    contexts = frame["context"].tolist()
    starts, ends = (logits.to(options.device) for logits in random_logits(windows))
    in_memory = [offsets_of(windows, window) for window in range(len(windows))]
    features = features_of(windows, in_memory)
    windows_of = np.split(np.arange(len(windows)), np.cumsum(np.bincount(windows.example))[:-1])

    def usual(offsets) -> list[list[dict]]:
        logits = starts.cpu().numpy(), ends.cpu().numpy()
        pairs = zip(windows_of, contexts, strict=True)
        return [usual_nbest(numbers, *logits, offsets, context) for numbers, context in pairs]

    variants = {
        "usual loop, n-best lists": lambda: usual(lambda window: features[int(window)]["offset_mapping"]),
        "usual loop, n-best lists, offsets in memory": lambda: usual(lambda window: in_memory[window]),
        "search_spans, best span alone": lambda: own_spans(windows, starts, ends, contexts, BATCH_ROWS),
        f"the same, batches of {MANY_ROWS}": lambda: own_spans(windows, starts, ends, contexts, MANY_ROWS),
        "search_spans, n-best lists": lambda: own_nbest(windows, starts, ends, contexts),
    }
    amount = {"amount": len(windows), "unit": "windows"}
    return timing.take_turns("spans", variants, compared=agreement, **amount)


def features_of(windows: QaWindows, offsets: list) -> datasets.Dataset:
    """The windows as a data set of padded features with their offsets."""
    length = int(windows.lengths.max())
    items = [windows[window] for window in range(len(windows))]
    names = ("input_ids", "token_type_ids")
    columns = {name: [padded(item[name].tolist(), length, 0) for item in items] for name in names}
    columns["attention_mask"] = [padded([1] * len(item["input_ids"]), length, 0) for item in items]
    columns["offset_mapping"] = [padded(list(found), length, None) for found in offsets]
    columns["example_id"] = [str(example) for example in windows.example]
    return datasets.Dataset.from_dict(columns)


def padded(values: list, length: int, fill) -> list:
    """A list filled up to a length."""
    return values + [fill] * (length - len(values))


def random_logits(windows: QaWindows) -> tuple[torch.Tensor, torch.Tensor]:
    """Start and end logits of all windows, float32 [n_windows, longest]: noise with a peak somewhere in the context."""
    generator = np.random.default_rng(SEED)
    numbers = np.arange(len(windows))
    begins = windows.context_starts(numbers)
    places = begins + generator.random(len(windows)) * (windows.last - windows.first)
    positions = np.arange(windows.lengths.max())
    peaks = PEAK * np.exp(-np.abs(positions - places[:, None]) / PEAK_WIDTH)
    starts, ends = (peaks + generator.normal(size=peaks.shape) for _ in range(2))
    return torch.from_numpy(starts.astype(np.float32)), torch.from_numpy(ends.astype(np.float32))


def offsets_of(windows: QaWindows, window: int) -> list[tuple[int, int] | None]:
    """The characters of every token of a window, None outside of the context, as the usual recipe keeps them."""
    first = int(windows.context_starts(np.array([window]))[0])
    places = first + np.arange(windows.last[window] - windows.first[window])
    starts, ends = windows.char_spans(np.full(len(places), window), places, places)
    inside = list(zip(starts.tolist(), ends.tolist(), strict=True))
    return [None] * first + inside + [None] * (int(windows.lengths[window]) - first - len(inside))


def usual_nbest(numbers: Sequence[int], starts, ends, offsets: Callable, context: str) -> list[dict]:
    """The n-best list of a question from its windows' logits, best first; empty where no pair is a valid span.

    `offsets` gives those of a window.
    """
    candidates = []
    for window in numbers:
        candidates += usual_candidates(starts[window], ends[window], offsets(window))
    best = sorted(candidates, key=lambda candidate: candidate["score"], reverse=True)[:N_BEST]
    for candidate in best:
        first, last = candidate.pop("offsets")
        candidate["text"] = context[first:last]
    return with_probabilities(best)


def usual_candidates(starts: np.ndarray, ends: np.ndarray, offsets: list) -> list[dict]:
    """The valid pairs of the best starts and the best ends of a window."""
    best_starts = np.argsort(starts)[-1 : -N_BEST - 1 : -1].tolist()
    best_ends = np.argsort(ends)[-1 : -N_BEST - 1 : -1].tolist()
    found = []
    for start in best_starts:
        for end in best_ends:
            outside = start >= len(offsets) or end >= len(offsets) or offsets[start] is None or offsets[end] is None
            if outside or end < start or end - start + 1 > MAX_ANSWER_LENGTH:
                continue
            place = offsets[start][0], offsets[end][1]
            scores = {"start_logit": starts[start], "end_logit": ends[end], "score": starts[start] + ends[end]}
            found.append({"offsets": place, **scores})
    return found


def with_probabilities(listed: list[dict]) -> list[dict]:
    """An n-best list, best first, with the softmax of the scores in it."""
    if listed:
        scores = np.array([entry["score"] for entry in listed], dtype=np.float64)
        shares = np.exp(scores - scores[0])
        for entry, share in zip(listed, shares / shares.sum(), strict=True):
            entry["probability"] = share
    return listed


def own_best(windows: QaWindows, starts: torch.Tensor, ends: torch.Tensor, n_best: int, n_rows: int) -> dict:
    """The `n_best` spans of all questions as arrays, by exact search on the device in batches of `n_rows`."""
    numbers = np.arange(len(windows))
    begins = windows.context_starts(numbers)
    bounds = [torch.from_numpy(bound).to(starts.device) for bound in (begins, begins + windows.last - windows.first)]
    collector, nothing = SpanCollector(windows, n_best), np.zeros(n_rows)
    for begin in range(0, len(windows), n_rows):
        part = slice(begin, begin + n_rows)
        found = search_spans(starts[part], ends[part], *(bound[part] for bound in bounds), MAX_ANSWER_LENGTH, n_best)
        rows = numbers[part]
        collector.add(rows, nothing[: len(rows)], nothing[: len(rows)], tuple(values.cpu().numpy() for values in found))
    return collector.fold()


def own_spans(windows: QaWindows, starts: torch.Tensor, ends: torch.Tensor, contexts: list, n_rows: int) -> list:
    """The best span of every question with its text, which is what an evaluation needs, as `own_nbest` has it."""
    best = own_best(windows, starts, ends, 1, n_rows)
    first = np.searchsorted(best["example"], np.arange(len(contexts)))
    spans = zip(contexts, *(best[name][first].tolist() for name in ("start", "end", "score")), strict=True)
    return [[{"score": score, "text": context[begin:end]}] for context, begin, end, score in spans]


def own_nbest(windows: QaWindows, starts: torch.Tensor, ends: torch.Tensor, contexts: list[str]) -> list[list[dict]]:
    """The n-best lists of all questions, as --save_nbest has them."""
    best = own_best(windows, starts, ends, N_BEST, BATCH_ROWS)
    ends_of = np.searchsorted(best["example"], np.arange(len(contexts)), side="right")
    columns = [best[name].tolist() for name in ("start", "end", "score")]
    found, first = [], 0
    for context, last in zip(contexts, ends_of.tolist(), strict=True):
        spans = zip(*(column[first:last] for column in columns), strict=True)
        found.append(with_probabilities([{"score": score, "text": context[b:e]} for b, e, score in spans]))
        first = last
    return found


def agreement(usual: list[list[dict]], own: list[list[dict]]) -> str:
    """In how many questions the best score is at least the loop's, and in how many it is higher."""
    usual_best, own_best = (
        np.array([listed[0]["score"] if listed else -np.inf for listed in found]) for found in (usual, own)
    )
    at_least, higher = np.mean(own_best >= usual_best), np.mean(own_best > usual_best)
    return f"best score at least the loop's in {at_least:.2%} of {len(own):,} questions, higher in {higher:.2%}"
