"""NLI over a whole data set: what leaves the device for each batch, and the figures and labels after it."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from datamap.data.label_names import MergedLabels
from datamap.evaluation.figures import interval, shown, source_fields
from datamap.evaluation.metrics import classification_summary
from datamap.evaluation.span_answers import refuse_nan
from datamap.features.windows import factorize

if TYPE_CHECKING:
    import pandas as pd
    from transformers.utils import ModelOutput


class NliEvaluation:
    """Natural language inference: label probabilities of every row, accuracy, precision and recall.

    The prediction is the most probable label of the model; `merged` labels count as the data's afterwards.
    """

    labelled = True
    is_silent = False

    def __init__(
        self, frame: "pd.DataFrame", label_names: tuple[str, ...], *, seed: int, merged: MergedLabels | None = None
    ):
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

    def reduce(
        self, outputs: "ModelOutput", inputs: dict[str, torch.Tensor], losses: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
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


class NliPrediction:
    """The most probable label of every pair, and the probabilities of all."""

    labelled = False
    is_silent = False

    def __init__(self, frame: "pd.DataFrame", label_names: Sequence[str]):
        """`frame` is the canonical NLI frame; `label_names` in the order of the model's logits."""
        self.frame, self.label_names = frame, label_names

    def start(self) -> None:
        """Forget the last pass."""
        self.probs = np.full((len(self.frame), len(self.label_names)), np.inf)

    def reduce(
        self, outputs: "ModelOutput", inputs: dict[str, torch.Tensor], losses: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
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
