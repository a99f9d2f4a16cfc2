"""The door: hand-worked rows, and one published set whose misaligned answers are known."""

import copy

import pandas as pd
import pytest

from datamap.data import checks, records, sources
from tests.paths import REAL_DATA

MOVED = "answer_start moved to the nearest occurrence"
MOVED_TO_ONE_OF_SEVERAL = "answer_start moved to the nearest of several occurrences"
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
    frame, problems = checks.check_qa(qa_frame(*rows), records.problems_frame([]))
    return frame, problems.values.tolist()


def check_one(answers, context=CONTEXT, question="?"):
    frame, problems = check((context, question, answers))
    return frame["answers"][0], bool(frame["usable_for_training"][0]), problems


@pytest.mark.parametrize(
    ("text", "stated", "found", "n_choices"),
    [
        ("one", 1, 0, 3),
        ("one", 3, 0, 3),
        ("one", 4, 0, 3),
        ("one", 5, 8, 3),
        ("one", 7, 8, 3),
        ("one", 9, 8, 3),
        ("one", 15, 8, 3),
        ("one", 16, 22, 3),
        ("one", 500, 22, 3),
        ("two", 11, 4, 2),  # 7 from either: the earlier one
        ("two", 12, 18, 2),
        ("💊", 27, 26, 1),
        ("end", 29, 28, 1),
        (" two ", 4, 3, 2),
    ],
)
def test_a_misaligned_answer_moves_to_the_nearest_occurrence(text, stated, found, n_choices):
    sound = (CONTEXT, "?", answers_of(("end", 28)))
    frame, problems = check((CONTEXT, "?", answers_of((text, stated))), sound)
    assert frame["answers"][0] == answers_of((text, found))
    assert frame["usable_for_training"][0]
    moved, after = (MOVED, str(found)) if n_choices == 1 else (MOVED_TO_ONE_OF_SEVERAL, f"{found}, one of {n_choices}")
    assert problems == [["0", "misaligned answer", moved, str(stated), after]]


def test_overlapping_occurrences_are_all_considered():
    answers, _, _ = check_one(answers_of(("aa", 3)), context="aaa baaaa")
    assert answers["answer_start"] == [1]
    answers, _, _ = check_one(answers_of(("aa", 4)), context="aaa baaaa")
    assert answers["answer_start"] == [5]


def test_a_missing_start_becomes_the_first_occurrence():
    answers, usable, problems = check_one(answers_of(("two", -1)))
    assert (answers, usable) == (answers_of(("two", 4)), True)
    assert problems == [
        ["0", "missing answer_start", "answer_start moved to the first of several occurrences", "-1", "4, one of 2"]
    ]
    _, _, problems = check_one(answers_of(("three", -1)))
    assert problems == [["0", "missing answer_start", "answer_start moved to the first occurrence", "-1", "12"]]


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
    answers, usable, problems = check_one(answers_of(("one", 0), ("four", 0), ("two", 5)))
    assert answers == answers_of(("one", 0), ("four", -1), ("two", 4))
    assert usable
    assert [problem[1:] for problem in problems] == [
        ["answer not in context", "kept for evaluation only", '["four", 0]', "-1"],
        ["misaligned answer", MOVED_TO_ONE_OF_SEVERAL, "5", "4, one of 2"],
    ]


def test_a_row_that_was_not_usable_stays_so():
    frame = qa_frame((CONTEXT, "?", answers_of(("one", 0)))).assign(usable_for_training=False)
    assert not checks.check_qa(frame, records.problems_frame([]))[0]["usable_for_training"][0]


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
    assert not checks.ends_are_inclusive(qa_frame(silent, (CONTEXT, "?", answers_of(("one", 0), ends=[3]))))
    assert checks.ends_are_inclusive(qa_frame(silent, (CONTEXT, "?", answers_of(("one", 0), ends=[2]))))


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
    _, problems = checks.check_qa(frame, earlier)
    assert list(problems["problem"]) == ["duplicate id", "misaligned answer"]
    assert list(problems.columns) == ["id", "problem", "action", "before", "after"]
    assert (frame["answers"][0], len(earlier)) == (before, 1)


