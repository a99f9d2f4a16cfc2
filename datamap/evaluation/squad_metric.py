"""Exact match and F1 of extracted answers as an `evaluate.Metric` that needs no network.

`SquadMetric().compute(predictions=..., references=...)` takes the rows of the stock squad metric, unanswerable
ones included (squad_v2's column no_answer_probability has no place here), and returns the figures of
`metrics.squad_summary`. `evaluate.load` with the path of this file gives the same class, as long as
`metrics.py` beside it can be imported.
"""

from typing import Any

import datasets
import evaluate
import numpy as np

from datamap.evaluation.metrics import squad_scores, squad_summary

_DESCRIPTION = "Exact match and token F1 as in the SQuAD v1.1 and v2.0 evaluation scripts, in percent."

_INPUTS = """
predictions: rows {"id": str, "prediction_text": str}, "" = no answer.
references: rows {"id": str, "answers": {"text": [str], "answer_start": [int]}}, empty lists = unanswerable.
Rows are matched by id, in any order.
"""


class SquadMetric(evaluate.Metric):
    """Scores of answer texts against all gold answers, joined by id.

    The no-answer decision is the caller's: a prediction is "" where the model holds the question unanswerable
    (the best threshold is `metrics.best_null_threshold`). One unanswerable reference makes the SQuAD
    v2.0 rule hold for all rows, otherwise it is v1.1's (see `metrics.best_over_golds`).
    """

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        answers = {"text": datasets.List(text), "answer_start": datasets.List(datasets.Value("int64"))}
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="arXiv 1606.05250, arXiv 1806.03822",
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": {"id": text, "prediction_text": text},
                    "references": {"id": text, "answers": answers},
                }
            ),
        )

    def compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict | None:
        """As `evaluate.Metric.compute`; unlike it, different numbers of rows are told apart by id."""
        if predictions is not None and references is not None:
            _check_ids(predictions, references)
        return super().compute(predictions=predictions, references=references, **kwargs)

    def _compute(self, predictions: list[dict], references: list[dict]) -> dict[str, float]:
        """Figures of `metrics.squad_summary`; ValueError that names an id where the ids do not match."""
        _check_ids(predictions, references)
        text_by_id = {row["id"]: row["prediction_text"] for row in predictions}
        texts = [text_by_id[row["id"]] for row in references]
        golds = [row["answers"]["text"] for row in references]
        unanswerable = np.array([len(answers) == 0 for answers in golds])
        em, f1 = squad_scores(texts, golds, has_unanswerable=bool(unanswerable.any()))
        return squad_summary(em, f1, unanswerable)


def _check_ids(predictions: list[dict], references: list[dict]) -> None:
    """Raises a ValueError unless every id stands once in the predictions and once in the references."""
    predicted_ids = _distinct_ids(predictions, "predictions")
    reference_ids = _distinct_ids(references, "references")
    missing, extra = reference_ids - predicted_ids, predicted_ids - reference_ids
    if missing:
        raise ValueError(f"references without a prediction: {len(missing)}, first id {min(missing)!r}")
    if extra:
        raise ValueError(f"predictions without a reference: {len(extra)}, first id {min(extra)!r}")


def _distinct_ids(rows: list[dict], name: str) -> set[str]:
    ids = set()
    for row in rows:
        if row["id"] in ids:
            raise ValueError(f"id {row['id']!r} stands twice in the {name}")
        ids.add(row["id"])
    return ids
