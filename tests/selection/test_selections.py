"""Every arm against a hand-worked set of twelve rows, by rows and by whole contexts."""

import numpy as np
import pandas as pd
import pytest

from datamap.errors import DataError, UsageError
from datamap.joint.join import Dynamics
from datamap.selection import selections
from datamap.selection.units import Units, taken

IDS = list("abcdefghijk")
METRICS = pd.DataFrame(
    {
        "id": IDS,
        "region": ["easy"] * 4 + ["ambiguous"] * 4 + ["hard"] * 3,
        "confidence": [0.95, 0.9, 0.85, 0.8, 0.6, 0.55, 0.5, 0.45, 0.3, 0.2, 0.1],
        "variability": [0.01, 0.02, 0.05, 0.1, 0.4, 0.35, 0.45, 0.3, 0.2, 0.15, 0.03],
        "aum": [9.0, 8, 7, 6, 2, 1, 0, -1, -3, -5, -9],
        "loss": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1],
        "forgetting_events": pd.array([0, 0, 0, 1, 3, 2, 4, 2, 1, 0, 0], dtype="Int64"),
        "never_learnt": pd.array([False] * 9 + [True, True], dtype="boolean"),
        "num_epochs": 6,
    }
)
UNTRACKED = pd.DataFrame({"id": ["l"], "reason": ["no window"]})
ALL = [*IDS, "l"]
CLUSTERS = dict(zip(ALL, [-1] * 3 + [0] * 5 + [1] * 4, strict=True))
SUSPICION = dict(zip(ALL, np.linspace(0, 1, 12).tolist(), strict=True)) | {"a": np.nan}
CONTEXTS = dict(zip(ALL, ["p"] * 2 + ["q"] * 3 + ["r"] * 3 + ["s"] * 3 + ["q"], strict=True))


def source(contexts=None, keeps=True, **changed):
    dynamics = Dynamics(METRICS.assign(**changed), UNTRACKED, {})
    beside = {"cluster": CLUSTERS, "score": SUSPICION}
    return selections.source_of(dynamics, keeps_untracked=keeps, beside=beside, contexts=contexts)


def chosen(arm, n_rows=4, seed=1, cut=0.25, own=None, **of):
    return "".join(selections.selection(source(**of), arm, seed, n_rows, cut, own))


def drawn(names, n_rows, generator):
    return "".join(names[place] for place in generator.permutation(len(names))[:n_rows])


RANKED = {
    "easy": "abcd",
    "ambiguous": "gefh",
    "hard": "kjih",
    "aum": "kjih",
    "full": "abcdefghijkl",
    "weighted": "abcdefghijkl",
    "permuted": "abcdefghijkl",
}


@pytest.mark.parametrize("arm", RANKED)
def test_arms_that_no_seed_draws(arm):
    assert chosen(arm) == RANKED[arm] == chosen(arm, seed=2)


def test_never_learnt_comes_before_most_forgotten():
    found = chosen("forgotten", 5)
    assert (set(found[:2]), found[2:4], found[4] in "fh") == (set("jk"), "ge", True)


def test_draws_are_the_seeds_own():
    for seed in (1, 2):
        one = np.random.default_rng
        assert chosen("random", seed=seed) == drawn("abcdefghijkl", 4, one(seed))
        assert chosen("random", seed=seed, keeps=False) == drawn("abcdefghijk", 4, one(seed))
        # 3 of 12 are left out: j, k, l; a without a score counts as least suspicious
        assert chosen("trusted", seed=seed) == drawn("abcdefghi", 4, one(seed))
        # of 12 rows 3 are noise, 5 of cluster 0, 4 of cluster 1; 4 rows are 1 + 1.67 + 1.33, the rest goes to cluster 0
        generator = one(seed)
        parts = [drawn("abc", 1, generator), drawn("defgh", 2, generator), drawn("ijkl", 1, generator)]
        assert chosen("clusters", seed=seed) == "".join(parts)
    assert chosen("random", seed=1) != chosen("random", seed=2)


