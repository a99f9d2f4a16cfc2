"""report.html in headless Chromium without a network: what a person does with it, and what hostile texts cannot."""

import importlib
import json

import numpy as np
import pandas as pd
import pytest

import helpers
from benchmarks import browser as headless
from benchmarks.report_inputs import analysed, questions
from datamap.data.examples import load_examples
from datamap.data.sources import open_source
from tests.browsing import (
    click,
    downloaded,
    drag_around,
    ids_where,
    opened,
    plain_rows,
    save,
    script,
    selected_ids,
    shown_points,
    table_ids,
    text_of,
    tip_of,
    wait_for,
)

pytestmark = pytest.mark.browser

SEARCHED = "hypertension"
RUN = ("--do_train", "--do_eval", "--enable_cartography", "--dataset", "demo", "--no_cuda", "--precision", "float32",
       "--max_train_samples", "300", "--max_eval_samples", "40", "--num_train_epochs", "2", "--max_length", "128",
       "--doc_stride", "32", "--learning_rate", "1e-3", "--save_strategy", "no", "--model")  # fmt: skip
JOIN = ("--cartography_dir", "cartography_output", "--cluster_dir", "cluster_output")


@pytest.fixture(scope="module")
def made():
    texts = questions(300)
    return texts, *analysed(texts)


@pytest.fixture
def page(chromium, made, tmp_path):
    """The demo's report, freshly opened; afterwards nothing was asked for and nothing complained."""
    path = save(tmp_path, *made)
    yield from opened(chromium, path)


def test_first_screen_and_point_counts(page, made):
    _, frame, _, found = made
    assert text_of(page, "title") == "demo:noisy, train"
    assert text_of(page, "lead").startswith("300 examples, 296 of them watched over 5 epochs of training.")
    assert text_of(page, "status") == "300 of 300 examples shown, none selected."
    assert shown_points(page, "data-map") == 296
    assert shown_points(page, "cluster-map") == 300
    sentences = script(page, "return [...document.querySelectorAll('#findings li')].map((node) => node.textContent)")
    assert sentences == [finding["sentence"] for finding in found["findings"]]
    assert "300 examples" in page.title or "demo:noisy" in page.title
    assert table_ids(page) == frame["id"].tolist()


@pytest.mark.parametrize(("name", "x", "y"), [("data-map", "variability", "confidence"), ("cluster-map", "x", "y")])
def test_a_lasso_selects_the_same_examples_on_both_maps_and_in_the_table(page, made, name, x, y):
    frame = made[1]

    def middle(places, _):
        return np.nanquantile(places, [0.1, 0.6], axis=0)

    inside, near = drag_around(page, frame, name, [x, y], middle)
    found = wait_for(lambda: selected_ids(page, frame, name))
    assert 20 < len(found) < 200
    assert set(inside) <= set(found) <= set(near)
    assert selected_ids(page, frame, "data-map") == selected_ids(page, frame, "cluster-map") == found
    assert table_ids(page) == found
    assert text_of(page, "status") == f"300 of 300 examples shown, {len(found)} selected."
    click(page, "#clear")
    assert selected_ids(page, frame, name) == []
    assert len(table_ids(page)) == 300


def test_search_narrows_both_maps_and_the_table(page, made):
    texts, frame, _, _ = made
    words = texts["context"] + "\n" + texts["question"]
    expected = ids_where(texts, words.str.lower().str.contains(SEARCHED))
    assert 0 < len(expected) < 200
    page.find_element("id", "search").send_keys(SEARCHED.upper())
    wait_for(lambda: text_of(page, "status") == f"{len(expected)} of 300 examples shown, none selected.")
    assert table_ids(page) == expected
    assert shown_points(page, "cluster-map") == len(expected)
    tracked = frame["region"].notna() & frame["id"].isin(expected)
    assert shown_points(page, "data-map") == tracked.sum()
    click(page, "#reset")
    assert shown_points(page, "cluster-map") == 300


