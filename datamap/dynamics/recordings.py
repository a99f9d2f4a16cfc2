"""Recordings: the files of a cartography directory and of a checkpoint's share in it, their writers and readers."""

import dataclasses
import json
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from datamap.dynamics.measures import OUT_OF_FOLD_MEASURES
from datamap.errors import DataError, UsageError
from datamap.files import directories, manifests, outputs

EPOCH_PATTERN = re.compile(r"training_dynamics_epoch_([1-9][0-9]*)\.json")
METRICS_JSON = "cartography_metrics.json"
METRICS_CSV = "cartography_metrics.csv"
MAP = "cartography_map.png"
UNTRACKED = "untracked_examples.csv"
CROSSFIT_PREDICTIONS = "crossfit_predictions.jsonl"
STATE = "cartography_state.npz"
IN_PROGRESS = "recording_in_progress.json"
COUNTS = ("n_windows", "n_gold_windows")
QA_MEASURES = ("gold_prob", "start_prob", "end_prob", "correct", "span_f1", "margin", "loss", "el2n")
NLI_MEASURES = ("gold_prob", "correct", "margin", "loss", "el2n")
LATER_MEASURES = {"el2n"}  # recordings of earlier versions lack them


def epoch_path(directory: Path, number: int) -> Path:
    """The file of epoch `number`, counted from 1."""
    return Path(directory) / f"training_dynamics_epoch_{number}.json"


def epoch_paths(directory: Path) -> dict[int, Path]:
    """The epoch files of a directory by their number, in rising order."""
    found = {}
    for path in Path(directory).glob("training_dynamics_epoch_*.json"):
        match = EPOCH_PATTERN.fullmatch(path.name)
        if match:
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def refuse_earlier_recording(directory: Path, output_dir: Path, overwrite: bool, resuming: bool) -> None:
    """Refuse a directory in which a recording would meet another one or another script's files.

    Raises:
        UsageError: `directory` is a file or --output_dir itself, or holds another script's run, a finished recording,
            or epochs of an unfinished one. The last two may be overwritten, or gone on with when resuming.
    """
    flag = f"--cartography_output_dir {directory}"
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{flag} is a file: choose another name.")
    if directory.resolve() == Path(output_dir).resolve():
        raise UsageError(f"{flag} is --output_dir as well, and each writes a manifest: choose two directories.")
    if manifests.has_manifest(directory) and not (directory / METRICS_CSV).is_file():
        raise UsageError(f"{flag} holds the finished run of another script: choose another directory.")
    if overwrite or resuming:
        return
    if manifests.has_manifest(directory):
        raise UsageError(
            f"{flag} holds a finished recording: choose another directory, or pass --overwrite_output_dir."
        )
    if epoch_paths(directory):
        raise UsageError(
            f"{flag} holds epochs of an unfinished recording: pass --resume_from_checkpoint last to go on, "
            "--overwrite_output_dir to start again, or another directory."
        )


def begin_recording(directory: Path, run_id: str) -> None:
    """Mark a directory as the unfinished recording of a run.

    Raises:
        DataError: the directory cannot be written to.
    """
    outputs.write_json(Path(directory) / IN_PROGRESS, {"run_id": run_id})


def end_recording(directory: Path, fields: dict, made_from: Sequence[Path]) -> None:
    """Write the manifest and take the mark of `begin_recording` away."""
    manifests.write_manifest(directory, fields, made_from)
    (Path(directory) / IN_PROGRESS).unlink(missing_ok=True)


def refuse_foreign_epochs(directory: Path, run_id: str) -> None:
    """DataError when a directory holds epochs of another run than the one that is to be resumed."""
    path = Path(directory) / IN_PROGRESS
    owner = outputs.read_json(path) if path.is_file() else manifests.read_manifest(directory)
    if owner.get("run_id") != run_id and (epoch_paths(directory) or owner):
        raise DataError(
            f"--cartography_output_dir {directory} holds the recording of another run than the checkpoint's: name the "
            "directory that the run to be resumed was recorded in."
        )


def clear_recording(directory: Path, from_epoch: int) -> None:
    """Remove what a recording that goes on with `from_epoch` is going to write again, the manifest before all else."""
    directories.clear(directory, (METRICS_JSON, METRICS_CSV, MAP, UNTRACKED))
    directories.remove_leftovers(directory, ["training_dynamics_epoch_*.json"])
    for number, path in epoch_paths(directory).items():
        if number >= from_epoch:
            path.unlink()


def shortest(values: np.ndarray) -> list[float | None]:
    """float32 values as Python floats with the fewest digits that give the same float32 back; NaN becomes None."""
    written = values.astype(np.float32).astype(str).astype(np.float64)
    return [None if number != number else number for number in written.tolist()]


