"""What reviewing is worth: a simulated person decides about the rows of a ranking; errors found, left, and the model.

    uv run benchmarks/review_loop.py --label_errors_dir label_errors --runs_dir review_runs --train --start_model start

Reads: ../shared/data, or another folder with the same files, and the table of find_label_errors.py about its
wiki_human_noise.jsonl.gz. The person answers as two people agree; rows without such agreement are not in the data.
Writes: published.jsonl, corrected.jsonl, clean.jsonl and, with --train, their models into --runs_dir; tables to stdout,
all figures as JSON with --output.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import label_sets  # noqa: E402
from datamap.errors import DataError  # noqa: E402
from datamap.evaluation.metrics import bootstrap_interval  # noqa: E402
from datamap.files import outputs  # noqa: E402
from datamap.labels import files, patches, queue, reviews, rows  # noqa: E402
from datamap.options import parsing  # noqa: E402

SIZES, N_REVIEWS, AUDIT_SHARE = (100, 300, 600), 200, 0.15
SEEDS, ARMS, N_APPLIED = (42, 43, 44), ("published", "corrected", "clean"), 600


def build_parser() -> argparse.ArgumentParser:
    """The parser of the measurement's options."""
    parser = parsing.SentenceParser(prog="review_loop.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data_dir", metavar="DIR", type=Path, default=ROOT.parent / "shared" / "data", help="where the data lie")
    add("--label_errors_dir", metavar="DIR", type=Path, required=True, help="of find_label_errors.py")
    add("--runs_dir", metavar="DIR", type=Path, required=True, help="where data sets and models are, or are to be")
    add("--train", action="store_true", help="train what is missing, which takes hours")
    add("--start_model", metavar="DIR", default="demo", help="question-answering model to start from (default: demo)")
    add("--seeds", metavar="N", type=parsing.whole, nargs="+", default=SEEDS, help="of training (default: 42 43 44)")
    add("--output", metavar="FILE", type=Path, help="write all figures as JSON")
    return parser


def scored_rows(data: Path) -> tuple[list[dict], dict[str, dict]]:
    """(the rows on whose answer two people agree, as corrected.jsonl has them; that answer by id)."""
    known = [row for row in label_sets.wiki_rows(data) if row["planted"] != "unknown"]
    clean = {row["id"]: {"text": [row["clean_text"]], "answer_start": [row["clean_start"]]} for row in known}
    wrong = {row["id"] for row in known if row["planted"] == "human"}
    written = [{name: row[name] for name in ("id", "context", "question", "answers")} for row in known]
    return written, {row["id"]: clean[row["id"]] if row["id"] in wrong else row["answers"] for row in written}


def reviewed(
    written: Sequence[dict], right: dict[str, dict], ranking: np.ndarray, n_shown: int, share: float, seed: int
) -> list[patches.Decision]:
    """What the person decides about the first rows of a page."""
    order = queue.drawn_order([row["id"] for row in written], seed)
    rank = {row: place + 1 for place, row in enumerate(ranking.tolist())}
    decided = []
    for row, draw in queue.schedule(ranking, order, queue.audit_places(n_shown, share, seed)):
        identifier, before = written[row]["id"], written[row]["answers"]
        after = right[identifier]
        name = "stays" if after == before else "marked"
        decided.append(patches.Decision("", identifier, "answers", before, after, decision=name, rank=rank.get(row),
                                        drawn=draw))  # fmt: skip
    return decided


def found_errors(written: Sequence[dict], right: dict[str, dict], ranking: np.ndarray) -> dict:
    """Errors found by pages of several sizes, by the ranking and in random order, and what the estimate says."""
    n_rows, n_wrong = len(written), sum(right[row["id"]] != row["answers"] for row in written)
    found = {}
    for size in SIZES:
        counts, covered, widths, errors = [], [], [], []
        for seed in range(N_REVIEWS):
            decided = reviewed(written, right, ranking, size, AUDIT_SHARE, seed)
            n_found = sum(map(reviews.did_not_stand, decided))
            counts.append(n_found)
            estimate = reviews.errors_left(decided, n_rows)
            if estimate["errors_left"] is not None:
                left = n_wrong - n_found
                low, high = estimate["errors_left_low"], estimate["errors_left_high"]
                covered.append(low <= left <= high)
                widths.append(high - low)
                errors.append(estimate["errors_left"] - left)
        found[size] = {
            "found": float(np.mean(counts)),
            "found without an audit": int(sum(right[written[row]["id"]] != written[row]["answers"]
                                              for row in ranking[:size])),
            "expected in random order": size * n_wrong / n_rows,
            "reviews with an estimate": len(covered),
            "intervals that hold the truth": float(np.mean(covered)) if covered else None,
            "mean width": float(np.mean(widths)) if widths else None,
            "mean of estimate less truth": float(np.mean(errors)) if errors else None,
        }  # fmt: skip
    return {"rows": n_rows, "wrong": n_wrong, "sizes": found}


def write_arms(
    directory: Path, written: Sequence[dict], right: dict[str, dict], decided: Sequence[patches.Decision]
) -> dict[str, int]:
    """Write the data set of every arm; how many wrong labels each has."""
    by_id = {decision.id: decision for decision in decided}
    arms = {
        "published": written,
        "corrected": patches.applied(written, by_id),
        "clean": [row | {"answers": right[row["id"]]} for row in written],
    }
    for name, listed in arms.items():
        outputs.write_text(directory / f"{name}.jsonl", "".join(f"{rows.line_of(row)}\n" for row in listed))
    return {name: sum(right[row["id"]] != row["answers"] for row in listed) for name, listed in arms.items()}


