"""Rank every row of a data set by how suspicious its label is, say why, and propose another one.

    python find_label_errors.py --crossfit_dir ./crossfit_output --output_dir ./label_errors

Reads: an out-of-fold recording of run.py --cross_fit, a recording of run.py --enable_cartography, or both (or several
of each, of the same rows), and their data set.
Writes into --output_dir: label_errors.csv (every row, the most suspicious first), label_errors.json (what the ranking
was made from, counts by kind), label_errors.png, review.html (a page on which a person decides) and, last,
manifest.json. The first ten go to stdout; no label changes.
"""

import argparse
import logging
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import helpers
from datamap.errors import UsageError
from datamap.files import directories, manifests, outputs, pictures
from datamap.options import parsing

if TYPE_CHECKING:
    import pandas as pd

    from datamap.data.examples import Examples
    from datamap.dynamics.recordings import Recording

logger = logging.getLogger("find_label_errors")

CROSSFIT_DIR, OUTPUT_DIR = "./crossfit_output", "./label_errors"
SCORES = (
    "combined",
    "label_support",
    "expected_f1",
    "self_confidence",
    "normalized_margin",
    "confidence",
    "aum",
    "loss",
    "el2n",
)
REVIEW_ROWS, AUDIT_SHARE = 2000, 0.15
N_SHOWN, N_MARKED, WIDTH = 10, 100, 100
EPILOG = """
Scores, all in [0, 1], higher = more suspicious. Of the last epoch: expected_f1 (qa, out of fold), 1 - expected token F1
of the model's answer with the label; self_confidence, 1 - probability of the label; normalized_margin (out of fold),
the same beside that of the best other answer; loss. Means over epochs: label_support (qa, out of fold; the label's
probability and expected F1 together), confidence (of the label), aum, el2n. combined (both recordings): the ranks by
label_support (nli: el2n) out of fold and by confidence (nli: el2n) in the training.
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of find_label_errors.py's options."""
    parser = parsing.SentenceParser(
        prog="find_label_errors.py",
        description="Rank rows by how suspicious their label is, and propose another one.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    text = "out-of-fold recording of run.py --cross_fit, or several of the same rows, of other seeds or models, whose "
    text += f"numbers are averaged (default: {CROSSFIT_DIR}, unless --cartography_dir is given)"
    add("--crossfit_dir", metavar="DIR", type=parsing.named, nargs="+", default=[], help=text)
    text = "recording of run.py --enable_cartography, or several: ranks where there is no out-of-fold one, and stands "
    text += "beside it where there is"
    add("--cartography_dir", metavar="DIR", type=parsing.named, nargs="+", default=[], help=text)
    text = f"where results are written (default: {OUTPUT_DIR})"
    add("--output_dir", metavar="DIR", type=parsing.named, default=OUTPUT_DIR, help=text)
    text = "data set that was recorded, named as for run.py (default: the recording's own)"
    add("--dataset", metavar="NAME", type=parsing.named, help=text)
    parsing.add_columns_option(add)
    text = "split that was recorded (default: the recording's own)"
    add("--split", metavar="SPLIT", type=parsing.named, help=text)
    text = "what ranks (default: combined where there are both recordings; out of fold alone label_support, nli el2n; "
    text += "of a training alone confidence)"
    add("--score", choices=SCORES, help=text)
    text = f"rows on the review page, at least 1 (default: {REVIEW_ROWS})"
    add("--review_rows", metavar="N", type=parsing.positive, default=REVIEW_ROWS, help=text)
    text = "share of them that is drawn at random from all rows, from 0 to 1, which tells how many errors are left "
    text += f"(default: {AUDIT_SHARE})"
    add("--audit_share", metavar="SHARE", type=parsing.share, default=AUDIT_SHARE, help=text)
    text = "seed of what is drawn for the review page, from 0 to 2^32 - 1 (default: 42)"
    add("--seed", metavar="N", type=parsing.whole, default=42, help=text)
    text = "say on the review page which answer is the published one: quicker, but it leads the reader"
    add("--show_origin", action="store_true", help=text)
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The options; a UsageError for everything that could not act."""
    options = build_parser().parse_args(argv)
    parsing.refuse_idle_columns(options)
    if not options.crossfit_dir and not options.cartography_dir:
        options.crossfit_dir = [CROSSFIT_DIR]
    for name in ("crossfit_dir", "cartography_dir"):
        directories.refuse_shared(f"--{name}", getattr(options, name), options.output_dir)
    return options


def read_recordings(options: argparse.Namespace) -> "tuple[list[Recording], list[Recording]]":
    """(the out-of-fold recordings, those of trainings); empty where none was given.

    Raises:
        UsageError: one is of the other sort, or they are not of the same rows.
        DataError: there is no finished recording, or it names no data set.
    """
    from datamap.labels import evidence

    out_of_fold = [evidence.read(name, "--crossfit_dir", out_of_fold=True) for name in options.crossfit_dir]
    trained = [evidence.read(name, "--cartography_dir", out_of_fold=False) for name in options.cartography_dir]
    named = [*(f"--crossfit_dir {name}" for name in options.crossfit_dir),
             *(f"--cartography_dir {name}" for name in options.cartography_dir)]  # fmt: skip
    for recording, name in zip([*out_of_fold, *trained][1:], named[1:], strict=True):
        evidence.refuse_other_rows((out_of_fold or trained)[0], recording, named[0], name)
    if not out_of_fold:
        logger.info(
            "Ranking by a training's own recording; docs/label_errors.md measures it beside run.py --cross_fit."
        )
    return out_of_fold, trained


def load_rows(options: argparse.Namespace, recording: "Recording") -> "Examples":
    """Examples with all rows of the split, after it is sure that the recorded ones are among them.

    Raises:
        UsageError: the recording names no data set and none is given.
        DataError: the data set lacks recorded rows, or has them with other texts.
    """
    from datamap.data.examples import find_examples, load_split

    if not options.dataset and "data" not in recording.manifest:
        raise UsageError(f"{(options.crossfit_dir or options.cartography_dir)[0]} names no data set: give --dataset.")
    asked = options.dataset, options.split, options.columns
    examples = load_split(recording.manifest, *asked, whole=True)
    find_examples(recording.manifest, recording.ids, *asked, examples=examples)
    return examples


def gathered_numbers(
    options: argparse.Namespace, examples: "Examples", out_of_fold: "list[Recording]", trained: "list[Recording]"
) -> "tuple[pd.DataFrame, dict[str, str]]":
    """(what the recordings say of every row by id, the reasons of rows that were not recorded by id)."""
    import pandas as pd

    from datamap.dynamics.agreement import mean_numbers
    from datamap.labels import evidence
    from datamap.labels.averages import mean_predictions
    from datamap.labels.scores import IN_SAMPLE

    numbers = mean_numbers([evidence.metrics_of(recording) for recording in out_of_fold or trained])
    if out_of_fold:
        given = zip(options.crossfit_dir, out_of_fold, strict=True)
        predictions = mean_predictions([evidence.read_predictions(Path(name), one.manifest) for name, one in given])
        if "predicted_scores" in predictions:
            names = [examples.label_names[number] for number in examples.frame["label"]]
            labels = pd.Series(names, index=examples.frame["id"])
            predicted = evidence.nli_numbers(predictions, labels)
        else:
            predicted = evidence.qa_numbers(predictions)
        numbers = predicted.join(numbers)
        evidence.refuse_other_labels(numbers)
        if trained:
            beside = mean_numbers([evidence.metrics_of(recording) for recording in trained])
            numbers = numbers.join(beside.add_prefix(IN_SAMPLE))
    else:
        numbers = numbers.assign(label_prob=numbers["last_prob"])
    directory = Path((options.crossfit_dir or options.cartography_dir)[0])
    return numbers.drop(columns="last_prob"), evidence.reasons(directory, examples)


def settle_score(options: argparse.Namespace, task: str, numbers: "pd.DataFrame") -> str:
    """The name of the score that ranks.

    Raises:
        UsageError: what was read does not give the one asked for.
    """
    from datamap.labels.scores import COMBINED, DEFAULTS, IN_SAMPLE_DEFAULT, missing_numbers

    default = DEFAULTS[task] if options.crossfit_dir else IN_SAMPLE_DEFAULT
    name = options.score or (COMBINED if options.crossfit_dir and options.cartography_dir else default)
    missing = missing_numbers(name, numbers)
    if missing:
        raise UsageError(f"--score {name} needs {missing[0]}, which {what_was_read(options)} of {task} data lacks.")
    return name


def what_was_read(options: argparse.Namespace) -> str:
    """The sort of recording that ranks."""
    return "an out-of-fold recording" if options.crossfit_dir else "a recording of a training"


def as_text(table: "pd.DataFrame", n_rows: int) -> str:
    """The first rows as a person reads them: rank, score, kind, the texts with the label marked, the proposal."""
    blocks = []
    for row in table[table["rank"].notna()].head(n_rows).to_dict("records"):
        head = f"{row['rank']:>3}  {row['score']:.3f}  {row['kind']}  (id {row['id']})"
        if "question" in row:
            texts = [f"Q: {row['question']}", row["context"], f"label: {row['label'] or 'no answer'}"]
        else:
            texts = [f"P: {row['premise']}", f"H: {row['hypothesis']}", f"label: {row['label']}"]
        if row["proposal"] is not None and row["proposal"] == row["proposal"]:
            texts[-1] += f"   proposal: {row['proposal'] or 'no answer'} ({row['proposal_prob']:.2f})"
        lines = [textwrap.fill(" ".join(text.split()), WIDTH, initial_indent="     ", subsequent_indent="     ")
                 for text in texts]  # fmt: skip
        blocks.append("\n".join([head, *lines]))
    return "\n\n".join(blocks)


def summary_of(options: argparse.Namespace, table: "pd.DataFrame", score: str, task: str) -> dict:
    """What label_errors.json says."""
    from datamap.labels.kinds import KINDS, MEANING
    from datamap.labels.scores import definition

    ranked = table[table["rank"].notna()]
    proposed = ranked[ranked["proposal_prob"].notna()]
    names = [kind for kind in KINDS if (ranked["kind"] == kind).any()]
    kinds = {
        kind: {
            "rows": int((ranked["kind"] == kind).sum()),
            "with_proposal": int((proposed["kind"] == kind).sum()),
            "meaning": MEANING[kind],
        }
        for kind in names
    }
    counts = {"n_rows": len(table), "n_ranked": len(ranked), "n_with_proposal": len(proposed)}
    made_from = {"crossfit_dir": options.crossfit_dir, "cartography_dir": options.cartography_dir}
    return counts | {"score": score, "definition": definition(score, task), "kinds": kinds} | made_from


def review_page(
    options: argparse.Namespace, examples: "Examples", table: "pd.DataFrame", numbers: "pd.DataFrame"
) -> tuple[str, list[dict]]:
    """(the review page, its rows): as many of those asked for as a file of at most 10 MB holds, which is said."""
    from datamap.labels import queue, rows
    from datamap.report.review import build_review, fitting

    written = rows.written_rows(examples)
    drawn = {"audit_share": options.audit_share, "seed": options.seed}
    listed = queue.queue_of(written, table, numbers, n_shown=options.review_rows, **drawn)
    labels = rows.label_values(examples.label_names)
    about: dict[str, Any] = {"title": examples.title, "labels": labels, "n_rows": len(written)}
    n_rows, page = 0, ""
    while n_rows != len(listed):
        listed = listed[: n_rows or None]
        key = queue.queue_hash(listed)
        page = build_review(listed, key=key, show_origin=options.show_origin, **about)
        n_rows = fitting(len(listed), len(page))
    n_asked = min(options.review_rows, len(written))
    if n_rows < n_asked:
        logger.warning("review.html has %d rows instead of %d, so that it stays below 10 MB.", n_rows, n_asked)
    return page, listed


def main(argv: Sequence[str]) -> None:
    """Read, rank, write, report."""
    options = parse_arguments(argv)
    directory = Path(options.output_dir)
    directories.refuse_foreign_directory(directory, "find_label_errors.py")
    from datamap.labels import files, plots
    from datamap.labels.suspects import suspects

    out_of_fold, trained = read_recordings(options)
    recording = (out_of_fold or trained)[0]
    examples = load_rows(options, recording)
    numbers, why = gathered_numbers(options, examples, out_of_fold, trained)
    task = "nli" if "premise" in examples.frame else "qa"
    score = settle_score(options, task, numbers)
    table = suspects(examples.frame, examples.label_names, numbers, score, why)
    summary = summary_of(options, table, score, task)
    title = f"{examples.title}: suspicious labels"
    figure = plots.ranking(table, title=title, score=summary["definition"], n_marked=N_MARKED, seed=0)
    page, listed = review_page(options, examples, table, numbers)
    directories.clear(directory, (files.TABLE, files.SUMMARY, files.FIGURE, files.REVIEW))
    files.write_table(directory, table)
    outputs.write_json(directory / files.SUMMARY, summary)
    pictures.write_figure(directory / files.FIGURE, figure)
    outputs.write_text(directory / files.REVIEW, page)
    fields = {"script": files.SCRIPT, "arguments": vars(options), "score": score, "n_rows": len(table)}
    fields |= {"seed": options.seed, "n_review_rows": len(listed)}
    fields |= {name: recording.manifest[name] for name in ("task", "data") if name in recording.manifest}
    fields |= manifests.rows_fields(examples.frame)
    sources = [Path(name) for name in [*options.crossfit_dir, *options.cartography_dir]]
    manifests.write_manifest(directory, fields, sources)
    print(as_text(table, N_SHOWN))
    logger.info("%d of %d rows ranked by %s: %s.", summary["n_ranked"], len(table), score, summary["definition"])
    logger.info("Open %s in a browser to decide; %d rows are on it.", directory / files.REVIEW, len(listed))
    logger.info("Everything is in %s.", directory)


if __name__ == "__main__":
    sys.exit(helpers.run_script(main))
