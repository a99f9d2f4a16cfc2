"""From the name of a data set to its raw rows: the built-in demo, a file, a `save_to_disk` directory or the hub.

Rows come out with the columns as found; `records` makes the canonical frame of them.
"""

import dataclasses
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from datamap import errors
from datamap.data.columns import KNOWN_NAMES, refuse_unknown_roles, renamed
from datamap.data.files import class_names, file_kind, one_line, read_file, table_frame
from datamap.data.layouts import flattened, frame_of

logger = logging.getLogger(__name__)

DEMO_NAMES = {"qa": ("demo", "demo:v2", "demo:noisy"), "nli": ("demo:nli",)}
SEMEVAL_SPLITS = ("train", "trial", "test")
HUB_TIMEOUT = 10  # seconds to wait for the hub's first answer
WAY_OUT = "use --dataset demo, or give a local file or a directory written by save_to_disk"


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set that has been found: its splits in their own order, and the class names of its label column.

    `label_names` is None where the data set does not carry any. `columns`: role → name of a column, as in --columns.
    """

    name: str
    splits: tuple[str, ...]
    label_names: tuple[str, ...] | None
    frame_of_split: Callable[[str], pd.DataFrame]
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def read(self, split: str) -> pd.DataFrame:
        """Raw rows of one split: nested layouts as a row a question, the columns of `columns` called by their roles.

        Raises errors.DataError when there is no such split or no such column, naming those that exist.
        """
        if split not in self.splits:
            raise errors.DataError(
                f"The data set {self.name!r} has no split {split!r}; it has {errors.shortlist(self.splits)}."
            )
        frame = flattened(self.frame_of_split(split), self.name, self.columns)
        return renamed(frame, self.columns, f"{self.name}, split {split}")


def open_source(name: str, task: str, columns: Mapping[str, str] | None = None) -> Source:
    """Find the data set called `name` for the task "qa" or "nli".

    In this order: the demo names, an existing file or directory, a name of the hub (`name` or `name:subset`).
    `columns` gives columns by their roles (see columns.ROLES); all others go by their usual names.
    Raises errors.UsageError for a demo or a role of the other task, errors.DataError for whatever cannot be read.
    """
    columns = dict(columns or {})
    refuse_unknown_roles(columns, task)
    return dataclasses.replace(_found(name, task, columns), columns=columns)


def _found(name: str, task: str, columns: Mapping[str, str]) -> Source:
    if name == "demo" or name.startswith("demo:"):
        return _open_demo(name, task)
    path, label = Path(os.path.expanduser(name)), columns.get("label")
    if path.is_dir():
        return _open_directory(name, path, label)
    if path.exists():
        return _open_file(name, path, columns)
    if file_kind(path) or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise errors.DataError(f"The file or directory {name!r} is missing (looked in {Path.cwd()}).")
    return _open_hub(name, label)


def _open_demo(name: str, task: str) -> Source:
    if name not in DEMO_NAMES[task]:
        choices = " or ".join(DEMO_NAMES[task])
        other = "nli" if task == "qa" else "qa"
        hint = f", or pass --task {other}" if name in DEMO_NAMES[other] else ""
        raise errors.UsageError(f"--dataset {name} does not go with --task {task}: use {choices}{hint}.")
    from datamap.demo import data

    rows = data.make_demo(name.partition(":")[2])
    label_names = tuple(data.NLI_LABELS) if task == "nli" else None
    return Source(name, tuple(rows), label_names, lambda split: frame_of(rows[split]))


def _open_file(name: str, path: Path, columns: Mapping[str, str]) -> Source:
    frame, label_names = read_file(name, path, KNOWN_NAMES | set(columns.values()), columns.get("label"))
    parts = _semeval_splits(frame)
    if parts:
        return Source(name, tuple(parts), label_names, parts.__getitem__)
    return Source(name, ("train",), label_names, lambda split: frame)


def _semeval_splits(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """SICK's splits, which one file holds together and its column SemEval_set tells apart; empty for other files."""
    column = next((name for name in frame.columns if str(name).lower() == "semeval_set"), None)
    if column is None:
        return {}
    names = frame[column].astype(str).str.strip().str.lower()
    parts = {name: frame[names == name].reset_index(drop=True) for name in SEMEVAL_SPLITS if (names == name).any()}
    return parts if sum(map(len, parts.values())) == len(frame) else {}


