"""A split by groups: whole, not too large, the same for every order of rows."""

import numpy as np
import pandas as pd
import pytest

from datamap.audit.resplit import distinct_ids, resplit
from datamap.errors import DataError


def framed(contexts):
    return pd.DataFrame(
        {"id": [f"r{number}" for number in range(len(contexts))], "context": contexts, "question": "Where?"}
    )


def drawn(seed):
    random = np.random.default_rng(seed)
    groups = pd.factorize(random.integers(0, 12, 40))[0]
    contexts = [f"text of {group // 2}" for group in random.permutation(12)[groups]]  # two groups may share a context
    return framed(contexts), groups


@pytest.mark.parametrize("seed", range(10))
def test_groups_stay_whole_and_the_share_is_kept(seed):
    frame, groups = drawn(seed)
    found = resplit(frame, groups, 0.3, "context")
    assert not set(groups[found.in_validation]) & set(groups[~found.in_validation])
    assert 0 < found.in_validation.sum() <= 12
    left = np.bincount(groups[~found.in_validation])
    assert found.in_validation.sum() + left[left > 0].min() > 12
    assert found.largest == np.bincount(groups).max()
    assert found.n_groups == len(set(groups))
    assert found.share == found.in_validation.sum() / 40


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_rows_moves_no_text(seed):
    frame, groups = drawn(seed)
    order = np.random.default_rng(seed + 99).permutation(40)
    one = resplit(frame, groups, 0.3, "context").in_validation
    turned = resplit(frame.iloc[order].reset_index(drop=True), pd.factorize(groups[order])[0], 0.3, "context")
    assert one[order].tolist() == turned.in_validation.tolist()


def test_a_sentence_says_what_large_groups_did():
    found = resplit(framed(list("aaab")), np.array([0, 0, 0, 1]), 0.3, "context")
    assert found.in_validation.tolist() == [False, False, False, True]
    assert found.sentence() == (
        "validation has 1 of 4 rows (25.0%; asked for 30.0%), train the rest; no group is on both sides. The largest "
        "of 2 groups has 3 rows (75.0%); 1 larger than the share asked for can only be training rows."
    )
    assert found.why[0] == "group of 3 rows by context: train, as its group did not fit into validation before others"


def test_a_group_of_just_the_share_asked_for_is_not_too_large():
    found = resplit(framed(list("aabb")), np.array([0, 0, 1, 1]), 0.5, "context")
    assert (found.n_too_large, found.share) == (0, 0.5)


def test_where_no_group_fits_the_error_says_what_to_do():
    with pytest.raises(DataError) as caught:
        resplit(framed(list("aabb")), np.array([0, 0, 1, 1]), 0.25, "context")
    assert str(caught.value) == (
        "--resplit 0.25: the 4 rows are 2 groups by context, the smallest with 2 rows (50%), so none fits: give a "
        "larger share, or other levels with --resplit_by."
    )


def test_an_id_of_two_splits_is_told_apart():
    rows = [{"id": "a"}, {"id": "b"}, {"id": "a"}]
    assert distinct_ids(rows, ["train", "train", "dev"]) == 1
    assert [row["id"] for row in rows] == ["a", "b", "dev:a"]


def test_an_id_that_is_told_apart_takes_that_of_no_other_row():
    rows = [{"id": "dev:a"}, {"id": "a"}, {"id": "b"}, {"id": "a"}, {"id": "b"}, {"id": "dev:b"}]
    assert distinct_ids(rows, ["train"] * 3 + ["dev"] * 3) == 2
    assert [row["id"] for row in rows] == ["dev:a", "a", "b", "dev:dev:a", "dev:dev:b", "dev:b"]
