"""Join training dynamics, clusters and predictions by id, and find where similarity and learning difficulty meet.

    python analyze_dataset.py --cartography_dir ./cartography_output --cluster_dir ./cluster_output

Reads: a recording of run.py --enable_cartography and/or a directory of cluster_analysis.py, and their data set.
Writes into --output_dir: unified_analysis.csv and .parquet, and report.html, to look at the examples in a browser; with
clusters cluster_cartography_stats.csv; with both category_cluster_overlap.csv, interesting_patterns.json,
category_cluster_heatmap.png, integrated_scatter.png, metrics_by_cluster_boxplot.png; and, last, manifest.json. The
summary goes to stdout.
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
from datamap.options import defaults, parsing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from datamap.clusters.files import Clusters
    from datamap.data.examples import Examples
    from datamap.joint.join import Dynamics

logger = logging.getLogger("analyze_dataset")

CARTOGRAPHY_DIR, CLUSTER_DIR = DEFAULT_DIRS = "./cartography_output", "./cluster_output"
OUTPUT_DIR, SEED = "./integrated_analysis", 42
UNIFIED_CSV, UNIFIED_PARQUET = "unified_analysis.csv", "unified_analysis.parquet"
OVERLAP_CSV, STATS_CSV = "category_cluster_overlap.csv", "cluster_cartography_stats.csv"
PATTERNS, PARQUET_ROWS = "interesting_patterns.json", 50_000
HEATMAP, SCATTER, BOXPLOT = "category_cluster_heatmap.png", "integrated_scatter.png", "metrics_by_cluster_boxplot.png"
FILES = (UNIFIED_CSV, UNIFIED_PARQUET, OVERLAP_CSV, STATS_CSV, PATTERNS, HEATMAP, SCATTER, BOXPLOT, outputs.REPORT)


def build_parser() -> argparse.ArgumentParser:
    """The parser of analyze_dataset.py's options."""
    parser = parsing.SentenceParser(
        prog="analyze_dataset.py",
        description="Training dynamics, clusters and predictions joined by id: tables, figures and patterns.",
    )
    add = parser.add_argument
    text = "a run's --cartography_output_dir (this, --cluster_dir, or both; where neither is given: "
    add("--cartography_dir", metavar="DIR", help=f"{text}{CARTOGRAPHY_DIR}, if it is there)")
    text = "an --output_dir of cluster_analysis.py (where neither is given: "
    add("--cluster_dir", metavar="DIR", help=f"{text}{CLUSTER_DIR}, if it is there)")
    text = "an eval_predictions.jsonl of run.py about the same examples, joined to them by id"
    add("--predictions", metavar="FILE", help=text)
    text = "an --output_dir of find_label_errors.py about the same examples, joined to them by id"
    add("--label_errors_dir", metavar="DIR", help=text)
    text = (
        "an --output_dir of audit_dataset.py about the same split: adds the column seen, the strongest level at which "
    )
    text += "a row meets one of the other split (without one: of its own)"
    add("--audit_dir", metavar="DIR", help=text)
    text = "data set with the texts, named as for run.py (default: the one that the directories are about)"
    add("--dataset", metavar="NAME", help=text)
    parsing.add_columns_option(add)
    add("--split", metavar="SPLIT", help="split of the data set (default: the one that the directories are about)")
    add("--output_dir", metavar="DIR", default=OUTPUT_DIR, help=f"where results are written (default: {OUTPUT_DIR})")
    text = "where the two directories are about different rows, go on with those that are in both; where "
    text += (
        "--predictions, --label_errors_dir or --audit_dir lack some of the rows, leave those empty (default: refuse)"
    )
    add("--allow_partial", action="store_true", help=text)
    text = f"draws among equal examples, and of the points on the scatter and in the report (default: {SEED})"
    add("--seed", metavar="N", type=parsing.whole, default=SEED, help=text)
    parsing.add_report_options(parser)
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The options; a UsageError for everything that could not act."""
    options = build_parser().parse_args(argv)
    parsing.refuse_idle_columns(options)
    if not options.cartography_dir and not options.cluster_dir:
        options.cartography_dir, options.cluster_dir = (name if Path(name).is_dir() else None for name in DEFAULT_DIRS)
    sides = {name: getattr(options, name) for name in ("cartography_dir", "cluster_dir")}
    given = {name: Path(value).resolve() for name, value in sides.items() if value}
    if not given:
        raise UsageError(
            f"there is nothing to analyse, neither {CARTOGRAPHY_DIR} nor {CLUSTER_DIR}: give --cartography_dir, "
            "--cluster_dir, or both."
        )
    more = options.predictions or options.label_errors_dir or options.audit_dir
    if options.allow_partial and len(given) < 2 and not more:
        raise UsageError("--allow_partial acts where two things are joined: leave it out, or give both directories.")
    parsing.refuse_idle_report_options(options)
    for name, directory in given.items():
        if Path(options.output_dir).resolve() == directory:
            raise UsageError(f"--output_dir {options.output_dir} is --{name} as well: choose another one.")
    return options


def read_sides(options: argparse.Namespace) -> "tuple[Dynamics | None, Clusters | None, list[str]]":
    """(dynamics, clusters, ids of the rows to analyse); None for a side that was not asked for."""
    from datamap.clusters.files import read_clusters
    from datamap.joint.join import met_ids, read_dynamics

    dynamics = read_dynamics(Path(options.cartography_dir)) if options.cartography_dir else None
    clusters = read_clusters(Path(options.cluster_dir)) if options.cluster_dir else None
    if dynamics is not None and clusters is not None:
        return dynamics, clusters, met_ids(dynamics, clusters, options.allow_partial)
    ids = dynamics.ids if dynamics is not None else clusters.assignments["id"].tolist() if clusters is not None else []
    return dynamics, clusters, ids


def join(
    options: argparse.Namespace,
    manifest: dict,
    dynamics: "Dynamics | None",
    clusters: "Clusters | None",
    ids: Sequence[str],
) -> "tuple[Examples, pd.DataFrame]":
    """(examples, unified frame) of the ids; says how many have no metrics.

    Raises:
        DataError: texts or predictions are of other data, or no row has metrics.
    """
    from datamap.data.examples import find_examples
    from datamap.joint.join import (
        read_predictions,
        refuse_other_predictions,
        refuse_other_suspects,
        refuse_other_texts,
        text_columns,
        unify,
    )
    from datamap.joint.seen import read_seen
    from datamap.labels import files

    task, predictions = manifest["task"], None
    if options.predictions:
        predictions = read_predictions(Path(options.predictions), task)
    examples = find_examples(manifest, ids, options.dataset, options.split, options.columns)
    if dynamics is not None:
        refuse_other_texts(dynamics, examples)
    texts = text_columns(examples)
    if predictions is not None:
        refuse_other_predictions(texts, predictions, task, options.allow_partial)
    suspects = None
    if options.label_errors_dir:
        table = files.read_table(Path(options.label_errors_dir))
        refuse_other_suspects(texts, table, task, options.allow_partial)
        suspects = files.joined_columns(table)
    seen = None
    if options.audit_dir:
        seen = read_seen(Path(options.audit_dir), examples, options.allow_partial)
    unified = unify(texts, dynamics, clusters, predictions, suspects, seen)
    n_untracked = unified["region"].isna().sum() if dynamics is not None else 0
    if n_untracked == len(unified):
        raise DataError("none of the rows has metrics: record a longer run, or of the rows that were clustered.")
    if n_untracked:
        logger.warning("%d untracked examples have no metrics; untracked_reason says why.", n_untracked)
    return examples, unified


def write_parquet(path: Path, frame: "pd.DataFrame") -> None:
    """Write a table as Parquet, without an index column, in parts: texts that rows share would be copied for each."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    first = pa.Schema.from_pandas(frame.head(0), preserve_index=False)
    found = (pa.infer_type(frame[name], from_pandas=True) if frame[name].dtype == object else None for name in frame)
    types = [known.type if own is None else own for known, own in zip(first, found, strict=True)]
    schema = pa.schema(zip(first.names, types, strict=True))
    schema = pa.Table.from_pandas(frame.head(1), schema=schema, preserve_index=False).schema  # what pandas reads by
    with outputs.atomic_writer(path, binary=True) as file, ParquetWriter(file, schema) as writer:
        for begin in range(0, len(frame), PARQUET_ROWS):
            part = frame.iloc[begin : begin + PARQUET_ROWS]
            writer.write_table(pa.Table.from_pandas(part, schema=schema, preserve_index=False))


