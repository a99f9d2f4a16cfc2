"""Hold arms of trainings against a control: how far they differ, how sure that is, and what could have been shown.

    python compare_runs.py --runs random=runs/r1 random=runs/r2 ambiguous=runs/a1 ambiguous=runs/a2 --control random

    python compare_runs.py --runs selection/runs/* --selection_dir selection --control random

    python compare_runs.py --ablation_matrix runs/none_on_none runs/none_on_q_only ...

Reads: directories with a finished evaluation of run.py --do_eval, and the trainings of their models.
Writes into --output_dir: comparison.csv (a row an arm), comparison.json, comparison.png and, last, manifest.json. The
table and a sentence an arm go to stdout. With --ablation_matrix the same files hold nine evaluations, by what was
hidden in training and evaluation.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import helpers
from datamap.errors import UsageError
from datamap.files import directories, manifests, outputs, pictures
from datamap.options import parsing

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from datamap.selection.evaluations import Run

logger = logging.getLogger("compare_runs")

SCRIPT, OUTPUT_DIR = "compare_runs.py", "./comparison"
METRICS = ("f1", "exact_match", "accuracy")
KINDS = ("rows", "ablations", "answers", "steps", "precision", "training")
OF_ARMS = ("ablations", "training")  # what --ablation_matrix does not look at
TABLE, SUMMARY, FIGURE = "comparison.csv", "comparison.json", "comparison.png"
EPILOG = """
A difference is the mean over seeds and rows, in points of 100, paired by the seed of the training where at least two
match. Its standard error covers other seeds and other contexts (nli: premises). With five seeds or more it is
reliable; with one, seeds are not covered, and the sentence says so.
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of compare_runs.py's options."""
    parser = parsing.SentenceParser(
        prog=SCRIPT,
        description="Which of several ways to train scores higher, and how sure that is.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    text = "directories of finished evaluations, each with the name of its arm, or without one where --selection_dir "
    text += "knows it"
    add("--runs", metavar="[ARM=]DIR", type=parsing.named, nargs="+", help=text)
    text = "output of select_examples.py: names the arm of a run without a name by the rows that it was trained on"
    add("--selection_dir", metavar="DIR", type=parsing.named, help=text)
    text = "arm that all others are held against; needed with --runs"
    add("--control", metavar="ARM", type=parsing.named, help=text)
    text = "instead of --runs: nine evaluations, one for each pair of --ablations (none, q_only, p_only) in training "
    text += "and evaluation"
    add("--ablation_matrix", metavar="DIR", type=parsing.named, nargs=9, help=text)
    text = "figure of qa: f1 or exact_match; of nli: accuracy (default: f1; nli accuracy)"
    add("--metric", choices=METRICS, help=text)
    text = "what may differ between runs, which is otherwise refused: rows (evaluated ones; those that all runs have "
    text += "are compared), ablations, answers (their length in tokens, and the rule for none), steps (of the "
    text += "optimizer), precision, training (of runs of one arm: model, rows in a step, rates, weights)"
    add("--allow", metavar="NAME", choices=KINDS, nargs="+", default=[], help=text)
    text = f"where results are written (default: {OUTPUT_DIR})"
    add("--output_dir", metavar="DIR", type=parsing.named, default=OUTPUT_DIR, help=text)
    return parser


def parse_arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, list[tuple[str | None, Path]]]:
    """(the options, arm and directory of each run); a UsageError for everything that could not act."""
    options = build_parser().parse_args(argv)
    if bool(options.runs) == bool(options.ablation_matrix):
        raise UsageError("give --runs, or --ablation_matrix: one of them says what is compared.")
    idle = [kind for kind in options.allow if kind in OF_ARMS]
    for refused, sentence in (
        (options.ablation_matrix and options.control, "--control acts with --runs alone: leave it out."),
        (options.ablation_matrix and options.selection_dir, "--selection_dir acts with --runs alone: leave it out."),
        (
            options.ablation_matrix and idle,
            f"--allow {min(idle, default='')} cannot act with --ablation_matrix: leave it out.",
        ),
        (
            options.runs and not options.control,
            "--runs needs --control, the arm that all others are held against.",
        ),
    ):
        if refused:
            raise UsageError(sentence)
    named = [arm_and_directory(word, options.selection_dir) for word in options.runs or ()]
    if options.selection_dir and all(arm for arm, _ in named):
        raise UsageError("--selection_dir names the arms of runs without a name, and all of --runs have one: leave it "
                         "out.")  # fmt: skip
    named += [(None, Path(name).expanduser()) for name in options.ablation_matrix or ()]
    return options, named


def arm_and_directory(word: str, selection_dir: str | None) -> tuple[str | None, Path]:
    """(the arm, the directory) of a word of --runs; no arm where it has none and a selection may know it."""
    arm, equals, name = word.partition("=")
    if selection_dir and (not equals or Path(word).expanduser().is_dir()):
        return None, Path(word).expanduser()
    if not (arm.strip() and name.strip()):
        more = "" if selection_dir else ", or --selection_dir"
        raise UsageError(f"--runs {word}: give ARM=DIR, as in random=runs/r1{more}.")
    return arm, Path(name).expanduser()


