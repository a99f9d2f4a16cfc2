"""From the name of a data set to its raw rows: the built-in demo, a file, a `save_to_disk` directory or the hub.

Rows come out with the columns as found; `records` makes the canonical frame of them.
"""

import csv
import gzip
import io
import json
import logging
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import errors

logger = logging.getLogger(__name__)

DEMO_NAMES = {"qa": ("demo", "demo:v2", "demo:noisy"), "nli": ("demo:nli",)}
FILE_SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".parquet")
LABEL_COLUMNS = ("label", "gold_label")
APOSTROPHES = "apostrophe_before"
HUB_TIMEOUT = 10  # seconds to wait for the hub's first answer
WAY_OUT = "use --dataset demo, or give a local file or a directory written by save_to_disk"


@dataclass(frozen=True)
class Source:
    """A data set that has been found: its splits in their own order, and the class names of its label column.

    `label_names` is None where the data set does not carry any.
    """

    name: str
    splits: tuple[str, ...]
    label_names: tuple[str, ...] | None
    frame_of_split: Callable[[str], pd.DataFrame]

    def read(self, split: str) -> pd.DataFrame:
        """Raw rows of one split, columns as found; nested SQuAD articles become a row a question.

        Raises errors.DataError, naming the splits that exist, when there is no such split.
        """
        if split not in self.splits:
            raise errors.DataError(
                f"The data set {self.name!r} has no split {split!r}; it has {', '.join(self.splits)}."
            )
        frame = self.frame_of_split(split)
        if "paragraphs" in frame.columns:
            return _frame_of(flatten_articles(frame.to_dict("records"), self.name))
        return frame


def open_source(name: str, task: str) -> Source:
    """Find the data set called `name` for the task "qa" or "nli".

    In this order: the demo names, an existing file or directory, a name of the hub (`name` or `name:subset`).
    Raises errors.UsageError for a demo of the other task, errors.DataError for whatever cannot be read.
    """
    if name == "demo" or name.startswith("demo:"):
        return _open_demo(name, task)
    path = Path(os.path.expanduser(name))
    if path.is_dir():
        return _open_directory(name, path)
    if path.exists():
        return _open_file(name, path)
    if _file_kind(path) or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise errors.DataError(f"The file or directory {name!r} is missing (looked in {Path.cwd()}).")
    return _open_hub(name)


def _open_demo(name: str, task: str) -> Source:
    if name not in DEMO_NAMES[task]:
        choices = " or ".join(DEMO_NAMES[task])
        other = "nli" if task == "qa" else "qa"
        hint = f", or pass --task {other}" if name in DEMO_NAMES[other] else ""
        raise errors.UsageError(f"--dataset {name} does not go with --task {task}: use {choices}{hint}.")
    import demo_data

    rows = demo_data.make_demo(name.partition(":")[2])
    label_names = tuple(demo_data.NLI_LABELS) if task == "nli" else None
    return Source(name, tuple(rows), label_names, lambda split: _frame_of(rows[split]))


def _frame_of(rows: list[dict]) -> pd.DataFrame:
    """Rows with any keys as a frame of Python objects: columns in order of appearance, None where a row has none.

    No type is inferred, so that an int stays an int beside a missing value and "0012" stays text.
    """
    names = dict.fromkeys(key for row in rows for key in row)
    columns = {key: pd.Series([row.get(key) for row in rows], dtype=object) for key in names}
    return pd.DataFrame(columns)


def _file_kind(path: Path) -> str | None:
    """The suffix that says how a file is read, whether or not `.gz` follows it; None if it is not one of ours."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in FILE_SUFFIXES else None


def _open_file(name: str, path: Path) -> Source:
    kind = _file_kind(path)
    if kind is None:
        known = ", ".join(FILE_SUFFIXES)
        raise errors.DataError(f"{name}: the file type is not known; files end in {known}, each also with .gz.")
    content = _read_bytes(name, path)
    label_names = None
    if kind == ".parquet":
        frame, label_names = _read_parquet(name, content)
    elif kind == ".csv":
        frame = _read_csv(name, _decode(name, content))
    elif kind == ".json":
        frame = _read_json(name, _decode(name, content))
    else:
        frame = _read_json_lines(name, _decode(name, content))
    if not len(frame):
        raise errors.DataError(f"{name}: the file holds no rows.")
    return Source(name, ("train",), label_names, lambda split: frame)


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
    if not content.strip():
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


def _read_json(name: str, text: str) -> pd.DataFrame:
    """Rows of `{"data": [...]}` or of a plain list: flat rows, or SQuAD articles still to be flattened."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as problem:
        hint = "; a file with one JSON object a line must end in .jsonl" if problem.msg == "Extra data" else ""
        raise errors.DataError(
            f"{name}, line {problem.lineno}, column {problem.colno}: broken JSON ({problem.msg}{hint})."
        ) from problem
    except (ValueError, RecursionError) as problem:
        raise errors.DataError(f"{name}: JSON that cannot be read ({_one_line(problem)}).") from problem
    rows = content.get("data") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        found = f"an object with {', '.join(content)}" if isinstance(content, dict) else repr(content)[:60]
        raise errors.DataError(f'{name}: expected a list of rows or {{"data": [...]}}, found {found}.')
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise errors.DataError(f"{name}: entry {number} is not an object but {type(row).__name__}.")
    return _frame_of(rows)


