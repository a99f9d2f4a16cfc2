"""Evaluations and predictions in a directory: their files, what an earlier one there is of, and what replaces it."""

import contextlib
import dataclasses
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamap.errors import UsageError
from datamap.files import checkpoints, directories, manifests, outputs
from datamap.files.models import WEIGHT_FILES

if TYPE_CHECKING:
    import pandas as pd

    from datamap.data.examples import Examples


@dataclasses.dataclass(frozen=True)
class Kind:
    """What is made of a model that is there: its name in sentences, its manifest and its other files."""

    name: str
    flag: str
    manifest: str
    problems: str
    results: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """All files but the manifest."""
        return (*self.results, self.problems)


EVALUATION = Kind(
    "an evaluation",
    "--do_eval",
    manifests.EVAL_MANIFEST,
    outputs.EVAL_DATA_PROBLEMS,
    (outputs.EVAL_METRICS, outputs.EVAL_PREDICTIONS, outputs.NBEST_PREDICTIONS),
)
PREDICTION = Kind(
    "predictions",
    "--do_predict",
    manifests.PREDICT_MANIFEST,
    outputs.PREDICT_DATA_PROBLEMS,
    (outputs.PREDICTIONS,),
)
KINDS = {"eval": EVALUATION, "predict": PREDICTION}


def weight_files(directory: Path) -> list[Path]:
    """The files with a model's weights in a directory, by name."""
    return sorted({file for pattern in WEIGHT_FILES for file in directory.glob(pattern)})


def weights_hash(path: str | Path) -> str:
    """SHA-256 over the weight files of a model directory; of a model of the hub, its name."""
    directory = Path(path)
    if not directory.is_dir():
        return str(path)
    digest = hashlib.sha256()
    for file in weight_files(directory):
        digest.update(file.name.encode())
        digest.update(manifests.file_hash(file).encode())
    return digest.hexdigest()


def identity(path: str | Path, examples: "Examples", ablations: str) -> dict[str, str]:
    """What makes two evaluations (or predictions) the same: the model's weights, the rows with their texts, ablation.

    And, where rows were held out by --groups, the hash of that file.

    Args:
        path: the model's directory, or its name on the hub.
        examples: the rows, drawn and held out as they are used; gold labels belong to them where they have any.
        ablations: the value of --ablations.
    """
    frame = examples.frame
    labels = frame["label"].tolist() if "label" in frame else []
    rows = [manifests.texts_hash(frame), *(f"{row} {label}" for row, label in zip(frame["id"], labels, strict=False))]
    groups = {"groups": examples.grouping.sha256} if examples.grouping is not None else {}
    return {"weights": weights_hash(path), "rows": manifests.ids_hash(rows), "ablations": ablations} | groups


def holds_training(directory: Path) -> bool:
    """True where a directory holds a model, checkpoints, or the manifest of a training."""
    whole = manifests.read_manifest(directory).get("data", {})
    return bool(weight_files(directory) or checkpoints.checkpoints(directory)) or "train" in whole


def refuse_other_training(directory: Path, model: str, path: str) -> None:
    """UsageError where an evaluation (or predictions) would lie beside a model that it is not of.

    Args:
        directory: --output_dir.
        model: --model as given.
        path: its directory, or its name on the hub.
    """
    directories.refuse_foreign_directory(directory, "run.py")
    if not holds_training(directory) or directory.resolve() == Path(path).resolve():
        return
    if weights_hash(directory) != weights_hash(path):
        raise UsageError(
            f"--output_dir {directory} holds the training of another model than --model {model}, and what lies beside "
            "a model is taken to be of it: choose another --output_dir."
        )


def earlier(directory: Path, kind: Kind) -> dict:
    """The manifest of the finished evaluation (or predictions) in a directory, empty where there is none.

    Earlier versions closed an evaluation with the manifest of the whole run, which does not say what it is of exactly.
    """
    manifest = manifests.read_manifest(directory, kind.manifest)
    if manifest or kind is not EVALUATION or not (directory / outputs.EVAL_METRICS).is_file():
        return manifest
    whole = manifests.read_manifest(directory)
    is_old = whole.get("contract_version", manifests.CONTRACT_VERSION) < manifests.CONTRACT_VERSION
    return whole if is_old and "eval" in whole.get("data", {}) else {}


def refuse_any(directory: Path, overwrite: bool) -> None:
    """UsageError where training would put a model beside an evaluation or predictions of another one."""
    for kind in KINDS.values():
        found = {} if overwrite else earlier(directory, kind)
        if found:
            raise UsageError(
                f"{directory} holds {kind.name} of {described(found, kind, directory)}: choose another --output_dir, "
                "or pass --overwrite_output_dir."
            )


