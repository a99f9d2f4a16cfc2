"""The answer to every question of a data set: the best span of all its windows, or that there is none."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from datamap.errors import DataError
from datamap.evaluation.spans import SpanCollector, search_spans, span_logits

if TYPE_CHECKING:
    import pandas as pd
    from transformers.utils import ModelOutput

    from datamap.features.windows import QaWindows

NO_CANDIDATE_DIFF = float(np.finfo(np.float32).max)


def refuse_nan(scores: np.ndarray) -> None:
    """DataError when the model's outputs are not numbers: there is nothing to evaluate."""
    if np.isnan(scores).any():
        raise DataError("the model's outputs are not numbers (NaN): train again with a lower --learning_rate.")


class SpanAnswers:
    """Exact span search over the windows of every question, and the decision that a question has no answer.

    An answer is "" when no-answer is allowed and the null score exceeds the best span's score by more than
    `null_score_threshold`. Otherwise there is always a span.
    """

    def __init__(
        self,
        frame: "pd.DataFrame",
        windows: "QaWindows",
        *,
        max_answer_length: int,
        n_best: int,
        allow_no_answer: bool,
        null_score_threshold: float,
    ):
        """`frame` is the canonical QA frame that `windows` were made from; lengths are in tokens, scores are logits."""
        self.frame, self.windows = frame, windows
        self.max_answer_length, self.n_best = max_answer_length, n_best
        self.allow_no_answer, self.null_score_threshold = allow_no_answer, null_score_threshold

    def start(self) -> None:
        """Forget the last pass."""
        self.collector = SpanCollector(self.windows, self.n_best)

    def reduce(
        self, outputs: "ModelOutput", inputs: dict[str, torch.Tensor], losses: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """On the device: row, loss, null score and the best spans of every window of the batch."""
        mask = inputs.get("attention_mask")
        starts = span_logits(outputs["start_logits"], mask)
        ends = span_logits(outputs["end_logits"], mask)
        cls_index = self.windows.template.cls_index
        bounds = inputs["context_start"], inputs["context_end"]
        found = search_spans(starts, ends, *bounds, self.max_answer_length, self.n_best)
        return inputs["row"], losses, starts[:, cls_index] + ends[:, cls_index], *found

    def add(self, rows: np.ndarray, losses: np.ndarray, null_scores: np.ndarray, *found: np.ndarray) -> None:
        """Take what `reduce` gave, gathered from all processes, as arrays."""
        self.collector.add(rows, losses, null_scores, found)

    def decide(self) -> None:
        """Choose each example's answer from its best spans and its null score.

        Raises:
            DataError: the model's outputs are not numbers.
        """
        self.nbest = self.collector.fold()
        seen = ~np.isinf(self.collector.null_scores)
        if not seen.all():
            raise RuntimeError(f"{np.sum(~seen)} of {len(seen)} examples were not evaluated")
        refuse_nan(self.collector.null_scores)
        best, n = self.nbest, len(self.frame)
        first = np.searchsorted(best["example"], np.arange(n))
        has_span = np.bincount(best["example"], minlength=n) > 0
        self.spans_of = np.append(first, len(best["example"]))
        self.best_scores = np.full(n, -np.inf)
        self.best_scores[has_span] = best["score"][first[has_span]]
        self.null_diffs = np.where(has_span, self.collector.null_scores - self.best_scores, NO_CANDIDATE_DIFF)
        self.starts = np.full(n, -1)
        self.starts[has_span] = best["start"][first[has_span]]
        self.span_texts = [""] * n
        contexts = self.frame["context"].tolist()
        for row in np.flatnonzero(has_span):
            self.span_texts[row] = contexts[row][best["start"][first[row]] : best["end"][first[row]]]
        self.answers_null = self.allow_no_answer & (self.null_diffs > self.null_score_threshold)
        pairs = zip(self.answers_null, self.span_texts, strict=True)
        self.predicted = ["" if null else text for null, text in pairs]
        self.scores = np.where(self.answers_null, self.collector.null_scores, self.best_scores)

    def answer(self, row: int) -> dict:
        """The answer to a question, its first character (None without an answer) and its score (logits)."""
        answered = not self.answers_null[row] and self.starts[row] >= 0
        return {
            "predicted_answer": self.predicted[row],
            "predicted_start": self.starts[row] if answered else None,
            "predicted_score": self.scores[row],
        }

    def null_difference(self, row: int) -> dict:
        """By how much the null score exceeds the best span's (logits), where there may be no answer."""
        return {"null_score_diff": self.null_diffs[row]} if self.allow_no_answer else {}
