"""Label masses and expected F1 against plain loops over all spans, and the spans that have a label's text."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datamap.errors import DataError
from datamap.evaluation.label_masses import LabelMasses
from datamap.evaluation.metrics import normalize_answer
from datamap.evaluation.same_texts import same_text_spans
from datamap.features.windows import QaWindows
from tests.rows import qa_frame

LONG = "Eve takes aspirin (10 mg). The aspirin, an old drug, helps; Aspirin is cheap. Finn has a cold. " * 2
ROWS = [
    (LONG, "What does Eve take?", ["aspirin"], [10]),
    (LONG, "And what else?", ["takes aspirin (10 mg). The aspirin, an old drug"], [4]),
    (LONG, "Which drug is it that nobody here has ever taken?", [], []),
    (LONG, "What has Finn?", ["a cold", "cold"], [LONG.index("a cold"), LONG.index("cold")]),
    (LONG, "How much?", ["10 mg"], [LONG.index("10 mg", 30)]),
    (LONG, "Which word?", ["The"], [LONG.index("The")]),
    ("Finn \u00ad sleeps.", "What is soft?", ["\u00ad"], [5]),
    ("Gus sleeps. Gus, the Gus.", "Who?", ["Gus"], [12]),
    ("Yes", "Does he?", ["Yes"], [0]),
]
NAMES = ["label_prob", "boundary_prob", "place_prob", "null_prob", "expected_f1", "predicted_score", "predicted_prob"]
NAMES += ["other_prob", "predicted_start", "predicted_end", "other_start", "other_end"]


@pytest.fixture(scope="module")
def frame():
    return qa_frame(*ROWS)


@pytest.fixture(scope="module")
def windows(frame, tokenizer):
    return QaWindows(frame, tokenizer, max_length=32, doc_stride=8)


def random_logits(windows, seed):
    logits = 3 * np.random.default_rng(seed).standard_normal((2, len(windows), windows.lengths.max()))
    return logits.astype(np.float32)


def fill(masses, windows, logits, order, n_batches, extra=0):
    """Add windows in this order, each batch as wide as its longest window and up to `extra` more."""
    for number, rows in enumerate(np.array_split(np.array(order), n_batches)):
        width = int(windows.lengths[rows].max()) + (number % (extra + 1))
        padded = np.full((2, len(rows), width), -7.0, dtype=np.float32)
        for place, row in enumerate(rows):
            padded[:, place, : windows.lengths[row]] = logits[:, row, : windows.lengths[row]]
        masses.add(rows, *padded, logits[:, rows, windows.template.cls_index].sum(axis=0))
    return masses.table()


def span_scores(windows, row, logits, max_answer_length):
    """{(first, last) in context tokens: highest score} and the lowest null score, window by window."""
    scores, null_score = {}, math.inf
    for window in np.flatnonzero(windows.example == row):
        item, first = windows[window], int(windows.first[window])
        starts, ends = logits[:, window].astype(float)
        for s in range(item["context_start"], item["context_end"]):
            for e in range(s, min(s + max_answer_length, item["context_end"])):
                place = s - item["context_start"] + first, e - item["context_start"] + first
                scores[place] = max(starts[s] + ends[e], scores.get(place, -math.inf))
        null = logits[:, window, windows.template.cls_index]
        null_score = min(null_score, float(null[0] + null[1]))
    return scores, null_score


def characters(tokenizer, context, span):
    """Where a span of context tokens begins and ends, by the tokenizer itself; (-1, -1) for no answer."""
    if span is None:
        return -1, -1
    offsets = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return offsets[span[0]][0], offsets[span[1]][1]


def label_tokens(tokenizer, context, text, start):
    """The set of tokens that share a character with the answer."""
    offsets = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return {n for n, (begin, end) in enumerate(offsets) if begin < start + len(text) and end > start}


def loop(tokenizer, windows, row, logits, max_answer_length, allow_no_answer):
    """What `LabelMasses.table` says of a row, one span after the other."""
    context, _, texts, places = ROWS[row]
    outcomes, null_score = span_scores(windows, row, logits, max_answer_length)
    if allow_no_answer:
        outcomes[None] = null_score  # last, so that a span comes first among equals
    top = max(outcomes.values())
    total = math.fsum(math.exp(score - top) for score in outcomes.values())
    probs = {outcome: math.exp(score - top) / total for outcome, score in outcomes.items()}
    best = max(outcomes, key=outcomes.get)
    found = dict.fromkeys(NAMES[:8], math.nan) | {"other_start": -1, "other_end": -1}
    found |= {"predicted_score": outcomes[best], "predicted_prob": probs[best]}
    found |= dict(zip(("predicted_start", "predicted_end"), characters(tokenizer, context, best), strict=True))
    gold = label_tokens(tokenizer, context, texts[0], places[0]) if texts else set()
    if texts and not gold:
        return found
    found |= dict.fromkeys(NAMES[:5], 0.0)
    others = {}
    for outcome, prob in probs.items():
        tokens = set(range(outcome[0], outcome[1] + 1)) if outcome else set()
        if not texts:
            kind = "label" if outcome is None else "place"
        elif outcome is None:
            kind = "null"
        elif tokens == gold or normalised(tokenizer, context, outcome) == normalize_answer(texts[0]):
            kind = "label"
        else:
            kind = "boundary" if tokens & gold else "place"
        found[f"{kind}_prob"] += prob
        f1 = 2 * len(tokens & gold) / (len(tokens) + len(gold)) if tokens and gold else 0.0
        found["expected_f1"] += prob * (1.0 if kind == "label" else f1)
        others |= {} if kind == "label" else {outcome: prob}
    if others:
        other = max(others, key=others.get)
        found["other_prob"] = others[other]
        found |= dict(zip(("other_start", "other_end"), characters(tokenizer, context, other), strict=True))
    return found


def normalised(tokenizer, context, span):
    return normalize_answer(context[slice(*characters(tokenizer, context, span))])


@pytest.mark.parametrize("allow_no_answer", [False, True])
@pytest.mark.parametrize("max_answer_length", [1, 4, 1000])
def test_masses_are_those_of_a_loop_over_all_spans(frame, windows, tokenizer, max_answer_length, allow_no_answer):
    """Random logits; windows overlap, come in random order, some twice, and padded differently in every batch."""
    assert np.bincount(windows.example).tolist()[0] >= 3
    random = np.random.default_rng(max_answer_length)
    for n_batches in (1, 5, len(windows) + 3):
        logits = random_logits(windows, n_batches)
        order = [*random.permutation(len(windows)), 0, 3, 1]
        masses = LabelMasses(windows, frame, max_answer_length, allow_no_answer)
        table = fill(masses, windows, logits, order, n_batches, extra=3)
        assert masses.whole.waiting == {}
        assert sorted(table) == sorted(NAMES)
        for row in range(len(ROWS)):
            expected = loop(tokenizer, windows, row, logits, max_answer_length, allow_no_answer)
            found = {name: table[name][row] for name in NAMES}
            assert found == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True), row


def test_the_masses_of_a_row_sum_to_one_and_depend_on_no_order(frame, windows):
    logits = random_logits(windows, 7)
    forth = LabelMasses(windows, frame, 8, allow_no_answer=True)
    back = LabelMasses(windows, frame, 8, allow_no_answer=True)
    table = fill(forth, windows, logits, range(len(windows)), 3)
    again = fill(back, windows, logits, range(len(windows))[::-1], 7, extra=5)
    for name in NAMES:
        np.testing.assert_array_equal(table[name], again[name])
    sums = sum(table[name] for name in NAMES[:4])
    assert (
        np.isnan(sums).tolist()
        == [row in windows.without_tokens for row in range(len(ROWS))]
        == [row == 6 for row in range(len(ROWS))]
    )
    np.testing.assert_allclose(np.delete(sums, 6), 1, rtol=0, atol=1e-9)
    assert (table["expected_f1"][:6] >= table["label_prob"][:6]).all()


def one_sure_outcome(windows, row, first, last):
    """Logits that put all probability of a row with one window on a span of its context; None: on no answer."""
    logits = np.full((2, len(windows), windows.lengths.max()), -50.0, dtype=np.float32)
    (window,) = np.flatnonzero(windows.example == row)
    shift = windows.context_starts(np.array([window]))[0]
    logits[0, window, first + shift] = logits[1, window, last + shift] = 50.0
    return logits


@pytest.mark.parametrize(
    ("first", "last", "mass", "expected_f1"),
    [
        (3, 3, "label_prob", 1.0),  # "Gus", the label
        (0, 0, "label_prob", 1.0),  # "Gus", elsewhere
        (3, 4, "label_prob", 1.0),  # "Gus,": overlaps it and reads the same
        (5, 7, "label_prob", 1.0),  # "the Gus."
        (3, 6, "boundary_prob", 2 / 5),  # "Gus, the Gus"
        (2, 3, "label_prob", 1.0),  # ". Gus"
        (1, 3, "boundary_prob", 2 / 4),  # "sleeps. Gus"
        (1, 2, "place_prob", 0.0),  # "sleeps."
    ],
)
def test_what_a_span_counts_as(frame, windows, first, last, mass, expected_f1):
    row = 7
    logits = one_sure_outcome(windows, row, first, last)
    table = fill(LabelMasses(windows, frame, 8, allow_no_answer=True), windows, logits, range(len(windows)), 1)
    assert {name: round(float(table[name][row]), 9) for name in NAMES[:4]} == dict.fromkeys(NAMES[:4], 0) | {mass: 1}
    assert table["expected_f1"][row] == pytest.approx(expected_f1, abs=1e-9)
    tokens = [(0, 3), (4, 10), (10, 11), (12, 15), (15, 16), (17, 20), (21, 24), (24, 25)]
    place = tokens[first][0], tokens[last][1]
    assert (table["predicted_start"][row], table["predicted_end"][row]) == place
    other = table["other_start"][row], table["other_end"][row]
    assert (other == place) == (mass != "label_prob")


def test_a_label_that_is_the_only_outcome_has_no_other(frame, windows):
    table = fill(LabelMasses(windows, frame, 8, False), windows, random_logits(windows, 1), range(len(windows)), 1)
    assert [table[name][8] for name in NAMES[:5]] == [1, 0, 0, 0, 1]
    assert (table["predicted_start"][8], table["predicted_end"][8]) == (0, 3)
    assert (table["other_start"][8], table["other_end"][8]) == (-1, -1)
    assert np.isnan(table["other_prob"][8])


def test_windows_that_did_not_come_and_logits_that_are_no_numbers_are_refused(frame, windows):
    masses, logits = LabelMasses(windows, frame, 8, True), random_logits(windows, 1)
    with pytest.raises(RuntimeError, match="1 of 9 examples did not come whole"):
        fill(masses, windows, logits, range(1, len(windows)), 2)
    logits[0, 0, windows.context_starts(np.array([0]))] = np.nan
    with pytest.raises(DataError, match=r"not numbers \(NaN\)"):
        fill(masses, windows, logits, [0], 1)


PIECES = [
    "a",
    "A",
    "an",
    "the",
    "The",
    "e",
    "n",
    "x",
    "Σ",
    "ς",
    "σ",
    "İ",
    "i",
    "\u0307",
    "é",
    "—",
    "’",
    "漢",
    "😀",
    ".",
    "!",
]
PIECES += ["(", "_", "'", " ", "  ", "\n", "\u00a0", "\u3000", "\x1f", "1", "10", "ana", "hen", "\u200b", "", "ß", "K"]


@given(
    st.lists(st.sampled_from(PIECES), max_size=14),
    st.integers(1, 16),
    st.one_of(
        st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join), st.tuples(*[st.integers(0, 14)] * 2)
    ),
)
@example(["the", ".", " ", "a", "n", "x"], 6, "the")
@example([".", "x", "a", ".", " "], 6, ".")
@example(["x", "Σ", "Σ", " ", "σ", "x"], 6, "xσ")
@example(["ban", "an", "a", " ", "the"], 5, "ban")
@settings(deadline=None, max_examples=500)
def test_spans_of_the_same_text_are_those_that_normalising_every_span_finds(pieces, reach, label):
    """Tokens are the pieces without the white space at their edges; a label is a text or a stretch of pieces."""
    context = "".join(pieces)
    label = label if isinstance(label, str) else "".join(pieces[min(label) : max(label)])
    lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
    bounds = np.cumsum([0, *lengths])
    starts = bounds[:-1] + np.array([len(p) - len(p.lstrip()) for p in pieces], dtype=np.int64)
    ends = bounds[1:] - np.array([len(p) - len(p.rstrip()) for p in pieces], dtype=np.int64)
    expected = [
        (first, last - first)
        for first in range(len(pieces))
        for last in range(first, min(first + reach, len(pieces)))
        if normalize_answer(context[starts[first] : max(starts[first], ends[last])]) == normalize_answer(label)
    ]
    first, further = same_text_spans(context, starts, ends, reach, label)
    assert list(zip(first.tolist(), further.tolist(), strict=True)) == expected


def test_every_character_weighs_what_its_lower_case_weighs():
    """A context's letters are weighed one by one, a label's after its text was put into lower case."""
    from datamap.evaluation.same_texts import weight_of

    for code in range(0x110000):
        character = chr(code)
        if (lower := character.lower()) != character:
            assert weight_of(character) == sum(map(weight_of, lower)) % 2**64


def test_only_spans_with_the_letters_of_the_label_are_normalised(monkeypatch):
    """Else a long context would take minutes: it has thousands of spans for every one that reads like the label."""
    from datamap.evaluation import same_texts

    calls = []
    monkeypatch.setattr(same_texts, "normalize_answer", lambda text: calls.append(text) or normalize_answer(text))
    words = [f"word{number}" for number in range(400)]
    lengths = np.array([len(word) for word in words])
    ends = np.cumsum(lengths + 1) - 1
    first, further = same_text_spans(" ".join(words), ends - lengths, ends, 30, "Word7, the word8")
    assert (first.tolist(), further.tolist()) == ([7], [1])
    assert len(calls) == 2
