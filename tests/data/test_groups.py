"""Groups of rows: the file of an audit there and back, what it refuses, and that held-out rows keep groups whole."""

import hashlib

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamap.data import groups
from datamap.data.examples import Examples, grouped, hold_out
from datamap.errors import DataError
from datamap.files import manifests
from tests.audits import rows_of

ODD = ["NA", "null", "0012", "12", "", "a,b", "two\nlines", 'a "quoted" one', "1e5", "True", "\r", "é\U0001f600", " x "]
AGAIN = "give the rows.csv of a finished run of audit_dataset.py, or run it again."


def test_rows_come_back_as_they_were_whatever_their_ids_say(tmp_path):
    frame = pd.DataFrame(
        {"group": range(2 * len(ODD)), "id": ODD * 2, "split": ["train"] * len(ODD) + ["NA"] * len(ODD)}
    )
    frame["level"] = [groups.LEVELS[number % len(groups.LEVELS)] for number in range(len(frame))]
    groups.write_rows(tmp_path, frame)
    back = groups.read_rows(tmp_path / "rows.csv")
    assert list(back.columns) == ["id", "split", "level", "group"]
    for name in back:
        assert back[name].tolist() == frame[name].tolist()
    assert groups.groups_of(tmp_path / "rows.csv", "NA") == dict(zip(ODD, range(len(ODD), 2 * len(ODD)), strict=True))


def test_levels_are_those_of_an_audit_the_strongest_first():
    assert groups.LEVELS == ("exact", "normalised", "answer", "context", "contained", "template", "none")


