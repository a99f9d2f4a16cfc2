"""How many rows meet others, at which level at most, across splits and within one."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from datamap.audit.meetings import NONE, Level, Meetings, Rows
from datamap.evaluation.contradictions import contradicted, label_numbers

COPIES = ("exact", "normalised")


def level_shares(rows: Rows, meetings: Meetings) -> pd.DataFrame:
    """Rows by the strongest level at which they meet another one: `scope` (across, within), `split`, `level`, `rows`,
    `share` of the split's rows in [0, 1]; every level of the task and "none", also without rows.
    """
    side = rows.side
    found = []
    for scope in ("across", "within") if len(rows.splits) > 1 else ("within",):
        levels = meetings.of_rows(side, across=scope == "across")
        for number, split in enumerate(rows.splits):
            mine = levels[side == number]
            for name in (*rows.levels(), NONE):
                count = int((mine == name).sum())
                found.append((scope, split, name, count, count / max(len(mine), 1)))
    return pd.DataFrame(found, columns=["scope", "split", "level", "rows", "share"])


def met_whole(level: Level, side: np.ndarray) -> np.ndarray:
    """Whether all groups that a row is in have rows of the other side, bool [n]: both sentences of an NLI pair."""
    n_groups = int(level.group.max(initial=-1)) + 1
    counts = np.stack([np.bincount(level.group[side[level.row] == one], minlength=n_groups) for one in (0, 1)])
    misses = counts[1 - side[level.row], level.group] == 0
    n_misses = np.bincount(level.row, weights=misses, minlength=len(side))
    return (n_misses == 0) & (np.bincount(level.row, minlength=len(side)) > 0)


def leading_figures(rows: Rows, meetings: Meetings) -> dict:
    """What the first sentence says of the rows that are judged: those of the second split or of the only one.

    Returns:
        `split`, `other` (None with one split), `n_rows`, and shares in [0, 1]: `copies` (exact or normalised),
        `context` (same context at least; NLI: a sentence), `both` (NLI across splits: both sentences), `none`.
    """
    side, is_across = rows.side, len(rows.splits) > 1
    judged = side == side.max()
    strongest = meetings.of_rows(side, across=is_across)[judged]
    same_context = meetings.levels["context"].met(side, across=is_across)[judged]
    found = {
        "split": rows.splits[-1],
        "other": rows.splits[0] if is_across else None,
        "n_rows": int(judged.sum()),
        "copies": float(np.isin(strongest, COPIES).mean()),
        "context": float(same_context.mean()),
        "none": float((strongest == NONE).mean()),
    }
    if is_across and not rows.is_qa:
        found["both"] = float(met_whole(meetings.levels["context"], side)[judged].mean())
    return found


def contradictory(rows: Rows, meetings: Meetings) -> dict:
    """Rows whose texts stand in the data with another label: numbers, and groups of at most ten examples.

    Returns:
        `rows` by level: exact (byte for byte) and normalised (those too), in all splits together; `examples`: ids with
        their splits and labels of the first ten groups.
    """
    label = label_numbers(rows.frame)
    found = {name: contradicted(meetings.keys[name], label) for name in COPIES}
    keys = meetings.keys["normalised"][found["normalised"]]
    frame = rows.frame[found["normalised"]]
    examples = [
        [{"id": row["id"], "split": row["split"], "label": shown_label(row, rows.label_names)} for row in part]
        for part in (part.to_dict("records") for _, part in list(frame.groupby(keys, sort=False))[:10])
    ]
    return {"rows": {name: int(here.sum()) for name, here in found.items()}, "examples": examples}


def shown_label(row: dict, label_names: Sequence[str]) -> str:
    """A row's label as a person reads it; "" for no answer."""
    return label_names[row["label"]] if "label" in row else (row["answers"]["text"] or [""])[0]


def group_figures(groups: np.ndarray, levels: Sequence[str]) -> dict:
    """How many groups the rows are in, by which levels, and how large the largest is."""
    sizes = np.bincount(groups)
    return {"levels": list(levels), "n_groups": len(sizes), "largest": int(sizes.max()),
            "largest_share": float(sizes.max() / len(groups))}  # fmt: skip
