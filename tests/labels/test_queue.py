"""The review queue: both draws, what makes the audit a random sample of the rest, and what stands beside a label."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamap.data.examples import load_examples
from datamap.data.sources import open_source
from datamap.labels import queue, rows


@pytest.mark.parametrize("share", [0.0, 0.15, 0.33, 1.0])
def test_the_audits_share_holds_in_every_block_and_its_places_within_differ(share):
    places = queue.audit_places(2000, share, seed=42)
    assert places.sum() == round(2000 * share)
    blocks = places.reshape(-1, 20)
    assert set(blocks.sum(axis=1)) <= {int(20 * share), int(np.ceil(20 * share))}
    if 0 < share < 1:
        assert len({tuple(block) for block in blocks}) > 50
        assert (places != queue.audit_places(2000, share, seed=43)).any()


def test_the_random_order_is_one_of_the_ids_whatever_the_order_of_the_rows():
    ids = [f"r{number}" for number in range(50)]
    order = [ids[row] for row in queue.drawn_order(ids, 7)]
    assert sorted(order) == sorted(ids) != order
    assert [ids[::-1][row] for row in queue.drawn_order(ids[::-1], 7)] == order
    assert [ids[row] for row in queue.drawn_order(ids, 8)] != order


@settings(deadline=None)
@given(
    st.integers(1, 60),
    st.integers(0, 60),
    st.integers(1, 80),
    st.sampled_from([0.0, 0.15, 0.5, 1.0]),
    st.integers(0, 9),
)
def test_what_is_decided_at_any_moment_is_the_rankings_head_and_a_head_of_the_random_order(
    n, n_ranked, n_shown, share, seed
):
    generator = np.random.default_rng(seed)
    ranking = generator.permutation(n)[: min(n, n_ranked)]
    order = generator.permutation(n)
    is_audit = queue.audit_places(min(n_shown, n), share, seed)
    shown = queue.schedule(ranking, order, is_audit)
    listed = [row for row, _ in shown]
    assert len(set(listed)) == len(listed) == min(n_shown, n)
    for n_decided in range(1, len(shown) + 1):
        of = {draw: {row for row, drawn in shown[:n_decided] if drawn == draw} for draw in (queue.QUEUE, queue.AUDIT)}
        for draw, sequence in ((queue.QUEUE, ranking.tolist()), (queue.AUDIT, order.tolist())):
            if of[draw]:
                last = max(sequence.index(row) for row in of[draw])
                assert set(sequence[: last + 1]) <= of[queue.QUEUE] | of[queue.AUDIT]


def test_each_place_takes_a_row_of_its_draw_while_there_is_one():
    shown = queue.schedule(np.array([4, 3, 2]), np.array([3, 0, 1, 2, 4]), np.array([False, True, True, False, False]))
    assert shown == [(4, "queue"), (3, "audit"), (0, "audit"), (2, "queue"), (1, "audit")]


@pytest.mark.parametrize(("answers", "numbers", "expected"), [
    ({"text": ["a"], "answer_start": [3]}, {"other_answer": "b", "other_start": 5.0}, ["b", 5]),
    ({"text": ["a"], "answer_start": [3]}, {"other_answer": "", "other_start": -1.0}, ["", -1]),
    ({"text": [], "answer_start": []}, {"other_answer": "b", "other_start": 5.0}, ["b", 5]),
    ({"text": [], "answer_start": []}, {"other_answer": "", "other_start": -1.0}, None),
    ({"text": ["a", "b"], "answer_start": [3, 5]}, {"other_answer": "b", "other_start": 5.0}, None),
    ({"text": ["a"], "answer_start": [3]}, {"other_answer": np.nan, "other_start": np.nan}, None),
    ({"text": ["a"], "answer_start": [3]}, {}, None),
])  # fmt: skip
def test_the_other_answer_is_none_of_the_published_ones(answers, numbers, expected):
    assert queue.other_label(answers, numbers) == expected


def table_of(ids, ranks):
    scores = [np.nan if np.isnan(rank) else 1 / (1 + rank) for rank in ranks]
    table = pd.DataFrame({"id": ids, "score": scores, "rank": ranks, "kind": "place"})
    return table.astype({"rank": "Int64"}).sort_values("rank", na_position="last")


def test_a_row_of_the_page_says_all_that_a_correction_needs():
    examples = load_examples(open_source("demo:v2", "qa"), "train", "qa", whole=True)
    written = rows.written_rows(examples)
    ids = [row["id"] for row in written]
    ranks = [float(number + 1) if number % 7 else np.nan for number in range(len(ids))]
    numbers = pd.DataFrame({"other_answer": "x", "other_start": 0}, index=pd.Index(ids[:10], name="id"))
    listed = queue.queue_of(written, table_of(ids, ranks), numbers, n_shown=100, audit_share=0.3, seed=42)
    assert (len(listed), len({row["id"] for row in listed})) == (100, 100)
    assert sum(row["drawn"] == "audit" for row in listed) == 30
    by_id = {row["id"]: row for row in written}
    for row in listed:
        place = ids.index(row["id"])
        source = by_id[row["id"]]
        assert (row["text"], row["context"], row["before"]) == (
            source["question"],
            source["context"],
            source["answers"],
        )
        assert row["before_sha256"] == rows.row_hash(source)
        assert row["rank"] == (None if np.isnan(ranks[place]) else ranks[place])
        assert row["other"] == (["x", 0] if place < 10 else None)
    assert {row["rank"] is None for row in listed if row["drawn"] == "queue"} == {False}
    assert {row["is_swapped"] for row in listed} == {True, False}
    assert json.loads(json.dumps(listed)) == listed


def test_the_key_of_what_was_decided_follows_ids_labels_and_other_answers():
    row = {"id": "a", "before": {"text": ["x"], "answer_start": [0]}, "other": ["y", 2], "text": "q", "score": 0.5}
    key = queue.queue_hash([row])
    assert queue.queue_hash([row | {"text": "Q", "score": 0.25}]) == key
    for change in ({"id": "b"}, {"before": {"text": [], "answer_start": []}}, {"other": None}):
        assert queue.queue_hash([row | change]) != key


def test_written_rows_hold_labels_that_are_numbers_as_numbers_and_null_for_no_number(tmp_path):
    path = tmp_path / "pairs.jsonl"
    lines = [{"premise": "p", "hypothesis": "h", "label": 1, "weight": None, "votes": ["a", "b"]},
             {"premise": "p", "hypothesis": "i", "label": 0, "weight": 0.5, "votes": []}]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = rows.written_rows(load_examples(open_source(str(path), "nli"), "train", "nli", whole=True))
    assert [row["label"] for row in found] == [1, 0]
    assert [(row["weight"], row["votes"]) for row in found] == [(None, ["a", "b"]), (0.5, [])]
    assert json.loads(rows.line_of(found[0])) == found[0]