BAD = {
    "no table": ("", "cannot be read (No columns to parse from file)"),
    "no level": ("id,split,group\na,train,0\n", "cannot be read (it has no column level)"),
    "no group": ("id,split,level\na,train,none\n", "has no column group"),
    "a word": ("a,train,none,0\nb,train,none,x\n", "cannot be read ('x' in row 2 of the column group is no number)"),
    "twice": ("a,train,none,0\na,dev,none,0\na,train,none,1\n", "has the id a in row 3, which its split has twice"),
    "a level": (
        "a,train,same,0\n",
        "has the level same in row 1, which is none of exact, normalised, answer, context, contained, template, none",
    ),
    "below 0": ("a,train,none,0\nb,train,none,-1\n", "has the group -1 in row 2, which is no whole number from 0 on"),
    "a half": ("a,train,none,0.5\n", "has the group 0.5 in row 1, which is no whole number from 0 on"),
    "empty": ("a,train,none,0\nb,train,none,\n", "has the group nan in row 2, which is no whole number from 0 on"),
    "a truth value": ("a,train,none,True\n", "has the group True in row 1, which is no whole number from 0 on"),
    "infinite": ("a,train,none,inf\n", "has the group inf in row 1, which is no whole number from 0 on"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_none_is_refused_with_the_value_and_the_place(name, tmp_path):
    text, sentence = BAD[name]
    path = tmp_path / "rows.csv"
    path.write_text(text if text.startswith("id") or not text else f"id,split,level,group\n{text}", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        groups.read_rows(path)
    assert str(caught.value) == f"{path} {sentence}: {AGAIN}"


def test_a_missing_file_and_a_directory_are_refused(tmp_path):
    for path in (tmp_path / "gone.csv", tmp_path):
        with pytest.raises(DataError) as caught:
            groups.read_rows(path)
        assert str(caught.value).startswith(f"{path} cannot be read ([Errno ")
        assert str(caught.value).endswith(AGAIN)


def test_a_split_that_the_file_lacks_is_refused_with_those_that_it_has(tmp_path):
    path = rows_of(tmp_path, {"a": 0, "b": 1}, split="train", more={"a": 0}, other="dev")
    assert groups.groups_of(path, "dev") == {"a": 0}
    with pytest.raises(DataError) as caught:
        groups.groups_of(path, "test")
    assert str(caught.value) == (
        f"{path} has no row of the split test (its splits: train, dev): give the rows.csv of an audit of that split."
    )


def qa_examples(texts):
    """Rows of (context, question), whose ids are "row 0" and so on."""
    rows = [{"id": f"row {n}", "context": context, "question": asked} for n, (context, asked) in enumerate(texts)]
    problems = pd.DataFrame(columns=["id", "problem", "action", "before", "after", "split"])
    return Examples(pd.DataFrame(rows), problems, "notes", "train")


def test_every_row_has_to_be_in_the_file_and_others_are_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    whole = qa_examples([("a", "?"), ("b", "?"), ("c", "?")])
    path = rows_of(tmp_path, {"row 1": 4})
    with pytest.raises(DataError) as caught:
        grouped(whole, str(path))
    assert str(caught.value) == (
        f"--groups {path} lacks 2 of the 3 rows of notes, split train (row 0 is the first): run audit_dataset.py on "
        "these data."
    )
    path = rows_of(tmp_path, {"row 1": 4, "left out": 4, "row 0": 4, "row 2": 0})
    found = grouped(whole, str(path)).grouping
    assert found == groups.Grouping({"row 0": 4, "row 1": 4, "row 2": 0}, manifests.file_hash(path))
    assert f"The 3 rows of notes, split train lie in 2 groups of {path}, which has 1 more rows" in caplog.text
    assert "rows.csv has no manifest.json beside it, so its audit may be unfinished." in caplog.text
    assert grouped(whole, None) is whole


def hash_of(texts):
    digest = hashlib.sha256()
    for text in sorted(set(texts)):
        digest.update(len(text.encode()).to_bytes(8, "big") + text.encode())
    return digest.hexdigest()


def held_out_by_hand(texts, numbers, fraction):
    """The rows of whole groups in the order of the hash of all their texts, as long as they fit; one at least."""
    members = {}
    for row, number in enumerate(numbers):
        members.setdefault(number, []).append(row)
    order = sorted(
        members.values(), key=lambda rows: (hash_of([t for row in rows for t in texts[row]]), f"row {rows[0]}")
    )
    taken = []
    for rows in order[:-1]:
        if not taken or len(taken) + len(rows) <= fraction * len(texts):
            taken += rows
    return {f"row {row}" for row in taken}


TEXTS = st.tuples(st.sampled_from("abcd"), st.text("xyz", max_size=3))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(TEXTS, st.integers(0, 6)), min_size=2, max_size=10).filter(
        lambda rows: len({n for _, n in rows}) > 1
    ),
    st.floats(0.05, 0.95),
    st.randoms(),
)
def test_held_out_are_whole_groups_whatever_the_order_of_rows_and_the_numbers(rows, fraction, random):
    texts, numbers = [text for text, _ in rows], [number for _, number in rows]
    whole = qa_examples(texts)
    ids = whole.frame["id"].tolist()
    first = groups.Grouping(dict(zip(ids, numbers, strict=True)), "0")
    rest, held_out = hold_out(whole.replaced(whole.frame, grouping=first), fraction)
    assert set(held_out.frame["id"]) == held_out_by_hand(texts, numbers, fraction)
    assert sorted([*rest.frame["id"], *held_out.frame["id"]]) == sorted(ids)
    assert {first.of_id[i] for i in rest.frame["id"]}.isdisjoint({first.of_id[i] for i in held_out.frame["id"]})
    assert rest.grouping == held_out.grouping == first
    renamed = dict(zip(range(7), random.sample(range(100), 7), strict=True))
    again = groups.Grouping({name: renamed[number] for name, number in first.of_id.items()}, "1")
    shuffled = whole.frame.iloc[random.sample(range(len(ids)), len(ids))]
    assert set(hold_out(whole.replaced(shuffled, grouping=again), fraction)[1].frame["id"]) == set(held_out.frame["id"])


def test_groups_take_the_place_of_contexts():
    """One context may be cut, and two may be joined."""
    whole = qa_examples([("a", "1"), ("a", "2"), ("b", "3"), ("b", "4")])
    grouping = groups.Grouping({"row 0": 0, "row 1": 1, "row 2": 0, "row 3": 1}, "0")
    held_out = hold_out(whole.replaced(whole.frame, grouping=grouping), 0.5)[1]
    assert set(held_out.frame["id"]) in ({"row 0", "row 2"}, {"row 1", "row 3"})
    assert set(hold_out(whole, 0.5)[1].frame["id"]) in ({"row 0", "row 1"}, {"row 2", "row 3"})
    alone = groups.Grouping(dict.fromkeys(grouping.of_id, 3), "0")
    with pytest.raises(DataError) as caught:
        hold_out(whole.replaced(whole.frame, grouping=alone), 0.5)
    assert str(caught.value) == (
        "notes: all rows share one group of --groups, so none can be held out: pass --eval_dataset."
    )
