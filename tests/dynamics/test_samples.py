"""Samples: the text around an answer, what is shown of an example, and which examples of a region are chosen."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamap.data.shown import around_answer, shown_text
from datamap.dynamics import recordings
from datamap.dynamics.samples import region_rows
from datamap.files import outputs, pictures
from tests.recordings import dynamics, load, read_samples, read_table, record

REGIONS = ("easy", "ambiguous", "hard")


def test_an_answer_in_the_middle_has_150_characters_on_either_side():
    context = "a" * 200 + "GOLD" + "b" * 200
    assert around_answer(context, 200, 4) == "…" + "a" * 150 + "[[GOLD]]" + "b" * 150 + "…"


@pytest.mark.parametrize(
    ("n_before", "n_after", "expected"),
    [
        (0, 0, "[[GOLD]]"),
        (0, 150, "[[GOLD]]" + "b" * 150),
        (0, 151, "[[GOLD]]" + "b" * 150 + "…"),
        (150, 0, "a" * 150 + "[[GOLD]]"),
        (151, 0, "…" + "a" * 150 + "[[GOLD]]"),
        (1, 1, "a[[GOLD]]b"),
    ],
)
def test_nothing_is_cut_where_the_context_ends_first(n_before, n_after, expected):
    assert around_answer("a" * n_before + "GOLD" + "b" * n_after, n_before, 4) == expected


def test_an_answer_longer_than_the_surroundings_is_shown_whole():
    context = "x" + "G" * 1000 + "y"
    assert around_answer(context, 1, 1000) == "x[[" + "G" * 1000 + "]]y"


def test_emoji_count_as_one_character_and_stay_whole():
    context = "🫀" * 151 + "né€💊" + "😀" * 151
    assert around_answer(context, 151, 4) == "…" + "🫀" * 150 + "[[né€💊]]" + "😀" * 150 + "…"


@given(st.text(max_size=400), st.integers(0, 400), st.integers(0, 400))
def test_what_is_shown_is_the_context_but_for_the_marks(context, start, length):
    start = min(start, len(context))
    length = min(length, len(context) - start)
    shown = around_answer(context, start, length)
    first, last = max(0, start - 150), min(len(context), start + length + 150)
    bare = context[first:start] + "[[" + context[start : start + length] + "]]" + context[start + length : last]
    assert shown == "…" * (first > 0) + bare + "…" * (last < len(context))


def qa_row(context, texts, starts, question="Who?"):
    return {"id": "1", "context": context, "question": question, "answers": {"text": texts, "answer_start": starts}}


def test_a_question_is_shown_with_its_first_answer():
    row = qa_row("Aspirin 81 mg daily.", ["81 mg", "81 mg daily"], [8, 8], "How much $aspirin$?")
    assert shown_text(row, ()) == {
        "question": "How much $aspirin$?",
        "context": "Aspirin [[81 mg]] daily.",
        "gold": "81 mg",
    }


@pytest.mark.parametrize(("length", "expected"), [(300, "c" * 300), (301, "c" * 300 + "…")])
def test_an_unanswerable_question_is_shown_with_the_beginning_of_its_context(length, expected):
    shown = shown_text(qa_row("c" * length, [], []), ())
    assert shown == {"question": "Who?", "context": expected, "gold": ""}


def test_an_answer_that_is_not_in_the_context_is_shown_without_marks():
    shown = shown_text(qa_row("Aspirin daily.", ["statin"], [-1]), ())
    assert shown == {"question": "Who?", "context": "Aspirin daily.", "gold": "statin"}


def test_a_pair_is_shown_with_the_name_of_its_label():
    row = {"id": "1", "premise": "It rains.", "hypothesis": "It is wet.", "label": 2}
    shown = shown_text(row, ("entailment", "neutral", "contradiction"))
    assert shown == {"premise": "It rains.", "hypothesis": "It is wet.", "gold": "contradiction"}


def metrics_frame(n_rows, seed=0):
    """Metrics without ties, with regions drawn at random."""
    generator = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "region": generator.choice(np.array(REGIONS, dtype=object), n_rows),
            "confidence": generator.permutation(n_rows) / n_rows,
            "variability": generator.permutation(n_rows) / (2 * n_rows),
        }
    )


def expected_rows(frame, region, n_examples):
    """Extreme and typical rows from Python's own sort."""
    rows = [row for row, name in enumerate(frame["region"]) if name == region]
    confidence, variability = frame["confidence"].tolist(), frame["variability"].tolist()
    keys = {"easy": lambda row: -confidence[row], "hard": lambda row: confidence[row]}
    extreme = sorted(rows, key=keys.get(region, lambda row: -variability[row]))[:n_examples]
    centre = [sum(values[row] for row in rows) / len(rows) for values in (confidence, variability)]
    rest = [row for row in rows if row not in extreme]
    typical = sorted(rest, key=lambda r: (confidence[r] - centre[0]) ** 2 + (variability[r] - centre[1]) ** 2)
    return extreme, typical[:n_examples]


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("n_examples", [1, 7, 25])
def test_extreme_and_typical_rows_equal_an_independent_sort(region, n_examples):
    frame = metrics_frame(150)
    chosen = region_rows(frame, region, n_examples, seed=42)
    extreme, typical = expected_rows(frame, region, n_examples)
    assert chosen["extreme"].tolist() == extreme
    assert chosen["typical"].tolist() == typical
    assert len(extreme) == n_examples


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("n_examples", [1, 10, 11, 12, 20, 21, 500])
def test_no_row_is_shown_twice_and_none_of_another_region(region, n_examples):
    frame = metrics_frame(60, seed=3)
    size = int((frame["region"] == region).sum())
    chosen = region_rows(frame, region, n_examples, seed=0)
    assert len(chosen["extreme"]) == min(n_examples, size)
    assert len(chosen["typical"]) == min(n_examples, size - len(chosen["extreme"]))
    both = [*chosen["extreme"], *chosen["typical"]]
    assert len(set(both)) == len(both)
    assert set(frame["region"].iloc[both]) == {region}


