"""A row's answers, in whatever shape its cell has them.

A cell may hold an answer as it is, or a literal of answers. Its own text is the answer if it stands in the context;
only what does not is tried as a literal.
"""

import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from datamap.data.cells import clean, is_empty, is_missing, is_scalar, shorten
from datamap.data.literals import parse_literal
from datamap.data.places import occurrences, stands_alone, tolerant_occurrences

MISSING_START = -1
LEFT_OUT = "left out"
MAY_BE_LITERAL = re.compile(r"""\s*(?:[\[{("']|[\w.]+\()""")
EMPTY_LITERAL = re.compile(r"\s*(?:\[\s*\]|\{\s*\}|\(\s*\))\s*")
# A literal of texts or of dicts, whole or broken off: nobody writes an answer like that.
IS_LITERAL = re.compile(r"""\s*(?:\[?\s*\{\s*['"]|\[\s*['"]|(?:np\.|numpy\.)?array\()""")
NULL_WORDS = ("None", "null")
MARKS = ("true", "1", "1.0", "yes", "y", "t")  # of a question that has no answer
UNREADABLE = "answers cannot be read"
NOT_YET_ANSWERED = "no answer, yet not marked impossible"


class UnreadableAnswers(ValueError):
    """The answers of one row are in no shape that we know."""


def read_all_answers(cells: list, contexts: Sequence[str]) -> tuple[list[dict], list[tuple]]:
    """All rows' answers in the canonical shape, and what is to be listed as (row, problem, action, before).

    Answers that cannot be read are left empty and their rows listed as left out. "None" and "null" are answers if
    they stand in the contexts of all rows that have them; else they say that there is none, and those rows are listed
    whose context has them.
    """
    answers, listed = [], []
    words, in_doubt = _words_that_answer(cells, contexts)
    for row, (cell, context) in enumerate(zip(cells, contexts, strict=True)):
        try:
            answers.append(read_answers(cell, context, words))
        except UnreadableAnswers as problem:
            answers.append(_no_answers())
            listed.append((row, str(problem), LEFT_OUT, shorten(cell)))
    listed += [(row, "answer reads None or null", "taken as no answer", shorten(cells[row])) for row in in_doubt]
    return answers, listed


def _no_answers() -> dict:
    return {"text": [], "answer_start": []}


def _words_that_answer(cells: list, contexts: Sequence[str]) -> tuple[set[str], list[int]]:
    """Which of NULL_WORDS are answers, and the rows whose context has one that is not."""
    words, in_doubt = set(), []
    for word in NULL_WORDS:
        rows = [row for row, cell in enumerate(cells) if isinstance(cell, str) and cell.strip() == word]
        places = {row: occurrences(contexts[row], word) for row in rows}
        spans = {row: [(place, place + len(word)) for place in starts] for row, starts in places.items()}
        standing = [row for row in rows if any(stands_alone(contexts[row], *span) for span in spans[row])]
        if rows and standing == rows:
            words.add(word)
        else:
            in_doubt += standing
    return words, in_doubt


def read_answers(cell: Any, context: str = "", words: Collection[str] = ()) -> dict:
    """One row's answers as {"text": [str], "answer_start": [int]}, with "answer_end" where it is stated.

    Takes {text: [...], answer_start: [...]}, a list of dicts, a single dict, scalars in place of lists, a list of
    texts, each also as a literal in a string (see literals), and None. A string that stands in the context, and one
    that is no literal, is the answer itself. A missing start or end becomes −1. `words`: those of NULL_WORDS that are
    answers. Raises UnreadableAnswers.
    """
    value = cell
    if isinstance(cell, str):
        is_null = cell.strip() in NULL_WORDS and cell.strip() not in words
        value = None if is_null or not cell.strip() else _meant(cell, context)
    value = {str(key).lower(): field for key, field in value.items()} if isinstance(value, dict) else value
    if isinstance(value, dict) and isinstance(value.get("text"), str) and not _is_placed(value, context):
        text = _meant(value["text"], context)
        value = text if _holds_dicts(text) else value | {"text": text}
    if is_missing(value):
        return _no_answers()
    parts = [_answer_part(part) for part in _as_list(value)]
    answers = {key: [item for part in parts for item in part[key]] for key in ("text", "answer_start")}
    if any("answer_end" in part for part in parts):
        ends = [part.get("answer_end", [MISSING_START] * len(part["text"])) for part in parts]
        answers["answer_end"] = [end for part in ends for end in part]
    return answers


def _is_placed(answer: dict, context: str) -> bool:
    """Whether the one text of a dict stands at the one start that the dict states."""
    start = str(answer.get("answer_start"))
    return start.isdigit() and context.startswith(answer["text"], int(start))


