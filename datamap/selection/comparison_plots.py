"""The figures of a comparison."""

import pandas as pd
from matplotlib.figure import Figure

from datamap.files.pictures import SMALL
from datamap.selection.ablation_matrix import ABLATIONS
from datamap.selection.evaluations import METRICS
from datamap.selection.power import ALPHA, POWER
from datamap.selection.receipts import Receipt

# Okabe and Ito's blue and orange, told apart by lightness too; the mark's form says the same.
SHOWN, NOT_SHOWN, BAND = "#0072B2", "#D55E00", "#E3E3E3"


def differences(found: Receipt) -> Figure:
    """Every arm's difference to the control with its interval, on the band of differences too small to be found."""
    arms = found.others
    figure = Figure(figsize=(8, 2.4 + 0.5 * len(arms)), layout="constrained")
    axes = figure.subplots()
    axes.use_sticky_edges = False  # bands end inside the figure
    for row, arm in enumerate(arms):
        one = arm.difference
        if one is None:
            continue
        if one.standard_error:
            label = f"smaller than {POWER:.0%} of such experiments find" if row == 0 else None
            axes.barh(row, 2 * arm.detectable, left=-arm.detectable, height=0.7, color=BAND, label=label, zorder=1)
            axes.plot(one.interval(), [row, row], color=_colour(arm.p_holm), linewidth=2, zorder=3)
        marker = "D" if arm.p_holm < ALPHA else "o"
        axes.plot(one.mean, row, marker, color=_colour(arm.p_holm), zorder=4)
        axes.annotate(
            f"{one.mean:+.1f}", (one.mean, row), (0, 7), textcoords="offset points", ha="center", fontsize=SMALL
        )
    axes.axvline(0, color="black", linewidth=1, zorder=2)
    names = [f"{arm.name}\n{arm.difference.how}" if arm.difference else arm.name for arm in arms]
    axes.set_yticks(range(len(arms)), names, parse_math=False)
    axes.set_ylim(len(arms) - 0.4, -0.6)
    title = METRICS[found.metric].title
    axes.set_xlabel(f"{title}, points above {found.control} (95% interval)", parse_math=False)
    axes.set_title(f"{title} of every arm held against {found.control}", parse_math=False)
    axes.plot([], [], "D-", color=SHOWN, label="a difference is shown")
    axes.plot([], [], "o-", color=NOT_SHOWN, label="none is shown")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False)
    return figure


def matrix(table: pd.DataFrame, metric: str) -> Figure:
    """The cells of `ablation_matrix.matrix` with their intervals, trainings down, evaluations across."""
    figure = Figure(figsize=(6.4, 5), layout="constrained")
    axes = figure.subplots()
    means = table["mean"].to_numpy().reshape(len(ABLATIONS), len(ABLATIONS))
    image = axes.imshow(means, cmap="cividis", vmin=0, vmax=100)
    for number, row in enumerate(table.to_dict("records")):
        text = f"{row['mean']:.1f}\n{row['low']:.1f} to {row['high']:.1f}"
        place = number % len(ABLATIONS), number // len(ABLATIONS)
        colour = "black" if row["mean"] > 50 else "white"
        axes.text(*place, text, ha="center", va="center", fontsize=SMALL, color=colour)
    axes.set_xticks(range(len(ABLATIONS)), ABLATIONS)
    axes.set_yticks(range(len(ABLATIONS)), ABLATIONS)
    axes.set_xlabel("evaluated with --ablations")
    axes.set_ylabel("trained with --ablations")
    axes.set_title(f"{METRICS[metric].title} by what was hidden")
    figure.colorbar(image, label=f"{METRICS[metric].title}, points")
    return figure


def _colour(p_holm: float) -> str:
    return SHOWN if p_holm < ALPHA else NOT_SHOWN
