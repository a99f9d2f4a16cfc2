"""How well wrong labels are found, on errors that people made and on planted ones: every ranking side by side.

    uv run --group benchmarks benchmarks/label_errors.py --sets sick demo:noisy --runs_dir label_error_runs --record

Reads: ../shared/data, or another folder with the same files; the recordings in --runs_dir, which --record makes where
they are missing (a killed measurement goes on where it was). Formulas are chosen by their figures on one half of the
groups; the tables show the other half. Writes: the tables to stdout, all figures as JSON with --output, a figure with
--figure.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import label_rankings, label_sets, ranking_scores  # noqa: E402
from datamap.errors import DataError  # noqa: E402
from datamap.evaluation.metrics import token_f1  # noqa: E402
from datamap.files import manifests, outputs  # noqa: E402
from datamap.labels import scores, suspects  # noqa: E402
from datamap.options import parsing  # noqa: E402

SEEDS, BASELINE = (42, 43, 44), "confidence, in-sample"
LEAST_F1 = 0.8  # of a proposal that counts as the right answer


def build_parser() -> argparse.ArgumentParser:
    """The parser of the measurement's options."""
    parser = parsing.SentenceParser(prog="label_errors.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--sets", nargs="+", choices=label_sets.SETS, default=list(label_sets.SETS), help="(default: all)")
    add("--data_dir", metavar="DIR", type=Path, default=ROOT.parent / "shared" / "data", help="where the data lie")
    add("--runs_dir", metavar="DIR", type=Path, required=True, help="where the recordings are, or are to be")
    add("--seeds", metavar="N", type=parsing.whole, nargs="+", default=SEEDS, help="(default: 42 43 44)")
    add("--start_model", metavar="DIR", help="question-answering model that the wiki runs start from (with --record)")
    add("--record", action="store_true", help="make the recordings that are missing, which takes hours")
    add("--output", metavar="FILE", type=Path, help="write all figures as JSON")
    add("--figure", metavar="FILE", type=Path, help="draw the average precisions")
    return parser


def recording(options: argparse.Namespace, name: str, sort: str, seed: int) -> Path:
    """Where a recording is, or is to be."""
    return options.runs_dir / name.replace(":", "_") / f"{sort}_{seed}"


def record(options: argparse.Namespace, name: str, sort: str, seed: int) -> None:
    """Make a recording that is missing; DataError where run.py fails."""
    directory, known = recording(options, name, sort, seed), label_sets.SETS[name]
    if manifests.has_manifest(directory):
        return
    start = {"start": options.start_model or "demo"}
    words = ["--do_train", "--task", known.task, "--dataset", known.dataset.format(data=options.data_dir)]
    words += [word.format(**start) for word in known.settings] + ["--seed", str(seed), "--save_strategy", "no"]
    if sort == "crossfit":
        words += ["--cross_fit", str(known.n_folds), "--crossfit_output_dir", str(directory)]
        words += ["--resume_from_checkpoint", "last"] * directory.is_dir()
    else:
        words += ["--enable_cartography", "--cartography_output_dir", str(directory), "--overwrite_output_dir"]
        words += ["--output_dir", str(directory.with_name(f"model_{seed}"))]
    if subprocess.run([sys.executable, str(ROOT / "run.py"), *words], stdout=sys.stderr, check=False).returncode:
        raise DataError(f"the run in {directory} failed; its own words are above.")


def finished_runs(options: argparse.Namespace, name: str) -> dict[int, dict[str, Path]]:
    """The recordings of the seeds that have both, by seed."""
    places = {seed: {sort: recording(options, name, sort, seed) for sort in ("insample", "crossfit")}
              for seed in options.seeds}  # fmt: skip
    return {seed: found for seed, found in places.items() if all(map(manifests.has_manifest, found.values()))}


def compare(wrong: np.ndarray, groups: np.ndarray, rankings: dict[str, list[np.ndarray]], chosen: str) -> dict:
    """Figures and intervals of every ranking, and of its difference to the one that was chosen.

    Args:
        wrong: bool [n].
        groups: what belongs together, [n].
        rankings: scores [n] of each seed, by name.
        chosen: one of their names.
    """
    counts = ranking_scores.draws(groups)
    counts = counts[(counts[:, wrong].sum(axis=1) > 0)]
    values = {name: ranking_scores.over_seeds(wrong, listed, counts) for name, listed in rankings.items()}
    found = {}
    for name, drawn in values.items():
        found[name] = {figure: ranking_scores.interval(drawn[:, place])
                       for place, figure in enumerate(ranking_scores.FIGURES)}  # fmt: skip
        found[name]["AP of the chosen one minus this"] = ranking_scores.interval((values[chosen] - drawn)[:, 0])
    return found


def proposals_found(frame: pd.DataFrame, numbers: pd.DataFrame, score: str) -> dict:
    """Of the wrong rows among the first n of a ranking (n = number of wrong rows), how many have the right proposal."""
    wrong = (~frame["truth"].isin(["", "right"])).to_numpy()
    scored = (frame["truth"] != "").to_numpy()
    order = ranking_scores.order_of(np.where(scored, scores.suspicion(numbers, score), np.nan))
    first = [row for row in order[: wrong.sum()] if wrong[row]]
    proposed = suspects.proposals(numbers.reset_index(drop=True))["proposal"]
    right = sum(proposed[row] is not None and proposed[row] == proposed[row]
                and token_f1(proposed[row], frame["clean"].iloc[row]) >= LEAST_F1 for row in first)  # fmt: skip
    return {"wrong rows": int(wrong.sum()), "among the first": len(first), "with the right proposal": int(right)}


