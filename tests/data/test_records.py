"""Raw rows of every shape become one canonical frame, with ids that depend on nothing but the row."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamap import errors
from datamap.data import cells, records
from tests.rows import raw_frame

CONTEXT = "Takes aspirin daily, and aspirin at night."
ONE = {"text": ["aspirin"], "answer_start": [6]}
TWO = {"text": ["aspirin", "daily"], "answer_start": [6, 14]}


def qa_row(answers, **others):
    return {"context": CONTEXT, "question": "What?", "answers": answers} | others


def content_id(*content):
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:16]


def one_answer(answers):
    frame, problems = records.canonical_qa(raw_frame(qa_row(answers)), "x")
    assert problems.empty
    return frame["answers"][0]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (ONE, ONE),
        (TWO, TWO),
        ({"Text": ["aspirin"], "ANSWER_START": [6]}, ONE),
        ({"text": "aspirin", "answer_start": 6}, ONE),
        ({"text": ["aspirin"], "answer_start": 6}, ONE),
        ({"text": "aspirin", "answer_start": "6"}, ONE),
        ({"text": ["aspirin"], "answer_start": [6.0]}, ONE),
        ({"text": np.array(["aspirin", "daily"], dtype=object), "answer_start": np.array([6, 14])}, TWO),
        ([{"text": "aspirin", "answer_start": 6}, {"text": "daily", "answer_start": 14}], TWO),
        (np.array([{"text": "aspirin", "answer_start": 6}, {"text": "daily", "answer_start": 14}]), TWO),
        ([{"text": ["aspirin"], "answer_start": [6]}], ONE),
        ({"text": ["aspirin"], "answer_start": None}, {"text": ["aspirin"], "answer_start": [-1]}),
        ({"text": ["aspirin"]}, {"text": ["aspirin"], "answer_start": [-1]}),
        ({"text": ["a", "b"], "answer_start": [3, None]}, {"text": ["a", "b"], "answer_start": [3, -1]}),
        (["aspirin", "daily"], {"text": ["aspirin", "daily"], "answer_start": [-1, -1]}),
        ({"text": [308], "answer_start": [0]}, {"text": ["308"], "answer_start": [0]}),
        ({"text": [None], "answer_start": [5]}, {"text": [""], "answer_start": [5]}),
        ({"text": [""], "answer_start": [0]}, {"text": [""], "answer_start": [0]}),
        (ONE | {"answer_end": [13]}, ONE | {"answer_end": [13]}),
        (
            [{"text": "a", "answer_start": 0, "answer_end": 1}, {"text": "b", "answer_start": 4}],
            {"text": ["a", "b"], "answer_start": [0, 4], "answer_end": [1, -1]},
        ),
        ("[]", {"text": [], "answer_start": []}),
        (json.dumps(TWO), TWO),
        (str(TWO), TWO),
        ('"aspirin"', {"text": ["aspirin"], "answer_start": [-1]}),
        ("{'text': array(['aspirin', 'array(1)'],\n      dtype=object), 'answer_start': array([6, 9])}",
         {"text": ["aspirin", "array(1)"], "answer_start": [6, 9]}),
        ("[{'text': 'aspirin', 'answer_start': nan}]", {"text": ["aspirin"], "answer_start": [-1]}),
    ],
)  # fmt: skip
def test_every_shape_of_answers_becomes_the_canonical_one(answers, expected):
    assert one_answer(answers) == expected


@pytest.mark.parametrize(
    "answers",
    [None, float("nan"), "", " ", "null", "None", [], {}, {"text": [], "answer_start": []}, np.array([]), [{}]]
    + [{"text": None, "answer_start": None}, "{'text': [], 'answer_start': []}"],
)
def test_no_answers_are_no_problem(answers):
    assert one_answer(answers) == {"text": [], "answer_start": []}


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ({"text": ["a", "b"], "answer_start": [1]}, "answer lists differ in length"),
        ({"text": ["a"], "answer_start": []}, "answer lists differ in length"),
        ({"text": ["a"], "answer_start": [1], "answer_end": [2, 3]}, "answer lists differ in length"),
        ({"text": ["a"], "answer_start": [1.5]}, "answers cannot be read"),
        ({"text": ["a"], "answer_start": [True]}, "answers cannot be read"),
        ({"text": ["a"], "answer_start": [float("inf")]}, "answers cannot be read"),
        ({"text": ["a"], "answer_start": ["six"]}, "answers cannot be read"),
        ({"text": [{"a": 1}], "answer_start": [1]}, "answers cannot be read"),
        ({"answer": ["a"]}, "answers cannot be read"),
        ("{'text': ['a'", "answers cannot be read"),
        ('["aspirin", ', "answers cannot be read"),
        ("array(['aspirin'", "answers cannot be read"),
        ("{'texts': ['aspirin']}", "answers cannot be read"),
        ({"text": ["a"], "answer_start": "[six]"}, "answers cannot be read"),
        ({"text": ["a"], "answer_start": ["9" * 30]}, "answers cannot be read"),
    ],
)
def test_unreadable_answers_are_listed_and_the_row_left_out(answers, problem):
    raw = raw_frame(qa_row(answers, id="bad"), qa_row(ONE, id="good"))
    frame, problems = records.canonical_qa(raw, "x")
    assert list(frame["id"]) == ["good"]
    assert problems.drop(columns="before").to_dict("records") == [
        {"id": "bad", "problem": problem, "action": "left out", "after": ""}
    ]
    assert problems["before"][0] == " ".join(str(answers).split())
    with pytest.raises(errors.DataError, match=f"my file: no row can be used; {problem}"):
        records.canonical_qa(raw.iloc[:1], "my file")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("Paris", "Paris"),
        (20, "20"),
        ("20", "20"),
        ("1e5 units", "1e5 units"),
        ('"quoted"', '"quoted"'),
        ('"Daily"', "Daily"),
        ("(1)", "(1)"),
        ("[1]", "[1]"),
        ("[__import__('os').getcwd()]", "[__import__('os').getcwd()]"),
        ("[**2101-3-4**]", "[**2101-3-4**]"),
        ("{pending}", "{pending}"),
        ("{5}", "{5}"),
        ("[True]", "[True]"),
        ('"unfinished', '"unfinished'),
        ("a, b", "a, b"),
    ],
)
def test_a_scalar_is_one_answer(answer, text):
    assert one_answer(answer) == {"text": [text], "answer_start": [-1]}


@pytest.mark.parametrize("text_column", ["answer_text", "Answer"])
def test_flat_columns_of_csv(text_column):
    def row(text, start):
        return {"Context": CONTEXT, "QUESTION": "What?", text_column: text, "Answer_Start": start, "answer_end": ""}

    raw = raw_frame(row("aspirin", "6"), row("daily", ""), row("", ""), row("null", "3"), row("", "4"))
    frame, problems = records.canonical_qa(raw, "x")
    assert problems.empty
    assert [answers["text"] for answers in frame["answers"]] == [["aspirin"], ["daily"], [], ["null"], [""]]
    assert [answers["answer_start"] for answers in frame["answers"]] == [[6], [-1], [], [3], [4]]
    assert list(frame.columns) == ["id", "context", "question", "answers", "usable_for_training"]


def test_a_single_answer_column_may_hold_texts_or_whole_answers():
    texts = raw_frame(*[{"context": CONTEXT, "question": "?", "answer": text} for text in ("[1] aspirin", "", " ")])
    frame, _ = records.canonical_qa(texts, "x")
    assert [answers["text"] for answers in frame["answers"]] == [["[1] aspirin"], [], []]
    whole = raw_frame({"context": CONTEXT, "question": "?", "answer": {"text": "aspirin", "answer_start": 6}})
    assert records.canonical_qa(whole, "x")[0]["answers"][0] == ONE


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("context", "column context is missing; found question, answers, expected context, question"),
        ("question", "column question is missing; found context, answers"),
        ("answers", "column answers is missing; found context, question, expected context, question, answers"),
    ],
)
def test_missing_columns_are_named_with_those_found(missing, sentence):
    with pytest.raises(errors.DataError, match=f"^my file: the {sentence}"):
        records.canonical_qa(raw_frame(qa_row(ONE)).drop(columns=missing), "my file")


def test_columns_that_differ_only_by_case_clash():
    with pytest.raises(errors.DataError, match="'context' and 'Context' differ only by case"):
        records.canonical_qa(raw_frame(qa_row(ONE, Context="c")), "x")


def test_a_context_that_is_a_list_is_refused():
    with pytest.raises(errors.DataError, match="the context of row 2 is not text but list"):
        records.canonical_qa(raw_frame(qa_row(ONE), qa_row(ONE) | {"context": ["a", "b"]}), "x")


def test_missing_texts_become_empty_and_numbers_text():
    raw = raw_frame(qa_row(ONE, id="1") | {"context": None, "question": 5}, qa_row(ONE, id="2"))
    frame, problems = records.canonical_qa(raw, "x")
    assert (frame["context"][0], frame["question"][0], len(problems)) == ("", "5", 0)


def test_equal_contexts_are_one_object():
    raw = raw_frame(*(qa_row(ONE) | {"context": "".join([CONTEXT, "!"])} for _ in range(3)))
    assert len({id(context) for context in records.canonical_qa(raw, "x")[0]["context"]}) == 1


def test_half_a_character_is_replaced_in_place_and_listed():
    raw = raw_frame(qa_row({"text": ["b\ud83d"], "answer_start": [1]}, id="1") | {"context": "ab\ud83d é"})
    frame, problems = records.canonical_qa(raw, "x")
    assert frame["context"][0] == "ab\ufffd é"
    assert frame["answers"][0] == {"text": ["b\ufffd"], "answer_start": [1]}
    assert problems[["id", "problem"]].values.tolist() == [["1", "half a character"]]


def test_impossible_questions_lose_their_answers():
    flags = [True, True, False, "true", "False", 1, None]
    raw = raw_frame(*(qa_row(None if n == 1 else ONE, id=n, is_impossible=flag) for n, flag in enumerate(flags)))
    frame, problems = records.canonical_qa(raw, "x")
    assert [len(answers["text"]) for answers in frame["answers"]] == [0, 0, 1, 0, 1, 0, 1]
    assert list(problems["id"]) == ["0", "3", "5"]
    assert problems.iloc[0].to_list() == [
        "0", "impossible question with answers", "answers dropped", "['aspirin']", "",
    ]  # fmt: skip
    assert list(frame["is_impossible"]) == flags


@pytest.mark.parametrize("flag", [True, 1, 1.0, "1", "1.0", "TRUE", " true ", "Yes", "y", "T"])
def test_a_question_is_marked_impossible_in_any_spelling(flag):
    rows = [qa_row([], id="marked", is_impossible=flag), qa_row(ONE, id="not", is_impossible="no")]
    frame, problems = records.canonical_qa(raw_frame(*rows), "x")
    assert (list(frame["id"]), len(problems)) == (["marked", "not"], 0)


OPEN = ["no answer, yet not marked impossible", "left out", "", ""]


@pytest.mark.parametrize("nothing", [None, [], "[]", "", {"text": [], "answer_start": []}, {"text": [" "]}])
@pytest.mark.parametrize("flag", [False, "false", 0, None, ""])
def test_a_question_without_answers_that_is_not_marked_is_left_out_and_listed(nothing, flag, caplog):
    rows = [
        qa_row(nothing, id="open", is_impossible=flag),
        qa_row(nothing, id="impossible", is_impossible=True),
        qa_row(ONE, id="answered", is_impossible=False),
    ]
    with caplog.at_level("INFO"):
        frame, problems = records.canonical_qa(raw_frame(*rows), "x")
    assert list(frame["id"]) == ["impossible", "answered"]
    assert ["open", *OPEN] in problems.values.tolist()
    assert "unanswerable" not in caplog.text


def test_where_no_column_marks_them_empty_answers_mean_unanswerable_and_that_is_said(caplog):
    rows = [qa_row([], id="1"), qa_row({"text": [], "answer_start": []}, id="2"), qa_row(ONE, id="3")]
    for marks in ({}, {"is_impossible": None}):
        caplog.clear()
        with caplog.at_level("INFO"):
            frame, problems = records.canonical_qa(raw_frame(*(row | marks for row in rows)), "my file")
        assert (len(frame), len(problems)) == (3, 0)
        assert caplog.messages == [
            "my file: 2 rows have no answers; without marks in a column is_impossible they count as unanswerable."
        ]
    caplog.clear()
    with caplog.at_level("INFO"):
        records.canonical_qa(raw_frame(rows[2]), "my file")
    assert caplog.messages == []


@pytest.mark.parametrize("name", ["answers", "answer"])
def test_a_row_that_lacks_the_answers_that_others_have_is_left_out_and_listed(name):
    def row(example, **answers):
        return {"id": example, "context": CONTEXT, "question": "?"} | answers

    rows = [row("open"), row("empty", **{name: []}), row("answered", **{name: "aspirin"})]
    frame, problems = records.canonical_qa(raw_frame(*rows), "x")
    assert list(frame["id"]) == ["empty", "answered"]
    assert problems.values.tolist() == [["open", *OPEN]]
    nobody, problems = records.canonical_qa(raw_frame(row("a", **{name: None}), row("b", **{name: None})), "x")
    assert (len(nobody), len(problems)) == (2, 0)


def test_own_ids_are_kept_as_text():
    own = ["0012", "null", "NA", 7, 8.0, np.int64(9), "é ", 2**60 + 1, "1.0"]
    frame, problems = records.canonical_qa(raw_frame(*(qa_row(ONE, ID=name) for name in own)), "x")
    assert list(frame["id"]) == ["0012", "null", "NA", "7", "8", "9", "é ", str(2**60 + 1), "1.0"]
    assert problems.empty


def test_rows_without_ids_get_the_hash_of_their_content():
    raw = raw_frame(qa_row(ONE), qa_row(TWO), qa_row(ONE), qa_row(ONE), qa_row([]))
    frame, problems = records.canonical_qa(raw, "x")
    first = content_id("What?", CONTEXT, ["aspirin"], [6])
    second = content_id("What?", CONTEXT, ["aspirin", "daily"], [6, 14])
    last = content_id("What?", CONTEXT, [], [])
    assert list(frame["id"]) == [first, second, f"{first}-1", f"{first}-2", last]
    assert first == "833528d13be91458"
    assert problems.empty


def test_an_id_made_from_the_content_does_not_depend_on_the_other_rows():
    rows = [qa_row(ONE) | {"question": f"{n}?"} for n in range(5)]
    everything, _ = records.canonical_qa(raw_frame(*rows), "x")
    some, _ = records.canonical_qa(raw_frame(rows[3], rows[1]), "x")
    assert list(some["id"]) == [everything["id"][3], everything["id"][1]]


def test_a_split_without_rows_gives_empty_frames():
    frame, problems = records.canonical_qa(raw_frame(qa_row(ONE, id="1", title="T")).iloc[:0], "x")
    assert (len(frame), len(problems)) == (0, 0)
    assert list(frame.columns)[:5] == ["id", "context", "question", "answers", "usable_for_training"]
    frame, problems, names = records.canonical_nli(
        raw_frame({"premise": 1, "hypothesis": 2, "label": 0})[:0], "x", None
    )
    assert (len(frame), len(problems), names) == (0, 0, ())


def test_missing_and_repeated_ids_are_replaced_and_listed():
    names = ["a", "b", "a", None, "", float("nan"), 5, "5"]
    raw = raw_frame(*(qa_row(ONE, id=name) | {"question": f"{n}?"} for n, name in enumerate(names)))
    frame, problems = records.canonical_qa(raw, "x")
    hashes = [content_id(f"{n}?", CONTEXT, ["aspirin"], [6]) for n in range(len(names))]
    assert list(frame["id"]) == [hashes[0], "b", *hashes[2:]]
    assert list(problems["problem"]) == ["duplicate id"] * 2 + ["missing id"] * 3 + ["duplicate id"] * 2
    assert list(problems["before"]) == ["a", "a", "", "", "", "5", "5"]
    assert list(problems["after"]) == list(problems["id"]) == [hashes[0], *hashes[2:]]


def test_an_id_column_without_any_id_is_as_none():
    frame, problems = records.canonical_qa(raw_frame(qa_row(ONE, id=None), qa_row(TWO, id="")), "x")
    assert problems.empty
    assert frame["id"][0] == content_id("What?", CONTEXT, ["aspirin"], [6])


def test_an_own_id_that_equals_a_hash_stays_and_the_hash_steps_aside():
    digest = content_id("What?", CONTEXT, ["aspirin"], [6])
    raw = raw_frame(qa_row(ONE, id=None), qa_row(TWO, id=digest), qa_row(ONE, id=f"{digest}-2"), qa_row(ONE, id=None))
    assert list(records.canonical_qa(raw, "x")[0]["id"]) == [f"{digest}-1", digest, f"{digest}-2", f"{digest}-3"]


def test_ids_come_before_rows_are_left_out():
    bad = qa_row({"text": ["a"], "answer_start": []})
    raw = raw_frame(bad, qa_row([]), qa_row(ONE))
    frame, problems = records.canonical_qa(raw, "x")
    empty = content_id("What?", CONTEXT, [], [])
    assert (list(problems["id"]), frame["id"][0]) == ([empty], f"{empty}-1")


def test_extra_columns_keep_their_order_and_scalars_only():
    raw = raw_frame(
        qa_row(ONE, title="T", planted=None, tags=["x"], nothing=None, meta={"a": 1}, grade=2, usable_for_training=5)
        | {"": 0},
        qa_row(ONE, title=None, planted="none", tags=None, nothing=None, meta=None, grade=3, usable_for_training=5),
    )
    frame, _ = records.canonical_qa(raw, "x")
    assert list(frame.columns)[5:] == ["title", "planted", "grade"]
    assert frame[["title", "planted", "grade"]].values.tolist() == [["T", None, 2], [None, "none", 3]]
    assert frame["usable_for_training"].tolist() == [True, True]


def test_the_raw_frame_stays_as_it_was():
    rows = [qa_row({"text": ["a"], "answer_start": [0]}, id="1", is_impossible=True), qa_row("[]", id="1")]
    raw = raw_frame(*rows)
    records.canonical_qa(raw, "x")
    assert raw["answers"].tolist() == [{"text": ["a"], "answer_start": [0]}, "[]"]
    assert raw["id"].tolist() == ["1", "1"]


ids = st.one_of(st.none(), st.sampled_from(["a", "b", "", "0012", "null"]), st.integers(0, 3), st.text(max_size=3))


@given(st.lists(st.tuples(ids, st.sampled_from("xy"), st.sampled_from([None, "a", "b"])), min_size=1))
@settings(deadline=None)
def test_final_ids_are_unique_and_own_unique_ids_survive(rows):
    raw = raw_frame(*({"id": i, "context": c, "question": "?", "answers": [a] if a else []} for i, c, a in rows))
    frame, problems = records.canonical_qa(raw, "x")
    assert frame["id"].is_unique
    assert len(frame) == len(rows)
    own = ["" if i is None else str(i) for i, _, _ in rows]
    for before, after in zip(own, frame["id"], strict=True):
        if before.strip() and own.count(before) == 1:
            assert after == cells.clean(before)
    assert set(problems["id"]) <= set(frame["id"])


def test_structured_columns_stay_only_where_the_whole_row_is_asked_for():
    raw = raw_frame(qa_row(ONE, tokens=["a", "b"], page=3))
    assert records.canonical_qa(raw, "x")[0].columns.tolist()[-2:] == ["usable_for_training", "page"]
    assert records.canonical_qa(raw, "x", whole=True)[0]["tokens"].tolist() == [["a", "b"]]
    pairs = raw_frame({"premise": "p", "hypothesis": "h", "label": "neutral", "votes": {"neutral": 3}})
    assert "votes" not in records.canonical_nli(pairs, "x", None)[0]
    assert records.canonical_nli(pairs, "x", None, whole=True)[0]["votes"].tolist() == [{"neutral": 3}]