def _open_directory(name: str, path: Path, label: str | None) -> Source:
    import datasets

    if not any((path / marker).exists() for marker in ("dataset_dict.json", "state.json")):
        raise errors.DataError(
            f"The directory {name!r} was not written by save_to_disk (no dataset_dict.json or state.json in it)."
        )
    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise errors.DataError(f"The directory {name!r} cannot be loaded ({one_line(problem)}).") from problem
    return _dataset_source(name, loaded, label)


def _dataset_source(name: str, loaded: Any, label: str | None) -> Source:
    splits = dict(loaded) if isinstance(loaded, dict) else {"train": loaded}
    if not splits:
        raise errors.DataError(f"The data set {name!r} has no splits.")
    found = (class_names(dataset.features, label) for dataset in splits.values())
    named = {names for names in found if names is not None}
    if len(named) > 1:
        listed = "; ".join(errors.shortlist(names) for names in sorted(named))
        raise errors.DataError(
            f"The splits of {name!r} number their labels differently ({listed}); save them with one order of names."
        )
    return Source(name, tuple(splits), next(iter(named), None), lambda split: _dataset_frame(splits[split]))


def _dataset_frame(dataset: Any) -> pd.DataFrame:
    return table_frame(dataset.with_format("arrow")[:])


def _open_hub(name: str, label: str | None) -> Source:
    """A data set of the hub, or its copy in the cache when the hub does not answer; never with remote code."""
    import datasets
    from huggingface_hub.errors import HTTPError

    repository, colon, subset = name.partition(":")
    if colon and not subset:
        raise errors.UsageError(f"The data set {name!r} ends in a colon; give it as name or name:subset.")
    reachable = _hub_answers(repository, name)
    try:
        with _offline(not reachable):
            loaded = datasets.load_dataset(repository, subset or None)
    except ConnectionError as problem:
        raise errors.DataError(
            f"The hub cannot be reached for the data set {name!r}, and no copy of it is cached; {WAY_OUT}."
        ) from problem
    except RuntimeError as problem:
        raise errors.DataError(
            f"The data set {name!r} needs a loading script, and those are never run; {WAY_OUT}."
        ) from problem
    except ValueError as problem:
        raise errors.DataError(
            f"The data set {name!r} cannot be loaded; a subset is chosen as {repository}:SUBSET ({one_line(problem)})."
        ) from problem
    except (datasets.exceptions.DatasetsError, HTTPError, OSError) as problem:
        raise errors.DataError(f"The data set {name!r} cannot be loaded ({one_line(problem)}); {WAY_OUT}.") from problem
    return _dataset_source(name, loaded, label)


def _hub_answers(repository: str, name: str) -> bool:
    """Whether the hub answers for this data set, asked once: the library's own retries take 23 seconds to say no.

    Raises errors.DataError when the hub answers that it has no such data set or does not give it out.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HFValidationError, HTTPError, RepositoryNotFoundError

    try:
        HfApi().dataset_info(repository, timeout=HUB_TIMEOUT)
    except HFValidationError as problem:
        raise errors.DataError(
            f"{name!r} is neither an existing path nor a possible name on the hub; {WAY_OUT}."
        ) from problem
    except GatedRepoError as problem:
        raise errors.DataError(
            f"The data set {name!r} is gated: ask for access on its page and set HF_TOKEN, or {WAY_OUT}."
        ) from problem
    except RepositoryNotFoundError as problem:
        raise errors.DataError(
            f"The hub knows no data set {repository!r} (or needs HF_TOKEN for it); {WAY_OUT}."
        ) from problem
    except (HTTPError, OSError) as problem:
        logger.warning("The hub does not answer (%s); looking for %s in the cache.", one_line(problem), name)
        return False
    return True


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """Keep `datasets` from asking the hub again while it looks into its cache."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or wanted
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
