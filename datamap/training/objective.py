"""What a training minimises beside the plain loss of every row: weights of the rows."""

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from datamap.data.examples import Examples
    from datamap.features.windows import NliPairs, QaWindows

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Emphasis:
    """What rows count for in a training.

    Attributes:
        weights: of every window or pair, float32 [n_windows] with mean 1 on the training's device; None where all
            weigh the same.
    """

    weights: torch.Tensor | None = None

    def of_losses(self, losses: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Losses of the windows `rows` of a batch, weighed; all float32 or int64 [batch]."""
        return losses if self.weights is None else losses * self.weights[rows]


PLAIN = Emphasis()


def emphasis_of(
    training_args: "TrainingArguments", examples: "Examples | None", features: "QaWindows | NliPairs | None"
) -> Emphasis:
    """The weights of the windows of a training; none where nothing is trained.

    Args:
        examples: that are trained on, in the order of `features`.
        features: their windows or pairs.
    """
    if examples is None or features is None or examples.weights is None:
        return PLAIN
    weights = mean_one(examples.weights.of_rows(examples.frame["id"])[features.example])
    logger.info("Windows weigh %.4g to %.4g, 1 on average.", weights.min(), weights.max())
    return Emphasis(torch.from_numpy(weights).to(training_args.device))


def mean_one(weights: np.ndarray) -> np.ndarray:
    """Weights (above 0) divided by their mean, float32; equal ones become exactly 1, since float64 is finer."""
    scaled = weights / weights.max()  # so that no sum is too large
    return (scaled / scaled.mean()).astype(np.float32)


def identity_of(examples: "Examples") -> dict[str, Any]:
    """What of the objective the numbers of a recording depend on, by name; empty for the plain loss."""
    return {"example weights": examples.weights.sha256} if examples.weights is not None else {}
