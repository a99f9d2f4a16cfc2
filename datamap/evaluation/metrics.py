"""Pure mathematics: scores of answers and labels, the no-answer threshold, and intervals around a mean.

Functions take text or arrays and return numbers; they open no files and change no argument. Misuse by the
calling code (lengths that differ, nothing to score) is a ValueError.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")

# Resampled group numbers held at once by bootstrap_interval: 32 MB of int64, whatever the number of groups.
_BOOTSTRAP_CELLS = 4_000_000

# Two score sums nearer than this are equal: what differs is the rounding of sums taken in another order.
_SUM_TOLERANCE = 1e-9


def normalize_answer(text: str) -> str:
    """The form in which the SQuAD scripts compare answers.

    In this order: lower case; the 32 ASCII punctuation characters of `string.punctuation` deleted (so
    "U.S." becomes "us", while typographic quotes and dashes stay); the whole words a, an, the replaced by
    a space; white space squeezed to single spaces and trimmed. May return "".
    Source: evaluation scripts of SQuAD v1.1 (arXiv 1606.05250) and v2.0 (arXiv 1806.03822), alike in both.
    """
    bare = text.lower().translate(_WITHOUT_PUNCTUATION)
    return " ".join(_ARTICLE.sub(" ", bare).split())


def exact_match(prediction: str, gold: str) -> float:
    """1.0 where both normalised texts are the same, also when both are empty, else 0.0 (higher is better)."""
    return float(normalize_answer(prediction) == normalize_answer(gold))


def token_f1(prediction: str, gold: str, *, has_unanswerable: bool = True) -> float:
    """Harmonic mean of precision and recall over the bags of normalised tokens, in [0, 1]; symmetric.

    The two official scripts differ only where a side has no tokens left. `has_unanswerable=True`, v2.0: 1.0
    when neither side has any, else 0.0. `has_unanswerable=False`, v1.1: no common token is 0.0, always, so
    two empty answers match exactly (EM 1) and yet have F1 0.
    """
    return _normalised_f1(normalize_answer(prediction), normalize_answer(gold), has_unanswerable)


def _normalised_f1(prediction: str, gold: str, has_unanswerable: bool) -> float:
    if prediction == gold:
        return float(has_unanswerable or gold != "")
    prediction_tokens, gold_tokens = prediction.split(), gold.split()
    n_common = (Counter(prediction_tokens) & Counter(gold_tokens)).total()
    if n_common == 0:
        return 0.0
    precision, recall = n_common / len(prediction_tokens), n_common / len(gold_tokens)
    return 2 * precision * recall / (precision + recall)


def best_over_golds(prediction: str, golds: Sequence[str], *, has_unanswerable: bool = True) -> tuple[float, float]:
    """(em, f1), each in [0, 1] and each the largest over the gold answers on its own.

    `has_unanswerable` says by which script's rule, as the data calls for:
    True, SQuAD v2.0, for data with unanswerable questions: gold answers that normalise to nothing are
    dropped; where none is left, as with the empty list of an unanswerable question, the gold is "".
    False, SQuAD v1.1, for data where every question has an answer: every gold counts as it is, F1 is the
    v1.1 one (see `token_f1`), and an empty list is a ValueError.
    """
    normalised = normalize_answer(prediction)
    kept = _normalised_golds(golds, has_unanswerable)
    em = float(normalised in kept)
    return em, max(_normalised_f1(normalised, gold, has_unanswerable) for gold in kept)


def _normalised_golds(golds: Sequence[str], has_unanswerable: bool) -> set[str]:
    """The normalised gold answers to compare with, never empty; repeats do not change a maximum."""
    if isinstance(golds, str):
        raise TypeError(f"golds must be a sequence of answer texts, not the one text {golds!r}")
    normalised = {normalize_answer(gold) for gold in golds}
    if has_unanswerable:
        return normalised - {""} or {""}
    if not normalised:
        raise ValueError("a question without gold answers needs the rule for has_unanswerable=True")
    return normalised


def squad_scores(
    predictions: Sequence[str], golds: Sequence[Sequence[str]], has_unanswerable: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Exact match and token F1 of every example: two float64 arrays [n], in [0, 1], higher is better.

    Row i compares `predictions[i]` ("" = no answer) with the list `golds[i]` (empty = unanswerable), by the
    rule that `has_unanswerable` names (see `best_over_golds`); it is a property of the whole data set.
    """
    if len(predictions) != len(golds):
        raise ValueError(f"{len(predictions)} predictions, but {len(golds)} lists of gold answers")
    scores = np.zeros((len(predictions), 2))
    for row, (prediction, texts) in enumerate(zip(predictions, golds, strict=True)):
        scores[row] = best_over_golds(prediction, texts, has_unanswerable=has_unanswerable)
    return scores[:, 0].copy(), scores[:, 1].copy()


