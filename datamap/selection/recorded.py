"""What arms are taken from and trained like: a recording, or several of the same rows, and its data set."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from datamap.data.examples import described_rows, eval_split_of, find_examples
from datamap.data.sources import open_source
from datamap.dynamics.agreement import refuse_other_rows
from datamap.dynamics.maps import data_map
from datamap.dynamics.recordings import read_recording
from datamap.errors import DataError
from datamap.files.manifests import file_hash
from datamap.joint.join import Dynamics, read_dynamics, refuse_other_texts

logger = logging.getLogger(__name__)


# Files of rows that a recording was trained with: their options, and what the manifest calls their hashes.
ROW_FILES = {name: f"{name}_sha256" for name in ("groups", "example_weights", "example_smoothing")}
NEEDED_ARGUMENTS = ("per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs")


def read_recordings(names: Sequence[str]) -> Dynamics:
    """The dynamics of one recording, or the means of several with the training of the first one.

    Raises:
        DataError: one cannot be read, or does not say how it was trained.
        UsageError: they are not of the same rows.
    """
    first = read_dynamics(Path(names[0]))
    refuse_untold_training(names[0], first.manifest)
    if len(names) == 1:
        return first
    recordings = [read_recording(Path(name)) for name in names]
    refuse_other_rows(recordings, names)
    found = data_map(recordings, 0, {})
    if found.agreement is not None:
        logger.info("%s", found.agreement.sentences())
    return dataclasses.replace(first, metrics=found.metrics)


def refuse_untold_training(name: str, manifest: dict) -> None:
    """DataError where a recording does not say how it was trained, or a file that it was trained with has changed."""
    arguments, data = manifest.get("arguments"), manifest.get("data", {}).get("train", {})
    training = manifest.get("training_arguments") or {}
    if not arguments or "dataset" not in data or any(part not in training for part in NEEDED_ARGUMENTS):
        raise DataError(f"{name} does not say how it was trained: record the run again.")
    for option, hashed in ROW_FILES.items():
        path = arguments.get(option)
        if path is None:
            continue
        file = Path(path).expanduser()
        if not file.is_file() or file_hash(file) != data.get(hashed):
            what = "has changed since" if file.is_file() else "is not there (paths count from where it was recorded)"
            raise DataError(f"{name} was trained with --{option} {path}, which {what}: put it back, or record again.")


def read_contexts(dynamics: Dynamics) -> dict[str, str]:
    """The context (nli: premise) of every row by its id.

    Raises:
        DataError: the data set cannot be read, lacks recorded rows, or has them with other texts.
    """
    examples = find_examples(dynamics.manifest, dynamics.ids, described_rows(dynamics.manifest)["dataset"], None)
    refuse_other_texts(dynamics, examples)
    return dict(zip(examples.frame["id"], examples.frame[examples.group_column], strict=True))


def can_evaluate(manifest: dict) -> bool:
    """Whether the recording's data have rows to evaluate on, or its training held some out.

    Raises:
        DataError: a data set cannot be opened.
    """
    arguments, described = manifest["arguments"], described_rows(manifest)
    source = open_source(described["dataset"], manifest["task"], described.get("columns"))
    if arguments.get("eval_dataset"):
        open_source(arguments["eval_dataset"], manifest["task"], source.columns)
        return True
    return bool(manifest["data"]["train"].get("held_out")) or (
        eval_split_of(source, arguments.get("eval_split")) is not None
    )
