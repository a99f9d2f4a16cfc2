"""What gives answers away: rows worked by hand, and every number against a plain loop on random rows."""

import math
import re
import statistics
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from datamap.audit.answers import frequent_answers, lengths, overlaps, places, sentence_ends
from datamap.evaluation.metrics import best_over_golds
from datamap.files.outputs import json_ready
from tests.rows import qa_frame

WORDS = ["ache", "Bone", "cough", "dose", "Über", "fever", "graft", "e\u0301tude", "日本", "isn't"]


def sentences_of(context):
    ends = sentence_ends(context)
    return [context[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


@pytest.mark.parametrize(
    ("context", "sentences"),
    [
        ("One. Two!  Three? Four", ["One.", " Two!", "  Three?", " Four"]),
        ("Dose 3.5 mg. Why?No", ["Dose 3.5 mg.", " Why?No"]),
        ("Dr. Who", ["Dr.", " Who"]),
        ('He said "Go." (Twice.) Then', ['He said "Go."', " (Twice.)", " Then"]),
        ("Wait... what", ["Wait...", " what"]),
        ("a\nb\r\nc\n\n\nd", ["a\n", "b\r", "\nc\n", "\n\nd"]),
        ("  \n One.\n", ["  \n One.\n"]),
        ("One. \n ", ["One. \n "]),
        ("One. Two.\n\n", ["One.", " Two.\n\n"]),
        ("什么。 这样", ["什么。 这样"]),
        (" ", [" "]),
        ("", [""]),
    ],
)
def test_sentences_are_all_of_a_context_and_never_blank(context, sentences):
    assert sentences_of(context) == sentences


def random_rows(n_rows, seed):
    """Rows on random contexts of up to 30 words with marks and line breaks; a tenth without answers or place."""
    generator = np.random.default_rng(seed)
    joints = [" ", " ", " ", ". ", "! ", "? ", "\n", ".", ".) "]
    contexts = []
    for _ in range(n_rows // 4):
        words, marks = (generator.choice(pool, generator.integers(1, 30)) for pool in (WORDS, joints))
        contexts.append("".join(word + mark for word, mark in zip(words, marks, strict=False)))
    rows = []
    for context in generator.choice(contexts, n_rows):
        begin = int(generator.integers(len(context)))
        answer = context[begin : begin + int(generator.integers(1, 12))]
        question = " ".join(generator.choice([*WORDS, "who", "what"], generator.integers(0, 5)))
        kind = generator.random()
        texts, starts = ([answer, "bone"], [begin, 0]) if kind < 0.8 else ([answer], [-1]) if kind < 0.9 else ([], [])
        rows.append((str(context), question, texts, starts))
    return rows


RANDOM = random_rows(400, 1)
PLACED = [
    (context, question, texts[0], starts[0]) for context, question, texts, starts in RANDOM if [*starts, -1][0] >= 0
]


def decile_of(start, last):
    return min(9, math.floor(10 * start / last)) if last else 0


def test_places_worked_by_hand():
    """10 characters: an answer of two fits at 9 starts, of which the first sentence "Abc." (0 to 3) holds 4."""
    context = "Abc. Defg."
    found = places(qa_frame((context, "q", ["Ab"], [0]), (context, "q", ["g."], [8]), (context, "q", [context], [0])))
    assert found["n_rows"] == 3
    assert found["first_sentence_share"] == 2 / 3
    assert found["first_sentence_chance"] == pytest.approx((4 / 9 + 4 / 9 + 1) / 3)
    assert found["decile_shares"] == pytest.approx([2 / 3, 0, 0, 0, 0, 0, 0, 0, 0, 1 / 3])
    # Relative starts 0/8, 1/8 .. 8/8 lie in the deciles 0, 1, 2, 3, 5, 6, 7, 8 and 9; the whole context in the first.
    by_hand = [(2 / 9 + 1) / 3, *[2 / 9 / 3] * 3, 0, *[2 / 9 / 3] * 5]
    assert found["decile_chances"] == pytest.approx(by_hand)


def test_places_are_those_of_a_loop():
    found = places(qa_frame(*RANDOM))
    in_first, chances, deciles, decile_chances = [], [], Counter(), np.zeros(10)
    for context, _, answer, start in PLACED:
        legal = range(len(context) - len(answer) + 1)
        first = len(sentences_of(context)[0])
        in_first.append(start < first)
        chances.append(statistics.mean(place < first for place in legal))
        deciles[decile_of(start, legal[-1])] += 1
        for place in legal:
            decile_chances[decile_of(place, legal[-1])] += 1 / len(legal)
    assert found["n_rows"] == len(PLACED)
    assert 0 < len(PLACED) < len(RANDOM)
    assert found["first_sentence_share"] == pytest.approx(statistics.mean(in_first))
    assert found["first_sentence_chance"] == pytest.approx(statistics.mean(chances))
    assert found["decile_shares"] == pytest.approx([deciles[number] / len(PLACED) for number in range(10)])
    assert found["decile_chances"] == pytest.approx((decile_chances / len(PLACED)).tolist())


def test_answers_drawn_uniformly_lie_as_chance_has_it():
    generator = np.random.default_rng(4)
    context = "A first sentence. Then another one, which is longer. And a last one."
    starts = generator.integers(0, len(context) - 2, 4000).tolist()
    found = places(qa_frame(*((context, "q", [context[start : start + 3]], [start]) for start in starts)))
    # The standard error of a share of 4,000 is at most 0.008.
    assert found["first_sentence_share"] == pytest.approx(found["first_sentence_chance"], abs=0.03)
    assert found["decile_shares"] == pytest.approx(found["decile_chances"], abs=0.03)


def test_a_context_of_one_sentence_is_no_cue():
    found = places(qa_frame(("no mark at all", "q", ["all"], [11])))
    assert (found["first_sentence_share"], found["first_sentence_chance"]) == (1.0, 1.0)
    assert overlaps(qa_frame(("no mark at all", "no mark", ["all"], [11]))) == {
        "n_rows": 0, "share": None, "chance": None,
    }  # fmt: skip


def test_places_count_characters_whatever_their_bytes():
    context = "😀 e\u0301. Zwei."
    found = places(qa_frame((context, "q", ["Zwei"], [context.index("Zwei")])))
    assert (found["first_sentence_share"], found["first_sentence_chance"]) == (0.0, pytest.approx(5 / 8))


def test_rows_without_a_place_give_no_figures_of_places():
    frame = qa_frame(("One. Two.", "one", [], []), ("One. Two.", "one", ["three"], [-1]))
    assert set(places(frame).values()) == {0, None}
    assert overlaps(frame) == {"n_rows": 0, "share": None, "chance": None}
    assert lengths(frame)["unanswerable_share"] == 0.5
    assert lengths(frame)["one_word_share"] == 1.0


def test_lengths_worked_by_hand():
    texts = [["one"], ["two words", "not counted at all"], ["and  these\nare four"], [], ["one"]]
    found = lengths(qa_frame(*(("context", "q", answers, [0] * len(answers)) for answers in texts)))
    assert found == {
        "n_rows": 5, "unanswerable_share": pytest.approx(0.2), "mean_words": 2.0, "words_05": 1.0, "words_50": 1.5,
        "words_95": pytest.approx(3.7), "words_max": 4, "one_word_share": 0.5,
    }  # fmt: skip


def test_quantiles_of_lengths():
    found = lengths(qa_frame(*(("context", "q", ["word " * n_words], [0]) for n_words in range(1, 22))))
    assert (found["words_05"], found["words_50"], found["words_95"], found["words_max"]) == (2.0, 11.0, 20.0, 21)


def test_lengths_are_those_of_a_loop():
    found = lengths(qa_frame(*RANDOM))
    words = sorted(len(re.findall(r"\S+", texts[0])) for _, _, texts, _ in RANDOM if texts)
    place = 0.95 * (len(words) - 1)
    below = words[math.floor(place)]
    assert found["n_rows"] == 400
    assert found["unanswerable_share"] == pytest.approx(sum(not texts for _, _, texts, _ in RANDOM) / 400)
    assert found["mean_words"] == pytest.approx(statistics.mean(words))
    assert found["words_50"] == statistics.median(words)
    assert found["words_95"] == pytest.approx(below + (place % 1) * (words[math.ceil(place)] - below))
    assert found["words_max"] == words[-1]
    assert found["one_word_share"] == pytest.approx(words.count(1) / len(words))


def test_without_answers_there_are_no_lengths():
    found = lengths(qa_frame(("context", "q", [], [])))
    assert (found.pop("n_rows"), found.pop("unanswerable_share")) == (1, 1.0)
    assert set(found.values()) == {None}


def test_overlaps_worked_by_hand():
    context = "The dog barked. The cat slept. A bird sang."
    rows = [
        (context, "When did the cat sleep? THE CAT!", ["slept"], [context.index("slept")]),  # two words against one
        (context, "Who barked, the dog?", ["slept"], [context.index("slept")]),  # three words against one
        (context, "The what?", ["bird"], [context.index("bird")]),  # none against one and one
        (context, "the the", ["dog"], [context.index("dog")]),  # one of two
        (context, "Who flew?", ["bird"], [context.index("bird")]),  # no word: not counted
        ("One. Two", "Two?", ["Two"], [5]),
    ]
    assert overlaps(qa_frame(*rows)) == {
        "n_rows": 5, "share": pytest.approx((1 + 0 + 0 + 1 / 2 + 1) / 5), "chance": pytest.approx((4 / 3 + 1 / 2) / 5),
    }  # fmt: skip


def test_an_answer_belongs_to_the_sentence_that_it_starts_in():
    context = "Ache. Bone."
    for start, share in ((4, 1.0), (5, 0.0), (6, 0.0)):
        assert overlaps(qa_frame((context, "ache", ["x"], [start])))["share"] == share


def test_words_of_question_and_context_meet_whatever_their_case_and_form():
    context = "STRASSE und E\u0301tude. Sonst nichts."
    for question in ("straße?", "\u00e9tude"):
        assert overlaps(qa_frame((context, question, ["STRASSE"], [0])))["share"] == 1.0


def test_overlaps_are_those_of_a_loop():
    found = overlaps(qa_frame(*RANDOM))
    credits, chances = [], []
    for context, question, _, start in PLACED:
        sentences = sentences_of(context)
        asked = {word.casefold() for word in question.split()}
        counts = [len(asked & {word.casefold() for word in re.split(r"[\s.!?)]+", part)}) for part in sentences]
        if len(sentences) < 2 or not max(counts):
            continue
        ends = np.cumsum([len(part) for part in sentences])
        mine = next(number for number, end in enumerate(ends) if start < end)
        credits.append((counts[mine] == max(counts)) / counts.count(max(counts)))
        chances.append(1 / len(sentences))
    assert found["n_rows"] == len(credits) > 100
    assert found["share"] == pytest.approx(statistics.mean(credits))
    assert found["chance"] == pytest.approx(statistics.mean(chances))


def test_frequent_answers_worked_by_hand():
    texts = [["The Heart!", "liver"], ["heart"], ["a lung"], [], ["the"], ["Lung", "x"], ["heart lung"], ["zest"]]
    found = frequent_answers(qa_frame(*(("context", "q", answers, [0] * len(answers)) for answers in texts)))
    assert (found["n_rows"], found["n_distinct"]) == (8, 5)
    assert [(row["answer"], row["count"]) for row in found["top"]] == [
        ("", 2), ("heart", 2), ("lung", 2), ("heart lung", 1), ("zest", 1),
    ]  # fmt: skip
    assert [row["share"] for row in found["top"]] == [0.25, 0.25, 0.25, 0.125, 0.125]
    assert found["constant"]["exact_match"] == 25.0
    assert (found["constant"]["NoAns_exact"], found["constant"]["NoAns_total"]) == (100.0, 1)


def test_the_constant_answer_is_scored_on_the_other_rows_against_all_their_answers():
    train = qa_frame(*(("context", "q", [text], [0]) for text in ("heart", "Heart", "lung")))
    rows = [("context", "q", ["lung", "the heart"], [0, 0]), ("context", "q", ["heart valve"], [0])]
    found = frequent_answers(train, qa_frame(*rows))
    assert found["constant"] == {"exact_match": 50.0, "f1": pytest.approx(100 * (1 + 2 / 3) / 2), "total": 2}
    assert (found["n_rows"], found["top"][0]["share"]) == (3, 2 / 3)


def test_the_rule_is_that_of_the_scored_rows():
    """Always answering nothing: right by the rules of v2.0 where nothing is asked for, F1 0 by those of v1.1."""
    train = qa_frame(("context", "q", [], []), ("context", "q", [], []), ("context", "q", ["heart"], [0]))
    of_articles = ("context", "q", ["the"], [0])
    answered = frequent_answers(train, qa_frame(of_articles, ("context", "q", ["heart"], [0])))["constant"]
    assert answered == {"exact_match": 50.0, "f1": 0.0, "total": 2}
    with_none = frequent_answers(train, qa_frame(of_articles, ("context", "q", [], [])))["constant"]
    assert (with_none["exact_match"], with_none["f1"]) == (100.0, 100.0)


def test_frequent_answers_are_those_of_a_loop():
    found = frequent_answers(qa_frame(*RANDOM))
    words = [re.sub(r"[.!?)']", "", (texts or [""])[0].lower()).split() for _, _, texts, _ in RANDOM]
    counts = Counter(" ".join(word for word in answer if word != "a") for answer in words)
    assert (found["n_rows"], found["n_distinct"], len(found["top"])) == (400, len(counts), 20)
    expected = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:20]
    assert [(row["answer"], row["count"], row["share"]) for row in found["top"]] == [
        (text, count, count / 400) for text, count in expected
    ]
    scores = [best_over_golds(expected[0][0], texts, has_unanswerable=True) for _, _, texts, _ in RANDOM]
    em, f1 = (100 * statistics.mean(column) for column in zip(*scores, strict=True))
    assert found["constant"]["exact_match"] == pytest.approx(em)
    assert found["constant"]["f1"] == pytest.approx(f1)


@pytest.mark.parametrize("figures", [places, lengths, overlaps, frequent_answers])
def test_neither_the_order_nor_the_index_of_the_rows_matters_and_nothing_is_changed(figures):
    frame = qa_frame(*RANDOM)
    before = frame.copy(deep=True)
    shuffled = frame.sample(frac=1, random_state=9)
    flat, other = (pd.json_normalize(json_ready(figures(rows))).to_dict("records")[0] for rows in (frame, shuffled))
    assert flat.keys() == other.keys()
    for name, value in flat.items():
        assert other[name] == (value if name == "top" else pytest.approx(value))
    pd.testing.assert_frame_equal(frame, before)
