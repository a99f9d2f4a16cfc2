"""Rankings of suspects side by side, from recordings of a set: scores [n_rows] by name, one for each seed.

Higher = more suspicious. What is averaged over seeds has the same score for each of them.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from datamap.dynamics import recordings
from datamap.dynamics.measures import over_epochs
from datamap.labels import evidence, scores

IN_SAMPLE = ("confidence", "aum", "loss", "forgetting", "el2n")


def numbers_of(directory: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """What a recording says of the rows of a set, in their order: the metrics and, out of fold, the predictions."""
    recording = recordings.read_recording(directory)
    numbers = evidence.metrics_of(recording)
    numbers["forgetting"] = over_epochs(recording.epochs)["forgetting_events"].to_numpy()
    if "out_of_fold" in recording.manifest:
        predictions = evidence.read_predictions(directory, recording.manifest)
        if "label_name" in frame:
            labels = pd.Series(frame["label_name"].to_numpy(), index=frame["id"])
            probs = np.array([list(row.values()) for row in predictions["predicted_scores"]])
            names = list(predictions["predicted_scores"].iloc[0])
            numbers = evidence.nli_numbers(predictions, labels).join(numbers)
            numbers[[f"prob {name}" for name in names]] = probs
        else:
            numbers = evidence.qa_numbers(predictions).join(numbers)
    else:
        numbers["label_prob"] = numbers["last_prob"]
    return numbers.reindex(frame["id"])


def recorded_scores(numbers: pd.DataFrame, where: str) -> dict[str, np.ndarray]:
    """The scores that one recording gives by itself."""
    found = {name: scores.suspicion(numbers, name) for name in ("confidence", "aum", "loss", "el2n")}
    found["forgetting"] = numbers["forgetting"].to_numpy(dtype=np.float64)
    if where == "out of fold":
        found["self_confidence"] = scores.suspicion(numbers, "self_confidence")
        found["normalized_margin"] = scores.suspicion(numbers, "normalized_margin")
        if "expected_f1" in numbers:
            found |= {name: scores.suspicion(numbers, name) for name in ("expected_f1", "label_support")}
            found |= {name: 1 - numbers[name].to_numpy() for name in ("mean_expected_f1", "mean_label_prob")}
            found["probability of the best other answer against the label's"] = odds(numbers)
    return {f"{name}, {where}": values for name, values in found.items()}


def odds(numbers: pd.DataFrame) -> np.ndarray:
    """P(other) / (P(other) + P(label)) with the most probable other answer, in [0, 1]."""
    other = numbers["other_prob"].fillna(0).to_numpy()
    return other / (other + numbers["label_prob"].to_numpy())


def class_adjusted(numbers: pd.DataFrame, frame: pd.DataFrame) -> np.ndarray:
    """Normalized margin after each label's mean out-of-fold probability is taken off (Northcutt et al. 2021, 4.1)."""
    columns = [name for name in numbers if name.startswith("prob ")]
    names = [name.removeprefix("prob ") for name in columns]
    probs, gold = numbers[columns].to_numpy(), np.array([names.index(label) for label in frame["label_name"]])
    probs = probs - np.array([probs[gold == place, place].mean() for place in range(len(names))])
    own = probs[np.arange(len(gold)), gold]
    probs[np.arange(len(gold)), gold] = -np.inf
    return probs.max(axis=1) - own


def by_rank(values: np.ndarray) -> np.ndarray:
    """Scores as ranks in (0, 1], missing ones lowest."""
    return rankdata(np.nan_to_num(values, nan=-np.inf)) / len(values)


def combined(found: dict[str, list[np.ndarray]], own: str) -> dict[str, list[np.ndarray]]:
    """Rankings made of several: seeds averaged, and both sorts of recording together."""
    made = {}
    for name in ("confidence, in-sample", own) if len(found[own]) > 1 else ():
        mean = np.mean([by_rank(values) for values in found[name]], axis=0)
        made[f"{name}, seeds averaged"] = [mean] * len(found[name])
    for other in ("confidence, in-sample", "el2n, in-sample", "confidence, out of fold"):
        pairs = zip(found[other], found[own], strict=True)
        made[f"{own} and {other}"] = [by_rank(one) + by_rank(two) for one, two in pairs]
    return made


