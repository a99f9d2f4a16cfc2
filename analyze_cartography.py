"""Turn recorded training dynamics into regions, tables, samples and figures that a person can act on.

    python analyze_cartography.py --cartography_dir ./cartography_output --output_dir ./cartography_analysis

Reads: a recording of run.py --enable_cartography (or allenai/cartography's training_dynamics/), or several of the same
rows, and their data set.
Writes into --output_dir: cartography_regions.csv, question_type_analysis.csv, category_samples.json,
cartography_map.png (with these regions), metric_distributions.png, confidence_vs_correctness.png,
category_analysis.png, dynamics_by_region.png, report.html (to look at the examples in a browser) and, last,
manifest.json. The summary goes to stdout.
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
from datamap.options import defaults, parsing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from datamap.data.examples import Examples
    from datamap.dynamics.maps import DataMap
    from datamap.dynamics.recordings import Recording

logger = logging.getLogger("analyze_cartography")

CARTOGRAPHY_DIR, OUTPUT_DIR = "./cartography_output", "./cartography_analysis"
REGIONS_CSV = "cartography_regions.csv"
QUESTION_TYPES_CSV = "question_type_analysis.csv"
SAMPLES = "category_samples.json"
DISTRIBUTIONS, CORRECTNESS = "metric_distributions.png", "confidence_vs_correctness.png"
CATEGORIES, DYNAMICS, MAP = "category_analysis.png", "dynamics_by_region.png", "cartography_map.png"
FILES = (
    REGIONS_CSV,
    QUESTION_TYPES_CSV,
    SAMPLES,
    DISTRIBUTIONS,
    CORRECTNESS,
    CATEGORIES,
    DYNAMICS,
    MAP,
    outputs.REPORT,
)
N_EXAMPLES, SEED = 10, 42
EPILOG = """
Written into --output_dir: cartography_regions.csv, question_type_analysis.csv, category_samples.json, figures and
report.html.
A recording by another trainer names no data set: without --dataset there are no texts and no question types.
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of analyze_cartography.py's options."""
    parser = parsing.SentenceParser(
        prog="analyze_cartography.py",
        description="Regions, question types, samples and figures from recorded training dynamics.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    text = "a run's --cartography_output_dir, or a directory with allenai/cartography's training_dynamics/; several of "
    text += f"the same rows, of other seeds or models: their means, and how far they agree (default: {CARTOGRAPHY_DIR})"
    add("--cartography_dir", metavar="DIR", type=parsing.named, nargs="+", default=[CARTOGRAPHY_DIR], help=text)
    add(
        "--output_dir",
        metavar="DIR",
        type=parsing.named,
        default=OUTPUT_DIR,
        help=f"where results are written (default: {OUTPUT_DIR})",
    )
    text = "data set that was trained on, named as for run.py (default: the recording's own)"
    add("--dataset", metavar="NAME", type=parsing.named, help=text)
    parsing.add_columns_option(add)
    add(
        "--split",
        metavar="SPLIT",
        type=parsing.named,
        help="split that was trained on (default: the recording's own, or train)",
    )
    text = "thirds: ambiguous is the top --ambiguous_fraction by variability (and at least 0.1), the rest is easy or "
    text += "hard by --confidence_threshold; median: the medians as thresholds, which calls right and confident "
    text += "examples hard where most are learnt (default: thirds)"
    add("--region_method", choices=("thirds", "median"), default="thirds", help=text)
    text = "share of examples that may be ambiguous, between 0 and 1 (thirds; default: 1/3)"
    add("--ambiguous_fraction", metavar="X", type=parsing.fraction, help=text)
    text = "least mean gold probability of an easy example, between 0 and 1 (thirds; default: 0.5)"
    add("--confidence_threshold", metavar="X", type=parsing.fraction, help=text)
    text = "first epochs to leave out of all metrics (default: 0)"
    add("--burn_in", metavar="N", type=parsing.whole, default=0, help=text)
    text = f"extreme and typical examples shown of each region, this many of each (default: {N_EXAMPLES})"
    add("--n_examples", metavar="N", type=parsing.positive, default=N_EXAMPLES, help=text)
    text = f"draws among equal examples, and of the points in the report (default: {SEED})"
    add("--seed", metavar="N", type=parsing.whole, default=SEED, help=text)
    parsing.add_report_options(parser)
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The options; a UsageError for everything that could not act."""
    options = build_parser().parse_args(argv)
    parsing.refuse_idle_columns(options)
    for name in ("ambiguous_fraction", "confidence_threshold"):
        if options.region_method == "median" and getattr(options, name) is not None:
            raise UsageError(f"--{name} acts with --region_method thirds alone: leave it out.")
    parsing.refuse_idle_report_options(options)
    directories.refuse_shared("--cartography_dir", options.cartography_dir, options.output_dir)
    return options


def measured(options: argparse.Namespace) -> "tuple[Recording, DataMap]":
    """(the first recording, the map of all).

    Raises:
        DataError: a recording cannot be read.
        UsageError: they are not of the same rows, or the burn-in leaves nothing.
    """
    from datamap.dynamics.agreement import refuse_other_rows
    from datamap.dynamics.maps import data_map
    from datamap.dynamics.measures import AMBIGUOUS_FRACTION, CONFIDENCE_THRESHOLD
    from datamap.dynamics.recordings import read_recording

    recordings = [read_recording(Path(name)) for name in options.cartography_dir]
    refuse_other_rows(recordings, options.cartography_dir)
    rule = {
        "method": options.region_method,
        "ambiguous_fraction": options.ambiguous_fraction or AMBIGUOUS_FRACTION,
        "confidence_threshold": options.confidence_threshold or CONFIDENCE_THRESHOLD,
    }
    return recordings[0], data_map(recordings, options.burn_in, rule)


def load_texts(options: argparse.Namespace, recording: "Recording") -> "Examples | None":
    """Examples with the texts of the recorded ids, in their order; None where no data set is known.

    Raises:
        DataError: the data set cannot be read or lacks recorded ids.
        UsageError: there is a --split, but no data set.
    """
    if not options.dataset and "data" not in recording.manifest:
        if options.split:
            raise UsageError(f"--split {options.split} acts with a data set alone: give --dataset as well.")
        return None
    from datamap.data.examples import find_examples

    return find_examples(recording.manifest, recording.ids, options.dataset, options.split, options.columns)


def write_results(
    options: argparse.Namespace, metrics: "pd.DataFrame", gold_probs: "np.ndarray", examples: "Examples | None"
) -> None:
    """Write tables, samples and figures; those that need texts only where there are any."""
    from datamap.data.questions import groupings
    from datamap.dynamics import plots
    from datamap.dynamics.groups import group_table
    from datamap.dynamics.samples import region_samples

    directory = Path(options.output_dir)
    title = outputs.short_name(options.cartography_dir[0]) if examples is None else examples.title
    samples = region_samples(metrics, gold_probs, examples, options.n_examples, options.seed)
    outputs.write_json(directory / SAMPLES, samples)
    figures = {
        DISTRIBUTIONS: plots.metric_distributions(metrics),
        CORRECTNESS: plots.confidence_vs_correctness(metrics),
    }
    figures[DYNAMICS] = plots.dynamics_by_region(gold_probs, metrics["region"].to_numpy())
    figures[MAP] = plots.data_map(metrics, title=title, n_epochs=len(gold_probs), seed=options.seed)
    if examples is None:
        logger.warning("No --dataset was given, so there are no texts in %s, and no question types.", SAMPLES)
    else:
        groups = groupings(examples.frame, examples.label_names)
        table = group_table(metrics, groups)
        outputs.write_csv(directory / QUESTION_TYPES_CSV, table)
        figures[CATEGORIES] = plots.category_analysis(table)
        metrics = metrics.assign(**groups)
    outputs.write_csv(directory / REGIONS_CSV, metrics)
    for name, figure in figures.items():
        pictures.write_figure(directory / name, figure)


def report_notes(options: argparse.Namespace, recording: "Recording", n_measured: int) -> list[str]:
    """What the report cannot show: epochs that were left out, examples without metrics."""
    from datamap.dynamics.recordings import UNTRACKED
    from datamap.joint.join import read_table
    from datamap.report.words import counted

    notes = []
    if options.burn_in:
        first = counted(options.burn_in, "epoch")
        note = f"Left out of all metrics: the first {first} of {recording.n_epochs} (--burn_in)"
        n_unseen = len(recording.ids) - n_measured
        notes.append(f"{note}, and {counted(n_unseen, 'example')} not seen later." if n_unseen else f"{note}.")
    if len(options.cartography_dir) > 1:
        notes.append(f"All numbers are means over {len(options.cartography_dir)} recordings.")
    path = Path(options.cartography_dir[0]) / UNTRACKED
    n_untracked = len(read_table(path, ("id", "reason"))) if path.is_file() else 0
    if n_untracked:
        notes.append(f"Not on this page: {counted(n_untracked, 'example')} without metrics, listed in {UNTRACKED}.")
    return notes


def write_report(
    options: argparse.Namespace,
    metrics: "pd.DataFrame",
    gold_probs: "np.ndarray",
    examples: "Examples | None",
    notes: list[str],
) -> None:
    """Write report.html: the data map's side of it."""
    from datamap.joint.join import text_columns
    from datamap.report.page import build_report

    frame = metrics
    if examples is not None:
        frame = text_columns(examples).merge(metrics, on="id", how="left", validate="one_to_one")
    page = build_report(
        frame,
        None if examples is None else examples.frame,
        title=outputs.short_name(options.cartography_dir[0]) if examples is None else examples.title,
        gold_probs=gold_probs,
        max_points=options.report_max_points or defaults.REPORT_MAX_POINTS,
        seed=options.seed,
        notes=notes,
        first_epoch=1 + options.burn_in,
    )
    outputs.write_text(Path(options.output_dir) / outputs.REPORT, page)


def main(argv: Sequence[str]) -> None:
    """Read, measure, join, write, report."""
    options = parse_arguments(argv)
    directory = Path(options.output_dir)
    directories.refuse_foreign_directory(directory, "analyze_cartography.py")
    from datamap.dynamics.maps import summary_table

    recording, found = measured(options)
    metrics, gold_probs = found.metrics, found.gold_probs
    examples = load_texts(options, recording)
    if examples is not None:
        examples = examples.replaced(examples.frame[examples.frame["id"].isin(set(metrics["id"]))])
    notes = report_notes(options, recording, len(metrics)) if options.report == "html" else []
    directories.clear(directory, FILES)
    write_results(options, metrics, gold_probs, examples)
    if options.report == "html":
        write_report(options, metrics, gold_probs, examples, notes)
    fields = {"script": "analyze_cartography.py", "seed": options.seed, "arguments": vars(options)}
    fields |= {name: recording.manifest[name] for name in ("task", "data") if name in recording.manifest}
    manifests.write_manifest(directory, fields | {"n_rows": len(metrics)}, map(Path, options.cartography_dir))
    print(summary_table(metrics))
    if found.agreement is not None:
        print(found.agreement.sentences())
    print("mean gold probability by epoch:", *(f"{probs[probs == probs].mean():.3f}" for probs in gold_probs))
    logger.info("Everything is in %s.", directory)


if __name__ == "__main__":
    sys.exit(helpers.run_script(main))
