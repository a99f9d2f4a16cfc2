"""Time and peak memory of the clustering algorithms on the same synthetic rows, each run in a process of its own.

    python benchmarks/bench_clusters.py --rows 5000 20000 50000 100000 --limit 240

Rows are a mixture of 40 Gaussian clusters with 20% uniform noise in 50 dimensions. Times are those of the tree and the
cut, after the imports; the note has the time before that (imports and, on 500 rows, compiling), the peak memory of the
process, and the agreement with hdbscan's clusters (adjusted Rand index over all rows, noise as a cluster of its own).
"umap" is the map's own time, neighbours included; "cluster_analysis.py" the whole command, from the start of Python to
its last file, with PCA, the map, quality, words and figures. An algorithm that needs more than --limit seconds in one
run is stopped, and its larger sizes are left out. fast_hdbscan takes part where it is installed.
"""

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import timing  # noqa: E402

SIZES = (5_000, 20_000, 50_000, 100_000)
# From this many rows on a run takes so long that one has to do.
MANY_ROWS, FEW_REPEATS = 50_000, 1
LIMIT = 240
USUAL, COMMAND = "hdbscan", "cluster_analysis.py"
COMPARED = (USUAL, "scikit-learn", "neighbour_graph")
if importlib.util.find_spec("fast_hdbscan") is not None:
    COMPARED += ("fast_hdbscan",)
ALGORITHMS = (*COMPARED, "umap", COMMAND)


def measure(options: argparse.Namespace) -> list[timing.Row]:
    """All sizes."""
    return measured_rows(SIZES, ALGORITHMS, LIMIT)


def measured_rows(sizes, algorithms, limit: float) -> list[timing.Row]:
    """Rows of the algorithms at each size; those of `COMPARED` are variants of one item."""
    rows, left = [], list(algorithms)
    with tempfile.TemporaryDirectory() as folder:
        for n_rows in sorted(sizes):
            found = take_turns(n_rows, left, Path(folder), limit)
            rows += [row_of(name, n_rows, runs, Path(folder), limit) for name, runs in found.items()]
            left = [name for name in left if None not in found[name]]
    return rows


def take_turns(n_rows: int, algorithms: list[str], folder: Path, limit: float) -> dict[str, list[dict | None]]:
    """The figures of every run by algorithm; an algorithm whose last figures are None was stopped at the limit."""
    found: dict[str, list[dict | None]] = {name: [] for name in algorithms}
    if COMMAND in algorithms:
        write_inputs(folder, mixture(n_rows))
    for _ in range(FEW_REPEATS if n_rows >= MANY_ROWS else timing.REPEATS):
        for name, runs in found.items():
            if None not in runs:
                runs.append(run_once(name, n_rows, folder, limit))
    return found


def run_once(algorithm: str, n_rows: int, folder: Path, limit: float) -> dict | None:
    """ "seconds", "start" (before the timed part) and "megabytes" of one run; None where it was stopped."""
    if algorithm == COMMAND:
        command = [sys.executable, str(ROOT / COMMAND), "--embedding_dir", str(folder), "--output_dir"]
        done = timing.run_command([*command, str(folder / "clusters")], limit=limit)
        return done and {"seconds": done.seconds, "start": 0.0, "megabytes": done.megabytes}
    path = labels_path(algorithm, n_rows, folder)
    command = [sys.executable, __file__, "--one", algorithm, "--rows", str(n_rows), "--labels", str(path)]
    done = timing.run_command(command, limit=limit)
    return done and json.loads(done.stdout.splitlines()[-1]) | {"megabytes": done.megabytes}


def labels_path(algorithm: str, n_rows: int, folder: Path) -> Path:
    """Where a run leaves its labels."""
    return folder / f"{algorithm}_{n_rows}.npy"


def row_of(algorithm: str, n_rows: int, runs: list[dict | None], folder: Path, limit: float) -> timing.Row:
    """The row of an algorithm at one size."""
    job = "clusters" if algorithm in COMPARED else algorithm
    item, amount = f"{job}, {n_rows:,} rows", {"amount": n_rows, "unit": "rows"}
    if None in runs:
        note = "stopped at the limit, so it takes longer than that"
        return timing.Row(item, algorithm, (limit,), note=note, **amount)
    how_often = "measured once" if len(runs) == 1 else f"{len(runs)} runs"
    note = f"{how_often}, peak memory {max(run['megabytes'] for run in runs):,.0f} MB"
    if algorithm != COMMAND:
        note += f", {min(run['start'] for run in runs):.1f} s of imports and compiling before"
    usual, own = (labels_path(name, n_rows, folder) for name in (USUAL, algorithm))
    if algorithm != USUAL and usual.is_file() and own.is_file():
        note += f", agreement {agreement(usual, own):.4f}"
    return timing.Row(item, algorithm, tuple(run["seconds"] for run in runs), note=note, **amount)


