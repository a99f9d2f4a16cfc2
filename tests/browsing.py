"""What a hand does with a report in headless Chromium, and what an eye sees of it."""

import time

import numpy as np
import pandas as pd

from benchmarks import browser as headless
from datamap.report.page import build_report


def save(folder, texts, frame, probs, found, title="demo:noisy, train", **more):
    settings = {"title": title, "gold_probs": probs, "patterns": found, "max_points": 20_000, "seed": 42}
    settings |= more
    path = folder / "report.html"
    path.write_text(build_report(frame, texts, **settings), encoding="utf-8", newline="")
    return path


def opened(chromium, path):
    headless.open_page(chromium, path)
    yield chromium
    assert headless.requested(chromium) == [path.resolve().as_uri()]
    assert [entry for entry in chromium.get_log("browser") if entry["level"] != "INFO"] == []


def script(browser, text, *arguments):
    return browser.execute_script(text, *arguments)


def selected_ids(browser, frame, name):
    """The ids that a map's points show as selected, in the data's order."""
    rows = script(browser, """
        const plot = Bokeh.documents[0].get_model_by_name(arguments[0]);
        return [...plot.renderers[0].data_source.selected.indices];
    """, name)  # fmt: skip
    return frame["id"].iloc[sorted(rows)].tolist()


def shown_points(browser, name):
    """How many points a map draws."""
    return script(browser, """
        const plot = Bokeh.documents[0].get_model_by_name(arguments[0]);
        const view = Bokeh.index.find_one(plot).views.find_one(plot.renderers[0]);
        const { x, y } = view.glyph;
        return [...x].filter((value, place) => isFinite(value) && isFinite(y[place])).length;
    """, name)  # fmt: skip


def drag_around(browser, frame, name, columns, outline):
    """Drag a rectangle on a map; the ids certainly inside it, and those that rounding to pixels may add.

    outline(places, pixel) gives the corner nearest to the origin and the one across, both in the map's coordinates,
    from the points and the size of a pixel there: what matters to a hand is pixels, wherever the points may lie.
    """
    places = frame[columns].astype(float).to_numpy()
    ends = [np.array(script(browser, headless.PLACE, name, *corner)) for corner in ((0, 0), (1, 1))]
    pixel = 1 / np.abs(ends[1] - ends[0])
    (left, low), (right, high) = corners = outline(places, pixel)
    script(browser, "document.getElementById('maps').scrollIntoView()")
    headless.drag(browser, name, [(left, low), (right, low), (right, high), (left, high), (left, low)])
    with np.errstate(invalid="ignore"):
        depth = np.min([places - corners[0], corners[1] - places], axis=0) / pixel
    depth = depth.min(axis=1)  # pixels from the nearest side, negative outside; NaN where the map has no point
    return ids_where(frame, pd.Series(depth > 2)), ids_where(frame, pd.Series(depth > -2))


def text_of(browser, element):
    return script(browser, "return document.getElementById(arguments[0]).textContent", element)


def click(browser, selector, text=None):
    """Click the first element of a selector, or the first whose text begins like this."""
    assert script(browser, """
        const [selector, text] = arguments;
        const nodes = [...document.querySelectorAll(selector)];
        const found = nodes.find((node) => !text || node.textContent.startsWith(text));
        found?.click();
        return Boolean(found);
    """, selector, text), (selector, text)  # fmt: skip


def table_ids(browser):
    """The ids in the table's rows, all of them unfolded, in the order of the table."""
    return script(browser, """
        const more = document.getElementById("more");
        while (!more.hidden) more.click();
        return [...document.querySelectorAll("#rows tr td:first-child")].map((node) => node.textContent);
    """)  # fmt: skip


def wait_for(what, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"nothing after {seconds} seconds")


def downloaded(browser):
    """The path of the file that a click on the download button gives."""
    for path in browser.downloads.iterdir():
        path.unlink()
    click(browser, "#download")
    return wait_for(lambda: next(iter(browser.downloads.glob("*.csv")), None))


def ids_where(frame, rows):
    return frame["id"][rows.to_numpy(dtype=bool)].tolist()


def tip_of(browser, frame, row):
    """The text beside the pointer once it is moved onto a point of the cluster map."""
    script(browser, "document.getElementById('maps').scrollIntoView()")
    headless.point_at(browser, "cluster-map", frame["x"][row], frame["y"][row])
    return wait_for(lambda: text_of(browser, "tip"))


def plain_rows(frame):
    """Ids, contexts, questions and answers as lists of Python values."""
    answers = [[list(answer[name]) for name in ("text", "answer_start")] for answer in frame["answers"]]
    return [frame[name].tolist() for name in ("id", "context", "question")] + answers
