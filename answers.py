"""A row's answers, in whatever shape its cell has them."""

import ast
import json
import re

import numpy as np

from cells import clean, is_empty, is_missing, is_scalar, shorten

MISSING_START = -1


class UnreadableAnswers(ValueError):
    """The answers of one row are in no shape that we know."""


def read_all_answers(cells: list) -> tuple[list[dict], dict[int, str]]:
    """All rows' answers in the canonical shape, and row → reason for those that cannot be read (left empty)."""
    answers, unreadable = [], {}
    for row, cell in enumerate(cells):
        try:
            answers.append(read_answers(cell))
        except UnreadableAnswers as problem:
            answers.append({"text": [], "answer_start": []})
            unreadable[row] = str(problem)
    return answers, unreadable


def read_answers(cell) -> dict:
    """One row's answers as {"text": [str], "answer_start": [int]}, with "answer_end" where it is stated.

    Takes {text: [...], answer_start: [...]}, a list of dicts, a single dict, scalars in place of lists, a list of
    texts, each also as JSON or as a Python literal in a string (numpy's `array(...)` included), and None.
    A missing start or end becomes −1. Raises UnreadableAnswers.
    """
    value = _parsed(cell) if isinstance(cell, str) else cell
    if is_missing(value):
        return {"text": [], "answer_start": []}
    parts = [_answer_part(part) for part in _as_list(value)]
    answers = {key: [item for part in parts for item in part[key]] for key in ("text", "answer_start")}
    if any("answer_end" in part for part in parts):
        ends = [part.get("answer_end", [MISSING_START] * len(part["text"])) for part in parts]
        answers["answer_end"] = [end for part in ends for end in part]
    return answers


def _parsed(cell: str):
    """What the text of a cell stands for: lists and dicts as JSON or Python write them, or one answer as it is."""
    if cell.strip() in ("", "None", "null"):
        return None
    if cell.strip()[0] not in '[{("' and not cell.strip().startswith("array("):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(_NumpyLiterals().visit(ast.parse(cell.strip(), mode="eval")))
    except (ValueError, SyntaxError, TypeError, RecursionError) as problem:
        raise UnreadableAnswers("answers cannot be read") from problem


class _NumpyLiterals(ast.NodeTransformer):
    """`array([...], dtype=object)` and `nan`, as numpy and pandas write them into CSV cells, as plain literals."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        is_array = isinstance(node.func, ast.Name) and node.func.id == "array" and node.args
        return node.args[0] if is_array else node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(None) if node.id == "nan" else node


def _as_list(value) -> list:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _answer_part(part) -> dict:
    """One dict of answers, its fields lists or scalars, or one bare text."""
    if part is None or is_scalar(part):
        part = {"text": part}
    if not isinstance(part, dict):
        raise UnreadableAnswers("answers cannot be read")
    fields = {str(key).lower(): value for key, value in part.items()}
    if fields and "text" not in fields:
        raise UnreadableAnswers("answers cannot be read")
    stated = {
        key: _as_list(fields[key])
        for key in ("text", "answer_start", "answer_end")
        if key in fields and not is_missing(fields[key])
    }
    if not stated.get("text") and not stated.get("answer_start"):
        return {"text": [], "answer_start": []}
    texts = [_answer_text(value) for value in stated.get("text", [None])]
    answers = {"text": texts, "answer_start": [MISSING_START] * len(texts)}
    answers |= {key: [_offset(value) for value in values] for key, values in stated.items() if key != "text"}
    if len({len(values) for values in answers.values()}) > 1:
        raise UnreadableAnswers("answer lists differ in length")
    return answers


def _answer_text(value) -> str:
    if not is_scalar(value):
        raise UnreadableAnswers("answers cannot be read")
    return "" if is_missing(value) else clean(str(value))


def _offset(value) -> int:
    """A place in the context, in characters; −1 where none is stated."""
    if is_empty(value):
        return MISSING_START
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,18}\s*", value):
        return int(value)
    if isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and value == value // 1:
        return int(value)
    raise UnreadableAnswers("answers cannot be read")


def without_impossible(raw, columns, answers: list[dict], ids: list[str], problems: list) -> list[dict]:
    """Drop, and list, the answers of questions that SQuAD 2.0's `is_impossible` marks as having none."""
    if "is_impossible" not in columns:
        return answers
    kept = []
    for row, flag in enumerate(raw[columns["is_impossible"]]):
        contradicts = str(flag).lower() in ("true", "1", "1.0") and answers[row]["text"]
        if contradicts:
            before = shorten(answers[row]["text"])
            problems.append((ids[row], "impossible question with answers", "answers dropped", before, ""))
        kept.append({"text": [], "answer_start": []} if contradicts else answers[row])
    return kept
