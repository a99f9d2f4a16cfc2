"""Evaluation of a whole data set: what leaves the device for each batch, and what the figures and predictions are."""

from collections.abc import Iterator

import numpy as np
import torch

from datamap.data.label_names import MergedLabels
from datamap.evaluation.metrics import (
    best_null_threshold,
    bootstrap_interval,
    classification_summary,
    squad_scores,
    squad_summary,
)
from datamap.evaluation.span_answers import SpanAnswers, refuse_nan
from datamap.features.windows import factorize

INTERNAL_COLUMNS = ("usable_for_training",)
PREDICTION_FIELDS = {"predicted_answer", "predicted_start", "predicted_score", "em", "f1", "null_score_diff"}
PREDICTION_FIELDS |= {"label_name", "predicted_label", "predicted_scores", "predicted_prob"}


def interval(name: str, values: np.ndarray, groups: np.ndarray, seed: int, scale: float) -> dict[str, float]:
    """95% bootstrap interval of a mean under resampling of whole groups, as `{name}_low` and `{name}_high`."""
    low, high = bootstrap_interval(values, groups, seed)
    return {f"{name}_low": low * scale, f"{name}_high": high * scale}


def source_fields(frame) -> Iterator[dict]:
    """The rows of a canonical frame as dicts, without the suite's own columns.

    A source column that has the name of a prediction's field is called source_NAME.
    """
    columns = [column for column in frame.columns if column not in INTERNAL_COLUMNS]
    names = [f"source_{column}" if column in PREDICTION_FIELDS else column for column in columns]
    for row in frame[columns].itertuples(index=False, name=None):
        yield dict(zip(names, row, strict=True))


def shown(title: str, name: str, figures: dict[str, float], digits: int) -> str:
    """A figure with its interval in words; the interval is left out where it is unknown (one context)."""
    value, low, high = (figures[f"eval_{name}{end}"] for end in ("", "_low", "_high"))
    interval = "" if np.isnan(low) else f" (95% interval {low:.{digits}f} to {high:.{digits}f})"
    return f"{title} {value:.{digits}f}{interval}"


class QaEvaluation(SpanAnswers):
    """Extractive QA: the answer to every question, exact match and F1 against all gold answers."""

    labelled = True

    def __init__(self, frame, windows, *, seed: int, **search):
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


class NliEvaluation:
    """Natural language inference: label probabilities of every row, accuracy, precision and recall.

    The prediction is the most probable label of the model; `merged` labels count as the data's afterwards.
    """

    labelled = True

    def __init__(self, frame, label_names: tuple[str, ...], *, seed: int, merged: MergedLabels | None = None):
        """`frame` is the canonical NLI frame; `label_names` in the order of the model's logits.

        Where the model's labels are others, `merged` says how they count as the data's.
        """
        self.frame, self.label_names, self.seed, self.merged = frame, label_names, seed, merged
        self.model_names = merged.names if merged else label_names
        self.places = np.array(merged.places) if merged else np.arange(len(label_names))
        self.gold = frame["label"].to_numpy(dtype=np.int64)

    def selectable(self) -> set[str]:
        """The figures by which the best model can be chosen."""
        return {"accuracy", "loss"} | {
            f"{part}_{name}" for part in ("precision", "recall") for name in self.label_names
        }

    def start(self) -> None:
        """Forget the last pass."""
        self.probs = np.zeros((len(self.frame), len(self.model_names)))
        self.losses = np.zeros(len(self.frame))
        self.seen = np.zeros(len(self.frame), dtype=bool)

    def reduce(self, outputs, inputs: dict[str, torch.Tensor], losses: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """On the device: row, loss and label probabilities of every row of the batch."""
        logits = outputs["logits"].float()
        if self.merged:
            losses = self._merged_losses(logits, inputs["labels"])
        return inputs["row"], losses, torch.softmax(logits, dim=-1)

    def _merged_losses(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Minus the log (nats) of the probability of all the model's labels that count as the gold one; [batch]."""
        counts = torch.as_tensor(self.places, device=logits.device) == labels[:, None]
        return -torch.log_softmax(logits, dim=-1).masked_fill(~counts, -torch.inf).logsumexp(dim=-1)

    def add(self, rows: np.ndarray, losses: np.ndarray, probs: np.ndarray) -> None:
        """Take what `reduce` gave, gathered from all processes, as arrays."""
        self.losses[rows], self.probs[rows], self.seen[rows] = losses, probs, True

    def finish(self) -> dict:
        """Figures of the whole data set: fractions in [0, 1], 95% interval of the accuracy by premise."""
        if not self.seen.all():
            raise RuntimeError(f"{np.sum(~self.seen)} of {len(self.seen)} rows were not evaluated")
        refuse_nan(self.probs)
        self.predicted = self.places[self.probs.argmax(axis=1)]
        self.summary = classification_summary(self.predicted, self.gold, self.label_names)
        figures = {"accuracy": self.summary["accuracy"], "majority_share": self.summary["majority_share"]}
        groups = factorize(self.frame["premise"])[0]
        figures |= interval("accuracy", (self.predicted == self.gold).astype(float), groups, self.seed, 1.0)
        for name, scores in self.summary["per_class"].items():
            figures |= {f"{figure}_{name}": scores[figure] for figure in ("precision", "recall")}
        return figures | {"loss": float(self.losses.mean()), "total": len(self.frame)}

    def predictions(self) -> Iterator[dict]:
        """One dict a row: the source's fields, the gold label's name, the predicted one and all probabilities."""
        for row, fields in enumerate(source_fields(self.frame)):
            yield fields | {
                "label_name": self.label_names[self.gold[row]],
                "predicted_label": self.label_names[self.predicted[row]],
                "predicted_scores": dict(zip(self.model_names, self.probs[row].tolist(), strict=True)),
            }

    def tables(self) -> dict:
        """What belongs into eval_metrics.json beside the figures."""
        summary = {key: self.summary[key] for key in ("per_class", "confusion_matrix")}
        if self.merged:
            summary["label_map"] = self.merged.by_name(self.label_names)
        return {"intervals": "95% bootstrap over premises", "label_names": self.label_names, **summary}

    def headline(self, figures: dict[str, float]) -> str:
        """The result in a few words."""
        majority = f"always guessing the majority: {figures['eval_majority_share']:.4f}"
        return f"{shown('accuracy', 'accuracy', figures, 4)}, {majority}, {len(self.frame)} pairs"
