"""Embedding files: vectors with ids, memory-mapped, and what they were made with."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from datamap.errors import DataError
from datamap.files import manifests, outputs

VECTORS = "embeddings.npy"
INDEX = "embeddings_index.csv"
METADATA = "embeddings_metadata.json"


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Vectors of a data set's rows.

    Attributes:
        vectors: float32 [n_rows, n_dimensions], memory-mapped and read-only.
        ids: of the rows, in the order of `vectors`.
        span_source: where each row's second half comes from: answer, no_answer, not_in_any_window or hypothesis.
        metadata: model, task, sizes, precision, window lengths.
        manifest: of the directory; `manifest["data"]["rows"]` describes the rows.
    """

    vectors: np.ndarray
    ids: list[str]
    span_source: list[str]
    metadata: dict
    manifest: dict


def read_embeddings(directory: Path) -> Embeddings:
    """Read a finished directory of extract_embeddings.py.

    Raises:
        DataError: no such directory, unfinished, files that do not belong together, or vectors that are not finite
            float32 numbers.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise DataError(f"--embedding_dir {directory}: there is no such directory.")
    manifest = manifests.read_manifest(directory)
    if manifest.get("script") != "extract_embeddings.py":
        raise DataError(
            f"{directory} holds no finished embeddings (no manifest of extract_embeddings.py): run that first."
        )
    vectors = map_vectors(directory / VECTORS)
    index = read_index(directory / INDEX)
    if index["row"].tolist() != list(range(len(vectors))) or ids_differ(index["id"], manifest):
        raise DataError(f"{directory / INDEX} does not belong to {VECTORS} beside it: extract the embeddings again.")
    refuse_not_finite(directory / VECTORS, vectors, index["id"].tolist())
    metadata = outputs.read_json(directory / METADATA)
    return Embeddings(vectors, index["id"].tolist(), index["span_source"].tolist(), metadata, manifest)


def ids_differ(ids: pd.Series, manifest: dict) -> bool:
    """Whether these are not the ids that a manifest speaks of."""
    return manifests.ids_hash(ids) != manifest.get("ids_sha256")


def read_index(path: Path) -> pd.DataFrame:
    """The table of ids; a DataError where it is not one."""
    try:
        return outputs.read_csv(path, ("id", "span_source"))[["id", "row", "span_source"]]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read ({error}): extract the embeddings again.") from error


def map_vectors(path: Path) -> np.ndarray:
    """Memory-map a .npy file of float32 rows; DataError where it is anything else."""
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read ({error}): extract the embeddings again.") from error
    if not isinstance(vectors, np.ndarray):
        raise DataError(f"{path} is an archive of arrays, not one array: extract the embeddings again.")
    if vectors.ndim != 2 or vectors.dtype != np.float32 or vectors.shape[1] == 0:
        raise DataError(f"{path} holds {vectors.dtype} {vectors.shape}, not rows of float32: extract them again.")
    return vectors


def refuse_not_finite(path: Path, vectors: np.ndarray, ids: list[str], block: int = 65_536) -> None:
    """DataError, with the number of rows and the first ids, where vectors hold NaN or infinities."""
    bad = []
    for begin in range(0, len(vectors), block):
        finite = np.isfinite(vectors[begin : begin + block]).all(axis=1)
        bad.extend((begin + np.flatnonzero(~finite)).tolist())
    if bad:
        listed, more = ", ".join(ids[row] for row in bad[:3]), ", …" if len(bad) > 3 else ""
        raise DataError(
            f"{path}: {len(bad)} rows hold NaN or infinite numbers ({listed}{more}): train the "
            "model again with a lower --learning_rate, or extract the embeddings again."
        )
