"""Shares by level and the figures that lead, held against a loop."""

import numpy as np
import pytest

from datamap.audit.meetings import Level, find_meetings
from datamap.audit.shares import contradictory, group_figures, leading_figures, level_shares, met_whole, shown_label
from datamap.audit.texts import normalised
from tests.audit.random_rows import meets, rows

CASES = [(seed, task, n_splits) for seed in range(15) for task in ("qa", "nli") for n_splits in (1, 2)]


def levels_met(data, at, *, across):
    """All levels, but for templates, at which a row meets another one."""
    records = data.frame.to_dict("records")
    others = [one for number, one in enumerate(records) if number != at]
    others = [one for one in others if (one["split"] != records[at]["split"]) == across]
    return {level for one in others for level in meets(records[at], one)}


@pytest.mark.parametrize(("seed", "task", "n_splits"), CASES)
def test_shares_are_counts_of_a_loop(seed, task, n_splits):
    data = rows(seed, task, n_splits)
    table = level_shares(data, find_meetings(data))
    assert table.groupby(["scope", "split"])["share"].sum().tolist() == pytest.approx(
        [1.0] * (4 if n_splits > 1 else 1)
    )
    for row in table[table["level"] == "exact"].to_dict("records"):
        mine = np.flatnonzero(data.frame["split"] == row["split"])
        met = sum("exact" in levels_met(data, at, across=row["scope"] == "across") for at in mine)
        assert (row["rows"], row["share"]) == (met, met / len(mine))


@pytest.mark.parametrize(("seed", "task", "n_splits"), CASES)
def test_leading_figures_are_those_of_a_loop(seed, task, n_splits):
    data = rows(seed, task, n_splits)
    found = leading_figures(data, find_meetings(data))
    mine = np.flatnonzero(data.frame["split"] == data.splits[-1])
    met = [levels_met(data, at, across=n_splits > 1) for at in mine]
    assert found["n_rows"] == len(mine)
    assert found["other"] == ("train" if n_splits > 1 else None)
    assert found["copies"] == pytest.approx(np.mean([bool(some & {"exact", "normalised"}) for some in met]))
    assert found["context"] == pytest.approx(np.mean(["context" in some for some in met]))


@pytest.mark.parametrize("seed", range(20))
def test_both_sentences_of_a_pair_are_looked_for_anywhere_in_the_other_split(seed):
    data = rows(seed, "nli", 2)
    sides = [data.frame[data.frame["split"] == name] for name in data.splits]
    train, dev = (
        [tuple(map(normalised, pair)) for pair in part[["premise", "hypothesis"]].to_numpy()] for part in sides
    )
    known = {sentence for pair in train for sentence in pair}
    expected = np.mean([set(pair) <= known for pair in dev])
    assert leading_figures(data, find_meetings(data))["both"] == pytest.approx(expected)


def test_a_row_is_met_whole_where_all_its_groups_are():
    level = Level(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 2, 1]))
    assert met_whole(level, np.array([1, 0, 0, 0])).tolist() == [True, False, True, False]


@pytest.mark.parametrize("seed", range(15))
def test_contradictory_rows_are_counted_as_by_a_loop(seed):
    data = rows(seed, "nli", 2)
    records, found = data.frame.to_dict("records"), contradictory(data, find_meetings(data))
    for level in ("exact", "normalised"):
        count = sum(any(level in meets(r, o) and r["label"] != o["label"] for o in records) for r in records)
        assert found["rows"][level] == count
    assert all(len({row["label"] for row in part}) > 1 for part in found["examples"])


def test_groups_and_labels_as_worked_by_hand():
    expected = {"levels": ["exact"], "n_groups": 2, "largest": 3, "largest_share": 0.75}
    assert group_figures(np.array([0, 1, 1, 1]), ["exact"]) == expected
    assert shown_label({"label": 1}, ["a", "b"]) == "b"
    assert shown_label({"answers": {"text": []}}, []) == ""
