"""Nested layouts of other tools: each gives the rows that its file states."""

import gzip
import json

import datasets
import pytest

from datamap import errors
from datamap.data.examples import load_examples
from datamap.data.sources import open_source

VALVE = "The valve opens at 3 bar. [PAR] It closes at 2 bar."


def read(tmp_path, name, content, columns=None):
    """(id, question, answer texts, answer starts) of every row, and the examples."""
    text = content if isinstance(content, str) else json.dumps(content)
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    examples = load_examples(open_source(str(path), "qa", columns), "train", "qa")
    columns = zip(*(examples.frame[name] for name in ("id", "question", "answers")), strict=True)
    return [(i, q, a["text"], a["answer_start"]) for i, q, a in columns], examples


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def mrqa(**question):
    return {
        "id": "",
        "context": VALVE,
        "qas": [{"qid": "m1", "question": "Opens at?", "answers": ["3 bar"]} | question],
    }


HEADER = {"header": {"dataset": "Own", "split": "dev"}}


@pytest.mark.parametrize("name", ["dev.jsonl.gz", "dev.jsonl", "dev.json"])
def test_mrqa_states_the_place_of_the_last_character(tmp_path, name):
    detected = [
        {"text": "3 BAR", "char_spans": [[19, 23]], "token_spans": [[4, 5]]},
        {"text": "bar", "char_spans": [[21, 23], [47, 49]], "token_spans": [[5, 5], [12, 12]]},
    ]
    rows, examples = read(tmp_path, name, lines(HEADER, mrqa(detected_answers=detected), mrqa(qid="m2")))
    assert rows == [
        ("m1", "Opens at?", ["3 bar", "bar", "bar"], [19, 21, 47]),
        ("m2", "Opens at?", ["3 bar"], [19]),
    ]
    assert examples.frame["context"].tolist() == [VALVE, VALVE]
    assert examples.problems["problem"].tolist() == ["missing answer_start"]


def test_several_mrqa_files_in_one_have_as_many_headers(tmp_path):
    rows, examples = read(tmp_path, "a.jsonl.gz", lines(HEADER, mrqa(), HEADER, mrqa(qid="m2")))
    assert [row[0] for row in rows] == ["m1", "m2"]
    assert "missing id" not in examples.problems["problem"].tolist()


def test_mrqa_with_exclusive_ends_and_from_the_hub(tmp_path):
    rows, _ = read(tmp_path, "a.jsonl", lines(mrqa(detected_answers=[{"text": "3 bar", "char_spans": [[19, 24]]}])))
    assert rows == [("m1", "Opens at?", ["3 bar"], [19])]
    flat = {"context": VALVE, "qid": "h1", "question": "Opens at?", "answers": ["3 bar", "three bar"]}
    flat["detected_answers"] = {"text": ["3 bar"], "char_spans": [{"start": [19], "end": [23]}]}
    datasets.Dataset.from_list([flat]).to_parquet(tmp_path / "hub.parquet")
    examples = load_examples(open_source(str(tmp_path / "hub.parquet"), "qa"), "train", "qa")
    assert examples.frame["id"].tolist() == ["h1"]
    assert examples.frame["answers"].tolist() == [{"text": ["3 bar"], "answer_start": [19]}]


@pytest.mark.parametrize("span", [[18, 22], [4, 8], [190, 194], [-9, -5]])
def test_a_text_that_stands_elsewhere_than_its_span_is_not_replaced(tmp_path, span):
    """MRQA's span is wrong: the row keeps its answer, which moves to where it stands, and is listed."""
    rows, examples = read(tmp_path, "a.jsonl", lines(mrqa(detected_answers=[{"text": "3 bar", "char_spans": [span]}])))
    assert rows == [("m1", "Opens at?", ["3 bar"], [19])]
    assert len(examples.problems) == 1


