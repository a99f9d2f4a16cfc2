"""Arms of runs that were not named: those of the selection that has the rows they were trained on."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from datamap.errors import DataError, UsageError
from datamap.files import manifests
from datamap.selection.evaluations import Run

SCRIPT = "select_examples.py"


def read_arms(directory: Path) -> dict[tuple[str, str | None], list[str]]:
    """The arms of a selection that have the same rows and weights, by the hashes of both.

    Raises:
        DataError: the directory holds no finished selection.
    """
    manifest = manifests.read_manifest(directory) if directory.is_dir() else {}
    if manifest.get("script") != SCRIPT or not isinstance(manifest.get("arms"), dict):
        raise DataError(f"--selection_dir {directory} holds no finished run of {SCRIPT}: give its --output_dir.")
    found: dict[tuple[str, str | None], list[str]] = {}
    for arm, seeds in manifest["arms"].items():
        for told in seeds.values():
            names = found.setdefault((told["ids_sha256"], told.get("example_weights_sha256")), [])
            if arm not in names:
                names.append(arm)
    return found


def named(runs: Sequence[Run], directory: Path) -> list[Run]:
    """The runs, each with its arm; those without a name by the rows and weights that they were trained with.

    Args:
        runs: with a name or without.
        directory: of the selection.

    Raises:
        DataError: the directory holds no finished selection.
        UsageError: no arm of it has the rows and weights of a run, or several have.
    """
    arms = read_arms(directory)
    found = []
    for run in runs:
        if run.arm is not None:
            found.append(run)
            continue
        train = run.training.get("data", {}).get("train", {})
        names = arms.get((train.get("ids_sha256"), train.get("example_weights_sha256")), [])
        if train.get("example_smoothing_sha256"):
            names = []
        if len(names) != 1:
            which = f"{' and '.join(names)} of them are" if names else "no arm of it is"
            raise UsageError(
                f"--runs {run.directory} has no name, and {which} of the rows and weights that it was trained on "
                f"(--selection_dir {directory}): give ARM={run.directory}."
            )
        found.append(dataclasses.replace(run, arm=names[0]))
    return found