def test_region_toggle_and_correctness_slider(page, made):
    frame = made[1]
    click(page, "#toggles input[value=easy]")
    expected = ids_where(frame, frame["region"].fillna("") != "easy")
    assert table_ids(page) == expected
    assert shown_points(page, "cluster-map") == len(expected)
    click(page, "#toggles input[value=easy]")
    script(page, """
        const slider = document.getElementById("correctness-to");
        slider.value = 0.4;
        slider.dispatchEvent(new Event("input"));
    """)  # fmt: skip
    expected = ids_where(frame, (frame["correctness"] <= 0.4).fillna(False))
    assert table_ids(page) == expected
    assert 0 < shown_points(page, "data-map") == len(expected) < 296


def test_a_click_on_a_finding_selects_its_examples(page, made):
    _, frame, _, found = made
    finding = next(finding for finding in found["findings"] if finding["kind"] == "more_hard_than_chance")
    expected = ids_where(frame, (frame["cluster"] == finding["cluster"]) & (frame["region"] == "hard"))
    assert len(expected) == finding["count"]
    click(page, "#findings button", finding["sentence"])
    assert selected_ids(page, frame, "data-map") == selected_ids(page, frame, "cluster-map") == expected
    assert table_ids(page) == expected
    click(page, "#toggles input[value=hard]")
    assert table_ids(page) == []
    assert f"0 selected ({len(expected)} more are hidden by the settings above)" in text_of(page, "status")


def test_regions_groups_and_colours_are_buttons_that_select(page, made):
    frame = made[1]
    click(page, "#regions button", f"{(frame['region'] == 'hard').sum()} hard")
    assert table_ids(page) == ids_where(frame, frame["region"] == "hard")
    click(page, "#groups button", "when")
    assert table_ids(page) == ids_where(frame, frame["question_type"] == "when")
    script(page, """
        const colour = document.getElementById("colour");
        colour.value = "cluster";
        colour.dispatchEvent(new Event("change"));
    """)  # fmt: skip
    click(page, "#legend button", "noise")
    assert table_ids(page) == ids_where(frame, frame["cluster"] == -1)


@pytest.mark.parametrize("column", ["confidence", "answer"])
def test_the_table_is_sorted_by_a_column(page, made, column):
    frame = made[1]
    click(page, "#head-row button", column)
    first = table_ids(page)
    shown = frame.set_index("id")[column]
    if column == "confidence":
        assert shown[first].dropna().astype(float).round(5).is_monotonic_increasing
        assert shown[first].isna().tolist() == [False] * 296 + [True] * 4
    click(page, "#head-row button", column)
    last = table_ids(page)
    assert shown[last].tolist()[0] != shown[first].tolist()[0]
    assert script(page, "return document.querySelector('[aria-sort]').getAttribute('aria-sort')") == "descending"


def test_every_colour_can_be_chosen(page):
    colours = script(page, """
        const colour = document.getElementById("colour");
        const source = Bokeh.documents[0].get_model_by_name("points");
        return [...colour.options].map((option) => {
          colour.value = option.value;
          colour.dispatchEvent(new Event("change"));
          return [option.value, new Set(source.data.colour).size];
        });
    """)  # fmt: skip
    found = dict(colours)
    assert {"region": 4, "cluster": 9} | found == found
    assert {"question_type", "correctness", "confidence", "loss", "forgetting_events"} <= found.keys()
    assert found["confidence"] > 10


def test_an_example_shows_its_context_with_the_answer_marked_and_its_line(page, made):
    texts, frame, probs, _ = made
    row = 40
    click(page, f"#rows tr[data-row='{row}'] button")
    assert (
        wait_for(lambda: script(page, "return document.querySelector('#detail mark')?.textContent"))
        == frame["answer"][row]
    )
    assert script(page, "return document.querySelector('#detail .context').textContent") == texts["context"][row]
    label = script(page, "return document.querySelector('#detail svg').getAttribute('aria-label')")
    assert label == "Gold probability by epoch: " + ", ".join(f"{value:.3f}" for value in np.round(probs[:, row], 3))


