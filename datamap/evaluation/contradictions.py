"""Rows that have the same texts and another label."""

import numpy as np
import pandas as pd

from datamap.evaluation.metrics import normalize_answer


def label_numbers(frame: pd.DataFrame) -> np.ndarray:
    """One number for every label of a canonical frame, int64 [n].

    QA: labels are the same where the normalised texts of the first answers are; no answer is a label of its own.
    """
    if "answers" not in frame:
        return frame["label"].to_numpy(dtype=np.int64)
    texts = [repr(normalize_answer(answer["text"][0])) if answer["text"] else "" for answer in frame["answers"]]
    return pd.factorize(np.array(texts, dtype=object))[0].astype(np.int64)


def contradicted(keys: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether another row has the same key and another label, bool [n].

    Args:
        keys: of the texts, [n].
        labels: int64 [n].
    """
    return (pd.Series(labels).groupby(keys).transform("nunique") > 1).to_numpy()
