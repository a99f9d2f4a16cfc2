"""Output directories: which may be written to, and what of an earlier run is removed."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from datamap.errors import DataError, UsageError
from datamap.files.manifests import MANIFEST, has_manifest, read_manifest


def remove_leftovers(directory: Path, names: Iterable[str]) -> None:
    """Remove the temporary files that a killed run left beside files of these names."""
    for name in names:
        for path in Path(directory).glob(f".{name}.*"):
            path.unlink(missing_ok=True)


def refuse_unwritable(directory: Path, flag: str = "--output_dir") -> None:
    """UsageError when no file can be made in `directory`, which `flag` named, or where it would be made."""
    try:
        place = next(place for place in (directory, *directory.absolute().parents) if place.exists())
        with tempfile.TemporaryFile(dir=place):
            return
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{flag} {directory} cannot be written to ({reason}): choose another one.") from error


def refuse_foreign_directory(directory: Path, script: str) -> None:
    """UsageError when `directory` is a file, or holds the finished run of another script than `script`."""
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"--output_dir {directory} is a file: choose another name.")
    if has_manifest(directory) and read_manifest(directory).get("script") != script:
        raise UsageError(f"--output_dir {directory} holds the finished run of another script: choose another one.")


def refuse_shared(flag: str, names: Iterable[str], output_dir: str) -> None:
    """UsageError where one of the directories that a flag names is --output_dir as well, or is named twice."""
    places = [Path(name).resolve() for name in names]
    if Path(output_dir).resolve() in places:
        raise UsageError(f"--output_dir {output_dir} is {flag} as well: choose another one.")
    if len(set(places)) < len(places):
        raise UsageError(f"{flag} names a directory twice: give every recording once.")


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