def refuse_directories(options: argparse.Namespace, named: Sequence[Path]) -> None:
    """UsageError where a directory is given twice or does not exist, or is --output_dir as well."""
    flag, seen = "--runs" if options.runs else "--ablation_matrix", set()
    for directory in named:
        if not directory.is_dir():
            raise UsageError(f"{flag} {directory}: there is no such directory.")
        if directory.resolve() in seen:
            raise UsageError(f"{flag} has {directory} twice: leave one out.")
        seen.add(directory.resolve())
    if Path(options.output_dir).resolve() in seen:
        raise UsageError(f"--output_dir {options.output_dir} is one of {flag} as well: choose another one.")


def settle_metric(asked: str | None, task: str) -> str:
    """The metric that is compared; UsageError where the one asked for is of another task."""
    from datamap.selection.evaluations import DEFAULTS, METRICS

    metric = asked or DEFAULTS[task]
    if METRICS[metric].task != task:
        raise UsageError(f"--metric {metric} is of {METRICS[metric].task}, and the runs of {task}: leave it out.")
    return metric


def compared(options: argparse.Namespace, runs: "list[Run]", metric: str) -> "tuple[pd.DataFrame, dict, Figure, str]":
    """(the table, what comparison.json holds, the figure, what stdout says) of arms.

    Raises:
        DataError: the rows of an evaluation cannot be read, or are too few.
        UsageError: the runs cannot be compared.
    """
    from datamap.selection import comparability, comparison_plots, evaluations, receipts

    comparability.refuse_unfit_arms(runs, options.control)
    reference = next(run for run in runs if run.arm == options.control)
    allowed = comparability.let_through(runs, reference, options.allow)
    allowed |= comparability.let_through_within_arms(runs, options.allow)
    scores = evaluations.shared([evaluations.read_scores(run, metric) for run in runs])
    found = receipts.receipt(runs, scores, metric, options.control, allowed)
    text = "\n".join([receipts.shown_table(found), "", *receipts.lines(found)])
    return receipts.table(found), receipts.as_json(found, runs, scores), comparison_plots.differences(found), text


def crossed(options: argparse.Namespace, runs: "list[Run]", metric: str) -> "tuple[pd.DataFrame, dict, Figure, str]":
    """The same of nine evaluations by what was hidden; errors as `compared`."""
    from datamap.selection import ablation_matrix, comparability, comparison_plots, evaluations

    ablation_matrix.refuse_other_cells(runs)
    kinds = [kind for kind in KINDS if kind not in OF_ARMS]
    allowed = comparability.let_through(runs, runs[0], options.allow, kinds)
    scores = evaluations.shared([evaluations.read_scores(run, metric) for run in runs])
    table = ablation_matrix.matrix(runs, scores)
    found = {"metric": metric, "allowed": allowed, "cells": table.to_dict("records")}
    text = "\n".join([ablation_matrix.shown_matrix(table, metric), *allowed.values()])
    return table, found, comparison_plots.matrix(table, metric), text


def main(argv: Sequence[str]) -> None:
    """Read, compare, write, report."""
    options, named = parse_arguments(argv)
    refuse_directories(options, [path for _, path in named])
    directory = Path(options.output_dir)
    directories.refuse_foreign_directory(directory, SCRIPT)
    directories.refuse_unwritable(directory)
    from datamap.selection import arms_of_runs, comparability, evaluations

    runs = [evaluations.read_run(arm, path) for arm, path in named]
    if options.selection_dir:
        runs = arms_of_runs.named(runs, Path(options.selection_dir))
    comparability.refuse_other_tasks(runs)
    metric = settle_metric(options.metric, runs[0].task)
    table, found, figure, text = (compared if options.runs else crossed)(options, runs, metric)
    directories.clear(directory, (TABLE, SUMMARY, FIGURE))
    outputs.write_csv(directory / TABLE, table)
    outputs.write_json(directory / SUMMARY, found)
    pictures.write_figure(directory / FIGURE, figure)
    close(options, runs, metric)
    print(text)
    logger.info("Everything is in %s.", directory)


def close(options: argparse.Namespace, runs: "list[Run]", metric: str) -> None:
    """Write the manifest."""
    fields = {"script": SCRIPT, "task": runs[0].task, "metric": metric, "arguments": vars(options)}
    fields["data"] = {"eval": runs[0].manifest["data"]["eval"]}
    sources = [run.directory / manifests.EVAL_MANIFEST for run in runs]
    sources += [Path(options.selection_dir)] if options.selection_dir else []
    manifests.write_manifest(Path(options.output_dir), fields, sources)


if __name__ == "__main__":
    sys.exit(helpers.run_script(main))
