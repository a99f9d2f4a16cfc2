"""Nested layouts of questions and answers, brought to one flat row a question.

SQuAD's articles (v1.1 and v2.0), paragraphs without articles, MRQA's lines and Label Studio's tasks, also mixed with
flat rows. `names` says which fields have other names than ours: role → name, as in --columns.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from datamap import errors
from datamap.data.columns import ANOTHER_NAME
from datamap.data.places import find_answer, same_but_for_form

NESTED = {"paragraphs", "qas", "detected_answers"}
OWN_FIELDS = ("id", "context", "question", "answers", "qas", "paragraphs")


def frame_of(rows: list[dict]) -> pd.DataFrame:
    """Rows with any keys as a frame of Python objects: columns in order of appearance, None where a row has none.

    No type is inferred, so that an int stays an int beside a missing value and "0012" stays text.
    """
    names = dict.fromkeys(key for row in rows for key in row)
    columns = {key: pd.Series([row.get(key) for row in rows], dtype=object) for key in names}
    return pd.DataFrame(columns)


def flattened(frame: pd.DataFrame, where: str, names: Mapping[str, str]) -> pd.DataFrame:
    """The frame itself where its rows are flat; else one row a question, in the order of the file.

    A row has id (where given), context, question, answers, the article's and paragraph's other scalars (title,
    document_id …) and the question's own (is_impossible …). `plausible_answers` are ignored.

    Raises:
        errors.DataError: a part is missing; says where in the file.
    """
    is_nested = NESTED & set(frame.columns) or {"data", "annotations"} <= set(frame.columns)
    if not is_nested:
        return frame
    rows = []
    for i, row in enumerate(frame.to_dict("records")):
        if not _is_header(row):
            rows.extend(_rows_of(row, f"{where}: data[{i}]", names))
    if not rows:
        raise errors.DataError(f"{where}: the file holds no questions.")
    return frame_of(rows)


def _rows_of(row: dict, place: str, names: Mapping[str, str]) -> list[dict]:
    """The flat rows of one article, paragraph, task or flat row."""
    if row.get("paragraphs") is not None:
        return _article_rows(row, place, names)
    if row.get("qas") is not None:
        return _paragraph_rows(row, {}, place, names)
    if isinstance(row.get("data"), dict) and row.get("annotations") is not None:
        return [_task_row(row, place, names)]
    flat = {key: value for key, value in row.items() if value is not None or key not in NESTED}
    return [_with_detected(flat, flat.get(names.get("context", "context")), place, names)]


def _is_header(row: dict) -> bool:
    """Whether a row is the first line of an MRQA file, which holds a header alone; one file may hold several files."""
    return [key for key, value in row.items() if value is not None] == ["header"]


def _article_rows(article: dict, place: str, names: Mapping[str, str]) -> list[dict]:
    rows = []
    for j, paragraph in enumerate(_part(article, "paragraphs", place)):
        rows.extend(_paragraph_rows(paragraph, _scalars(article), f"{place}.paragraphs[{j}]", names))
    return rows


def _paragraph_rows(paragraph: Any, above: dict, place: str, names: Mapping[str, str]) -> list[dict]:
    questions = _part(paragraph, "qas", place)
    context = names.get("context", "context")
    text = _part(paragraph, context, place)
    above = above | {key: value for key, value in _scalars(paragraph).items() if key != context}
    return [_question_row(question, {context: text}, above, place, names) for question in questions]


def _part(container: Any, key: str, place: str) -> Any:
    if not isinstance(container, dict) or container.get(key) is None:
        found = errors.shortlist(container) if isinstance(container, dict) else type(container).__name__
        hint = "" if key in ("paragraphs", "qas") else f"; {ANOTHER_NAME.format(role='context')}"
        raise errors.DataError(f"{place} has no {key!r}; found {found}{hint}.")
    part = container[key]
    if key in ("paragraphs", "qas") and (isinstance(part, (str, dict)) or not hasattr(part, "__iter__")):
        raise errors.DataError(f"{place}: {key!r} is not a list but {type(part).__name__}.")
    return part


def _scalars(part: dict) -> dict:
    """The fields of an article or a paragraph that every question below it keeps."""
    return {k: v for k, v in part.items() if k not in OWN_FIELDS and (v is None or isinstance(v, (str, int, float)))}


def _question_row(question: Any, context: dict, above: dict, place: str, names: Mapping[str, str]) -> dict:
    asked, answers = names.get("question", "question"), names.get("answers", "answers")
    if not isinstance(question, dict) or asked not in question:
        found = errors.shortlist(question) if isinstance(question, dict) else type(question).__name__
        hint = ANOTHER_NAME.format(role="question")
        raise errors.DataError(f"{place}: an entry of 'qas' has no {asked!r}; found {found}; {hint}.")
    own_id = next((key for key in ("id", "qid") if key in question), None)
    row = {"id": question[own_id]} if own_id else {}
    row |= context | {asked: question[asked], answers: question.get(answers)}
    taken = (*row, "qid", "plausible_answers")
    rest = {key: value for key, value in question.items() if key not in taken}
    (text,) = context.values()
    return _with_detected(row | above | rest | row, text, place, names)


def _with_detected(row: dict, context: Any, place: str, names: Mapping[str, str]) -> dict:
    """The row with MRQA's `detected_answers` as its answers; its own stay where none was detected."""
    detected = row.pop("detected_answers", None)
    if detected is None or "answers" in names:
        return row
    try:
        answers = [answer for text, spans in _detected(detected) for answer in _standing(text, spans, context)]
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise errors.DataError(
            f"{place}: its detected_answers cannot be read; each must have a 'text' and 'char_spans' [[first, last]]."
        ) from problem
    return row if not answers and row.get("answers") is not None else row | {"answers": answers}