def test_coverage_by_hand():
    # cut 0.1 of 11 leaves out 1, k. The other ten lie in ten of the fifty strata, -5 to 9 in steps of 0.28; the forty
    # empty ones and the six lowest come first and get floor(4 / strata left) = 0, the four highest one row each.
    assert chosen("coverage", cut=0.1) == "dcba"
    # of four rows with one AUM a stratum has four: it comes last and gives what is left; j, i and a are alone
    alike = [9.0, 4, 4, 4, 4, 4, 4, 4, -3, -5, -9]
    found = chosen("coverage", 5, cut=0.1, aum=alike)
    assert (set(found[:3]), len(set(found[3:]) & set("bcdefgh"))) == (set("aij"), 2)


def test_any_column_at_either_end():
    assert selections.metric_arm("loss", "low", source()) == "loss_low"
    assert chosen("loss_low", own=("loss", "low")) == "abcd"
    assert chosen("loss_high", own=("loss", "high")) == "kjih"
    sentence = "^--metric region is none that tells rows of this recording apart: aum, confidence, forgetting_events, "
    with pytest.raises(UsageError, match=sentence):
        selections.metric_arm("region", "low", source())
    with pytest.raises(UsageError, match="^--metric num_epochs is none"):
        selections.metric_arm("num_epochs", "low", source())


def test_whole_contexts_by_the_mean_over_their_rows():
    # contexts p (ab), q (cde, and l without metrics), r (fgh), s (ijk); mean confidence 0.925, 0.75, 0.5, 0.2
    contexts = {"contexts": CONTEXTS}
    assert chosen("easy", 5, **contexts) == "abcde"
    assert chosen("easy", 4, **contexts) == "abcde"  # 2 rows are 2 off, 5 are 1 off
    assert chosen("hard", 4, **contexts) == "ijk"  # 3 are as near as 5: no more are taken
    assert chosen("hard", 6, **contexts) == "ijkfgh"
    assert set(chosen("full", **contexts)) == set(ALL)
    for arm in ("random", "clusters", "trusted", "coverage", "forgotten", "aum"):
        for seed in range(5):
            found = chosen(arm, 5, seed=seed, cut=0.1, **contexts)
            there = {CONTEXTS[name] for name in found}
            rows = ALL if arm in ("random", "clusters", "trusted") else IDS
            assert set(found) == {name for name in rows if CONTEXTS[name] in there}, (arm, seed)
            assert abs(len(found) - 5) <= 1


def test_a_contexts_cluster_is_that_of_most_of_its_rows():
    units = Units.of_contexts(ALL, CONTEXTS)
    assert units.names == ["a", "c", "f", "i"]
    assert units.members["c"] == ["c", "d", "e", "l"]
    assert units.commonest(CLUSTERS) == {"a": -1, "c": 0, "f": 0, "i": 1}
    assert units.commonest(dict.fromkeys(ALL, 0) | {"a": 5}) == {"a": 0, "c": 0, "f": 0, "i": 0}  # of equals the lowest
    assert units.means(SUSPICION | {"i": np.nan, "j": np.nan, "k": np.nan})[[0, 3]].tolist() == pytest.approx(
        [1 / 11, np.nan], nan_ok=True
    )


def test_units_are_taken_as_near_to_the_size_as_they_allow():
    sizes = {"a": 26, "b": 26, "c": 26, "d": 26, "e": 5}
    assert taken("abcde", 100, sizes) == list("abce") + ["d"]  # 83 are 17 off, 109 are 9 off
    assert taken("abcde", 90, sizes) == list("abce")
    assert taken("abcde", 0, sizes) == []
    assert taken("abcde", 3, None) == list("abc")


def test_ids_that_no_list_can_hold_are_refused():
    for name in ("a\nb", "a\r"):
        with pytest.raises(DataError, match="^the id .* holds a line break, so that no list of ids can name it"):
            selections.refuse_line_breaks(["x", name])
    selections.refuse_line_breaks(["a\rb", "c d"])


def test_tables_of_other_data_are_refused():
    table = pd.DataFrame({"id": ["a", "b"], "score": [0.1, 0.2]})
    assert selections.by_id(table, "score", ["b"], "--x") == {"a": 0.1, "b": 0.2}
    told = "^--x lacks 2 of the 3 ids of the recording .c is the first.: make it from the same data.$"
    with pytest.raises(DataError, match=told):
        selections.by_id(table, "score", ["a", "c", "d"], "--x")
