"""Kinds of suspicion: by hand."""

import numpy as np
import pandas as pd

from datamap.labels import kinds
from tests.rows import qa_frame


def test_the_largest_mass_beside_the_label_names_the_kind():
    masses = pd.DataFrame(
        [[0.1, 0.6, 0.0], [0.3, 0.2, 0.0], [0.1, 0.2, 0.6], [0.0, 0.9, 0.0], [0.2, 0.2, 0.2], [np.nan] * 3],
        columns=["boundary_prob", "place_prob", "null_prob"],
    )
    unanswerable = np.array([False, False, False, True, False, False])
    found = kinds.kinds_of_masses(unanswerable, masses)
    assert found.tolist() == ["place", "boundary", "no_answer", "has_answer", "boundary", ""]
    assert set(found) - {""} <= set(kinds.KINDS) == kinds.MEANING.keys()


def test_a_training_tells_places_from_boundaries_by_the_overlap():
    unanswerable = np.array([False, False, True, False])
    found = kinds.kinds_of_overlap(unanswerable, np.array([0.0, 0.4, 0.0, np.nan]))
    assert found.tolist() == ["place", "boundary", "has_answer", ""]


def test_rows_with_the_same_texts_and_other_labels_contradict_each_other():
    frame = qa_frame(
        ("Eve takes aspirin.", "What?", ["aspirin"], [10]),
        ("Eve takes aspirin.", "What?", ["takes"], [4]),
        ("Eve takes aspirin.", "Who?", ["Eve"], [0]),
        ("Eve takes aspirin.", "Who?", ["eve"], [0]),
        ("Eve takes aspirin!", "What?", ["Eve"], [0]),
        ("Eve takes aspirin.", "Why?", [], []),
        ("Eve takes aspirin.", "Why?", ["aspirin"], [10]),
    )
    assert kinds.contradictions(frame).tolist() == [True, True, False, False, False, True, True]
    pairs = pd.DataFrame({"premise": list("aaab"), "hypothesis": list("xxyx"), "label": [0, 1, 2, 0]})
    assert kinds.contradictions(pairs).tolist() == [True, True, False, False]
