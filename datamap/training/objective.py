"""What a training minimises instead of the plain mean of its rows' losses: weights of rows, smoothed labels."""

import dataclasses
import logging
from collections.abc import Callable
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
    """What rows count for in a training, and how smooth their labels are; float32 tensors on the training's device.

    Attributes:
        weights: of every window or pair, [n_windows] with mean 1; None where all weigh the same.
        smoothing: factor of every window or pair, [n_windows] in [0, 1); None where no label is smoothed.
        allows_no_answer: whether smoothing takes "no answer" for a possible answer to every question (QA).
    """

    weights: torch.Tensor | None = None
    smoothing: torch.Tensor | None = None
    allows_no_answer: bool = False

    def of_losses(self, losses: torch.Tensor, rows: torch.Tensor, spread: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Losses of the windows `rows` of a batch, first smoothed, then weighed.

        Args:
            losses: minus log of the gold label's probability, float32 [batch].
            rows: int64 [batch].
            spread: gives the mean of minus log over all labels that may be right, float32 [batch].
        """
        if self.smoothing is not None:
            factors = self.smoothing[rows]
            losses = (1 - factors) * losses + factors * spread()
        return losses if self.weights is None else losses * self.weights[rows]


PLAIN = Emphasis()


def emphasis_of(
    training_args: "TrainingArguments", examples: "Examples | None", features: "QaWindows | NliPairs | None"
) -> Emphasis:
    """What the windows of a training count for; nothing special where nothing is trained.

    Args:
        examples: that are trained on, in the order of `features`.
        features: their windows or pairs.
    """
    if examples is None or features is None:
        return PLAIN
    weights, smoothing, ids = None, None, examples.frame["id"]
    if examples.weights is not None:
        scaled = mean_one(examples.weights.of_rows(ids)[features.example])
        logger.info("Windows weigh %.4g to %.4g, 1 on average.", scaled.min(), scaled.max())
        weights = torch.from_numpy(scaled).to(training_args.device)
    if examples.smoothing is not None:
        factors = examples.smoothing.of_rows(ids)[features.example].astype(np.float32)
        logger.info("Labels are smoothed by %.4g to %.4g.", factors.min(), factors.max())
        smoothing = torch.from_numpy(factors).to(training_args.device)
    elif training_args.label_smoothing_factor:
        smoothing = torch.full((len(features),), training_args.label_smoothing_factor, device=training_args.device)
    return Emphasis(weights, smoothing, examples.has_unanswerable)


def mean_one(weights: np.ndarray) -> np.ndarray:
    """Weights (above 0) divided by their mean, float32; equal ones become exactly 1, since float64 is finer."""
    scaled = weights / weights.max()  # so that no sum is too large
    return (scaled / scaled.mean()).astype(np.float32)


def tokens_that_may_be_right(
    inputs: dict[str, torch.Tensor], cls_index: int, *, allows_no_answer: bool
) -> torch.Tensor:
    """Where the answer of a window may begin or end, bool [batch, n_tokens].

    The tokens of the context, and the classifier token where it is the window's gold or `allows_no_answer`; neither the
    question nor padding.
    """
    places = torch.arange(inputs["input_ids"].shape[1], device=inputs["input_ids"].device)
    allowed = (places >= inputs["context_start"][:, None]) & (places < inputs["context_end"][:, None])
    allowed[:, cls_index] = (inputs["start_positions"] == cls_index) | allows_no_answer
    return allowed


def mean_surprise(logits: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """Mean over the allowed classes of minus log of their probability in the softmax over all, float32 [batch].

    Args:
        logits: float32 [batch, n_classes].
        allowed: bool [batch, n_classes], at least one of every row.
    """
    surprise = -torch.log_softmax(logits, dim=-1)
    return surprise.masked_fill(~allowed, 0).sum(-1) / allowed.sum(-1)


def identity_of(training_args: "TrainingArguments", examples: "Examples") -> dict[str, Any]:
    """What of the objective the numbers of a recording depend on, by name; empty for the plain loss."""
    files = {"example weights": examples.weights, "example smoothing": examples.smoothing}
    identity: dict[str, Any] = {name: numbers.sha256 for name, numbers in files.items() if numbers is not None}
    factor = training_args.label_smoothing_factor
    return identity | ({"--label_smoothing_factor": factor} if factor else {})
