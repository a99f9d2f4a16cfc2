"""The figures of a data map: a frame or arrays in, a matplotlib Figure out; no file is written.

Figures are built without pyplot, so nothing is kept or changed between them. Text that comes from data or from the
caller is drawn as it is: a "$" in it never starts a formula.
"""

import textwrap

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from datamap.dynamics.measures import FEW_EPOCHS, REGIONS
from datamap.files.pictures import BOX_NOTE, BOX_STYLE, SMALL

# More points than this hide each other: the map then draws a sample of this size.
MAX_POINTS = 20_000
# More points than this turn into solid columns behind the boxes.
MAX_JITTERED = 5_000
# Up to this many epochs every possible correctness has a level of its own; above, there are bins.
MAX_EXACT_EPOCHS = 5
MAX_NAME_LENGTH, NAME_LENGTH = 30, 48  # characters of a group's, and of a cluster's name with its words
BOX_STYLE |= {"medianprops": {"color": "black", "linewidth": 2}}

REGION_NAMES = dict(zip(REGIONS, ("easy-to-learn", "ambiguous", "hard-to-learn"), strict=True))
# Okabe-Ito colours whose lightness differs too, so that they can be told apart in grey.
REGION_COLOURS = dict(zip(REGIONS, ("#0072B2", "#E69F00", "#000000"), strict=True))
REGION_LINES = dict(zip(REGIONS, (("-", "o"), ("--", "s"), (":", "^")), strict=True))
NEUTRAL = "#7A7A7A"
# The last n for n levels, from never to always correct.
LEVEL_MARKERS = ("v", "D", "X", "s", "^", "o")

# Half the width and half the height of a region's name on the map, in units of its axes (variability, confidence).
_NAME_HALF_SIZE = np.array([0.062, 0.038])

_METRIC_LABELS = {
    "confidence": "confidence",
    "variability": "variability",
    "correctness": "correctness",
    "forgetting_events": "forgetting events",
    "threshold_closeness": "threshold closeness",
    "aum": "area under the margin (logits)",
    "span_f1": "span F1",
    "loss": "loss (nats)",
}
_METRIC_RANGES = {"confidence": 1.0, "variability": 0.5, "threshold_closeness": 0.25, "span_f1": 1.0}
_ALWAYS_THERE = 6


def data_map(frame: pd.DataFrame, *, title: str, n_epochs: int, seed: int) -> Figure:
    """The data map (arXiv 2009.10795, figure 1): variability across, confidence up, correctness as colour and marker.

    Beside it the histograms of the three metrics over all rows. Above `MAX_POINTS` rows the map shows a random sample
    of that size and says so. The order of the rows changes nothing.

    Args:
        frame: one row an example, at least one: `id` (unique), `confidence` and `correctness` in [0, 1],
            `variability` in [0, 0.5], `region` (one of REGIONS).
        title: any text.
        n_epochs: the most epochs an example was seen in, at least 1. A row with fewer goes to the nearest level.
        seed: of the sample, and of the order in which points are drawn over each other.
    """
    figure = Figure(figsize=(11, 7), layout="constrained")
    figure.suptitle(textwrap.fill(title, 90), fontsize=13, parse_math=False)
    grid = figure.add_gridspec(3, 2, width_ratios=(2.3, 1))
    level, labels = _levels(frame["correctness"].to_numpy(), n_epochs)
    ordered = frame.assign(level=level).sort_values("id")
    shuffled = np.random.default_rng(seed).permutation(len(ordered))
    drawn = ordered.iloc[shuffled[:MAX_POINTS]]
    axes = figure.add_subplot(grid[:, 0])
    _draw_points(axes, drawn, labels)
    _name_regions(axes, frame, drawn)
    axes.set_title(_map_notes(len(frame), len(drawn), n_epochs, seed), loc="left", fontsize=SMALL)
    for row, (metric, upper) in enumerate((("confidence", 1.0), ("variability", 0.5))):
        beside = figure.add_subplot(grid[row, 1])
        edges = np.linspace(0, upper, 26)
        beside.hist(_into_range(frame[metric], edges), bins=edges, color=NEUTRAL, edgecolor="white", linewidth=0.5)
        beside.set_xlabel(metric)
        _count_axis(beside)
    beside = figure.add_subplot(grid[2, 1])
    counts = np.bincount(level, minlength=len(labels))
    beside.bar(range(len(labels)), counts, color=_level_colours(len(labels)), edgecolor="black", linewidth=0.5)
    beside.set_xticks(range(len(labels)), [label.replace(" ", "\n") for label in labels], fontsize=SMALL)
    beside.set_xlabel("correctness")
    _count_axis(beside)
    return figure