def test_an_empty_region_has_no_rows():
    frame = metrics_frame(20).assign(region="easy")
    chosen = region_rows(frame, "hard", 10, seed=0)
    assert {kind: rows.tolist() for kind, rows in chosen.items()} == {"extreme": [], "typical": []}


def test_the_seed_decides_among_equal_examples_only():
    distinct = metrics_frame(60)
    tied = distinct.assign(confidence=0.9, variability=0.05, region="easy")
    tied.loc[17, "confidence"] = 0.95
    by_seed = []
    for seed in range(5):
        for region in REGIONS:
            rows, others = (region_rows(distinct, region, 5, number) for number in (seed, seed + 1))
            assert {kind: found.tolist() for kind, found in rows.items()} == {
                kind: found.tolist() for kind, found in others.items()
            }
        first, again = (region_rows(tied, "easy", 5, seed)["extreme"].tolist() for _ in range(2))
        assert first == again
        assert first[0] == 17
        by_seed.append(tuple(first))
    assert len(set(by_seed)) > 1


@pytest.fixture
def samples_of(monkeypatch):
    """Run analyze_cartography.py on a recording, without painting its figures; returns its samples."""
    import analyze_cartography
    import helpers

    monkeypatch.setattr(pictures, "write_figure", lambda path, figure: path.write_bytes(b""))

    def call(directory, *argv):
        words = ["--cartography_dir", directory, "--output_dir", directory / "out", *argv]
        assert helpers.run_script(analyze_cartography.main, [str(word) for word in words]) == 0
        return read_samples(directory / "out")

    return call


