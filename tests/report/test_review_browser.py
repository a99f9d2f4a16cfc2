"""review.html in headless Chromium without a network: every key, marking words, undo, storage, files, what is told."""

import json

import pytest
from scipy.stats import binomtest

from benchmarks import browser as headless
from tests.browsing import click, script, text_of, wait_for
from tests.reviewing import (
    corrections,
    drag_over,
    leave,
    marked_text,
    nli_row,
    open_corrections,
    opened_review,
    press,
    qa_row,
    save_review,
)

pytestmark = pytest.mark.browser

NOTE = "Aspirin 81 mg daily was stopped. Warfarin 5 mg nightly was begun for fibrillation."
LABELS = ("entailment", "neutral", "contradiction")
NLI = [nli_row(f"p{number}", f"A man sings {number}.", "Somebody sings.", LABELS[number % 3]) for number in range(4)]
QA = [
    qa_row("a", NOTE, "Aspirin", "Warfarin", question="Which was begun?"),
    qa_row("b", NOTE, "81 mg", "5 mg", is_swapped=True, rank=2),
    qa_row("c", NOTE, "", "nightly", rank=3, kind="has_answer"),
    qa_row("d", NOTE, "fibrillation", "", rank=4, kind="no_answer"),
    qa_row("e", NOTE, "daily", rank=None, score=None, kind=None, drawn="audit"),
    qa_row("f", NOTE, "Warfarin", "Warfarin 5 mg", rank=5, kind="boundary"),
]


@pytest.fixture
def page(chromium, tmp_path):
    yield from opened_review(chromium, save_review(tmp_path, QA, n_rows=40))


@pytest.fixture
def pairs(chromium, tmp_path):
    yield from opened_review(chromium, save_review(tmp_path, NLI, LABELS))


def answer(text):
    return {"text": [text], "answer_start": [NOTE.index(text)]} if text else {"text": [], "answer_start": []}


def told(browser):
    return text_of(browser, "said")


def shown_options(browser):
    return script(browser, "return [...document.querySelectorAll('#options .answer')].map((node) => node.textContent)")


def test_every_key_of_qa_makes_its_decision_and_tells_which_answer_was_which(page):
    assert text_of(page, "number") == "Row 1 of 6"
    assert shown_options(page) == ["1 Aspirin", "2 Warfarin"]
    press(page, "2")
    assert (
        told(page) == "Row 1: the other answer becomes the label. 1 was the published label, 2 what the models found."
    )
    assert shown_options(page) == ["1 5 mg", "2 81 mg"]
    press(page, "2")
    assert told(page) == "Row 2: the published label stays. 1 was what the models found, 2 the published label."
    assert shown_options(page) == ["1 the text does not answer it", "2 nightly"]
    press(page, "u")
    assert told(page).startswith("Row 3: the published label stays.")
    press(page, "d")
    assert told(page).startswith("Row 4: the row is left out.")
    assert shown_options(page) == ["1 daily"]
    press(page, "2")  # there is no second answer
    assert text_of(page, "number") == "Row 5 of 6"
    press(page, "u")
    assert told(page) == "Row 5: the row becomes unanswerable. There was one answer, the published one."
    press(page, "b")
    assert text_of(page, "progress") == "6 decided · 3 changed · 1 left out · 0 left"
    assert text_of(page, "done").startswith("Every row of this page is decided.")
    lines = corrections(page)
    both = {"text": ["Warfarin", "Warfarin 5 mg"], "answer_start": [NOTE.index("Warfarin")] * 2}
    assert [(line["id"], line["decision"], line["after"]) for line in lines] == [
        ("a", "other", answer("Warfarin")), ("b", "stays", answer("81 mg")), ("c", "stays", answer("")),
        ("d", "left_out", None), ("e", "no_answer", answer("")), ("f", "both", both),
    ]  # fmt: skip
    for row, line in zip(QA, lines, strict=True):
        assert list(line) == ["id", "field", "before", "after", "before_sha256", "decision", "kind", "score", "rank",
                              "drawn", "reviewer", "decided_at"]  # fmt: skip
        assert line["field"] == "answers"
        assert {
            name: row[name] for name in ("before", "before_sha256", "kind", "score", "rank", "drawn")
        }.items() <= line.items()


