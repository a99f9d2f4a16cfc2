"""Manifests: what closes an output directory and says how it was made, and the hashes in them."""

import argparse
import contextlib
import hashlib
import json
import logging
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamap.errors import DataError
from datamap.files.outputs import read_json, same_name, write_json

if TYPE_CHECKING:
    import pandas as pd
    from transformers import TrainingArguments

logger = logging.getLogger(__name__)


def described(part: Any) -> dict:
    """What a manifest says of the examples of one purpose."""
    fields = {
        "dataset": part.name,
        "split": part.split,
        "columns": part.columns,
        "held_out": part.held_out,
        "n_rows": len(part.frame),
        "ids_sha256": ids_hash(part.frame["id"]),
    }
    files = {"groups_sha256": part.grouping.sha256} if part.grouping is not None else {}
    files |= {"train_ids_sha256": part.train_ids_sha256} if part.train_ids_sha256 else {}
    files |= {"example_weights_sha256": part.weights.sha256} if part.weights is not None else {}
    files |= {"example_smoothing_sha256": part.smoothing.sha256} if part.smoothing is not None else {}
    return fields | files | held_corrections(part.name)


def held_corrections(name: str) -> dict:
    """What a manifest says of a corrected data set: how many rows changed and by which files; empty for all others.

    Raises:
        DataError: the manifest beside it cannot be read.
    """
    path = Path(name).expanduser()
    manifest = read_manifest(path.parent) if path.name == CORRECTED and path.is_file() else {}
    if manifest.get("script") != CORRECTING_SCRIPT or "corrections" not in manifest:
        return {}
    if manifest.get("corrected_sha256") != file_hash(path):
        logger.warning("%s has changed since the corrections were applied; its manifest.json is not counted.", path)
        return {}
    return {"corrections": manifest["corrections"] | {"manifest_sha256": file_hash(path.parent / MANIFEST)}}


def rows_fields(frame: "pd.DataFrame") -> dict:
    """What a manifest says of the rows that its directory has numbers for: hashes of their ids and of their texts."""
    return {"ids_sha256": ids_hash(frame["id"]), "texts_sha256": texts_hash(frame)}


def run_fields(options: argparse.Namespace, training_args: "TrainingArguments", data: dict, settings: dict) -> dict:
    """What every manifest of run.py says."""
    return {
        "script": "run.py",
        "task": options.task,
        "model": options.model,
        "ablations": options.ablations,
        "seed": training_args.seed,
        "data": {purpose: described(part) for purpose, part in data.items()},
        "settings": settings,
        "arguments": vars(options),
        "training_arguments": training_args.to_dict(),
    }


def made_from(options: argparse.Namespace) -> list[Path]:
    """The directories with a manifest that a run read, of which some may have none."""
    model = Path(options.model).expanduser()
    found = [model] if model.is_dir() else []
    files = [options.groups, options.train_ids, options.example_weights, options.example_smoothing]
    return list(dict.fromkeys(found + [Path(file).expanduser().parent for file in files if file]))


def close_run(options: argparse.Namespace, training_args: "TrainingArguments", data: dict, settings: dict) -> None:
    """Write the manifest of --output_dir."""
    fields = run_fields(options, training_args, data, settings)
    write_manifest(Path(training_args.output_dir), fields, made_from(options))


def close_evaluation(
    options: argparse.Namespace, training_args: "TrainingArguments", data: dict, settings: dict, kind: Any, of: dict
) -> None:
    """Write the manifest of an evaluation or of predictions.

    Args:
        kind: an evaluations.Kind.
        of: the evaluations.identity of model, rows and ablation.
    """
    used = {purpose: part for purpose, part in data.items() if purpose != "train"}
    fields = run_fields(options, training_args, used, settings) | {"identity": of}
    fields["evaluated_model"] = training_args.output_dir if training_args.do_train else options.model
    write_manifest(Path(training_args.output_dir), fields, made_from(options), kind.manifest)


CONTRACT_VERSION = 2  # 1: an evaluation by itself had a manifest.json, and data_problems.csv was about its rows too
MANIFEST = "manifest.json"
CORRECTED, CORRECTING_SCRIPT = "corrected.jsonl", "apply_corrections.py"
EVAL_MANIFEST = "eval_manifest.json"
PREDICT_MANIFEST = "predict_manifest.json"
PACKAGES = ("torch", "transformers", "datasets", "accelerate", "evaluate", "numpy", "pandas")


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