def test_extra_columns_stay_with_their_rows():
    frame = qa_frame(*[(context, "?", answers_of()) for context in ("", "a", "b")]).assign(title=["x", "y", "z"])
    checked, _ = checks.check_qa(frame, records.problems_frame([]))
    assert checked[["id", "title"]].values.tolist() == [["1", "y"], ["2", "z"]]
    assert list(checked.columns) == list(frame.columns)


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
    checked, problems = checks.check_nli(frame, records.problems_frame([]))
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
    assert checks.summary_table(problems, 2000, 30).split("\n") == [
        "problem            action                     rows   share",
        "misaligned answer  moved                         2    0.1%",
        "duplicate id       id made from the content      1    0.1%",
        "no answer          unanswerable, kept           30    1.5%",
        "all rows           checked                   2,000  100.0%",
    ]


def test_the_summary_of_nothing():
    assert checks.summary_table(records.problems_frame([]), 0, 0).split("\n")[1:] == [
        "no answer  unanswerable, kept     0   0.0%",
        "all rows   checked                0   0.0%",
    ]


def test_a_task_without_answers_has_no_line_for_them_and_repeats_have_one():
    assert checks.summary_table(records.problems_frame([]), 200, None, 3).split("\n")[1:] == [
        "exact repeat of an earlier row  kept        3    1.5%",
        "all rows                        checked   200  100.0%",
    ]


def test_exact_repeats_are_counted_whatever_their_ids():
    one, other = answers_of(("one", 0)), answers_of(("one", 8))
    frame = qa_frame((CONTEXT, "?", one), (CONTEXT, "?", other), (CONTEXT, "?", dict(one)), (CONTEXT, "!", one))
    assert checks.n_repeats(frame) == 1
    assert checks.n_repeats(pd.concat([frame, frame])) == 5
    pairs = pd.DataFrame({"id": list("abc"), "premise": "p", "hypothesis": list("hhi"), "label": 0})
    assert checks.n_repeats(pairs) == 1
    assert checks.n_repeats(pairs.assign(label=[0, 1, 0])) == 0


def test_an_answer_in_another_form_gets_the_context_s_own_text_and_stays_acceptable_as_published():
    context = "Takes Aspirin  81\u00a0mg or low-dose Heparin."
    answers, usable, problems = check_one(answers_of(("aspirin 81 mg", 6), ("Low dose heparin", -1)), context)
    assert answers == {
        "text": ["Aspirin  81\u00a0mg", "low-dose Heparin", "aspirin 81 mg", "Low dose heparin"],
        "answer_start": [6, 24, -1, -1],
    }
    assert usable
    form = "answer differs in blanks, hyphens, case or Unicode form"
    assert problems == [
        ["0", form, "placed where it says", '["aspirin 81 mg", 6]', '["Aspirin  81\u00a0mg", 6]'],
        ["0", form, "placed at the first", '["Low dose heparin", -1]', '["low-dose Heparin", 24]'],
    ]


def test_an_answer_in_another_form_says_how_many_places_it_could_have():
    _, _, problems = check_one(answers_of(("ONE", 9)))
    assert problems[0][2:] == ["placed at the nearest of several", '["ONE", 9]', '["one", 8], one of 3']


def test_checked_rows_stay_as_they_are_when_they_are_checked_again():
    rows = [(CONTEXT, "?", answers_of(("ONE", 8), ("Two  one", -1), ("gone", 3), ("three", 13)))]
    once, problems = check(*rows)
    again, none = checks.check_qa(once, records.problems_frame([]))
    assert (once["answers"][0], len(problems)) == (again["answers"][0], 4)
    assert once["answers"][0]["text"] == ["one", "two one", "gone", "three", "ONE", "Two  one"]
    assert none["problem"].tolist() == ["answer not in context"]


UNITS = "💊 one\r\ntwo\nthree one"


