"""The report: two linked maps of a data set, the examples behind them, and what stands out, on one page.

A frame in, HTML out; no file is written. Bokeh's scripts, the data and the page's own script are inside it (see parts).
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pandas as pd
from bokeh.document import Document
from bokeh.models import (
    BoxSelectTool,
    CDSView,
    ColumnDataSource,
    HoverTool,
    IndexFilter,
    LassoSelectTool,
    Range1d,
    TapTool,
)
from bokeh.palettes import Viridis256
from bokeh.plotting import figure
from bokeh.resources import Resources

from datamap.report.parts import embedded, joined_scripts, joined_styles, packed, policy
from datamap.report.rows import balanced_rows, gold_answers, packed_contexts, regions_of, row_columns
from datamap.report.words import first_screen

PAGE = Path(__file__).resolve().parent / "page_parts"
SCRIPTS = ("base.js", "rows.js", "text.js", "raster.js", "maps.js", "table.js", "page.js")
STYLES = ("base.css", "page.css")
COLUMNS = ("data_x", "data_y", "cluster_x", "cluster_y", "colour", "marker")
PALER_FROM = 20_000  # points
TOOLS = "pan,wheel_zoom,reset,save"
# The columns of either map's coordinates.
MAPS = {"data-map": ("data_x", "data_y"), "cluster-map": ("cluster_x", "cluster_y")}


def build_map(
    name: str, source: ColumnDataSource, shown: IndexFilter, ranges: tuple[Range1d, Range1d], n_points: int
) -> Any:
    """One of the two maps, without points: the page fills the source, so that the data stand in the file once."""
    lasso, box = LassoSelectTool(continuous=False), BoxSelectTool(continuous=False)
    plot = figure(
        name=name, tools=[lasso, box, TapTool(mode="replace"), HoverTool(tooltips=None)], sizing_mode="stretch_both",
        min_width=200, x_range=ranges[0], y_range=ranges[1], toolbar_location="above", lod_threshold=None,
    )  # fmt: skip
    plot.add_tools(*TOOLS.split(","))
    plot.background_fill_color = plot.border_fill_color = plot.outline_line_color = None
    plot.toolbar.logo = None
    plot.toolbar.active_drag = lasso
    size = float(np.clip(160 / np.sqrt(n_points), 3.5, 9))
    # Many points are paler, so that where they lie thick can be told from where they lie thin.
    ink = float(np.clip(np.sqrt(PALER_FROM / n_points), 0.3, 1))
    plot.scatter(
        *MAPS[name], source=source, view=CDSView(filter=shown), size=size, marker="marker", fill_color="colour",
        fill_alpha=0.75 * ink, nonselection_fill_alpha=0.13 * ink, selection_fill_alpha=0.95 * ink**0.5,
        line_color=None,
    )  # fmt: skip
    if name == "data-map":
        plot.xaxis.axis_label, plot.yaxis.axis_label = "variability", "confidence"
    else:
        plot.axis.visible = False
    return plot


def around(values: pd.Series) -> Range1d:
    """The range of some coordinates, and a twentieth more on either side."""
    low, high = float(values.min()), float(values.max())
    edge = 0.05 * (high - low) or 1.0
    return Range1d(low - edge, high + edge)


def maps_json(frame: pd.DataFrame, names: list[str]) -> dict:
    """The Bokeh document of the maps and the element that each belongs into, the same on every call."""
    source = ColumnDataSource({name: [] for name in COLUMNS}, name="points")
    shown, document = IndexFilter(name="shown"), Document()
    for name in names:
        ranges = (Range1d(-0.01, 0.51), Range1d(-0.02, 1.02))
        if name == "cluster-map":
            ranges = (around(frame["x"]), around(frame["y"]))
        document.add_root(build_map(name, source, shown, ranges, len(frame)))
    roots = {root.id: root.name for root in document.roots}
    text = json.dumps({"document": document.to_json(deferred=False), "roots": roots})
    numbers: dict[str, int] = {}  # Bokeh counts its models over the whole life of a process
    renumbered = re.sub(r'"p(\d+)"', lambda match: f'"p{numbers.setdefault(match[1], len(numbers))}"', text)
    return json.loads(renumbered)


def page_parts() -> dict[str, str]:
    """Style, scripts and policy: what is the same on every page."""
    resources = Resources(mode="inline", components=["bokeh"], log_level="warn")
    bokeh = "\n".join(resources.js_raw)
    own = joined_scripts(PAGE / name for name in SCRIPTS)
    style = joined_styles(PAGE / name for name in STYLES)
    return {"bokeh": bokeh, "script": own, "style": style, "policy": policy((bokeh, own))}


def build_report(
    frame: pd.DataFrame,
    texts: pd.DataFrame | None,
    *,
    title: str,
    gold_probs: np.ndarray | None = None,
    patterns: dict | None = None,
    max_points: int,
    seed: int,
    notes: Sequence[str] = (),
    first_epoch: int = 1,
) -> str:
    """The whole page.

    Args:
        frame: a row an example, `id` first: of `join.unify`, whole or in part (metrics with `region`; clusters with
            `words`, x and y; groups; predictions; question or premise and hypothesis).
        texts: the canonical frame with the same ids in the same order; None where the texts are not known.
        title: the data set's name.
        gold_probs: float [n_epochs, n_rows] in [0, 1], NaN where an example was not seen; None without a recording.
        patterns: of `patterns.interesting_patterns`, None where there is one side alone.
        max_points: above as many rows a sample is shown, in which the regions are as equal as their sizes allow.
        seed: of that sample.
        notes: sentences that the reader must know before trusting the maps.
        first_epoch: the number of the first one in `gold_probs`, from 1.
    """
    chosen = balanced_rows(regions_of(frame), frame["id"], max_points, seed)
    findings = patterns["findings"] if patterns else []
    screen = first_screen(frame, gold_probs, chosen, findings, seed, notes)
    shown = frame.iloc[chosen].reset_index(drop=True)
    probs = gold_probs[:, chosen] if gold_probs is not None else None
    columns = row_columns(shown, probs, findings)
    contexts, limit = "", None
    if texts is not None:
        contexts, more, limit = packed_texts(texts.iloc[chosen])
        columns |= more
    names = (["data-map"] if "region" in frame else []) + (["cluster-map"] if "x" in columns else [])
    kind = None if texts is None else "qa" if "question" in texts else "nli"
    head = screen | {"title": title, "n_rows": len(shown), "kind": kind, "context_limit": limit}
    head |= {"first_epoch": first_epoch, "viridis": Viridis256[::5], "maps": maps_json(shown, names)}
    template = Template((PAGE / "page.html").read_text(encoding="utf-8"))
    return template.substitute(page_parts(), head=embedded(head), rows=packed(columns), contexts=contexts)


def packed_texts(texts: pd.DataFrame) -> tuple[str, dict, int | None]:
    """As `rows.packed_contexts`, of a canonical frame; for NLI the premise is the context."""
    if "question" in texts:
        return packed_contexts(texts["context"].tolist(), gold_answers(texts))
    return packed_contexts(texts["premise"].tolist(), [[] for _ in range(len(texts))])