def write_results(options: argparse.Namespace, unified: "pd.DataFrame") -> dict | None:
    """Write the unified frame, and with clusters what can be said of them; the patterns where both sides met."""
    from datamap.joint.join import cluster_stats, overlap_table

    directory = Path(options.output_dir)
    outputs.write_csv(directory / UNIFIED_CSV, unified)
    write_parquet(directory / UNIFIED_PARQUET, unified)
    if "cluster" in unified:
        outputs.write_csv(directory / STATS_CSV, cluster_stats(unified))
    if "cluster" not in unified or "region" not in unified:
        logger.info("One side alone: overlap, patterns and joint figures need --cartography_dir and --cluster_dir.")
        return None
    from datamap.joint import plots
    from datamap.joint.patterns import interesting_patterns

    patterns = interesting_patterns(unified, options.seed)
    outputs.write_json(directory / PATTERNS, patterns)
    outputs.write_csv(directory / OVERLAP_CSV, overlap_table(unified))
    tracked = unified[unified["region"].notna()]
    pictures.write_figure(directory / HEATMAP, plots.category_cluster_heatmap(tracked))
    pictures.write_figure(directory / BOXPLOT, plots.metrics_by_cluster_boxplot(tracked))
    if unified[["x", "y"]].notna().all(axis=None):
        pictures.write_figure(directory / SCATTER, plots.integrated_scatter(unified, seed=options.seed))
    else:
        logger.warning("The clusters have no coordinates (--visualization_method none), so there is no %s.", SCATTER)
    return patterns


