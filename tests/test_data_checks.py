"""The door: hand-worked rows, and one published set whose misaligned answers are known."""

import copy
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import data_checks
import records
import sources

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MOVED = "answer_start moved to the nearest occurrence"
#          0123456789012345678901234567890
CONTEXT = "one two one three two one 💊 end"


def qa_frame(*rows):
    """Rows (context, question, answers) with the ids "0", "1" …"""
    columns = zip(*rows, strict=True)
    frame = pd.DataFrame({"id": [str(n) for n in range(len(rows))]}, dtype=object)
    for name, values in zip(("context", "question", "answers"), columns, strict=True):
        frame[name] = pd.Series(list(values), dtype=object)
    frame["usable_for_training"] = True
    return frame


def answers_of(*answers, ends=None):
    found = {"text": [text for text, _ in answers], "answer_start": [start for _, start in answers]}
    return found if ends is None else found | {"answer_end": ends}


def check(*rows):
    frame, problems = data_checks.check_qa(qa_frame(*rows), records.problems_frame([]))
    return frame, problems.values.tolist()


def check_one(answers, context=CONTEXT, question="?"):
    frame, problems = check((context, question, answers))
    return frame["answers"][0], bool(frame["usable_for_training"][0]), problems


@pytest.mark.parametrize(
    ("text", "stated", "found"),
    [
        ("one", 1, 0),
        ("one", 3, 0),
        ("one", 4, 0),
        ("one", 5, 8),
        ("one", 7, 8),
        ("one", 9, 8),
        ("one", 15, 8),
        ("one", 16, 22),
        ("one", 500, 22),
        ("two", 11, 4),  # 7 from either: the earlier one
        ("two", 12, 18),
        ("💊", 27, 26),
        ("end", 29, 28),
        (" two ", 4, 3),
    ],
)
def test_a_misaligned_answer_moves_to_the_nearest_occurrence(text, stated, found):
    answers, usable, problems = check_one(answers_of((text, stated)))
    assert answers == answers_of((text, found))
    assert usable
    assert problems == [["0", "misaligned answer", MOVED, str(stated), str(found)]]


def test_overlapping_occurrences_are_all_considered():
    answers, _, _ = check_one(answers_of(("aa", 3)), context="aaa baaaa")
    assert answers["answer_start"] == [1]
    answers, _, _ = check_one(answers_of(("aa", 4)), context="aaa baaaa")
    assert answers["answer_start"] == [5]


def test_a_missing_start_becomes_the_first_occurrence():
    answers, usable, problems = check_one(answers_of(("two", -1)))
    assert (answers, usable) == (answers_of(("two", 4)), True)
    assert problems == [["0", "missing answer_start", "answer_start moved to the first occurrence", "-1", "4"]]


def test_a_missing_start_does_not_count_from_the_end():
    answers, _, _ = check_one(answers_of(("d", -1)), context="a d b d")
    assert answers["answer_start"] == [2]


def test_answers_that_stand_are_left_alone_with_their_blanks():
    answers = answers_of(("one ", 0), (" two", 3), ("💊 end", 26))
    assert check_one(answers) == (answers, True, [])


def test_a_first_answer_that_does_not_occur_is_kept_for_evaluation_only():
    answers, usable, problems = check_one(answers_of(("four", 3), ("one", 0)))
    assert answers == answers_of(("four", -1), ("one", 0))
    assert not usable
    assert problems == [["0", "answer not in context", "left out of training", '["four", 3]', "-1"]]


def test_a_further_answer_that_does_not_occur_leaves_the_row_usable():
    answers, usable, problems = check_one(answers_of(("one", 0), ("One", 0), ("two", 5)))
    assert answers == answers_of(("one", 0), ("One", -1), ("two", 4))
    assert usable
    assert [problem[1:] for problem in problems] == [
        ["answer not in context", "kept for evaluation only", '["One", 0]', "-1"],
        ["misaligned answer", MOVED, "5", "4"],
    ]


