"""Finished evaluations made by hand, as run.py leaves them."""

import numpy as np
import pandas as pd

from datamap.files import manifests, outputs

SETTINGS = {"max_answer_length": 30, "allow_no_answer": False, "null_score_threshold": 0.0, "precision": "float32"}


def rows(n_contexts=8, n_questions=3):
    """The source fields of a small QA data set."""
    return [
        {"id": f"{context}-{number}", "context": f"text {context}", "question": f"question {number}?",
         "answers": {"text": ["text"], "answer_start": [0]}}
        for context in range(n_contexts) for number in range(n_questions)
    ]  # fmt: skip


def scores(n_rows, seed, more=0.0):
    """f1 of every row in [0, 1], the same for the same seed, by `more` higher."""
    generator = np.random.default_rng(seed)
    return np.round(np.clip(generator.normal(0.6, 0.2, n_rows) + more, 0, 1), 3)


def evaluate(directory, f1, *, seed, of=None, steps=100, train_ids=("a", "b"), **other):
    """An evaluation with the f1 (nli: correct) of every row beside the training of its model.

    `other`: task, settings, trained_settings, ablations, trained_ablations, arguments of the training,
    eval_arguments, dataset, held_out.
    """
    of, task = of if of is not None else rows(), other.get("task", "qa")
    settings = SETTINGS | other.get("settings", {})
    predicted = [predicted_row(row, score, task) for row, score in zip(of, f1, strict=True)]
    outputs.write_jsonl(directory / outputs.EVAL_PREDICTIONS, predicted)
    outputs.write_json(directory / outputs.EVAL_METRICS, figures(predicted, task))
    outputs.write_json(directory / "trainer_state.json", {"global_step": steps})
    ids = [row["id"] for row in of]
    part = {"dataset": other.get("dataset", "dev.jsonl"), "split": "train", "n_rows": len(ids)}
    part |= {"held_out": other.get("held_out")}
    part["ids_sha256"] = manifests.ids_hash(ids)
    identity = {"weights": str(directory), "rows": manifests.ids_hash(map(str, of)), "ablations": "none"}
    said = {"script": "run.py", "task": task, "seed": seed}
    trained = {"ids_sha256": manifests.ids_hash(train_ids), "n_rows": len(train_ids), "dataset": "t", "split": "train"}
    training = said | {"ablations": other.get("trained_ablations", "none"), "data": {"train": trained}}
    training |= {"settings": settings | other.get("trained_settings", {}), "arguments": other.get("arguments", {})}
    evaluation = said | {"ablations": other.get("ablations", "none"), "data": {"eval": part}, "settings": settings}
    evaluation |= {"identity": identity, "evaluated_model": str(directory)}
    evaluation |= {"arguments": other.get("eval_arguments", {})}
    manifests.write_manifest(directory, evaluation, (), manifests.EVAL_MANIFEST)
    manifests.write_manifest(directory, training)
    return directory


def predicted_row(row, score, task):
    if task == "qa":
        return row | {"predicted_answer": "x", "predicted_score": 1.0, "em": float(score == 1), "f1": float(score)}
    return row | {"label_name": "yes", "predicted_label": "yes" if score else "no", "predicted_scores": {}}


def figures(predicted, task):
    frame = pd.DataFrame(predicted)
    if task == "qa":
        return {"eval_f1": 100 * frame["f1"].mean(), "eval_exact_match": 100 * frame["em"].mean()}
    return {"eval_accuracy": (frame["label_name"] == frame["predicted_label"]).mean()}
