"""Simulate experiments whose truth is known, and count how often compare_runs.py's receipt finds a difference.

    python benchmarks/receipt_simulation.py --output FILE.json

Every experiment is an arm and a control with several seeds on the same rows in contexts. A score is the difficulty of
its row and context, what the arm does to them in every seed, what a training's luck adds to all rows, and what it does
to single contexts and rows. Without a difference a receipt should find one in at most 5% of experiments; a planted one
in as many as its own power says. The magnitudes are those of MAGNITUDES; with --runs they are estimated from stored
evaluations of two arms, given as for compare_runs.py.
Reads: nothing, or evaluations. Writes: a table to stdout, and FILE.json with FILE.md beside it.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from datamap.files import outputs  # noqa: E402
from datamap.options import parsing  # noqa: E402
from datamap.selection.differences import difference  # noqa: E402
from datamap.selection.evaluations import DEFAULTS, read_run, read_scores  # noqa: E402
from datamap.selection.power import ALPHA, detectable, power  # noqa: E402

N_EXPERIMENTS, SEED, PLANTED = 1000, 1, 2.0
DIFFICULTY = (15.0, 35.0)  # of contexts and of rows, in points: the same in all runs
N_SEEDS, N_CONTEXTS, ROWS_A_CONTEXT = (2, 3, 5, 10), 300, 4


@dataclasses.dataclass(frozen=True)
class Magnitudes:
    """Standard deviations in the difference of two runs, in points.

    Attributes:
        seed: a training's luck, the same for all rows.
        context, row: what an arm does to contexts and rows in every seed.
        noise_context, noise_row: what a seed does to single contexts and rows.
    """

    seed: float
    context: float
    row: float
    noise_context: float
    noise_row: float


MAGNITUDES = {
    "all of them": Magnitudes(seed=0.8, context=6.0, row=10.0, noise_context=5.0, noise_row=25.0),
    "luck above all": Magnitudes(seed=2.0, context=6.0, row=10.0, noise_context=5.0, noise_row=25.0),
    "seeds alone": Magnitudes(seed=1.5, context=0.0, row=0.0, noise_context=0.0, noise_row=0.0),
    "no luck of a whole training": Magnitudes(seed=0.0, context=6.0, row=10.0, noise_context=5.0, noise_row=25.0),
    "contexts above all": Magnitudes(seed=0.3, context=12.0, row=15.0, noise_context=3.0, noise_row=10.0),
}


@dataclasses.dataclass(frozen=True)
class Found:
    """Shares of experiments: with a difference found, with the truth in the interval; mean power and detectable size.

    `stated` is the mean power that the receipts state for the planted difference; without one it is the test's level.
    """

    found: float
    covered: float
    stated: float
    detectable: float


def simulate(
    *,
    difference: float,
    n: int,
    seed: int,
    n_seeds: int,
    n_contexts: int,
    magnitudes: Magnitudes = MAGNITUDES["all of them"],
    is_paired: bool = True,
) -> Found:
    """What `n` receipts say where the truth is `difference`, in points; contexts have one to seven rows."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        groups = np.repeat(np.arange(n_contexts), draw.integers(1, 2 * ROWS_A_CONTEXT, n_contexts))
        found.append(judged(*experiment(draw, groups, difference, n_seeds, magnitudes, is_paired), groups, difference))
    return Found(*np.mean(found, axis=0).tolist())


def experiment(
    draw: np.random.Generator, groups: np.ndarray, size: float, n_seeds: int, magnitudes: Magnitudes, is_paired: bool
) -> tuple[dict, dict]:
    """Scores [rows] by seed of an arm and of its control; `size` is the true difference."""
    common = 60 + nested(draw, groups, *DIFFICULTY)
    systematic = size + nested(draw, groups, magnitudes.context, magnitudes.row)
    arms = []
    for more in (systematic, np.zeros(len(groups))):
        runs = []
        for _ in range(n_seeds):
            luck = draw.normal(0, magnitudes.seed) + nested(
                draw, groups, magnitudes.noise_context, magnitudes.noise_row
            )
            runs.append(common + more + luck / np.sqrt(2))
        arms.append(runs)
    first = 0 if is_paired else n_seeds
    return dict(enumerate(arms[0])), dict(enumerate(arms[1], start=first))


def nested(draw: np.random.Generator, groups: np.ndarray, of_contexts: float, of_rows: float) -> np.ndarray:
    """Normal effects of contexts and rows together, [rows]."""
    return draw.normal(0, of_contexts, groups[-1] + 1)[groups] + draw.normal(0, of_rows, len(groups))