def test_samples_carry_texts_metrics_and_every_epoch(samples_of, tmp_path):
    frame = load("demo", "qa").frame.iloc[600:300:-1].set_index("id")
    record(tmp_path, frame.index.tolist(), dynamics(300, 4))
    samples, table = samples_of(tmp_path), read_table(tmp_path / "out").set_index("id")
    epochs = [json.loads(path.read_text()) for path in recordings.epoch_paths(tmp_path).values()]
    probs = [{row["id"]: row["gold_prob"] for row in records} for records in epochs]
    figures = ["confidence", "variability", "correctness", "forgetting_events", "aum", "loss", "num_epochs"]
    assert list(samples) == list(REGIONS)
    for region, part in samples.items():
        assert part["count"] == (table["region"] == region).sum()
        assert [len(part[kind]) for kind in ("extreme", "typical")] == [10, 10]
        for shown in (*part["extreme"], *part["typical"]):
            row, text = table.loc[shown["id"]], frame.loc[shown["id"]]
            assert row["region"] == region
            assert shown["question"] == text["question"]
            assert shown["gold"] == text["answers"]["text"][0]
            assert f"[[{shown['gold']}]]" in shown["context"]
            assert [shown[name] for name in figures] == row[figures].tolist()
            assert shown["gold_probs"] == [values.get(shown["id"]) for values in probs]
    extremes = [shown["confidence"] for shown in samples["hard"]["extreme"]]
    assert extremes == sorted(table.loc[table["region"] == "hard", "confidence"])[:10]


def test_samples_stop_at_the_size_of_the_region(samples_of, tmp_path):
    record(tmp_path, load("demo", "qa").frame["id"].tolist()[:90], dynamics(90, 4, seed=1))
    for part in samples_of(tmp_path, "--n_examples", 1000).values():
        assert (len(part["extreme"]), len(part["typical"])) == (part["count"], 0)
    for part in samples_of(tmp_path, "--n_examples", 3).values():
        assert (len(part["extreme"]), len(part["typical"])) == (3, 3)


def test_the_seed_changes_the_samples_of_equal_examples_and_no_table(samples_of, tmp_path):
    same = {name: np.full(40, 0.75, dtype=np.float32) for name in recordings.QA_MEASURES}
    record(tmp_path, load("demo", "qa").frame["id"].tolist()[:40], [same] * 3)
    tables, extremes = [], []
    for seed in (1, 2):
        samples = samples_of(tmp_path, "--seed", seed)
        tables.append((tmp_path / "out" / "cartography_regions.csv").read_bytes())
        extremes.append([shown["id"] for shown in samples["easy"]["extreme"]])
        assert samples["hard"] == {"count": 0, "extreme": [], "typical": []}
    assert tables[0] == tables[1]
    assert extremes[0] != extremes[1]


def test_odd_texts_and_ids_go_through(samples_of, tmp_path):
    questions = {
        "0012": "What costs $5 and $6?", "null": "Qué 🫀?", "NA": "Why $\\frac$?", 'say "x", y': "How?",
        "two\nlines": "A\nB?", "🫀": "Is it {x}?", "$a$": "% of <b>?",
    }  # fmt: skip
    rows = [
        qa_row(f"💊 $x$ {name} daily", ["daily"], [7 + len(name)], text) | {"id": name}
        for name, text in questions.items()
    ]
    outputs.write_jsonl(tmp_path / "rows.jsonl", rows)
    record(tmp_path, list(questions), dynamics(7, 3), dataset=str(tmp_path / "rows.jsonl"))
    samples = samples_of(tmp_path)
    shown = [row for part in samples.values() for kind in ("extreme", "typical") for row in part[kind]]
    assert {row["id"]: row["question"] for row in shown} == questions
    assert {row["context"] for row in shown} == {f"💊 $x$ {name} [[daily]]" for name in questions}
    assert read_table(tmp_path / "out")["id"].tolist() == list(questions)


def test_one_example_in_one_epoch_is_enough(samples_of, tmp_path):
    record(tmp_path, load("demo", "qa").frame["id"].tolist()[:1], dynamics(1, 1))
    samples = samples_of(tmp_path)
    assert sorted(part["count"] for part in samples.values()) == [0, 0, 1]
    assert len(read_table(tmp_path / "out")) == 1
