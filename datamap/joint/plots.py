"""The figures of the joint analysis: frames in, a matplotlib Figure out; no file is written.

Text that comes from data is drawn as it is: a "$" in it never starts a formula.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from datamap.clusters.files import NOISE
from datamap.dynamics.measures import REGIONS
from datamap.dynamics.plots import (  # fmt: skip
    MAX_POINTS,
    NAME_LENGTH,
    NEUTRAL,
    REGION_COLOURS,
    REGION_NAMES,
    shortened,
)
from datamap.files.pictures import BOX_NOTE, BOX_STYLE, SMALL

# More rows than this cannot be read on one page.
MAX_CLUSTERS = 20
UNTRACKED_COLOUR = "#D9D9D9"
# Width and height that the number of a cluster takes, as shares of the range of the coordinates.
_NUMBER_SIZE = np.array([0.045, 0.035])
BOX_METRICS = ("confidence", "variability", "correctness")


def shown_clusters(tracked: pd.DataFrame) -> list[int]:
    """The clusters that figures show: all, or those 20 whose number of hard examples is farthest from chance.

    Chance is the cluster's size times the share of hard rows among all. The cluster with the highest share of hard rows
    comes first, of equal ones the larger; noise is not among them.

    Args:
        tracked: a row an example with metrics: cluster, region.
    """
    is_hard = tracked["region"] == "hard"
    rows = is_hard[tracked["cluster"] != NOISE].groupby(tracked["cluster"])
    counts = pd.DataFrame({"hard": rows.sum(), "size": rows.size()})
    distance = (counts["hard"] - counts["size"] * is_hard.mean()).abs()
    chosen = counts.iloc[np.lexsort((-counts["size"], -distance))[:MAX_CLUSTERS]]
    return chosen.iloc[np.lexsort((-chosen["size"], -chosen["hard"] / chosen["size"]))].index.tolist()


def _chosen_note(tracked: pd.DataFrame, n_shown: int) -> str:
    """What is said of the choice of clusters."""
    n_clusters = tracked.loc[tracked["cluster"] != NOISE, "cluster"].nunique()
    if n_shown == n_clusters:
        return f"all {n_clusters} clusters, the highest share of hard examples on top"
    return (
        f"{n_shown} of {n_clusters} clusters: those whose number of hard examples is farthest from chance,\n"
        "the highest share of hard examples on top"
    )


def _row_names(tracked: pd.DataFrame, clusters: Sequence[int]) -> list[str]:
    """One line a cluster (or noise): number, words, number of rows."""
    sizes = tracked.groupby("cluster").size()
    words = tracked.groupby("cluster")["words"].first()
    names = []
    for cluster in clusters:
        name = f"{cluster}: {words[cluster]}" if words[cluster] else f"cluster {cluster}"
        name = "noise" if cluster == NOISE else shortened(name, NAME_LENGTH)
        names.append(f"{name} ({sizes[cluster]:,})")
    return names


def _with_noise(tracked: pd.DataFrame) -> list[int]:
    """The clusters to show, and noise below them where there is any."""
    return shown_clusters(tracked) + ([NOISE] if (tracked["cluster"] == NOISE).any() else [])


def category_cluster_heatmap(tracked: pd.DataFrame) -> Figure:
    """The share of each region in every cluster, with counts; noise and all examples below.

    Args:
        tracked: a row an example with metrics, at least one: cluster (−1 = noise), words, region (one of REGIONS). Of
            more than 20 clusters those of `shown_clusters` are drawn, and the figure says so.
    """
    clusters = _with_noise(tracked)
    counts = pd.crosstab(tracked["cluster"], tracked["region"]).reindex(columns=list(REGIONS), fill_value=0)
    counts = np.vstack([counts.loc[clusters].to_numpy(), counts.to_numpy().sum(axis=0)])
    shares = counts / counts.sum(axis=1, keepdims=True)
    names = [*_row_names(tracked, clusters), f"all ({len(tracked):,})"]
    figure = Figure(figsize=(9, 2 + 0.34 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        ink = "white" if share > 0.55 else "black"
        text = f"{share:.0%} ({counts[row, column]:,})"
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=SMALL)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_xticks(range(len(REGIONS)), [REGION_NAMES[region] for region in REGIONS])
    axes.axhline(len(names) - 1.5, color="black", linewidth=1)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    n_shown = sum(cluster != NOISE for cluster in clusters)
    figure.suptitle(_chosen_note(tracked, n_shown), fontsize=SMALL)
    bar = figure.colorbar(image, ax=axes, format=PercentFormatter(1), pad=0.02)
    bar.set_label("share of the row's examples")
    return figure


def metrics_by_cluster_boxplot(tracked: pd.DataFrame) -> Figure:
    """How confidence, variability and correctness spread in every cluster: a row a cluster, noise at the bottom.

    Boxes reach from the 25th to the 75th percentile, whiskers from the 5th to the 95th; the line is the median, the
    dotted one that of all examples.

    Args:
        tracked: a row an example with metrics, at least one: cluster (−1 = noise), words, region, confidence,
            variability, correctness. Of more than 20 clusters those of `shown_clusters` are drawn, and the figure
            says so.
    """
    clusters = _with_noise(tracked)
    names = _row_names(tracked, clusters)
    figure = Figure(figsize=(13, 2 + 0.34 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(BOX_METRICS), sharey=True)
    members = dict(list(tracked.groupby("cluster")))
    for axes, metric in zip(panels, BOX_METRICS, strict=True):
        drawn = axes.boxplot(
            [members[cluster][metric].to_numpy() for cluster in clusters],
            positions=range(len(clusters)),
            orientation="horizontal",
            widths=0.6,
            **BOX_STYLE,
        )
        for box, cluster in zip(drawn["boxes"], clusters, strict=True):
            box.set(facecolor=UNTRACKED_COLOUR if cluster == NOISE else "#9CC3DE")
        axes.axvline(tracked[metric].median(), color=NEUTRAL, linestyle=":", linewidth=1.5)
        axes.set(xlim=(-0.01, 0.51) if metric == "variability" else (-0.02, 1.02), xlabel=metric)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(names)), names, parse_math=False)
    panels[0].invert_yaxis()
    note = _chosen_note(tracked, sum(cluster != NOISE for cluster in clusters))
    figure.suptitle(
        f"{note}\n{BOX_NOTE}; dotted: median of all examples",
        fontsize=SMALL,
    )
    return figure


def integrated_scatter(unified: pd.DataFrame, *, seed: int) -> Figure:
    """The clusters' coordinates, coloured by region and beside it by confidence; untracked examples grey underneath.

    The numbers of the clusters of `shown_clusters` stand near the median of their members. Above `MAX_POINTS` rows a
    random sample of that size is drawn, and the figure says so. The order of the rows changes nothing.

    Args:
        unified: a row an example, at least one tracked: id, x, y (finite), cluster (−1 = noise), region (missing where
            untracked), confidence in [0, 1].
        seed: of the sample and of the order in which points are drawn over each other.
    """
    ordered = unified.sort_values("id", kind="stable")
    drawn = ordered.iloc[np.random.default_rng(seed).permutation(len(ordered))[:MAX_POINTS]]
    is_tracked = drawn["region"].notna()
    points = drawn[is_tracked]
    figure = Figure(figsize=(14, 7), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    size = float(np.clip(1200 / np.sqrt(len(drawn)), 5, 30))
    style = {"s": size, "linewidths": 0}
    for axes in (left, right):
        axes.scatter(drawn.loc[~is_tracked, "x"], drawn.loc[~is_tracked, "y"], color=UNTRACKED_COLOUR, **style)
        axes.set(xticks=[], yticks=[])
    left.scatter(points["x"], points["y"], c=points["region"].map(REGION_COLOURS).tolist(), alpha=0.7, **style)
    image = right.scatter(points["x"], points["y"], c=points["confidence"], cmap="viridis", vmin=0, vmax=1, **style)
    figure.colorbar(image, ax=right, pad=0.01, label="confidence (mean gold probability over epochs)")
    for axes in (left, right):
        _number_clusters(axes, unified)
    figure.legend(handles=_region_handles(unified), loc="outside lower left", ncols=len(REGIONS) + 1)
    left.set_title("coloured by region", loc="left")
    right.set_title("coloured by confidence", loc="left")
    figure.suptitle(_scatter_note(unified, len(drawn), seed), fontsize=SMALL)
    return figure


def _number_clusters(axes: Axes, unified: pd.DataFrame) -> None:
    """Write the numbers of the shown clusters near the median of their members, on free places among them."""
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "black", "linewidth": 0.5, "alpha": 0.85}
    size = _NUMBER_SIZE * np.ptp(unified[["x", "y"]].to_numpy(), axis=0)
    taken = np.empty((0, 2))
    for cluster in shown_clusters(unified[unified["region"].notna()]):
        spots = unified.loc[unified["cluster"] == cluster, ["x", "y"]].to_numpy()
        spots = spots[np.argsort(np.hypot(*(spots - np.median(spots, axis=0)).T), kind="stable")]
        free = (np.abs(spots[:, None] - taken) > size).any(axis=2).all(axis=1)
        spot = spots[free.argmax()]
        taken = np.vstack([taken, spot])
        axes.text(*spot, str(cluster), ha="center", va="center", fontsize=SMALL, bbox=box)


def _region_handles(unified: pd.DataFrame) -> list[Line2D]:
    """Legend entries with the regions' numbers of examples."""
    counts = unified["region"].value_counts()
    entries = [(REGION_NAMES[region], REGION_COLOURS[region], int(counts.get(region, 0))) for region in REGIONS]
    entries.append(("untracked", UNTRACKED_COLOUR, int(unified["region"].isna().sum())))
    return [
        Line2D([], [], linestyle="", marker="o", color=colour, label=f"{name} ({count:,})")
        for name, colour, count in entries
        if count
    ]


def _scatter_note(unified: pd.DataFrame, n_drawn: int, seed: int) -> str:
    examples = f"examples: {len(unified):,}"
    if n_drawn < len(unified):
        examples = f"{n_drawn:,} of {len(unified):,} examples drawn, seed {seed}"
    is_member = (unified["cluster"] != NOISE) & unified["region"].notna()
    n_clusters = unified.loc[is_member, "cluster"].nunique()
    n_shown = min(n_clusters, MAX_CLUSTERS)
    note = "" if n_shown == n_clusters else ", those whose number of hard examples is farthest from chance"
    return f"{examples}; numbers: {n_shown} of {n_clusters} clusters{note}"
