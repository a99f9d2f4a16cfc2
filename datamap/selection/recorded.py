"""What arms are taken from and trained like: a recording, or several of the same rows, and its data set."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from datamap.data.examples import eval_split_of, find_examples, open_described
from datamap.data.sources import open_source
from datamap.dynamics.agreement import refuse_other_rows
from datamap.dynamics.maps import data_map
from datamap.dynamics.recordings import read_recording
from datamap.errors import DataError
from datamap.joint.join import Dynamics, read_dynamics, refuse_other_texts

logger = logging.getLogger(__name__)


def read_recordings(names: Sequence[str]) -> Dynamics:
    """The dynamics of one recording, or the means of several with the training of the first one.

    Raises:
        DataError: one cannot be read, or does not say how it was trained.
        UsageError: they are not of the same rows.
    """
    first = read_dynamics(Path(names[0]))
    if "training_arguments" not in first.manifest:
        raise DataError(f"{names[0]} does not say how it was trained: record the run again.")
    if len(names) == 1:
        return first
    recordings = [read_recording(Path(name)) for name in names]
    refuse_other_rows(recordings, names)
    found = data_map(recordings, 0, {})
    if found.agreement is not None:
        logger.info("%s", found.agreement.sentences())
    return dataclasses.replace(first, metrics=found.metrics)


def read_contexts(dynamics: Dynamics) -> dict[str, str]:
    """The context (nli: premise) of every row by its id.

    Raises:
        DataError: the data set cannot be read, lacks recorded rows, or has them with other texts.
    """
    examples = find_examples(dynamics.manifest, dynamics.ids, None, None)
    refuse_other_texts(dynamics, examples)
    return dict(zip(examples.frame["id"], examples.frame[examples.group_column], strict=True))


def can_evaluate(manifest: dict) -> bool:
    """Whether the recording's data have rows to evaluate on, or its training held some out.

    Raises:
        DataError: a data set cannot be opened.
    """
    arguments = manifest["arguments"]
    source = open_described(manifest, None)
    if arguments.get("eval_dataset"):
        open_source(arguments["eval_dataset"], manifest["task"], source.columns)
        return True
    return bool(manifest["data"]["train"].get("held_out")) or (
        eval_split_of(source, arguments.get("eval_split")) is not None
    )