def test_every_number_of_an_example_is_its_own(page, made):
    frame, row = made[1], 40
    titles = script(page, "return [...document.querySelectorAll('#head-row th')].map((node) => node.textContent)")
    cells = script(
        page,
        "return [...document.querySelector(`#rows tr[data-row='${arguments[0]}']`).children].map((n) => n.textContent)",
        row,
    )
    found = dict(zip(titles, cells, strict=True))
    for title, name in (("confidence", "confidence"), ("variability", "variability"), ("aum", "aum"), ("loss", "loss")):
        assert float(found[title]) == pytest.approx(frame[name][row], abs=6e-4)
    assert found["forgetting events"] == str(frame["forgetting_events"][row])
    click(page, f"#rows tr[data-row='{row}'] button")
    wait_for(lambda: script(page, "return document.querySelector('#detail h3')?.textContent") == frame["id"][row])
    figures = dict(script(page, """
        const lines = [...document.querySelectorAll("#detail .figures div")];
        return lines.map((line) => [...line.children].map((node) => node.textContent));
    """))  # fmt: skip
    for name in ("confidence", "variability", "aum", "loss", "span_f1"):
        assert float(figures[name.replace("_", " ")]) == pytest.approx(frame[name][row], abs=6e-4)
    read = pd.read_csv(downloaded(page), dtype={"id": str})
    assert read["id"].tolist() == frame["id"].tolist()
    for name in ("confidence", "variability", "correctness"):
        np.testing.assert_allclose(read[name], frame[name].astype(float), rtol=1e-5)


def test_a_click_on_a_point_selects_it_alone(page, made):
    from selenium.webdriver import ActionChains

    frame = made[1]
    click(page, "#regions button", f"{(frame['region'] == 'hard').sum()} hard")
    row = frame["x"].idxmin()  # no other point is beside it
    tip_of(page, frame, row)
    ActionChains(page).click().perform()
    wait_for(lambda: table_ids(page) == [frame["id"][row]])


def test_a_sampled_page_says_so_and_a_button_without_examples_cannot_be_pressed(chromium, made, tmp_path):
    frame = made[1]
    path = save(tmp_path, *made, max_points=6, notes=["The first epoch is left out."], first_epoch=2)
    for browser in opened(chromium, path):
        warnings = script(browser, "return [...document.querySelectorAll('#warnings li')].map((n) => n.textContent)")
        assert warnings[0] == "The first epoch is left out."
        assert text_of(browser, "sample-note").startswith("The page shows 6 of 300 examples, drawn with seed 42")
        ids = table_ids(browser)
        assert len(ids) == 6
        shown = set(frame["question_type"][frame["id"].isin(ids)])
        states = script(browser, """
            return [...document.querySelectorAll("#groups button")].map((node) => [node.textContent, node.disabled]);
        """)  # fmt: skip
        assert {name for name, disabled in states if not disabled} == shown
        assert any(disabled for _, disabled in states)
        tracked = set(frame["id"][frame["region"].notna()])
        row = next(row for row, identifier in enumerate(ids) if identifier in tracked)
        click(browser, f"#rows tr[data-row='{row}'] button")
        line = "return document.querySelector('#detail svg')?.textContent"
        assert "epoch 2: " in wait_for(lambda browser=browser, line=line: script(browser, line))


def test_hovering_says_what_a_point_is(page, made):
    frame = made[1]
    row = frame["x"].idxmin()
    tip = tip_of(page, frame, row)
    for name in ("question", "answer", "predicted_answer", "region"):
        assert str(frame[name][row]) in tip
    assert not script(page, "return document.getElementById('tip').hidden")


