"""Predictions for rows without labels: answers with their probability among all spans, labels with theirs."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from datamap.evaluation.span_answers import SpanAnswers, refuse_nan
from datamap.evaluation.spans import log_span_sum, span_logits
from datamap.evaluation.tasks import source_fields


class SpanSums:
    """log sum of exp(start + end logit) over all spans of every example, each in the window that scores it highest.

    A span is counted in tokens: one that lies in several windows of its example is one span. Windows come in any order
    and repeatedly; an example is summed up, and its logits are let go, when it is whole.
    """

    def __init__(self, windows, max_answer_length: int):
        self.windows, self.max_answer_length = windows, max_answer_length
        self.n_windows = np.bincount(windows.example, minlength=windows.n_examples)
        self.log_sums = np.full(windows.n_examples, np.nan)
        self.waiting: dict[int, dict[int, tuple[int, np.ndarray, np.ndarray]]] = {}

    def add(self, rows: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
        """Take a batch: window rows [b], start and end logits [b, length]."""
        windows, begins = self.windows, self.windows.context_starts(rows)
        for row, begin, start, end in zip(rows.tolist(), begins.tolist(), starts, ends, strict=True):
            example = int(windows.example[row])
            if not np.isnan(self.log_sums[example]):
                continue
            context = slice(begin, begin + int(windows.last[row] - windows.first[row]))
            parts = self.waiting.setdefault(example, {})
            parts[row] = int(windows.first[row]), start[context].copy(), end[context].copy()
            if len(parts) == self.n_windows[example]:
                self.log_sums[example] = log_span_sum(self.waiting.pop(example).values(), self.max_answer_length)


class QaPrediction(SpanAnswers):
    """The answer to every question with its probability among all spans of all its windows."""

    labelled = False

    def start(self) -> None:
        """Forget the last pass."""
        super().start()
        self.sums = SpanSums(self.windows, self.max_answer_length)
        self.width = int(self.windows.lengths.max())

    def reduce(self, outputs, inputs: dict[str, torch.Tensor], losses: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """As in SpanAnswers, and the logits of every window, as wide in every batch and process."""
        sides = [span_logits(outputs[name], inputs.get("attention_mask")) for name in ("start_logits", "end_logits")]
        wide = [torch.nn.functional.pad(side, (0, self.width - side.shape[1])) for side in sides]
        return *super().reduce(outputs, inputs, losses), *wide

    def add(self, rows, losses, null_scores, *found: np.ndarray) -> None:
        """Take what `reduce` gave, gathered from all processes, as arrays."""
        *found, starts, ends = found
        super().add(rows, losses, null_scores, *found)
        self.sums.add(rows, starts, ends)

    def finish(self) -> dict[str, float]:
        """Choose the answers and their probabilities; there are no figures."""
        self.decide()
        totals = self.sums.log_sums
        if self.allow_no_answer:
            totals = np.logaddexp(totals, self.collector.null_scores)
        there = np.isfinite(self.scores)
        self.probs = np.full(len(totals), np.nan)
        self.probs[there] = np.minimum(np.exp(self.scores[there] - totals[there]), 1.0)
        return {}

    def predictions(self) -> Iterator[dict]:
        """One dict a row: the source's fields, the answer, its place, score and probability (null without a span)."""
        for row, fields in enumerate(source_fields(self.frame.drop(columns="answers"))):
            yield fields | self.answer(row) | {"predicted_prob": self.probs[row]} | self.null_difference(row)

    def headline(self, figures: dict[str, float]) -> str:
        """The result in a few words."""
        without = f", {self.answers_null.sum()} of them without an answer" if self.allow_no_answer else ""
        return f"{len(self.frame)} questions answered{without}"


class NliPrediction:
    """The most probable label of every pair, and the probabilities of all."""

    labelled = False

    def __init__(self, frame, label_names: Sequence[str]):
        """`frame` is the canonical NLI frame; `label_names` in the order of the model's logits."""
        self.frame, self.label_names = frame, label_names

    def start(self) -> None:
        """Forget the last pass."""
        self.probs = np.full((len(self.frame), len(self.label_names)), np.inf)

    def reduce(self, outputs, inputs: dict[str, torch.Tensor], losses: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """On the device: row and label probabilities of every row of the batch."""
        return inputs["row"], torch.softmax(outputs["logits"].float(), dim=-1)

    def add(self, rows: np.ndarray, probs: np.ndarray) -> None:
        """Take what `reduce` gave, gathered from all processes, as arrays."""
        self.probs[rows] = probs

    def finish(self) -> dict[str, float]:
        """Choose the labels; there are no figures."""
        if np.isinf(self.probs).any():
            raise RuntimeError(f"{np.isinf(self.probs).any(axis=1).sum()} of {len(self.probs)} rows were not predicted")
        refuse_nan(self.probs)
        self.predicted = self.probs.argmax(axis=1)
        return {}

    def predictions(self) -> Iterator[dict]:
        """One dict a row: the source's fields, the predicted label and the probabilities of all labels."""
        for row, fields in enumerate(source_fields(self.frame.drop(columns="label"))):
            scores = dict(zip(self.label_names, self.probs[row].tolist(), strict=True))
            yield fields | {"predicted_label": self.label_names[self.predicted[row]], "predicted_scores": scores}

    def headline(self, figures: dict[str, float]) -> str:
        """The result in a few words."""
        counts = np.bincount(self.predicted, minlength=len(self.label_names))
        listed = ", ".join(f"{name} {count}" for name, count in zip(self.label_names, counts, strict=True))
        return f"{len(self.frame)} pairs labelled: {listed}"
