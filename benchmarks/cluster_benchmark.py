"""Time and peak memory of every clustering algorithm on the same synthetic rows, each in a process of its own.

    python benchmarks/cluster_benchmark.py --rows 5000 20000 50000 100000 --limit 120

Rows are a mixture of 40 Gaussian clusters with 20% uniform noise in 50 dimensions. For each size the first algorithm
is the yardstick of the ratios and of the agreement (adjusted Rand index over all rows, noise as a cluster of its own).
Times are those of the tree and the cut, after the imports; the column "start" has the imports and, on 500 rows,
the compiling. Memory is the peak of the whole process. A run that needs more than --limit seconds is left out, and so
are the larger sizes of that algorithm.
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
ALGORITHMS = ("neighbour_graph", "hdbscan", "fast_hdbscan", "scikit-learn", "umap")


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

        flat_coordinates(rows, rows[:0], "umap", 0)
        return None
    if algorithm == "scikit-learn":
        from sklearn.cluster import HDBSCAN

        # It counts the row itself among the neighbours.
        return HDBSCAN(min_cluster_size=15, min_samples=16, n_jobs=-1, copy=True).fit_predict(rows)
    from spanning_trees import cut_tree, spanning_tree

    return cut_tree(spanning_tree(rows, 15, algorithm, seed=0), min_cluster_size=15).labels


def measure(algorithm: str, n_rows: int, path: str) -> None:
    """Measure in this process; seconds and megabytes as JSON on stdout, labels into a file."""
    import numpy as np

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
