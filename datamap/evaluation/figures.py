"""What evaluations and predictions of either task are made of: figures with their intervals, rows with their source."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from datamap.evaluation.metrics import bootstrap_interval

if TYPE_CHECKING:
    import pandas as pd

INTERNAL_COLUMNS = ("usable_for_training",)
PREDICTION_FIELDS = {"predicted_answer", "predicted_start", "predicted_score", "em", "f1", "null_score_diff"}
PREDICTION_FIELDS |= {"label_name", "predicted_label", "predicted_scores", "predicted_prob"}


def interval(name: str, values: np.ndarray, groups: np.ndarray, seed: int, scale: float) -> dict[str, float]:
    """95% bootstrap interval of a mean under resampling of whole groups, as `{name}_low` and `{name}_high`."""
    low, high = bootstrap_interval(values, groups, seed)
    return {f"{name}_low": low * scale, f"{name}_high": high * scale}


def source_fields(frame: "pd.DataFrame") -> Iterator[dict]:
    """The rows of a canonical frame as dicts, without the suite's own columns.

    A source column that has the name of a prediction's field is called source_NAME.
    """
    columns = [column for column in frame.columns if column not in INTERNAL_COLUMNS]
    names = [f"source_{column}" if column in PREDICTION_FIELDS else column for column in columns]
    for row in frame[columns].itertuples(index=False, name=None):
        yield dict(zip(names, row, strict=True))


def shown(title: str, name: str, figures: dict[str, float], digits: int) -> str:
    """A figure with its interval in words; the interval is left out where it is unknown (one context)."""
    value, low, high = (figures[f"eval_{name}{end}"] for end in ("", "_low", "_high"))
    interval = "" if np.isnan(low) else f" (95% interval {low:.{digits}f} to {high:.{digits}f})"
    return f"{title} {value:.{digits}f}{interval}"
