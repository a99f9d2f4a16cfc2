"""The figure of an audit: the bars are the shares."""

import pandas as pd
import pytest

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
    (axes,) = shares(table, title="A $ title", is_qa=False).axes
    drawn = [[(bar.get_x(), bar.get_width()) for bar in level] for level in axes.containers]
    expected = [[(0, 0.25), (0, 0)], [(0.25, 0.05), (0, 0.4)], [(0.3, 0.7), (0.4, 0.6)]]
    assert drawn == [[pytest.approx(bar) for bar in level] for level in expected]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["$dev$ meets train", "within train"]
    assert [level.get_label() for level in axes.containers] == ["exact copy", "a sentence in common", "nothing"]
    assert [text.get_text() for text in axes.texts] == ["25%", "40%", "70%", "60%"]
    assert axes.get_title() == "A $ title"