def squad_summary(em: np.ndarray, f1: np.ndarray, unanswerable: np.ndarray) -> dict[str, float]:
    """The figures of the SQuAD scripts from per-example scores (`squad_scores`; all of shape [n], n >= 1).

    Percent in [0, 100], higher is better: `exact_match`, `f1`; and `total` = n. With any unanswerable
    question also the v2.0 script's `NoAns_exact`, `NoAns_f1`, `NoAns_total` over these, and, unless there
    is no other question, `HasAns_exact`, `HasAns_f1`, `HasAns_total` over the rest.
    """
    em, f1, unanswerable = np.asarray(em), np.asarray(f1), np.asarray(unanswerable, dtype=bool)
    _check_rows(em=em, f1=f1, unanswerable=unanswerable)
    summary = {"exact_match": _percent(em), "f1": _percent(f1), "total": len(em)}
    if not unanswerable.any():
        return summary
    for name, rows in (("HasAns", ~unanswerable), ("NoAns", unanswerable)):
        if rows.any():
            summary[f"{name}_exact"] = _percent(em[rows])
            summary[f"{name}_f1"] = _percent(f1[rows])
            summary[f"{name}_total"] = int(rows.sum())
    return summary


def _percent(scores: np.ndarray) -> float:
    return float(100.0 * scores.mean())


def _check_rows(**arrays: np.ndarray) -> None:
    """Raises a ValueError unless all arrays have one and the same shape [n], n >= 1."""
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) != 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"arrays of one common shape [n] are needed, these have {shapes}")
    if 0 in next(iter(shapes.values())):
        raise ValueError("there is no example to score")


def best_null_threshold(
    null_score_diffs: np.ndarray, em_or_f1_with_answer: np.ndarray, unanswerable: np.ndarray
) -> tuple[float, float]:
    """(best score in percent, threshold that gives it), when diff > threshold means "predict no answer".

    All of shape [n], n >= 1. `null_score_diffs`: null score minus best span score, finite, higher = rather
    unanswerable. `em_or_f1_with_answer`: in [0, 1], the score of the best span, never of the null answer,
    on every example (an unanswerable one scores 0 there, unless the span normalises to nothing).
    `unanswerable`: bool; left unanswered, such a question scores 1 and any other one 0, even the rare one
    whose gold answers all normalise to nothing.

    The threshold is the smallest of the best: a value of `null_score_diffs` or, where answering nothing is
    best, a value below them all. Applying it to the same arrays gives exactly the returned score.

    Source: the threshold search of the SQuAD v2.0 script, arXiv 1806.03822. Three points differ, so that the
    figure is one that can be reached. The script adds examples one by one and may report the score of a place
    inside a run of equal diffs, where no threshold can cut; here the run is answered as a whole or not at
    all. The script returns 0.0 for answering nothing, which is right only when all diffs are positive. The
    script deducts 1 for every non-empty span on an unanswerable question, even for one that normalises
    to nothing and so scores 1; here its score counts.
    """
    diffs, unanswerable = np.asarray(null_score_diffs), np.asarray(unanswerable, dtype=bool)
    scores = np.asarray(em_or_f1_with_answer, dtype=np.float64)
    _check_rows(null_score_diffs=diffs, em_or_f1_with_answer=scores, unanswerable=unanswerable)
    if not np.isfinite(diffs).all():
        raise ValueError("null_score_diffs must be finite to be compared with a threshold")
    null_scores = unanswerable.astype(np.float64)
    distinct, run = np.unique(diffs, return_inverse=True)
    gains = np.bincount(run, weights=scores - null_scores)
    totals = np.concatenate([[0.0], np.cumsum(gains)])
    best = int(np.argmax(totals >= totals.max() - _SUM_TOLERANCE))
    threshold = float(distinct[best - 1]) if best else _below(distinct[0])
    return _percent(np.where(diffs > threshold, null_scores, scores)), threshold


