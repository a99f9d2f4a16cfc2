"""The figure of an audit: the bars are the shares."""

import itertools

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from datamap.audit.plots import shares


def test_bars_are_the_shares_one_behind_the_other():
    names = ["exact", "context", "none"]
    parts = [("across", "$dev$", [0.25, 0.05, 0.7]), ("within", "train", [0.0, 0.4, 0.6])]
    table = pd.DataFrame(
        [
            (scope, split, name, 1, share)
            for scope, split, some in parts
            for name, share in zip(names, some, strict=True)
        ],
        columns=["scope", "split", "level", "rows", "share"],
    )
    figure = shares(table, title="A $ title", is_qa=False)
    (axes,) = figure.axes
    drawn = [[(bar.get_x(), bar.get_width()) for bar in level] for level in axes.containers]
    expected = [[(0, 0.25), (0, 0)], [(0.25, 0.05), (0, 0.4)], [(0.3, 0.7), (0.4, 0.6)]]
    assert drawn == [[pytest.approx(bar) for bar in level] for level in expected]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["$dev$ meets train", "within train"]
    assert [level.get_label() for level in axes.containers] == ["exact copy", "a sentence in common", "nothing"]
    assert [text.get_text() for text in axes.texts] == ["25%", "40%", "70%", "60%"]
    assert figure.get_suptitle() == "A $ title"


def test_long_names_stay_inside_the_figure():
    splits = ["train_matched_with_a_name_that_is_long_indeed", "validation_mismatched_and_long_as_well"]
    found = [(scope, split, "exact", 1, 1.0) for scope in ("across", "within") for split in splits]
    table = pd.DataFrame(found, columns=["scope", "split", "level", "rows", "share"])
    figure = shares(table, title="a_very_long_name_of_a_file_" * 10, is_qa=True)
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[0]
    names = axes.get_yticklabels()
    for text in (*figure.texts, figure._suptitle, *names):
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    edges = [(name.get_window_extent().y0, name.get_window_extent().y1) for name in names]
    assert all(upper[0] > lower[1] for upper, lower in itertools.pairwise(edges))
    assert axes.get_window_extent().width > 0.6 * figure.bbox.width
    assert names[2].get_text() == "within\ntrain_matche…_long_indeed"