def test_a_row_that_was_not_usable_stays_so():
    frame = qa_frame((CONTEXT, "?", answers_of(("one", 0)))).assign(usable_for_training=False)
    assert not data_checks.check_qa(frame, records.problems_frame([]))[0]["usable_for_training"][0]


@pytest.mark.parametrize(("blank", "start"), [("", 0), (" \n", 3), ("", -1)])
def test_blank_answers_are_dropped(blank, start):
    answers, usable, problems = check_one(answers_of((blank, start), ("one", 0)))
    assert (answers, usable) == (answers_of(("one", 0)), True)
    assert [problem[1:3] for problem in problems] == [["empty answer text", "answer dropped"]]
    answers, usable, _ = check_one(answers_of((blank, start)))
    assert (answers, usable) == ({"text": [], "answer_start": []}, True)


def test_an_unanswerable_row_is_not_a_problem():
    assert check_one(answers_of()) == (answers_of(), True, [])


def test_a_blank_question_is_not_trained_on():
    answers, usable, problems = check_one(answers_of(("one", 0)), question=" ")
    assert (answers, usable) == (answers_of(("one", 0)), False)
    assert problems == [["0", "empty question", "left out of training", " ", ""]]


def test_a_row_with_a_blank_context_is_left_out():
    good = (CONTEXT, "?", answers_of(("one", 0)))
    frame, problems = check(good, ("\n ", "?", answers_of(("one", 0))), ("", "", answers_of()), good)
    assert list(frame["id"]) == ["0", "3"]
    assert list(frame.index) == [0, 1]
    assert problems == [
        ["1", "empty context", "left out", '["one"]', ""],
        ["2", "empty context", "left out", "[]", ""],
    ]


def ends_problems(*ends):
    """What is said of "one" at 0, "two" at 4, "three" at 12 … with these ends."""
    stated = [("one", 0), ("two", 4), ("three", 12)]
    rows = [(CONTEXT, "?", answers_of(answer, ends=[end])) for answer, end in zip(stated, ends, strict=True)]
    frame, problems = check(*rows)
    assert all("answer_end" not in answers for answers in frame["answers"])
    return problems


def test_ends_of_either_convention_agree():
    assert ends_problems(3, 7, 17) == []
    assert ends_problems(2, 6, 16) == []
    assert ends_problems(3, -1, 17) == []


def test_answers_without_a_start_or_an_end_have_no_say_in_the_convention():
    silent = (CONTEXT, "?", answers_of(("e", -1), ("e", -1), ends=[-1, -1]))
    assert not data_checks.ends_are_inclusive(qa_frame(silent, (CONTEXT, "?", answers_of(("one", 0), ends=[3]))))
    assert data_checks.ends_are_inclusive(qa_frame(silent, (CONTEXT, "?", answers_of(("one", 0), ends=[2]))))


def test_an_end_outside_the_convention_of_the_set_contradicts():
    assert ends_problems(3, 7, 16) == [["2", "answer_end contradicts", "answer_end ignored", "16", "17"]]
    assert ends_problems(2, 7, 16) == [["1", "answer_end contradicts", "answer_end ignored", "7", "6"]]
    assert ends_problems(3, 6, 30)[1] == ["2", "answer_end contradicts", "answer_end ignored", "30", "17"]


def test_an_end_may_fit_the_stated_or_the_repaired_start():
    sound = (CONTEXT, "?", answers_of(("one", 0), ends=[3]))
    for end, n_problems in ((4, 1), (3, 1), (9, 2)):
        _, problems = check(sound, sound, (CONTEXT, "?", answers_of(("one", 1), ends=[end])))
        assert len(problems) == n_problems


