"""What audit.json holds of pairs, examples, a new split and near rows, as worked by hand."""

import numpy as np
import pandas as pd

from datamap.audit import findings as found
from datamap.audit.meetings import find_meetings, joined_rows
from datamap.audit.pairs import pairs_table
from datamap.audit.resplit import Resplit

TEXT = "One short text about nothing that anybody would want to know."


def rows_of(*counts):
    """Splits of so many copies of one question, with the ids 0, 1, … in each."""
    answers = {"text": ["text"], "answer_start": [TEXT.index("text")]}
    row = {"context": TEXT, "question": "What is it?", "answers": answers}
    frames = [pd.DataFrame([row | {"id": str(number)} for number in range(count)]) for count in counts]
    return joined_rows(frames, ["train", "dev"][: len(frames)], ())


def findings_of(rows, **beside):
    meetings = find_meetings(rows)
    table, groups = pairs_table(rows, meetings), meetings.groups(["context"], len(rows.frame))
    return found.findings(rows, meetings, table, groups, ["context"], found.Beside(**beside))[0]


def test_pairs_are_counted_within_and_across_and_those_across_are_shown_first():
    known = findings_of(rows_of(3, 2))  # each beside the first: two within train, two of dev across
    assert known["pairs"]["exact"] == {"within": 2, "across": 2}
    assert known["pairs"]["context"] == {"within": 0, "across": 0}
    shown = [(one["split"], one["id"], one["other_split"], one["other_id"]) for one in known["examples"]["exact"]]
    assert shown == [("dev", "0", "train", "0"), ("dev", "1", "train", "0"), ("train", "1", "train", "0")]


def test_a_new_split_is_said_with_the_share_that_came_out():
    made = Resplit(np.array([True, False, False, False]), [""] * 4, 0.3, 1, 4, 0)
    assert findings_of(rows_of(4), resplit=made)["resplit"] == {"asked": 0.3, "share": 0.25}


def test_twenty_near_rows_are_shown_with_the_texts_of_their_own_splits():
    near = pd.DataFrame({"id": [str(number) for number in range(25)], "other_id": "0", "cosine": 0.5})
    rows = rows_of(1, 25)
    rows.frame.loc[1:, "question"] = [f"What is dev {number}?" for number in range(25)]
    shown = findings_of(rows, alike=near.assign(split="dev", other_split="train"))["alike"]
    assert [one["id"] for one in shown] == [str(number) for number in range(20)]
    assert [text["question"] for text in shown[4]["texts"]] == ["What is dev 4?", "What is it?"]


def test_the_constant_answer_is_scored_on_the_second_split():
    known = findings_of(rows_of(3, 2))["shortcuts"]["frequent_answers"]
    assert (known["n_rows"], known["constant"]["total"]) == (3, 2)
