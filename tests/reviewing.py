"""A review page made of plain rows, and what a person does with it in headless Chromium."""

import hashlib

from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from benchmarks import browser as headless
from datamap.labels.queue import queue_hash
from datamap.report.review import build_review
from tests.browsing import click, script, text_of, wait_for
from tests.lines import lines_of

ARROWS = {"right": Keys.ARROW_RIGHT, "left": Keys.ARROW_LEFT, "up": Keys.ARROW_UP, "down": Keys.ARROW_DOWN}


def qa_row(identifier, context, label, other=None, *, question="Which?", is_swapped=False, **more):
    """A row of the page; label and other answer are texts of the context, "" for no answer."""
    start = context.index(label) if label else -1
    before = {"text": [label], "answer_start": [start]} if label else {"text": [], "answer_start": []}
    found = None if other is None else [other, context.index(other) if other else -1]
    row = {"id": identifier, "before_sha256": hashlib.sha256(identifier.encode()).hexdigest(), "text": question}
    row |= {"context": context, "before": before, "other": found, "is_swapped": is_swapped}
    return row | {"kind": "place", "score": 0.5, "rank": 1, "drawn": "queue"} | more


def nli_row(identifier, premise, hypothesis, label, **more):
    row = {"id": identifier, "before_sha256": "00", "text": hypothesis, "context": premise, "before": label}
    return row | {"kind": "label", "score": 0.5, "rank": 1, "drawn": "queue"} | more


def save_review(folder, rows, labels=(), n_rows=None, title="notes, train", show_origin=False):
    path = folder / "review.html"
    about = {"title": title, "labels": labels, "n_rows": n_rows or len(rows), "show_origin": show_origin}
    path.write_text(build_review(rows, key=queue_hash(rows), **about), encoding="utf-8", newline="")
    return path


def opened_review(chromium, path):
    """The page without what an earlier test left in the browser; afterwards nothing was asked for or complained."""
    headless.open_page(chromium, path)
    script(chromium, "localStorage.clear()")
    headless.open_page(chromium, path)
    yield chromium
    assert set(headless.requested(chromium)) <= {path.resolve().as_uri()}
    assert [entry for entry in chromium.get_log("browser") if entry["level"] != "INFO"] == []
    leave(chromium)


def leave(browser):
    """Save, so that the browser does not ask when the page is left."""
    click(browser, "#save")


def press(browser, *keys, shift=False, alt=False):
    """Press keys on whatever has the focus; arrows by their names."""
    chain = ActionChains(browser, duration=0)
    held = [Keys.SHIFT] * shift + [Keys.ALT] * alt
    for key in held:
        chain.key_down(key)
    for key in keys:
        chain.send_keys(ARROWS.get(key, key))
    for key in held:
        chain.key_up(key)
    chain.perform()


def corrections(browser):
    """The lines of the file that the save button gives, as they are."""
    for path in browser.downloads.iterdir():
        path.unlink()
    click(browser, "#save")
    path = wait_for(lambda: next(iter(browser.downloads.glob("*.jsonl")), None))
    assert path.name == "corrections.jsonl"
    return lines_of(path)


def marked_text(browser):
    return text_of(browser, "marked").removeprefix("Marked: ")


def open_corrections(browser, path):
    browser.find_element("id", "file").send_keys(str(path))


def drag_over(browser, first, last, alt=False):
    """Drag the pointer from the beginning of one text of the context to the end of another."""
    places = script(browser, """
        const box = document.getElementById("context");
        const text = box.textContent;
        const at = (place) => {
          const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
          for (let node = walker.nextNode(), left = place; node; left -= node.length, node = walker.nextNode()) {
            if (left < node.length) {
              const range = document.createRange();
              range.setStart(node, left);
              range.setEnd(node, left + 1);
              return range.getBoundingClientRect();
            }
          }
        };
        const [first, last] = arguments;
        const begin = at(text.indexOf(first));
        const end = at(text.indexOf(last) + last.length - 1);
        const middle = (rect) => (rect.top + rect.bottom) / 2;
        return [[begin.left + 1, middle(begin)], [end.right - 1, middle(end)]];
    """, first, last)  # fmt: skip
    if alt:
        ActionChains(browser).key_down(Keys.ALT).perform()
    headless.drag_along(browser, places)
    if alt:
        ActionChains(browser).key_up(Keys.ALT).perform()
