"""The figure of a selection: every arm on the data map."""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from datamap.dynamics.plots import MAX_POINTS, REGION_COLOURS
from datamap.files.pictures import SMALL
from datamap.selection.selections import WEIGHED

BEHIND = "#DDDDDD"


def arms_on_the_map(metrics: pd.DataFrame, selected: pd.DataFrame, *, title: str, seed: int) -> Figure:
    """A panel an arm: the rows that it has, in the colours of their regions, over all others in grey.

    Above `MAX_POINTS` rows a random sample of that size is drawn, the same in every panel.

    Args:
        metrics: a row an example, at least one: id, region (one of REGIONS), variability, confidence.
        selected: id, arm, seed of the rows of each arm, of which the first seed's are shown; those without metrics have
            no point, and arms that differ from full by weights alone no panel.
        title: of the data.
        seed: of the sample.
    """
    ordered = metrics.sort_values("id", ignore_index=True)
    drawn = ordered.iloc[np.random.default_rng(seed).permutation(len(ordered))[:MAX_POINTS]]
    first = selected[(selected["seed"] == selected["seed"].iloc[0]) & ~selected["arm"].isin(WEIGHED)]
    by_arm = {arm: first["id"][first["arm"] == arm].tolist() for arm in dict.fromkeys(first["arm"])}
    n_columns = min(3, len(by_arm))
    n_lines = math.ceil(len(by_arm) / n_columns)
    figure = Figure(figsize=(4 * n_columns + 0.4, 3.6 * n_lines + 0.8), layout="constrained")
    size = float(np.clip(400 / np.sqrt(len(drawn)), 3, 25))
    x, y = drawn["variability"].to_numpy(), drawn["confidence"].to_numpy()
    colours = drawn["region"].map(REGION_COLOURS).to_numpy()
    for place, (arm, ids) in enumerate(by_arm.items()):
        axes = figure.add_subplot(n_lines, n_columns, place + 1)
        there = drawn["id"].isin(set(ids)).to_numpy()
        axes.scatter(x[~there], y[~there], s=size, c=BEHIND, linewidths=0, rasterized=True)
        axes.scatter(x[there], y[there], s=size, c=colours[there], alpha=0.8, linewidths=0, rasterized=True)
        axes.set(xlim=(-0.01, 0.51), ylim=(-0.02, 1.02))
        axes.set_title(f"{arm} ({len(ids):,})", fontsize=SMALL + 2, loc="left", parse_math=False)
        axes.tick_params(labelsize=SMALL)
        if place % n_columns == 0:
            axes.set_ylabel("confidence")
        if place + n_columns >= len(by_arm):
            axes.set_xlabel("variability")
    sample = f", {len(drawn):,} of {len(metrics):,} rows drawn" if len(drawn) < len(metrics) else ""
    figure.suptitle(
        f"{title}{sample}: blue easy-to-learn, orange ambiguous, black hard-to-learn; grey: not in the arm",
        fontsize=SMALL + 1,
        parse_math=False,
    )
    return figure
