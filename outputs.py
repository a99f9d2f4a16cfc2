"""File and column names of every output directory, their writers and readers, and the manifest that closes a run.

Every file is written under a temporary name and moved into place, so that a killed run never leaves half a file;
`manifest.json` comes last, so that a directory without it is an unfinished run (`eval_manifest.json` closes an
evaluation, `predict_manifest.json` predictions, which may come later and lie beside the model).
"""

import contextlib
import csv
import errno
import hashlib
import json
import logging
import math
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

CONTRACT_VERSION = 2  # 1: an evaluation by itself had a manifest.json, and data_problems.csv was about its rows too
MANIFEST = "manifest.json"
EVAL_MANIFEST = "eval_manifest.json"
PREDICT_MANIFEST = "predict_manifest.json"
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
PACKAGES = ("torch", "transformers", "datasets", "accelerate", "evaluate", "numpy", "pandas")
MISSING_GLYPH, N_SHOWN_GLYPHS = re.compile(r"Glyph (\d+) .*missing from font"), 5


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
        text = {} if binary else {"encoding": "utf-8", "newline": newline}
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


def remove_leftovers(directory: Path, names: Iterable[str]) -> None:
    """Remove the temporary files that a killed run left beside files of these names."""
    for name in names:
        for path in Path(directory).glob(f".{name}.*"):
            path.unlink(missing_ok=True)


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
    returns = any(column.astype(str).str.contains("\r", regex=False).any() for _, column in texts.items())
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


def _numbers(cells: "pd.Series"):
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


def write_figure(path: Path, figure: "Figure") -> None:
    """Write a matplotlib figure as PNG with 150 dots per inch, and say once which characters its font lacks."""
    with warnings.catch_warnings(record=True) as caught, atomic_writer(path, binary=True) as file:
        warnings.simplefilter("always")
        figure.savefig(file, format="png", dpi=150)
    lacking = set()
    for warning in caught:
        glyph = MISSING_GLYPH.match(str(warning.message))
        if glyph:
            lacking.add(chr(int(glyph[1])))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if lacking:
        shown = " ".join(sorted(lacking)[:N_SHOWN_GLYPHS]) + (" …" if len(lacking) > N_SHOWN_GLYPHS else "")
        told = "%s: the font of figures lacks %d characters (%s), which are drawn as boxes; tables and pages show them."
        logger.warning(told, path.name, len(lacking), shown)


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


def ids_hash(ids: Iterable[str]) -> str:
    """SHA-256 over the ids of a data set, whatever their order: equal exactly when the sets of ids are equal."""
    digest = hashlib.sha256()
    for identifier in sorted(ids):
        digest.update(json.dumps(identifier).encode())
    return digest.hexdigest()


def texts_hash(frame: "pd.DataFrame") -> str:
    """SHA-256 over ids and texts of a canonical frame, whatever the order of its rows; NLI without the labels."""
    columns = ["id", "premise", "hypothesis"] if "premise" in frame else ["id", "question", "context", "answers"]
    digest = hashlib.sha256()
    for row in sorted(json.dumps(row, default=int) for row in frame[columns].itertuples(index=False, name=None)):
        digest.update(row.encode())
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on (those installed)."""
    from importlib import metadata

    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def git_commit() -> str | None:
    """The commit that the suite's own checkout stands at, or None where there is no git or no checkout."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def write_manifest(directory: Path, fields: dict, made_from: Iterable[Path] = (), name: str = MANIFEST) -> None:
    """Close a run: write its manifest last, when every other file of it is in place.

    Args:
        directory: the output directory.
        fields: what the script adds: resolved arguments, seed, data sets with split, rows and hash of the ids.
        made_from: directories whose `manifest.json` this run read, or other manifests; those that are not there are
            left out.
        name: of the manifest.
    """
    sources = [Path(source) / MANIFEST if Path(source).is_dir() else Path(source) for source in made_from]
    header = {
        "contract_version": CONTRACT_VERSION,
        "command_line": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "versions": package_versions(),
        "git_commit": git_commit(),
        "made_from": {str(source): file_hash(source) for source in sources if source.is_file()},
    }
    write_json(Path(directory) / name, header | fields)


def has_manifest(directory: Path) -> bool:
    """True when the directory holds a finished run."""
    return (Path(directory) / MANIFEST).is_file()


def read_manifest(directory: str | Path, name: str = MANIFEST) -> dict:
    """A directory's manifest of this name; empty where there is none.

    Raises:
        DataError: the file is not a manifest.
    """
    path = Path(directory) / name
    manifest = read_json(path) if path.is_file() else {}
    if not isinstance(manifest, dict):
        raise DataError(f"{path} is not a manifest of this suite: choose another directory.")
    return manifest