def _levels(correctness: np.ndarray, n_epochs: int) -> tuple[np.ndarray, list[str]]:
    """The correctness level of every row (int64 [n], from 0) and the levels' labels (at most 6), lowest first.

    Up to 5 epochs the level is the nearest k / n_epochs (the lower one of two equally near); above, never and always
    correct are levels of their own, with four quarters between them.
    """
    # Rounded, because a share that was averaged may miss k / n_epochs by its last bits.
    values = np.round(correctness, 9)
    if n_epochs > MAX_EXACT_EPOCHS:
        upper_edges = [0, 0.25, 0.5, 0.75, 1 - 1e-9]
        return np.searchsorted(upper_edges, values), ["0", "to 0.25", "to 0.5", "to 0.75", "below 1", "1"]
    steps = np.arange(n_epochs + 1) / n_epochs
    distances = np.abs(values[:, None] - steps).round(9)
    return distances.argmin(axis=1), [f"{step:.2g}" for step in steps]


def _level_colours(n_levels: int) -> np.ndarray:
    """RGBA [n_levels, 4], dark to light; the palest end of the map, which fades on white, is left out."""
    return colormaps["viridis"](np.linspace(0, 0.88, n_levels))


def _draw_points(axes: Axes, drawn: pd.DataFrame, labels: list[str]) -> None:
    """The points in the rows' order, first at the bottom, in one collection, so that no level covers the others."""
    colours, markers = _level_colours(len(labels)), LEVEL_MARKERS[-len(labels) :]
    shapes = [MarkerStyle(marker) for marker in markers]
    paths = [shape.get_path().transformed(shape.get_transform()) for shape in shapes]
    size = np.clip(1400 / np.sqrt(len(drawn)), 11, 45)
    points = axes.scatter(
        drawn["variability"],
        drawn["confidence"],
        s=size,
        c=colours[drawn["level"]],
        alpha=np.clip(45 / np.sqrt(len(drawn)), 0.55, 0.9),
        edgecolors="white",
        linewidths=np.clip(size / 100, 0.15, 0.4),
    )
    points.set_paths([paths[level] for level in drawn["level"]])
    axes.set(xlim=(-0.01, 0.51), ylim=(-0.02, 1.02))
    axes.set_xlabel("variability (standard deviation of the gold probability over epochs)")
    axes.set_ylabel("confidence (mean gold probability over epochs)")
    handles = [
        Line2D([], [], linestyle="", marker=marker, color=colour, markersize=8, label=label)
        for marker, colour, label in zip(markers, colours, labels, strict=True)
    ]
    axes.legend(handles=handles, title="correctness", ncols=6, loc="upper center", bbox_to_anchor=(0.5, -0.09))


def _name_regions(axes: Axes, frame: pd.DataFrame, drawn: pd.DataFrame) -> None:
    """Write each region's name near the median of its members and among them, over few points and no other name."""
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(0.06, 0.44, 20), np.linspace(0.04, 0.96, 24)))
    points, regions = drawn[["variability", "confidence"]].to_numpy(), drawn["region"].to_numpy()
    spots = np.column_stack([x, y])
    under = np.array([_around(spot, points, 1) for spot in spots])
    # The largest share of any region, so that a few hard examples count as much as many easy ones.
    covered = np.max([under[:, regions == region].mean(axis=1) for region in np.unique(regions)], axis=0)
    around = [regions[_around(spot, points, 2.5)] for spot in spots]
    free = np.ones(len(spots), dtype=bool)
    for region, name in REGION_NAMES.items():
        members = frame[frame["region"] == region]
        if members.empty:
            continue
        distance = np.hypot((x - members["variability"].median()) / 0.5, y - members["confidence"].median())
        strangers = np.array([(found != region).mean() if len(found) else 1 for found in around])
        cost = distance + 2 * np.sqrt(covered) + 0.3 * strangers
        best = spots[np.where(free, cost, np.inf).argmin()]
        box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "black", "alpha": 0.9}
        axes.text(*best, name, ha="center", va="center", fontsize=11, fontweight="bold", bbox=box)
        free &= ~_around(best, spots, 2)


def _around(spot: np.ndarray, points: np.ndarray, times: float) -> np.ndarray:
    """Which of the points [n, 2] lie in the box of a name at the spot, blown up by `times`."""
    return (np.abs(points - spot) < times * _NAME_HALF_SIZE).all(axis=1)