@pytest.mark.parametrize(
    ("convention", "starts"),  # of the first "one", of "two", "three" and the last "one"
    [
        ("UTF-16 units", [3, 8, 12, 18]),
        ("bytes of UTF-8", [5, 10, 14, 20]),
        ("characters, CRLF as one", [2, 6, 10, 16]),
        ("characters, LF as two", [2, 7, 12, 18]),
        ("characters, from 1", [3, 8, 12, 18]),
        ("UTF-16 units, CRLF as one", [3, 7, 11, 17]),
        ("UTF-16 units, CRLF as one, from 1", [4, 8, 12, 18]),
    ],
)
def test_starts_of_another_convention_are_converted_and_listed(convention, starts, caplog):
    true_starts, texts = [2, 7, 11, 17], ["one", "two", "three", "one"]
    # "no" stands at 0, 3 and 6: a repair row by row would take a wrong one
    twins = "no no no" if convention != "characters, from 1" else "no, no"
    first = 1 if "from 1" in convention else 0
    rows = [(UNITS, "?", answers_of(pair)) for pair in zip(texts, starts, strict=True)]
    rows.append((twins, "?", answers_of(("no", first))))
    with caplog.at_level("INFO"):
        frame, problems = check(*rows)
    assert [answers["answer_start"] for answers in frame["answers"][:4]] == [[start] for start in true_starts]
    listed = [pair for pair in zip("0123", starts, true_starts, strict=True) if pair[1] != pair[2]]
    assert [problem for problem in problems if problem[0] != "4"] == [
        [row, f"answer_start counts {convention}", "converted to characters", str(stated), str(true)]
        for row, stated, true in listed
    ]
    assert f"answer_start counts {convention}: all answers stand where it says so" in caplog.text


def test_ends_count_what_starts_count():
    rows = [(UNITS, "?", answers_of(("two", 8), ends=[end])) for end in (11, 11, 12)]
    _, problems = check(*rows)
    assert [problem[:2] + problem[3:] for problem in problems if "end" in problem[1]] == [
        ["2", "answer_end contradicts", "12", "11"]
    ]
    rows = [(UNITS, "?", answers_of(("two", 8), ends=[10])), (UNITS, "?", answers_of(("three", 12), ends=[16]))]
    assert [problem for problem in check(*rows)[1] if "end" in problem[1]] == []


def test_one_start_that_fits_nothing_leaves_the_others_as_they_are():
    rows = [(UNITS, "?", answers_of(("two", 8))), (UNITS, "?", answers_of(("three", 12)))]
    assert check(*rows)[1][0][1] == "answer_start counts UTF-16 units"
    absent = (UNITS, "?", answers_of(("four", 3)))  # says nothing about what is counted
    assert {problem[1] for problem in check(*rows, absent)[1]} == {
        "answer_start counts UTF-16 units", "answer not in context",
    }  # fmt: skip
    _, problems = check(*rows, (UNITS, "?", answers_of(("two", 3))))
    assert {problem[1] for problem in problems} == {"misaligned answer"}


def test_a_single_start_that_is_one_too_high_is_no_convention():
    _, _, problems = check_one(answers_of(("three", 13)))
    assert problems == [["0", "misaligned answer", MOVED, "13", "12"]]


@pytest.mark.real_data
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the real data sets are not beside this checkout")
def test_all_misaligned_answers_of_covid_dirty_are_accounted_for():
    source = sources.open_source(str(REAL_DATA / "covid_dirty.json"), "qa")
    raw = source.read("train")
    frame, problems = checks.check_qa(*records.canonical_qa(raw, source.name))
    assert len(frame) == len(raw) == 1380
    assert list(frame["id"]) == [str(number) for number in raw["id"]]
    assert problems.groupby(["problem", "action"]).size().to_dict() == {
        ("misaligned answer", MOVED): 227,
        ("misaligned answer", MOVED_TO_ONE_OF_SEVERAL): 7,
    }
    assert frame["usable_for_training"].all()
    standing = [
        context[start : start + len(text)] == text
        for context, answers in zip(frame["context"], frame["answers"], strict=True)
        for text, start in zip(answers["text"], answers["answer_start"], strict=True)
    ]
    assert standing == [True] * 1380
    lines = checks.summary_table(problems, len(raw), 0).split("\n")
    assert lines[1] == "misaligned answer  answer_start moved to the nearest occurrence                227   16.4%"