def test_the_page_works_from_the_keyboard(page, made):
    from selenium.webdriver import Keys

    frame = made[1]
    for selector, key in (("#regions button", Keys.ENTER), ("#toggles input", Keys.SPACE), ("#clear", Keys.ENTER)):
        page.find_element("css selector", selector).send_keys(key)
    assert len(table_ids(page)) == (frame["region"].fillna("") != "easy").sum()
    page.find_element("xpath", "//th/button[text()='confidence']").send_keys(Keys.ENTER)
    assert script(page, "return document.activeElement.textContent") == "confidence ▲"
    page.find_element("css selector", "#rows button").send_keys(Keys.ENTER)
    wait_for(lambda: script(page, "return document.activeElement.id") == "detail")
    without = script(page, """
        return [...document.querySelectorAll("button, input, select")]
          .filter((node) => !(node.textContent.trim() || node.getAttribute("aria-label") || node.closest("label")))
          .map((node) => node.id);
    """)  # fmt: skip
    assert without == []


def test_dark_and_light(page):
    look = "return [document.documentElement.dataset.theme, getComputedStyle(document.body).backgroundColor, " \
           "Bokeh.documents[0].roots()[0].below[0].axis_label_text_color]"  # fmt: skip
    first = script(page, look)
    click(page, "#theme")
    second = script(page, look)
    assert {first[0], second[0]} == {"light", "dark"}
    assert first[1] != second[1]
    assert first[2] != second[2]