def test_a_text_without_a_place_keeps_the_row_from_counting_as_unanswerable(tmp_path):
    lost = mrqa(qid="m2", detected_answers=[{"text": "9 bar", "char_spans": [[190, 194]]}])
    fine = mrqa(detected_answers=[{"text": "3 bar", "char_spans": [[19, 23]]}])
    rows, examples = read(tmp_path, "a.jsonl", lines(fine, lost))
    assert rows[1] == ("m2", "Opens at?", ["9 bar"], [-1])
    assert examples.frame["usable_for_training"].tolist() == [True, False]


@pytest.mark.parametrize("detected", [[], {"text": [], "char_spans": []}, [{"text": "9 bar", "char_spans": []}]])
def test_an_answer_that_was_not_detected_is_an_answer_all_the_same(tmp_path, detected):
    fine = mrqa(detected_answers=[{"text": "3 bar", "char_spans": [[19, 23]]}])
    lost = mrqa(qid="m2", answers=["9 bar"], detected_answers=detected)
    open_question = mrqa(qid="m3", answers=[], detected_answers=detected)
    rows, examples = read(tmp_path, "a.jsonl", lines(fine, lost, open_question))
    assert [row[2:] for row in rows] == [(["3 bar"], [19]), (["9 bar"], [-1]), ([], [])]
    assert examples.frame["usable_for_training"].tolist() == [True, False, True]


def test_spans_of_utf16_units_are_recognised_as_such(tmp_path):
    context = "\U0001f600\U0001f600 It is no, and no."
    detected = [[{"text": "no", "char_spans": [[start, start + 1]]}] for start in (11, 19)]
    content = [{"context": context, "qas": [mrqa(detected_answers=one)["qas"][0] | {"qid": str(n)}]} for n, one in
               enumerate(detected)]  # fmt: skip
    assert [starts for *_, starts in read(tmp_path, "a.jsonl", lines(*content))[0]] == [[9], [17]]


@pytest.mark.parametrize(
    "detected",
    ["3 bar", [{"text": "3 bar"}], [5], [{"text": "3 bar", "char_spans": [19]}], [{"text": 3, "char_spans": [[0, 1]]}]],
)
def test_detected_answers_of_another_shape_are_one_sentence(tmp_path, detected):
    with pytest.raises(errors.DataError, match=r"data\[0\]: its detected_answers cannot be read"):
        read(tmp_path, "a.jsonl", lines(mrqa(detected_answers=detected)))


PARAGRAPHS = [
    {"context": VALVE, "document_id": 7, "qas": [{"id": 1, "question": "Closes?", "answers": []}]},
    {"context": "Dry.", "qas": [{"id": 2, "question": "How?", "answers": [{"text": "Dry", "answer_start": 0}]}]},
]


@pytest.mark.parametrize("content", [PARAGRAPHS, {"version": "x", "data": PARAGRAPHS}, lines(*PARAGRAPHS)])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_paragraphs_without_articles(tmp_path, content, name):
    rows, examples = read(tmp_path, name, content)
    assert rows == [("1", "Closes?", [], []), ("2", "How?", ["Dry"], [0])]
    assert examples.frame["document_id"].tolist() == [7, None]


def test_articles_and_flat_rows_may_stand_in_one_file(tmp_path):
    flat = {"id": "f", "context": "Wet.", "question": "And?", "answers": {"text": ["Wet"], "answer_start": [0]}}
    rows, examples = read(tmp_path, "a.jsonl", lines({"title": "T", "paragraphs": PARAGRAPHS[1:]}, flat))
    assert rows == [("2", "How?", ["Dry"], [0]), ("f", "And?", ["Wet"], [0])]
    assert examples.frame["title"].tolist() == ["T", None]


def test_one_object_alone_in_a_file_is_a_row(tmp_path):
    assert read(tmp_path, "a.json", PARAGRAPHS[1])[0] == [("2", "How?", ["Dry"], [0])]


def label(start, end, text, **others):
    value = {"start": start, "end": end, "text": text, "labels": ["Answer"]}
    return {"from_name": "answer", "to_name": "text", "type": "labels", "value": value} | others


