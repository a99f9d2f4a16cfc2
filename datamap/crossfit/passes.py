"""A pass over the rows that a fold holds out: the measures of a recording and what the model would answer.

A pass is an evaluation to the trainer: it reduces batches on the device and settles what came when it is over.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from datamap.dynamics.measures import OUT_OF_FOLD_MEASURES, fold_windows
from datamap.errors import DataError
from datamap.evaluation.gold_measures import NLI_WINDOW_MEASURES, QA_WINDOW_MEASURES, nli_measures, qa_measures
from datamap.evaluation.label_masses import LabelMasses
from datamap.evaluation.spans import span_logits

if TYPE_CHECKING:
    import pandas as pd
    from transformers.utils import ModelOutput

FIGURES = {"loss": "loss", "correctness": "correct", "confidence": "gold_prob", "expected_f1": "expected_f1"}


class HeldOutPass:
    """What both tasks share.

    Attributes, after `finish`:
        epoch: float32 arrays [n_examples] by measure, as a recording has them.
        means: figures of the pass by name.
        answers: arrays with an entry per example, what the model would answer.
    """

    labelled = True
    is_silent = True  # the line of an epoch says which fold it is of

    def __init__(self, features: Any, window_measures: tuple[str, ...]):
        """`features`: QaWindows or NliPairs of the rows that are held out."""
        self.features, self.window_measures = features, window_measures

    def start(self) -> None:
        """Forget the last pass."""
        self.values = np.full((len(self.window_measures), len(self.features)), np.nan, dtype=np.float32)
        self.seen = np.zeros(len(self.features), dtype=bool)

    def take(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Keep the measures [b, n_measures] of the windows `rows` [b]."""
        self.values[:, rows], self.seen[rows] = values.T, True

    def settle(self) -> None:
        """Fold windows into examples.

        Raises:
            DataError: the model's outputs are not numbers.
        """
        if not self.seen.all():
            raise RuntimeError(f"{np.sum(~self.seen)} of {len(self.seen)} windows were not looked at")
        if np.isnan(self.values).any():
            raise DataError("the model's outputs are not numbers (NaN): train with a lower --learning_rate.")
        windows = dict(zip(self.window_measures, self.values, strict=True))
        shape = self.features.example, self.features.has_gold, self.features.n_examples
        self.epoch = fold_windows(windows, self.seen, *shape)

    def finish(self) -> dict[str, float]:
        """Settle the pass and take the means over the examples; the trainer gets none to tell."""
        self.settle()
        known = {name: self.epoch[column] for name, column in FIGURES.items() if column in self.epoch}
        self.means = {name: float(np.nanmean(values)) for name, values in known.items() if not np.isnan(values).all()}
        return {}


class QaPass(HeldOutPass):
    """Extractive QA: the probabilities of all spans beside the measures of windows."""

    def __init__(self, features: Any, frame: "pd.DataFrame", *, max_answer_length: int, allow_no_answer: bool):
        """`frame` is the canonical QA frame that `features` were made from; lengths are in tokens."""
        super().__init__(features, QA_WINDOW_MEASURES)
        self.frame = frame
        self.outcomes: dict[str, Any] = {"max_answer_length": max_answer_length, "allow_no_answer": allow_no_answer}
        self.width = int(features.lengths.max())

    def start(self) -> None:
        """Forget the last pass."""
        super().start()
        self.masses = LabelMasses(self.features, self.frame, **self.outcomes)

    def reduce(
        self, outputs: "ModelOutput", inputs: dict[str, torch.Tensor], losses: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """On the device: row and measures of every window, its logits as wide in every process, its null score."""
        mask = inputs.get("attention_mask")
        sides = [span_logits(outputs[name], mask) for name in ("start_logits", "end_logits")]
        cls_index = self.features.template.cls_index
        null_scores = sides[0][:, cls_index] + sides[1][:, cls_index]
        wide = [torch.nn.functional.pad(side, (0, self.width - side.shape[1])) for side in sides]
        return inputs["row"], qa_measures(outputs, inputs, losses).T, *wide, null_scores

    def add(
        self, rows: np.ndarray, values: np.ndarray, starts: np.ndarray, ends: np.ndarray, null_scores: np.ndarray
    ) -> None:
        """Take what `reduce` gave, gathered from all processes, as arrays."""
        self.take(rows, values)
        self.masses.add(rows, starts, ends, null_scores)

    def settle(self) -> None:
        """Fold windows into examples; the answers and the measures that come of all spans."""
        self.answers = self.masses.table()
        super().settle()
        has_measures = ~np.isnan(self.epoch["gold_prob"])
        for name in OUT_OF_FOLD_MEASURES:
            self.epoch[name] = np.where(has_measures, self.answers[name], np.nan).astype(np.float32)


class NliPass(HeldOutPass):
    """Natural language inference: the probabilities of all labels beside the measures."""

    def __init__(self, features: Any, n_labels: int):
        super().__init__(features, NLI_WINDOW_MEASURES)
        self.n_labels = n_labels

    def start(self) -> None:
        """Forget the last pass."""
        super().start()
        self.answers = {"probs": np.zeros((len(self.features), self.n_labels))}

    def reduce(
        self, outputs: "ModelOutput", inputs: dict[str, torch.Tensor], losses: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """On the device: row, measures and label probabilities of every pair."""
        probs = torch.softmax(outputs["logits"].float(), dim=-1)
        return inputs["row"], nli_measures(outputs, inputs, losses).T, probs

    def add(self, rows: np.ndarray, values: np.ndarray, probs: np.ndarray) -> None:
        """Take what `reduce` gave, gathered from all processes, as arrays."""
        self.take(rows, values)
        self.answers["probs"][rows] = probs
