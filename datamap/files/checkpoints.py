"""Checkpoints of a training in its directory, and which of them a run goes on from."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from datamap.errors import DataError, UsageError
from datamap.files.directories import clear
from datamap.files.manifests import has_manifest
from datamap.files.outputs import DATA_PROBLEMS

if TYPE_CHECKING:
    from transformers import TrainingArguments


def checkpoint_directories(directory: Path) -> list[Path]:
    """The directories `checkpoint-N` of a directory, complete or not, by rising N."""
    found = [path for path in Path(directory).glob("checkpoint-*") if path.is_dir() and path.name[11:].isdecimal()]
    return sorted(found, key=lambda path: int(path.name[11:]))


def checkpoints(directory: Path) -> list[Path]:
    """The complete checkpoints of a directory, oldest first."""
    return [path for path in checkpoint_directories(directory) if (path / "trainer_state.json").is_file()]


def refuse_earlier_run(directory: Path, overwrite: bool, training_args: "TrainingArguments", model: str) -> None:
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