def test_every_key_of_nli(pairs):
    assert text_of(pairs, "context") == "A man sings 0."
    assert shown_options(pairs) == ["1 entailment", "2 neutral", "3 contradiction"]
    press(pairs, "3")
    assert told(pairs) == "Row 1: the label changes. Published was entailment."
    for key in ("4", "b", "n", "u"):  # keys of QA and labels that do not exist
        press(pairs, key)
        assert text_of(pairs, "number") == "Row 2 of 4"
    press(pairs, "2")
    assert told(pairs) == "Row 2: the published label stays. Published was neutral."
    press(pairs, "s")
    assert text_of(pairs, "number") == "Row 4 of 4"
    press(pairs, "d")
    assert text_of(pairs, "number") == "Row 3 of 4"
    press(pairs, "z")
    assert (told(pairs), text_of(pairs, "number")) == ("Row 4: the decision is undone.", "Row 4 of 4")
    found = [
        (line["id"], line["field"], line["before"], line["after"], line["decision"]) for line in corrections(pairs)
    ]
    assert found == [
        ("p0", "label", "entailment", "contradiction", "label"),
        ("p1", "label", "neutral", "neutral", "stays"),
    ]


def test_later_undo_and_the_list_lead_to_the_right_rows(page):
    press(page, "s")
    assert (text_of(page, "number"), text_of(page, "progress")) == ("Row 2 of 6", "0 decided · 0 changed · 6 left")
    press(page, "1", "1", "1", "1", "1")
    assert text_of(page, "number") == "Row 1 of 6"  # put off, so the last
    press(page, "z")
    assert text_of(page, "number") == "Row 6 of 6"
    press(page, "z", "z", "z", "z", "z", "z")
    assert (text_of(page, "number"), text_of(page, "progress")) == ("Row 2 of 6", "0 decided · 0 changed · 6 left")
    assert page.find_element("id", "undo").get_property("disabled")
    press(page, "2")
    click(page, "#list")
    states = script(page, "return [...document.querySelectorAll('#rows small')].map((node) => node.textContent)")
    assert states == [" later", " the published label stays", " ", " ", " ", " "]
    click(page, "#rows button", "5 ")
    assert text_of(page, "number") == "Row 5 of 6"
    click(page, "#list")
    page.find_element("id", "which").send_keys("decided")
    wait_for(lambda: script(page, "return document.querySelectorAll('#rows button').length") == 1)
    click(page, "#rows button")
    assert shown_options(page) == [
        "1 5 mg found by the models",
        "2 81 mg published label",
    ]  # decided, so it may be told
    press(page, "1")
    assert text_of(page, "progress") == "1 decided · 1 changed · 5 left"


def test_marking_by_keys_takes_whole_words_or_with_alt_single_characters(page):
    press(page, "n")
    assert marked_text(page) == "Aspirin"
    press(page, "right", "right")
    assert marked_text(page) == "mg"
    press(page, "right", "right", "right", shift=True)
    assert marked_text(page) == "mg daily was stopped"
    press(page, "left", "left", "left", "left", shift=True)
    assert marked_text(page) == "81 mg"
    press(page, "right", "right", shift=True)
    assert marked_text(page) == "mg daily"
    press(page, "left", "left", shift=True, alt=True)
    assert marked_text(page) == "mg dai"
    press(page, "\ue007")
    assert told(page).startswith("Row 1: your words become the label.")
    assert corrections(page)[0]["after"] == {"text": ["mg dai"], "answer_start": [NOTE.index("mg dai")]}


