"""Select arms of equal size from a recording, to train on each and see whether a selection beats a draw.

    python select_examples.py --cartography_dir ./cartography_output --fraction 0.33 --arms random ambiguous hard

Reads: a recording of run.py --enable_cartography; for some arms clusters or suspicious labels.
Writes into --output_dir: selection.csv, ids/ARM_SEED.txt, commands.sh (trainings of all arms), with --weights
weights.csv and, last, manifest.json. The sizes go to stdout.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import helpers
from datamap.errors import DataError, UsageError
from datamap.files import directories, manifests, outputs
from datamap.options import parsing

if TYPE_CHECKING:
    import pandas as pd

    from datamap.joint.join import Dynamics

logger = logging.getLogger("select_examples")

SCRIPT, CARTOGRAPHY_DIR, OUTPUT_DIR = "select_examples.py", "./cartography_output", "./selection"
ARMS = ("random", "easy", "ambiguous", "hard", "forgotten", "aum", "coverage", "clusters", "trusted", "full")
SELECTION, COMMANDS, WEIGHTS = "selection.csv", "commands.sh", "weights.csv"


def build_parser() -> argparse.ArgumentParser:
    """The parser of select_examples.py's options."""
    parser = parsing.SentenceParser(prog=SCRIPT, description="Arms of equal size from a recording, and weights.")
    add = parser.add_argument
    text = f"a run's --cartography_output_dir (default: {CARTOGRAPHY_DIR})"
    add("--cartography_dir", metavar="DIR", type=parsing.named, default=CARTOGRAPHY_DIR, help=text)
    text = "size of every arm but full, as a share of the rows with metrics, between 0 and 1 (default: 0.33)"
    add("--fraction", metavar="X", type=parsing.fraction, default=0.33, help=text)
    add("--arms", choices=ARMS, nargs="+", default=["random", "ambiguous", "hard", "easy"], help="what is selected "
        "(default: random ambiguous hard easy)")  # fmt: skip
    add("--seeds", metavar="N", type=parsing.whole, nargs="+", default=[1, 2, 3], help="of draws and trainings, each "
        "from 0 to 2^32 - 1 (default: 1 2 3)")  # fmt: skip
    text = "share left out by coverage (lowest AUM) and trusted (most suspicious), between 0 and 1 (default: 0.1)"
    add("--cut", metavar="X", type=parsing.fraction, default=0.1, help=text)
    add("--cluster_dir", metavar="DIR", type=parsing.named, help="output of cluster_analysis.py, for clusters")
    text = "output of find_label_errors.py, for trusted and --weights suspicion"
    add("--label_errors_dir", metavar="DIR", type=parsing.named, help=text)
    text = "rows without metrics in random, full, trusted and clusters: keep or drop (default: drop)"
    add("--untracked", choices=("keep", "drop"), default="drop", help=text)
    text = "every arm takes the optimizer steps of the selected size, or its own epochs (default: steps)"
    add("--equal", choices=("steps", "epochs"), default="steps", help=text)
    add("--num_train_epochs", metavar="N", type=parsing.positive, help="epochs over the selected size, from 1 "
        "(default: the recording's)")  # fmt: skip
    add("--weights", choices=("suspicion", "variability"), help=f"also write {WEIGHTS}: id, weight")
    text = "also write weights_permuted_N.csv, the same weights on rows shuffled with this seed"
    add("--permute_seed", metavar="N", type=parsing.whole, help=text)
    add("--output_dir", metavar="DIR", type=parsing.named, default=OUTPUT_DIR, help="where results are written "
        f"(default: {OUTPUT_DIR})")  # fmt: skip
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The options; a UsageError for everything that could not act."""
    options = build_parser().parse_args(argv)
    for name in ("arms", "seeds"):
        given = getattr(options, name)
        twice = next((one for one in given if given.count(one) > 1), None)
        if twice is not None:
            raise UsageError(f"--{name} has {twice} twice: name it once.")
    if "clusters" in options.arms and not options.cluster_dir:
        raise UsageError("the arm clusters needs --cluster_dir: add it.")
    if "trusted" in options.arms and not options.label_errors_dir:
        raise UsageError("the arm trusted needs --label_errors_dir: add it.")
    if options.weights == "suspicion" and not options.label_errors_dir:
        raise UsageError("--weights suspicion needs --label_errors_dir: add it.")
    if options.permute_seed is not None and not options.weights:
        raise UsageError("--permute_seed acts with --weights: add it.")
    return options


def by_id(table: "pd.DataFrame", column: str, ids: list[str], flag: str) -> dict:
    """A column of another script's table by id; a DataError where it lacks one of these ids."""
    found = dict(zip(table["id"], table[column].tolist(), strict=True))
    missing = next((identifier for identifier in ids if identifier not in found), None)
    if missing is not None:
        raise DataError(f"{flag} lacks the id {missing}, which the recording has: make it from the same data.")
    return found


