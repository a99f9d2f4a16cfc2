"""Span search against all spans one by one, and against the usual n-best recipe."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from datamap.evaluation.spans import SpanCollector, first_largest, keep_best, search_spans, span_logits


def every_span(starts, ends, first, last, max_answer_length):
    """All valid (score, start, end) of a window, best first."""
    found = [
        (starts[i] + ends[j], i, j) for i in range(first, last) for j in range(i, min(i + max_answer_length, last))
    ]
    return sorted(found, reverse=True)


def usual_recipe(starts, ends, first, last, max_answer_length, n_best):
    """The best of the n_best starts times the n_best ends, as the usual recipe has it; None if none is valid."""
    best_starts = np.argsort(starts)[-1 : -n_best - 1 : -1]
    best_ends = np.argsort(ends)[-1 : -n_best - 1 : -1]
    valid = [
        starts[i] + ends[j]
        for i in best_starts
        for j in best_ends
        if first <= i <= j < last and j - i + 1 <= max_answer_length
    ]
    return max(valid, default=None)


@st.composite
def searches(draw):
    length = draw(st.integers(1, 24))
    first = draw(st.integers(0, length - 1))
    last = draw(st.integers(first, length))
    seed = draw(st.integers(0, 10_000))
    starts, ends = np.random.default_rng(seed).normal(size=(2, length)).astype(np.float32) * 4
    return starts, ends, first, last, draw(st.integers(1, 30)), draw(st.integers(1, 25))


def run_search(starts, ends, first, last, max_answer_length, n_best):
    found = search_spans(
        torch.tensor(starts)[None],
        torch.tensor(ends)[None],
        torch.tensor([first]),
        torch.tensor([last]),
        max_answer_length,
        n_best,
    )
    return [part[0].numpy() for part in found]


@pytest.mark.parametrize("n_best", [1, 2, 5])
def test_of_equal_best_spans_the_earlier_and_then_the_shorter_is_found(n_best):
    """Scores rounded to halves have many ties, as those of bfloat16 have; an n-best list has the same best one."""
    generator = np.random.default_rng(0)
    for length in (9, 40):
        for _ in range(200):
            starts, ends = (generator.integers(-1, 2, size=length) / 2 for _ in range(2))
            scores, found_starts, found_ends = run_search(starts, ends, 2, length - 1, 3, n_best)
            places = [(i, j) for i in range(2, length - 1) for j in range(i, min(i + 3, length - 1))]
            assert (-scores[0], found_starts[0], found_ends[0]) == min(
                (-(starts[i] + ends[j]), i, j) for i, j in places
            )
            spans = list(zip(found_starts, found_ends, strict=True))
            assert len(set(spans)) == n_best
            np.testing.assert_array_equal(scores, [starts[i] + ends[j] for i, j in spans])


@pytest.mark.parametrize("shape", [(7, 1), (3, 4), (2, 5, 300)])
def test_the_first_of_equal_largest_values(shape):
    values = np.random.default_rng(1).integers(0, 3, size=shape).astype(np.float32)
    expected = np.apply_along_axis(lambda row: list(row).index(max(row)), -1, values)
    np.testing.assert_array_equal(first_largest(torch.from_numpy(values)), expected)
    assert 0 <= first_largest(torch.full((2, 3), torch.nan)).max() < 3  # refused later, as figures


@settings(max_examples=300, deadline=None)
@given(searches())
def test_the_search_finds_the_n_best_of_all_spans(search):
    starts, ends, first, last, max_answer_length, n_best = search
    expected = every_span(starts, ends, first, last, max_answer_length)
    assume(len({score for score, _, _ in expected}) == len(expected))  # which of equal ones comes first: see above
    expected = expected[:n_best]
    scores, found_starts, found_ends = run_search(*search)
    assert scores.shape == (n_best,)
    n = len(expected)
    assert list(zip(found_starts[:n], found_ends[:n], strict=True)) == [(i, j) for _, i, j in expected]
    np.testing.assert_array_equal(scores[:n], np.array([score for score, _, _ in expected], dtype=np.float32))
    assert (scores[n:] == -np.inf).all()
    assert (found_starts[n:] == -1).all()
    assert (found_ends[n:] == -1).all()


@settings(max_examples=200, deadline=None)
@given(searches())
def test_the_search_never_falls_below_the_usual_recipe(search):
    starts, ends, first, last, max_answer_length, n_best = search
    usual = usual_recipe(starts, ends, first, last, max_answer_length, n_best)
    best = run_search(*search)[0][0]
    if usual is not None:
        assert best >= usual
    full = usual_recipe(starts, ends, first, last, max_answer_length, len(starts))
    if full is not None:
        assert best == full


def test_the_usual_recipe_misses_a_span_that_the_search_finds():
    starts = np.array([9.0, 8.0, 0.0, 5.0], dtype=np.float32)
    ends = np.array([0.0, 0.0, 7.0, 6.0], dtype=np.float32)
    # the two best starts are 0 and 1, the two best ends 2 and 3; with spans of one token none of the pairs is valid
    assert usual_recipe(starts, ends, 0, 4, 1, 2) is None
    scores, found_starts, found_ends = run_search(starts, ends, 0, 4, 1, 2)
    assert (scores[0], found_starts[0], found_ends[0]) == (11.0, 3, 3)


def test_padding_is_masked_in_float32():
    logits = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.bfloat16)
    masked = span_logits(logits, torch.tensor([[1, 1, 0]]))
    assert masked.dtype == torch.float32
    assert torch.softmax(masked, dim=1)[0, 2] == 0


def as_candidates(*rows):
    example, score, start, end = zip(*rows, strict=True)
    return {"example": np.array(example), "score": np.array(score), "start": np.array(start), "end": np.array(end)}


def test_the_same_span_from_two_windows_counts_once_with_its_best_score():
    rows = ((0, 1.0, 5, 9), (1, 3.0, 2, 4), (0, 2.0, 5, 9), (0, 1.5, 7, 8), (0, 0.5, 1, 2))
    best = keep_best(as_candidates(*rows), 2)
    assert list(zip(*(best[key].tolist() for key in ("example", "score", "start", "end")), strict=True)) == [
        (0, 2.0, 5, 9),
        (0, 1.5, 7, 8),
        (1, 3.0, 2, 4),
    ]


def test_equal_scores_go_to_the_earlier_and_shorter_span():
    best = keep_best(as_candidates((0, 1.0, 6, 9), (0, 1.0, 5, 9), (0, 1.0, 5, 8)), 3)
    assert list(zip(best["start"].tolist(), best["end"].tolist(), strict=True)) == [(5, 8), (5, 9), (6, 9)]


class StandInWindows:
    """Windows whose token positions are their character positions; window w belongs to example w // 2."""

    n_examples = 10
    example = np.repeat(np.arange(10), 2)

    def __len__(self):
        return 20

    def char_spans(self, windows, starts, ends):
        return starts, ends + 1


@pytest.mark.parametrize("fold_at", [1, 25, 10**6])
def test_neither_order_nor_repeats_nor_folding_change_what_is_collected(fold_at):
    rng = np.random.default_rng(3)
    scores, starts = rng.normal(size=(20, 4)).astype(np.float32), rng.integers(0, 6, size=(20, 4))
    ends, nulls = starts + rng.integers(0, 3, size=(20, 4)), rng.normal(size=20)
    reference = SpanCollector(StandInWindows(), 3)
    reference.add(np.arange(20), nulls, nulls, (scores, starts, ends))
    other = SpanCollector(StandInWindows(), 3, fold_at)
    order = np.concatenate([rng.permutation(20), [4, 5]])
    for chunk in np.array_split(order, 7):
        other.add(chunk, nulls[chunk], nulls[chunk], (scores[chunk], starts[chunk], ends[chunk]))
    expected, found = reference.fold(), other.fold()
    for key in expected:
        np.testing.assert_array_equal(found[key], expected[key])
    np.testing.assert_array_equal(other.null_scores, np.minimum(nulls[::2], nulls[1::2]))
    np.testing.assert_array_equal(other.losses, nulls)
    assert np.bincount(found["example"]).max() <= 3