def test_giving_up_marking_changes_nothing_and_the_marked_label_itself_stays(page):
    press(page, "n", "right", "\ue00c")
    assert (text_of(page, "number"), page.find_element("id", "marking").is_displayed()) == ("Row 1 of 6", False)
    press(page, "n", "\ue007")
    assert told(page).startswith("Row 1: the published label stays.")
    press(page, "n")
    press(page, "right", shift=True)
    assert marked_text(page) == "5 mg"
    press(page, "\ue007")
    assert told(page).startswith("Row 2: the other answer becomes the label.")
    assert [line["decision"] for line in corrections(page)] == ["stays", "other"]


def test_the_mouse_marks_words_across_lines(chromium, tmp_path):
    context = "one two three\nfour five six\nseven eight"
    for browser in opened_review(
        chromium, save_review(tmp_path, [qa_row("a", context, "one"), qa_row("b", context, "six")])
    ):
        drag_over(browser, "wo three", "fo")
        assert marked_text(browser) == "two three\nfour"
        press(browser, "\ue007")
        drag_over(browser, "wo three", "fo", alt=True)
        assert marked_text(browser) == "wo three\nfo"
        press(browser, "right", shift=True)
        assert marked_text(browser) == "two three\nfour five"
        press(browser, "down", shift=True)
        assert marked_text(browser) == "two three\nfour five six\nseven eight"
        click(browser, "#take")
        starts = [line["after"]["answer_start"] for line in corrections(browser)]
        assert starts == [[4], [4]]


def test_what_a_finger_selects_while_marking_is_taken_by_the_button(page):
    click(page, "#mark")
    script(page, """
        const box = document.getElementById("context");
        const range = document.createRange();
        range.setStart(box.lastChild, 2);
        range.setEnd(box.lastChild, 15);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
    """)  # fmt: skip
    assert script(page, "return getSelection().toString()") == " mg nightly w"
    wait_for(lambda: marked_text(page) == "mg nightly was")
    click(page, "#take")
    assert corrections(page)[0]["after"]["text"] == ["mg nightly was"]


def test_labels_beyond_the_ninth_have_a_button_alone(chromium, tmp_path):
    labels = [f"class {number}" for number in range(1, 12)]
    for browser in opened_review(chromium, save_review(tmp_path, [nli_row("a", "p", "h", "class 2")], labels)):
        assert shown_options(browser)[8:] == ["9 class 9", " class 10", " class 11"]
        click(browser, "#options button", " class 10")
        assert corrections(browser)[0]["after"] == "class 10"


def test_arrows_follow_the_direction_of_the_text_and_places_count_code_points(chromium, tmp_path):
    hebrew = "\U0001f600 \u05d4\u05d7\u05d5\u05dc\u05d4 \u05e0\u05d8\u05dc "
    hebrew += "\u05d0\u05e1\u05e4\u05d9\u05e8\u05d9\u05df \u05d1\u05e2\u05e8\u05d1."
    words = hebrew.split()
    for browser in opened_review(chromium, save_review(tmp_path, [qa_row("a", hebrew, words[1])])):
        press(browser, "n")
        assert marked_text(browser) == words[1]
        press(browser, "left")
        assert marked_text(browser) == words[2]
        press(browser, "left", shift=True)
        assert marked_text(browser) == f"{words[2]} {words[3]}"
        press(browser, "right", shift=True)
        press(browser, "\ue007")
        (line,) = corrections(browser)
        assert line["after"] == {"text": [words[2]], "answer_start": [hebrew.index(words[2])]}


