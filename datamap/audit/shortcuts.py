"""What gives labels and answers away without reading, put together for a task, and said in a few lines."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from datamap.audit import answers, giveaways
from datamap.audit.meetings import Rows
from datamap.audit.scores import SEED
from datamap.errors import DataError
from datamap.files import outputs
from datamap.files.manifests import EVAL_MANIFEST, read_manifest

N_LISTED = 6
ABLATION_FIGURES = {"qa": ("eval_exact_match", "eval_f1"), "nli": ("eval_accuracy",)}


def shortcuts(rows: Rows, groups: np.ndarray) -> dict[str, Any]:
    """What audit.json says of shortcuts, in the rows of the first split.

    Args:
        rows: of one or two splits.
        groups: of all rows, int64 [n]; what is measured out of fold keeps them whole, but for those larger than a fold.
    """
    is_first = rows.side == 0
    frame = rows.frame[is_first].reset_index(drop=True)
    if rows.is_qa:
        judged = rows.frame[~is_first].reset_index(drop=True) if len(rows.splits) > 1 else None
        return {
            "places": answers.places(frame),
            "lengths": answers.lengths(frame),
            "overlaps": answers.overlaps(frame),
            "frequent_answers": answers.frequent_answers(frame, judged),
        }
    hypotheses, labels, ids = frame["hypothesis"].tolist(), frame["label"].to_numpy(), frame["id"].tolist()
    kept = cut_by_premise(groups[is_first], frame["premise"], giveaways.N_FOLDS)
    table, n_tests = giveaways.giveaways(hypotheses, labels, rows.label_names, ids)
    return {
        "giveaways": table.to_dict("records"),
        "n_tests": n_tests,
        "by_label": giveaways.by_label(frame, rows.label_names).to_dict("records"),
        "hypothesis_alone": giveaways.hypothesis_alone(hypotheses, labels, ids, kept, SEED),
    }


def cut_by_premise(groups: np.ndarray, premises: pd.Series, n_folds: int) -> np.ndarray:
    """The groups, but those larger than a fold cut by premise, int64 [n]: shared sentences may join nearly all rows."""
    groups = pd.factorize(groups)[0]
    is_large = np.bincount(groups)[groups] > len(groups) / n_folds
    return np.where(is_large, len(groups) + pd.factorize(premises)[0], groups).astype(np.int64)


def read_ablation(directory: Path) -> dict[str, Any]:
    """What an evaluation with an ablation says: `directory`, `ablation`, and its figures.

    Raises:
        DataError: there is no finished evaluation.
    """
    manifest = read_manifest(directory, EVAL_MANIFEST)
    if "task" not in manifest:
        raise DataError(f"--ablation_dirs {directory} holds no finished evaluation ({EVAL_MANIFEST}): evaluate first.")
    figures = outputs.read_json(directory / outputs.EVAL_METRICS)
    names = ABLATION_FIGURES[manifest["task"]]
    if not isinstance(figures, dict) or any(name not in figures for name in names):
        raise DataError(f"{directory / outputs.EVAL_METRICS} lacks {', '.join(names)}: evaluate again.")
    return {"directory": str(directory), "ablation": manifest.get("ablations") or "none"} | {
        name: figures[name] for name in names
    }


def lines(found: dict[str, Any], ablations: list[dict[str, Any]]) -> list[str]:
    """The shortcuts in at most eight lines."""
    told = _qa_lines(found) if "places" in found else _nli_lines(found)
    for one in ablations:
        figures = ", ".join(f"{name.removeprefix('eval_')} {one[name]:.4g}" for name in one if name.startswith("eval_"))
        told.append(f"Evaluated with --ablations {one['ablation']}: {figures} ({one['directory']}).")
    return told


def _qa_lines(found: dict[str, Any]) -> list[str]:
    places, overlaps, frequent = found["places"], found["overlaps"], found["frequent_answers"]
    told = []
    if places["n_rows"]:
        told.append(
            f"Answers start in the first sentence in {places['first_sentence_share']:.1%} of the rows (a random place: "
            f"{places['first_sentence_chance']:.1%}), in the first tenth of the context in "
            f"{places['decile_shares'][0]:.1%} (random: {places['decile_chances'][0]:.1%})."
        )
    if overlaps["n_rows"]:
        told.append(
            f"The sentence that shares most words with the question holds the answer in {overlaps['share']:.1%} of the "
            f"rows (a random sentence: {overlaps['chance']:.1%})."
        )
    first, constant = frequent["top"][0], frequent["constant"]
    text = json.dumps(first["answer"], ensure_ascii=False)
    told.append(
        f"{frequent['n_distinct']:,} distinct answers; always answering {text} ({first['share']:.1%} of the rows) "
        f"scores EM {constant['exact_match']:.2f}, F1 {constant['f1']:.2f}."
    )
    return told


def _nli_lines(found: dict[str, Any]) -> list[str]:
    alone = found["hypothesis_alone"]
    if alone["accuracy"] is None:
        told = [f"What the hypothesis alone gives away was not measured: {alone['why_not']}."]
    else:
        low, high = (f"{100 * alone[name]:.1f}" for name in ("accuracy_low", "accuracy_high"))
        told = [
            f"A bag of words of the hypothesis alone finds {alone['accuracy']:.1%} of the labels out of fold (95% "
            f"interval {low} to {high}); the most frequent label is {alone['majority_share']:.1%}."
        ]
    listed = found["giveaways"]
    told.append(f"{len(listed)} words and word pairs give a label away ({found['n_tests']:,} tests, Bonferroni at 5%).")
    for one in listed[:N_LISTED]:
        share = f"{one['share']:.0%} {one['label']} in {one['n_rows']:,} rows ({one['label_share']:.0%} in all)"
        told.append(f'  "{one["text"]}": {share}, p {one["p_adjusted"]:.1g}')
    return told
