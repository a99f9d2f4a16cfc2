"""Group the embedded examples of a data set by density, name the groups by their words, and show them.

    python cluster_analysis.py --embedding_dir ./embeddings_output --output_dir ./cluster_output --min_cluster_size 15

Reads: the vectors of extract_embeddings.py and the texts of their data set.
Writes into --output_dir: cluster_assignments.csv, cluster_statistics.csv, cluster_samples.json, cluster_metadata.json,
cluster_visualization.png, cluster_persistence.png, cluster_probabilities.png and, last, manifest.json. The summary goes
to stdout.
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

    from datamap.data.examples import Examples
    from datamap.embeddings.vectors import Embeddings

logger = logging.getLogger("cluster_analysis")

EMBEDDING_DIR, OUTPUT_DIR = "./embeddings_output", "./cluster_output"
REDUCTION_DIM, MIN_CLUSTER_SIZE, MAX_SAMPLES, SEED = 50, 15, 150_000, 42
COSTLY_MIN_SAMPLES, LEAST_UMAP_ROWS = 200, 4
N_SHOWN, N_LISTED = 5, 15


def build_parser() -> argparse.ArgumentParser:
    """The parser of cluster_analysis.py's options."""
    parser = parsing.SentenceParser(
        prog="cluster_analysis.py", description="Clusters of embedded examples: tables, words, samples and figures."
    )
    add = parser.add_argument
    text = f"--output_dir of extract_embeddings.py (default: {EMBEDDING_DIR})"
    add("--embedding_dir", metavar="DIR", default=EMBEDDING_DIR, help=text)
    add("--output_dir", metavar="DIR", default=OUTPUT_DIR, help=f"where results are written (default: {OUTPUT_DIR})")
    add("--dataset", metavar="NAME", help="data set that was embedded, for its texts (default: the embeddings' own)")
    parsing.add_columns_option(add)
    add("--split", metavar="SPLIT", help="split that was embedded (default: the embeddings' own)")
    text = "how standardised vectors are reduced before clustering; umap bends distances (default: pca)"
    add("--reduction_method", choices=("pca", "umap", "none"), default="pca", help=text)
    text = f"dimensions to reduce to, from 2 to the vectors' own and the number of rows (default: {REDUCTION_DIM})"
    add("--reduction_dim", metavar="N", type=parsing.positive, help=text)
    text = f"least number of rows in a cluster, from 2 (default: {MIN_CLUSTER_SIZE})"
    add("--min_cluster_size", metavar="N", type=parsing.positive, default=MIN_CLUSTER_SIZE, help=text)
    text = "neighbours that density is measured by, from 1; more of them make more noise (default: --min_cluster_size)"
    add("--min_samples", metavar="N", type=parsing.positive, help=text)
    text = "distance between reduced vectors; cosine brings each to length 1 (default: euclidean)"
    add("--metric", choices=("euclidean", "cosine"), default="euclidean", help=text)
    text = "hdbscan: exact; neighbour_graph: over exact nearest neighbours; fast_hdbscan: over approximate ones (needs "
    text += "the extra fast); auto: by the number of rows (default: auto)"
    add("--algorithm", choices=("auto", "hdbscan", "neighbour_graph", "fast_hdbscan"), default="auto", help=text)
    text = "eom: the clusters that last longest; leaf: the finest ones (default: eom)"
    add("--cluster_selection_method", choices=("eom", "leaf"), default="eom", help=text)
    add("--allow_single_cluster", action="store_true", help="let all rows be one cluster, with noise around it")
    text = "rows to cluster, drawn with the seed; the rest is assigned by approximate prediction, which the column "
    text += f"assigned says (default: {MAX_SAMPLES:,})"
    add("--max_samples", metavar="N", type=parsing.positive, default=MAX_SAMPLES, help=text)
    text = "how the two coordinates of the map are made; none: no map (default: umap)"
    add("--visualization_method", choices=("umap", "pca", "none"), default="umap", help=text)
    text = "bootstrap resamples to measure the clusters' stability with; each clusters again (default: 0)"
    add("--stability", metavar="N", type=parsing.whole, default=0, help=text)
    text = f"draws of rows, resamples, samples and UMAP's starting points (default: {SEED})"
    add("--seed", metavar="N", type=parsing.whole, default=SEED, help=text)
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The options; a UsageError for everything that could not act."""
    options = build_parser().parse_args(argv)
    parsing.refuse_idle_columns(options)
    if options.reduction_method == "none" and options.reduction_dim is not None:
        raise UsageError("--reduction_dim acts with --reduction_method pca or umap: leave it out.")
    for name in ("reduction_dim", "min_cluster_size", "max_samples"):
        if getattr(options, name) == 1:
            raise UsageError(f"--{name} 1 is too low: give 2 or more.")
    if options.algorithm == "fast_hdbscan":
        require_fast_hdbscan()
    if Path(options.output_dir).resolve() == Path(options.embedding_dir).resolve():
        raise UsageError(f"--output_dir {options.output_dir} is --embedding_dir as well: choose another one.")
    options.reduction_dim = options.reduction_dim or REDUCTION_DIM
    options.min_samples = options.min_samples or options.min_cluster_size
    if options.min_samples > COSTLY_MIN_SAMPLES:
        logger.warning(
            "--min_samples %d: time and memory grow with it, and above %d little of the noise it makes is "
            "meant; give a --min_samples of its own below that.",
            options.min_samples,
            COSTLY_MIN_SAMPLES,
        )
    return options


def require_fast_hdbscan() -> None:
    """UsageError where the package fast_hdbscan is not installed."""
    from importlib.util import find_spec

    if find_spec("fast_hdbscan") is None:
        raise UsageError(
            "--algorithm fast_hdbscan needs the package fast-hdbscan: install it with `uv sync --extra fast` or "
            "`pip install fast-hdbscan`."
        )


def refuse_impossible(options: argparse.Namespace, vectors: "np.ndarray") -> None:
    """DataError where there are too few rows for a cluster, or too few rows or columns for the reduction."""
    n_rows, n_columns = vectors.shape
    if n_rows < 2:
        raise DataError(f"there is {n_rows or 'no'} row to cluster, and a cluster has two or more: embed more rows.")
    if (vectors.min(axis=0) == vectors.max(axis=0)).all():
        raise DataError(
            f"all {n_rows} vectors are the same, so there is nothing to tell apart: look at the model that made them."
        )
    clustered = min(n_rows, options.max_samples)
    if clustered < options.min_cluster_size:
        raise DataError(
            f"there are {clustered} rows to cluster, fewer than --min_cluster_size {options.min_cluster_size}: lower "
            "it, or embed more rows."
        )
    if clustered <= options.min_samples:
        raise DataError(
            f"--min_samples {options.min_samples} neighbours need more than the {clustered} rows there are to cluster: "
            "lower it."
        )
    if clustered < n_rows and clustered < 2 * options.min_samples:
        raise DataError(
            f"to assign the rows beyond --max_samples {options.max_samples}, --min_samples {options.min_samples} needs "
            f"{2 * options.min_samples} clustered rows or more: lower it, or raise --max_samples."
        )
    if options.visualization_method == "umap" and clustered < LEAST_UMAP_ROWS:
        raise DataError(f"--visualization_method umap needs {LEAST_UMAP_ROWS} rows or more: give pca or none.")
    if options.visualization_method == "pca" and n_columns < 2:
        raise DataError("--visualization_method pca needs vectors of two columns or more: give none.")
    limit = min(clustered, n_columns)
    if options.reduction_method != "none" and options.reduction_dim > limit:
        raise DataError(
            f"--reduction_dim {options.reduction_dim} is more than {clustered} rows of {n_columns} columns allow: "
            f"give {limit} or less, or --reduction_method none."
        )


def sample_records(
    options: argparse.Namespace,
    assignments: "pd.DataFrame",
    statistics: "pd.DataFrame",
    points: "np.ndarray",
    examples: "Examples",
) -> dict:
    """The content of cluster_samples.json: clusters with their central, uncertain and random members; noise_samples."""
    from datamap.clusters.pipeline import shown_members
    from datamap.data.shown import shown_text

    texts = examples.frame.to_dict("records")
    ids, labels = assignments["id"].tolist(), assignments["cluster"].to_numpy()
    probabilities = assignments["cluster_probability"].to_numpy()

    def records(number: int) -> dict:
        """The members of one cluster that are shown, by kind."""
        found = shown_members(points, labels, probabilities, number, N_SHOWN, options.seed)
        return {
            kind: [
                {"id": ids[row], **shown_text(texts[row], examples.label_names), "probability": probabilities[row]}
                for row in rows
            ]
            for kind, rows in found.items()
        }

    listed = [
        {"cluster": number, "size": size, "words": words} | records(number)
        for number, size, words in zip(*(statistics[name] for name in ("cluster", "size", "words")), strict=True)
    ]
    return {"clusters": listed, "noise_samples": records(-1)["random"]}


def advice(options: argparse.Namespace, metadata: dict) -> str | None:
    """What to try where there is no cluster, or only one; None where there are more."""
    if metadata["n_clusters"] == 0:
        text = "No cluster was found, all rows are noise: try a lower --min_cluster_size or --min_samples, fewer "
        return text + "--reduction_dim, or --allow_single_cluster if the data may be one group."
    if metadata["n_clusters"] == 1:
        other = " without --allow_single_cluster," if options.allow_single_cluster else ""
        text = f"All rows but noise are one cluster: try{other} --cluster_selection_method leaf or a lower "
        return text + "--min_cluster_size for finer ones."
    return None


def summary(statistics: "pd.DataFrame", metadata: dict) -> str:
    """What a person reads on stdout: counts, quality and the largest clusters."""
    import pandas as pd

    lines = [f"{metadata['n_clusters']} clusters of {metadata['n_rows']:,} rows, {metadata['noise_share']:.1%} noise"]
    names = {"dbcv": "DBCV", "mean_probability": "mean probability", "stability": "stability"}
    figures = [f"{label} {metadata[name]:.3f}" for name, label in names.items() if metadata.get(name) is not None]
    lines.append("; ".join(figures))
    shown = statistics.head(N_LISTED)
    columns = {"cluster": shown["cluster"], "size": shown["size"], "share": shown["share"].map("{:.1%}".format)}
    columns |= {name: shown[name].map("{:.3f}".format) for name in ("persistence", "mean_probability")}
    if len(shown):
        lines.append(pd.DataFrame(columns | {"words": shown["words"]}).to_string(index=False))
    if len(statistics) > len(shown):
        lines.append(f"… and {len(statistics) - len(shown)} smaller clusters")
    return "\n".join(line for line in lines if line)


def write_figures(
    directory: Path, assignments: "pd.DataFrame", statistics: "pd.DataFrame", title: str, method: str
) -> None:
    """Draw and write the figures; the map, of coordinates made by a method, only where there are coordinates."""
    from datamap.clusters import files, plots

    if assignments["dim1"].notna().all():
        cluster_map = plots.cluster_map(assignments, statistics, title=title, method=method)
        pictures.write_figure(directory / files.MAP, cluster_map)
    pictures.write_figure(directory / files.PERSISTENCE, plots.persistence_bars(statistics))
    pictures.write_figure(directory / files.PROBABILITIES, plots.probability_distributions(assignments, statistics))


def manifest_fields(options: argparse.Namespace, embedded: "Embeddings", examples: "Examples") -> dict:
    """What the manifest says: settings, the data set that was read, and the rows."""
    from datamap.data.examples import described_rows
    from datamap.files.manifests import described, rows_fields

    before = described_rows(embedded.manifest)
    kept = "held_out", "groups_sha256", "train_ids_sha256"
    rows = described(examples) | {name: before[name] for name in kept if name in before}
    fields = {"script": "cluster_analysis.py", "task": embedded.manifest.get("task"), "seed": options.seed}
    return fields | {"arguments": vars(options), "data": {"rows": rows}} | rows_fields(examples.frame)


def main(argv: Sequence[str]) -> None:
    """Read, reduce, cluster, describe, write, report."""
    options = parse_arguments(argv)
    directory = Path(options.output_dir)
    directories.refuse_foreign_directory(directory, "cluster_analysis.py")
    from datamap.embeddings.vectors import read_embeddings

    embedded = read_embeddings(Path(options.embedding_dir))
    refuse_impossible(options, embedded.vectors)
    from datamap.data.examples import find_examples

    examples = find_examples(embedded.manifest, sorted(embedded.ids), options.dataset, options.split, options.columns)
    from datamap.clusters import analysis, files

    chosen, rest = analysis.chosen_rows(options, embedded.ids)
    points, flat, labels, probabilities, persistence, metadata = analysis.cluster(
        options, embedded.vectors, chosen, rest
    )
    from datamap.clusters.pipeline import numbered_by_size
    from datamap.clusters.words import cluster_words

    labels, persistence = numbered_by_size(labels, persistence)
    assignments, places = files.assignment_table(embedded.ids, chosen, rest, flat, labels, probabilities)
    texts = examples.frame["question" if "question" in examples.frame else "hypothesis"].tolist()
    words = cluster_words(texts, assignments["cluster"].to_numpy())
    statistics = files.statistics_table(assignments, persistence, words)
    samples = sample_records(options, assignments, statistics, points[places], examples)
    directories.clear(directory, files.FILES)
    in_file_order = assignments.set_index("id").loc[embedded.ids].reset_index()
    files.write_clusters(directory, in_file_order, statistics, {"task": embedded.manifest.get("task")} | metadata)
    outputs.write_json(directory / files.SAMPLES, samples)
    write_figures(directory, assignments, statistics, examples.title, options.visualization_method.upper())
    manifests.write_manifest(directory, manifest_fields(options, embedded, examples), [Path(options.embedding_dir)])
    if sentence := advice(options, metadata):
        logger.warning(sentence)
    print(summary(statistics, metadata))
    logger.info("Everything is in %s.", directory)


if __name__ == "__main__":
    sys.exit(helpers.run_script(main))
