"""Patches: read, checked against the rows, applied and taken back; a row that nobody decided about never changes."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamap.data.examples import load_examples
from datamap.data.sources import open_source
from datamap.errors import DataError
from datamap.labels import corrected, patches, rows

CONTEXT = "Takes \U0001f489 aspirin daily, and aspirin at night."
ASPIRIN = {"text": ["aspirin"], "answer_start": [8]}
AT = CONTEXT.index("night")
NIGHT = {"text": ["night"], "answer_start": [AT]}
NONE = {"text": [], "answer_start": []}
ROW = {"id": "r", "context": CONTEXT, "question": "What?", "answers": ASPIRIN, "page": 3}


def line(**changes):
    return {"id": "r", "field": "answers", "before": ASPIRIN, "after": NIGHT} | changes


def read(tmp_path, *lines, text=None):
    path = tmp_path / "corrections.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) if text is None else text, encoding="utf-8")
    return patches.read_patch(path)


def check(tmp_path, *lines, data=(ROW,), field="answers", names=()):
    return patches.checked(read(tmp_path, *lines), data, field, names)


def test_four_keys_are_enough_and_the_decision_is_named_by_what_it_does(tmp_path):
    afters = [NIGHT, NONE, ASPIRIN, None, "neutral"]
    found = read(tmp_path, *(line(id=str(number), after=after) for number, after in enumerate(afters)))
    assert [decision.decision for decision in found] == ["marked", "no_answer", "stays", "left_out", "label"]
    assert [decision.state for decision in found] == ["changes", "changes", "stays", "left out", "changes"]
    assert (found[0].drawn, found[0].reviewer, found[0].rank) == (None, "", None)
    assert read(tmp_path, line(rank=10**400, score=2))[0].rank == 10**400


def test_a_patch_may_have_a_mark_at_its_beginning_and_ends_of_lines_of_any_kind(tmp_path):
    text = (
        "\ufeff"
        + "\r\n\r\n".join(json.dumps(line(id=name, note="\u2028"), ensure_ascii=False) for name in "ab")
        + "\r\n"
    )
    found = read(tmp_path, text=text)
    assert [(decision.id, decision.where.split(", ")[1]) for decision in found] == [("a", "line 1"), ("b", "line 3")]
    assert read(tmp_path, text="") == []


@pytest.mark.parametrize(("text", "said"), [
    ("{", "line 1 is not a JSON object with each key once"),
    ("[" * 100_000, "line 1 is not a JSON object with each key once"),
    ("\n[1, 2]", "line 2 is not a JSON object but [1, 2]."),
    ('{"id": "a", "id": "b"}', "the key 'id' stands twice"),
    ('{"id": "a", "field": "answers", "before": 1}', "has no 'after'"),
    (json.dumps(line(id=7)), "id is 7, not a text."),
    (json.dumps(line(id=None)), "id and field are texts"),
    (json.dumps(line(rank="1")), 'rank is "1", not a whole number.'),
    (json.dumps(line(rank=1.5)), "rank is 1.5, not a whole number."),
    (json.dumps(line(score=float("inf"))), "score is Infinity, not a number."),
    (json.dumps(line(score=True)), "score is true, not a number."),
    (json.dumps(line(reviewer="\ud800")), "has half a character"),
    (json.dumps(line(reviewer=["x"])), 'reviewer is ["x"], not a text.'),
    (json.dumps(line(drawn="lottery")), 'drawn is "lottery", not one of queue, audit.'),
    (json.dumps(line(decision="gone")), 'decision is "gone", not one of stays, other,'),
])  # fmt: skip
def test_what_is_no_correction_is_refused_with_its_line(tmp_path, text, said):
    with pytest.raises(DataError) as error:
        read(tmp_path, text=text)
    assert said in str(error.value)
    assert "corrections.jsonl, line" in str(error.value)


def test_what_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        patches.read_patch(tmp_path / "none.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b"\xe9")
    for path in (tmp_path / "latin.jsonl", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            patches.read_patch(path)


@pytest.mark.parametrize(("changes", "said"), [
    ({"id": "R"}, "the data set has no row 'R'"),
    ({"field": "label"}, "the field is 'label', but this task corrects 'answers'"),
    ({"before": NIGHT}, "give the data set that was reviewed"),
    ({"before_sha256": "0" * 64}, "before_sha256 does not fit"),
    ({"decision": "left_out"}, "the decision is 'left_out', but after is {"),
    ({"decision": "other", "after": None}, "the decision is 'other', but after is null: correct one of them."),
    ({"decision": "stays"}, "the decision is 'stays', but after is {"),
    ({"after": "night"}, 'after is "night", not {"text"'),
    ({"after": {"text": ["night"]}}, "after is {"),
    ({"after": NIGHT | {"more": 1}}, "after is {"),
    ({"after": {"text": ["night"], "answer_start": []}}, "as many starts"),
    ({"after": {"text": "night", "answer_start": AT}}, "as many starts"),
    ({"after": {"text": ["night"], "answer_start": [5]}}, 'does not have "night" at the character 5 '),
    ({"after": {"text": ["night"], "answer_start": [AT + 0.0]}}, f'does not have "night" at the character {AT}.0'),
    ({"after": {"text": ["T"], "answer_start": [False]}}, "at the character false"),
    ({"after": {"text": ["aspirin", "T"], "answer_start": [8.0, 0]}}, 'does not have "aspirin" at the character 8.0'),
    ({"after": {"text": ["."], "answer_start": [-1]}}, "at the character -1"),
    ({"after": {"text": [" "], "answer_start": [5]}}, 'does not have " "'),
    ({"after": {"text": [""], "answer_start": [0]}}, 'does not have ""'),
    ({"after": {"text": [7], "answer_start": [0]}}, "does not have 7"),
])  # fmt: skip
def test_a_decision_that_does_not_fit_its_row_is_refused(tmp_path, changes, said):
    with pytest.raises(DataError) as error:
        check(tmp_path, line(**changes))
    assert said in str(error.value)
    assert "corrections.jsonl, line 1" in str(error.value)


def test_nli_takes_the_labels_of_the_data_alone(tmp_path):
    data = [{"id": "r", "premise": "p", "hypothesis": "h", "label": "neutral"}]
    names = ("entailment", "neutral")
    asked = line(field="label", before="neutral", after="entailment")
    assert check(tmp_path, asked, data=data, field="label", names=names)["r"].after == "entailment"
    for after in ("contradiction", 0, NONE):
        with pytest.raises(DataError, match="the data set has no label"):
            check(tmp_path, asked | {"after": after}, data=data, field="label", names=names)


def test_labels_that_are_numbers_may_be_stated_as_texts(tmp_path):
    data = [{"id": "r", "premise": "p", "hypothesis": "h", "label": 1}]
    for before, after in ((1, 2), ("1", "2"), (1, "2"), (1.0, 2.0)):
        found = check(
            tmp_path, line(field="label", before=before, after=after), data=data, field="label", names=[0, 1, 2]
        )
        assert (found["r"].before, found["r"].after, found["r"].decision) == (1, 2, "label")
        assert type(found["r"].after) is int
    for after in ("3", True, "1.0", 5, 1.5):
        with pytest.raises(DataError, match="the data set has no label"):
            check(tmp_path, line(field="label", before=1, after=after), data=data, field="label", names=[0, 1, 2])


def test_two_decisions_about_a_row_have_to_be_the_same(tmp_path):
    assert check(tmp_path, line(), line(reviewer="again")).keys() == {"r"}
    with pytest.raises(DataError, match=r"line 2: .*line 1 decides otherwise about 'r'"):
        check(tmp_path, line(), line(after=None))


def test_texts_without_a_place_may_stay_but_not_come(tmp_path):
    lost = {"text": ["asprin"], "answer_start": [-1]}
    more = {"text": ["asprin", "night"], "answer_start": [-1, AT]}
    data = [ROW | {"answers": lost}]
    assert check(tmp_path, line(before=lost, after=more), data=data)["r"].after == more
    with pytest.raises(DataError, match="asprin"):
        check(tmp_path, line(after=more))


def test_where_files_disagree_no_decision_counts():
    first = {name: patches.Decision("a", name, "answers", ASPIRIN, after) for name, after in
             {"x": NIGHT, "y": None, "z": NONE}.items()}  # fmt: skip
    second = {name: patches.Decision("b", name, "answers", ASPIRIN, after) for name, after in
              {"y": ASPIRIN, "z": NONE, "w": NIGHT}.items()}  # fmt: skip
    agreed, contested = patches.merged([first, second])
    assert {name: decision.where for name, decision in agreed.items()} == {"x": "a", "z": "a", "w": "b"}
    assert [(decision.id, decision.where) for decision in contested] == [("y", "a"), ("y", "b")]


@pytest.mark.parametrize(("marks", "marked", "unmarked"), [
    ([True, False], True, False), ([1, 0], 1, 0), ([1.0, 0.0], 1.0, 0.0), (["True", "False"], "True", "False"),
    (["yes", None], "yes", "false"), ([None, "no"], "true", "no"), ([None, False], True, False), ([1], 1, 0),
])  # fmt: skip
def test_a_mark_of_unanswerable_questions_follows_the_label_in_its_own_type(marks, marked, unmarked):
    data = [ROW | {"id": str(number), "Is_Impossible": mark} for number, mark in enumerate(marks)]
    assert patches.marks_of(data) == ("Is_Impossible", marked, unmarked)
    assert [type(mark) for mark in patches.marks_of(data)[1:]] == [type(marked), type(unmarked)]
    gone = patches.Decision("", "0", "answers", ASPIRIN, NONE)
    assert patches.applied(data, {"0": gone})[0] == data[0] | {"answers": NONE, "Is_Impossible": marked}
    come = patches.Decision("", "0", "answers", NONE, ASPIRIN)
    assert patches.applied(data, {"0": come})[0]["Is_Impossible"] == unmarked
    other = patches.Decision("", "0", "answers", ASPIRIN, NIGHT)
    assert patches.applied(data, {"0": other})[0] == data[0] | {"answers": NIGHT}


def test_without_marks_there_is_nothing_to_follow():
    assert patches.marks_of([ROW, ROW | {"is_impossible": None}]) is None
    assert patches.marks_of([]) is None
    assert patches.marks_of([ROW | {"is_impossible": [1]}]) is None


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
EXTRAS = st.one_of(
    st.none(), TEXTS, st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.lists(TEXTS, max_size=2)
)


@st.composite
def rows_and_decisions(draw):
    """Rows with contexts of any text, and for some of them the whole context, nothing, or to be left out."""
    data, decisions = [], {}
    marks = draw(st.sampled_from([None, (True, False), ("1", "0")]))
    for number in range(draw(st.integers(0, 8))):
        context = draw(TEXTS.filter(str.strip))
        is_answered = draw(st.booleans())
        before = {"text": [context], "answer_start": [0]} if is_answered else NONE
        row = {"id": f"r{number}", "context": context, "question": draw(TEXTS), "answers": before, "more": draw(EXTRAS)}
        data.append(row | ({"is_impossible": marks[is_answered]} if marks else {}))
        after = draw(
            st.sampled_from(
                ["undecided", None, NONE, before, {"text": [context[-1:]], "answer_start": [len(context) - 1]}]
            )
        )
        if after != "undecided":
            decisions[row["id"]] = patches.Decision("", row["id"], "answers", before, after)
    return data, decisions


@settings(deadline=None, max_examples=300)
@given(rows_and_decisions())
def test_what_is_applied_can_be_taken_back_byte_for_byte(given_rows):
    data, decisions = given_rows
    before = json.dumps(data)
    changed = patches.applied(data, decisions)
    assert json.dumps(data) == before
    for row, new in zip(data, changed, strict=True):
        decision = decisions.get(row["id"])
        assert (new is row) == (decision is None or decision.after == row["answers"])
        if new is not None and new is not row:
            assert new["answers"] == decision.after
            assert {name for name in row if new[name] != row[name]} <= {"answers", "is_impossible"}
    table = corrected.changes_table(data, changed, decisions)
    changes = [{"position": change.position, "is_left_out": change.after == "null", "row": change.row}
               for change in table.itertuples()]  # fmt: skip
    lines = [rows.line_of(row) for row in changed if row is not None]
    assert patches.restored(lines, changes) == [rows.line_of(row) for row in data]


@pytest.mark.parametrize(("name", "task"), [("demo:v2", "qa"), ("demo:nli", "nli")])
def test_rows_as_written_are_read_as_they_are(tmp_path, name, task):
    examples = load_examples(open_source(name, task), "train", task, whole=True)
    written = rows.written_rows(examples)
    path = tmp_path / "corrected.jsonl"
    path.write_text("".join(f"{rows.line_of(row)}\n" for row in written), encoding="utf-8")
    again = load_examples(open_source(str(path), task), "train", task, whole=True)
    assert rows.written_rows(again) == written
    assert again.frame["id"].tolist() == examples.frame["id"].tolist()
    assert again.has_unanswerable == examples.has_unanswerable