def _read_json_lines(name: str, text: str) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as problem:
            raise errors.DataError(
                f"{name}, line {number}, column {problem.colno}: broken JSON ({problem.msg})."
            ) from problem
        except (ValueError, RecursionError) as problem:
            raise errors.DataError(
                f"{name}, line {number}: JSON that cannot be read ({_one_line(problem)})."
            ) from problem
        if not isinstance(row, dict):
            raise errors.DataError(f"{name}, line {number}: not an object but {type(row).__name__}.")
        rows.append(row)
    return _frame_of(rows)


def _read_csv(name: str, text: str) -> pd.DataFrame:
    """Every cell as text; a line with another number of fields than the header is an error, not a guess."""
    csv.field_size_limit(2**31 - 1)  # the standard 131,072 characters are too few for a long note
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows = []
    line = 1
    try:
        header = [field.strip() for field in next(reader)]
        for row in reader:
            line, first_line = reader.line_num, line + 1
            if row and len(row) != len(header):
                raise errors.DataError(
                    f"{name}, line {first_line}: {len(row)} fields where the header has {len(header)}."
                )
            rows.extend([row] if row else [])
    except csv.Error as problem:
        raise errors.DataError(f"{name}, line {reader.line_num}: broken CSV ({problem}).") from problem
    repeated = sorted({field for field in header if header.count(field) > 1})
    if repeated:
        raise errors.DataError(f"{name}: the header has the column {', '.join(repeated)} more than once.")
    return _without_apostrophes(pd.DataFrame(rows, columns=header, dtype=object))