def measure(options: argparse.Namespace, name: str) -> dict:
    """Everything about one set: the choice of a formula on one half, all rankings on the other, proposals.

    Raises:
        DataError: no seed has both recordings.
    """
    runs = finished_runs(options, name)
    if not runs:
        raise DataError(f"{options.runs_dir} holds no finished recordings of {name}: make them with --record.")
    frame = label_sets.load(name, options.data_dir)
    rankings = label_rankings.all_rankings(frame, runs)
    truth, groups = frame["truth"].to_numpy(), frame["group"].to_numpy()
    choosing = ranking_scores.choosing_half(groups)
    scored, wrong = truth != "", ~np.isin(truth, ["", "right"])

    def part(rows: np.ndarray, chosen: str) -> dict:
        kept = {ranking: [values[rows] for values in listed] for ranking, listed in rankings.items()}
        return compare(wrong[rows], groups[rows], kept, chosen)

    task = label_sets.SETS[name].task
    ours = f"{scores.DEFAULTS[task]}, out of fold"
    found = {"seeds": list(runs), "rows": int(scored.sum()), "wrong": int(wrong.sum()), "ours": ours}
    found["choosing half"] = part(scored & choosing, ours)
    found["reported half"] = part(scored & ~choosing, ours)
    found["all rows"] = part(scored, ours)
    found["by kind, all rows"] = {
        kind: part(np.isin(truth, [kind, "right"]), ours) for kind in label_sets.PLANTED[1:] if (truth == kind).any()
    }
    if task == "qa":
        found["proposals"] = {
            seed: proposals_found(frame, label_rankings.numbers_of(places["crossfit"], frame), scores.DEFAULTS[task])
            for seed, places in runs.items()
        }
    write_suspects(options, name, frame, runs[min(runs)]["crossfit"])
    return found


def write_suspects(options: argparse.Namespace, name: str, frame: pd.DataFrame, directory: Path) -> None:
    """Write the fifty most suspicious rows that are not known to be wrong beside the recordings, to be read."""
    known = label_sets.SETS[name]
    numbers = label_rankings.numbers_of(directory, frame)
    names = tuple(frame["label_name"].groupby(frame["label"]).first()) if "label_name" in frame else ()
    table = suspects.suspects(frame, names, numbers.drop(columns=list(numbers.filter(like="prob "))),
                              scores.DEFAULTS[known.task], {})  # fmt: skip
    right = set(frame["id"][frame["truth"].isin(["", "right"])])
    rows = table[table["id"].isin(right)].head(50).to_dict("records")
    outputs.write_jsonl(options.runs_dir / f"{name.replace(':', '_')}_suspects.jsonl", rows)


def table(found: dict, part: str) -> str:
    """A markdown table of one part's rankings, the best average precision first."""
    lines = ["| ranking | AP | P@100 | recall in the first tenth | AP of ours minus this |", "|---|---|---|---|---|"]
    rows = sorted(found[part].items(), key=lambda item: -item[1]["AP"][0])
    for name, figures in rows:
        cells = ["{:.3f} ({:.3f} to {:.3f})".format(*values) for values in figures.values()]
        lines.append(f"| {'**' + name + '**' if name == found['ours'] else name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(measured: dict[str, dict], path: Path) -> None:
    """Average precision with its interval of every ranking, a panel a set."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6 * len(measured), 7.5), layout="constrained")
    for axes, (name, found) in zip(np.atleast_1d(figure.subplots(1, len(measured))), measured.items(), strict=True):
        rows = sorted(found["reported half"].items(), key=lambda item: item[1]["AP"][0])
        for place, (ranking, figures) in enumerate(rows):
            value, low, high = figures["AP"]
            colour = "#D55E00" if ranking == found["ours"] else "#555555"
            axes.plot([low, high], [place, place], color=colour, linewidth=2)
            axes.plot(value, place, "o", color=colour)
        axes.set_yticks(range(len(rows)), [ranking for ranking, _ in rows], fontsize=7)
        axes.set_title(f"{name} (seeds {', '.join(map(str, found['seeds']))})", loc="left", fontsize=10)
        axes.set_xlabel("average precision with its 95% interval")
        axes.set_xlim(left=0)
        axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110)


def main(argv: Sequence[str]) -> None:
    """Record what is missing, measure, print and write."""
    options = build_parser().parse_args(argv)
    measured = {}
    for name in options.sets:
        for seed in options.seeds if options.record else ():
            for sort in ("crossfit", "insample"):
                record(options, name, sort, seed)
        measured[name] = found = measure(options, name)
        print(f"\n## {name}: {found['wrong']} of {found['rows']} rows wrong, seeds {found['seeds']}\n")
        print(table(found, "reported half"))
        for kind, figures in found["by kind, all rows"].items():
            print(f"\n{kind}: AP {figures[found['ours']]['AP'][0]:.3f}, {BASELINE} {figures[BASELINE]['AP'][0]:.3f}")
        print("\nproposals:", json.dumps(found.get("proposals")))
    if options.output:
        outputs.write_json(options.output, measured)
    if options.figure:
        draw(measured, options.figure)


if __name__ == "__main__":
    import helpers

    sys.exit(helpers.run_script(main))