def test_problems_handed_in_come_first_and_nothing_is_changed_in_place():
    frame = qa_frame((CONTEXT, "?", answers_of(("one", 1), ends=[4])))
    before = copy.deepcopy(frame["answers"][0])
    earlier = records.problems_frame([("9", "duplicate id", "id made from the content", "a", "9")])
    _, problems = data_checks.check_qa(frame, earlier)
    assert list(problems["problem"]) == ["duplicate id", "misaligned answer"]
    assert list(problems.columns) == ["id", "problem", "action", "before", "after"]
    assert (frame["answers"][0], len(earlier)) == (before, 1)


def test_extra_columns_stay_with_their_rows():
    frame = qa_frame(*[(context, "?", answers_of()) for context in ("", "a", "b")]).assign(title=["x", "y", "z"])
    checked, _ = data_checks.check_qa(frame, records.problems_frame([]))
    assert checked[["id", "title"]].values.tolist() == [["1", "y"], ["2", "z"]]
    assert list(checked.columns) == list(frame.columns)


@given(st.text("ab", min_size=1, max_size=12), st.text("ab", min_size=1, max_size=3), st.integers(-1, 14))
def test_the_nearest_occurrence_is_that_of_a_plain_search(context, text, start):
    places = [n for n in range(len(context)) if context[n : n + len(text)] == text]
    expected = min(places, key=lambda place: (abs(place - start), place), default=-1)
    assert data_checks.nearest_occurrence(context, text, start) == expected


def test_nli_rows_with_a_blank_side_are_not_trained_on():
    frame = pd.DataFrame(
        {
            "id": ["0", "1", "2"],
            "premise": ["p", " ", "p"],
            "hypothesis": ["h", "h", ""],
            "label": [0, 1, 0],
            "usable_for_training": True,
        }
    )
    checked, problems = data_checks.check_nli(frame, records.problems_frame([]))
    assert checked["usable_for_training"].tolist() == [True, False, False]
    assert frame["usable_for_training"].tolist() == [True, True, True]
    assert problems.values.tolist() == [
        ["1", "empty premise", "left out of training", " ", ""],
        ["2", "empty hypothesis", "left out of training", "", ""],
    ]


def test_the_summary_is_one_aligned_table():
    problems = records.problems_frame(
        [
            ("1", "misaligned answer", "moved", "5", "4"),
            ("1", "misaligned answer", "moved", "9", "8"),
            ("2", "duplicate id", "id made from the content", "a", "2"),
            ("3", "misaligned answer", "moved", "5", "4"),
        ]
    )
    assert data_checks.summary_table(problems, 2000, 30).split("\n") == [
        "problem            action                     rows   share",
        "misaligned answer  moved                         2    0.1%",
        "duplicate id       id made from the content      1    0.1%",
        "no answer          unanswerable, kept           30    1.5%",
        "all rows           checked                   2,000  100.0%",
    ]


def test_the_summary_of_nothing():
    assert data_checks.summary_table(records.problems_frame([]), 0, 0).split("\n")[1:] == [
        "no answer  unanswerable, kept     0   0.0%",
        "all rows   checked                0   0.0%",
    ]


@pytest.mark.real_data
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the real data sets are not beside this checkout")
def test_all_misaligned_answers_of_covid_dirty_are_accounted_for():
    source = sources.open_source(str(REAL_DATA / "covid_dirty.json"), "qa")
    raw = source.read("train")
    frame, problems = data_checks.check_qa(*records.canonical_qa(raw, source.name))
    assert len(frame) == len(raw) == 1380
    assert list(frame["id"]) == [str(number) for number in raw["id"]]
    assert problems.groupby(["problem", "action"]).size().to_dict() == {("misaligned answer", MOVED): 234}
    assert frame["usable_for_training"].all()
    standing = [
        context[start : start + len(text)] == text
        for context, answers in zip(frame["context"], frame["answers"], strict=True)
        for text, start in zip(answers["text"], answers["answer_start"], strict=True)
    ]
    assert standing == [True] * 1380
    assert "misaligned answer  answer_start moved to the nearest occurrence    234   17.0%" in (
        data_checks.summary_table(problems, len(raw), 0)
    )
