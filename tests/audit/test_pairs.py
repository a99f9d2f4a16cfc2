"""The pairs of pairs.csv, held against a loop."""

import numpy as np
import pandas as pd
import pytest

from datamap.audit.meetings import find_meetings
from datamap.audit.pairs import COLUMNS, pairs_table, with_alike
from datamap.evaluation.contradictions import contradicted, label_numbers
from tests.audit.random_rows import meets, rows

CASES = [(seed, task, n_splits) for seed in range(6) for task in ("qa", "nli") for n_splits in (1, 2)]


def listed(data):
    """(the earlier row's place, the later one's, the pair) of every pair."""
    places = {(row["id"], row["split"]): at for at, row in enumerate(data.frame.to_dict("records"))}
    table = pairs_table(data, find_meetings(data))
    return [(places[p["other_id"], p["other_split"]], places[p["id"], p["split"]], p) for p in table.to_dict("records")]


@pytest.mark.parametrize(("seed", "task", "n_splits"), CASES)
def test_a_pair_meets_at_its_level_and_at_none_stronger(seed, task, n_splits):
    data = rows(seed, task, n_splits)
    records, found = data.frame.to_dict("records"), listed(data)
    assert len({(first, member) for first, member, _ in found}) == len(found)
    for first, member, pair in found:
        levels = meets(records[first], records[member])
        assert first < member
        assert pair["level"] == (levels[0] if levels else "template")


@pytest.mark.parametrize(("seed", "task", "n_splits"), CASES)
def test_every_row_of_a_group_is_beside_its_first(seed, task, n_splits):
    data = rows(seed, task, n_splits)
    records, found = data.frame.to_dict("records"), {(first, member) for first, member, _ in listed(data)}
    for member in range(len(records)):
        for level in ("exact", "normalised", *(("answer", "context") if task == "qa" else ())):
            firsts = [at for at in range(member) if level in meets(records[at], records[member])]
            is_strongest = firsts and meets(records[firsts[0]], records[member])[0] == level
            assert not is_strongest or (firsts[0], member) in found


def plain_label(row):
    """The label as it counts: of an answer its letters and digits in lower case, None of no answer."""
    if "label" in row:
        return row["label"]
    return "".join(filter(str.isalnum, row["answers"]["text"][0].lower())) if row["answers"]["text"] else None


@pytest.mark.parametrize(("seed", "task", "n_splits"), CASES)
def test_copies_with_another_label_contradict(seed, task, n_splits):
    data = rows(seed, task, n_splits)
    records = data.frame.to_dict("records")
    for first, member, pair in listed(data):
        same = plain_label(records[first]) == plain_label(records[member])
        assert pd.isna(pair["contradiction"]) == (pair["level"] not in ("exact", "normalised"))
        assert pd.isna(pair["contradiction"]) or pair["contradiction"] == (not same)


def test_a_row_contradicts_where_another_has_its_key_and_another_label():
    assert contradicted(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])).tolist() == [True, True] + [False] * 3


def test_no_answer_is_another_label_than_an_answer_of_nothing():
    data = rows(0, "qa", 1)
    texts = [["The man"], ["man"], ["the"], []]
    frame = data.frame.iloc[[0] * 4].assign(answers=[{"text": one, "answer_start": [0] * len(one)} for one in texts])
    found = label_numbers(frame.reset_index(drop=True)).tolist()
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_nearest_rows_stand_behind_with_their_cosine():
    near = pd.DataFrame({"id": ["a"], "split": "s", "other_id": ["b"], "other_split": "t", "cosine": [0.5]})
    found = with_alike(pd.DataFrame(columns=list(COLUMNS)), near).to_dict("records")
    assert [(pair["id"], pair["other_id"], pair["level"], pair["similarity"]) for pair in found] == [
        ("a", "b", "alike", 0.5)
    ]
