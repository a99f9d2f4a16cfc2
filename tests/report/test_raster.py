"""Maps whose points are blended into one picture: they look and answer as those that are drawn point by point."""

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks.report_inputs import analysed, questions
from datamap.report import page as report
from tests.browsing import click, drag_around, opened, save, script, selected_ids, shown_points, wait_for

pytestmark = pytest.mark.browser

MAPS = {"data-map": ("variability", "confidence"), "cluster-map": ("x", "y")}


@pytest.fixture(scope="module")
def made():
    texts = questions(300)
    return texts, *analysed(texts)


def with_pictures(monkeypatch):
    """Have pages of any number of points draw them as a picture."""
    joined = report.joined_scripts

    def few(paths):
        text = joined(paths)
        assert "const MANY_POINTS = 5000;" in text
        return text.replace("const MANY_POINTS = 5000;", "const MANY_POINTS = 0;")

    monkeypatch.setattr(report, "joined_scripts", few)


@pytest.fixture
def pages(chromium, made, tmp_path, monkeypatch):
    """A function that opens the page with points drawn in one of two ways."""

    def open_one(way):
        if way == "picture":
            with_pictures(monkeypatch)
        folder = tmp_path / way
        folder.mkdir()
        return opened(chromium, save(folder, *made))

    return open_one


def inked(browser, name):
    """float [height, width, 3] in [0, 1]: what a map shows inside its axes."""
    box = script(browser, f"""
        const view = Bokeh.index.find_one(Bokeh.documents[0].get_model_by_name("{name}"));
        const outer = view.canvas_view.el.getBoundingClientRect();
        const {{ left, top, width, height }} = view.frame.bbox;
        return [outer.x + left, outer.y + top, width, height].map(Math.round);
    """)  # fmt: skip
    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    left, top, width, height = box
    return np.asarray(picture.crop((left, top, left + width, top + height))) / 255


def looks(browser):
    """Both maps, as they are and with some examples selected."""
    script(browser, "document.getElementById('maps').scrollIntoView(); return 0")
    plain = [inked(browser, name) for name in MAPS]
    script(browser, """
        const rows = Bokeh.documents[0].get_model_by_name("points");
        rows.selected.indices = [...Array(40).keys()];
        return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    """)  # fmt: skip
    return [*plain, *(inked(browser, name) for name in MAPS)]


def test_a_picture_looks_like_points(pages):
    seen = {}
    for way in ("points", "picture"):
        for browser in pages(way):
            seen[way] = looks(browser)
    darkest = (0.8, 0.8, 0.4, 0.4)  # all points, and those selected: a crowd of others is paler in a picture
    for one, other, dark in zip(seen["points"], seen["picture"], darkest, strict=True):
        assert one.shape == other.shape
        there, drawn = (picture.min(axis=2) < dark for picture in (one, other))
        assert there.sum() > 500
        assert (there & drawn).sum() / (there | drawn).sum() > 0.75  # edges lie up to half a pixel elsewhere
        assert np.abs(one - other).mean() < 0.01
        both = there & drawn
        assert np.abs(one[both].mean(axis=0) - other[both].mean(axis=0)).max() < 0.05
    assert np.abs(seen["picture"][0] - seen["picture"][2]).mean() > 0.01  # a selection is seen


@pytest.mark.parametrize("name", MAPS)
def test_a_picture_is_selected_from_and_searched(pages, made, name):
    frame = made[1]

    def middle(places, _):
        return np.nanquantile(places, [0.1, 0.6], axis=0)

    for browser in pages("picture"):
        inside, near = drag_around(browser, frame, name, list(MAPS[name]), middle)
        found = wait_for(lambda: selected_ids(browser, frame, name))  # noqa: B023
        assert set(inside) <= set(found) <= set(near)
        click(browser, "#clear")
        browser.find_element("id", "search").send_keys("hypertension")
        wait_for(lambda: shown_points(browser, "cluster-map") < 200)  # noqa: B023


def test_a_selected_point_is_seen_in_any_crowd(pages):
    """All points at one place of the data map, of which the last one is selected."""
    for browser in pages("picture"):
        looks(browser)
        crowd = script(browser, """
            const rows = Bokeh.documents[0].get_model_by_name("points");
            const n = rows.data.data_x.length;
            const all = (value) => Array(n).fill(value);
            rows.data = { ...rows.data, data_x: all(0.25), data_y: all(0.5), colour: all(0x0072B2FF) };
            rows.selected.indices = [n - 1];
            return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(n))));
        """)  # fmt: skip
        assert crowd == 300
        height, width, _ = inked(browser, "data-map").shape
        inner = slice(height // 3, -height // 3), slice(width // 3, -width // 3)  # without the axes
        with_one = inked(browser, "data-map")[inner]
        script(browser, """
            const rows = Bokeh.documents[0].get_model_by_name("points");
            rows.data = { ...rows.data, data_x: rows.data.data_x.map((x, row) => row === 299 ? 0.1 : x) };
            return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        """)  # fmt: skip
        without = inked(browser, "data-map")[inner]
        assert with_one[..., 0].min() < 0.2 < 0.7 < without[..., 0].min() < 0.9