def _below(value: np.number) -> float:
    """A number below `value` in its own precision: 1 less, or the next one where rounding swallows the 1."""
    return min(float(value) - 1.0, float(np.nextafter(value, -np.inf)))


def bootstrap_interval(
    values: np.ndarray, groups: np.ndarray, seed: int, n_resamples: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """(low, high): percentile bootstrap interval of the mean of `values`, drawing whole groups.

    `values`: finite floats [n], the interval is in their unit; `groups`: int [n], any numbers, equal = same
    group (questions of one context share its difficulty, drawing them one by one would give too narrow an
    interval). Each resample draws as many groups as there are, with replacement, and its mean is (sum of
    values) / (number of values). `level` in (0, 1) is the coverage aimed at; with few groups (say under 20)
    the true coverage is lower. The same seed gives the same interval. With fewer than two groups nothing can
    vary between resamples and no interval is known: (nan, nan); a caller that writes JSON puts null for it.
    Source: percentile interval of Efron, "Bootstrap Methods", Annals of Statistics 7 (1979), on clusters.
    """
    values, groups = np.asarray(values, dtype=np.float64), np.asarray(groups)
    if values.ndim != 1 or values.shape != groups.shape:
        raise ValueError(f"one group per value is needed, shapes are {values.shape} and {groups.shape}")
    if n_resamples < 1 or not 0 < level < 1:
        raise ValueError(f"n_resamples must be at least 1 and level in (0, 1), not {n_resamples} and {level}")
    names, group = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    sums, sizes = np.bincount(group, weights=values), np.bincount(group)
    rng = np.random.default_rng(seed)
    means = np.empty(n_resamples)
    step = max(1, _BOOTSTRAP_CELLS // len(names))
    for start in range(0, n_resamples, step):
        drawn = rng.integers(len(names), size=(min(step, n_resamples - start), len(names)))
        means[start : start + step] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def classification_summary(predicted: np.ndarray, gold: np.ndarray, label_names: Sequence[str]) -> dict:
    """Accuracy, per-class figures and confusion matrix of single-label predictions; higher is better.

    `predicted`, `gold`: int [n], n >= 1, indices into `label_names`. Every figure is a fraction in [0, 1]:
    `accuracy`; `majority_share`, the share of the most frequent gold label, which is what constant guessing
    reaches; `per_class`, a dict by label name of precision, recall, f1 and support (number of gold
    rows), 0.0 where a figure is undefined (a label never predicted has no precision, one never gold no
    recall). `confusion_matrix`: counts, list of lists, rows gold, columns predicted.
    """
    predicted = np.asarray(predicted).astype(np.int64, casting="safe")
    gold = np.asarray(gold).astype(np.int64, casting="safe")
    _check_rows(predicted=predicted, gold=gold)
    n_labels = len(label_names)
    for name, labels in (("predicted", predicted), ("gold", gold)):
        if labels.min() < 0 or labels.max() >= n_labels:
            raise ValueError(f"{name} labels must lie in 0..{n_labels - 1}: {labels.min()}..{labels.max()}")
    cells = np.bincount(gold * n_labels + predicted, minlength=n_labels**2)
    matrix = cells.reshape(n_labels, n_labels)
    hits, support, n_predicted = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    # With no hit all three are 0 or undefined, so that dividing by at least 1 gives the promised 0.0.
    precision = hits / np.maximum(n_predicted, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(n_predicted + support, 1)
    per_class = {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
        for name, p, r, f, s in zip(label_names, precision, recall, f1, support, strict=True)
    }
    return {
        "accuracy": float(hits.sum() / len(gold)),
        "majority_share": float(support.max() / len(gold)),
        "per_class": per_class,
        "confusion_matrix": matrix.tolist(),
    }
