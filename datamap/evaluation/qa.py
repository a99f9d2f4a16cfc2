"""Extractive QA over a whole data set: what leaves the device for each batch, and the figures and answers after it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from datamap.evaluation.figures import interval, shown, source_fields
from datamap.evaluation.metrics import best_null_threshold, squad_scores, squad_summary
from datamap.evaluation.span_answers import SpanAnswers
from datamap.evaluation.spans import WholeExamples, log_span_sum, span_logits

if TYPE_CHECKING:
    import pandas as pd
    from transformers.utils import ModelOutput

    from datamap.features.windows import QaWindows


class QaEvaluation(SpanAnswers):
    """Extractive QA: the answer to every question, exact match and F1 against all gold answers."""

    labelled = True
    is_silent = False

    def __init__(self, frame: "pd.DataFrame", windows: "QaWindows", *, seed: int, **search: Any):
        """`seed` draws the intervals; the rest is SpanAnswers'."""
        super().__init__(frame, windows, **search)
        self.seed = seed
        self.golds = [answer["text"] for answer in frame["answers"]]
        self.unanswerable = np.array([len(gold) == 0 for gold in self.golds], dtype=bool)
        self.has_unanswerable = self.allow_no_answer or bool(self.unanswerable.any())

    def selectable(self) -> set[str]:
        """The figures by which the best model can be chosen."""
        if not self.unanswerable.any():
            return {"exact_match", "f1", "loss"}
        parts = {f"{part}_{name}" for part in ("HasAns", "NoAns", "best") for name in ("exact", "f1")}
        return {"exact_match", "f1", "loss"} | parts

    def finish(self) -> dict[str, float]:
        """Figures of the whole data set; exact match and F1 in percent with their 95% intervals by context."""
        self.decide()
        self.em, self.f1 = squad_scores(self.predicted, self.golds, self.has_unanswerable)
        figures = squad_summary(self.em, self.f1, self.unanswerable)
        groups = self.windows.context_rows
        figures |= interval("exact_match", self.em, groups, self.seed, 100.0)
        figures |= interval("f1", self.f1, groups, self.seed, 100.0)
        labelled = self.frame["usable_for_training"].to_numpy(copy=True)
        labelled[list(self.windows.without_tokens)] = False
        labelled = labelled[self.windows.example]
        if labelled.any():
            figures["loss"] = float(np.mean(self.collector.losses[labelled]))
        return figures | self._threshold_figures()

    def _threshold_figures(self) -> dict[str, float]:
        """The best null score threshold for either figure, when the data have unanswerable questions."""
        if not self.unanswerable.any():
            return {}
        em, f1 = squad_scores(self.span_texts, self.golds, has_unanswerable=True)
        best_em, em_threshold = best_null_threshold(self.null_diffs, em, self.unanswerable)
        best_f1, f1_threshold = best_null_threshold(self.null_diffs, f1, self.unanswerable)
        return {
            "best_exact": best_em,
            "best_exact_threshold": em_threshold,
            "best_f1": best_f1,
            "best_f1_threshold": f1_threshold,
        }

    def predictions(self) -> Iterator[dict]:
        """One dict an example: the source's fields, the predicted answer, its place and score, em and f1 in [0, 1]."""
        for row, fields in enumerate(source_fields(self.frame)):
            scores = {"em": self.em[row], "f1": self.f1[row]}
            yield fields | self.answer(row) | scores | self.null_difference(row)

    def tables(self) -> dict:
        """What belongs into eval_metrics.json beside the figures."""
        choices = {
            name: getattr(self, name) for name in ("max_answer_length", "allow_no_answer", "null_score_threshold")
        }
        return {"intervals": "95% bootstrap over contexts", **choices}

    def headline(self, figures: dict[str, float]) -> str:
        """The result in a few words."""
        scores = f"{shown('exact match', 'exact_match', figures, 2)}, {shown('F1', 'f1', figures, 2)}"
        return f"{scores}, {len(self.frame)} questions"

    def nbest_predictions(self) -> Iterator[dict]:
        """One dict an example: its best spans, best first, with scores and a softmax over what is listed."""
        contexts = self.frame["context"].tolist()
        for row, identifier in enumerate(self.frame["id"]):
            chosen = slice(self.spans_of[row], self.spans_of[row + 1])
            starts, ends = self.nbest["start"][chosen], self.nbest["end"][chosen]
            texts = [contexts[row][start:end] for start, end in zip(starts, ends, strict=True)]
            places = starts.tolist()
            scores = self.nbest["score"][chosen].astype(np.float64)
            if self.allow_no_answer:
                texts, places = [*texts, ""], [*places, None]
                scores = np.append(scores, self.collector.null_scores[row])
            order = np.argsort(-scores, kind="stable")
            shares = np.exp(scores - scores.max()) if len(scores) else scores
            shares = shares / shares.sum()
            listed = [
                {"text": texts[i], "start": places[i], "score": scores[i], "probability": shares[i]} for i in order
            ]
            yield {"id": identifier, "nbest": listed}


class SpanSums:
    """log sum of exp(start + end logit) over all spans of every example, each in the window that scores it highest.

    A span is counted in tokens: one that lies in several windows of its example is one span. Windows come in any order
    and repeatedly; an example is summed up, and its logits are let go, when it is whole.
    """

    def __init__(self, windows: "QaWindows", max_answer_length: int):
        self.max_answer_length = max_answer_length
        self.whole = WholeExamples(windows)
        self.log_sums = np.full(windows.n_examples, np.nan)

    def add(self, rows: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
        """Take a batch: window rows [b], start and end logits [b, length]."""
        for example, parts in self.whole.take(rows, starts, ends):
            self.log_sums[example] = log_span_sum(parts, self.max_answer_length)


class QaPrediction(SpanAnswers):
    """The answer to every question with its probability among all spans of all its windows."""

    labelled = False
    is_silent = False

    def start(self) -> None:
        """Forget the last pass."""
        super().start()
        self.sums = SpanSums(self.windows, self.max_answer_length)
        self.width = int(self.windows.lengths.max())

    def reduce(
        self, outputs: "ModelOutput", inputs: dict[str, torch.Tensor], losses: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """As in SpanAnswers, and the logits of every window, as wide in every batch and process."""
        sides = [span_logits(outputs[name], inputs.get("attention_mask")) for name in ("start_logits", "end_logits")]
        wide = [torch.nn.functional.pad(side, (0, self.width - side.shape[1])) for side in sides]
        return *super().reduce(outputs, inputs, losses), *wide

    def add(self, rows: np.ndarray, losses: np.ndarray, null_scores: np.ndarray, *found: np.ndarray) -> None:
        """Take what `reduce` gave, gathered from all processes, as arrays."""
        *spans, starts, ends = found
        super().add(rows, losses, null_scores, *spans)
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
