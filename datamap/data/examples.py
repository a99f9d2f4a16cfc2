"""Examples: the checked rows of a split; which rows are held out, chosen, drawn; the rows of an earlier run."""

import dataclasses
import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from datamap.data.checks import NOT_TRAINED, check_nli, check_qa, n_repeats, summary_table
from datamap.data.groups import Grouping, group_keys, read_grouping
from datamap.data.label_names import MergedLabels
from datamap.data.listed_ids import ids_to_train_on
from datamap.data.records import canonical_nli, canonical_qa, unlabelled_nli, unlabelled_qa
from datamap.data.row_numbers import RowNumbers
from datamap.data.sources import open_source
from datamap.errors import DataError
from datamap.files.manifests import file_hash, ids_hash, texts_hash
from datamap.files.outputs import same_name, short_name

if TYPE_CHECKING:
    from datamap.data.sources import Source

logger = logging.getLogger(__name__)

DEFAULT_DATASETS = {"qa": "Eladio/emrqa-msquad", "nli": "snli"}
EVAL_SPLITS = ("validation", "validation_matched", "dev", "trial")


@dataclasses.dataclass(frozen=True)
class Examples:
    """The checked examples of one split: a canonical frame and how it came about.

    `has_unanswerable` speaks of the whole split, whatever is held out or drawn later. `columns`: role → name, as in
    --columns. `merged`: how labels of a model count as those of the data, None where they are the same. `grouping`:
    which rows stay together, None where equal contexts (NLI: premises) or chains of shared sentences say so.
    `train_ids_sha256`: of the file of --train_ids, None without it. `weights`, `smoothing`: of rows in a training, None
    where all weigh the same, and where no file says how smooth their labels are.
    """

    frame: pd.DataFrame
    problems: pd.DataFrame
    name: str
    split: str
    label_names: tuple[str, ...] = ()
    held_out: float | None = None
    has_unanswerable: bool = False
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    merged: MergedLabels | None = None
    grouping: Grouping | None = None
    train_ids_sha256: str | None = None
    weights: RowNumbers | None = None
    smoothing: RowNumbers | None = None

    def replaced(self, frame: pd.DataFrame, **changes: Any) -> "Examples":
        """The same examples with some of the rows (and other fields changed)."""
        return dataclasses.replace(self, frame=frame.reset_index(drop=True), **changes)

    def trainable(self) -> "Examples":
        """Those rows only that can be trained on."""
        return self.replaced(self.frame[self.frame["usable_for_training"]])

    @property
    def title(self) -> str:
        """What figures and pages call these examples: the data set, of a file its name alone, and the split."""
        return f"{short_name(self.name)}, {self.split}"

    @property
    def group_column(self) -> str:
        """The column whose equal texts belong together: context (QA) or premise (NLI)."""
        return "context" if "context" in self.frame else "premise"

    @property
    def n_unanswerable(self) -> int:
        """Rows without a gold answer (QA)."""
        return sum(not answer["text"] for answer in self.frame["answers"]) if "answers" in self.frame else 0


def load_examples(source: "Source", split: str, task: str, *, whole: bool = False) -> Examples:
    """Read a split, bring it into the canonical frame (`whole`: with structured columns too) and check every row.

    Raises:
        DataError: the split does not exist, columns are missing, or no usable row is left.
    """
    where = f"{source.name}, split {split}"
    raw = source.read(split)
    if task == "qa":
        frame, problems = check_qa(*canonical_qa(raw, where, whole=whole))
        names: tuple[str, ...] = ()
    else:
        frame, problems, names = canonical_nli(raw, where, source.label_names, whole=whole)
        frame, problems = check_nli(frame, problems)
    examples = Examples(frame, problems.assign(split=split), source.name, split, names, columns=dict(source.columns))
    if not len(frame) or not frame["usable_for_training"].any():
        why = problems["problem"].mode().tolist()[:1] or ["it is empty"]
        raise DataError(f"{where}: none of its {len(raw)} rows is usable ({why[0]}): look at the file.")
    n_unanswerable = examples.n_unanswerable if task == "qa" else None
    logger.info("%s\n%s", where, summary_table(problems, len(raw), n_unanswerable, n_repeats(frame)))
    return dataclasses.replace(examples, has_unanswerable=examples.n_unanswerable > 0)