def _without_apostrophes(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as it was before report.html put an apostrophe before what a spreadsheet would take for a formula.

    A column `apostrophe_before` names, for every row, the columns in which that was done; it is dropped.
    """
    if APOSTROPHES not in frame:
        return frame
    changed = [set(names.split()) for names in frame[APOSTROPHES]]
    plain = {
        column: [text[1:] if column in names and text.startswith("'") else text
                 for text, names in zip(frame[column], changed, strict=True)]
        for column in frame.columns if column != APOSTROPHES
    }  # fmt: skip
    return pd.DataFrame(plain, dtype=object)


def _read_parquet(name: str, content: bytes) -> tuple[pd.DataFrame, tuple[str, ...] | None]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(io.BytesIO(content)).read()
    except (pyarrow.ArrowException, OSError) as problem:
        raise errors.DataError(f"{name}: not a whole parquet file ({_one_line(problem)}).") from problem
    return _table_frame(table), _class_names_in_schema(name, table.schema)


def _class_names_in_schema(name: str, schema) -> tuple[str, ...] | None:
    """The class names that `datasets` writes into a parquet file beside the columns, if it wrote the file."""
    if b"huggingface" not in (schema.metadata or {}):
        return None
    from datasets import Features

    try:
        return _class_names(Features.from_arrow_schema(schema))
    except (ValueError, KeyError, TypeError) as problem:
        logger.warning("%s: its class names cannot be read (%s); numbers stand for them.", name, _one_line(problem))
        return None


def _table_frame(table) -> pd.DataFrame:
    """An Arrow table as a frame; ints beside missing values stay ints."""
    return table.to_pandas(integer_object_nulls=True)


def flatten_articles(articles: list[dict], where: str) -> list[dict]:
    """One row a question out of SQuAD's nested layout (v1.1 and v2.0), questions in the order of the file.

    A row has id (where given), context, question, answers, the article's and paragraph's other scalars (title,
    document_id …) and the question's own (is_impossible …). `plausible_answers` are ignored. Raises
    errors.DataError that says where in the file a part is missing.
    """
    rows = []
    for i, article in enumerate(articles):
        for j, paragraph in enumerate(_part(article, "paragraphs", f"{where}: data[{i}]")):
            place = f"{where}: data[{i}].paragraphs[{j}]"
            questions = _part(paragraph, "qas", place)
            context = _part(paragraph, "context", place)
            above = {**_scalars(article), **_scalars(paragraph)}
            rows.extend(_question_row(question, context, above, place) for question in questions)
    if not rows:
        raise errors.DataError(f"{where}: the file holds no questions.")
    return rows


def _part(container, key: str, place: str):
    if not isinstance(container, dict) or container.get(key) is None:
        found = ", ".join(container) if isinstance(container, dict) else type(container).__name__
        raise errors.DataError(f"{place} has no {key!r}; found {found}.")
    part = container[key]
    if key != "context" and (isinstance(part, (str, dict)) or not hasattr(part, "__iter__")):
        raise errors.DataError(f"{place}: {key!r} is not a list but {type(part).__name__}.")
    return part


def _scalars(part: dict) -> dict:
    """The fields of an article or a paragraph that every question below it keeps."""
    own = ("id", "context", "question", "answers")
    return {k: v for k, v in part.items() if k not in own and (v is None or isinstance(v, (str, int, float)))}


def _question_row(question, context, above: dict, place: str) -> dict:
    if not isinstance(question, dict) or "question" not in question:
        raise errors.DataError(f"{place}: an entry of 'qas' has no 'question'.")
    row = {"id": question["id"]} if "id" in question else {}
    row |= {"context": context, "question": question["question"], "answers": question.get("answers")}
    rest = {key: value for key, value in question.items() if key not in row and key != "plausible_answers"}
    return row | above | rest


def _open_directory(name: str, path: Path) -> Source:
    import datasets

    if not any((path / marker).exists() for marker in ("dataset_dict.json", "state.json")):
        raise errors.DataError(
            f"The directory {name!r} was not written by save_to_disk (no dataset_dict.json or state.json in it)."
        )
    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise errors.DataError(f"The directory {name!r} cannot be loaded ({_one_line(problem)}).") from problem
    return _dataset_source(name, loaded)


def _dataset_source(name: str, loaded) -> Source:
    splits = dict(loaded) if isinstance(loaded, dict) else {"train": loaded}
    if not splits:
        raise errors.DataError(f"The data set {name!r} has no splits.")
    named = {_class_names(dataset.features) for dataset in splits.values()} - {None}
    if len(named) > 1:
        listed = "; ".join(", ".join(names) for names in sorted(named))
        raise errors.DataError(
            f"The splits of {name!r} number their labels differently ({listed}); save them with one order of names."
        )
    return Source(name, tuple(splits), next(iter(named), None), lambda split: _dataset_frame(splits[split]))


def _dataset_frame(dataset) -> pd.DataFrame:
    return _table_frame(dataset.with_format("arrow")[:])


def _class_names(features) -> tuple[str, ...] | None:
    """The names of the label column's ClassLabel, if it is one."""
    by_name = {column.lower(): feature for column, feature in features.items()}
    for column in LABEL_COLUMNS:
        names = getattr(by_name.get(column), "names", None)
        if names:
            return tuple(names)
    return None


def _open_hub(name: str) -> Source:
    """A data set of the hub, or its copy in the cache when the hub does not answer; never with remote code."""
    import datasets
    from huggingface_hub.errors import HTTPError

    repository, colon, subset = name.partition(":")
    if colon and not subset:
        raise errors.UsageError(f"The data set {name!r} ends in a colon; give it as name or name:subset.")
    reachable = _hub_answers(repository, name)
    try:
        with _offline(not reachable):
            loaded = datasets.load_dataset(repository, subset or None)
    except ConnectionError as problem:
        raise errors.DataError(
            f"The hub cannot be reached for the data set {name!r}, and no copy of it is cached; {WAY_OUT}."
        ) from problem
    except RuntimeError as problem:
        raise errors.DataError(
            f"The data set {name!r} needs a loading script, and those are never run; {WAY_OUT}."
        ) from problem
    except ValueError as problem:
        raise errors.DataError(
            f"The data set {name!r} cannot be loaded; a subset is chosen as {repository}:SUBSET ({_one_line(problem)})."
        ) from problem
    except (datasets.exceptions.DatasetsError, HTTPError, OSError) as problem:
        raise errors.DataError(
            f"The data set {name!r} cannot be loaded ({_one_line(problem)}); {WAY_OUT}."
        ) from problem
    return _dataset_source(name, loaded)


def _hub_answers(repository: str, name: str) -> bool:
    """Whether the hub answers for this data set, asked once: the library's own retries take 23 seconds to say no.

    Raises errors.DataError when the hub answers that it has no such data set or does not give it out.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HFValidationError, HTTPError, RepositoryNotFoundError

    try:
        HfApi().dataset_info(repository, timeout=HUB_TIMEOUT)
    except HFValidationError as problem:
        raise errors.DataError(
            f"{name!r} is neither an existing path nor a possible name on the hub; {WAY_OUT}."
        ) from problem
    except GatedRepoError as problem:
        raise errors.DataError(
            f"The data set {name!r} is gated: ask for access on its page and set HF_TOKEN, or {WAY_OUT}."
        ) from problem
    except RepositoryNotFoundError as problem:
        raise errors.DataError(
            f"The hub knows no data set {repository!r} (or needs HF_TOKEN for it); {WAY_OUT}."
        ) from problem
    except (HTTPError, OSError) as problem:
        logger.warning("The hub does not answer (%s); looking for %s in the cache.", _one_line(problem), name)
        return False
    return True


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """Keep `datasets` from asking the hub again while it looks into its cache."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or wanted
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def _one_line(problem: BaseException) -> str:
    return " ".join(str(problem).split())[:300].rstrip(".")
