"""All that an audit finds, as audit.json holds it and as its summary says it."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from datamap.audit import alike, resplit, scores, shares, shortcuts, summary
from datamap.audit.meetings import Meetings, Rows
from datamap.data.shown import shown_text

N_EXAMPLES = 3


@dataclasses.dataclass(frozen=True)
class Beside:
    """What was given beside the data, None where it was not.

    Attributes:
        scores: of `scores.scores_by_level`.
        alike: of `alike.alike_pairs`, with `split` and `other_split`.
        resplit: how the rows were split anew.
        ablations: of `shortcuts.read_ablation`, one an evaluation.
    """

    scores: pd.DataFrame | None = None
    alike: pd.DataFrame | None = None
    resplit: "resplit.Resplit | None" = None
    ablations: list[dict] = dataclasses.field(default_factory=list)


def findings(
    rows: Rows, meetings: Meetings, pairs: pd.DataFrame, groups: np.ndarray, by: list[str], beside: Beside
) -> tuple[dict[str, Any], list[str]]:
    """(what audit.json holds, the parts of the summary).

    Args:
        rows: of one or two splits.
        meetings: of these rows.
        pairs: of `pairs.pairs_table`.
        groups: of the rows by the levels `by`.
        by: names of levels.
        beside: what else was given.
    """
    levels, leading = shares.level_shares(rows, meetings), shares.leading_figures(rows, meetings)
    contradictory, grouped = shares.contradictory(rows, meetings), shares.group_figures(groups, by)
    lines = [summary.opening(leading, levels, is_qa=rows.is_qa)]
    if beside.scores is not None:
        lines.append(scores.sentence(beside.scores, rows.task))
    lines += [summary.level_lines(levels, is_qa=rows.is_qa), summary.contradiction_line(contradictory)]
    lines.append(summary.group_line(grouped))
    if beside.resplit is not None:
        lines.append(beside.resplit.sentence())
    found = shortcuts.shortcuts(rows, groups)
    lines += shortcuts.lines(found, beside.ablations)
    if beside.alike is not None:
        lines.append(summary.alike_line(beside.alike))
    known = {
        "task": rows.task,
        "splits": {name: int((rows.frame["split"] == name).sum()) for name in rows.splits},
        "summary": lines,
        "leading": leading,
        "levels": levels.to_dict("records"),
        "pairs": pair_counts(pairs, rows),
        "examples": examples(rows, pairs),
        "contradictions": contradictory,
        "groups": grouped,
        "shortcuts": found,
        "ablations": beside.ablations,
    }
    if beside.scores is not None:
        known["scores"] = beside.scores.to_dict("records")
    if beside.resplit is not None:
        known["resplit"] = {"asked": beside.resplit.asked, "share": beside.resplit.share}
    if beside.alike is not None:
        shown = beside.alike.head(alike.N_SHOWN).to_dict("records")
        known["alike"] = [pair | {"texts": texts(rows, pair)} for pair in shown]
    return known, lines


def pair_counts(pairs: pd.DataFrame, rows: Rows) -> dict[str, dict[str, int]]:
    """Pairs of `pairs.pairs_table` by level, within a split and across splits."""
    across = pairs["split"] != pairs["other_split"]
    return {
        name: {"within": int((~across & here).sum()), "across": int((across & here).sum())}
        for name, here in ((name, pairs["level"] == name) for name in rows.levels())
    }


def examples(rows: Rows, pairs: pd.DataFrame) -> dict[str, list[dict]]:
    """The first three pairs of every level with their texts; those across splits first."""
    found = {}
    is_within = (pairs["split"] == pairs["other_split"]).to_numpy()
    ordered = pairs.iloc[np.argsort(is_within, kind="stable")]
    for name in rows.levels():
        part = ordered[ordered["level"] == name].head(N_EXAMPLES).drop(columns="contradiction")
        found[name] = [pair | {"texts": texts(rows, pair)} for pair in part.to_dict("records")]
    return found


def texts(rows: Rows, pair: dict) -> list[dict]:
    """What a person reads of both rows of a pair."""
    ids, splits = rows.frame["id"], rows.frame["split"]
    shown = []
    for end in ("", "other_"):
        (row,) = rows.frame[(ids == pair[f"{end}id"]) & (splits == pair[f"{end}split"])].to_dict("records")
        shown.append(shown_text(row, rows.label_names))
    return shown