def load_unlabelled(source: "Source", split: str, task: str) -> Examples:
    """As `load_examples`, for rows to predict: labels are neither needed nor looked at; only empty contexts go.

    Raises:
        DataError: the split does not exist, columns are missing, or no context has any text.
    """
    where = f"{source.name}, split {split}"
    raw = source.read(split)
    read, check = (unlabelled_qa, check_qa) if task == "qa" else (unlabelled_nli, check_nli)
    frame, problems = check(*read(raw, where))
    problems["action"] = problems["action"].replace(NOT_TRAINED, "predicted all the same")
    if not len(frame):
        raise DataError(f"{where}: none of its {len(raw)} rows has a text to predict from: look at the file.")
    logger.info("%s\n%s", where, summary_table(problems, len(raw), None, n_repeats(frame)))
    return Examples(frame, problems.assign(split=split), source.name, split, columns=dict(source.columns))


def described_rows(manifest: dict) -> dict:
    """What a manifest says of the rows that its directory is about: those trained on, embedded or clustered."""
    data = manifest.get("data", {})
    return data.get("rows") or data.get("train") or {}


def open_described(manifest: dict, asked: str | None, columns: Mapping[str, str] | None = None) -> "Source":
    """The data set asked for or, without one, a manifest's own.

    Without `columns` (role → name) the manifest's own data set is read by those that it was read by.

    Raises:
        DataError: it cannot be opened.
    """
    task = manifest.get("task", "nli")  # the layout of other trainers has no manifest and is about classification
    described = described_rows(manifest)
    if columns is None and (asked is None or same_name(asked, described.get("dataset"))):
        columns = described.get("columns")
    if asked:
        return open_source(asked, task, columns)
    try:
        return open_source(described["dataset"], task, columns)
    except DataError as error:
        raise DataError(f"the data set that the manifest names cannot be opened, so give --dataset: {error}") from error


def load_split(
    manifest: dict,
    dataset: str | None,
    split: str | None,
    columns: Mapping[str, str] | None = None,
    *,
    whole: bool = False,
) -> Examples:
    """All examples of the data set and split asked for, or else of the manifest's own.

    `columns` as in `open_described`, `whole` as in `load_examples`.

    Raises:
        DataError: the data set cannot be read.
    """
    source = open_described(manifest, dataset, columns)
    split = split or described_rows(manifest).get("split") or "train"
    return load_examples(source, split, manifest.get("task", "nli"), whole=whole)


def find_examples(
    manifest: dict,
    ids: Sequence[str],
    dataset: str | None,
    split: str | None,
    columns: Mapping[str, str] | None = None,
    examples: Examples | None = None,
) -> Examples:
    """The examples of `ids`, in their order, from the data set and split asked for or else the manifest's own.

    `columns` as in `open_described`; `examples` where `load_split` has read them already.

    Raises:
        DataError: the data set cannot be read, or lacks one of the ids, or has them with other texts.
    """
    examples = examples or load_split(manifest, dataset, split, columns)
    frame = examples.frame.set_index("id", drop=False)
    missing = [identifier for identifier in ids if identifier not in frame.index]
    if missing:
        raise DataError(
            f"{examples.name}, split {examples.split}: {len(ids) - len(missing)} of the {len(ids)} ids asked for are "
            f"there, but {missing[0]} is not: give the --dataset and --split that they were taken from."
        )
    found = frame.loc[list(ids)]
    same_rows = "texts_sha256" in manifest and manifest["ids_sha256"] == ids_hash(ids)
    if same_rows and manifest["texts_sha256"] != texts_hash(found):
        raise DataError(
            f"{examples.name}, split {examples.split}, has all {len(ids)} ids asked for, but with other texts: give "
            "the --dataset and --split that they were taken from."
        )
    logger.info("All %d ids found among the %d rows of %s, %s.", len(ids), len(frame), examples.name, examples.split)
    return examples.replaced(found)


def trained_examples(manifest: dict) -> Examples:
    """The very rows that a run was trained on: its split, without what was held out or left out, and its sample.

    Raises:
        DataError: the data set or a file of --groups or --train_ids cannot be read, or is not what it was.
    """
    trained, arguments = manifest["data"]["train"], manifest["arguments"]
    whole = load_examples(open_described(manifest, None), trained["split"], manifest["task"])
    examples, groups, train_ids = whole, arguments.get("groups"), arguments.get("train_ids")
    if trained["held_out"]:
        refuse_changed("--groups", groups, trained.get("groups_sha256"), "held out rows")
        examples = hold_out(grouped(whole, groups), trained["held_out"])[0]
    refuse_changed("--train_ids", train_ids, trained.get("train_ids_sha256"), "chose its rows")
    examples = sample_rows(chosen(examples, whole, train_ids), arguments["max_train_samples"], manifest["seed"])
    if ids_hash(examples.frame["id"]) != trained["ids_sha256"]:
        raise DataError(
            f"{examples.name}, split {examples.split}, does not hold the {trained['n_rows']} rows that the model was "
            "trained on any more: give --dataset and --split."
        )
    return examples