def cleanlab_scores(numbers: pd.DataFrame, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """cleanlab's label quality scores and its own choice and order of issues, on the out-of-fold probabilities."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    columns = [name for name in numbers if name.startswith("prob ")]
    names = [name.removeprefix("prob ") for name in columns]
    probs = numbers[columns].to_numpy()
    labels = np.array([names.index(label) for label in frame["label_name"]])
    found = {}
    for method in ("self_confidence", "normalized_margin"):
        found[f"cleanlab {method}"] = 1 - get_label_quality_scores(labels, probs, method=method)
    issues = find_label_issues(labels, probs, return_indices_ranked_by="self_confidence", n_jobs=1)
    chosen = np.zeros(len(labels))
    chosen[issues] = 1 + np.arange(len(issues), 0, -1)
    found["cleanlab find_label_issues, then self_confidence"] = chosen + found["cleanlab self_confidence"]
    return found


def bag_of_words(numbers: pd.DataFrame, frame: pd.DataFrame) -> np.ndarray:
    """1 - probability of the label by a logistic regression, out of the same folds.

    Its features are the words of either sentence, those of both and those of one alone.
    """
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import CountVectorizer

    known = CountVectorizer(binary=True).fit([*frame["premise"], *frame["hypothesis"]])
    sides = [known.transform(frame[name]).astype(float) for name in ("premise", "hypothesis")]
    words = hstack([*sides, sides[0].multiply(sides[1]), abs(sides[0] - sides[1])]).tocsr()
    return out_of_fold_regression(words, numbers, frame, 1.0)


def word_pairs(numbers: pd.DataFrame, frame: pd.DataFrame) -> np.ndarray:
    """1 - probability of the label by a logistic regression that also counts how much the sentences share.

    Its features are the words and pairs of neighbouring words of both sentences, of the premise alone and of the
    hypothesis alone; how many these are (in tens), the shared part of all, and whether a sentence has none of its own.
    The strength of its penalty (C = 0.1) and the pairs were chosen on the choosing half of SICK, among six variants.
    """
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import CountVectorizer

    known = CountVectorizer(binary=True, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
    known.fit([*frame["premise"], *frame["hypothesis"]])
    first, second = (known.transform(frame[name]).astype(float) for name in ("premise", "hypothesis"))
    both = first.multiply(second)
    parts = [both, first - both, second - both]
    sizes = np.hstack([np.asarray(part.sum(axis=1)) for part in parts])
    counts = np.column_stack([sizes / 10, sizes[:, 0] / sizes.sum(axis=1), sizes[:, 1:] == 0])
    return out_of_fold_regression(hstack([*parts, csr_matrix(counts)]).tocsr(), numbers, frame, 0.1)


def out_of_fold_regression(features: Any, numbers: pd.DataFrame, frame: pd.DataFrame, strength: float) -> np.ndarray:
    """1 - probability of the label, [n], by logistic regressions that each learn all folds of `numbers` but one.

    Args:
        features: sparse matrix [n, n_features].
        numbers: with `fold`, in the order of `frame`.
        frame: with `label`.
        strength: C of scikit-learn; smaller is a stronger penalty.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    labels, folds = frame["label"].to_numpy(), numbers["fold"].to_numpy()
    found = np.full(len(frame), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for fold in np.unique(folds):
            train, held = folds != fold, folds == fold
            model = LogisticRegression(C=strength, max_iter=300).fit(features[train], labels[train])
            places = np.searchsorted(model.classes_, labels[held])
            found[held] = 1 - model.predict_proba(features[held])[np.arange(held.sum()), places]
    return found


def all_rankings(frame: pd.DataFrame, runs: dict[int, dict[str, Path]]) -> dict[str, list[np.ndarray]]:
    """Every ranking of a set: scores [n_rows] of each seed, by name.

    Args:
        frame: of `label_sets.load`.
        runs: by seed the recordings "insample" and "crossfit".
    """
    found: dict[str, list[np.ndarray]] = {}

    def keep(listed: dict[str, np.ndarray]) -> None:
        for name, values in listed.items():
            found.setdefault(name, []).append(values)

    for seed, places in runs.items():
        keep({"random": np.random.default_rng(seed).random(len(frame))})
        keep(recorded_scores(numbers_of(places["insample"], frame), "in-sample"))
        numbers = numbers_of(places["crossfit"], frame)
        keep(recorded_scores(numbers, "out of fold"))
        if "label_name" in frame:
            keep({"class-adjusted margin, out of fold": class_adjusted(numbers, frame)})
            keep(cleanlab_scores(numbers, frame))
            keep({"bag of words, out of fold": bag_of_words(numbers, frame)})
            pairs = word_pairs(numbers, frame)
            keep({"word pairs and overlap, out of fold": pairs})
            keep({"word pairs and el2n, out of fold": by_rank(pairs) + by_rank(scores.suspicion(numbers, "el2n"))})
    own = scores.DEFAULTS["nli" if "label_name" in frame else "qa"]
    return found | combined(found, f"{own}, out of fold")