def agreement(usual: Path, own: Path) -> float:
    """The adjusted Rand index of two files of labels; 1 where they are the same clusters."""
    import numpy as np
    from sklearn.metrics import adjusted_rand_score

    return adjusted_rand_score(np.load(usual), np.load(own))


def mixture(n_rows: int):
    """float64 [n_rows, 50]."""
    import numpy as np

    generator = np.random.default_rng(0)
    centres = generator.normal(size=(40, 50)) * 4
    rows = centres[generator.integers(40, size=n_rows)] + generator.normal(size=(n_rows, 50))
    is_noise = generator.random(n_rows) < 0.2
    rows[is_noise] = generator.uniform(-10, 10, size=(int(is_noise.sum()), 50))
    return rows


def write_inputs(folder: Path, rows) -> None:
    """A data set of as many made-up questions and, beside it, embeddings of it, as cluster_analysis.py reads them."""
    import numpy as np
    import pandas as pd

    from datamap.embeddings import vectors
    from datamap.files import manifests, outputs
    from datamap.files.manifests import rows_fields

    texts = [f"Which drug of list {row % 997} was given to patient {row}?" for row in range(len(rows))]
    answers = [{"text": ["aspirin"], "answer_start": [len("The drug was ")]}] * len(rows)
    frame = pd.DataFrame({"id": [f"row{row}" for row in range(len(rows))], "context": "The drug was aspirin."})
    frame = frame.assign(question=texts, answers=answers)
    data = folder / "rows.jsonl"
    frame.to_json(data, orient="records", lines=True)
    np.save(folder / vectors.VECTORS, rows.astype(np.float32))
    index = {"id": frame["id"], "row": range(len(rows)), "span_source": "answer"}
    outputs.write_csv(folder / vectors.INDEX, pd.DataFrame(index))
    outputs.write_json(folder / vectors.METADATA, {"task": "qa"})
    described = {"dataset": str(data), "split": "train", "held_out": None, "n_rows": len(frame)}
    described["ids_sha256"] = manifests.ids_hash(frame["id"].tolist())
    fields = {"script": "extract_embeddings.py", "task": "qa", "seed": 0, "data": {"rows": described}}
    manifests.write_manifest(folder, fields | rows_fields(frame))


def labels_of(algorithm: str, rows):
    """Cluster rows; "umap" places them in two dimensions instead and gives no labels."""
    if algorithm == "umap":
        from datamap.clusters.pipeline import flat_coordinates
        from datamap.clusters.spanning_trees import nearest_neighbours

        flat_coordinates(rows, rows[:0], "umap", 0, nearest_neighbours(rows, 1))
        return None
    if algorithm == "scikit-learn":
        from sklearn.cluster import HDBSCAN

        # It counts the row itself among the neighbours.
        return HDBSCAN(min_cluster_size=15, min_samples=16, n_jobs=-1, copy=True).fit_predict(rows)
    from datamap.clusters.spanning_trees import cut_tree, spanning_tree

    return cut_tree(spanning_tree(rows, 15, algorithm, seed=0), min_cluster_size=15).labels


def run_here(algorithm: str, n_rows: int, path: str) -> None:
    """One run in this process: its seconds as JSON on stdout, its labels into a file."""
    import numpy as np

    begin = time.perf_counter()
    labels_of(algorithm, mixture(500))
    rows = mixture(n_rows)
    ready = time.perf_counter()
    labels = labels_of(algorithm, rows)
    done = time.perf_counter()
    if labels is not None:
        np.save(path, labels)
    print(json.dumps({"start": ready - begin, "seconds": done - ready}))


def main() -> None:
    """Run every algorithm at every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES)
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=ALGORITHMS)
    parser.add_argument("--limit", type=float, default=LIMIT, help=f"seconds that one run may take (default: {LIMIT})")
    parser.add_argument("--one", choices=ALGORITHMS, help=argparse.SUPPRESS)
    parser.add_argument("--labels", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_here(options.one, options.rows[0], options.labels)
        return
    print(timing.markdown(measured_rows(options.rows, options.algorithms, options.limit)))


if __name__ == "__main__":
    main()