def judged(arm: dict, control: dict, groups: np.ndarray, truth: float) -> tuple[float, float, float, float]:
    """(found, covered, stated power, detectable size) of one experiment."""
    one = difference(arm, control, groups)
    low, high = one.interval()
    stated = power(truth, one.standard_error, one.df)
    return float(one.p_value() < ALPHA), float(low <= truth <= high), stated, detectable(one.standard_error, one.df)


def components(values: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """(variance of contexts, of rows within them) of values [rows], by the analysis of variance."""
    sizes = np.bincount(groups)
    means = np.bincount(groups, weights=values) / sizes
    within = float(((values - means[groups]) ** 2).sum() / (len(values) - len(sizes)))
    between = float((sizes * (means - values.mean()) ** 2).sum() / (len(sizes) - 1))
    size = (len(values) - (sizes**2).sum() / len(values)) / (len(sizes) - 1)
    return max(0.0, (between - within) / size), within


def fitted(differing: np.ndarray, groups: np.ndarray) -> Magnitudes:
    """The magnitudes of paired differences [seeds, rows], of at least two seeds; what would be negative is 0."""
    n_seeds = len(differing)
    left = differing - differing.mean(axis=0)
    noise = np.mean([components(row, groups) for row in left], axis=0) * n_seeds / (n_seeds - 1)
    over_seeds = np.array(components(differing.mean(axis=0), groups)) - noise / n_seeds
    sizes = np.bincount(groups)
    of_mean = noise[0] * (sizes**2).sum() / len(groups) ** 2 + noise[1] / len(groups)
    seed = differing.mean(axis=1).var(ddof=1) - of_mean
    return Magnitudes(*np.sqrt(np.maximum([seed, *over_seeds, *noise], 0.0)).tolist())


def stored(words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(paired differences [seeds, rows], groups) of evaluations given as ARM=DIR, of two arms with the same seeds."""
    arms: dict[str, dict] = {}
    for word in words:
        name, _, directory = word.partition("=")
        run = read_run(name, Path(directory))
        arms.setdefault(name, {})[run.seed] = read_scores(run, DEFAULTS[run.task])
    first, last = arms.values()
    ids = next(iter(first.values())).index
    both = [seed for seed in first if seed in last]
    differing = np.stack([first[seed].loc[ids, "score"] - last[seed].loc[ids, "score"] for seed in both])
    names = next(iter(first.values())).loc[ids, "group"]
    return differing, np.unique(names, return_inverse=True)[1]


def build_parser() -> argparse.ArgumentParser:
    """The parser of the simulation's options."""
    parser = parsing.SentenceParser(prog="receipt_simulation.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--runs", metavar="ARM=DIR", nargs="+", help="evaluations of two arms that the magnitudes are estimated from")
    text = f"experiments of each sort (default: {N_EXPERIMENTS})"
    add("--n_experiments", metavar="N", type=parsing.positive, default=N_EXPERIMENTS, help=text)
    add("--output", metavar="FILE.json", type=Path, help="also write the figures there, and the table as FILE.md")
    return parser


def measured(options: argparse.Namespace) -> list[dict]:
    """A row for every number of seeds, magnitudes and way to compare."""
    named = {"as in the runs": fitted(*stored(options.runs))} if options.runs else MAGNITUDES
    rows = []
    for name, magnitudes in named.items():
        for n_seeds in N_SEEDS:
            for is_paired in (True, False):
                fixed = {"n": options.n_experiments, "n_seeds": n_seeds, "n_contexts": N_CONTEXTS}
                fixed |= {"magnitudes": magnitudes, "is_paired": is_paired}
                none = simulate(difference=0.0, seed=SEED, **fixed)
                planted = simulate(difference=PLANTED, seed=SEED + 1, **fixed)
                how = "paired" if is_paired else "unpaired"
                row = {"magnitudes": name, "seeds": n_seeds, "how": how, "false_finds": none.found}
                row |= {"found": planted.found, "stated_power": planted.stated, "covered": planted.covered}
                rows.append(row | {"detectable": planted.detectable} | dataclasses.asdict(magnitudes))
    return rows


def table(rows: list[dict]) -> str:
    """The rows as a table in Markdown."""
    lines = [
        f"| magnitudes | seeds | how | found without a difference | {PLANTED:g} points found | as the receipts say "
        "| truth in the interval | detectable |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shares = [f"{row[name]:.1%}" for name in ("false_finds", "found", "stated_power", "covered")]
        words = [row["magnitudes"], str(row["seeds"]), row["how"], *shares, f"{row['detectable']:.1f}"]
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Simulate, print, write."""
    options = build_parser().parse_args(argv)
    rows = measured(options)
    print(table(rows))
    if options.output:
        outputs.write_json(options.output, {"n_experiments": options.n_experiments, "rows": rows})
        outputs.write_text(options.output.with_suffix(".md"), table(rows) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
