"""Of what kind a suspicion is: where the model would rather look, and rows that contradict each other."""

import numpy as np
import pandas as pd

from datamap.evaluation.contradictions import contradicted, label_numbers

KINDS = ("place", "boundary", "no_answer", "has_answer", "label", "contradiction")
MEANING = {
    "place": "most of what does not go to the label goes to places that share no token with it",
    "boundary": "most of it goes to answers that overlap the label",
    "no_answer": "labelled with an answer, where the model finds none",
    "has_answer": "labelled as unanswerable, where the model finds an answer",
    "label": "another label is more probable",
    "contradiction": "the same texts stand in the data with another label",
}


def kinds_of_masses(unanswerable: np.ndarray, masses: pd.DataFrame) -> np.ndarray:
    """The kind of every QA row by the largest of its masses beside the label's; object [n], "" without masses.

    Args:
        unanswerable: bool [n], whether the label is "no answer".
        masses: boundary_prob, place_prob and null_prob in [0, 1]; of equal ones the first of these counts.
    """
    names = np.array(["boundary", "place", "no_answer"], dtype=object)
    values = masses[["boundary_prob", "place_prob", "null_prob"]].to_numpy(dtype=np.float64)
    kinds = names[np.nan_to_num(values, nan=-1.0).argmax(axis=1)]
    kinds = np.where(unanswerable, "has_answer", kinds)
    return np.where(np.isnan(values).any(axis=1), "", kinds).astype(object)


def kinds_of_overlap(unanswerable: np.ndarray, span_f1: np.ndarray) -> np.ndarray:
    """The kind of every QA row by what a training recorded, object [n], "" without a number.

    Args:
        unanswerable: bool [n], whether the label is "no answer".
        span_f1: [n] in [0, 1], mean token F1 of the model's span with the label.
    """
    kinds = np.where(unanswerable, "has_answer", np.where(span_f1 > 0, "boundary", "place"))
    return np.where(np.isnan(span_f1), "", kinds).astype(object)


def contradictions(frame: pd.DataFrame) -> np.ndarray:
    """Whether another row has the same texts, byte for byte, and another label; bool [n].

    QA: context and question; labels differ where the normalised texts of the first answers do. NLI: premise and
    hypothesis.
    """
    texts = ["context", "question"] if "answers" in frame else ["premise", "hypothesis"]
    return contradicted(frame.groupby(texts, sort=False).ngroup().to_numpy(), label_numbers(frame))
