"""Micro-batches: every row once, within the budget, padded no further than needed."""

import types

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from datamap.features.batches import LengthBatches, micro_batches, pack
from datamap.features.windows import PadCollator

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30)


def batch_of(lengths):
    """Row r holds its own number, r + 1, in each of its tokens."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    rows = torch.arange(len(lengths))
    return {"input_ids": mask * (rows[:, None] + 1), "attention_mask": mask.long(), "row": rows, "start": rows * 2}


@given(LENGTHS, st.integers(1, 200))
def test_every_row_is_in_one_part_within_the_budget_and_without_needless_padding(lengths, budget):
    batch = batch_of(lengths)
    parts = micro_batches(batch, budget)
    assert sorted(row for part in parts for row in part["row"].tolist()) == list(range(len(lengths)))
    for part in parts:
        own = [lengths[row] for row in part["row"]]
        assert part["input_ids"].shape == part["attention_mask"].shape == (len(own), max(own))
        assert part["input_ids"].numel() <= budget or len(own) == 1
        assert part["attention_mask"].sum(1).tolist() == own
        assert part["start"].tolist() == [2 * row for row in part["row"]]
        for row, tokens in zip(part["row"].tolist(), part["input_ids"], strict=True):
            assert tokens[tokens > 0].tolist() == [row + 1] * lengths[row]


def test_longest_rows_come_first_and_equal_ones_in_their_order():
    parts = micro_batches(batch_of([3, 9, 3, 5, 9]), 10)
    assert [part["row"].tolist() for part in parts] == [[1], [4], [3, 0], [2]]


def test_a_batch_within_the_budget_is_left_as_it_is():
    batch = batch_of([3, 9])
    assert micro_batches(batch, 18)[0] is batch
    assert len(micro_batches(batch, 17)) == 2


def test_rows_are_packed_by_their_padded_size():
    assert [part.tolist() for part in pack(np.array([9, 5, 5, 1, 1, 1]), 10)] == [[0], [1, 2], [3, 4, 5]]


@given(LENGTHS, st.integers(8, 200), st.integers(1, 9), st.integers(1, 4))
def test_processes_share_batches_of_like_lengths(lengths, budget, most_rows, n_processes):
    """Every row is somewhere, and at every turn all processes hold as many rows, which gathering needs."""
    shape = {"most_rows": most_rows, "n_processes": n_processes}
    shares = [list(LengthBatches(np.array(lengths), budget, process=n, **shape)) for n in range(n_processes)]
    assert {row for share in shares for batch in share for row in batch} == set(range(len(lengths)))
    assert len({len(share) for share in shares}) == 1
    for turn in zip(*shares, strict=True):
        assert len({len(batch) for batch in turn}) == 1
        assert len(turn[0]) <= most_rows
        longest = max(lengths[row] for batch in turn for row in batch)
        assert len(turn[0]) == 1 or len(turn[0]) * -(-longest // 8) * 8 <= budget
    first = [max(lengths[row] for row in turn) for turn in shares[0]]
    assert first == sorted(first, reverse=True)


def test_a_large_batch_on_a_gpu_is_cut_where_much_of_it_is_padding():
    lengths = [512] * 16 + [128] * 64
    batch = batch_of(lengths) | {"lengths": np.array(lengths)}
    parts = micro_batches(batch, 10**6)
    assert [tuple(part["input_ids"].shape) for part in parts] == [(20, 512), (60, 128)]
    assert "attention_mask" not in parts[1]
    full = batch_of([512] * 80) | {"lengths": np.array([512] * 80)}
    assert micro_batches(full, 10**6)[0] is full
    small = batch_of([256] + [32] * 40) | {"lengths": np.array([256] + [32] * 40)}
    assert micro_batches(small, 10**6)[0] is small


def test_batches_for_a_gpu_are_padded_to_eights_and_have_no_mask_without_padding():
    tokenizer = types.SimpleNamespace(pad_token_id=7, pad_token_type_id=0)
    items = {n: {"input_ids": np.ones(n, dtype=np.int64), "row": n} for n in (5, 16)}
    usual, for_gpu = PadCollator(tokenizer), PadCollator(tokenizer, for_gpu=True)
    wide = for_gpu([items[5], items[5]])
    assert wide["input_ids"].tolist() == [[1] * 5 + [7] * 3] * 2
    assert (wide["attention_mask"].sum(1).tolist(), wide["lengths"].tolist()) == ([5, 5], [5, 5])
    full = for_gpu([items[16], items[16]])
    assert ("attention_mask" in full, full["input_ids"].shape, full["row"].tolist()) == (False, (2, 16), [16, 16])
    assert usual([items[5], items[5]]).keys() == {"attention_mask", "input_ids", "row"}