def _holds_dicts(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(part, dict) for part in value))


def _meant(cell: str, context: str) -> Any:
    """What the text of a cell means: itself, or the answers that it is a literal of. Raises UnreadableAnswers."""
    if not MAY_BE_LITERAL.match(cell):
        return cell
    if EMPTY_LITERAL.fullmatch(cell):
        return []
    if cell.strip() in context:
        return cell
    try:
        value = parse_literal(cell)
    except ValueError:
        value = None
    if isinstance(value, (dict, list, tuple)) and (IS_LITERAL.match(cell) or all(map(is_missing, value))):
        return value
    if tolerant_occurrences(context, cell):
        return cell
    if value is not None and _stand_in(context, value, cell):
        return value
    if IS_LITERAL.match(cell):
        raise UnreadableAnswers(UNREADABLE)
    return cell


def _stand_in(context: str, value: Any, cell: str) -> bool:
    """Whether a literal of texts and numbers says what stands in the context; no literal is a value in parentheses."""
    parts = _as_list(value)
    in_parentheses = cell.lstrip().startswith("(") and not isinstance(value, tuple)
    plain = all(isinstance(part, (str, int, float)) and not isinstance(part, bool) for part in parts)
    return plain and not in_parentheses and all(tolerant_occurrences(context, str(part)) for part in parts)


def _as_list(value: Any) -> list:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _answer_part(part: Any) -> dict:
    """One dict of answers, its fields lists or scalars, or one bare text."""
    if part is None or is_scalar(part):
        part = {"text": part}
    if not isinstance(part, dict):
        raise UnreadableAnswers(UNREADABLE)
    fields = {str(key).lower(): value for key, value in part.items()}
    if fields and "text" not in fields:
        raise UnreadableAnswers(UNREADABLE)
    stated = {
        key: _as_list(fields[key] if key == "text" else _offsets(fields[key]))
        for key in ("text", "answer_start", "answer_end")
        if key in fields and not is_missing(fields[key])
    }
    if not stated.get("text") and not stated.get("answer_start"):
        return _no_answers()
    texts = [_answer_text(value) for value in stated.get("text", [None])]
    answers: dict[str, list] = {"text": texts, "answer_start": [MISSING_START] * len(texts)}
    answers |= {key: [_offset(value) for value in values] for key, values in stated.items() if key != "text"}
    if len({len(values) for values in answers.values()}) > 1:
        raise UnreadableAnswers("answer lists differ in length")
    return answers


def _answer_text(value: Any) -> str:
    if not is_scalar(value):
        raise UnreadableAnswers(UNREADABLE)
    return "" if is_missing(value) else clean(str(value))


def _offsets(value: Any) -> Any:
    """Places in the context, out of the text of a cell if they are a literal in it."""
    if not isinstance(value, str) or not MAY_BE_LITERAL.match(value):
        return value
    try:
        return parse_literal(value)
    except ValueError as problem:
        raise UnreadableAnswers(UNREADABLE) from problem


def _offset(value: Any) -> int:
    """A place in the context, in characters; −1 where none is stated."""
    if is_empty(value):
        return MISSING_START
    if isinstance(value, str) and (number := re.fullmatch(r"\s*(-?\d{1,18})(?:\.0*)?\s*", value)):
        return int(number[1])
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool) and value == value // 1:
        return int(value)
    raise UnreadableAnswers(UNREADABLE)


def has_marks(flags: list | None) -> bool:
    """Whether any row says in `is_impossible` that it has no answer, or that it has one."""
    return flags is not None and not all(map(is_empty, flags))


def settle_impossible(answers: list[dict], cells: list, flags: list | None) -> tuple[list[dict], list[tuple]]:
    """The answers without those of impossible questions, and what is to be listed as (row, problem, action, before).

    `flags` are SQuAD 2.0's `is_impossible`, None where the data have none. A row without any answer is left out, as
    one that nobody has answered yet, if it is not marked impossible where others are marked one way or the other, or
    if it lacks the field of answers that others have.
    """
    marked = [str(flag).strip().lower() in MARKS for flag in flags or [None] * len(answers)]
    flagged, missing = has_marks(flags), [is_missing(cell) for cell in cells]
    settled, listed = list(answers), []
    for row, answer in enumerate(answers):
        if marked[row] and answer["text"]:
            settled[row] = _no_answers()
            listed.append((row, "impossible question with answers", "answers dropped", shorten(answer["text"])))
        is_open = flagged or (missing[row] and not all(missing))
        if is_open and not marked[row] and not any(map(str.strip, answer["text"])):
            listed.append((row, NOT_YET_ANSWERED, LEFT_OUT, ""))
    return settled, listed
