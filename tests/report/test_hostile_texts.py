"""report.html in headless Chromium with texts that would run, break a page or a spreadsheet if they were not text."""

import pandas as pd
import pytest

from benchmarks.report_inputs import analysed
from datamap.data.examples import load_examples
from datamap.data.sources import open_source
from tests.browsing import (
    click,
    downloaded,
    ids_where,
    opened,
    plain_rows,
    save,
    script,
    table_ids,
    text_of,
    tip_of,
    wait_for,
)

pytestmark = pytest.mark.browser

HEBREW = "\u05de\u05d4 \u05d4\u05de\u05d9\u05e0\u05d5\u05df"
LONG = "word \U0001f600 " * 8_600  # more than 60,000 characters
# (id, question, context, answer): texts that would run, break a page, a cell or a spreadsheet if they were not text.
HOSTILE = [
    ("=1+1", "<script>alert(1)</script>", "</script><script>window.hacked = 1</script>", "window"),
    ("@id", "<img src=x onerror='window.hacked = 1'>", "It was <b>bold</b> & &amp; said.", "<b>bold</b>"),
    ("+1x", "{{x}} {% y %} ${z} $head", "=HYPERLINK(\"http://example.org\")", "HYPERLINK"),
    ("-1", "=cmd|' /C calc'!A0", "-2 degrees,\r\n\"quoted\", and a\rreturn", "\"quoted\""),
    ("0012", "\uff1dA1 \" ' ` \\ \\u003c", "@SUM(A1) is\tno mail", "@SUM(A1)"),
    ("null", "emoji \U0001f600\U0001f489?", "\U0001f600 before 20 \u00b5g \U0001f489", "20 \u00b5g"),
    ("-a b", HEBREW + "?", f"{HEBREW} 20 mg.", "20 mg"),
    ("'a", "+1 and\u2028two\u2029lines", f"{LONG}the end", "the end"),
]  # fmt: skip


@pytest.fixture
def hostile(chromium, tmp_path):
    """A report of hostile texts, freshly opened, and its canonical frame."""
    rows = {
        "id": [row[0] for row in HOSTILE],
        "context": [row[2] for row in HOSTILE],
        "question": [row[1] for row in HOSTILE],
        "answers": [{"text": [row[3]], "answer_start": [row[2].index(row[3])]} for row in HOSTILE],
    }
    texts = pd.DataFrame(rows)
    frame, probs, found = analysed(texts)
    frame["words"] = "</script><script>alert(2)</script>"
    frame["question_type"] = [row[1] for row in HOSTILE]
    frame["predicted_answer"] = "<svg onload=alert(3)>"
    found["findings"] = [{"kind": "hard_outliers", "sentence": f"{HOSTILE[0][1]} {HOSTILE[2][1]}"}]
    path = save(tmp_path, texts, frame, probs, found, title="<script>alert(4)</script>")
    for browser in opened(chromium, path):
        yield browser, texts, frame


def test_hostile_texts_are_shown_as_they_are_and_run_nothing(hostile):
    browser, texts, frame = hostile
    assert text_of(browser, "title") == "<script>alert(4)</script>"
    assert script(browser, "return document.querySelector('#findings li').textContent").startswith(HOSTILE[0][1])
    assert table_ids(browser) == texts["id"].tolist()
    cells = script(
        browser, "return [...document.querySelectorAll('#rows .text-column')].map((node) => node.textContent)"
    )
    assert cells == texts["question"].tolist()
    for row in range(len(texts)):
        click(browser, f"#rows tr[data-row='{row}'] button")
        wait_for(
            lambda row=row: (
                script(browser, "return document.querySelector('#detail h3')?.textContent") == texts["id"][row]
            )
        )
        shown = script(
            browser, "return [...document.querySelectorAll('#detail .context, #detail mark')].map((n) => n.textContent)"
        )
        assert shown == [texts["context"][row], frame["answer"][row]]
        assert texts["question"][row] in text_of(browser, "detail")
    tip = tip_of(browser, frame, 1)
    assert HOSTILE[1][1] in tip
    assert "<svg onload=alert(3)>" in tip
    assert script(browser, "return document.querySelectorAll('script').length") == 2
    assert script(browser, "return document.querySelectorAll('img, b:not(.facts b):not(.tip b)').length") == 0
    assert script(browser, "return window.hacked ?? null") is None


def test_hostile_texts_come_back_from_the_csv_file(hostile):
    browser, texts, _ = hostile
    path = downloaded(browser)
    raw = pd.read_csv(path, dtype=str, keep_default_na=False)
    for cell in raw.to_numpy().ravel():
        assert cell[:1] not in set("=+@\uff1d\t\r\n"), cell
        assert not cell.startswith("-") or float(cell) < 0
    assert raw["id"].tolist() == ["'=1+1", "'@id", "'+1x", "-1", "0012", "null", "'-a b", "'a"]
    changed = raw["apostrophe_before"].str.split().map(lambda names: "id" in names)
    assert raw["id"].where(~changed, raw["id"].str[1:]).tolist() == texts["id"].tolist()
    again = load_examples(open_source(str(path), "qa"), "train", "qa")
    assert plain_rows(again.frame) == plain_rows(texts)


def test_what_the_search_finds_in_hostile_texts(hostile):
    browser, texts, _ = hostile
    words = (texts["question"] + "\n" + texts["context"] + "\n" + texts["id"]).str.lower()
    for text in ("<script>", "{{X}}", "\U0001f489", HEBREW[-6:], "$head"):
        script(
            browser,
            """
            const search = document.getElementById("search");
            search.value = arguments[0];
            search.dispatchEvent(new Event("input"));
            """,
            text,
        )
        expected = ids_where(texts, words.str.contains(text.lower(), regex=False))
        wait_for(lambda expected=expected: table_ids(browser) == expected)