def _map_notes(n_rows: int, n_drawn: int, n_epochs: int, seed: int) -> str:
    examples = f"examples: {n_rows:,}"
    if n_drawn < n_rows:
        examples = f"{n_drawn:,} of {n_rows:,} examples drawn, seed {seed}"
    caution = f" (variability means little with fewer than {FEW_EPOCHS})" if n_epochs < FEW_EPOCHS else ""
    return f"{examples}; epochs: {n_epochs}{caution}"


def _into_range(values: pd.Series, edges: np.ndarray) -> pd.Series:
    """The values, moved onto the outermost edges where rounding put them outside: a histogram would drop those."""
    return values.clip(edges[0], edges[-1])


def _count_axis(axes: Axes) -> None:
    """An axis of example counts: whole numbers, thousands set off, no frame that nothing is read from."""
    axes.set_ylabel("examples")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.spines[["top", "right"]].set_visible(False)


def metric_distributions(frame: pd.DataFrame) -> Figure:
    """Histograms of the metrics over all rows, stacked by region.

    Args:
        frame: one row an example, at least one: `region` (one of REGIONS), `confidence`, `variability`,
            `correctness`, `forgetting_events`, `threshold_closeness`, `aum`; `span_f1` and `loss` where they are there.
    """
    metrics = [name for place, name in enumerate(_METRIC_LABELS) if place < _ALWAYS_THERE or name in frame.columns]
    n_columns = 3 if len(metrics) == _ALWAYS_THERE else 4
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    members = {region: frame[frame["region"] == region] for region in REGIONS}
    members = {region: rows for region, rows in members.items() if len(rows)}
    for place, metric in enumerate(metrics):
        axes = figure.add_subplot(2, n_columns, place + 1)
        edges = _metric_edges(metric, frame[metric])
        axes.hist(
            [_into_range(rows[metric], edges) for rows in members.values()],
            bins=edges,
            stacked=True,
            color=[REGION_COLOURS[region] for region in members],
        )
        axes.set_xlabel(_METRIC_LABELS[metric])
        if metric == "forgetting_events":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        _count_axis(axes)
    figure.legend(
        handles=[
            Patch(color=REGION_COLOURS[region], label=f"{REGION_NAMES[region]} ({len(rows):,})")
            for region, rows in members.items()
        ],
        loc="outside upper center",
        ncols=len(REGIONS),
    )
    return figure


def _metric_edges(metric: str, values: pd.Series) -> np.ndarray:
    """The edges of a metric's bins: its whole range where that is known, else the values' own."""
    if metric in _METRIC_RANGES:
        return np.linspace(0, _METRIC_RANGES[metric], 26)
    if metric == "correctness":
        return np.linspace(-0.025, 1.025, 22)
    if metric == "forgetting_events":
        return np.arange(values.max() + 2) - 0.5
    return np.histogram_bin_edges(values, bins=25)


def confidence_vs_correctness(frame: pd.DataFrame) -> Figure:
    """How confidence spreads at each correctness level: a box a level, with the points behind it for small data.

    The levels are those of the data map for the highest `num_epochs`; their numbers of examples stand below them.
    Boxes reach from the 25th to the 75th percentile, whiskers from the 5th to the 95th; the line is the median.

    Args:
        frame: one row an example, at least one: `confidence` and `correctness` in [0, 1], `num_epochs` (at least 1).
    """
    level, labels = _levels(frame["correctness"].to_numpy(), int(frame["num_epochs"].max()))
    colours = _level_colours(len(labels))
    groups = [frame["confidence"].to_numpy()[level == place] for place in range(len(labels))]
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.add_subplot()
    for place, (values, colour) in enumerate(zip(groups, colours, strict=True)):
        if len(frame) <= MAX_JITTERED:
            # Multiples of the golden ratio spread evenly without a seed.
            offsets = (np.arange(len(values)) * 0.6180339887 % 1 - 0.5) * 0.7
            axes.scatter(place + offsets, values, s=9, color=colour, alpha=0.5, linewidths=0)
    drawn = axes.boxplot(
        groups,
        positions=range(len(labels)),
        widths=0.45,
        **BOX_STYLE,
    )
    for box, colour in zip(drawn["boxes"], colours, strict=True):
        box.set(facecolor=0.4 * colour + 0.6, alpha=0.8)
    ticks = [f"{label}\nn = {len(values):,}" for label, values in zip(labels, groups, strict=True)]
    axes.set_xticks(range(len(labels)), ticks)
    axes.set(ylim=(-0.02, 1.02), xlabel="correctness (share of epochs)", ylabel="confidence")
    axes.set_title(BOX_NOTE, loc="left", fontsize=SMALL)
    return figure


