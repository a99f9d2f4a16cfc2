"""Arms against a hand-worked set of twelve rows, and coverage against a loop written from the paper."""

import hashlib

import numpy as np
import pytest

from datamap.errors import DataError
from datamap.selection import arms

IDS = list("abcdefghijkl")
CONFIDENCE = [0.95, 0.9, 0.85, 0.8, 0.6, 0.55, 0.5, 0.45, 0.3, 0.2, 0.1, np.nan]
VARIABILITY = [0.01, 0.02, 0.05, 0.1, 0.4, 0.35, 0.45, 0.3, 0.2, 0.15, 0.03, np.nan]
AUM = [9, 8, 7, 6, 2, 1, 0, -1, -3, -5, -9, np.nan]
EVENTS = [0, 0, 0, 1, 3, 2, 4, 2, 1, 0, 0, 0]
NEVER = [False] * 9 + [True, True, False]
METRICS = {"confidence": CONFIDENCE, "variability": VARIABILITY, "aum": AUM}


@pytest.mark.parametrize(
    ("arm", "wanted"), [("easy", "abcd"), ("ambiguous", "gefh"), ("hard", "kjih"), ("aum", "kjih")]
)
def test_arms_of_a_metric(arm, wanted):
    column, end = arms.METRIC_ARMS[arm]
    assert arms.by_metric(arm, IDS, np.array(METRICS[column]), 4, end) == list(wanted)


def test_never_learnt_rows_come_before_those_forgotten_most():
    events = arms.forgetting(EVENTS, NEVER, [9] * 12)
    found = arms.by_metric("forgotten", IDS, np.array(events), 4, "high")
    assert (set(found[:2]), found[2:]) == ({"j", "k"}, ["g", "e"])


def test_equal_values_go_by_the_hash_of_the_id_and_nan_is_never_taken():
    wanted = sorted(IDS[:11], key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert arms.by_metric("x", IDS, np.where(np.isnan(AUM), np.nan, 1.0), 11, "high") == wanted
    with pytest.raises(DataError, match="^the arm x has 11 rows to take 12 from: lower --fraction, or leave it out.$"):
        arms.by_metric("x", IDS, np.array(AUM), 12, "low")


def by_the_paper(aum, budget, cut):
    """How many rows each stratum gives, from the paper's algorithm 1."""
    kept = np.sort(aum)[int(cut * len(aum)) :]
    edges = np.linspace(kept.min(), kept.max(), 51)
    left = [np.sum((kept >= low) & (kept < high)) for low, high in zip(edges[:-1], edges[1:], strict=True)]
    left[-1] += np.sum(kept == edges[-1])
    strata, taken = dict(enumerate(left)), [0] * 50
    while strata:
        smallest = min(strata, key=lambda number: (strata[number], number))
        taken[smallest] = min(strata.pop(smallest), budget // (len(strata) + 1))
        budget -= taken[smallest]
    return edges, taken


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_rows", [1, 33, 500, 900])
@pytest.mark.parametrize("on_edges", [False, True])
def test_coverage_is_the_papers_loop(seed, n_rows, on_edges):
    aum = np.random.default_rng(seed).normal(size=1000)
    if on_edges:  # strata 0 to 1, 1 to 2, and so on, after the cut of the hundred below 0
        aum = np.concatenate([np.full(100, -1.0) - np.arange(100), np.random.default_rng(seed).integers(0, 51, 900)])
        aum[100:102] = 0, 50
    ids = [f"r{row}" for row in range(1000)]
    found = arms.coverage(ids, aum, n_rows, 0.1, seed)
    edges, taken = by_the_paper(aum, n_rows, 0.1)
    values = np.array([aum[int(name[1:])] for name in found])
    assert len(set(found)) == n_rows
    assert np.histogram(values, edges)[0].tolist() == taken
    assert not set(found) & {ids[row] for row in np.argsort(aum, kind="stable")[:100]}


def test_parts_are_brought_nearer_to_the_size():
    generator = np.random.default_rng(0)
    sizes = {"a": 4, "b": 3, "c": 2, "d": 7}
    assert set(arms.evened(["a"], list("abcd"), 6, generator, sizes)) == {"a", "c"}
    assert arms.evened(["a", "b", "c"], list("abcd"), 7, generator, sizes) == ["a", "b"]
    assert arms.evened(["d"], list("abcd"), 6, generator, sizes) == ["d"]
    assert arms.evened(["a", "b"], list("abcd"), 9, generator, None) == ["a", "b"]


def test_clusters_have_their_shares_by_largest_remainders():
    assert arms.quotas([6, 3, 3], 5) == [3, 1, 1]
    assert arms.quotas([5, 4, 3], 4) == [2, 1, 1]
    number = dict(zip(IDS, [-1] * 3 + [0] * 5 + [1] * 4, strict=True))
    found = arms.clusters(IDS, number, 4, 1)
    assert np.unique([number[name] for name in found], return_counts=True)[1].tolist() == [1, 2, 1]


def test_trusted_leaves_out_the_most_suspicious():
    scores = np.concatenate([[np.nan], np.linspace(0, 1, 12)[1:]])
    assert set(arms.trusted(IDS, scores, 9, 0.25, 1)) == set("abcdefghi")
    # 0.3 * 12 is 3.6, of which 3 go
    assert set(arms.trusted(IDS, scores, 9, 0.3, 1)) == set("abcdefghi")
    with pytest.raises(DataError, match="^the arm trusted has 9 rows to take 10 from: lower --fraction"):
        arms.trusted(IDS, scores, 10, 0.3, 1)


def test_a_draw_is_even_and_changes_with_its_seed():
    counts = {name: 0 for name in IDS}
    for seed in range(600):
        for name in arms.drawn("random", IDS, 4, np.random.default_rng(seed)):
            counts[name] += 1
    assert all(150 < count < 250 for count in counts.values())  # 200 expected, standard deviation 11.5


def test_the_order_of_the_rows_changes_nothing():
    generator = np.random.default_rng(0)
    ids, values = [f"r{row}" for row in range(300)], generator.integers(0, 9, 300).astype(float)
    order, number = generator.permutation(300), {f"r{row}": row % 7 - 1 for row in range(300)}
    turned = [ids[row] for row in order]
    for name, end in (("low", "low"), ("high", "high")):
        assert arms.by_metric(name, ids, values, 99, end) == arms.by_metric(name, turned, values[order], 99, end)
    assert arms.coverage(ids, values, 99, 0.1, 3) == arms.coverage(turned, values[order], 99, 0.1, 3)
    assert arms.clusters(ids, number, 99, 3) == arms.clusters(turned, number, 99, 3)
    assert arms.trusted(ids, values, 99, 0.1, 3) == arms.trusted(turned, values[order], 99, 0.1, 3)