def _detected(detected: Any) -> Iterator[tuple[str, list]]:
    """(text, [(first, last), …]) of every detected answer, as MRQA's files hold them or as the hub's columns do."""
    if isinstance(detected, dict):
        detected = [dict(zip(detected, values, strict=True)) for values in zip(*detected.values(), strict=True)]
    for answer in detected:
        spans = answer["char_spans"]
        if isinstance(spans, dict):
            spans = zip(spans["start"], spans["end"], strict=True)
        yield answer["text"], [(int(first), int(last)) for first, last in spans]


def _standing(text: str, spans: list, context: str) -> list[dict]:
    """An answer a span, each with the text that stands there; MRQA's ends are inclusive.

    A text that stands there without its last character says that this one's end is exclusive. Where something else
    stands there and the text elsewhere, or nothing stands there, the span is wrong and the text stays as it is stated.
    """
    answers = []
    for first, last in spans:
        there = context[first : last + (context[first:last] != text)]
        is_wrong = not there.strip() or (not same_but_for_form(text, there) and find_answer(context, text, first))
        answers.append({"text": text if is_wrong else there, "answer_start": first})
    return answers


def _task_row(task: dict, place: str, names: Mapping[str, str]) -> dict:
    """One task of Label Studio's JSON export: the fields of its data, and the spans that people have labelled.

    Cancelled annotations and the predictions of models do not count. A task without labelled spans has no answers
    yet, which is not the same as an empty list of answers.
    """
    data = dict(task["data"])
    if "context" not in data and "text" in data and "context" not in names:
        data = {"context": data.pop("text")} | data
    row = {"id": task.get("id")} | data
    context = row.get(names.get("context", "context"))
    try:
        answers = [
            _labelled_answer(result["value"], context)
            for annotation in task["annotations"]
            if not annotation.get("was_cancelled")
            for result in _results(annotation)
            if result.get("type") == "labels" and "start" in result["value"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise errors.DataError(
            f"{place}: its annotations cannot be read; each 'result' of type labels must have a 'value' with 'start', "
            "'end' and 'text'."
        ) from problem
    return row | ({"answers": answers} if answers else {})


def _results(annotation: dict) -> Any:
    result = annotation.get("result")
    return [] if result is None else result


def _labelled_answer(value: dict, context: Any) -> dict:
    start, end = value["start"], value.get("end")
    if "text" in value:
        return {"text": value["text"], "answer_start": start, "answer_end": end}
    text = context[int(start) : int(value["end"])] if isinstance(context, str) else ""
    return {"text": text, "answer_start": start, "answer_end": end}