def test_maps_stack_on_a_phone_and_a_finger_scrolls_until_a_tool_is_chosen(page):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    headless.requested(page)
    page.refresh()
    wait_for(lambda: script(page, "return document.documentElement.dataset.ready"))
    try:
        boxes = script(page, """
            const boxes = ["data-map", "cluster-map"].map((id) => document.getElementById(id).getBoundingClientRect());
            return [document.documentElement.scrollWidth, boxes[0].bottom, boxes[1].top, boxes[0].width];
        """)  # fmt: skip
        assert boxes[0] <= 390
        assert boxes[1] <= boxes[2]
        assert boxes[3] > 300
        tools = "return Bokeh.documents[0].roots()[0].toolbar.tools.map((tool) => [tool.type, tool.active])"
        assert ["LassoSelectTool", False] in script(page, tools)
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_a_selection_is_read_back_by_pandas_and_by_run(page, made, command, tiny_model, tmp_path):
    texts, frame, _, _ = made
    click(page, "#regions button", f"{(frame['region'] == 'hard').sum()} hard")
    path = downloaded(page)
    expected = texts[frame["region"].to_numpy() == "hard"].reset_index(drop=True)
    read = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert read["id"].tolist() == expected["id"].tolist()
    assert read["question"].tolist() == expected["question"].tolist()
    assert [json.loads(cell)["text"] for cell in read["answers"]] == [answer["text"] for answer in expected["answers"]]
    assert set(read["region"]) == {"hard"}
    again = load_examples(open_source(str(path), "qa"), "train", "qa")
    assert len(again.problems) == 0
    assert plain_rows(again.frame) == plain_rows(expected)
    argv = ["--dataset", path, "--eval_dataset", path, "--eval_split", "train", "--model", tiny_model]
    argv += ["--output_dir", tmp_path / "out", "--max_steps", 1]
    code, _, err = command("--do_train", "--do_eval", *argv)
    assert code == 0, err
    lines = (tmp_path / "out" / "eval_predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == expected["id"].tolist()


@pytest.mark.slow
def test_the_report_of_the_chain_on_the_demo(chromium, tiny_model, tmp_path, monkeypatch):
    """All five scripts, trained for real though not for long, and the page that the last of them wrote."""
    monkeypatch.chdir(tmp_path)
    chain = {"run": [*RUN, str(tiny_model)], "analyze_cartography": [], "extract_embeddings": ["--no_cuda"]}
    chain |= {"cluster_analysis": ["--min_cluster_size", "5"], "analyze_dataset": [*JOIN]}
    for name, argv in chain.items():
        assert helpers.run_script(importlib.import_module(name).main, argv) == 0, name
    unified = pd.read_parquet("integrated_analysis/unified_analysis.parquet")
    findings = json.loads((tmp_path / "integrated_analysis" / "interesting_patterns.json").read_text("utf-8"))
    assert len(unified) == 300
    for browser in opened(chromium, tmp_path / "integrated_analysis" / "report.html"):
        assert text_of(browser, "title") == "demo, train"
        assert shown_points(browser, "data-map") == unified["region"].notna().sum()
        assert shown_points(browser, "cluster-map") == 300
        assert table_ids(browser) == unified["id"].tolist()
        buttons = "return [...document.querySelectorAll('#findings li')].map((node) => node.textContent)"
        assert script(browser, buttons) == [finding["sentence"] for finding in findings["findings"]]

        def left_half(places, pixel):
            """From 6 pixels outside the outermost points to the middle."""
            low, high = places.min(axis=0) - 6 * pixel, places.max(axis=0) + 6 * pixel
            return np.array([low, [np.median(places[:, 0]), high[1]]])

        inside, near = drag_around(browser, unified, "cluster-map", ["x", "y"], left_half)
        found = wait_for(lambda browser=browser: selected_ids(browser, unified, "data-map"))
        assert set(inside) <= set(found) <= set(near)
        assert 75 < len(inside) <= len(near) < 225
        assert table_ids(browser) == found
    for browser in opened(chromium, tmp_path / "cartography_analysis" / "report.html"):
        assert shown_points(browser, "data-map") == unified["region"].notna().sum()
        assert not script(browser, "return Boolean(document.querySelector('#cluster-map canvas'))")


def test_the_button_selects_the_most_suspicious_and_lists_them_first(chromium, made, tmp_path):
    texts, frame, probs, found = made
    ranks = pd.Series(np.random.default_rng(3).permutation(300) + 1.0).where(frame["region"].notna().to_numpy())
    suspected = frame.assign(suspicion=1 - ranks / 301, suspicion_rank=ranks.astype("Int64"))
    suspected["suspicion_kind"] = np.where(ranks.isna(), None, np.where(ranks % 2, "place", "boundary"))
    suspected["proposal"] = [None if rank % 3 else ("" if rank % 2 else f"words {rank}") for rank in ranks.fillna(1)]
    first = suspected.sort_values("suspicion_rank")["id"].tolist()[:100]
    for browser in opened(chromium, save(tmp_path, texts, suspected, probs, found)):
        click(browser, "#suspicious", "Most suspicious (100)")
        wait_for(
            lambda browser=browser: (
                selected_ids(browser, suspected, "data-map") == sorted(first, key=frame["id"].tolist().index)
            )
        )
        assert table_ids(browser) == first
        titles = script(
            browser, "return [...document.querySelectorAll('#head-row th')].map((node) => node.textContent)"
        )
        assert {"proposal", "suspicion", "suspicion rank ▲"} <= set(titles)
        place = titles.index("proposal")
        shown = script(
            browser,
            "return [...document.querySelectorAll('#rows tr')].map((row) => row.children[arguments[0]].textContent)",
            place,
        )  # noqa: E501
        known = suspected.set_index("id")["proposal"].to_dict()
        assert shown == ["" if pd.isna(known[row]) else known[row] or "(no answer)" for row in first]
        proposed = next(row for row in first if isinstance(known[row], str) and known[row])
        click(browser, f"#rows tr[data-row='{frame['id'].tolist().index(proposed)}'] button")
        wait_for(lambda browser=browser, text=known[proposed]: text in text_of(browser, "detail"))
    for browser in opened(chromium, save(tmp_path, texts, frame, probs, found)):
        assert script(browser, "return document.getElementById('suspicious').hidden")
