"""Features of a run: windows or pairs for every purpose, the evaluation over them, and the resolved settings."""

import argparse
import logging

import pandas as pd

import outputs
from errors import UsageError
from evaluation import NliEvaluation, QaEvaluation
from helpers import N_BEST_SIZE, NULL_SCORE_THRESHOLD, resolve_doc_stride
from records import problems_frame
from windows import NliPairs, QaWindows

logger = logging.getLogger(__name__)


def prepare_qa(options: argparse.Namespace, data: dict, tokenizer, max_length: int, seed: int):
    """(windows by purpose, evaluation or None, resolved settings) for QA; `data` as from `load_data`."""
    doc_stride = resolve_doc_stride(options.doc_stride, max_length)
    windows = {
        purpose: QaWindows(part.frame, tokenizer, max_length, doc_stride, options.ablations, purpose == "train")
        for purpose, part in data.items()
    }
    trained = outputs.read_manifest(options.model).get("settings", {})
    longest = max(trained.get("longest_gold", 1), *(int(part.gold_lengths.max()) for part in windows.values()), 1)
    allow_no_answer = trained.get("allow_no_answer", False) or any(part.has_unanswerable for part in data.values())
    if options.null_score_threshold is not None and not allow_no_answer:
        raise UsageError("--null_score_threshold cannot act, these data have no unanswerable questions: leave it out.")
    search = {
        "max_answer_length": options.max_answer_length or longest,
        "n_best": (options.n_best_size or N_BEST_SIZE) if options.save_nbest else 1,
        "allow_no_answer": allow_no_answer,
        "null_score_threshold": options.null_score_threshold or NULL_SCORE_THRESHOLD,
    }
    logger.info("Answers of up to %d tokens (longest gold answer: %d).", search["max_answer_length"], longest)
    if allow_no_answer:
        logger.info("Some questions have no answer, so a prediction may be empty.")
    evaluation = QaEvaluation(data["eval"].frame, windows["eval"], seed=seed, **search) if "eval" in data else None
    return windows, evaluation, {"max_length": max_length, "doc_stride": doc_stride, "longest_gold": longest, **search}


def prepare_nli(options: argparse.Namespace, data: dict, tokenizer, max_length: int, seed: int):
    """(pairs by purpose, evaluation or None, resolved settings) for NLI; `data` as from `load_data`."""
    pairs = {purpose: NliPairs(part.frame, tokenizer, max_length, options.ablations) for purpose, part in data.items()}
    part = data.get("eval")
    evaluation = NliEvaluation(part.frame, part.label_names, seed=seed, merged=part.merged) if part else None
    return pairs, evaluation, {"max_length": max_length}


def list_problems(options: argparse.Namespace, data: dict, features: dict) -> dict[str, pd.DataFrame]:
    """All problems of the rows by purpose, those that only tokens show included, as a frame with PROBLEM_COLUMNS."""
    found = {}
    for purpose, part in data.items():
        rows = features[purpose].problems(options.max_answer_length) if options.task == "qa" else []
        listed = [(part.frame["id"].iloc[row], *problem) for row, *problem in rows]
        in_tokens = problems_frame(listed).assign(split=part.split)
        for problem, n_rows in in_tokens["problem"].value_counts().items():
            logger.info("%s, split %s: %s in %d rows.", part.name, part.split, problem, n_rows)
        together = pd.concat([part.problems, in_tokens], ignore_index=True).drop_duplicates()
        found[purpose] = together[outputs.PROBLEM_COLUMNS]
    return found
