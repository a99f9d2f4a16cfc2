"""Levels and groups of rows, held against a loop over all pairs."""

import dataclasses

import numpy as np
import pytest

from datamap.audit.meetings import MEETINGS, find_meetings, joined_labels, refuse_unknown_levels
from datamap.errors import DataError
from tests.audit.random_rows import meets, rows

CASES = [(seed, task, n_splits) for seed in range(6) for task in ("qa", "nli") for n_splits in (1, 2)]


def without_templates(meetings):
    return dataclasses.replace(meetings, levels={n: v for n, v in meetings.levels.items() if n != "template"})


def by_loop(data, *, across):
    records, found = data.frame.to_dict("records"), []
    for at, row in enumerate(records):
        others = [one for number, one in enumerate(records) if number != at]
        others = [one for one in others if (one["split"] != row["split"]) == across]
        levels = [level for one in others for level in meets(row, one)]
        found.append(min(levels, key=MEETINGS.index, default="none"))
    return found


@pytest.mark.parametrize(("seed", "task", "n_splits"), CASES)
def test_the_strongest_level_is_that_of_a_loop(seed, task, n_splits):
    data = rows(seed, task, n_splits)
    found = without_templates(find_meetings(data))
    assert found.of_rows(data.side, across=False).tolist() == by_loop(data, across=False)
    assert found.of_rows(data.side, across=True).tolist() == by_loop(data, across=True)


def united(data, levels):
    """Groups by a union-find, numbered by first appearance."""
    records = data.frame.to_dict("records")
    root = list(range(len(records)))
    for at, one in enumerate(records):
        for number in range(at):
            if set(meets(one, records[number])) & set(levels):
                root = [root[number] if mark == root[at] else mark for mark in root]
    return [list(dict.fromkeys(root)).index(mark) for mark in root]


@pytest.mark.parametrize(("seed", "task", "n_splits"), CASES)
@pytest.mark.parametrize("levels", [["exact"], ["context", "contained"], ["contained"]])
def test_groups_are_the_connected_ones(seed, task, n_splits, levels):
    data = rows(seed, task, n_splits)
    assert find_meetings(data).groups(levels, len(data.frame)).tolist() == united(data, levels)


@pytest.mark.parametrize(("seed", "task"), [(seed, task) for seed in range(6) for task in ("qa", "nli")])
def test_the_order_of_rows_changes_no_level_and_no_group(seed, task):
    data = rows(seed, task, 2)
    order = np.random.default_rng(seed).permutation(len(data.frame))
    turned = dataclasses.replace(data, frame=data.frame.iloc[order].reset_index(drop=True))
    one, other = find_meetings(data), find_meetings(turned)
    assert one.of_rows(data.side, across=True)[order].tolist() == other.of_rows(turned.side, across=True).tolist()
    groups, again = (found.groups(["context", "contained"], len(order)) for found in (one, other))
    assert ((groups[order][:, None] == groups[order]) == (again[:, None] == again)).all()


def test_a_level_that_the_task_lacks_is_named():
    with pytest.raises(DataError) as caught:
        refuse_unknown_levels(["context", "template"], rows(0, "nli", 1))
    expected = "--resplit_by template: the levels of nli are exact, normalised, context, contained."
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        (("0", "1", "2"), ("1", "2", "3"), "name their labels in two ways"),
        (("entailment", "neutral"), ("Entailment", "neutral"), "name their labels in two ways"),
        (("entailment", "neutral"), ("Entailment", "Neutral"), "name their labels in two ways"),
        (("entailment", "neutral"), ("0", "1"), "have no label in common"),
    ],
)
def test_splits_that_mean_other_things_by_a_label_are_not_compared(first, second, why):
    with pytest.raises(DataError) as caught:
        joined_labels([first, second])
    assert str(caught.value) == (
        f"the splits {why} ({', '.join(first)} and {', '.join(second)}): give two data sets with the same labels."
    )


def test_labels_of_two_splits_are_listed_once_in_the_order_of_the_first():
    assert joined_labels([("b", "a"), ("a", "c")]) == ["b", "a", "c"]
    assert joined_labels([("0", "1", "2"), ("0", "1")]) == ["0", "1", "2"]
    assert joined_labels([("Yes", "yes")]) == ["Yes", "yes"]
    assert joined_labels([(), ()]) == []