def selected(options: argparse.Namespace, dynamics: "Dynamics", n_rows: int, beside: dict) -> "pd.DataFrame":
    """id, arm, seed of all arms."""
    import numpy as np
    import pandas as pd

    from datamap.selection import arms

    metrics = dynamics.metrics
    ids = metrics["id"].tolist()
    pool = dynamics.ids if options.untracked == "keep" else ids

    def of(arm: str, seed: int) -> list[str]:
        if arm in arms.METRIC_ARMS:
            column, end = arms.METRIC_ARMS[arm]
            return arms.by_metric(arm, ids, metrics[column].to_numpy(dtype=np.float64), n_rows, end)
        return {
            "random": lambda: arms.drawn("random", pool, n_rows, np.random.default_rng(seed)),
            "forgotten": lambda: arms.forgotten(metrics, n_rows),
            "coverage": lambda: arms.coverage(ids, metrics["aum"].to_numpy(), n_rows, options.cut, seed),
            "clusters": lambda: arms.clusters(pool, beside["cluster"], n_rows, seed),
            "trusted": lambda: arms.trusted(pool, beside["score"], n_rows, options.cut, seed),
            "full": lambda: pool,
        }[arm]()

    parts = [pd.DataFrame({"id": of(arm, seed), "arm": arm, "seed": seed}) for arm in options.arms
             for seed in options.seeds]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def read_beside(options: argparse.Namespace, ids: list[str]) -> dict[str, dict]:
    """Clusters and scores by id, as far as their directories are given."""
    from datamap.clusters.files import read_clusters
    from datamap.labels.files import read_table

    found = {}
    if options.cluster_dir:
        found["cluster"] = by_id(read_clusters(Path(options.cluster_dir)).assignments, "cluster", ids, "--cluster_dir")
    if options.label_errors_dir:
        found["score"] = by_id(read_table(Path(options.label_errors_dir)), "score", ids, "--label_errors_dir")
    return found


def training_length(options: argparse.Namespace, dynamics: "Dynamics", n_rows: int) -> list[str]:
    """The words of run.py that say how long every arm is trained."""
    from datamap.selection.commands import n_steps

    args = dynamics.manifest["training_arguments"]
    n_epochs = options.num_train_epochs or args["num_train_epochs"]
    if options.equal == "epochs":
        return ["--num_train_epochs", str(n_epochs)]
    in_step = args["per_device_train_batch_size"] * args["gradient_accumulation_steps"]
    return ["--max_steps", str(n_steps(n_rows, dynamics.metrics["n_windows"].mean(), in_step, n_epochs))]


def can_evaluate(manifest: dict) -> bool:
    """Whether the recording's data have rows to evaluate on, or its training held some out.

    Raises:
        DataError: the data set cannot be opened.
    """
    from datamap.data.examples import eval_split_of, open_described

    arguments = manifest["arguments"]
    if manifest["data"]["train"].get("held_out") or arguments.get("eval_dataset"):
        return True
    return eval_split_of(open_described(manifest, None), arguments.get("eval_split")) is not None


