"""File and column names of every output directory, their writers and readers.

Every file is written under a temporary name and moved into place, so that a killed run never leaves half a file;
`manifest.json` comes last, so that a directory without it is an unfinished run (`eval_manifest.json` closes an
evaluation, `predict_manifest.json` predictions, which may come later and lie beside the model).
"""

import contextlib
import csv
import errno
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from datamap.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


EVAL_METRICS = "eval_metrics.json"
EVAL_PREDICTIONS = "eval_predictions.jsonl"
NBEST_PREDICTIONS = "nbest_predictions.jsonl"
PREDICTIONS = "predictions.jsonl"
REPORT = "report.html"
DATA_PROBLEMS = "data_problems.csv"
EVAL_DATA_PROBLEMS = "eval_data_problems.csv"
PREDICT_DATA_PROBLEMS = "predict_data_problems.csv"
PROBLEM_FILES = {"train": DATA_PROBLEMS, "eval": EVAL_DATA_PROBLEMS, "predict": PREDICT_DATA_PROBLEMS}
PROBLEM_COLUMNS = ["id", "problem", "action", "before", "after", "split"]


@contextlib.contextmanager
def atomic_writer(path: Path, newline: str | None = None, *, binary: bool = False) -> Iterator[IO]:
    """Open `path` for writing UTF-8 text (or bytes); the file appears whole when the block ends, or not at all.

    Raises:
        DataError: the disk is full or the directory cannot be written to.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise DataError(unwritable(path, error)) from error
    try:
        text: dict[str, Any] = {} if binary else {"encoding": "utf-8", "newline": newline}
        with os.fdopen(handle, "wb" if binary else "w", **text) as file:
            yield file
        os.chmod(temporary, 0o666 & ~current_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(unwritable(path, error)) from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def short_name(name: str) -> str:
    """A data set, model or directory as figures and pages call it: without the folders that it lies in."""
    path = os.path.abspath(os.path.expanduser(name))
    return os.path.basename(path) if os.path.exists(path) else name


def same_name(first: str | None, second: str | None) -> bool:
    """Whether two names of a data set mean the same one: equal names, or two ways to write one path."""
    if first is None or second is None or first == second:
        return first == second
    paths = [os.path.expanduser(name) for name in (first, second)]
    return all(map(os.path.exists, paths)) and os.path.samefile(*paths)


def unwritable(path: Path, error: OSError) -> str:
    """One sentence for a file that could not be written."""
    room = "free some space or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return f"{path} could not be written ({error.strerror or error}): {room}choose another directory."


def is_full(directory: str | Path, error: Exception) -> bool:
    """True when an error came from a full disk: it says so, or the directory's disk has less than a megabyte left."""
    return "No space left" in str(error) or shutil.disk_usage(directory).free < 2**20


def current_umask() -> int:
    """The process's umask, which `mkstemp` does not heed."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def json_ready(value: Any) -> Any:
    """`value` with numpy scalars and arrays, paths, tuples and non-finite numbers turned into what JSON can hold."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; NaN and infinities become null."""
    with atomic_writer(path) as file:
        json.dump(json_ready(value), file, ensure_ascii=False, indent=2, allow_nan=False)
        file.write("\n")


def write_jsonl(path: Path, rows: Iterable[dict]) -> None:
    """Write one JSON object a line; NaN and infinities become null."""
    with atomic_writer(path) as file:
        for row in rows:
            file.write(json.dumps(json_ready(row), ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path, frame: "pd.DataFrame") -> None:
    """Write a table as CSV (RFC 4180, UTF-8, no index column)."""
    texts = frame.select_dtypes(exclude=["number", "bool"])
    returns = any(isinstance(value, str) and "\r" in value for _, column in texts.items() for value in column)
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL  # the latter leaves a lone "\r" unquoted
    with atomic_writer(path, newline="") as file:
        frame.to_csv(file, index=False, quoting=quoting)


def read_csv(path: Path, text: Iterable[str]) -> "pd.DataFrame":
    """Read a table that `write_csv` wrote: texts and numbers come back as they were.

    Args:
        text: the columns that hold text. They keep it whatever it says ("NA", "null" and "" too). All others hold
            whole numbers, truth values or exact float64 numbers, in which an empty cell is NaN.

    Raises:
        OSError, ValueError: the file cannot be read, is no table, lacks a column of `text`, or has a word where a
            number belongs.
    """
    import pandas as pd

    frame = pd.read_csv(path, dtype=str, na_filter=False, index_col=False, encoding="utf-8")
    missing = [name for name in text if name not in frame]
    if missing:
        raise ValueError(f"it has no column {missing[0]}")
    return frame.assign(**{name: _numbers(frame[name]) for name in frame if name not in text})


def _numbers(cells: "pd.Series") -> "np.ndarray":
    """The cells of a column as int64, bool or float64 [n_rows]; a ValueError names the first that is no number."""
    import numpy as np

    values = cells.to_numpy(dtype=object)
    with contextlib.suppress(ValueError, OverflowError):
        return values.astype(np.int64)
    if set(values) <= {"True", "False"}:
        return values == "True"
    numbers = np.empty(len(values))
    for row, value in enumerate(values):
        try:
            numbers[row] = float(value or "nan")
        except ValueError as error:
            raise ValueError(f"{value!r} in row {row + 1} of the column {cells.name} is no number") from error
    return numbers


def write_text(path: Path, text: str) -> None:
    """Write a text as it is."""
    with atomic_writer(path, newline="") as file:
        file.write(text)


def read_json(path: Path) -> Any:
    """Read a JSON file of the suite.

    Raises:
        DataError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: run the script that writes it first.") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(
            f"{path} is not a readable JSON file ({error}): run the script that writes it again."
        ) from error


def is_first_process() -> bool:
    """True in a single process and in rank 0 of several."""
    return os.environ.get("RANK", "0") == "0"