def trained_part(model: str, dataset: str) -> dict:
    """What the manifest of a model says of the rows it was trained on; empty unless they are of this data set."""
    trained = read_manifest(model).get("data", {}).get("train", {})
    return trained if same_name(trained.get("dataset"), dataset) else {}


def refuse_unwritable(directory: Path) -> None:
    """UsageError when no file can be made in `directory`, or where it would be made; leaves nothing behind."""
    try:
        place = next(place for place in (directory, *directory.absolute().parents) if place.exists())
        with tempfile.TemporaryFile(dir=place):
            return
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"--output_dir {directory} cannot be written to ({reason}): choose another one.") from error


def refuse_foreign_directory(directory: Path, script: str) -> None:
    """UsageError when `directory` is a file, or holds the finished run of another script than `script`."""
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"--output_dir {directory} is a file: choose another name.")
    if has_manifest(directory) and read_manifest(directory).get("script") != script:
        raise UsageError(f"--output_dir {directory} holds the finished run of another script: choose another one.")


def clear(directory: Path, names: Iterable[str], manifest: str = MANIFEST) -> None:
    """Remove files that are going to be written again, the manifest before all else.

    Raises:
        DataError: one of them cannot be removed.
    """
    if not Path(directory).is_dir():
        return
    for name in (manifest, *names):
        path = Path(directory) / name
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"{path} could not be removed ({error.strerror}): choose another directory.") from error
    remove_leftovers(directory, (manifest, *names))


def checkpoint_directories(directory: Path) -> list[Path]:
    """The directories `checkpoint-N` of a directory, complete or not, by rising N."""
    found = [path for path in Path(directory).glob("checkpoint-*") if path.is_dir() and path.name[11:].isdecimal()]
    return sorted(found, key=lambda path: int(path.name[11:]))


def checkpoints(directory: Path) -> list[Path]:
    """The complete checkpoints of a directory, oldest first."""
    return [path for path in checkpoint_directories(directory) if (path / "trainer_state.json").is_file()]


def refuse_earlier_run(directory: Path, overwrite: bool, training_args, model: str) -> None:
    """Refuse to train into a directory that holds a run, unless it is to be overwritten or resumed.

    Raises:
        UsageError: a finished run, checkpoints that a new run would mix with, or a file instead of a directory; also a
            model inside the directory, which training would overwrite.
    """
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"--output_dir {directory} is a file: choose another name.")
    if Path(model).exists() and directory.resolve() in (Path(model).resolve(), *Path(model).resolve().parents):
        raise UsageError(
            f"--model {model} lies in --output_dir {directory}, which this run writes: choose another one."
        )
    if overwrite:
        return
    if has_manifest(directory):
        raise UsageError(
            f"{directory} holds a finished run: choose another --output_dir, or pass --overwrite_output_dir."
        )
    if checkpoints(directory) and not training_args.resume_from_checkpoint:
        raise UsageError(
            f"{directory} holds checkpoints of an unfinished run: pass --resume_from_checkpoint last to go on, "
            "--overwrite_output_dir to start again, or another --output_dir."
        )


def checkpoint_to_resume(directory: Path, asked: str | None) -> str | None:
    """The checkpoint that `--resume_from_checkpoint` means: a directory, or "last" (also "True") for the newest one.

    Raises:
        DataError: there is no such checkpoint.
    """
    if not asked or str(asked).lower() == "false":
        return None
    if str(asked).lower() in {"last", "true"}:
        found = checkpoints(directory)
        if not found:
            raise DataError(f"{directory} holds no complete checkpoint to resume from: start without the flag.")
        return str(found[-1])
    if not (Path(asked) / "trainer_state.json").is_file():
        raise DataError(f"--resume_from_checkpoint {asked}: there is no complete checkpoint there.")
    return str(asked)


def clear_earlier_run(directory: Path, checkpoints_too: bool, weights: Iterable[Path] = ()) -> None:
    """Remove the manifest of a training and, where it begins anew, its checkpoints and its model.

    The old `weights` would otherwise be taken for those of the new training if that is killed.
    """
    clear(directory, (DATA_PROBLEMS, *([file.name for file in weights] if checkpoints_too else [])))
    if checkpoints_too:
        for checkpoint in checkpoint_directories(directory):
            shutil.rmtree(checkpoint)


def what_is_left(directory: Path) -> str:
    """Where an interrupted run can go on, in a few words."""
    found = checkpoints(directory)
    if not found:
        return "there is no checkpoint yet"
    return f"the last checkpoint is {found[-1]}; go on with --resume_from_checkpoint last"
