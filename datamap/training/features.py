"""Features of a run: windows or pairs for every purpose, the evaluation over them, and the resolved settings."""

import argparse
import logging
from typing import TYPE_CHECKING, Any

import pandas as pd

from datamap.data.records import problems_frame
from datamap.errors import UsageError
from datamap.evaluation.nli import NliEvaluation, NliPrediction
from datamap.evaluation.qa import QaEvaluation, QaPrediction
from datamap.features.lengths import resolve_doc_stride
from datamap.features.windows import NliPairs, QaWindows
from datamap.files import manifests, outputs
from datamap.options.defaults import N_BEST_SIZE, NULL_SCORE_THRESHOLD

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger(__name__)

PREDICTED_ANSWER_LENGTH = 30  # tokens, where the model does not say what it was trained for


def prepare_qa(
    options: argparse.Namespace, data: dict, tokenizer: "PreTrainedTokenizerFast", max_length: int, seed: int
) -> tuple[dict, Any, dict]:
    """(windows by purpose, evaluation, prediction or None, resolved settings) for QA; `data` as from `load_data`."""
    doc_stride = resolve_doc_stride(options.doc_stride, max_length)
    windows = {
        purpose: QaWindows(part.frame, tokenizer, max_length, doc_stride, options.ablations, purpose == "train")
        for purpose, part in data.items()
    }
    trained = manifests.read_manifest(options.model).get("settings", {})
    longest = max(trained.get("longest_gold", 1), *(int(part.gold_lengths.max()) for part in windows.values()), 1)
    allow_no_answer = trained.get("allow_no_answer", False) or any(part.has_unanswerable for part in data.values())
    if options.null_score_threshold is not None and not allow_no_answer:
        whose = "model was trained on" if "predict" in data else "data have"
        raise UsageError(f"--null_score_threshold cannot act, the {whose} no unanswerable questions: leave it out.")
    search = {
        "max_answer_length": options.max_answer_length or longest,
        "n_best": (options.n_best_size or N_BEST_SIZE) if options.save_nbest else 1,
        "allow_no_answer": allow_no_answer,
        "null_score_threshold": options.null_score_threshold or NULL_SCORE_THRESHOLD,
    }
    settings = {"max_length": max_length, "doc_stride": doc_stride, "longest_gold": longest}
    if "predict" in data:
        search |= trained_search(options, trained)
        logger.info("Answers of up to %d tokens.", search["max_answer_length"])
    else:
        logger.info("Answers of up to %d tokens (longest gold answer: %d).", search["max_answer_length"], longest)
    if allow_no_answer:
        logger.info("Some questions have no answer, so a prediction may be empty.")
    looking: QaEvaluation | QaPrediction | None = None
    if "predict" in data:
        looking = QaPrediction(data["predict"].frame, windows["predict"], **search)
    elif "eval" in data:
        looking = QaEvaluation(data["eval"].frame, windows["eval"], seed=seed, **search)
    return windows, looking, settings | search


def trained_search(options: argparse.Namespace, trained: dict) -> dict:
    """Answer length (tokens) and null score threshold (logits) of a prediction: as asked for, else as trained."""
    length = options.max_answer_length or trained.get("max_answer_length", PREDICTED_ANSWER_LENGTH)
    threshold = options.null_score_threshold
    kept = trained.get("null_score_threshold", NULL_SCORE_THRESHOLD)
    return {"max_answer_length": length, "null_score_threshold": kept if threshold is None else threshold}


def prepare_nli(
    options: argparse.Namespace, data: dict, tokenizer: "PreTrainedTokenizerFast", max_length: int, seed: int
) -> tuple[dict, Any, dict]:
    """(pairs by purpose, evaluation, prediction or None, resolved settings) for NLI; `data` as from `load_data`."""
    pairs = {purpose: NliPairs(part.frame, tokenizer, max_length, options.ablations) for purpose, part in data.items()}
    if "predict" in data:
        part = data["predict"]
        return pairs, NliPrediction(part.frame, part.label_names), {"max_length": max_length}
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
