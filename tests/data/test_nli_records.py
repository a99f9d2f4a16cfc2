"""Raw NLI rows become one canonical frame: both sides, the label among the names, ids."""

import hashlib
import json

import numpy as np
import pytest

from datamap import errors
from datamap.data import records
from tests.rows import raw_frame


def content_id(*content):
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:16]


def nli_row(label, **others):
    return {"premise": "p", "hypothesis": "h", "label": label} | others


@pytest.mark.parametrize(
    ("first", "second", "label"),
    [
        ("premise", "hypothesis", "label"),
        ("Sentence1", "sentence2", "gold_label"),
        ("text1", "text2", "label"),
        ("sentence", "question", "label"),
    ],
)
def test_the_two_sides_of_an_nli_row(first, second, label):
    raw = raw_frame({second: "the second", first: "the first", label: 1, "idx": 4})
    frame, _, names = records.canonical_nli(raw, "x", None)
    assert frame.to_dict("records") == [
        {
            "id": content_id("the first", "the second", 1),
            "premise": "the first",
            "hypothesis": "the second",
            "label": 1,
            "usable_for_training": True,
            "idx": 4,
        }
    ]
    assert names == ("0", "1")


@pytest.mark.parametrize(
    ("labels", "given_names", "indices", "names"),
    [
        ([0, 2, 1], None, [0, 2, 1], ("0", "1", "2")),
        (["0", "2", " 1"], None, [0, 2, 1], ("0", "1", "2")),
        ([0.0, np.int64(2)], None, [0, 2], ("0", "1", "2")),
        (["contradiction", "Neutral", "entailment"], None, [2, 1, 0], ("entailment", "neutral", "contradiction")),
        (["contradiction", "entailment"], None, [1, 0], ("entailment", "contradiction")),
        (["not_entailment", "entailment"], None, [1, 0], ("entailment", "not_entailment")),
        (["Yes", "no", "yes"], None, [1, 0, 1], ("no", "yes")),
        ([1, 2, 3, 1], None, [0, 1, 2, 0], ("1", "2", "3")),
        (["3", "1", "2", "4"], None, [2, 0, 1, 3], ("1", "2", "3", "4")),
        ([1, 2], None, [1, 2], ("0", "1", "2")),  # two of three, or two from 1: nobody can tell
        ([1, 3], None, [1, 3], ("0", "1", "2", "3")),
        ([0, 1, 2, 3], None, [0, 1, 2, 3], ("0", "1", "2", "3")),
        ([0, 2, 1], ("e", "n", "c"), [0, 2, 1], ("e", "n", "c")),
        (["N", "c", "2"], ("e", "n", "c"), [1, 2, 2], ("e", "n", "c")),
        ([3, 1], ("1", "2", "3"), [2, 0], ("1", "2", "3")),
        (["entailment"], ("Neutral", "ENTAILMENT"), [1], ("Neutral", "ENTAILMENT")),
    ],
)
def test_labels_become_places_among_the_names(labels, given_names, indices, names):
    frame, problems, found = records.canonical_nli(raw_frame(*map(nli_row, labels)), "x", given_names)
    assert (list(frame["label"]), found, len(problems)) == (indices, names, 0)
    assert frame["label"].dtype == int


@pytest.mark.parametrize("label", [-1, -1.0, "-1", "-", "", None, float("nan")])
def test_rows_without_a_gold_label_are_left_out_and_listed(label):
    raw = raw_frame(nli_row(label, id="none"), nli_row(1, id="one"))
    frame, problems, names = records.canonical_nli(raw, "x", None)
    assert (list(frame["id"]), names) == (["one"], ("0", "1"))
    assert problems[["id", "problem", "action", "after"]].values.tolist() == [["none", "no gold label", "left out", ""]]
    with pytest.raises(errors.DataError, match="x: none of the 1 rows has a gold label"):
        records.canonical_nli(raw.iloc[:1], "x", None)


@pytest.mark.parametrize("label", [3, "3", "maybe", -2, 1.5])
def test_a_label_outside_the_names_is_listed(label):
    frame, problems, _ = records.canonical_nli(raw_frame(nli_row(label), nli_row(0)), "x", ("e", "n", "c"))
    assert list(frame["label"]) == [0]
    assert problems[["problem", "action", "before"]].values.tolist() == [["unknown label", "left out", str(label)]]


def test_a_number_beside_numbers_for_names_is_a_name():
    frame, problems, _ = records.canonical_nli(raw_frame(nli_row(0), nli_row(1)), "x", ("1", "2"))
    assert (list(frame["label"]), list(problems["before"])) == ([0], ["0"])


def test_numbers_that_are_no_classes_are_refused():
    with pytest.raises(errors.DataError, match="more than 100 classes .*10000000"):
        records.canonical_nli(raw_frame(nli_row(10**12), nli_row(0)), "x", None)
    with pytest.raises(errors.DataError, match="more than 100 classes"):
        records.canonical_nli(raw_frame(nli_row(100), nli_row(0)), "x", None)
    with pytest.raises(errors.DataError, match="more than 100 classes"):
        records.canonical_nli(raw_frame(*(nli_row(f"label {n}") for n in range(101))), "x", None)


def test_a_hundred_classes_are_taken():
    _, _, names = records.canonical_nli(raw_frame(nli_row(99), nli_row(0)), "x", None)
    assert names == tuple(str(number) for number in range(100))
    _, _, names = records.canonical_nli(raw_frame(*(nli_row(n) for n in range(1, 101))), "x", None)
    assert names == tuple(str(number) for number in range(1, 101))
    _, _, names = records.canonical_nli(raw_frame(*(nli_row(f"label {n}") for n in range(100))), "x", None)
    assert len(names) == 100


def test_labels_from_1_and_classes_without_rows_are_said(caplog):
    with caplog.at_level("INFO"):
        records.canonical_nli(raw_frame(*(nli_row(n, id=n) for n in (1, 2, 3))), "my file", None)
    assert caplog.messages == ["my file: the labels are the numbers from 1 to 3, which are read as 3 classes."]
    caplog.clear()
    records.canonical_nli(raw_frame(*(nli_row(n, id=n) for n in (1, 3))), "my file", None)
    assert caplog.messages == ["my file: no row has the label 0, 2, which counts as a class all the same."]
    caplog.clear()
    records.canonical_nli(raw_frame(*(nli_row(n, id=n) for n in (0, 1, 2))), "my file", None)
    assert caplog.messages == []


def test_nli_ids_cover_the_label_as_published_and_come_first():
    raw = raw_frame(nli_row(-1), nli_row(0), nli_row("0"), nli_row("Neutral"))
    frame, problems, _ = records.canonical_nli(raw, "x", ("neutral", "other"))
    zero = content_id("p", "h", 0)
    assert list(frame["id"]) == [zero, f"{zero}-1", content_id("p", "h", "Neutral")]
    assert list(problems["id"]) == [content_id("p", "h", None)]


@pytest.mark.parametrize("missing", ["premise", "label"])
def test_missing_nli_columns_are_named(missing):
    with pytest.raises(errors.DataError, match=f"column {missing} is missing; .* expected premise, hypothesis, label"):
        records.canonical_nli(raw_frame(nli_row(0)).drop(columns=missing), "x", None)
