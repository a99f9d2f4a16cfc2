"""What a model's logits say of the gold label of a window or pair: the measures that training dynamics are made of."""

from typing import TYPE_CHECKING

import torch

from datamap.evaluation.spans import first_largest, span_logits

if TYPE_CHECKING:
    from transformers.utils import ModelOutput

QA_WINDOW_MEASURES = ("start_prob", "end_prob", "correct", "span_f1", "margin", "loss", "el2n")
NLI_WINDOW_MEASURES = ("gold_prob", "correct", "margin", "loss", "el2n")


def gold_measures(logits: torch.Tensor, gold: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Probability, margin, largest class and EL2N of a softmax against its gold class.

    Args:
        logits: float32 [..., n_classes].
        gold: int64 [...].

    Returns:
        Gold probability (in [0, 1]), margin (gold logit minus the largest other one, as in Pleiss et al. 2020,
        equation 1), argmax, and EL2N (Paul et al. 2021, arXiv 2107.07075, definition 2.2: the norm of probabilities
        minus one-hot gold, in [0, √2], higher is harder; there a mean over ten models early in training, here one
        model's), each [...]. Of equal logits the first is taken, as for predictions, whichever is gold.
    """
    place = gold[..., None]
    probs = torch.softmax(logits, dim=-1)
    gold_prob = probs.gather(-1, place)[..., 0]
    others = logits.scatter(-1, place, -torch.inf).amax(-1)
    error = torch.linalg.vector_norm(probs.scatter(-1, place, gold_prob[..., None] - 1), dim=-1)
    return gold_prob, logits.gather(-1, place)[..., 0] - others, first_largest(logits), error


def qa_measures(outputs: "ModelOutput", inputs: dict[str, torch.Tensor], losses: torch.Tensor) -> torch.Tensor:
    """QA_WINDOW_MEASURES of every window of a batch, float32 [7, batch]; padding is masked.

    Start and end are two softmaxes over the window's tokens. `correct` is 1 when both argmaxes are the gold ones,
    `span_f1` the token F1 of the span between the argmaxes with the gold span (0 where it ends before it starts), the
    margin and EL2N the mean of the start's and the end's.
    """
    gold = torch.stack([inputs["start_positions"], inputs["end_positions"]])
    sides = [span_logits(outputs[name], inputs.get("attention_mask")) for name in ("start_logits", "end_logits")]
    probs, margins, (start, end), errors = gold_measures(torch.stack(sides), gold)
    correct = (start == gold[0]) & (end == gold[1])
    shared = (torch.minimum(end, gold[1]) - torch.maximum(start, gold[0]) + 1).clamp(min=0)
    n_tokens = (end - start + 1).clamp(min=0) + (gold[1] - gold[0] + 1)
    f1 = 2 * shared / n_tokens
    return torch.stack([*probs, correct.float(), f1, margins.mean(0), losses.float(), errors.mean(0)])


def nli_measures(outputs: "ModelOutput", inputs: dict[str, torch.Tensor], losses: torch.Tensor) -> torch.Tensor:
    """NLI_WINDOW_MEASURES of every pair of a batch, float32 [5, batch]."""
    probs, margins, label, errors = gold_measures(outputs["logits"].float(), inputs["labels"])
    return torch.stack([probs, (label == inputs["labels"]).float(), margins, losses.float(), errors])