def test_decisions_stay_in_the_browser_and_the_reviewer_with_them(chromium, tmp_path):
    path = save_review(tmp_path, QA)
    for browser in opened_review(chromium, path):
        field = browser.find_element("id", "reviewer")
        field.send_keys("1b")  # keys typed there decide nothing
        field.send_keys("\ue004")
        assert text_of(browser, "number") == "Row 1 of 6"
        browser.find_element("id", "row").send_keys("2")
        leave(browser)
        headless.open_page(browser, path)
        assert told(browser) == "Going on after 1 decisions that this browser kept."
        assert text_of(browser, "number") == "Row 2 of 6"
        (line,) = corrections(browser)
        assert (line["reviewer"], line["decision"]) == ("1b", "other")
        other = save_review(tmp_path, [QA[0] | {"other": None}, *QA[1:]])
        headless.open_page(browser, other)
        assert text_of(browser, "progress") == "0 decided · 0 changed · 6 left"  # another queue, another memory


def test_closing_asks_while_decisions_are_not_saved(chromium, tmp_path):
    path = save_review(tmp_path, QA)
    for browser in opened_review(chromium, path):
        asks = """
            const event = new Event("beforeunload", { cancelable: true });
            dispatchEvent(event);
            return event.defaultPrevented;
        """
        assert not script(browser, asks)
        press(browser, "1")
        assert script(browser, asks)
        corrections(browser)
        assert not script(browser, asks)
        press(browser, "z")
        assert script(browser, asks)


def test_a_file_goes_on_elsewhere_and_lines_of_other_pages_stay_in_it(chromium, tmp_path):
    saved = tmp_path / "mine.jsonl"
    lines = [
        {"id": "b", "field": "answers", "before": {"answer_start": [8], "text": ["81 mg"]}, "after": None},
        {"id": "a", "field": "answers", "before": answer("Aspirin"), "after": answer("stopped"), "reviewer": "Ann",
         "decision": "marked", "decided_at": "2026-11-26T10:00:00Z"},
        {"id": "elsewhere", "field": "answers", "before": answer("daily"), "after": answer("daily"), "note": "kept"},
    ]  # fmt: skip
    saved.write_text("\ufeff" + "\r\n".join(json.dumps(line) for line in lines) + "\r\n\r\n", encoding="utf-8")
    for browser in opened_review(chromium, save_review(tmp_path, QA)):
        browser.find_element("id", "reviewer").send_keys("Bob")
        browser.find_element("id", "reviewer").send_keys("\ue004")
        browser.find_element("id", "row").send_keys("2")  # later than Ann's
        open_corrections(browser, saved)
        wait_for(lambda browser=browser: "decisions of mine.jsonl are here" in told(browser))
        assert told(browser).endswith("1 lines about rows that are not on this page stay in the file as they are.")
        assert text_of(browser, "number") == "Row 3 of 6"
        foreign, first, second = corrections(browser)
        assert foreign == lines[2]
        assert (first["id"], first["decision"], first["reviewer"]) == ("a", "other", "Bob")
        assert (second["id"], second["decision"], second["after"]) == ("b", "left_out", None)


@pytest.mark.parametrize(("text", "said"), [
    ("{", "line 1 is not JSON"),
    ("\n[1]\n", "line 2 is no correction"),
    ('{"id": "a", "before": 1, "after": true}', "line 1 is no correction"),
    (json.dumps({"id": "a", "before": answer("daily"), "after": None}), "line 1 is about another label of the row a"),
    (json.dumps({"id": "x", "before": answer("Warfarin"), "after": None}), "it decides about no row of this page"),
    ("", "it decides about no row of this page"),
])  # fmt: skip
def test_a_file_that_does_not_fit_changes_nothing(page, tmp_path, text, said):
    press(page, "2")
    path = tmp_path / "bad.jsonl"
    path.write_text(text, encoding="utf-8")
    open_corrections(page, path)
    wait_for(lambda: told(page) == f"bad.jsonl was not opened: {said}.")
    assert text_of(page, "progress") == "1 decided · 1 changed · 5 left"


