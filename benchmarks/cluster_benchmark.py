"""Time and peak memory of every clustering algorithm on the same synthetic rows, each in a process of its own.

    python benchmarks/cluster_benchmark.py --rows 5000 20000 50000 100000 --limit 120

Rows are a mixture of 40 Gaussian clusters with 20% uniform noise in 50 dimensions. For each size the first algorithm
is the yardstick of the ratios and of the agreement (adjusted Rand index over all rows, noise as a cluster of its own).
Times are those of the tree and the cut, after the imports; the column "start" has the imports and, on 500 rows,
the compiling. "umap" is the map's own time, neighbours included; "cluster_analysis.py" the whole command, from the
start of Python to its last file, with PCA, the map, quality, words and figures. Memory is the peak of the whole
process. A run that needs more than --limit seconds is left out, and so are the larger sizes of that algorithm.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
ALGORITHMS = ("neighbour_graph", "hdbscan", "fast_hdbscan", "scikit-learn", "umap", "cluster_analysis.py")


def mixture(n_rows: int):
    """float64 [n_rows, 50]."""
    import numpy as np

    generator = np.random.default_rng(0)
    centres = generator.normal(size=(40, 50)) * 4
    rows = centres[generator.integers(40, size=n_rows)] + generator.normal(size=(n_rows, 50))
    is_noise = generator.random(n_rows) < 0.2
    rows[is_noise] = generator.uniform(-10, 10, size=(int(is_noise.sum()), 50))
    return rows


def labels_of(algorithm: str, rows):
    """Cluster rows; "umap" places them in two dimensions instead and gives no labels."""
    if algorithm == "umap":
        from clusters import flat_coordinates
        from spanning_trees import nearest_neighbours

        flat_coordinates(rows, rows[:0], "umap", 0, nearest_neighbours(rows, 1))
        return None
    if algorithm == "scikit-learn":
        from sklearn.cluster import HDBSCAN

        # It counts the row itself among the neighbours.
        return HDBSCAN(min_cluster_size=15, min_samples=16, n_jobs=-1, copy=True).fit_predict(rows)
    from spanning_trees import cut_tree, spanning_tree

    return cut_tree(spanning_tree(rows, 15, algorithm, seed=0), min_cluster_size=15).labels


def write_inputs(folder: Path, rows) -> Path:
    """A data set of as many made-up questions and a directory of embeddings for it."""
    import numpy as np
    import pandas as pd

    import embeddings
    import outputs
    from manifests import rows_fields

    texts = [f"Which drug of list {row % 997} was given to patient {row}?" for row in range(len(rows))]
    answers = [{"text": ["aspirin"], "answer_start": [len("The drug was ")]}] * len(rows)
    frame = pd.DataFrame({"id": [f"row{row}" for row in range(len(rows))], "context": "The drug was aspirin."})
    frame = frame.assign(question=texts, answers=answers)
    data = folder / "rows.jsonl"
    frame.to_json(data, orient="records", lines=True)
    np.save(folder / embeddings.VECTORS, rows.astype(np.float32))
    index = {"id": frame["id"], "row": range(len(rows)), "span_source": "answer"}
    outputs.write_csv(folder / embeddings.INDEX, pd.DataFrame(index))
    outputs.write_json(folder / embeddings.METADATA, {"task": "qa"})
    described = {"dataset": str(data), "split": "train", "held_out": None, "n_rows": len(frame)}
    described["ids_sha256"] = outputs.ids_hash(frame["id"].tolist())
    fields = {"script": "extract_embeddings.py", "task": "qa", "seed": 0, "data": {"rows": described}}
    outputs.write_manifest(folder, fields | rows_fields(frame))
    return folder


def measure_command(n_rows: int) -> dict:
    """The figures of cluster_analysis.py as it comes on rows of 50 columns."""
    root = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        inputs = write_inputs(Path(folder), mixture(n_rows))
        begin = time.perf_counter()
        command = [sys.executable, root / "cluster_analysis.py", "--embedding_dir", inputs, "--output_dir"]
        subprocess.run([*command, inputs / "out"], check=True, capture_output=True)
        seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"start": 0.0, "seconds": seconds, "megabytes": peak}


def measure(algorithm: str, n_rows: int, path: str) -> None:
    """Measure in this process; seconds and megabytes as JSON on stdout, labels into a file."""
    import numpy as np

    if algorithm == "cluster_analysis.py":
        print(json.dumps(measure_command(n_rows)))
        return
    begin = time.perf_counter()
    labels_of(algorithm, mixture(500))
    rows = mixture(n_rows)
    ready = time.perf_counter()
    labels = labels_of(algorithm, rows)
    done = time.perf_counter()
    if labels is not None:
        np.save(path, labels)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"start": ready - begin, "seconds": done - ready, "megabytes": peak}))


def measured(algorithm: str, n_rows: int, path: Path, limit: float) -> dict | None:
    """The figures of one run in a fresh process; None where it took too long or the package is not there."""
    command = [sys.executable, __file__, "--one", algorithm, "--rows", str(n_rows), "--labels", str(path)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return None
    return json.loads(answer.stdout.splitlines()[-1]) if answer.returncode == 0 else None


def main() -> None:
    """Run every algorithm at every size, side by side, and print one table row each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[5_000, 20_000, 50_000, 100_000])
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=ALGORITHMS)
    parser.add_argument("--limit", type=float, default=120, help="seconds that one run may take (default: 120)")
    parser.add_argument("--one", choices=ALGORITHMS, help=argparse.SUPPRESS)
    parser.add_argument("--labels", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.one, options.rows[0], options.labels)
        return
    print(f"{'rows':>8} {'algorithm':<16} {'seconds':>8} {'ratio':>6} {'start':>6} {'MB':>6} agreement", flush=True)
    slow = set()
    with tempfile.TemporaryDirectory() as folder:
        for n_rows in sorted(options.rows):
            compare(
                n_rows, [name for name in options.algorithms if name not in slow], Path(folder), options.limit, slow
            )


def compare(n_rows: int, algorithms: list[str], folder: Path, limit: float, slow: set[str]) -> None:
    """Print a line for each algorithm at one size; those that took too long or are not there are added to `slow`."""
    import numpy as np
    from sklearn.metrics import adjusted_rand_score

    first = None
    for algorithm in algorithms:
        path = folder / f"{algorithm}_{n_rows}.npy"
        found = measured(algorithm, n_rows, path, limit)
        if found is None:
            slow.add(algorithm)
            print(f"{n_rows:>8,} {algorithm:<16} not installed, or over {limit:.0f} s", flush=True)
            continue
        first = first or (found["seconds"], path)
        ratio, agreement = found["seconds"] / first[0], ""
        if path.exists() and first[1].exists():
            agreement = f"{adjusted_rand_score(np.load(first[1]), np.load(path)):.4f}"
        figures = f"{found['seconds']:>8.1f} {ratio:>6.2f} {found['start']:>6.1f} {found['megabytes']:>6.0f}"
        print(f"{n_rows:>8,} {algorithm:<16} {figures} {agreement}", flush=True)


if __name__ == "__main__":
    main()