def refuse_others(directory: Path, path: str, data: dict, ablations: str) -> None:
    """UsageError where a directory holds an evaluation (or predictions) of something else than this run's.

    Args:
        directory: --output_dir.
        path: the model's directory, or its name on the hub.
        data: examples by purpose, of which "eval" or "predict" are looked at.
        ablations: the value of --ablations.
    """
    for purpose in data.keys() & KINDS.keys():
        if earlier(directory, KINDS[purpose]):
            refuse_other(directory, KINDS[purpose], identity(path, data[purpose], ablations))


def refuse_other(directory: Path, kind: Kind, of: dict[str, str]) -> None:
    """UsageError where the evaluation (or the predictions) in a directory are not of `of`, an `identity`."""
    found = earlier(directory, kind)
    before = found.get("identity", {})
    if before == of:
        return
    words = {"weights": "other weights", "rows": "other rows or texts", "ablations": "another ablation"}
    words["groups"] = "other --groups"
    differing = [words[name] for name in words if before.get(name) != of.get(name)] if before else []
    why = f"this run has {' and '.join(differing)}" if differing else "an earlier version wrote it"
    raise UsageError(
        f"{directory} holds {kind.name} of {described(found, kind, directory)}, and {why}: choose another "
        f"--output_dir, or pass --overwrite_output_dir, which with {kind.flag} alone replaces "
        f"{'them' if kind is PREDICTION else 'it'} alone."
    )


def described(manifest: dict, kind: Kind, directory: Path) -> str:
    """What an evaluation (or predictions) is of, in words: model, data set, split, rows, ablation."""
    purpose = next(purpose for purpose, known in KINDS.items() if known is kind)
    part = manifest["data"][purpose]
    held_out = f", {part['held_out']} held out" if part.get("held_out") else ""
    ablations = manifest.get("ablations", "none")
    ablation = "" if ablations == "none" else f", --ablations {ablations}"
    evaluated = directory if "train" in manifest["data"] else manifest.get("model")  # as earlier versions tell it
    model = manifest.get("evaluated_model", evaluated)
    return f"{model} on {part['dataset']}, split {part['split']}{held_out} ({part['n_rows']} rows{ablation})"


def refuse_own_data(directory: Path, named: Mapping[str, str | None], kinds: Iterable[Kind]) -> None:
    """UsageError where a data set is one of the files that this run removes or writes.

    Args:
        directory: --output_dir.
        named: flag → the data set given with it.
        kinds: what the run replaces there.
    """
    replaced = {(directory / name).resolve() for kind in kinds for name in kind.files}
    for flag, name in named.items():
        if name and Path(name).expanduser().resolve() in replaced:
            raise UsageError(f"{flag} {name} is a file that this run replaces: choose another --output_dir.")


def clear(directory: Path, kind: Kind) -> None:
    """Remove an evaluation (or predictions), its manifest before all else."""
    whole = manifests.read_manifest(directory)
    if kind is EVALUATION and whole and "train" not in whole.get("data", {}) and earlier(directory, kind) == whole:
        (directory / manifests.MANIFEST).unlink()  # an evaluation by itself, as earlier versions closed it
    directories.clear(directory, kind.files, kind.manifest)


@contextlib.contextmanager
def replacing(directory: Path, kind: Kind) -> Iterator[Path]:
    """A folder for new files, which take the place of an earlier evaluation (or predictions) when the block ends.

    Where it does not end, because the disk is full or the run is killed, the earlier one is still whole.
    """
    new = directory / f"unfinished_{'evaluation' if kind is EVALUATION else 'predictions'}"
    shutil.rmtree(new, ignore_errors=True)
    try:
        yield new
        clear(directory, kind)
        for path in sorted(new.iterdir()):
            os.replace(path, directory / path.name)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def write_evaluation(
    directory: Path, evaluation: Any, figures: dict, problems: "pd.DataFrame", with_nbest: bool
) -> None:
    """Write everything of an evaluation but its manifest, in the place of an earlier one.

    Args:
        evaluation: Qa- or NliEvaluation after its pass.
        figures: of that pass, prefixed eval_.
        problems: frame of data_problems, of the evaluated rows.
    """
    with replacing(directory, EVALUATION) as new:
        outputs.write_jsonl(new / outputs.EVAL_PREDICTIONS, evaluation.predictions())
        if with_nbest:
            outputs.write_jsonl(new / outputs.NBEST_PREDICTIONS, evaluation.nbest_predictions())
        outputs.write_json(new / outputs.EVAL_METRICS, figures | evaluation.tables())
        outputs.write_csv(new / outputs.EVAL_DATA_PROBLEMS, problems)


def write_predictions(directory: Path, prediction: Any, problems: "pd.DataFrame") -> None:
    """Write predictions.jsonl and the problems of its rows, in the place of earlier ones; the manifest comes later."""
    with replacing(directory, PREDICTION) as new:
        outputs.write_jsonl(new / outputs.PREDICTIONS, prediction.predictions())
        outputs.write_csv(new / outputs.PREDICT_DATA_PROBLEMS, problems)