def train(options: argparse.Namespace, arm: str, seed: int) -> None:
    """Train and evaluate one arm unless it is done; DataError where run.py fails."""
    directory = options.runs_dir / f"{arm}_{seed}"
    if (directory / outputs.EVAL_PREDICTIONS).is_file():
        return
    dataset, held_out = options.runs_dir / f"{arm}.jsonl", options.data_dir / "wiki_dev.json"
    words = ["--do_train", "--do_eval", "--dataset", str(dataset), "--eval_dataset", str(held_out), "--seed", str(seed)]
    words += ["--model", options.start_model, "--num_train_epochs", "1", "--output_dir", str(directory)]
    words += ["--save_strategy", "no", "--overwrite_output_dir"]
    if subprocess.run([sys.executable, str(ROOT / "run.py"), *words], stdout=sys.stderr, check=False).returncode:
        raise DataError(f"the run in {directory} failed; its own words are above.")


def predictions(directory: Path) -> dict[str, dict]:
    """The evaluated rows of one model by id."""
    with (directory / outputs.EVAL_PREDICTIONS).open(encoding="utf-8") as file:
        return {row["id"]: row for row in map(json.loads, file)}


def trained_figures(options: argparse.Namespace) -> dict:
    """EM and F1 in percent of every arm and its gain over the published labels, means of all seeds done by all arms."""
    places = {seed: [options.runs_dir / f"{arm}_{seed}" / outputs.EVAL_PREDICTIONS for arm in ARMS]
              for seed in options.seeds}  # fmt: skip
    done = [seed for seed, paths in places.items() if all(path.is_file() for path in paths)]
    if not done:
        return {}
    found: dict = {"seeds": done}
    of = {arm: [predictions(options.runs_dir / f"{arm}_{seed}") for seed in done] for arm in ARMS}
    ids = sorted(of["clean"][0])
    contexts = [of["clean"][0][identifier]["context"] for identifier in ids]
    groups = np.unique(contexts, return_inverse=True)[1]
    for name in ("em", "f1"):
        values = {arm: np.mean([[100 * float(run[identifier][name]) for identifier in ids] for run in of[arm]], axis=0)
                  for arm in ARMS}  # fmt: skip
        for arm in ARMS:
            gain = values[arm] - values["published"]
            found.setdefault(arm, {})[name] = [
                float(part) for part in (values[arm].mean(), *bootstrap_interval(values[arm], groups, 0))
            ]
            found[arm][f"{name} gain"] = [float(part) for part in (gain.mean(), *bootstrap_interval(gain, groups, 0))]
            found[arm][f"{name} by seed"] = [
                float(np.mean([100 * float(run[identifier][name]) for identifier in ids])) for run in of[arm]
            ]
    return found


def as_text(found: dict) -> str:
    """The figures as markdown tables."""
    lines = [f"{found['wrong']} of {found['rows']} rows wrong; means of {N_REVIEWS} simulated reviews.", "",
             "| rows reviewed | errors found | by the ranking alone | in random order | estimates that hold the truth "
             "| mean width |", "|---|---|---|---|---|---|"]  # fmt: skip
    for size, of in found["sizes"].items():
        held = of["intervals that hold the truth"]
        said = (
            "none made | "
            if held is None
            else f"{held:.1%} of {of['reviews with an estimate']} | {of['mean width']:.0f}"
        )
        lines.append(f"| {size} | {of['found']:.1f} | {of['found without an audit']} | "
                     f"{of['expected in random order']:.1f} | {said} |")  # fmt: skip
    if found["trained"]:
        lines += ["", f"Seeds {found['trained']['seeds']}.", ""]
        lines += ["| labels | wrong | EM | F1 | gain in EM | gain in F1 |", "|---|---|---|---|---|---|"]
        for arm in ARMS:
            cells = ["{:.2f} ({:.2f} to {:.2f})".format(*found["trained"][arm][name])
                     for name in ("em", "f1", "em gain", "f1 gain")]  # fmt: skip
            lines.append(f"| {arm} | {found['wrong labels'][arm]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Simulate, train what is missing, print and write."""
    options = build_parser().parse_args(argv)
    table = files.read_table(options.label_errors_dir)
    written, right = scored_rows(options.data_dir)
    place = {row["id"]: number for number, row in enumerate(written)}
    ranked = table.loc[table["rank"].notna(), "id"]
    ranking = np.array([place[identifier] for identifier in ranked if identifier in place])
    found = found_errors(written, right, ranking)
    decided = reviewed(written, right, ranking, N_APPLIED, AUDIT_SHARE, seed=42)
    found["wrong labels"] = write_arms(options.runs_dir, written, right, decided)
    for seed in options.seeds if options.train else ():
        for arm in ARMS:
            train(options, arm, seed)
    found["trained"] = trained_figures(options)
    print(as_text(found))
    if options.output:
        outputs.write_json(options.output, found)


if __name__ == "__main__":
    import helpers

    sys.exit(helpers.run_script(main))
