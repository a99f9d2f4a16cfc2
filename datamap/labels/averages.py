"""Several recordings of the same rows as one: their numbers averaged, and the answers that they give together."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from datamap.dynamics.agreement import mean_numbers

FOLD = "fold"
# What an answer of a model is told by: its text, its place, its probability.
ANSWERS = (
    ("predicted_answer", "predicted_start", "predicted_prob"),
    ("other_answer", "other_start", "other_prob"),
)


def mean_predictions(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Out-of-fold predictions of several recordings as those of one.

    NLI: the mean of `predicted_scores` by label. QA: means of the masses and of expected F1; of the answers that models
    predict (and of those that they would give instead of the label) the one that has most probability over all
    recordings, its probability being the sum over recordings that name it, divided by their number: the others name it
    less probable than their own, so the true mean is at least that. `fold` is the first recording's.

    Args:
        frames: of `evidence.read_predictions`, by id.
    """
    first = frames[0]
    if len(frames) == 1:
        return first
    if "predicted_scores" in first:
        return _mean_scores(frames)
    texts = {name for names in ANSWERS for name in names} | {FOLD}
    numbers = mean_numbers([frame.drop(columns=list(texts & set(frame))) for frame in frames])
    chosen = [_together(frames, names) for names in ANSWERS]
    return numbers.join([first[[FOLD]], *chosen])


def _mean_scores(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The mean probabilities of labels by id, and the most probable one (of equal ones the first)."""
    first = frames[0]
    names = list(first["predicted_scores"].iloc[0])
    tables = [pd.DataFrame(frame.loc[first.index, "predicted_scores"].tolist())[names] for frame in frames]
    means = np.mean([table.to_numpy(dtype=np.float64) for table in tables], axis=0)
    scores = [dict(zip(names, row, strict=True)) for row in means.tolist()]
    labels = [names[place] for place in means.argmax(axis=1)]
    return first.assign(predicted_scores=scores, predicted_label=labels)


def _together(frames: Sequence[pd.DataFrame], names: tuple[str, str, str]) -> pd.DataFrame:
    """By id the answer, its start and its probability that recordings give together; missing where none gives any."""
    answer, start, prob = names
    listed = pd.concat([frame[list(names)].dropna().reset_index() for frame in frames], ignore_index=True)
    sums = listed.astype({prob: np.float64}).groupby(["id", answer, start], sort=False)[prob].sum() / len(frames)
    table = sums.reset_index().sort_values(["id", prob, start, answer], ascending=[True, False, True, True])
    return table.drop_duplicates("id").set_index("id").reindex(frames[0].index)[list(names)]