def write_epoch(path: Path, number: int, ids: Sequence[str], epoch: dict[str, np.ndarray], counts: dict) -> None:
    """Write the records of one epoch as a JSON list with a record a line.

    Args:
        number: the epoch, from 1.
        ids: of all examples.
        epoch: float32 arrays [n_examples] by measure, NaN for examples that have no record in this epoch.
        counts: `n_windows` and `n_gold_windows`, int arrays [n_examples].
    """
    rows = np.flatnonzero(~np.isnan(epoch["gold_prob"])).tolist()
    columns: dict[str, list] = {name: shortest(values[rows]) for name, values in epoch.items()}
    columns["correct"] = [bool(value) for value in columns["correct"]]
    columns |= {name: counts[name][rows].tolist() for name in COUNTS}
    heads: dict[str, list] = {"id": [ids[row] for row in rows], "epoch": [number] * len(rows)}
    columns = heads | columns
    write_records(path, (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)))


def write_records(path: Path, records: Iterable[dict]) -> None:
    """Write a JSON list with a record a line, without holding more than one of them as text."""
    with outputs.atomic_writer(path) as file:
        file.write("[")
        for position, record in enumerate(records):
            file.write(("," if position else "") + "\n" + json.dumps(record, ensure_ascii=False, allow_nan=False))
        file.write("\n]\n")


def read_epoch(path: Path) -> pd.DataFrame:
    """The records of an epoch file, a row each.

    Raises:
        DataError: the file cannot be read, is not a list of records, or has an id twice.
    """
    records = outputs.read_json(path)
    needed = {"id", *NLI_MEASURES, *COUNTS} - LATER_MEASURES
    if not isinstance(records, list) or not all(isinstance(row, dict) and needed <= row.keys() for row in records):
        raise DataError(f"{path} is not a list of records with {', '.join(sorted(needed))}: record the run again.")
    columns = list(records[0]) if records else ["id", "epoch", *QA_MEASURES, *COUNTS]
    frame = pd.DataFrame({name: [row.get(name) for row in records] for name in columns})
    if frame["id"].duplicated().any():
        twice = frame["id"][frame["id"].duplicated()].iloc[0]
        raise DataError(f"{path} has the id {twice!r} twice, which no recording has: record the run again.")
    return frame


def align_epoch(frame: pd.DataFrame, ids: Sequence[str]) -> dict[str, np.ndarray]:
    """The measures of an epoch file in the order of `ids`, float32 [n] with NaN for ids without a record."""
    measures = [name for name in (*QA_MEASURES, *OUT_OF_FOLD_MEASURES) if name in frame]
    aligned = frame.set_index("id")[measures].astype(np.float32).reindex(list(ids))
    return {name: aligned[name].to_numpy() for name in measures}


def write_metrics(directory: Path, metrics: pd.DataFrame, probs: np.ndarray, correct: np.ndarray) -> None:
    """Write the metrics as CSV, and as JSON with the gold probability and correctness of every epoch beside them.

    Args:
        metrics: a row an example, `id` first.
        probs, correct: float32 [n_epochs, n_examples], NaN where an example was not seen.
    """
    outputs.write_csv(directory / METRICS_CSV, metrics)
    by_epoch = zip(*map(shortest, probs), strict=True)
    flags = (
        [None if value is None else bool(value) for value in row] for row in zip(*map(shortest, correct), strict=True)
    )
    names = [*metrics.columns, "gold_probs", "correct"]
    rows = zip(metrics.itertuples(index=False, name=None), by_epoch, flags, strict=True)
    records = (dict(zip(names, (*values, probs, right), strict=True)) for values, probs, right in rows)
    write_records(directory / METRICS_JSON, records)


def read_gold_probs(directory: Path, ids: Sequence[str]) -> np.ndarray:
    """Read the gold probabilities of these examples from what `write_metrics` wrote.

    Returns:
        float64 [n_epochs, n_ids] in [0, 1], NaN where an example was not seen, and for ids without metrics.

    Raises:
        DataError: the file is missing, or holds no such records.
    """
    path = Path(directory) / METRICS_JSON
    try:
        by_id = {record["id"]: record["gold_probs"] for record in outputs.read_json(path)}
        n_epochs = len(next(iter(by_id.values())))
        rows = [by_id.get(identifier, [None] * n_epochs) for identifier in ids]
        return np.array(rows, dtype=np.float64).reshape(len(rows), n_epochs).T
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        what = f"holds no gold probabilities of the epochs ({type(error).__name__}: {error})"
        raise DataError(f"{path} {what}: record the run again.") from error


