"""The figures of a clustering: frames in, a matplotlib Figure out; no file is written.

Figures are built without pyplot. Words come from data and are drawn as they are: a "$" in them never starts a formula.
"""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from datamap.clusters.files import NOISE
from datamap.dynamics.plots import NAME_LENGTH, shortened
from datamap.files.pictures import BOX_NOTE, BOX_STYLE, SMALL

# Okabe-Ito without black and grey, which are the names and the noise. Neighbours on the map get different ones.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A800")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
NOISE_COLOUR, NEUTRAL = "#BDBDBD", "#7A7A7A"
MAX_POINTS = 30_000
# More clusters than this get numbers on the map, and their words stand beside it.
MAX_NAMED = 15
# More clusters than this are not listed one by one.
MAX_LISTED = 60


def cluster_map(assignments: pd.DataFrame, statistics: pd.DataFrame, *, title: str, method: str) -> Figure:
    """Every row at its two coordinates, coloured by cluster, noise in grey underneath; each cluster with its words.

    Up to `MAX_NAMED` clusters have their words on the map, more have their number there and the words beside it (of the
    `MAX_LISTED` largest). Above `MAX_POINTS` rows every n-th is drawn, which the note says.

    Args:
        assignments: id, cluster (-1 = noise), dim1 and dim2 (finite); at least one row.
        statistics: cluster, size, words; one row a cluster, by number.
        title: any text.
        method: what made the coordinates, for the axes: "UMAP" or "PCA".
    """
    is_long = len(statistics) > MAX_NAMED
    figure = Figure(figsize=(14 if is_long else 11, 9), layout="constrained")
    figure.suptitle(textwrap.fill(title, 90), fontsize=13, parse_math=False)
    grid = figure.add_gridspec(1, 2, width_ratios=(3, 1)) if is_long else figure.add_gridspec(1, 1)
    axes = figure.add_subplot(grid[0, 0])
    ordered = assignments.sort_values("id", kind="stable")
    drawn = ordered.iloc[:: -(-len(ordered) // MAX_POINTS)]
    centres = cluster_centres(ordered, len(statistics))
    looks = distinct_looks(centres)
    draw_points(axes, drawn, looks)
    words = statistics["words"].tolist()
    names = [str(number) for number in range(len(words))]
    if not is_long:
        names = [map_name(number, text) for number, text in enumerate(words)]
    write_names(axes, ordered, centres, names, size=SMALL if is_long else 10)
    axes.set_title(map_note(assignments, len(statistics), len(drawn)), loc="left", fontsize=SMALL)
    axes.set(xticks=[], yticks=[], xlabel=f"{method} 1", ylabel=f"{method} 2")
    if is_long:
        list_words(figure.add_subplot(grid[0, 1]), statistics, looks)
    return figure


def cluster_centres(assignments: pd.DataFrame, n_clusters: int) -> np.ndarray:
    """The member of each cluster that is nearest to its coordinates' median, [n_clusters, 2]."""
    centres = np.empty((n_clusters, 2))
    for number, members in assignments[assignments["cluster"] != NOISE].groupby("cluster"):
        points = members[["dim1", "dim2"]].to_numpy()
        centres[number] = points[((points - np.median(points, axis=0)) ** 2).sum(axis=1).argmin()]
    return centres


def distinct_looks(centres: np.ndarray) -> list[tuple[str, str]]:
    """(colour, marker) of each cluster, such that none shares its colour with a near one if that can be.

    Clusters choose in turn: the colour whose last use is farthest away on the map, in the order of COLOURS at first.
    The marker goes round every time the colours have been used up, so that no two of 49 clusters look the same.
    """
    chosen: list[int] = []
    for number, centre in enumerate(centres):
        distances = np.full(len(COLOURS), np.inf)
        used = np.array(chosen, dtype=int)
        for colour in set(chosen):
            distances[colour] = np.linalg.norm(centres[:number][used == colour] - centre, axis=1).min()
        chosen.append(int(distances.argmax()))
    return [(COLOURS[colour], MARKERS[number // len(COLOURS) % len(MARKERS)]) for number, colour in enumerate(chosen)]


def draw_points(axes: Axes, drawn: pd.DataFrame, looks: list[tuple[str, str]]) -> None:
    """Noise first and smaller, then the clusters, the largest underneath."""
    size = float(np.clip(1000 / np.sqrt(len(drawn)), 6, 40))
    noise = drawn[drawn["cluster"] == NOISE]
    axes.scatter(noise["dim1"], noise["dim2"], s=size / 2, color=NOISE_COLOUR, alpha=0.5, linewidths=0, zorder=1)
    groups = dict(list(drawn[drawn["cluster"] != NOISE].groupby("cluster")))
    for number, members in groups.items():
        colour, marker = looks[number]
        axes.scatter(
            members["dim1"],
            members["dim2"],
            s=size,
            color=colour,
            marker=marker,
            alpha=0.75,
            edgecolors="white",
            linewidths=0.3,
            zorder=2,
        )


def write_names(axes: Axes, assignments: pd.DataFrame, centres: np.ndarray, names: list[str], size: int) -> None:
    """Each name at its cluster's centre, above a cluster that it would cover, or where there is room, with a line."""
    axes.margins(0.06)
    low, high = np.array([axes.get_xlim(), axes.get_ylim()]).T
    extents = assignments.groupby("cluster")["dim2"].quantile([0.02, 0.98]).unstack()
    steps = np.array([(0.02 * x, 0.008 * y) for x in range(-8, 9) for y in range(-25, 26)])
    steps = steps[np.argsort(np.linalg.norm(steps, axis=1), kind="stable")]
    taken = np.empty((0, 4))
    for number, (centre, name) in enumerate(zip(centres, names, strict=True)):
        # The size of a character in shares of the axes, which are about 10 x 8 inches.
        lines = name.split("\n")
        box = np.array([0.0105 * max(map(len, lines)), 0.021 * len(lines)]) * size / 10
        middle = (centre - low) / (high - low)
        bottom, top = (extents.loc[number].to_numpy() - low[1]) / (high[1] - low[1])
        wanted = middle if top - bottom > 2.5 * box[1] else np.array([middle[0], top + 0.012 + box[1] / 2])
        spots = np.clip(wanted + steps, box / 2, 1 - box / 2)
        spot = next((spot for spot in spots if is_free(spot, box, taken)), spots[0])
        taken = np.vstack([taken, [*spot, *box]])
        place = low + spot * (high - low)
        if np.linalg.norm(spot - wanted) > 0.03:
            axes.plot(*zip(place, centre, strict=True), color="black", linewidth=0.7, zorder=2.5)
        axes.text(
            *place,
            name,
            ha="center",
            va="center",
            fontsize=size,
            fontweight="bold",
            parse_math=False,
            linespacing=1.0,
            zorder=3,
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )


def is_free(spot: np.ndarray, box: np.ndarray, taken: np.ndarray) -> bool:
    """Whether a box (width, height) around a spot overlaps none of the boxes [n, 4] (x, y, width, height)."""
    return not (np.abs(taken[:, :2] - spot) < (taken[:, 2:] + box) / 2).all(axis=1).any()


def map_note(assignments: pd.DataFrame, n_clusters: int, n_drawn: int) -> str:
    """The number of rows, clusters and noise rows, and what the picture leaves out."""
    n_noise = int((assignments["cluster"] == NOISE).sum())
    note = f"rows: {len(assignments):,}; clusters: {n_clusters}; "
    note += f"noise (grey): {n_noise:,} ({n_noise / len(assignments):.1%})"
    return note + (f"; {n_drawn:,} rows drawn" if n_drawn < len(assignments) else "")


def map_name(number: int, words: str) -> str:
    """A cluster's number and its words, a word a line, "cluster 3" without words."""
    lines = [shortened(word, NAME_LENGTH // 2) for word in words.split(", ")]
    return f"{number}: " + ",\n".join(lines) if words else f"cluster {number}"


def row_name(number: int, words: str) -> str:
    """A cluster's number and its words on one line, "cluster 3" without words."""
    return shortened(f"{number}: {words}", NAME_LENGTH) if words else f"cluster {number}"


def list_words(axes: Axes, statistics: pd.DataFrame, looks: list[tuple[str, str]]) -> None:
    """The clusters' marks, numbers, words and sizes, one below the other."""
    shown = statistics.head(MAX_LISTED)
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(max(len(shown), 30) + 0.5, -1.5))
    left_out = f", the {len(shown)} largest" if len(shown) < len(statistics) else ""
    axes.text(0, -1, f"clusters and their words (rows){left_out}", fontsize=SMALL, fontweight="bold", va="center")
    rows = zip(shown["cluster"], shown["words"], shown["size"], strict=True)
    for place, (number, words, size) in enumerate(rows):
        colour, marker = looks[number]
        axes.scatter(0.02, place, s=28, color=colour, marker=marker, linewidths=0)
        axes.text(0.06, place, f"{row_name(number, words)} ({size:,})", fontsize=8, va="center", parse_math=False)


def persistence_bars(statistics: pd.DataFrame) -> Figure:
    """How long each cluster lasts as the distance shrinks, a bar a cluster by number, the `MAX_LISTED` largest.

    Args:
        statistics: cluster, size, persistence [0, 1], words; may be empty.
    """
    shown = statistics.head(MAX_LISTED)
    figure = Figure(figsize=(9, 1.6 + 0.24 * max(len(shown), 4)), layout="constrained")
    axes = figure.add_subplot()
    if note_emptiness(axes, shown):
        return figure
    bars = axes.barh(np.arange(len(shown)), shown["persistence"], color=NEUTRAL, height=0.75)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    name_rows(axes, shown)
    axes.set(xlim=(0, shown["persistence"].max() * 1.12 + 0.01), xlabel="persistence (higher is more distinct)")
    left_out = f": the {len(shown)} largest of {len(statistics)} clusters" if len(shown) < len(statistics) else ""
    axes.set_title("persistence by cluster" + left_out, loc="left", fontsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def probability_distributions(assignments: pd.DataFrame, statistics: pd.DataFrame) -> Figure:
    """How surely the members belong to each cluster: a box a cluster, the `MAX_LISTED` largest; noise is left out.

    Boxes reach from the 25th to the 75th percentile, whiskers from the 5th to the 95th; the line is the median.

    Args:
        assignments: cluster, cluster_probability [0, 1].
        statistics: cluster, size, words; may be empty.
    """
    shown = statistics.head(MAX_LISTED)
    figure = Figure(figsize=(9, 1.6 + 0.24 * max(len(shown), 4)), layout="constrained")
    axes = figure.add_subplot()
    if note_emptiness(axes, shown):
        return figure
    groups = dict(list(assignments.groupby("cluster")["cluster_probability"]))
    axes.boxplot(
        [groups[number].to_numpy() for number in shown["cluster"]],
        positions=range(len(shown)),
        orientation="horizontal",
        widths=0.65,
        boxprops={"facecolor": "#9ECAE1"},
        **BOX_STYLE,
    )
    name_rows(axes, shown)
    axes.set(xlim=(-0.02, 1.02), xlabel="membership probability")
    axes.set_title(BOX_NOTE, loc="left", fontsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def note_emptiness(axes: Axes, shown: pd.DataFrame) -> bool:
    """Whether there is no cluster to draw, which is then written instead."""
    if len(shown):
        return False
    axes.set_axis_off()
    axes.text(0.5, 0.5, "no cluster was found: all rows are noise", ha="center", va="center", transform=axes.transAxes)
    return True


def name_rows(axes: Axes, shown: pd.DataFrame) -> None:
    """Number, words and size of the clusters along the vertical axis, the first on top."""
    names = [
        f"{row_name(number, words)} ({size:,})"
        for number, words, size in zip(shown["cluster"], shown["words"], shown["size"], strict=True)
    ]
    axes.set_yticks(np.arange(len(shown)), names, fontsize=8, parse_math=False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