def category_analysis(table: pd.DataFrame) -> Figure:
    """The regions' shares in every group as stacked bars, and beside them the groups' mean confidence.

    Args:
        table: one row a group, at least one, in the order to draw: `grouping` (each becomes a block of its own),
            `group` (any text), `count`, `confidence` (mean, [0, 1]) and `easy`, `ambiguous`, `hard` (shares, [0, 1]).
    """
    blocks = [rows for _, rows in table.groupby("grouping", sort=False)]
    # A block needs its bars and about as much as three more for heading and axis.
    heights = [len(rows) + 3 for rows in blocks]
    figure = Figure(figsize=(11, 0.9 + 0.32 * sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(blocks), 2, width_ratios=(2.2, 1), height_ratios=heights)
    for place, rows in enumerate(blocks):
        shares = figure.add_subplot(grid[place, 0])
        _draw_shares(shares, rows)
        confidence = figure.add_subplot(grid[place, 1], sharey=shares)
        bars = confidence.barh(range(len(rows)), rows["confidence"], color=NEUTRAL, height=0.75)
        confidence.bar_label(bars, fmt="%.2f", padding=3, fontsize=SMALL)
        confidence.tick_params(labelleft=False)
        confidence.set(xlim=(0, 1.15), xticks=np.linspace(0, 1, 6), xlabel="mean confidence")
        confidence.spines[["top", "right"]].set_visible(False)
    figure.legend(
        handles=[Patch(color=REGION_COLOURS[region], label=REGION_NAMES[region]) for region in REGIONS],
        loc="outside upper center",
        ncols=len(REGIONS),
    )
    return figure


def _draw_shares(axes: Axes, rows: pd.DataFrame) -> None:
    """One stacked bar a row, the first row on top; shares from 6% on are written into their part."""
    places = np.arange(len(rows))
    left = np.zeros(len(rows))
    for region, ink in zip(REGIONS, ("white", "black", "white"), strict=True):
        widths = rows[region].to_numpy()
        bars = axes.barh(places, widths, left=left, height=0.75, color=REGION_COLOURS[region])
        shown = [f"{width:.0%}" if width >= 0.06 else "" for width in widths]
        axes.bar_label(bars, labels=shown, label_type="center", color=ink, fontsize=SMALL)
        left = left + widths
    counted = zip(rows["group"], rows["count"], strict=True)
    names = [f"{shortened(group, MAX_NAME_LENGTH)} ({count:,})" for group, count in counted]
    axes.set_yticks(places, names, parse_math=False)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="share of the group")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0%}"))
    heading = str(rows["grouping"].iloc[0]).replace("_", " ")
    axes.set_title(heading, loc="left", fontweight="bold", parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)


def shortened(name: object, length: int) -> str:
    """The name on one line with at most `length` characters, whether or not it has blanks to be cut at."""
    line = " ".join(str(name).split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def dynamics_by_region(gold_probs: np.ndarray, regions: np.ndarray) -> Figure:
    """The mean gold probability after each epoch, a line a region, with a band around its middle half of examples.

    Args:
        gold_probs: float [n_epochs, n_examples] in [0, 1], NaN where an example was not seen; these are left out.
        regions: text [n_examples], each one of REGIONS. A region without examples has no line.
    """
    n_epochs = len(gold_probs)
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.add_subplot()
    for region in REGIONS:
        members = gold_probs[:, regions == region]
        seen = ~np.isnan(members).all(axis=1)
        if not seen.any():
            continue
        epochs = np.flatnonzero(seen) + 1
        lower, upper = np.nanpercentile(members[seen], (25, 75), axis=1)
        colour, (line, marker) = REGION_COLOURS[region], REGION_LINES[region]
        # The band of a single epoch has no width: all one sees of it is its outline.
        axes.fill_between(epochs, lower, upper, color=colour, alpha=0.18, linewidth=4 if len(epochs) == 1 else 1)
        mean = np.nanmean(members[seen], axis=1)
        label = f"{REGION_NAMES[region]} ({members.shape[1]:,})"
        axes.plot(epochs, mean, color=colour, linestyle=line, marker=marker, linewidth=2, label=label)
    axes.set(xlim=(0.8, n_epochs + 0.2), ylim=(-0.02, 1.02), xlabel="epoch", ylabel="gold probability")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_title("line: mean; band: middle half of the examples, 25th to 75th percentile", loc="left", fontsize=SMALL)
    figure.legend(loc="outside upper center", ncols=len(REGIONS))
    return figure
