"""The figure of a ranking: score against rank by kind, and where the top suspects lie on the data map."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from datamap.files.pictures import SMALL
from datamap.labels.kinds import KINDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe-Ito colours, each with a marker of its own.
COLOURS = dict(zip(KINDS, ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#D55E00", "#000000"), strict=True))
MARKERS = dict(zip(KINDS, ("o", "^", "s", "D", "o", "X"), strict=True))
BACKGROUND, MAX_POINTS = "#C8C8C8", 20_000


def ranking(table: pd.DataFrame, *, title: str, score: str, n_marked: int, seed: int) -> Figure:
    """Score against rank, and the data map (variability across, confidence up) with the top suspects marked.

    Args:
        table: of suspects, the most suspicious first; `confidence` and `variability` may be missing.
        title: any text.
        score: what the score is, in words.
        n_marked: suspects that are marked on the map.
        seed: of the sample that is drawn behind them where there are more than 20,000 rows.
    """
    ranked = table[table["rank"].notna()]
    figure = Figure(figsize=(12, 6), layout="constrained")
    figure.suptitle(textwrap.fill(title, 100), fontsize=13, parse_math=False)
    left, right = figure.subplots(1, 2)
    _draw_scores(left, ranked)
    left.set_ylabel(f"suspicion: {textwrap.fill(score, 60)}", fontsize=SMALL)
    _draw_map(right, ranked, n_marked, seed)
    return figure


def _draw_scores(axes: "Axes", ranked: pd.DataFrame) -> None:
    """Every row by its rank (on a logarithmic axis) in the colour of its kind, and each kind's count."""
    for kind in (name for name in KINDS if (ranked["kind"] == name).any()):
        part = ranked[ranked["kind"] == kind]
        label = f"{kind.replace('_', ' ')} ({len(part):,})"
        axes.scatter(part["rank"].astype(float), part["score"], s=14, c=COLOURS[kind], marker=MARKERS[kind],
                     linewidths=0, alpha=0.8, label=label, rasterized=True)  # fmt: skip
    axes.set(xscale="log", ylim=(-0.02, 1.02), xlabel="rank (1 = most suspicious)")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_title(f"{len(ranked):,} rows, by kind", loc="left", fontsize=SMALL)
    axes.legend(fontsize=SMALL, loc="lower left", title="kind", title_fontsize=SMALL)
    axes.grid(alpha=0.3)


def _draw_map(axes: "Axes", ranked: pd.DataFrame, n_marked: int, seed: int) -> None:
    """All rows in grey and the top suspects in the colours of their kinds."""
    on_map = ranked[ranked["confidence"].notna()]
    rows = np.sort(np.random.default_rng(seed).permutation(len(on_map))[:MAX_POINTS])
    behind = on_map.iloc[rows]
    axes.scatter(behind["variability"], behind["confidence"], s=8, c=BACKGROUND, linewidths=0, rasterized=True)
    marked = on_map[on_map["rank"] <= n_marked]
    for kind in (name for name in KINDS if (marked["kind"] == name).any()):
        part = marked[marked["kind"] == kind]
        axes.scatter(part["variability"], part["confidence"], s=22, c=COLOURS[kind], marker=MARKERS[kind],
                     edgecolors="white", linewidths=0.4, label=f"{kind.replace('_', ' ')} ({len(part):,})")  # fmt: skip
    drawn = f", {len(behind):,} of them drawn" if len(behind) < len(on_map) else ""
    title = f"data map of {len(on_map):,} rows{drawn}; marked: the {len(marked):,} most suspicious"
    axes.set_title(title, loc="left", fontsize=SMALL)
    axes.set(xlim=(-0.01, 0.51), ylim=(-0.02, 1.02), xlabel="variability", ylabel="confidence")
    if len(marked):
        axes.legend(fontsize=SMALL, loc="upper right")
    axes.grid(alpha=0.3)
