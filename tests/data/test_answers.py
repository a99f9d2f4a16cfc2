"""Answers that look like literals, and literals of answers."""

import json

import pandas as pd
import pytest

from datamap.data import answers, records


def raw_frame(*rows):
    """Rows as `sources` gives them: every column of Python objects."""
    names = dict.fromkeys(key for row in rows for key in row)
    return pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=object) for name in names})


BRACKETS = "See [1], (2) and \"one tablet\" of {pending} on [**2101-3-4**]; np.int64(19), 'x' ['a'] (+). 3 bar, []"


@pytest.mark.parametrize(
    "text",
    ["[1]", "(2)", '"one tablet"', "{pending}", "[**2101-3-4**]", "np.int64(19)", "'x'", "['a']", "(+)", " [1] "]
    + ["(2) and", "[**2101-3-4**];"],
)
@pytest.mark.parametrize("name", ["answers", "answer", "answer_text"])
def test_a_text_that_stands_in_the_context_is_the_answer_whatever_it_looks_like(text, name):
    row = {"context": BRACKETS, "question": "?", name: text}
    for start in ({}, {"answer_start": ""}, {"answer_start": str(BRACKETS.index(text.strip()))}):
        frame, problems = records.canonical_qa(raw_frame(row | start), "x")
        stated = int(start.get("answer_start") or -1)
        assert frame["answers"][0] == {"text": [text], "answer_start": [stated]}
        assert problems.empty
    assert answers.read_answers(json.dumps([text, "3 bar"]), BRACKETS)["text"] == [text, "3 bar"]
    assert answers.read_answers([text, "3 bar"], BRACKETS)["text"] == [text, "3 bar"]


@pytest.mark.parametrize(
    ("cell", "texts", "starts"),
    [
        ("{'text': ['3 bar'], 'answer_start': [19]}", ["3 bar"], [19]),
        ("{'text': np.str_('3 bar'), 'answer_start': np.int64(19)}", ["3 bar"], [19]),
        ("{'text': array(['3 bar'], dtype='<U5'), 'answer_start': np.array([19])}", ["3 bar"], [19]),
        ("[{'text': np.str_('3 bar'), 'answer_start': np.float64(19.0)}]", ["3 bar"], [19]),
        ("[{'text': '3 bar', 'answer_start': np.nan}]", ["3 bar"], [-1]),
        ("['3 bar' 'on']", ["3 bar", "on"], [-1, -1]),
        ("{'text': ['3 bar' \n 'on'], 'answer_start': [19 40]}", ["3 bar", "on"], [19, 40]),
        ('["3 bar"]', ["3 bar"], [-1]),
        ("('3 bar', 'on')", ["3 bar", "on"], [-1, -1]),
        ("[3]", ["3"], [-1]),
        ("[1.50]", ["[1.50]"], [-1]),
        ("['absent']", ["absent"], [-1]),
        ('"One  Tablet"', ['"One  Tablet"'], [-1]),  # its quotes stand in the context, too
        ('"3 Bar"', ["3 Bar"], [-1]),
        ("(3)", ["(3)"], [-1]),  # nobody writes a number like that
        ("[]", [], []),
        ("[ ]", [], []),
        ("{}", [], []),
        ({"text": "['3 bar', 'on']", "answer_start": "[19, 40]"}, ["3 bar", "on"], [19, 40]),
        ({"text": "3 bar", "answer_start": "np.int64(19)"}, ["3 bar"], [19]),
        ({"text": "3 bar", "answer_start": "19.0"}, ["3 bar"], [19]),
        ({"text": "{'text': ['on'], 'answer_start': [4]}", "answer_start": ""}, ["on"], [4]),
        ({"text": "[]", "answer_start": str(BRACKETS.index("[]"))}, ["[]"], [BRACKETS.index("[]")]),
    ],
)
def test_what_does_not_stand_in_the_context_is_tried_as_a_literal(cell, texts, starts):
    assert answers.read_answers(cell, BRACKETS) == {"text": texts, "answer_start": starts}


def test_a_text_in_brackets_has_the_start_of_its_own_column_beside_rows_without_answers():
    def row(text, start):
        return {"context": BRACKETS, "question": "?", "answers": text, "answer_start": start}

    raw = raw_frame(row("[1]", "4"), row("[]", ""), row("{'text': ['on'], 'answer_start': [43]}", ""), row("3 bar", 85))
    frame, problems = records.canonical_qa(raw, "x")
    assert [stated["text"] for stated in frame["answers"]] == [["[1]"], [], ["on"], ["3 bar"]]
    assert [stated["answer_start"] for stated in frame["answers"]] == [[4], [], [43], [85]]
    assert problems.empty


@pytest.mark.parametrize("word", ["None", "null"])
def test_none_is_an_answer_where_the_contexts_of_all_rows_that_have_it_say_so(word):
    def read(*contexts):
        rows = [{"id": c, "context": c, "question": "?", "answers": word} for c in contexts]
        frame, problems = records.canonical_qa(raw_frame(*rows), "x")
        return [stated["text"] for stated in frame["answers"]], problems.values.tolist()

    assert read(f"Allergies: {word}.", f"{word} known") == ([[word], [word]], [])
    assert read(f"Allergies: {word}.", f"Aller{word}") == (
        [[], []],
        [[f"Allergies: {word}.", "answer reads None or null", "taken as no answer", word, ""]],
    )


def test_the_literal_of_a_number_has_its_digits_and_a_truth_value_is_none():
    assert answers.read_answers("[1.50]", "gave 1.50 mg")["text"] == ["1.50"]
    assert answers.read_answers("[007]", "agent 007")["text"] == ["[007]"]
    assert answers.read_answers("[true]", "it is true")["text"] == ["[true]"]
