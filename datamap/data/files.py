"""One file of examples, whatever its type, as a frame of raw rows."""

import gzip
import io
import json
import logging
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from datamap import errors
from datamap.data.columns import NLI_LABELS
from datamap.data.delimited import FIRST_CHOICE, read_delimited
from datamap.data.layouts import NESTED, frame_of

logger = logging.getLogger(__name__)

JSON, LINES, PARQUET = ".json", (".jsonl", ".ndjson"), ".parquet"
FILE_SUFFIXES = (JSON, *LINES, *FIRST_CHOICE, PARQUET)


def file_kind(path: Path) -> str | None:
    """The suffix that says how a file is read, whether or not `.gz` follows it; None if it is not one of ours."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in FILE_SUFFIXES else None


def read_file(
    name: str, path: Path, known: Iterable[str], label: str | None
) -> tuple[pd.DataFrame, tuple[str, ...] | None]:
    """(raw rows with the columns as found, class names of the label column or None).

    Args:
        name: the file as the user calls it, for sentences.
        known: names that a column may have; they tell what separates the fields of a table.
        label: the name of the label column; None for the usual ones.

    Raises:
        errors.DataError: the type is unknown, the file cannot be read, or it holds no rows.
    """
    kind = file_kind(path)
    if kind is None:
        listed = ", ".join(FILE_SUFFIXES)
        raise errors.DataError(f"{name}: the file type is not known; files end in {listed}, each also with .gz.")
    label_names = None
    if kind == PARQUET:
        frame, label_names = _read_parquet(name, _read_bytes(name, path), label)
    elif kind in FIRST_CHOICE:
        frame = read_delimited(name, _decode(name, _read_bytes(name, path)), kind, known)
    else:
        frame = frame_of(_read_json(name, _decode(name, _read_bytes(name, path)), kind, known))
    if not len(frame):
        raise errors.DataError(f"{name}: the file holds no rows.")
    return frame, label_names


def _read_bytes(name: str, path: Path) -> bytes:
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path, "rb") as stream:
                content = stream.read()
        else:
            content = path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
        raise errors.DataError(f"{name}: the file is not whole gzip data ({problem}).") from problem
    except OSError as problem:
        raise errors.DataError(f"{name}: the file cannot be read ({problem.strerror}).") from problem
    if not content or content.isspace():
        raise errors.DataError(f"{name}: the file is empty.")
    return content


def _decode(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise errors.DataError(
            f"{name}, line {line}: the text is not UTF-8 (byte 0x{content[problem.start]:02x}); "
            "save the file as UTF-8 and try again."
        ) from problem


def _read_json(name: str, text: str, kind: str, known: Iterable[str]) -> list[dict]:
    """Rows of `{"data": [...]}`, of a plain list, or of one object a line: flat ones, or layouts to be flattened."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as problem:
        if kind in LINES or _is_first_of_lines(text, problem):
            if kind == JSON:
                logger.info("%s: read as one JSON object a line.", name)
            return _read_json_lines(name, text)
        raise errors.DataError(_broken_json(name, problem)) from problem
    if isinstance(content, dict) and not isinstance(content.get("data"), list):
        if kind in LINES or _is_row(content, known):
            return [content]
        found = f"an object with {errors.shortlist(content)}"
        raise errors.DataError(f'{name}: expected a list of rows or {{"data": [...]}}, found {found}.')
    rows = content["data"] if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise errors.DataError(f'{name}: expected a list of rows or {{"data": [...]}}, found {repr(content)[:60]}.')
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise errors.DataError(f"{name}: entry {number} is not an object but {type(row).__name__}.")
    return rows


def _broken_json(name: str, problem: Exception, line: int | None = None) -> str:
    """One sentence for a text that is no JSON; `line` is where it stands in the file, None for all of the file."""
    if isinstance(problem, json.JSONDecodeError):
        return f"{name}, line {line or problem.lineno}, column {problem.colno}: broken JSON ({problem.msg})."
    place = f", line {line}" if line else ""
    return f"{name}{place}: JSON that cannot be read ({one_line(problem)})."


def _is_first_of_lines(text: str, problem: Exception) -> bool:
    """Whether a text was found to go on after a first JSON value, which fills a line by itself."""
    if not isinstance(problem, json.JSONDecodeError) or problem.msg != "Extra data":
        return False
    first = text[: problem.pos].rstrip()
    return "\n" in text[len(first) : problem.pos] and "\n" not in first.lstrip()


def _is_row(content: dict, known: Iterable[str]) -> bool:
    """Whether an object by itself is a row (or an article) rather than what holds the rows."""
    names = {str(key).lower() for key in content}
    return bool(names & NESTED) or len(names & {name.lower() for name in known}) > 1


def _lines(text: str) -> Iterator[str]:
    """As text.split("\\n"), of which one line at a time is held."""
    begin = 0
    while (end := text.find("\n", begin)) >= 0:
        yield text[begin:end]
        begin = end + 1
    yield text[begin:]


def _read_json_lines(name: str, text: str) -> list[dict]:
    """The rows; texts that several share, such as contexts, are held once."""
    rows: list[dict] = []
    shared: dict[str, str] = {}
    for number, line in enumerate(_lines(text), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as problem:
            raise errors.DataError(_broken_json(name, problem, number)) from problem
        if not isinstance(row, dict):
            raise errors.DataError(f"{name}, line {number}: not an object but {type(row).__name__}.")
        rows.append({key: shared.setdefault(value, value) if type(value) is str else value
                     for key, value in row.items()})  # fmt: skip
    return rows


def _read_parquet(name: str, content: bytes, label: str | None) -> tuple[pd.DataFrame, tuple[str, ...] | None]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(io.BytesIO(content)).read()
    except (pyarrow.ArrowException, OSError) as problem:
        raise errors.DataError(f"{name}: not a whole parquet file ({one_line(problem)}).") from problem
    return table_frame(table), _class_names_in_schema(name, table.schema, label)


def _class_names_in_schema(name: str, schema: Any, label: str | None) -> tuple[str, ...] | None:
    """The class names that `datasets` writes into a parquet file beside the columns, if it wrote the file."""
    if b"huggingface" not in (schema.metadata or {}):
        return None
    from datasets import Features

    try:
        return class_names(Features.from_arrow_schema(schema), label)
    except (ValueError, KeyError, TypeError) as problem:
        logger.warning("%s: its class names cannot be read (%s); numbers stand for them.", name, one_line(problem))
        return None


def table_frame(table: Any) -> pd.DataFrame:
    """An Arrow table as a frame; ints beside missing values stay ints."""
    return table.to_pandas(integer_object_nulls=True)


def class_names(features: Any, label: str | None) -> tuple[str, ...] | None:
    """The names of the label column's ClassLabel, if it is one; `label` None means the usual names of that column."""
    by_name = {column.lower(): feature for column, feature in features.items()}
    candidates = NLI_LABELS if label is None else (label.lower(),)
    found = next((by_name[column] for column in candidates if column in by_name), None)
    names = getattr(found, "names", None)
    return tuple(names) if names else None


def one_line(problem: BaseException) -> str:
    """An exception's text on one line, at most 300 characters, without a final full stop."""
    return " ".join(str(problem).split())[:300].rstrip(".")
