"""From suspects over a person in a browser to a corrected data set: what the page saves is what the script applies."""

import re

import numpy as np
import pandas as pd
import pytest

from datamap.data.examples import load_examples
from datamap.data.sources import open_source
from datamap.files import outputs
from datamap.labels import queue, rows
from tests.browsing import script, text_of
from tests.lines import lines_of, write_lines
from tests.reviewing import corrections, opened_review, press, save_review

pytestmark = pytest.mark.browser

N_SHOWN = 80


def queued(name, task):
    """(examples, rows as written, rows of a page): the ranking is the data's order; the other answer is "the"."""
    examples = load_examples(open_source(name, task), "train", task, whole=True)
    written = rows.written_rows(examples)
    ids = examples.frame["id"].tolist()
    table = pd.DataFrame({"id": ids, "score": np.linspace(1, 0, len(ids)), "rank": np.arange(1, len(ids) + 1)})
    numbers = pd.DataFrame(index=pd.Index(ids, name="id"))
    if task == "qa":
        starts = [row["context"].index(" ") + 1 for row in written]
        words = [row["context"][start:].split()[0] for row, start in zip(written, starts, strict=True)]
        numbers = numbers.assign(other_answer=words, other_start=starts)
    drawn = {"n_shown": N_SHOWN, "audit_share": 0.6, "seed": 3}
    return examples, written, queue.queue_of(written, table.assign(kind="place"), numbers, **drawn)


def apply(*words):
    import apply_corrections
    import helpers

    return helpers.run_script(apply_corrections.main, [str(word) for word in words])


@pytest.mark.parametrize(("name", "task", "keys"), [("demo:v2", "qa", "12budn"), ("demo:nli", "nli", "123d")])
def test_what_is_decided_on_the_page_is_what_the_corrected_data_hold(chromium, tmp_path, name, task, keys):
    examples, written, shown = queued(name, task)
    path = save_review(tmp_path, shown, examples.label_names, n_rows=len(written))
    for browser in opened_review(chromium, path):
        for number in range(N_SHOWN):
            key = keys[number % len(keys)]
            press(browser, key, *["\ue007"] * (key == "n"))
            if text_of(browser, "progress").startswith(f"{number} decided"):
                press(browser, "s")  # "both" where one of them is "no answer"
        sentence = text_of(browser, "estimate")
        saved = corrections(browser)
        assert script(browser, "return document.getElementById('problem').hidden")
    assert len(saved) > 60
    assert {line["decision"] for line in saved} >= {"stays", "left_out"}
    patch = write_lines(tmp_path / "corrections.jsonl", saved)
    out = tmp_path / "corrected"
    assert apply("--task", task, "--dataset", name, "--corrections", patch, "--output_dir", out) == 0
    field = rows.FIELDS[task]
    after = {line["id"]: line["after"] for line in saved}
    expected = [row | {field: after.get(row["id"], row[field])} for row in written]
    assert lines_of(out / "corrected.jsonl") == [row for row in expected if row[field] is not None]
    summary = outputs.read_json(out / "review_summary.json")
    assert (summary["decided"], summary["n_rows"]) == (len(saved), len(written))
    found = summary["estimate"]
    assert found["n_audited"] >= 30
    said = re.findall(r"[\d,]+", sentence.replace("95%", ""))
    names = ("errors_left", "n_undecided", "errors_left_low", "errors_left_high", "n_wrong", "n_audited")
    assert [int(number.replace(",", "")) for number in said] == [round(found[name]) for name in names]
    assert apply("--dataset", out / "corrected.jsonl", "--revert", "--output_dir", tmp_path / "restored") == 0
    assert lines_of(tmp_path / "restored" / "corrected.jsonl") == written
