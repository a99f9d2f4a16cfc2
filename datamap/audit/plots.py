"""The figure of an audit: shares by level, across and within splits."""

import textwrap

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from datamap.files.pictures import SMALL

TITLE_LENGTH, LINE_LENGTH = 85, 28  # characters a line of the title and of a bar's name; what is longer is wrapped
NAME_LENGTH = 25  # characters of a split's name; a longer one loses its middle

# Strong levels dark, weak ones light, no meeting grey; Okabe and Ito's blue and orange, told apart by lightness too.
COLOURS = {
    "exact": "#7A2E00", "normalised": "#B84A00", "answer": "#D55E00", "context": "#E69F00", "contained": "#F5CF80",
    "template": "#56B4E9", "none": "#D9D9D9",
}  # fmt: skip
NAMES = {
    "exact": "exact copy", "normalised": "copy but for case, blanks, punctuation", "answer": "same answer, asked again",
    "context": "same context", "contained": "context inside a context", "template": "same wording", "none": "nothing",
}  # fmt: skip


def shares(table: pd.DataFrame, *, title: str, is_qa: bool) -> Figure:
    """A bar a split and scope, its parts the strongest levels at which its rows meet others.

    Args:
        table: of `shares.level_shares`.
        title: above the figure.
        is_qa: whether contexts or sentences are what rows share.
    """
    names = NAMES | ({} if is_qa else {"context": "a sentence in common", "contained": "premise inside a premise"})
    bars = table[["scope", "split"]].drop_duplicates().to_dict("records")
    figure = Figure(figsize=(9, 2.2 + 0.55 * len(bars)), layout="constrained")
    axes = figure.subplots()
    splits = list(dict.fromkeys(table["split"]))
    texts = [textwrap.fill(_bar_name(bar, splits), LINE_LENGTH) for bar in bars]
    left = [0.0] * len(bars)
    for level in dict.fromkeys(table["level"]):
        widths = table.loc[table["level"] == level, "share"].tolist()
        axes.barh(range(len(bars)), widths, left=left, color=COLOURS[level], label=names[level], height=0.7)
        for number, width in enumerate(widths):
            if width >= 0.06:
                colour = "white" if level in ("exact", "normalised") else "black"
                middle = left[number] + width / 2
                axes.text(middle, number, f"{width:.0%}", ha="center", va="center", fontsize=SMALL, color=colour)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(bars)), texts, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("share of rows, by the strongest level at which they meet another row")
    figure.suptitle(textwrap.fill(title, TITLE_LENGTH), parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, fontsize=SMALL, frameon=False)
    return figure


def _bar_name(bar: dict, splits: list[str]) -> str:
    if bar["scope"] == "within":
        return f"within {_shown(bar['split'])}"
    other = next(split for split in splits if split != bar["split"])
    return f"{_shown(bar['split'])} meets {_shown(other)}"


def _shown(split: str) -> str:
    half = NAME_LENGTH // 2
    return split if len(split) <= NAME_LENGTH else f"{split[:half]}…{split[-half:]}"