def weight_tables(options: argparse.Namespace, dynamics: "Dynamics", beside: dict) -> "dict[str, pd.DataFrame]":
    """weights.csv and its control by file name; empty without --weights."""
    import numpy as np

    from datamap.selection import weights

    if not options.weights:
        return {}
    variability = dict(zip(dynamics.metrics["id"], dynamics.metrics["variability"], strict=True))
    known = beside["score"] if options.weights == "suspicion" else variability
    values = np.array([known.get(identifier, np.nan) for identifier in dynamics.ids], dtype=np.float64)
    table = weights.weights_table(dynamics.ids, values, options.weights)
    logger.info("%d of %d rows have no %s and get the mean weight.", np.isnan(values).sum(), len(table),
                options.weights)  # fmt: skip
    found = {WEIGHTS: table}
    if options.permute_seed is not None:
        found[f"weights_permuted_{options.permute_seed}.csv"] = weights.permuted(table, options.permute_seed)
    return found


def main(argv: Sequence[str]) -> None:
    """Read, select, write, report."""
    options = parse_arguments(argv)
    directory = Path(options.output_dir)
    directories.refuse_foreign_directory(directory, SCRIPT)
    from datamap.joint.join import read_dynamics
    from datamap.selection import commands

    dynamics = read_dynamics(Path(options.cartography_dir))
    if "training_arguments" not in dynamics.manifest:
        raise DataError(f"{options.cartography_dir} does not say how it was trained: record the run again.")
    n_rows = round(options.fraction * len(dynamics.metrics))
    if not n_rows:
        raise UsageError(f"--fraction {options.fraction} of {len(dynamics.metrics)} rows is no row: raise it.")
    beside = read_beside(options, dynamics.ids if options.untracked == "keep" else dynamics.metrics["id"].tolist())
    table = selected(options, dynamics, n_rows, beside)
    length = training_length(options, dynamics, n_rows)
    weighed = weight_tables(options, dynamics, beside)
    evaluates, suite = can_evaluate(dynamics.manifest), Path(helpers.__file__).parent
    text = commands.script(dynamics.manifest, options.arms, options.seeds, length, suite, evaluates=evaluates)
    earlier = [
        path.relative_to(directory) for pattern in ("ids/*.txt", "weights*.csv") for path in directory.glob(pattern)
    ]
    directories.clear(directory, (SELECTION, COMMANDS, *map(str, earlier)))
    arms: dict[str, dict] = {arm: {} for arm in options.arms}
    for (arm, seed), part in table.groupby(["arm", "seed"], sort=False):
        outputs.write_text(directory / "ids" / f"{arm}_{seed}.txt", "\n".join(part["id"]) + "\n")
        arms[arm][seed] = {"n_rows": len(part), "ids_sha256": manifests.ids_hash(part["id"])}
    outputs.write_csv(directory / SELECTION, table)
    outputs.write_text(directory / COMMANDS, text)
    for name, weights in weighed.items():
        outputs.write_csv(directory / name, weights)
    fields = {"script": SCRIPT, "arguments": vars(options), "n_rows": n_rows, "training_length": length, "arms": arms}
    fields |= {"n_untracked": len(dynamics.untracked)} | {name: dynamics.manifest[name] for name in ("task", "data")}
    sources = [options.cartography_dir, options.cluster_dir, options.label_errors_dir]
    manifests.write_manifest(directory, fields, [Path(name) for name in sources if name])
    print(f"{n_rows} of {len(dynamics.metrics)} rows in each of: {', '.join(options.arms)} ({' '.join(length)}).")
    if not evaluates:
        logger.warning("The recording's data have no rows to evaluate on, so %s only trains.", COMMANDS)
    logger.info("%d untracked rows: %s. Next: sh %s", len(dynamics.untracked), options.untracked, directory / COMMANDS)


if __name__ == "__main__":
    sys.exit(helpers.run_script(main))
