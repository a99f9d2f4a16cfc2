"""Folds: whole contexts or sentence groups, of like sizes, the same for every order of the rows."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamap.crossfit.folds import assign_folds, sentence_groups
from datamap.data.groups import Grouping, text_hash
from datamap.errors import DataError

SENTENCES = st.integers(0, 12).map(lambda number: f"sentence {number}")


def qa_frame(contexts):
    return pd.DataFrame({"context": list(contexts)})


def nli_frame(pairs):
    return pd.DataFrame(pairs, columns=["premise", "hypothesis"])


def groups_by_walking(pairs):
    """Which rows a chain of shared sentences joins, by going from row to row."""
    left, groups = set(range(len(pairs))), []
    while left:
        reached, waiting = set(), [min(left)]
        while waiting:
            row = waiting.pop()
            reached.add(row)
            waiting += [other for other in left - reached if set(pairs[other]) & set(pairs[row])]
        groups.append(reached)
        left -= reached
    return {frozenset(group) for group in groups}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(SENTENCES, SENTENCES), min_size=1, max_size=14))
def test_groups_are_the_rows_that_shared_sentences_join(pairs):
    found = sentence_groups(nli_frame(pairs))
    assert {frozenset(np.flatnonzero(found == group).tolist()) for group in set(found)} == groups_by_walking(pairs)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=40), st.integers(2, 4), st.randoms())
def test_no_context_is_in_two_folds_and_the_order_of_rows_changes_nothing(numbers, n_folds, random):
    contexts = [f"context {number}" for number in numbers]
    if len(set(contexts)) < n_folds:
        with pytest.raises(DataError, match=f"--cross_fit {n_folds}: the {len(contexts)} rows have"):
            assign_folds(qa_frame(contexts), n_folds)
        return
    folds = assign_folds(qa_frame(contexts), n_folds)
    by_context = pd.Series(folds.of_row).groupby(contexts)
    assert (by_context.nunique() == 1).all()
    assert set(folds.of_row) == set(range(n_folds))
    assert folds.sizes == [int(np.sum(folds.of_row == fold)) for fold in range(n_folds)]
    # The fold that a group goes to has the fewest rows, so that the largest fold exceeds the smallest by one group.
    assert max(folds.sizes) - min(folds.sizes) <= by_context.size().max()
    order = list(range(len(contexts)))
    random.shuffle(order)
    again = assign_folds(qa_frame([contexts[row] for row in order]), n_folds)
    assert again.of_row.tolist() == folds.of_row[order].tolist()


def test_the_largest_context_comes_first_and_ties_go_by_hash():
    def place(text):
        part = text.encode()
        return hashlib.sha256(len(part).to_bytes(8, "big") + part).hexdigest()

    contexts = ["a"] * 5 + ["b"] * 3 + ["c"] * 3 + ["d"]
    first, second = sorted("bc", key=place)
    folds = assign_folds(qa_frame(contexts), 2)
    fold = dict(zip(contexts, folds.of_row.tolist(), strict=True))
    assert text_hash(["b", "b"]) == place("b")
    assert fold["a"] == 0
    assert (fold[first], fold[second], fold["d"]) == (1, 1, 0)
    assert (folds.sizes, folds.n_groups, folds.split_groups) == ([6, 6], 4, [])


def test_a_sentence_that_is_premise_here_and_hypothesis_there_joins_two_rows():
    pairs = [("a", "b"), ("b", "c"), ("d", "e"), ("f", "f"), ("g", "h")]
    folds = assign_folds(nli_frame(pairs), 2)
    assert folds.of_row[0] == folds.of_row[1]
    assert folds.n_groups == 4


def test_a_group_larger_than_a_fold_is_cut_by_premise_and_said(caplog):
    pairs = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("b", "z"), ("k", "l"), ("m", "n"), ("o", "p")]
    folds = assign_folds(nli_frame(pairs), 2)
    assert folds.split_groups == [5]
    assert "1 groups of pairs that share sentences are larger than a fold (5 rows) and are cut" in caplog.text
    premises = pd.Series(folds.of_row).groupby([premise for premise, _ in pairs])
    assert (premises.nunique() == 1).all()
    assert folds.of_row[0] != folds.of_row[2]
    assert folds.sizes == [4, 4]


def given_groups(frame, numbers):
    return frame.assign(id=[f"row {row}" for row in range(len(frame))]), Grouping(
        {f"row {row}": number for row, number in enumerate(numbers)}, "0"
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(SENTENCES, SENTENCES, st.integers(0, 7)), min_size=2, max_size=10),
    st.integers(2, 4),
    st.randoms(),
)
def test_given_groups_stay_whole_whatever_the_order_of_rows_and_their_numbers(rows, n_folds, random):
    numbers = [number for *_, number in rows]
    frame, grouping = given_groups(nli_frame([pair for *pair, _ in rows]), numbers)
    if len(set(numbers)) < n_folds:
        with pytest.raises(DataError) as caught:
            assign_folds(frame, n_folds, grouping)
        n_groups = len(set(numbers))
        advice = "more data" if n_groups < 2 else f"at most {n_groups}"
        assert str(caught.value) == (
            f"--cross_fit {n_folds}: the {len(rows)} rows have {n_groups} groups of --groups, and each lies whole in "
            f"one fold: give {advice}."
        )
        return
    folds = assign_folds(frame, n_folds, grouping)
    by_group = pd.Series(folds.of_row).groupby(numbers)
    assert (by_group.nunique() == 1).all()
    assert set(folds.of_row) == set(range(n_folds))
    assert (folds.n_groups, folds.split_groups) == (len(set(numbers)), [])
    assert max(folds.sizes) - min(folds.sizes) <= by_group.size().max()
    order = random.sample(range(len(rows)), len(rows))
    renamed = dict(zip(range(8), random.sample(range(50), 8), strict=True))
    again = Grouping({name: renamed[number] for name, number in grouping.of_id.items()}, "1")
    assert assign_folds(frame.iloc[order], n_folds, again).of_row.tolist() == folds.of_row[order].tolist()


def test_a_given_group_larger_than_a_fold_stays_whole_and_is_said(caplog):
    pairs = [(f"p {row}", f"h {row}") for row in range(9)]
    frame, grouping = given_groups(nli_frame(pairs), [0] * 6 + [1, 2, 3])
    folds = assign_folds(frame, 3, grouping)
    assert folds.sizes == [6, 2, 1]
    assert (
        "1 groups of --groups are larger than a fold (6 of 9 rows) and stay whole, so the folds differ" in caplog.text
    )


def test_given_groups_may_cut_contexts_and_of_equal_ones_the_smaller_hash_of_all_texts_comes_first():
    frame = qa_frame("aabb").assign(question=["1", "2", "3", "4"])
    frame, grouping = given_groups(frame, [0, 1, 1, 2])
    folds = assign_folds(frame, 2, grouping)
    first, second = sorted([("a", "1", 0), ("b", "4", 3)], key=lambda row: text_hash(row[:2]))
    assert folds.of_row[[1, 2]].tolist() == [0, 0]
    assert folds.of_row[[first[2], second[2]]].tolist() == [1, 1]
    three = assign_folds(frame, 3, grouping)
    assert three.of_row[[first[2], second[2]]].tolist() == [1, 2]
