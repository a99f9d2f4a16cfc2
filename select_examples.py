"""Select arms of equal size from a recording, to train on each and see whether a selection beats a draw.

    python select_examples.py --cartography_dir ./cartography_output --fraction 0.33 --seeds 1 2 3

Reads: a recording of run.py --enable_cartography, or several of the same rows; for some arms clusters or suspicious
labels.
Writes into --output_dir: selection.csv, ids/ARM_SEED.txt, selection.png (each arm on the data map), commands.sh (a
training of every arm and seed, all alike, and their comparison), with --weights weights.csv and, last, manifest.json.
The sizes go to stdout.
"""

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import helpers
from datamap.errors import UsageError
from datamap.files import directories, manifests, outputs, pictures
from datamap.options import parsing

if TYPE_CHECKING:
    import pandas as pd

    from datamap.joint.join import Dynamics
    from datamap.selection.selections import Source

logger = logging.getLogger("select_examples")

SCRIPT, CARTOGRAPHY_DIR, OUTPUT_DIR = "select_examples.py", "./cartography_output", "./selection"
ARMS = ("random", "easy", "ambiguous", "hard", "forgotten", "aum", "coverage", "clusters", "trusted", "full")
DEFAULT_ARMS, CUT = ("random", "ambiguous", "hard", "easy", "coverage"), 0.1
SELECTION, COMMANDS, FIGURE, WEIGHTS = "selection.csv", "commands.sh", "selection.png", "weights.csv"
EPILOG = """
random: a new draw for each seed. easy, ambiguous, hard: highest confidence, highest variability, lowest confidence.
forgotten: never learnt, then most often forgotten. aum: lowest area under the margin. coverage: coverage-centric
selection (arXiv 2210.15809). clusters: a draw with every cluster's share. trusted: a draw from all but the most
suspicious. full: all rows. weighted, permuted (with --weights): all rows, by their weights or by shuffled ones.
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of select_examples.py's options."""
    parser = parsing.SentenceParser(
        prog=SCRIPT,
        description="Arms of equal size from a recording, and weights.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    text = (
        "a run's --cartography_output_dir; several of the same rows, of other seeds or models: their means, with the "
    )
    text += f"first one's training (default: {CARTOGRAPHY_DIR})"
    add("--cartography_dir", metavar="DIR", type=parsing.named, nargs="+", default=[CARTOGRAPHY_DIR], help=text)
    text = "size of every arm but full, as a share of the rows with metrics, between 0 and 1 (default: 0.33)"
    add("--fraction", metavar="X", type=parsing.fraction, default=0.33, help=text)
    text = f"what is selected: {', '.join(ARMS)} (default: {' '.join(DEFAULT_ARMS)})"
    add("--arms", metavar="ARM", choices=ARMS, nargs="+", default=list(DEFAULT_ARMS), help=text)
    text = "one arm more, of the rows at --end of a column of cartography_metrics.csv, called NAME_END"
    add("--metric", metavar="NAME", type=parsing.named, help=text)
    add("--end", choices=("high", "low"), help="which end of --metric is taken")
    text = "of draws and trainings, each from 0 to 2^32 - 1 (default: 1 2 3)"
    add("--seeds", metavar="N", type=parsing.whole, nargs="+", default=[1, 2, 3], help=text)
    text = f"share left out by coverage (lowest AUM) and trusted (most suspicious), between 0 and 1 (default: {CUT})"
    add("--cut", metavar="X", type=parsing.fraction, help=text)
    add("--cluster_dir", metavar="DIR", type=parsing.named, help="output of cluster_analysis.py, for clusters")
    text = "output of find_label_errors.py, for trusted and --weights suspicion"
    add("--label_errors_dir", metavar="DIR", type=parsing.named, help=text)
    text = (
        "select all rows of a context or none (nli: of a premise), by the mean of a metric over them; arms are then as "
    )
    text += "near to their size as contexts allow"
    add("--keep_contexts_whole", action="store_true", help=text)
    text = "rows without metrics in random, clusters, trusted and arms of all rows: keep or drop (default: drop)"
    add("--untracked", choices=("keep", "drop"), default="drop", help=text)
    text = "every arm takes the optimizer steps of the selected size, or its own epochs (default: steps)"
    add("--equal", choices=("steps", "epochs"), default="steps", help=text)
    text = "epochs over the selected size, above 0 (default: the recording's)"
    add("--num_train_epochs", metavar="X", type=parsing.above_zero, help=text)
    text = f"also write {WEIGHTS} (id, weight) and train the arm weighted with it: suspicion gives 1 - score, at least "
    text += "0.05; variability gives variability + 0.05"
    add("--weights", choices=("suspicion", "variability"), help=text)
    text = "also write weights_permuted_N.csv, the same weights on rows shuffled with this seed, for the arm permuted"
    add("--permute_seed", metavar="N", type=parsing.whole, help=text)
    text = f"where results are written (default: {OUTPUT_DIR})"
    add("--output_dir", metavar="DIR", type=parsing.named, default=OUTPUT_DIR, help=text)
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The options; a UsageError for everything that could not act."""
    options = build_parser().parse_args(argv)
    for name in ("arms", "seeds"):
        given = getattr(options, name)
        twice = next((one for one in given if given.count(one) > 1), None)
        if twice is not None:
            raise UsageError(f"--{name} has {twice} twice: name it once.")
    by_clusters, by_suspicion = "clusters" in options.arms, options.weights == "suspicion"
    cuts = {"coverage", "trusted"} & set(options.arms)
    for refused, sentence in (
        (by_clusters and not options.cluster_dir, "the arm clusters needs --cluster_dir: add it."),
        (
            "trusted" in options.arms and not options.label_errors_dir,
            "the arm trusted needs --label_errors_dir: add it.",
        ),
        (by_suspicion and not options.label_errors_dir, "--weights suspicion needs --label_errors_dir: add it."),
        (options.cluster_dir and not by_clusters, "--cluster_dir acts with --arms clusters alone: add it to the arms."),
        (
            options.label_errors_dir and not (by_suspicion or "trusted" in options.arms),
            "--label_errors_dir acts with --arms trusted or --weights suspicion: add one of them.",
        ),
        (options.cut is not None and not cuts, "--cut acts with the arms coverage and trusted: leave it out."),
        (options.permute_seed is not None and not options.weights, "--permute_seed acts with --weights: add it."),
        (bool(options.metric) != bool(options.end), "--metric and --end go together: give both."),
    ):
        if refused:
            raise UsageError(sentence)
    directories.refuse_shared("--cartography_dir", options.cartography_dir, options.output_dir)
    return options


def read_beside(options: argparse.Namespace, manifest: dict, ids: list[str]) -> dict[str, dict]:
    """Clusters and scores by id, as far as their directories are given; `manifest` is the recording's.

    Raises:
        DataError: one cannot be read, or is of other data.
    """
    from datamap.clusters.files import read_clusters
    from datamap.labels.files import read_table
    from datamap.selection.selections import by_id, refuse_other_data

    readers = {
        "cluster": ("--cluster_dir", options.cluster_dir, lambda path: read_clusters(path).assignments),
        "score": ("--label_errors_dir", options.label_errors_dir, read_table),
    }
    found = {}
    for column, (flag, name, read) in readers.items():
        if not name:
            continue
        table = read(Path(name))
        refuse_other_data(f"{flag} {name}", manifests.read_manifest(name), manifest)
        found[column] = by_id(table, column, ids, flag)
        missing = sum(value != value for value in found[column].values())
        if missing:
            logger.info("%d of %d rows have no %s in %s and count as not suspicious.", missing, len(ids), column, name)
    return found


def training_length(options: argparse.Namespace, dynamics: "Dynamics", n_rows: int) -> list[str]:
    """The words of run.py that say how long every arm is trained.

    Raises:
        UsageError: the recording's own epochs were not what ended it, or there are more steps than can be counted.
    """
    from datamap.selection.commands import n_steps, rows_in_step

    recorded = dynamics.manifest["training_arguments"]
    if recorded.get("max_steps", -1) > 0 and not options.num_train_epochs:
        raise UsageError(f"the recording ended by --max_steps {recorded['max_steps']}: give --num_train_epochs.")
    n_epochs = options.num_train_epochs or recorded["num_train_epochs"]
    if options.equal == "epochs":
        return ["--num_train_epochs", f"{n_epochs:g}"]
    steps = n_steps(n_rows, dynamics.metrics["n_windows"].tolist(), rows_in_step(dynamics.manifest), n_epochs)
    if steps >= 2**31:
        raise UsageError(f"--num_train_epochs {n_epochs:g} are more optimizer steps than can be counted: lower it.")
    return ["--max_steps", str(steps)]


def earlier_files(directory: Path) -> list[str]:
    """What an earlier selection wrote there, beside the files that every one has.

    Raises:
        UsageError: its arms have been trained.
    """
    manifest = manifests.read_manifest(directory)
    if not manifest:
        return []
    if (directory / "runs").exists():
        raise UsageError(
            f"--output_dir {directory} holds trainings of an earlier selection (runs): choose another one, or remove "
            "them."
        )
    listed = [f"ids/{arm}_{seed}.txt" for arm, seeds in manifest.get("arms", {}).items() for seed in seeds]
    return [*listed, WEIGHTS, f"weights_permuted_{manifest.get('arguments', {}).get('permute_seed')}.csv"]


def write_results(
    options: argparse.Namespace, table: "pd.DataFrame", files: dict[str, tuple["pd.DataFrame", str]]
) -> dict[str, dict]:
    """Write selection.csv, the ids of every arm and the weights; returns what the manifest says of the arms.

    Args:
        files: the weights and their file name by arm.
    """
    directory = Path(options.output_dir)
    for weights, name in files.values():
        outputs.write_csv(directory / name, weights)
    hashes = {arm: manifests.file_hash(directory / name) for arm, (_, name) in files.items()}
    arms: dict[str, dict] = {}
    for (arm, seed), part in table.groupby(["arm", "seed"], sort=False):
        outputs.write_text(directory / "ids" / f"{arm}_{seed}.txt", "\n".join(part["id"]) + "\n")
        told = {"n_rows": len(part), "ids_sha256": manifests.ids_hash(part["id"])}
        if arm in hashes:
            told["example_weights_sha256"] = hashes[arm]
        arms.setdefault(arm, {})[seed] = told
    outputs.write_csv(directory / SELECTION, table)
    return arms


def weight_files(
    options: argparse.Namespace, dynamics: "Dynamics", source: "Source"
) -> dict[str, tuple["pd.DataFrame", str]]:
    """(weights, the file's name) by the arm that is trained with them; empty without --weights.

    Raises:
        UsageError: the recording was trained with weights itself.
    """
    from datamap.selection import selections

    if not options.weights:
        return {}
    if dynamics.manifest["arguments"].get("example_weights"):
        raise UsageError("--weights does not go with a recording that was itself trained with --example_weights.")
    tables, n_without = selections.weight_tables(dynamics, source, options.weights, options.permute_seed)
    if n_without:
        logger.info("%d of %d rows have no %s and get the mean weight.", n_without, len(dynamics.ids), options.weights)
    names = {selections.WEIGHTED: WEIGHTS, selections.PERMUTED: f"weights_permuted_{options.permute_seed}.csv"}
    return {arm: (table, names[arm]) for arm, table in tables.items()}


def chosen(
    options: argparse.Namespace, dynamics: "Dynamics", n_rows: int
) -> "tuple[pd.DataFrame, dict[str, tuple[pd.DataFrame, str]]]":
    """(id, arm and seed of every arm's rows; what `weight_files` gives).

    Raises:
        DataError: what lies beside the recording is of other data, an id cannot be listed, or an arm lacks rows.
        UsageError: --metric is none of the recording's.
    """
    from datamap.selection import selections
    from datamap.selection.recorded import read_contexts

    selections.refuse_line_breaks(dynamics.ids)
    keeps = options.untracked == "keep"
    ids = dynamics.ids if keeps else dynamics.metrics["id"].tolist()
    beside = read_beside(options, dynamics.manifest, ids)
    contexts = read_contexts(dynamics) if options.keep_contexts_whole else None
    source = selections.source_of(dynamics, keeps_untracked=keeps, beside=beside, contexts=contexts)
    own = (options.metric, options.end) if options.metric else None
    files = weight_files(options, dynamics, source)
    names = [*options.arms, *([selections.metric_arm(*own, source)] if own else []), *files]
    return selections.selections(source, names, options.seeds, n_rows, options.cut or CUT, own), files


def main(argv: Sequence[str]) -> None:
    """Read, select, write, report."""
    options = parse_arguments(argv)
    directory = Path(options.output_dir)
    directories.refuse_foreign_directory(directory, SCRIPT)
    directories.refuse_unwritable(directory)
    earlier = earlier_files(directory)
    from datamap.selection import commands, selection_plots
    from datamap.selection.recorded import can_evaluate, read_recordings
    from datamap.selection.selections import sizes_told

    dynamics = read_recordings(options.cartography_dir)
    n_rows = round(options.fraction * len(dynamics.metrics))
    if not n_rows:
        raise UsageError(f"--fraction {options.fraction} of {len(dynamics.metrics)} rows is no row: raise it.")
    table, files = chosen(options, dynamics, n_rows)
    length, evaluates = training_length(options, dynamics, n_rows), can_evaluate(dynamics.manifest)
    weights, suite = {arm: name for arm, (_, name) in files.items()}, Path(helpers.__file__).parent
    allows = ["steps"] if options.equal == "epochs" else []
    text = commands.script(dynamics.manifest, table, length, suite, weights=weights, evaluates=evaluates, allows=allows)
    title = outputs.short_name(dynamics.manifest["data"]["train"]["dataset"])
    figure = selection_plots.arms_on_the_map(dynamics.metrics, table, title=title, seed=options.seeds[0])
    directories.clear(directory, (SELECTION, COMMANDS, FIGURE, *earlier))
    arms = write_results(options, table, files)
    outputs.write_text(directory / COMMANDS, text)
    pictures.write_figure(directory / FIGURE, figure)
    fields = {"script": SCRIPT, "arguments": vars(options), "n_rows": n_rows, "training_length": length, "arms": arms}
    fields |= {"n_untracked": len(dynamics.untracked)} | {name: dynamics.manifest[name] for name in ("task", "data")}
    sources = [*options.cartography_dir, options.cluster_dir, options.label_errors_dir]
    manifests.write_manifest(directory, fields, [Path(name) for name in sources if name])
    print(f"{sizes_told(table, n_rows, len(dynamics.metrics))} ({' '.join(length)}).")
    if not evaluates:
        logger.warning("The recording's data have no rows to evaluate on, so %s only trains.", COMMANDS)
    next_command = shlex.join(["sh", str(directory / COMMANDS)])
    logger.info("%d untracked rows: %s. Next: %s", len(dynamics.untracked), options.untracked, next_command)


if __name__ == "__main__":
    sys.exit(helpers.run_script(main))
