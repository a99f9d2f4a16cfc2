"""Apply what people decided about labels, and write the corrected data set.

    python apply_corrections.py --dataset notes.jsonl --corrections corrections.jsonl --output_dir ./corrected

Reads: a data set and one or more corrections.jsonl that the page of find_label_errors.py saved, or that were written by
hand. With --revert: a corrected data set and the changes.csv and manifest.json beside it.
Writes into --output_dir: corrected.jsonl (every row but those left out, ids kept), changes.csv, data_problems.csv (rows
that cannot be read or trained on), disagreements.csv (of several files), review_summary.json and, last, manifest.json.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import helpers
from datamap.errors import UsageError
from datamap.files import directories, manifests, outputs
from datamap.options import parsing

if TYPE_CHECKING:
    from datamap.data.examples import Examples
    from datamap.labels.patches import Decision

logger = logging.getLogger("apply_corrections")

CORRECTED_DIR, RESTORED_DIR = "./corrected", "./restored"


def build_parser() -> argparse.ArgumentParser:
    """The parser of apply_corrections.py's options."""
    parser = parsing.SentenceParser(
        prog="apply_corrections.py", description="Apply what people decided about labels, or take it back."
    )
    add = parser.add_argument
    text = "data set that was reviewed, named as for run.py; with --revert, a corrected.jsonl"
    add("--dataset", metavar="NAME", type=parsing.named, required=True, help=text)
    text = "corrections.jsonl of one or more reviewers; where they disagree, the row stays and is listed"
    add("--corrections", metavar="FILE", type=parsing.named, nargs="+", help=text)
    text = f"where results are written (default: {CORRECTED_DIR}, with --revert {RESTORED_DIR})"
    add("--output_dir", metavar="DIR", type=parsing.named, help=text)
    text = "extractive QA or natural language inference (default: qa)"
    add("--task", choices=("qa", "nli"), help=text)
    add("--split", metavar="SPLIT", type=parsing.named, help="split that was reviewed (default: train)")
    parsing.add_columns_option(add)
    text = "write the data set as it was before corrections, byte for byte as without any"
    add("--revert", action="store_true", help=text)
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The options; a UsageError for everything that could not act."""
    options = build_parser().parse_args(argv)
    idle = [name for name in ("corrections", "task", "split", "columns") if options.revert and getattr(options, name)]
    if idle:
        raise UsageError(f"--revert reads what it needs beside --dataset: leave --{idle[0]} out.")
    if not options.revert and not options.corrections:
        raise UsageError("give --corrections with the corrections.jsonl to apply (or --revert to take them back).")
    options.output_dir = options.output_dir or (RESTORED_DIR if options.revert else CORRECTED_DIR)
    if not options.revert:
        options.task, options.split = options.task or "qa", options.split or "train"
    source, directory = Path(options.dataset).expanduser(), Path(options.output_dir).resolve()
    if source.is_file() and source.parent.resolve() == directory:
        raise UsageError(f"--output_dir {options.output_dir} is where --dataset lies: choose another one.")
    files = {Path(name).resolve(): name for name in options.corrections or ()}
    inside = [name for path, name in files.items() if path.parent == directory]
    if inside:
        raise UsageError(
            f"--corrections {inside[0]} lies in --output_dir, whose files are replaced: choose another one."
        )
    if len(files) < len(options.corrections or ()):
        raise UsageError("--corrections names a file twice: give every reviewer's file once.")
    return options


def load_rows(options: argparse.Namespace) -> "Examples":
    """All rows of the split, with all columns.

    Raises:
        DataError: the data set cannot be read.
    """
    from datamap.data.examples import load_examples
    from datamap.data.sources import open_source

    source = open_source(options.dataset, options.task, options.columns)
    return load_examples(source, options.split, options.task, whole=True)


def read_decisions(
    options: argparse.Namespace, rows: list[dict], examples: "Examples"
) -> "dict[str, dict[str, Decision]]":
    """The decisions by file and id.

    Raises:
        DataError: a file cannot be read, or a decision does not fit its row.
    """
    from datamap.labels.patches import checked, read_patch
    from datamap.labels.rows import FIELDS, label_values

    field, labels = FIELDS[options.task], label_values(examples.label_names)
    return {name: checked(read_patch(name), rows, field, labels) for name in options.corrections}


def apply(options: argparse.Namespace) -> None:
    """Apply corrections."""
    from datamap.labels import corrected, patches, reviews
    from datamap.labels.rows import written_rows

    directory = Path(options.output_dir)
    examples = load_rows(options)
    rows = written_rows(examples)
    by_file = read_decisions(options, rows, examples)
    agreed, contested = patches.merged(list(by_file.values()))
    changed = patches.applied(rows, agreed)
    changes = corrected.changes_table(rows, changed, agreed)
    summary = reviews.summary(agreed, contested, by_file, len(rows))
    directories.clear(directory, corrected.FILES)
    corrected.write(directory, changed, changes, summary)
    outputs.write_csv(directory / outputs.DATA_PROBLEMS, examples.problems[outputs.PROBLEM_COLUMNS])
    if len(by_file) > 1:
        outputs.write_csv(directory / corrected.DISAGREEMENTS, corrected.disagreements_table(contested))
    files = {name: manifests.file_hash(Path(name)) for name in options.corrections}
    fields = {"script": corrected.SCRIPT, "task": options.task, "arguments": vars(options)}
    fields |= {"data": {"rows": manifests.described(examples)}} | corrected.hashes(directory)
    held = {"n_changed": summary["changed"], "n_left_out": summary["left_out"], "files": files}
    manifests.write_manifest(directory, fields | {"corrections": held})
    print(corrected.as_text(summary))
    logger.info("Everything is in %s; run.py --dataset %s trains on it.", directory, directory / corrected.CORRECTED)


def revert(options: argparse.Namespace) -> None:
    """Take corrections back."""
    from datamap.labels import corrected, patches

    directory = Path(options.output_dir)
    source = Path(options.dataset).expanduser()
    lines, changes, manifest = corrected.read(source)
    restored = patches.restored(lines, changes)
    directories.clear(directory, corrected.FILES)
    corrected.write_lines(directory, restored)
    fields = {
        "script": corrected.SCRIPT,
        "task": manifest["task"],
        "arguments": vars(options),
        "data": manifest["data"],
    }
    manifests.write_manifest(directory, fields | corrected.hashes(directory), [source.parent])
    print(f"{len(changes)} rows are as they were before; {len(restored)} in all.")
    logger.info("Everything is in %s.", directory)


def main(argv: Sequence[str]) -> None:
    """Apply, or take back."""
    options = parse_arguments(argv)
    directories.refuse_foreign_directory(Path(options.output_dir), "apply_corrections.py")
    if options.revert:
        revert(options)
    else:
        apply(options)


if __name__ == "__main__":
    sys.exit(helpers.run_script(main))