@dataclasses.dataclass(frozen=True)
class RunningEpoch:
    """What a checkpoint keeps of a recording: the epoch that was running and how to tell the earlier epochs' files.

    Attributes:
        run_id: tells this run's recording from any other.
        identity: what the recording was made with, by name.
        number: the running epoch, from 1.
        finished: SHA-256 of the file of every earlier epoch, by its number.
        values: float32 [n_measures, n_windows].
        seen_at: int32 [n_windows], the count of batches at which a window was seen.
    """

    run_id: str
    identity: dict
    number: int
    finished: dict[int, str]
    values: np.ndarray
    seen_at: np.ndarray


def write_state(checkpoint: Path, running: RunningEpoch) -> None:
    """Put a running epoch into a checkpoint's directory."""
    fields = {name: getattr(running, name) for name in ("run_id", "identity", "number", "finished")}
    with outputs.atomic_writer(Path(checkpoint) / STATE, binary=True) as file:
        np.savez(file, values=running.values, seen_at=running.seen_at, description=np.array(json.dumps(fields)))


def read_state(checkpoint: Path) -> RunningEpoch:
    """Read what `write_state` wrote.

    Raises:
        DataError: the checkpoint was made without a recording, or its file cannot be read.
    """
    path = Path(checkpoint) / STATE
    if not path.is_file():
        raise DataError(
            f"{checkpoint} was saved without --enable_cartography, so its epochs were not recorded: resume without "
            "the flag, or start again with it."
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            fields = json.loads(str(arrays["description"]))
            finished = {int(number): digest for number, digest in fields["finished"].items()}
            return RunningEpoch(**(fields | {"finished": finished}), values=arrays["values"], seen_at=arrays["seen_at"])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read ({error}): resume from an earlier checkpoint.") from error


@dataclasses.dataclass(frozen=True)
class Recording:
    """The dynamics of a training set over its epochs, as read back.

    Attributes:
        ids: of all examples with a record in some epoch, in order of first appearance.
        epochs: float32 arrays [n_epochs, n_examples] by measure, NaN where an example was not seen.
        counts: int arrays [n_examples], `n_windows` and `n_gold_windows`.
        manifest: of the directory; empty for the layout of allenai/cartography, which has none.
    """

    ids: list[str]
    epochs: dict[str, np.ndarray]
    counts: dict[str, np.ndarray]
    manifest: dict

    @property
    def n_epochs(self) -> int:
        """How many epochs were recorded."""
        return len(self.epochs["gold_prob"])


def read_recording(directory: Path) -> Recording:
    """Read a finished recording: run.py's, or one in the layout of allenai/cartography.

    Raises:
        DataError: there is no finished recording, or its files are not those that its manifest names.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise DataError(f"--cartography_dir {directory}: there is no such directory.")
    manifest = manifests.read_manifest(directory)
    if "epoch_files" in manifest:
        return read_own(directory, manifest)
    if foreign_paths(directory):
        return read_foreign(directory)
    if epoch_paths(directory):
        raise DataError(
            f"{directory} holds an unfinished recording (no {manifests.MANIFEST}): finish its run with "
            "--resume_from_checkpoint last."
        )
    raise DataError(
        f"{directory} holds no recording of training dynamics: give the --cartography_output_dir of a run with "
        "--enable_cartography, or a directory with training_dynamics/dynamics_epoch_0.jsonl."
    )


def read_own(directory: Path, manifest: dict) -> Recording:
    """Read the epoch files that the manifest names.

    Raises:
        DataError: a file is missing or another one, or no epoch has a record.
    """
    frames = []
    for number, digest in manifest["epoch_files"].items():
        path = epoch_path(directory, number)
        if not path.is_file() or manifests.file_hash(path) != digest:
            raise DataError(
                f"{path} is not the file that {directory / manifests.MANIFEST} names: record the run again."
            )
        frames.append(read_epoch(path))
    with_records = [frame for frame in frames if len(frame)]
    if not with_records:
        raise DataError(f"{directory} holds no record of any example: record a longer run.")
    together = pd.concat(with_records, ignore_index=True).drop_duplicates("id")
    ids = together["id"].tolist()
    aligned = [align_epoch(frame, ids) for frame in frames]
    measures = [name for name in (*QA_MEASURES, *OUT_OF_FOLD_MEASURES) if name in together]
    epochs = {name: np.stack([epoch[name] for epoch in aligned]) for name in measures}
    return Recording(ids, epochs, {name: together[name].to_numpy() for name in COUNTS}, manifest)


def foreign_paths(directory: Path) -> list[Path]:
    """The epoch files of allenai/cartography's layout, in or below a directory, by rising epoch (counted from 0)."""
    pattern = "dynamics_epoch_*.jsonl"
    found = list(directory.glob(pattern)) or list(directory.glob(f"training_dynamics/{pattern}"))
    numbered = [path for path in found if path.stem.removeprefix("dynamics_epoch_").isdecimal()]
    return sorted(numbered, key=lambda path: int(path.stem.removeprefix("dynamics_epoch_")))


@dataclasses.dataclass(frozen=True)
class ForeignRecord:
    """A line of allenai/cartography's layout.

    Attributes:
        guid: as text.
        gold: number of the gold class, from 0.
        n_classes: how many logits there are.
        measures: in the order of NLI_MEASURES.
    """

    guid: str
    gold: int
    n_classes: int
    measures: tuple[float, ...]


def read_foreign(directory: Path) -> Recording:
    """Read allenai/cartography's layout: a line an example with guid, gold (class number) and logits_epoch_X.

    Raises:
        DataError: an epoch is missing, a line is not such a record, a guid stands twice in an epoch, or an example's
            gold class or number of logits is not the same in every epoch.
    """
    paths = foreign_paths(directory)
    epochs_records = []
    for number, path in enumerate(paths):
        if path.name != f"dynamics_epoch_{number}.jsonl":
            raise DataError(f"{path.parent} has no dynamics_epoch_{number}.jsonl, but has {path.name}: put it back.")
        epochs_records.append(foreign_epoch(path, f"logits_epoch_{number}"))
    refuse_changing_examples(paths, epochs_records)
    ids = list(dict.fromkeys(identifier for records in epochs_records for identifier in records))
    row_of = {identifier: row for row, identifier in enumerate(ids)}
    epochs = {name: np.full((len(paths), len(ids)), np.nan, dtype=np.float32) for name in NLI_MEASURES}
    for number, records in enumerate(epochs_records):
        rows = [row_of[identifier] for identifier in records]
        measures = np.array([record.measures for record in records.values()])
        for name, values in zip(NLI_MEASURES, measures.T, strict=True):
            epochs[name][number, rows] = values
    return Recording(ids, epochs, {name: np.ones(len(ids), dtype=np.int64) for name in COUNTS}, {})


def refuse_changing_examples(paths: Sequence[Path], epochs: Sequence[dict[str, ForeignRecord]]) -> None:
    """DataError, with the number of examples and the first guid, where a gold class or a number of logits changes."""
    first: dict[str, tuple[Path, ForeignRecord]] = {}
    found: dict[str, str] = {}
    for path, records in zip(paths, epochs, strict=True):
        for guid, record in records.items():
            earlier_path, earlier = first.setdefault(guid, (path, record))
            before, now = (f"gold {one.gold} of {one.n_classes} classes" for one in (earlier, record))
            if now != before:
                found.setdefault(guid, f"{before} in {earlier_path.name} and {now} in {path.name}")
    if found:
        guid, where = next(iter(found.items()))
        raise DataError(
            f"{paths[0].parent}: an example keeps its gold class and its number of classes, yet those of {len(found)} "
            f"of {len(first)} change between epochs; the guid {guid} has {where}: put one recording alone there, of "
            "one training on one version of the labels."
        )


def foreign_epoch(path: Path, logits_name: str) -> dict[str, ForeignRecord]:
    """The record of every line of an allenai/cartography epoch file, by guid."""
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text ({error}): write it again.") from error
    found = {}
    for number, line in enumerate(lines, start=1):
        try:
            record = foreign_record(json.loads(line), logits_name)
        except (ValueError, KeyError, TypeError) as error:
            what = f"not a record with guid, gold and {logits_name} ({type(error).__name__}: {error})"
            raise DataError(f"{path}, line {number}: {what}.") from error
        if record.guid in found:
            raise DataError(f"{path}, line {number}: the guid {record.guid} stands there twice; keep one of the lines.")
        found[record.guid] = record
    return found


def foreign_record(record: dict, logits_name: str) -> ForeignRecord:
    """A record of allenai/cartography as read from its line; of equal logits the first is the predicted one.

    Raises:
        ValueError, KeyError, TypeError: it is not such a record.
    """
    guid, gold, logits = record["guid"], int(record["gold"]), np.array(record[logits_name], dtype=np.float64)
    if not isinstance(guid, (str, int, float)) or guid != guid:
        raise ValueError(f"the guid is {guid}")
    if isinstance(record["gold"], float) and gold != record["gold"]:
        raise ValueError(f"gold is {record['gold']}, which is no class number")
    if logits.ndim != 1 or not np.isfinite(logits).all() or not 0 <= gold < len(logits):
        raise ValueError(f"gold {gold} and the logits {record[logits_name]} do not go together")
    margin = logits[gold] - np.delete(logits, gold).max()
    loss = np.logaddexp.reduce(logits) - logits[gold]
    probs = np.exp(logits - np.logaddexp.reduce(logits))
    el2n = np.linalg.norm(probs - (np.arange(len(logits)) == gold))
    measures = np.exp(-loss), logits.argmax() == gold, margin, loss, el2n
    return ForeignRecord(str(guid), gold, len(logits), tuple(map(float, measures)))
