"""A recording and embeddings with drawn numbers, as run.py and extract_embeddings.py would leave them."""

from pathlib import Path

import numpy as np
import pandas as pd

from datamap.data.examples import Examples, load_examples
from datamap.data.sources import open_source
from datamap.dynamics import closing, recordings
from datamap.embeddings import vectors
from datamap.files import manifests, outputs
from report_inputs import SHAPES, measures_of

SEED = 42
N_CLUSTERS, N_DIMENSIONS, NOISE_SHARE = 40, 64, 0.2
SHARES = (0.6, 0.28, 0.12)  # of learnt, wavering and never learnt examples


def examples_of(path: Path) -> Examples:
    """The rows of a data set, as every script reads them."""
    return load_examples(open_source(str(path), "qa"), "train", "qa")


def epoch(shapes: np.ndarray, draw: np.random.Generator) -> dict[str, np.ndarray]:
    """One epoch's measures, float32 [n_examples]."""
    prob = draw.beta(*shapes.T).clip(1e-4, 1 - 1e-4)
    return measures_of(prob) | {"el2n": np.asarray(np.sqrt(2) * (1 - prob), dtype=np.float32)}


def draw_recording(directory: Path, data: Path, n_epochs: int) -> None:
    """Write a finished recording of a data set, named as it is from where the scripts run."""
    draw, examples = np.random.default_rng(SEED), examples_of(data)
    ids = examples.frame["id"].tolist()
    shapes = SHAPES[draw.choice(len(SHAPES), len(ids), p=SHARES)]
    counts = {"n_windows": np.ones(len(ids), dtype=int), "n_gold_windows": np.ones(len(ids), dtype=int)}
    epochs, hashes = {}, {}
    for number in range(1, n_epochs + 1):
        epochs[number] = epoch(shapes, draw)
        path = recordings.epoch_path(directory, number)
        recordings.write_epoch(path, number, ids, epochs[number], counts)
        hashes[number] = manifests.file_hash(path)
    closing.write_tables(directory, ids, epochs, counts, {})
    described = manifests.described(examples) | {"dataset": data.name}
    fields = {"script": "run.py", "task": "qa", "seed": SEED, "data": {"train": described}, "epoch_files": hashes}
    manifests.write_manifest(directory, fields | manifests.rows_fields(examples.frame))


def draw_embeddings(directory: Path, data: Path) -> None:
    """Write finished embeddings of a data set: clusters of unlike sizes, and noise."""
    draw, examples = np.random.default_rng(SEED), examples_of(data)
    n_rows = len(examples.frame)
    weights = draw.dirichlet(np.full(N_CLUSTERS, 2.0))
    centres = 4 * draw.normal(size=(N_CLUSTERS, N_DIMENSIONS))
    points = centres[draw.choice(N_CLUSTERS, n_rows, p=weights)] + draw.normal(size=(n_rows, N_DIMENSIONS))
    is_noise = draw.random(n_rows) < NOISE_SHARE
    points[is_noise] = 4 * draw.normal(size=(int(is_noise.sum()), N_DIMENSIONS))
    directory.mkdir(parents=True, exist_ok=True)
    np.save(directory / vectors.VECTORS, points.astype(np.float32))
    index = {"id": examples.frame["id"], "row": range(n_rows), "span_source": "answer"}
    outputs.write_csv(directory / vectors.INDEX, pd.DataFrame(index))
    sizes = {"n_rows": n_rows, "n_dimensions": N_DIMENSIONS, "task": "qa"}
    outputs.write_json(directory / vectors.METADATA, sizes)
    described = manifests.described(examples) | {"dataset": data.name}
    fields = {"script": "extract_embeddings.py", "task": "qa", "seed": SEED, "data": {"rows": described}}
    manifests.write_manifest(directory, fields | manifests.rows_fields(examples.frame))