def grouped(examples: Examples, path: str | None) -> Examples:
    """The examples with the groups that a file of --groups has for them, or as they are without one.

    Raises:
        DataError: the file cannot be read, or lacks one of the rows.
    """
    if path is None:
        return examples
    where = f"{examples.name}, split {examples.split}"
    found = read_grouping(path, examples.split, examples.frame["id"], where)
    return dataclasses.replace(examples, grouping=found)


def refuse_changed(flag: str, path: str | None, sha256: str | None, deed: str) -> None:
    """DataError where a file that a training was given is gone, or another one than it was.

    Args:
        path: of the file, None where the training had none.
        sha256: of the file as it was.
        deed: what the training did by it, in words.
    """
    if path is None:
        return
    file = Path(path).expanduser()
    if not file.is_file() or file_hash(file) != sha256:
        what = "has changed" if file.is_file() else "is gone"
        raise DataError(
            f"{flag} {path}, by which the training {deed}, {what}: put it back, or give --dataset and --split."
        )


def chosen(rest: Examples, whole: Examples, path: str | None) -> Examples:
    """The rows that can be trained on; of those the ones that a file of --train_ids lists, in their own order.

    Args:
        rest: those of `whole`, the split, that are not held out.
        path: of the file, None without one.

    Raises:
        DataError: the file cannot be read, or lists an id twice or one that cannot be trained on.
    """
    usable = rest.trainable()
    if path is None:
        return usable
    trainable, kept = set(usable.frame["id"]), set(rest.frame["id"])
    listed = ids_to_train_on(
        path,
        f"{whole.name}, split {whole.split}",
        trainable=trainable,
        held_out=set(whole.frame["id"]) - kept,
        left_out=(kept | set(rest.problems["id"])) - trainable,
    )
    frame = usable.frame[usable.frame["id"].isin(listed)]
    logger.info("%d of %d rows of %s, %s, chosen by %s.", len(frame), len(trainable), whole.name, whole.split, path)
    return usable.replaced(frame, train_ids_sha256=file_hash(Path(path).expanduser()))


def eval_split_of(source: "Source", asked: str | None) -> str | None:
    """The split to evaluate on: the one asked for, else the first of the usual ones; None if the source has none."""
    return asked or next((split for split in EVAL_SPLITS if split in source.splits), None)


def hold_out(whole: Examples, fraction: float) -> tuple[Examples, Examples]:
    """Split examples into (rest, held out): whole contexts in the order of their hash that fit into `fraction`.

    Rows with the same context (NLI: premise), or of one group where they have a grouping, stay together. The choice
    depends on nothing but the texts: neither on the seed nor on the order of the rows (nor on the numbers of the
    groups). The problems go with the rows that have them.

    Raises:
        DataError: there are fewer than two contexts or groups.
    """
    frame = whole.frame
    what, groups, keys = whole.group_column, frame[whole.group_column], None
    if whole.grouping is not None:
        what, groups = "group of --groups", pd.Series(whole.grouping.of_rows(frame["id"]), index=frame.index)
        keys = group_keys(frame, groups)
    sizes = groups.groupby(groups, sort=False).size()
    if len(sizes) < 2:
        raise DataError(f"{whole.name}: all rows share one {what}, so none can be held out: pass --eval_dataset.")
    chosen: set = set()
    n_rows = 0
    for group in sorted(sizes.index, key=keys.__getitem__ if keys else context_key)[:-1]:
        if not chosen or n_rows + sizes[group] <= fraction * len(frame):
            chosen.add(group)
            n_rows += sizes[group]
    taken = groups.isin(chosen)
    logger.info("%d of %d rows of %s are held out for evaluation, by %s.", n_rows, len(frame), whole.name, what)
    moved = whole.problems["id"].isin(set(frame.loc[taken, "id"]))
    rest = whole.replaced(frame[~taken], problems=whole.problems[~moved], held_out=fraction)
    return rest, whole.replaced(frame[taken], problems=whole.problems[moved], held_out=fraction)


def context_key(text: str) -> bytes:
    """What contexts (NLI: premises) are put in order by when some are held out."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def sample_rows(examples: Examples, n_rows: int | None, seed: int) -> Examples:
    """At most `n_rows` rows, drawn with the seed and left in their order; everything when `n_rows` is None."""
    total = len(examples.frame)
    if n_rows is None or n_rows >= total:
        return examples
    chosen = np.sort(np.random.default_rng(seed).choice(total, size=n_rows, replace=False))
    logger.info("%d of %d rows of %s, %s, drawn with seed %d.", n_rows, total, examples.name, examples.split, seed)
    return examples.replaced(examples.frame.iloc[chosen])
