"""Nine evaluations as a matrix: what was hidden in training beside what was hidden in the evaluation."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from datamap.errors import UsageError
from datamap.selection.differences import LEVEL, clustered_variance
from datamap.selection.evaluations import METRICS, Run

ABLATIONS = ("none", "q_only", "p_only")


def cell_of(run: Run) -> tuple[str | None, str]:
    """(what training hid, what the evaluation hid), as --ablations names it."""
    return run.training.get("ablations"), run.manifest["ablations"]


def refuse_other_cells(runs: Sequence[Run]) -> None:
    """UsageError unless every cell of the matrix has one run."""
    seen: dict[tuple, Run] = {}
    for run in runs:
        cell = cell_of(run)
        if cell[0] is None:
            raise UsageError(f"{run.directory}: its model has no training of run.py, so that it belongs to no cell.")
        if cell in seen:
            where = f"trained with --ablations {cell[0]} and evaluated with {cell[1]}"
            raise UsageError(f"{seen[cell].directory} and {run.directory} are both {where}: give one for each cell.")
        seen[cell] = run


def matrix(runs: Sequence[Run], scores: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """comparison.csv of a matrix: a row a cell, in the order of ABLATIONS.

    Args:
        runs: one a cell.
        scores: of `evaluations.shared`, one a run.

    Returns:
        `trained`, `evaluated`, `mean` in points, `low` and `high` of its 95% t interval by context (NaN where all rows
        have one), `n_rows`, `seed`, `directory`.
    """
    rows = []
    for run, frame in zip(runs, scores, strict=True):
        trained, evaluated = cell_of(run)
        values, groups = frame["score"].to_numpy(), pd.factorize(frame["group"])[0]
        reach = float("nan")
        if groups.max() > 0:
            bound = float(stats.t.ppf((1 + LEVEL) / 2, int(groups.max())))
            reach = bound * float(np.sqrt(clustered_variance(values, groups)))
        row = {"trained": trained, "evaluated": evaluated, "mean": values.mean()}
        row |= {"low": values.mean() - reach, "high": values.mean() + reach}
        rows.append(row | {"n_rows": len(frame), "seed": run.seed, "directory": str(run.directory)})
    rows.sort(key=lambda row: (ABLATIONS.index(row["trained"]), ABLATIONS.index(row["evaluated"])))
    return pd.DataFrame(rows)


def shown_matrix(table: pd.DataFrame, metric: str) -> str:
    """The matrix as stdout shows it: trainings down, evaluations across, with intervals."""
    lines = []
    for trained in ABLATIONS:
        part = table[table["trained"] == trained].to_dict("records")
        cells = {row["evaluated"]: f"{row['mean']:.1f} ({row['low']:.1f} to {row['high']:.1f})" for row in part}
        lines.append({"trained with": trained} | {f"evaluated with {name}": cells[name] for name in ABLATIONS})
    head = f"{METRICS[metric].title} in points of 100 by --ablations, 95% t intervals; one training a row, so that "
    return f"{pd.DataFrame(lines).to_string(index=False)}\n\n{head}seeds are not covered."
