"""Training dynamics as pure mathematics: windows folded into examples, metrics over epochs, regions of the data map.

Sources: dataset cartography (Swayamdipta et al. 2020, arXiv 2009.10795), forgetting events (Toneva et al. 2019, arXiv
1812.05159), threshold closeness (Chang et al. 2017, arXiv 1704.07433), area under the margin (Pleiss et al. 2020,
arXiv 2001.10528), EL2N (Paul et al. 2021, arXiv 2107.07075).
"""

import numpy as np
import pandas as pd

OUT_OF_FOLD_MEASURES = ("label_prob", "expected_f1")  # of answers, beside the measures of every recording
REGIONS = ("easy", "ambiguous", "hard")
AMBIGUOUS_FRACTION = 1 / 3
CONFIDENCE_THRESHOLD = 0.5
LEAST_AMBIGUOUS_VARIABILITY = 0.1
FEW_EPOCHS = 3


def fold_windows(
    windows: dict[str, np.ndarray], seen: np.ndarray, example: np.ndarray, has_gold: np.ndarray, n_examples: int
) -> dict[str, np.ndarray]:
    """One epoch's measures of windows → measures of examples, over gold-bearing windows alone.

    The gold probability of a window is start times end probability where `windows` has these two (QA), and
    `gold_prob` itself otherwise (NLI). An example is correct when all its gold-bearing windows are; every other measure
    is a mean over them.

    Args:
        windows: parallel arrays [n_windows] by measure.
        seen: bool [n_windows], whether the window was trained on in this epoch.
        example: the example of each window, int [n_windows].
        has_gold: bool [n_windows].
        n_examples: number of examples.

    Returns:
        float32 arrays [n_examples] by measure, `gold_prob` first; NaN for an example with a gold-bearing window that
        was not seen in this epoch, or with none at all.
    """
    if "start_prob" in windows:
        product = windows["start_prob"].astype(np.float64) * windows["end_prob"]
        windows = {"gold_prob": product} | windows
    gold = example[has_gold]
    n_gold = np.bincount(gold, minlength=n_examples)
    n_seen = np.bincount(gold, weights=seen[has_gold], minlength=n_examples)
    whole = (n_gold > 0) & (n_seen == n_gold)
    folded = {}
    for name, values in windows.items():
        total = np.bincount(gold, weights=np.where(seen, values, 0.0)[has_gold], minlength=n_examples)
        mean = np.divide(total, n_gold, out=np.full(n_examples, np.nan), where=whole)
        folded[name] = np.where(whole, np.floor(mean) if name == "correct" else mean, np.nan).astype(np.float32)
    return folded


def over_epochs(epochs: dict[str, np.ndarray]) -> pd.DataFrame:
    """Metrics of every example over the epochs in which it was seen.

    Args:
        epochs: arrays [n_epochs, n_examples] by measure (`gold_prob` in [0, 1], `correct` 0 or 1, `margin` in logits,
            `loss` in nats; `el2n`, which recordings of earlier versions lack; QA also `start_prob`, `end_prob`,
            `span_f1` and, out of fold, `label_prob` and `expected_f1`), NaN where an example was not seen. Every
            example must have been seen in one epoch at least.

    Returns:
        A row an example: confidence (mean gold probability), variability (its population standard deviation, in
        [0, 0.5]), correctness (share of epochs correct), start_confidence, end_confidence and span_f1 (QA),
        forgetting_events, never_learnt (correct in no epoch), threshold_closeness (confidence · (1 − confidence), in
        [0, 0.25]), aum (mean margin; lower is harder), loss (mean), el2n (mean, in [0, √2]; higher is harder),
        label_prob and expected_f1 (means; out of fold), num_epochs.
    """
    epochs = {name: values.astype(np.float64) for name, values in epochs.items()}
    probs, correct = epochs["gold_prob"], epochs["correct"]
    confidence, correctness = np.nanmean(probs, axis=0), np.nanmean(correct, axis=0)
    columns = {"confidence": confidence, "variability": np.nanstd(probs, axis=0), "correctness": correctness}
    for name, source in (("start_confidence", "start_prob"), ("end_confidence", "end_prob"), ("span_f1", "span_f1")):
        if source in epochs:
            columns[name] = np.nanmean(epochs[source], axis=0)
    columns |= {
        "forgetting_events": forgetting_events(correct),
        "never_learnt": correctness == 0,
        "threshold_closeness": confidence * (1 - confidence),
        "aum": np.nanmean(epochs["margin"], axis=0),
        "loss": np.nanmean(epochs["loss"], axis=0),
    }
    columns |= {name: np.nanmean(epochs[name], axis=0) for name in ("el2n", *OUT_OF_FOLD_MEASURES) if name in epochs}
    columns["num_epochs"] = (~np.isnan(probs)).sum(axis=0)
    return pd.DataFrame(columns)


def forgetting_events(correct: np.ndarray) -> np.ndarray:
    """Transitions from correct to wrong, between epochs in which an example was seen, int64 [n_examples].

    Toneva et al. 2019, section 3. An example that was never correct has none; cartography's code gives it 1000, here
    `never_learnt` marks it.

    Args:
        correct: 0, 1 or NaN (not seen), [n_epochs, n_examples].
    """
    events = np.zeros(correct.shape[1], dtype=np.int64)
    before = np.zeros(correct.shape[1])
    for now in correct:
        events += (before == 1) & (now == 0)
        before = np.where(np.isnan(now), before, now)
    return events


def assign_regions(
    confidence: np.ndarray,
    variability: np.ndarray,
    *,
    method: str = "thirds",
    ambiguous_fraction: float = AMBIGUOUS_FRACTION,
    confidence_threshold: float = CONFIDENCE_THRESHOLD,
) -> np.ndarray:
    """The region of every example: "easy", "ambiguous" or "hard", str [n].

    "thirds": ambiguous is a variability in the top `ambiguous_fraction` (equal values share a region) that is at least
    0.1; of the rest, easy is a confidence of at least `confidence_threshold`, and hard is everything else. The paper
    takes the top third of each metric, so that its regions overlap; here every example has one region.

    "median": ambiguous is a variability of at least the median; of the rest, easy is a confidence of at least the
    median. On a data set that is mostly learnt this calls right and confident examples hard.

    Args:
        confidence: [n], in [0, 1].
        variability: [n], in [0, 0.5].
        ambiguous_fraction: in (0, 1); acts on "thirds" alone.
        confidence_threshold: in (0, 1); acts on "thirds" alone.
    """
    if len(confidence) == 0:
        return np.empty(0, dtype=object)
    if method == "median":
        least, threshold = np.median(variability), np.median(confidence)
    else:
        least = max(np.quantile(variability, 1 - ambiguous_fraction), LEAST_AMBIGUOUS_VARIABILITY)
        threshold = confidence_threshold
    rest = np.where(confidence >= threshold, "easy", "hard")
    return np.where(variability >= least, "ambiguous", rest).astype(object)
