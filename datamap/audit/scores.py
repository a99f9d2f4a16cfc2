"""What an evaluation scores on rows that training has seen in some form, and on those that share nothing with it."""

import numpy as np
import pandas as pd

from datamap.data.groups import LEVELS
from datamap.errors import DataError
from datamap.evaluation.metrics import bootstrap_interval

SEEN = ("exact", "normalised", "answer", "context", "contained")
FIGURES = {"qa": {"em": "EM", "f1": "F1"}, "nli": {"predicted_correct": "Accuracy"}}
SEED = 42


def scores_by_level(levels: np.ndarray, predicted: pd.DataFrame, groups: np.ndarray, task: str) -> pd.DataFrame:
    """The figures of an evaluation on all rows, on the seen ones, on the others, and level by level.

    Seen: the row meets training at one of the levels exact, normalised, answer, context or contained.

    Args:
        levels: the strongest level at which each row meets training, object [n].
        predicted: a row each: em and f1 (QA) or predicted_correct (NLI), in [0, 1].
        groups: rows of one context (NLI: premise) by number, int64 [n]; intervals draw whole ones.
        task: qa or nli.

    Returns:
        `rows` ("all", "seen", "not seen", then levels that have any), `n_rows`, and for each figure its mean in percent
        with `_low` and `_high` of a 95% bootstrap interval (1,000 draws, seed 42; missing where all rows are of one
        group).
    """
    seen = np.isin(levels, SEEN)
    parts = {"all": np.ones(len(levels), dtype=bool), "seen": seen, "not seen": ~seen}
    parts |= {name: levels == name for name in LEVELS}
    found = []
    for name, chosen in parts.items():
        if chosen.any():
            row: dict = {"rows": name, "n_rows": int(chosen.sum())}
            for figure in FIGURES[task]:
                values = predicted[figure].to_numpy(dtype=np.float64)[chosen]
                low, high = bootstrap_interval(values, groups[chosen], SEED)
                row |= {figure: 100 * values.mean(), f"{figure}_low": 100 * low, f"{figure}_high": 100 * high}
            found.append(row)
    return pd.DataFrame(found)


def refuse_unscored(predicted: pd.DataFrame, task: str) -> None:
    """DataError where a row has no score, or one outside [0, 1]."""
    for figure in FIGURES[task]:
        bad = ~predicted[figure].astype(np.float64).between(0, 1)
        if bad.any():
            name, value = predicted.loc[bad, ["id", figure]].to_numpy()[0]
            raise DataError(
                f"--predictions: the row {name} has the {figure} {value}, which does not lie between 0 and 1: give the "
                "eval_predictions.jsonl of an evaluation with labels, as run.py wrote it."
            )


def sentence(table: pd.DataFrame, task: str) -> str:
    """What a table of `scores_by_level` says first: the main figure in all, on seen rows and on the others."""
    figure, title = next(iter(FIGURES[task].items()))
    shown = {row["rows"]: _with_interval(row, figure) for row in table.to_dict("records")}
    n_rows = dict(zip(table["rows"], table["n_rows"], strict=True))
    what = "whose context training has" if task == "qa" else "that share a sentence with training"
    what += ", whole or in part"
    told = f"{title} {shown['all']} in all {n_rows['all']:,}"
    if "seen" in shown:
        told += f"; {shown['seen']} on the {n_rows['seen']:,} rows {what}"
    if "not seen" in shown:
        told += f"; {shown['not seen']} on the {n_rows['not seen']:,} others"
    if "none" in shown and n_rows["none"] != n_rows.get("not seen"):
        told += f", {shown['none']} on the {n_rows['none']:,} that share nothing"
    return f"{told} (95% intervals)."


def _with_interval(row: dict, figure: str) -> str:
    low, high = row[f"{figure}_low"], row[f"{figure}_high"]
    interval = "of one group, so no interval" if np.isnan(low) else f"{low:.1f} to {high:.1f}"
    return f"{row[figure]:.1f} ({interval})"