@pytest.mark.parametrize("change", [{"drawn": "audit"}, {"rank": None, "score": None, "kind": None}, {"score": 0.99}])
def test_nothing_on_the_screen_tells_the_draws_apart(chromium, tmp_path, change):
    seen = []
    for row in (QA[0], QA[0] | change):
        for browser in opened_review(chromium, save_review(tmp_path, [row, QA[4]])):
            seen.append(script(browser, "return document.body.outerHTML"))
            click(browser, "#list")
            seen.append(script(browser, "return document.body.outerHTML"))
    assert seen[:2] == seen[2:]


def test_nothing_on_the_screen_tells_the_published_label_from_the_other_answer(chromium, tmp_path):
    seen = []
    for row in (qa_row("a", NOTE, "Aspirin", "Warfarin"), qa_row("a", NOTE, "Warfarin", "Aspirin", is_swapped=True)):
        for browser in opened_review(chromium, save_review(tmp_path, [row, QA[1]])):
            seen.append(script(browser, "return document.body.outerHTML"))
    assert seen[0] == seen[1]
    for browser in opened_review(chromium, save_review(tmp_path, QA, show_origin=True)):
        assert shown_options(browser) == ["1 Aspirin published label", "2 Warfarin found by the models"]


HOSTILE = [
    ("</script><script>window.hacked = 1</script>", "<img src=x onerror='window.hacked = 1'> and more", "<img"),
    ("${z} $head {{x}}", "\U0001f600 before 20 \u00b5g\r\nand a\rreturn\u2028line", "20 \u00b5g"),
    ("__proto__", "constructor <!-- & &amp; -->", "&amp;"),
]


def test_hostile_texts_are_shown_as_they_are_and_come_back_as_they_were(chromium, tmp_path):
    rows = [
        qa_row(f"{question}", context, label, context.split()[0], question=question)
        for question, context, label in HOSTILE
    ]
    for browser in opened_review(chromium, save_review(tmp_path, rows, title="<b>x</b>")):
        for question, context, _ in HOSTILE:
            assert (text_of(browser, "text"), text_of(browser, "context")) == (question, context)
            press(browser, "1")
        assert script(browser, "return window.hacked") is None
        lines = corrections(browser)
        assert [(line["id"], line["before"]) for line in lines] == [(row["id"], row["before"]) for row in rows]


def test_errors_left_are_said_with_the_interval_of_clopper_and_pearson(chromium, tmp_path):
    audits = [
        qa_row(f"r{number}", NOTE, "Aspirin", "Warfarin", drawn="audit", rank=500 + number) for number in range(31)
    ]
    for browser in opened_review(chromium, save_review(tmp_path, [QA[0], *audits], n_rows=1000)):
        press(browser, "2", *"1" * 29)
        assert text_of(browser, "estimate").startswith("How many errors are left is said once enough rows")
        press(browser, "2")
        low, high = binomtest(1, 30).proportion_ci(method="exact")
        n_left = 1000 - 31
        expected = (
            f"About {round(n_left / 30)} of the {n_left} rows not decided probably have a label that would not stand"
        )
        expected += (
            f" (95% interval {round(low * n_left)} to {round(high * n_left)}): 1 of 30 rows drawn at random did."
        )
        assert text_of(browser, "estimate") == expected
        press(browser, "d")
        assert "1 of 31 rows drawn at random did." in text_of(browser, "estimate")


def test_two_thousand_rows_are_decided_one_after_the_other(chromium, tmp_path):
    rows = [
        qa_row(f"r{number}", f"{NOTE} {number % 50}", "Aspirin", "Warfarin", rank=number + 1) for number in range(2000)
    ]
    path = save_review(tmp_path, rows)
    assert path.stat().st_size < 1_000_000
    for browser in opened_review(chromium, path):
        script(browser, """
            for (let number = 0; number < 300; number++) {
              document.body.dispatchEvent(new KeyboardEvent("keydown", { key: number % 2 ? "2" : "1", bubbles: true }));
            }
        """)  # fmt: skip
        assert text_of(browser, "progress").startswith("300 decided · 150 changed · 1,700 left")
        assert len(corrections(browser)) == 300
