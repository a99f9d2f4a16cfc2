"""Nearest rows by cosine, held against a loop."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from datamap.audit import alike


def by_loop(one, others, skipped):
    with np.errstate(invalid="ignore"):
        cosines = [float(one @ v) / (np.linalg.norm(one) * np.linalg.norm(v)) for v in others.astype(float)]
    cosines[skipped : skipped + 1] = [-2.0] if 0 <= skipped < len(others) else []
    return int(np.argmax(cosines)), max(cosines)


@pytest.mark.parametrize("block", [1, 3, 7, 100])
@pytest.mark.parametrize("same", [True, False])
def test_the_nearest_is_that_of_a_loop_in_blocks_of_any_size(block, same, monkeypatch):
    monkeypatch.setattr(alike, "BLOCK", block)
    random = np.random.default_rng(block)
    vectors = random.normal(size=(20, 4)).astype(np.float32)
    others = vectors if same else random.normal(size=(17, 4)).astype(np.float32)
    chosen = np.array([0, 3, 4, 11, 19])
    at, cosine = alike.nearest(vectors, others, chosen, same=same)
    expected = [by_loop(vectors[row].astype(float), others, row if same else len(others)) for row in chosen]
    assert at.tolist() == [place for place, _ in expected]
    np.testing.assert_allclose(cosine, [value for _, value in expected], atol=1e-6)  # float32 products


def test_zeros_have_the_cosine_0_and_of_equals_the_first_is_taken():
    at, cosine = alike.nearest(np.zeros((1, 2)), np.array([[-1.0, 0], [1, 0]]), np.array([0]), same=False)
    assert (at.tolist(), cosine.tolist()) == ([0], [0.0])


def test_rows_are_drawn_by_the_hash_of_their_ids(monkeypatch):
    monkeypatch.setattr(alike, "N_DRAWN", 3)
    ids = [f"r{number}" for number in range(9)]
    smallest = sorted(ids, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:3]
    assert [ids[at] for at in alike.drawn(pd.Series(ids))] == sorted(smallest)


def test_two_that_are_nearest_to_each_other_are_one_pair():
    vectors, ids = np.array([[1.0, 0], [1, 0.1], [0, 1], [0.2, 1]]), pd.Series(list("abcd"))
    found = alike.alike_pairs(ids, vectors, ids, vectors, same=True)
    assert sorted(map(sorted, found[["id", "other_id"]].to_numpy().tolist())) == [["a", "b"], ["c", "d"]]
    assert found["cosine"].is_monotonic_decreasing
