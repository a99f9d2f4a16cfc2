"""Audit a data set before believing a score on it: leakage, repeats, contradictions, shortcuts, a split by groups.

    python audit_dataset.py --dataset notes.jsonl --eval_dataset dev.jsonl --output_dir ./audit

Reads: a data set, its evaluation split or another data set for that, and, where they are given, the predictions of an
evaluation, vectors of extract_embeddings.py and evaluations with --ablations.
Writes into --output_dir: rows.csv (at which level each row meets another, and its group), pairs.csv, audit.json,
audit.png; with --resplit train.jsonl and validation.jsonl; and, last, manifest.json. The summary goes to stdout.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import helpers
from datamap.errors import DataError, UsageError
from datamap.files import directories, manifests, outputs, pictures
from datamap.options import parsing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from datamap.audit.meetings import Rows
    from datamap.audit.resplit import Resplit
    from datamap.data.examples import Examples

logger = logging.getLogger("audit_dataset")

SCRIPT, OUTPUT_DIR = "audit_dataset.py", "./audit"
GROUP_LEVELS = ("exact", "normalised", "answer", "context", "contained", "template")
DEFAULT_GROUPS = ["context", "contained"]
PAIRS, SUMMARY, FIGURE = "pairs.csv", "audit.json", "audit.png"
JUDGED = ("eval", "judged")  # what the second split is called where both have one name: the first that is free


def build_parser() -> argparse.ArgumentParser:
    """The parser of audit_dataset.py's options."""
    parser = parsing.SentenceParser(
        prog=SCRIPT, description="What a score on a data set may owe to leakage, repeats, contradictions and shortcuts."
    )
    add = parser.add_argument
    text = "data set, named as for run.py (default: Eladio/emrqa-msquad; with --task nli snli)"
    add("--dataset", metavar="NAME", type=parsing.named, help=text)
    text = "data set to evaluate on, where it is another one (default: a split of --dataset)"
    add("--eval_dataset", metavar="NAME", type=parsing.named, help=text)
    text = "extractive QA or natural language inference (default: qa)"
    add("--task", choices=("qa", "nli"), default="qa", help=text)
    text = "split that training takes (default: train)"
    add("--split", metavar="SPLIT", type=parsing.named, default="train", help=text)
    text = "split to evaluate on (default: validation, dev or the like, where there is one; else one split is audited)"
    add("--eval_split", metavar="SPLIT", type=parsing.named, help=text)
    parsing.add_columns_option(add)
    text = (
        "eval_predictions.jsonl of an evaluation on the second split: what it scores on rows that meet training, and "
    )
    text += "on those that do not"
    add("--predictions", metavar="FILE", type=parsing.named, help=text)
    text = "output of extract_embeddings.py for the first split, then for the second: the nearest rows are shown"
    add("--embedding_dir", metavar="DIR", type=parsing.named, nargs="+", help=text)
    text = "directories of evaluations of run.py --ablations, shown beside the shortcuts"
    add("--ablation_dirs", metavar="DIR", type=parsing.named, nargs="+", help=text)
    text = (
        "also write all rows as train.jsonl and validation.jsonl, which has about this share of them, between 0 and 1, "
    )
    text += "in whole groups"
    add("--resplit", metavar="SHARE", type=parsing.fraction, help=text)
    text = f"levels that join rows to groups (default: {' '.join(DEFAULT_GROUPS)}; a stronger level has the same "
    text += "context, so context joins it too)"
    add("--resplit_by", metavar="LEVEL", choices=GROUP_LEVELS, nargs="+", default=DEFAULT_GROUPS, help=text)
    text = f"where results are written (default: {OUTPUT_DIR})"
    add("--output_dir", metavar="DIR", type=parsing.named, default=OUTPUT_DIR, help=text)
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The options; a UsageError for everything that could not act."""
    options = build_parser().parse_args(argv)
    if len(options.embedding_dir or ()) > 2:
        raise UsageError("--embedding_dir takes one directory, or two: of the first split, then of the second.")
    directory = Path(options.output_dir).resolve()
    for name in (options.dataset, options.eval_dataset, options.predictions, *(options.embedding_dir or ())):
        path = Path(name or "").expanduser()
        if name and path.exists() and directory in (path.resolve(), path.resolve().parent):
            raise UsageError(f"--output_dir {options.output_dir} is where {name} lies: choose another one.")
    return options


def load(options: argparse.Namespace) -> "list[Examples]":
    """The examples of the first split and, where there is one, of the second.

    Raises:
        DataError: a data set cannot be read.
        UsageError: it is not said which split is the second, or what needs a second split has none.
    """
    from datamap.data.examples import DEFAULT_DATASETS, eval_split_of, load_examples
    from datamap.data.purposes import only_split
    from datamap.data.sources import open_source

    whole = options.resplit is not None
    source = open_source(options.dataset or DEFAULT_DATASETS[options.task], options.task, options.columns)
    loaded = [load_examples(source, options.split, options.task, whole=whole)]
    judged = open_source(options.eval_dataset, options.task, options.columns) if options.eval_dataset else source
    split = eval_split_of(judged, options.eval_split)
    if split is None and options.eval_dataset:
        split = only_split(judged)
    if options.eval_split == options.split and not options.eval_dataset:
        raise UsageError(f"--eval_split {split} is the split that is trained on: give another one, or --eval_dataset.")
    if split is not None and (options.eval_dataset or split != options.split):
        loaded.append(load_examples(judged, split, options.task, whole=whole))
    if len(loaded) == 1 and (options.predictions or len(options.embedding_dir or ()) > 1):
        name = "--predictions" if options.predictions else "a second --embedding_dir"
        raise UsageError(f"{name} needs a second split: give --eval_dataset or --eval_split.")
    return loaded


def joined(loaded: "list[Examples]") -> "Rows":
    """The rows of all splits as one, with labels in one order.

    Raises:
        DataError: the splits do not name their labels alike.
    """
    from datamap.audit.meetings import joined_labels, joined_rows

    names = joined_labels([part.label_names for part in loaded])
    frames = [part.frame for part in loaded]
    if names:
        frames = [
            frame.assign(label=[names.index(part.label_names[label]) for label in frame["label"]])
            for frame, part in zip(frames, loaded, strict=True)
        ]
    splits = [part.split for part in loaded]
    if len(set(splits)) < len(splits):
        splits[1] = next(name for name in JUDGED if name != splits[0])
    return joined_rows(frames, splits, names)


def scores(options: argparse.Namespace, rows: "Rows", strongest: "np.ndarray") -> "pd.DataFrame":
    """The figures of --predictions by level.

    Raises:
        DataError: they cannot be read, or are of other data.
    """
    import pandas as pd

    from datamap.audit.scores import refuse_unscored, scores_by_level
    from datamap.joint.join import read_predictions, refuse_other_predictions

    judged = rows.frame[rows.side == 1].assign(level=strongest[rows.side == 1])
    predicted = read_predictions(Path(options.predictions), options.task)
    refuse_other_predictions(judged, predicted, options.task, allow_partial=True)
    refuse_unscored(predicted, options.task)
    met = judged.merge(predicted.drop(columns=["question", "hypothesis"], errors="ignore"), on="id")
    groups = pd.factorize(met["context" if rows.is_qa else "premise"])[0]
    return scores_by_level(met["level"].to_numpy(), met, groups, options.task)


def alike(options: argparse.Namespace, rows: "Rows") -> "pd.DataFrame":
    """The nearest rows by the vectors of --embedding_dir, with their splits.

    Raises:
        DataError: the vectors cannot be read, or are of other rows.
    """
    from datamap.audit.alike import alike_pairs
    from datamap.embeddings.vectors import read_embeddings

    found = []
    for name, split in zip(options.embedding_dir, rows.splits, strict=False):
        read = read_embeddings(Path(name))
        known = set(rows.frame.loc[rows.frame["split"] == split, "id"])
        other = next((one for one in read.ids if one not in known), None)
        if other is not None:
            raise DataError(
                f"--embedding_dir {name} has the id {other}, which {split} lacks: give vectors of that split."
            )
        first, last = read.metadata["parts"]["cls"]
        found.append((read.ids, read.vectors[:, first:last]))
    (other_ids, others), (ids, vectors) = found[0], found[-1]
    pairs = alike_pairs(ids, vectors, other_ids, others, same=len(found) == 1)
    return pairs.assign(split=rows.splits[len(found) - 1], other_split=rows.splits[0])


def write_resplit(directory: Path, loaded: "list[Examples]", rows: "Rows", made: "Resplit") -> None:
    """Write train.jsonl and validation.jsonl; says how many rows got another id, as theirs stands in both splits."""
    from datamap.audit import resplit
    from datamap.labels.rows import written_rows

    written = [row for part in loaded for row in written_rows(part)]
    renamed = resplit.distinct_ids(written, rows.frame["split"].tolist())
    written = [row | {resplit.WHY: why} for row, why in zip(written, made.why, strict=True)]
    for name, wanted in ((resplit.TRAIN, False), (resplit.VALIDATION, True)):
        side = (row for row, here in zip(written, made.in_validation, strict=True) if here == wanted)
        outputs.write_jsonl(directory / name, side)
    if renamed:
        logger.info("%d ids stand in both splits: in %s and %s those of %s have %s: before them.", renamed,
                    resplit.TRAIN, resplit.VALIDATION, rows.splits[-1], rows.splits[-1])  # fmt: skip


def main(argv: Sequence[str]) -> None:
    """Read, compare, write, report."""
    options = parse_arguments(argv)
    directory = Path(options.output_dir)
    directories.refuse_foreign_directory(directory, SCRIPT)
    import pandas as pd

    from datamap.audit import meetings as meeting
    from datamap.audit import pairs, plots, shortcuts
    from datamap.audit.findings import Beside, findings
    from datamap.audit.resplit import TRAIN, VALIDATION, resplit
    from datamap.data.groups import ROWS, write_rows

    loaded = load(options)
    rows = joined(loaded)
    meeting.refuse_unknown_levels(options.resplit_by, rows)
    ablations = [shortcuts.read_ablation(Path(name)) for name in options.ablation_dirs or ()]
    near = alike(options, rows) if options.embedding_dir else None
    meetings = meeting.find_meetings(rows)
    strongest = meetings.of_rows(rows.side, across=len(rows.splits) > 1)
    groups = meetings.groups(options.resplit_by, len(rows.frame))
    scored = scores(options, rows, strongest) if options.predictions else None
    by = " and ".join(options.resplit_by)
    made = resplit(rows.frame, groups, options.resplit, by) if options.resplit else None
    table = pairs.pairs_table(rows, meetings)
    found, lines = findings(rows, meetings, table, groups, options.resplit_by, Beside(scored, near, made, ablations))
    title = " and ".join(dict.fromkeys(part.title for part in loaded))
    figure = plots.shares(pd.DataFrame(found["levels"]), title=f"{title}: what rows share", is_qa=rows.is_qa)
    directories.clear(directory, (ROWS, PAIRS, SUMMARY, FIGURE, TRAIN, VALIDATION))
    write_rows(directory, rows.frame[["id", "split"]].assign(level=strongest, group=groups))
    outputs.write_csv(directory / PAIRS, pairs.with_alike(table, near) if near is not None else table)
    outputs.write_json(directory / SUMMARY, found)
    pictures.write_figure(directory / FIGURE, figure)
    if made is not None:
        write_resplit(directory, loaded, rows, made)
    close(options, loaded, rows)
    print("\n".join(lines))
    logger.info("Everything is in %s.", directory)


def close(options: argparse.Namespace, loaded: "list[Examples]", rows: "Rows") -> None:
    """Write the manifest."""
    data = {"rows": manifests.described(loaded[0]) | {"audited_as": rows.splits[0]}}
    if len(loaded) > 1:
        data["eval_rows"] = manifests.described(loaded[1]) | {"audited_as": rows.splits[1]}
    fields = {"script": SCRIPT, "task": options.task, "arguments": vars(options), "data": data}
    sources = [Path(options.predictions).parent / manifests.EVAL_MANIFEST] if options.predictions else []
    sources += [Path(name) for name in options.embedding_dir or ()]
    sources += [Path(name) / manifests.EVAL_MANIFEST for name in options.ablation_dirs or ()]
    manifests.write_manifest(Path(options.output_dir), fields, sources)


if __name__ == "__main__":
    sys.exit(helpers.run_script(main))