def task(number, *annotations, **data):
    return {"id": number, "data": {"text": VALVE, "question": "Opens at?"} | data, "annotations": list(annotations)}


def test_label_studio_tasks_are_rows_with_what_people_labelled(tmp_path):
    tasks = [
        task(1, {"result": [label(19, 24, "3 bar")]}, {"result": [label(21, 24, "bar"), label(4, 9, "valve")]}),
        task(2, {"result": [label(0, 3, "The")], "was_cancelled": True}, {"result": [label(45, 50, "2 bar")]}),
        task(3, {"result": [{"type": "choices", "value": {"choices": ["unsure"]}}, label(19, 24, "3 bar")]}, id="own"),
    ]
    tasks[0]["predictions"] = [{"result": [label(0, 3, "The")]}]
    rows, examples = read(tmp_path, "export.json", tasks)
    assert rows == [
        ("1", "Opens at?", ["3 bar", "bar", "valve"], [19, 21, 4]),
        ("2", "Opens at?", ["2 bar"], [45]),
        ("own", "Opens at?", ["3 bar"], [19]),
    ]
    assert examples.frame["context"].tolist() == [VALVE] * 3
    assert examples.problems.empty


def test_a_labelled_span_without_its_text_has_the_text_of_its_place(tmp_path):
    spans = [{"start": 19, "end": 24, "labels": ["Answer"]}, {"start": "4", "end": "9", "labels": ["Answer"]}]
    results = [label(0, 0, "") | {"value": span} for span in spans]
    assert read(tmp_path, "a.json", [task(1, {"result": results})])[0] == [
        ("1", "Opens at?", ["3 bar", "valve"], [19, 4])
    ]


@pytest.mark.parametrize("annotation", ["no", {"result": ["no"]}, {"result": [label(0, 0, "") | {"value": None}]}])
def test_annotations_of_another_shape_are_one_sentence(tmp_path, annotation):
    with pytest.raises(errors.DataError, match=r"data\[1\]: its annotations cannot be read; each 'result'"):
        read(tmp_path, "a.json", [task(1, {"result": [label(19, 24, "3 bar")]}), task(2, annotation)])


def test_a_task_that_nobody_labelled_has_no_answers_yet(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([task(1, {"result": [label(19, 24, "3 bar")]}), task(2)]))
    raw = open_source(str(tmp_path / "a.json"), "qa").read("train")
    assert [row["answers"] is None for row in raw.to_dict("records")] == [False, True]
    with pytest.raises(errors.DataError, match="column answers is missing; found id, context, question"):
        read(tmp_path, "b.json", [task(1, {"result": []}), task(2)])


def test_fields_of_other_names_are_read_in_every_layout(tmp_path):
    columns = {"context": "passage", "question": "q", "answers": "a"}
    nested = [{"passage": VALVE, "qas": [{"id": 1, "q": "Opens at?", "a": [{"text": "3 bar", "answer_start": 19}]}]}]
    assert read(tmp_path, "a.json", nested, columns)[0] == [("1", "Opens at?", ["3 bar"], [19])]
    export = [task(1, {"result": [label(19, 24, "3 bar")]}, passage=VALVE, q="At?")]
    names = {"context": "passage", "question": "q"}
    assert read(tmp_path, "b.json", export, names)[0] == [("1", "At?", ["3 bar"], [19])]
    with pytest.raises(errors.DataError, match=r"has no 'context'; found passage, qas; .* --columns context=NAME"):
        read(tmp_path, "a.json", nested)
    with pytest.raises(errors.DataError, match=r"has no 'question'; found id, q, a; .* --columns question=NAME"):
        read(tmp_path, "a.json", nested, {"context": "passage"})


def test_an_object_of_many_keys_prints_a_few(tmp_path):
    with pytest.raises(errors.DataError) as caught:
        read(tmp_path, "a.json", {str(number): {"QUESTION": "q"} for number in range(1000)})
    assert str(caught.value).endswith('{"data": [...]}, found an object with 0, 1, 2, 3, 4, 5, and 994 more.')
