"""What a run keeps on disk while it is unfinished: whose it is, the passes of every fold, which folds are done."""

import json
import math
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datamap.dynamics import recordings
from datamap.errors import DataError, UsageError
from datamap.files import checkpoints, directories, manifests, outputs

if TYPE_CHECKING:
    from datamap.crossfit.passes import NliPass, QaPass


FINISHED = "fold_finished.json"
FILES = (
    recordings.METRICS_JSON, recordings.METRICS_CSV, recordings.MAP, recordings.UNTRACKED,
    recordings.CROSSFIT_PREDICTIONS, outputs.DATA_PROBLEMS,
)  # fmt: skip


def fold_directory(directory: Path, fold: int) -> Path:
    """Where fold `fold`, counted from 0, trains; its name counts from 1."""
    return Path(directory) / f"fold_{fold + 1}"


def fold_directories(directory: Path) -> list[Path]:
    """The folders of folds that a directory has."""
    found = Path(directory).glob("fold_*")
    return sorted(path for path in found if path.is_dir() and path.name[5:].isdecimal())


def pass_path(fold_dir: Path, number: int) -> Path:
    """The file of the pass after epoch `number`, counted from 1."""
    return Path(fold_dir) / f"held_out_epoch_{number}.npz"


def refuse_earlier_run(directory: Path, model: str, overwrite: bool, resuming: bool) -> None:
    """Refuse a directory in which a run would meet another one or another script's files.

    Args:
        model: name or directory of the one to be trained.

    Raises:
        UsageError: `directory` is a file, or holds the model, another script's run, a finished recording, or an
            unfinished one. The last two may be overwritten, or gone on with when resuming.
    """
    flag = f"--crossfit_output_dir {directory}"
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{flag} is a file: choose another name.")
    if Path(model).exists() and directory.resolve() in (Path(model).resolve(), *Path(model).resolve().parents):
        raise UsageError(f"--model {model} lies in {flag}, which this run writes: choose another one.")
    manifest = manifests.read_manifest(directory)
    unfinished = (directory / recordings.IN_PROGRESS).is_file()
    is_ours = unfinished or "out_of_fold" in manifest
    if not is_ours and (manifest or recordings.epoch_paths(directory) or fold_directories(directory)):
        raise UsageError(
            f"{flag} holds another recording, another script's run or folders of folds: choose another one."
        )
    if overwrite:
        return
    if manifest:
        raise UsageError(
            f"{flag} holds a finished recording: choose another directory, or pass --overwrite_output_dir."
        )
    if unfinished and not resuming:
        raise UsageError(
            f"{flag} holds an unfinished run: pass --resume_from_checkpoint last to go on, --overwrite_output_dir to "
            "start again, or another directory."
        )
    if resuming and not unfinished:
        raise UsageError(
            f"--resume_from_checkpoint last: {directory} holds no unfinished run: start without the flag, or name "
            "the --crossfit_output_dir that it was begun in."
        )


def begin(directory: Path, identity: dict) -> None:
    """Remove what an earlier run left, and mark the directory as an unfinished run's."""
    recordings.clear_recording(directory, from_epoch=1)
    directories.clear(directory, FILES)
    for path in fold_directories(directory):
        shutil.rmtree(path)
    outputs.write_json(directory / recordings.IN_PROGRESS, {"identity": identity})


def refuse_other_run(directory: Path, identity: dict) -> None:
    """DataError where the unfinished run of a directory is another one than this."""
    before = outputs.read_json(directory / recordings.IN_PROGRESS).get("identity", {})
    now = outputs.json_ready(identity)
    for name in before | now:
        if before.get(name) != now.get(name):
            numbers = name.startswith("--") or name == "rows in a step"
            shown = f"has {name} {before.get(name)}, and this run {now.get(name)}" if numbers else f"is of other {name}"
            raise DataError(
                f"--resume_from_checkpoint last: the unfinished run in {directory} {shown}: give the same command, "
                "or --overwrite_output_dir to start again."
            )


def write_pass(path: Path, looked: "QaPass | NliPass") -> None:
    """Keep a pass: its measures and answers."""
    arrays: dict[str, Any] = {f"measure_{name}": values for name, values in looked.epoch.items()}
    arrays |= {f"answer_{name}": values for name, values in looked.answers.items()}
    with outputs.atomic_writer(path, binary=True) as file:
        np.savez(file, **arrays)


def read_pass(path: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(measures, answers) as `write_pass` had them.

    Raises:
        DataError: the file is missing or cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            kept = {name: arrays[name] for name in arrays.files}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read ({error}): remove {path.parent} and go on with --resume_from_checkpoint last, "
            "which trains this fold again."
        ) from error
    measures, answers = (
        {name.removeprefix(kind): values for name, values in kept.items() if name.startswith(kind)}
        for kind in ("measure_", "answer_")
    )
    return measures, answers


def checkpoint_to_go_on_from(fold_dir: Path) -> str | None:
    """The newest whole checkpoint of a fold that comes after the passes of all its epochs; None without one.

    A checkpoint of the last step of an epoch may have been saved before the epoch's pass.
    """
    for checkpoint in reversed(checkpoints.checkpoints(fold_dir)):
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        n_epochs = math.floor(state["epoch"])
        if all(pass_path(fold_dir, number).is_file() for number in range(1, n_epochs + 1)):
            return str(checkpoint)
    return None


def clear_fold(fold_dir: Path) -> None:
    """Remove what of a fold's training lies in its folder, the passes excepted."""
    for checkpoint in checkpoints.checkpoint_directories(fold_dir):
        shutil.rmtree(checkpoint)


def finish_fold(fold_dir: Path, n_epochs: int, computing: dict) -> None:
    """Mark a fold as done, with its number of passes and how its model computed; then remove its checkpoints."""
    outputs.write_json(fold_dir / FINISHED, {"n_epochs": n_epochs, "computing": computing})
    clear_fold(fold_dir)


def finished_fold(fold_dir: Path) -> dict:
    """`n_epochs` and `computing` of a fold that is done; empty where it is not."""
    path = fold_dir / FINISHED
    return outputs.read_json(path) if path.is_file() else {}


def remove_folds(directory: Path, *, keep_models: bool) -> None:
    """Remove the folders of all folds or, with `keep_models`, what in them is not a model's."""
    for fold_dir in fold_directories(directory):
        if not keep_models:
            shutil.rmtree(fold_dir)
            continue
        for path in (fold_dir / FINISHED, *fold_dir.glob("held_out_epoch_*.npz")):
            path.unlink(missing_ok=True)
