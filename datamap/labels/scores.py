"""How suspicious a label is, as a number in [0, 1]: pure mathematics on what a recording says of its rows.

Sources: self-confidence and normalized margin as in confident learning (Northcutt et al. 2021, arXiv 1911.00068),
confidence (Swayamdipta et al. 2020, arXiv 2009.10795), area under the margin (Pleiss et al. 2020, arXiv 2001.10528),
EL2N (Paul et al. 2021, arXiv 2107.07075).
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import rankdata

# What each score is made from, of the columns of `numbers_of`, and in words.
DEFINITIONS = {
    "expected_f1": ("expected_f1", "1 - expected token F1 of the model's answer with the label, last epoch"),
    "label_support": (
        "mean_expected_f1",
        "1 - geometric mean of the label's probability and its expected token F1, each a mean over epochs",
    ),
    "self_confidence": ("label_prob", "1 - probability of the label, last epoch"),
    "normalized_margin": (
        "label_prob",
        "(1 - probability of the label + that of the best other answer) / 2, last epoch",
    ),
    "confidence": ("confidence", "1 - mean probability of the label over epochs"),
    "aum": ("aum", "logistic of minus the mean margin (logits) over epochs"),
    "loss": ("last_loss", "1 - exp(-loss), last epoch"),
    "el2n": ("el2n", "mean EL2N over epochs, divided by its largest value, the square root of 2"),
}
# What ranks unless told otherwise: out of fold by task, and in the training itself; docs/label_errors.md says why.
DEFAULTS = {"qa": "label_support", "nli": "el2n"}
IN_SAMPLE_DEFAULT = "confidence"
# What ranks where both are there: by task, the score out of fold and the one of the training.
COMBINED, PARTS = "combined", {"qa": ("label_support", "confidence"), "nli": ("el2n", "el2n")}
IN_SAMPLE = "in_sample_"

FORMULAS: dict[str, Callable[[pd.DataFrame], np.ndarray]] = {
    "expected_f1": lambda numbers: 1 - numbers["expected_f1"],
    "label_support": lambda numbers: 1 - np.sqrt(numbers["mean_label_prob"] * numbers["mean_expected_f1"]),
    "self_confidence": lambda numbers: 1 - numbers["label_prob"],
    "normalized_margin": lambda numbers: (1 - numbers["label_prob"] + numbers["other_prob"].fillna(0)) / 2,
    "confidence": lambda numbers: 1 - numbers["confidence"],
    "aum": lambda numbers: 1 / (1 + np.exp(numbers["aum"].clip(-500, 500))),
    "loss": lambda numbers: -np.expm1(-numbers["last_loss"]),
    "el2n": lambda numbers: numbers["el2n"] / np.sqrt(2),
}


def suspicion(numbers: pd.DataFrame, name: str) -> np.ndarray:
    """The score `name` (one of DEFINITIONS) of every row, float64 [n] in [0, 1], higher = more suspicious.

    Args:
        numbers: a row an example, with the columns that DEFINITIONS names, in the ranges that a recording has them in.
            Where one is missing (NaN) the score is NaN.
    """
    return np.clip(np.asarray(FORMULAS[name](numbers), dtype=np.float64), 0.0, 1.0)


def combined(numbers: pd.DataFrame, task: str) -> np.ndarray:
    """The mean of the rank fractions of two scores, out of fold and of the training itself, float64 [n] in (0, 1].

    Args:
        numbers: a row an example; of the training with IN_SAMPLE before the names. Where either score is missing (NaN)
            so is this one.
        task: "qa" or "nli".
    """
    own, trained = PARTS[task]
    columns = {name: name.removeprefix(IN_SAMPLE) for name in numbers if name.startswith(IN_SAMPLE)}
    pairs = suspicion(numbers, own), suspicion(numbers[list(columns)].rename(columns=columns), trained)
    missing = np.isnan(pairs[0]) | np.isnan(pairs[1])
    fractions = [rankdata(values[~missing]) / max((~missing).sum(), 1) for values in pairs]
    found = np.full(len(numbers), np.nan)
    found[~missing] = (fractions[0] + fractions[1]) / 2
    return found


def definition(name: str, task: str) -> str:
    """What a score is, in words."""
    if name != COMBINED:
        return DEFINITIONS[name][1]
    own, trained = PARTS[task]
    return f"mean of the rank fractions of {own}, out of fold, and {trained}, in the training"


def missing_numbers(name: str, numbers: pd.DataFrame) -> list[str]:
    """The columns that a score needs and `numbers` lacks."""
    if name == COMBINED:
        return [column for column in (f"{IN_SAMPLE}confidence", "other_prob") if column not in numbers]
    needed = [DEFINITIONS[name][0], *(["other_prob"] if name == "normalized_margin" else [])]
    return [column for column in needed if column not in numbers]


def ranks(scores: np.ndarray, ids: pd.Series, tie: np.ndarray | None = None) -> np.ndarray:
    """The rank of every row, float64 [n]: 1 = most suspicious; NaN where the score is.

    Args:
        scores: [n], higher = more suspicious.
        ids: unique; of rows that are equal in all else, the first by id comes first.
        tie: [n], of equal scores the higher comes first; NaN comes last.
    """
    tie = np.zeros(len(scores)) if tie is None else np.nan_to_num(tie, nan=-np.inf)
    order = np.lexsort((ids.to_numpy().astype(str), -tie, -np.nan_to_num(scores, nan=-np.inf)))
    found = np.empty(len(scores))
    found[order] = np.arange(1, len(scores) + 1)
    return np.where(np.isnan(scores), np.nan, found)
