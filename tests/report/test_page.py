"""The report's Python side: who is drawn, what the page is told, and that no text of the data can leave its place."""

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from benchmarks.report_inputs import N_EPOCHS, N_UNTRACKED, analysed, questions
from datamap.data.examples import Examples
from datamap.joint import patterns
from datamap.joint.join import text_columns
from datamap.report import rows as report_rows
from datamap.report.page import PAGE, SCRIPTS, build_report
from datamap.report.words import group_rows, lead, warnings
from tests.rows import qa_frame

HOSTILE = (
    "<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "<!--", "{{x}} $head ${style}",
    "\"quo'tes\"\\", "\U0001f600 a\u2028b\u2029c", "\u05e9\u05dc\u05d5\u05dd", "&lt;b&gt;",
)  # fmt: skip


@pytest.fixture(scope="module")
def made():
    """(canonical texts, unified frame, gold probabilities, patterns) of 300 demo questions."""
    texts = questions(300)
    return texts, *analysed(texts)


def build(made, **changes):
    texts, frame, probs, found = made
    settings = {"title": "demo, train", "gold_probs": probs, "patterns": found, "max_points": 1000, "seed": 42}
    return build_report(frame, texts, **(settings | changes))


class Page(HTMLParser):
    """The tags of a page, and the text inside each script element by its id."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.scripts, self.policy, self._inside = [], {}, "", None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self._inside = attrs.get("id", f"script {len(self.scripts)}") if tag == "script" else None
        if attrs.get("http-equiv") == "Content-Security-Policy":
            self.policy = attrs["content"]

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside:
            self.scripts[self._inside] = self.scripts.get(self._inside, "") + data

    def unpacked(self, name):
        return json.loads(gzip.decompress(base64.b64decode(self.scripts[name])))


def test_all_rows_are_drawn_where_there_are_few():
    regions, ids = pd.Series(["easy"] * 5), pd.Series(list("abcde"))
    assert report_rows.balanced_rows(regions, ids, 5, 0).tolist() == [0, 1, 2, 3, 4]


def test_the_sample_is_balanced_over_the_regions_and_takes_small_ones_whole():
    regions = pd.Series(["easy"] * 700 + ["ambiguous"] * 250 + ["hard"] * 40 + ["untracked"] * 10)
    ids = pd.Series([f"{number:04d}" for number in range(1000)])
    chosen = report_rows.balanced_rows(regions, ids, 200, 42)
    assert regions[chosen].value_counts().to_dict() == {"easy": 75, "ambiguous": 75, "hard": 40, "untracked": 10}
    assert (np.diff(chosen) > 0).all()


def test_the_sample_depends_on_the_seed_and_not_on_the_order():
    generator = np.random.default_rng(0)
    regions = pd.Series(generator.choice(["easy", "hard", "ambiguous"], 500))
    ids = pd.Series([f"row{number}" for number in range(500)])
    order = generator.permutation(500)
    shuffled = (regions.iloc[order].reset_index(drop=True), ids.iloc[order].reset_index(drop=True))
    drawn = set(ids[report_rows.balanced_rows(regions, ids, 100, 1)])
    assert set(shuffled[1][report_rows.balanced_rows(*shuffled, 100, 1)]) == drawn
    assert set(ids[report_rows.balanced_rows(regions, ids, 100, 2)]) != drawn
    assert len(drawn) == 100


def test_the_page_says_what_was_drawn_and_counts_all(made):
    page = Page(build(made, max_points=90))
    head, rows = json.loads(page.scripts["head-data"]), page.unpacked("row-data")
    frame = made[1]
    sizes = report_rows.regions_of(frame).value_counts()
    assert len(rows["id"]) == 90
    assert head["sample_note"].startswith("The page shows 90 of 300 examples, drawn with seed 42")
    assert f"29 of {sizes['easy']} easy" in head["sample_note"]
    assert f"{N_UNTRACKED} of {N_UNTRACKED} untracked" in head["sample_note"]
    assert [card["count"] for card in head["regions"]] == [sizes[name] for name in ("easy", "ambiguous", "hard")]
    assert json.loads(Page(build(made)).scripts["head-data"])["sample_note"] is None


def test_the_page_holds_every_row_as_it_is(made):
    texts, frame, probs, _ = made
    page = Page(build(made))
    rows, contexts = page.unpacked("row-data"), page.unpacked("context-data")
    assert rows["id"] == frame["id"].tolist()
    assert rows["text"] == frame["question"].tolist()
    assert [contexts[place] for place in rows["context"]] == texts["context"].tolist()
    assert len(contexts) == texts["context"].nunique()
    expected = [list(map(list, zip(a["answer_start"], a["text"], strict=True))) for a in texts["answers"]]
    assert rows["answers"] == expected
    region = next(column for column in rows["categories"] if column["name"] == "region")
    assert [region["names"][code] for code in region["codes"]] == frame["region"].fillna("untracked").tolist()
    cluster = next(column for column in rows["categories"] if column["name"] == "cluster")
    assert {cluster["names"][code].split(":")[0] for code in cluster["codes"]} == {*map(str, range(8)), "noise"}
    confidence = next(column for column in rows["numbers"] if column["name"] == "confidence")["values"]
    assert confidence[:N_UNTRACKED] == [None] * N_UNTRACKED
    assert confidence[N_UNTRACKED:] == pytest.approx(frame["confidence"][N_UNTRACKED:].tolist(), rel=1e-5)
    assert len(rows["gold_probs"]) == N_EPOCHS
    assert rows["gold_probs"][2][N_UNTRACKED:] == np.round(probs[2, N_UNTRACKED:] * 1000).astype(int).tolist()


def test_a_sampled_page_holds_what_belongs_to_its_ids(made):
    texts, frame, probs, _ = made
    page = Page(build(made, max_points=90))
    rows, contexts = page.unpacked("row-data"), page.unpacked("context-data")
    confidence = next(column for column in rows["numbers"] if column["name"] == "confidence")["values"]
    places = {identifier: place for place, identifier in enumerate(frame["id"])}
    assert len(set(rows["id"])) == 90
    for row, identifier in enumerate(rows["id"]):
        place = places[identifier]
        assert rows["text"][row] == texts["question"][place]
        assert contexts[rows["context"][row]] == texts["context"][place]
        assert [text for _, text in rows["answers"][row]] == texts["answers"][place]["text"]
        if confidence[row] is not None:
            assert confidence[row] == pytest.approx(frame["confidence"][place], rel=1e-5)
            assert [line[row] for line in rows["gold_probs"]] == [round(1000 * prob) for prob in probs[:, place]]


def test_cards_and_groups_are_those_of_a_count_by_hand(made):
    frame = made[1]
    head = json.loads(Page(build(made)).scripts["head-data"])
    records = frame.to_dict("records")
    tracked = [record for record in records if isinstance(record["region"], str)]
    mean = lambda found, name: sum(record[name] for record in found) / len(found)  # noqa: E731
    for card in head["regions"]:
        found = [record for record in tracked if record["region"] == card["region"]]
        assert (card["count"], card["share"]) == (len(found), pytest.approx(len(found) / len(tracked)))
        said = f"mean confidence {mean(found, 'confidence'):.2f}, right in {mean(found, 'correctness'):.0%} of epochs"
        assert card["figures"] == said
    (block,) = head["groups"]
    assert [group["count"] for group in block["groups"]] == sorted((g["count"] for g in block["groups"]), reverse=True)
    for group in block["groups"]:
        of_all = [record for record in records if record["question_type"] == group["group"]]
        found = [record for record in tracked if record["question_type"] == group["group"]]
        assert (group["count"], group["share"]) == (len(of_all), pytest.approx(len(of_all) / len(records)))
        assert group["confidence"] == pytest.approx(mean(found, "confidence"))
        for region in ("easy", "ambiguous", "hard"):
            share = sum(record["region"] == region for record in found) / len(found)
            assert group[region] == pytest.approx(share)
    never = warnings(frame.assign(correctness=[0.0] * 150 + [1.0] * 150), None)
    assert any(text.startswith(f"{150 / len(tracked):.0%} of the examples were right in no epoch") for text in never)


def test_notes_are_said_first_and_epochs_are_numbered_as_in_training(made):
    head = json.loads(Page(build(made, notes=["The first is left out."], first_epoch=2)).scripts["head-data"])
    assert head["warnings"][0] == "The first is left out."
    assert (head["first_epoch"], len(head["warnings"])) == (2, 2)


def test_answers_that_alone_are_too_long_end_the_cutting(monkeypatch):
    monkeypatch.setattr(report_rows, "MAX_PACKED_CONTEXTS", 1_000)
    generator = np.random.default_rng(0)
    contexts = ["".join(map(chr, generator.integers(97, 123, 3_000))) for _ in range(5)]
    _, columns, limit = report_rows.packed_contexts(contexts, [[[0, context]] for context in contexts])
    assert limit <= report_rows.LEAST_CHARACTERS
    assert columns["context_is_cut"] == [0] * 5


def test_numbers_keep_six_digits():
    values = pd.Series([0.123456789, -1234567.8, 0.0, 3.0, None, 1e-12, True])
    assert report_rows.rounded(values) == [0.123457, -1234570, 0, 3, None, 1e-12, 1]
    assert report_rows.rounded(pd.Series([True, None], dtype="boolean")) == [1, None]


def test_findings_are_resolved_to_all_their_examples(made):
    _, frame, _, found = made
    rows = Page(build(made)).unpacked("row-data")["findings"]
    assert len(rows) == len(found["findings"]) >= 4
    for finding, members in zip(found["findings"], rows, strict=True):
        if finding["kind"] in ("more_hard_than_chance", "hard_outliers", "confident_in_hard_cluster"):
            assert len(members) == finding["count"]
        if finding["kind"] == "lowest_correctness":
            assert len(members) == finding["cluster_size"]
        assert set(finding["example_ids"]) <= set(frame["id"].iloc[members])
    kinds = {finding["kind"] for finding in found["findings"]}
    assert kinds >= {"more_hard_than_chance", "lowest_correctness", "hard_outliers"}


def test_examples_of_every_kind_of_finding():
    frame = pd.DataFrame(
        {"cluster": [0, 0, 0, 1, -1, -1, 0], "region": ["hard", "easy", "hard", "hard", "hard", "easy", None]}
    )

    def members(**finding):
        return np.flatnonzero(patterns.examples_of(finding, frame)).tolist()

    assert members(kind="more_hard_than_chance", cluster=0, region="hard") == [0, 2]
    assert members(kind="confident_in_hard_cluster", cluster=0) == [1]
    assert members(kind="lowest_correctness", cluster=0) == [0, 1, 2]
    assert members(kind="hard_outliers") == [4]


def test_no_text_of_the_data_leaves_its_place(made):
    """A page of hostile texts has the same elements and the same running scripts as one of harmless texts."""
    texts, frame, probs, found = (made[0].copy(), made[1].copy(), made[2], dict(made[3]))
    plain = Page(build(made))
    for column in ("question", "context", "id"):
        texts[column] = [f"{text} {HOSTILE[row % len(HOSTILE)]}" for row, text in enumerate(texts[column])]
        frame[column] = texts[column].to_numpy()
    frame["words"] = [HOSTILE[number] for number in frame["cluster"]]
    frame["question_type"] = HOSTILE[1]
    found["findings"] = [finding | {"sentence": "".join(HOSTILE)} for finding in found["findings"]]
    html = build((texts, frame, probs, found), title="".join(HOSTILE))
    page = Page(html)
    assert page.tags == plain.tags
    scripts = [name for name in page.scripts if name.startswith("script ")]
    assert [page.scripts[name] for name in scripts] == [plain.scripts[name] for name in scripts]
    assert json.loads(page.scripts["head-data"])["title"] == "".join(HOSTILE)
    assert not set("<>&\u2028\u2029") & set(page.scripts["head-data"])
    assert re.fullmatch(r"[A-Za-z0-9+/=]+", page.scripts["row-data"])
    assert page.unpacked("row-data")["text"] == texts["question"].tolist()


def test_the_policy_lets_the_two_scripts_run_and_nothing_else(made):
    page = Page(build(made))
    scripts = [text for name, text in page.scripts.items() if name.startswith("script ")]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert len(scripts) == 2
    allowed = next(part.strip() for part in page.policy.split(";") if part.strip().startswith("script-src"))
    assert allowed.split() == ["script-src", *(f"'sha256-{digest}'" for digest in hashes)]
    assert "default-src 'none'" in page.policy
    assert not {"link", "img", "iframe"} & set(page.tags)


def test_the_pages_script_makes_no_markup_and_no_code_of_texts():
    scripts = "".join(path.read_text(encoding="utf-8") for path in sorted(PAGE.glob("*.js")))
    assert {path.name for path in PAGE.glob("*.js")} == set(SCRIPTS)
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function|fetch\("
    assert re.findall(forbidden, scripts) == []


def test_the_page_is_the_same_on_every_call(made):
    assert build(made) == build(made)


@pytest.mark.parametrize(
    ("columns", "maps"),
    [
        (["region", "confidence", "variability", "correctness", "num_epochs"], ["data-map"]),
        (["cluster", "words", "x", "y"], ["cluster-map"]),
        (["cluster", "words"], []),
    ],
)
def test_one_side_alone_has_one_map(made, columns, maps):
    texts, frame, probs, _ = made
    part = frame[["id", "question", "question_type", *columns]]
    gold_probs = probs if "region" in columns else None
    html = build((texts, part, gold_probs, None), gold_probs=gold_probs, patterns=None)
    head = json.loads(Page(html).scripts["head-data"])
    assert list(head["maps"]["roots"].values()) == maps
    assert head["findings"] == []
    assert bool(head["regions"]) == ("region" in columns)


def test_a_recording_without_texts(made):
    _, frame, probs, _ = made
    part = frame[["id", "region", "confidence", "variability", "correctness", "num_epochs"]]
    page = Page(build_report(part, None, title="other", gold_probs=probs, max_points=1000, seed=1))
    rows, head = page.unpacked("row-data"), json.loads(page.scripts["head-data"])
    assert (head["kind"], page.scripts.get("context-data", "")) == (None, "")
    assert rows["text"] == rows["id"]
    assert "answers" not in rows


def test_sentence_pairs():
    texts = pd.DataFrame(
        {"id": ["a", "b"], "premise": ["One <b>ward</b>.", "Two."], "hypothesis": ["No one.", "Both."], "label": [0, 2]}
    )
    names = ("entailment", "neutral", "contradiction")
    frame = text_columns(Examples(texts, pd.DataFrame(), "pairs", "train", names)).assign(
        cluster=0, words="", x=1.0, y=[1.0, 2]
    )
    page = Page(build_report(frame, texts, title="pairs", max_points=10, seed=1))
    rows, head = page.unpacked("row-data"), json.loads(page.scripts["head-data"])
    assert (head["kind"], rows["text"], page.unpacked("context-data")) == (
        "nli",
        ["No one.", "Both."],
        texts["premise"].tolist(),
    )
    assert [block["name"] for block in head["groups"]] == ["gold_label", "negation", "hypothesis_length"]


def test_contexts_that_are_too_many_are_cut_around_their_answers(monkeypatch):
    generator = np.random.default_rng(0)
    words = ["".join(map(chr, generator.integers(97, 123, 9))) for _ in range(4000)]
    contexts = [" ".join(generator.choice(words, 6000)) for _ in range(20)]
    starts = [int(generator.integers(0, 59_900)) for _ in contexts]
    answers = [[[start, context[start : start + 30]]] for start, context in zip(starts, contexts, strict=True)]
    whole, columns, limit = report_rows.packed_contexts(contexts, answers)
    assert (limit, columns["answers"], sum(columns["context_is_cut"])) == (None, answers, 0)
    monkeypatch.setattr(report_rows, "MAX_PACKED_CONTEXTS", len(whole) // 10)
    cut, columns, limit = report_rows.packed_contexts(contexts, answers)
    assert len(cut) <= len(whole) // 10
    assert 2_000 < limit < 6_000
    assert columns["context_is_cut"] == [1] * 20
    shown = json.loads(gzip.decompress(base64.b64decode(cut)))
    for row, place in enumerate(columns["context"]):
        ((start, text),) = columns["answers"][row]
        assert shown[place][start : start + len(text)] == text == answers[row][0][1]
        assert len(shown[place]) == limit
        assert shown[place] in contexts[row]


@pytest.mark.parametrize(
    ("answers", "limit", "expected"),
    [
        ([[10, "klm"]], 5, ("jklmn", [[1, "klm"]])),
        ([[0, "ab"], [20, "uv"]], 6, ("abcdef", [[0, "ab"]])),
        ([[22, "wxyz"]], 6, ("uvwxyz", [[2, "wxyz"]])),
        ([[3, "defghijk"]], 4, ("defghijk", [[0, "defghijk"]])),
        ([], 4, ("abcd", [])),
        ([[-1, "elsewhere"]], 4, ("abcd", [[-1, "elsewhere"]])),
        ([[5, "f"]], 26, ("abcdefghijklmnopqrstuvwxyz", [[5, "f"]])),
    ],
)
def test_a_cut_context_keeps_the_first_answer_whole(answers, limit, expected):
    assert report_rows.cut_context("abcdefghijklmnopqrstuvwxyz", answers, limit) == expected


def test_warnings_are_said_where_there_is_something_to_say(made):
    _, frame, probs, _ = made
    found = warnings(frame, probs)
    assert found == ["There are no metrics of 4 examples (no window holds the whole answer)."]
    few = warnings(frame.assign(cluster=-1, correctness=0.0), probs[:2])
    assert few[0].startswith("The metrics are over 2 epochs, so variability means little")
    assert any("were right in no epoch" in text for text in few)
    assert few[-1] == "100% of the examples are noise: they lie in no cluster."
    assert "no cluster map" in warnings(frame.assign(x=np.nan), probs)[-1]


def test_first_words_count_by_hand(made):
    _, frame, probs, _ = made
    noise = int((frame["cluster"] == -1).sum())
    assert lead(frame, len(probs)) == (
        f"300 examples, 296 of them watched over 5 epochs of training. {300 - noise} lie in 8 clusters of similar "
        f"examples, {noise} ({noise / 300:.0%}) in none (noise)."
    )
    (block,) = group_rows(frame)
    assert sum(group["count"] for group in block["groups"]) == 300
    for group in block["groups"]:
        rows = frame[(frame["question_type"] == group["group"]) & frame["region"].notna()]
        assert group["hard"] == pytest.approx(sum(rows["region"] == "hard") / len(rows))


def test_one_example_is_enough():
    texts = qa_frame(("The dose.", "What?", ["dose"], [4]))
    frame = text_columns(Examples(texts, pd.DataFrame(), "one", "train")).assign(cluster=-1, words="", x=0.0, y=0.0)
    page = Page(build_report(frame, texts, title="one", max_points=1, seed=0))
    assert json.loads(page.scripts["head-data"])["lead"].startswith("1 example. 0 lie in 0 clusters")
