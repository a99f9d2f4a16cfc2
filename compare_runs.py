"""Hold arms of trainings against a control: how far they differ, how sure that is, and what could have been shown.

    python compare_runs.py --runs random=runs/r1 random=runs/r2 ambiguous=runs/a1 ambiguous=runs/a2 --control random

Reads: directories with a finished evaluation of run.py --do_eval, and the trainings of their models.
Writes into --output_dir: comparison.csv (a row an arm), comparison.json, comparison.png and, last, manifest.json. The
table and a sentence an arm go to stdout.
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
    from datamap.selection.evaluations import Run

logger = logging.getLogger("compare_runs")

SCRIPT, OUTPUT_DIR = "compare_runs.py", "./comparison"
METRICS = ("f1", "exact_match", "accuracy")
KINDS = ("rows", "ablations", "answers", "steps", "precision")
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
    text = "directories of finished evaluations, each with the name of its arm; one without a name is matched by the "
    text += "ids of its training rows with --selection_dir"
    add("--runs", metavar="[ARM=]DIR", type=parsing.named, nargs="+", required=True, help=text)
    text = "arm that all others are held against"
    add("--control", metavar="ARM", type=parsing.named, required=True, help=text)
    text = "figure of qa: f1 or exact_match; of nli: accuracy (default: f1; nli accuracy)"
    add("--metric", choices=METRICS, help=text)
    text = "output of select_examples.py, which names the arms of runs without a name"
    add("--selection_dir", metavar="DIR", type=parsing.named, help=text)
    text = "what may differ between runs, which is otherwise refused: rows (evaluated ones; those that all runs have "
    text += "are compared), ablations, answers (their length in tokens, and the rule for none), steps (of the "
    text += "optimizer), precision"
    add("--allow", metavar="NAME", choices=KINDS, nargs="+", default=[], help=text)
    text = f"where results are written (default: {OUTPUT_DIR})"
    add("--output_dir", metavar="DIR", type=parsing.named, default=OUTPUT_DIR, help=text)
    return parser


def parse_arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, list[tuple[str | None, Path]]]:
    """(the options, arm and directory of each run); a UsageError for everything that could not act."""
    options = build_parser().parse_args(argv)
    named = [arm_and_directory(word) for word in options.runs]
    if options.selection_dir and all(arm is not None for arm, _ in named):
        raise UsageError("--selection_dir names runs without a name, and all of --runs have one: leave it out.")
    refuse_directories(options.output_dir, [directory for _, directory in named])
    return options, named


def arm_and_directory(word: str) -> tuple[str | None, Path]:
    """(the arm, None without a name, and the directory) of a word of --runs."""
    arm, equals, name = word.partition("=")
    if not equals or Path(word).expanduser().is_dir():
        return None, Path(word).expanduser()
    if not (arm.strip() and name.strip()):
        raise UsageError(f"--runs {word}: give ARM=DIR, or DIR alone.")
    return arm, Path(name).expanduser()


def refuse_directories(output_dir: str, named: Sequence[Path]) -> None:
    """UsageError where a directory is given twice or does not exist, or is --output_dir as well."""
    seen: dict[Path, Path] = {}
    for directory in named:
        if not directory.is_dir():
            raise UsageError(f"--runs {directory}: there is no such directory.")
        if directory.resolve() in seen:
            raise UsageError(f"--runs has {directory} twice: leave one out.")
        seen[directory.resolve()] = directory
    if Path(output_dir).resolve() in seen:
        raise UsageError(f"--output_dir {output_dir} is one of --runs as well: choose another one.")


def read_runs(options: argparse.Namespace, named: list[tuple[str | None, Path]]) -> "tuple[list[Run], dict[str, str]]":
    """(the runs, all with an arm, what differs between them as --allow lets it through).

    Raises:
        DataError: an evaluation or the selection is unfinished.
        UsageError: the runs cannot be compared, or one has no name and its rows give it none.
    """
    from datamap.selection import comparability, evaluations

    runs = [evaluations.read_run(arm, directory) for arm, directory in named]
    comparability.refuse_other_tasks(runs)
    arms = evaluations.arms_by_rows(Path(options.selection_dir)) if options.selection_dir else {}
    runs = [evaluations.with_arm(run, arms, options.selection_dir) for run in runs]
    comparability.refuse_unfit_arms(runs, options.control)
    return runs, comparability.let_through(runs, options.control, options.allow)


def settle_metric(asked: str | None, task: str) -> str:
    """The metric that is compared; UsageError where the one asked for is of another task."""
    from datamap.selection.evaluations import DEFAULTS, METRICS

    metric = asked or DEFAULTS[task]
    if METRICS[metric].task != task:
        raise UsageError(f"--metric {metric} is of {METRICS[metric].task}, and the runs of {task}: leave it out.")
    return metric


def main(argv: Sequence[str]) -> None:
    """Read, compare, write, report."""
    options, named = parse_arguments(argv)
    directory = Path(options.output_dir)
    directories.refuse_foreign_directory(directory, SCRIPT)
    directories.refuse_unwritable(directory)
    from datamap.selection import comparison_plots, evaluations, receipts

    runs, allowed = read_runs(options, named)
    metric = settle_metric(options.metric, runs[0].task)
    scores = [evaluations.read_scores(run, metric) for run in runs]
    found = receipts.receipt(runs, scores, metric, options.control, allowed)
    figure = comparison_plots.differences(found)
    directories.clear(directory, (TABLE, SUMMARY, FIGURE))
    outputs.write_csv(directory / TABLE, receipts.table(found))
    outputs.write_json(directory / SUMMARY, receipts.as_json(found, runs, scores))
    pictures.write_figure(directory / FIGURE, figure)
    close(options, runs, metric)
    print("\n".join([receipts.shown_table(found), "", *receipts.lines(found)]))
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
