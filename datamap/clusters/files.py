"""Cluster files: an assignment a row, a line of statistics a cluster, samples, and what they were made with."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from datamap.errors import DataError, shortlist
from datamap.files import manifests, outputs

ASSIGNMENTS = "cluster_assignments.csv"
STATISTICS = "cluster_statistics.csv"
SAMPLES = "cluster_samples.json"
METADATA = "cluster_metadata.json"
MAP = "cluster_visualization.png"
PERSISTENCE = "cluster_persistence.png"
PROBABILITIES = "cluster_probabilities.png"
FILES = (ASSIGNMENTS, STATISTICS, SAMPLES, METADATA, MAP, PERSISTENCE, PROBABILITIES)
SCRIPT = "cluster_analysis.py"

NOISE = -1
ASSIGNMENT_COLUMNS = ["id", "cluster", "cluster_probability", "dim1", "dim2", "assigned"]
STATISTICS_COLUMNS = ["cluster", "size", "share", "persistence", "mean_probability", "n_approximate", "words"]
TEXT_COLUMNS = {"id", "assigned", "words"}
ASSIGNED = ("clustered", "approximate")


@dataclasses.dataclass(frozen=True)
class Clusters:
    """What cluster_analysis.py found.

    Attributes:
        assignments: one row an example: id (text), cluster (-1 = noise, 0 = the largest), cluster_probability [0, 1]
            (0 for noise), dim1 and dim2 (NaN without a visualisation), assigned ("clustered", or "approximate" for
            rows beyond --max_samples that were compared with the clusters afterwards).
        statistics: one row a cluster, by falling size; none for noise. share is of all rows; persistence in [0, 1],
            higher is more distinct; mean_probability over the members; n_approximate counts members that were assigned
            afterwards; words joined by ", ".
        metadata: settings, the algorithm that ran and why, variance explained, quality.
        manifest: of the directory.
    """

    assignments: pd.DataFrame
    statistics: pd.DataFrame
    metadata: dict
    manifest: dict


def assignment_table(
    ids: Sequence[str],
    chosen: np.ndarray,
    rest: np.ndarray,
    flat: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
) -> tuple[pd.DataFrame, list[int]]:
    """The content of cluster_assignments.csv in the order of the ids, and the place of each of its rows in `flat`."""
    table = pd.DataFrame({"id": [ids[row] for row in np.concatenate([chosen, rest])], "cluster": labels})
    table["cluster_probability"] = probabilities
    table[["dim1", "dim2"]] = flat
    table["assigned"] = np.repeat(ASSIGNED, [len(chosen), len(rest)])
    places = sorted(range(len(table)), key=table["id"].tolist().__getitem__)
    return table.iloc[places].reset_index(drop=True), places


def statistics_table(assignments: pd.DataFrame, persistence: np.ndarray, words: list[list[str]]) -> pd.DataFrame:
    """The content of cluster_statistics.csv: one row a cluster, by number."""
    rows = []
    for number, (lasting, terms) in enumerate(zip(persistence, words, strict=True)):
        members = assignments[assignments["cluster"] == number]
        approximate = int((members["assigned"] == "approximate").sum())
        share, certainty = len(members) / len(assignments), members["cluster_probability"].mean()
        rows.append((number, len(members), share, lasting, certainty, approximate, ", ".join(terms)))

    return pd.DataFrame(rows, columns=STATISTICS_COLUMNS)


def write_clusters(directory: Path, assignments: pd.DataFrame, statistics: pd.DataFrame, metadata: dict) -> None:
    """Write the two tables and the metadata; `write_manifest` closes the directory afterwards."""
    outputs.write_csv(directory / ASSIGNMENTS, assignments[ASSIGNMENT_COLUMNS])
    outputs.write_csv(directory / STATISTICS, statistics[STATISTICS_COLUMNS])
    outputs.write_json(directory / METADATA, metadata)


def read_clusters(directory: Path) -> Clusters:
    """Read a finished directory of cluster_analysis.py.

    Raises:
        DataError: no such directory, unfinished, or files that do not belong together.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise DataError(f"--cluster_dir {directory}: there is no such directory.")
    manifest = manifests.read_manifest(directory)
    if manifest.get("script") != SCRIPT:
        raise DataError(f"{directory} holds no finished clusters (no manifest of {SCRIPT}): run that first.")
    assignments = read_table(directory / ASSIGNMENTS, ASSIGNMENT_COLUMNS)
    statistics = read_table(directory / STATISTICS, STATISTICS_COLUMNS)
    if manifests.ids_hash(assignments["id"]) != manifest.get("ids_sha256"):
        raise DataError(f"{directory / ASSIGNMENTS} does not belong to the manifest beside it: cluster again.")
    placed = assignments[["dim1", "dim2"]].notna().to_numpy()
    if assignments["cluster_probability"].isna().any() or (placed.any() and not placed.all()):
        raise DataError(f"{directory / ASSIGNMENTS} lacks numbers: cluster again.")
    if set(statistics["cluster"]) != set(assignments["cluster"]) - {NOISE}:
        raise DataError(f"{directory / STATISTICS} does not belong to {ASSIGNMENTS} beside it: cluster again.")
    return Clusters(assignments, statistics, outputs.read_json(directory / METADATA), manifest)


def read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    """A table of this directory; DataError where it is not one."""
    try:
        frame = outputs.read_csv(path, TEXT_COLUMNS.intersection(columns))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): run {SCRIPT} again.") from error
    if list(frame.columns) != columns:
        raise DataError(f"{path} has the columns {shortlist(frame.columns)}: run {SCRIPT} again.")
    return frame