def write_report(
    options: argparse.Namespace,
    examples: "Examples",
    unified: "pd.DataFrame",
    patterns: dict | None,
    gold_probs: "np.ndarray | None",
) -> None:
    """Write report.html."""
    from datamap.report.page import build_report

    page = build_report(
        unified,
        examples.frame,
        title=examples.title,
        gold_probs=gold_probs,
        patterns=patterns,
        max_points=options.report_max_points or defaults.REPORT_MAX_POINTS,
        seed=options.seed,
    )
    outputs.write_text(Path(options.output_dir) / outputs.REPORT, page)


def main(argv: Sequence[str]) -> None:
    """Read, join, write, report."""
    options = parse_arguments(argv)
    directory = Path(options.output_dir)
    directories.refuse_foreign_directory(directory, "analyze_dataset.py")
    from datamap.dynamics.recordings import read_gold_probs
    from datamap.files.manifests import described, rows_fields
    from datamap.joint.summary import summary

    dynamics, clusters, ids = read_sides(options)
    manifest = (clusters or dynamics).manifest  # type: ignore[union-attr]  # there is one at least
    examples, unified = join(options, manifest, dynamics, clusters, ids)
    gold_probs = None
    if options.report == "html" and options.cartography_dir:
        gold_probs = read_gold_probs(Path(options.cartography_dir), unified["id"])
    directories.clear(directory, FILES)
    patterns = write_results(options, unified)
    if options.report == "html":
        write_report(options, examples, unified, patterns, gold_probs)
    fields = {"script": "analyze_dataset.py", "task": manifest["task"], "seed": options.seed}
    fields |= {"arguments": vars(options), "data": {"rows": described(examples)}, "n_rows": len(unified)}
    fields |= rows_fields(examples.frame)
    sources = [options.cartography_dir, options.cluster_dir, options.label_errors_dir, options.audit_dir]
    sources += [Path(options.predictions).parent / manifests.EVAL_MANIFEST] if options.predictions else []
    manifests.write_manifest(directory, fields, [Path(source) for source in sources if source])
    print(summary(unified, patterns, PATTERNS))
    logger.info("Everything is in %s.", directory)


if __name__ == "__main__":
    sys.exit(helpers.run_script(main))
