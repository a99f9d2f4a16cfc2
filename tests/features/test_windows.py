"""Windows and labels against the question-answering recipe, written here token by token."""

import json

import numpy as np
import pytest

from datamap.errors import DataError, UsageError
from datamap.features.windows import NEUTRAL_QUESTION, NliPairs, PadCollator, QaWindows, gold_char_spans
from tests.models import byte_level_tokenizer
from tests.paths import REAL_DATA
from tests.rows import qa_frame


def recipe_windows(tokenizer, question, context, answer, max_length, doc_stride):
    """(input_ids, start, end, ran_over) a window, as Transformers' run_qa.py makes them, one token at a time.

    The recipe walks right while tokens begin before the answer; where the answer begins in the window's last context
    token it walks on over the closing special token (it says so itself). `ran_over` marks those windows.
    """
    encoded = tokenizer(
        question.lstrip(),
        context,
        truncation="only_second",
        max_length=max_length,
        stride=doc_stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    for number, ids in enumerate(encoded["input_ids"]):
        offsets, sides = encoded["offset_mapping"][number], encoded.sequence_ids(number)
        cls_index = ids.index(tokenizer.cls_token_id)
        own = [position for position, side in enumerate(sides) if side == 1]
        start_char = answer["answer_start"][0] if answer["text"] else None
        end_char = start_char + len(answer["text"][0]) if answer["text"] else None
        if start_char is None or offsets[own[0]][0] > start_char or offsets[own[-1]][1] < end_char:
            yield ids, cls_index, cls_index, False
            continue
        first, last = own[0], own[-1]
        while first < len(offsets) and offsets[first][0] <= start_char:
            first += 1
        while offsets[last][1] >= end_char:
            last -= 1
        yield ids, first - 1, last + 1, first - 1 > own[-1]


def assert_same_as_recipe(frame, tokenizer, max_length, doc_stride):
    windows = QaWindows(frame, tokenizer, max_length, doc_stride)
    expected, owners = [], []
    for row, (question, context, answer) in enumerate(
        zip(frame["question"], frame["context"], frame["answers"], strict=True)
    ):
        made = list(recipe_windows(tokenizer, question, context, answer, max_length, doc_stride))
        expected += made
        owners += [row] * len(made)
    assert windows.example.tolist() == owners
    ran_over = 0
    for number, (ids, start, end, over) in enumerate(expected):
        item = windows[number]
        assert item["input_ids"].tolist() == ids
        assert item["end_positions"] == end
        if over:
            ran_over += 1
            assert item["start_positions"] == item["context_end"] - 1
        else:
            assert item["start_positions"] == start
    return len(expected), ran_over


def wiki_frame(n_articles):
    data = json.loads((REAL_DATA / "wiki_dev.json").read_text())["data"]
    rows = [
        (
            paragraph["context"],
            qa["question"],
            [a["text"] for a in qa["answers"]],
            [a["answer_start"] for a in qa["answers"]],
        )
        for article in data[:n_articles]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    ]
    return qa_frame(*rows)


def demo_frame(variant, n_rows):
    from datamap.demo.data import make_demo

    rows = make_demo(variant)["validation"][:n_rows]
    return qa_frame(*((r["context"], r["question"], r["answers"]["text"], r["answers"]["answer_start"]) for r in rows))


@pytest.mark.real_data
@pytest.mark.parametrize(("max_length", "doc_stride"), [(384, 128), (128, 32), (64, 8)])
def test_wiki_windows_and_labels_equal_the_recipe(tokenizer, max_length, doc_stride):
    n_windows, ran_over = assert_same_as_recipe(wiki_frame(2), tokenizer, max_length, doc_stride)
    assert n_windows > 300
    assert ran_over < n_windows / 100


@pytest.mark.parametrize(("max_length", "doc_stride"), [(512, 128), (40, 12), (32, 4)])
def test_demo_windows_and_labels_equal_the_recipe(tokenizer, max_length, doc_stride):
    assert_same_as_recipe(demo_frame("v2", 150), tokenizer, max_length, doc_stride)


def test_byte_level_tokenizers_work_too():
    frame = demo_frame("", 60)
    tokenizer = byte_level_tokenizer(frame["context"])
    assert_same_as_recipe(frame, tokenizer, 64, 16)
    assert "token_type_ids" not in QaWindows(frame, tokenizer, 64, 16)[0]


def test_emoji_accents_and_right_to_left_text_keep_their_places(tokenizer):
    context = "Le café 🫀 naïve. הלב בריא מאוד and ½ tablet daily; dose→10 mg."
    rows = [(context, "q?", [text], [context.index(text)]) for text in ("naïve", "הלב בריא", "½ tablet", "10 mg")]
    windows = QaWindows(qa_frame(*rows), tokenizer, 64, 8)
    starts, ends = windows.char_spans(np.arange(4), windows.start_positions, windows.end_positions)
    found = [context[start:end] for start, end in zip(starts, ends, strict=True)]
    assert found == ["naïve", "הלב בריא", "½ tablet", "10 mg"]


def test_tokens_that_share_a_character_stay_together(tokenizer):
    """One syllable is three WordPiece tokens, one emoji four bytes; the recipe would label them back to front."""
    korean = QaWindows(qa_frame(("약 한 알", "q", ["한"], [2]), ("약 한 알", "q", ["약 한"], [0])), tokenizer, 32, 4)
    for window, text in ((0, "한"), (1, "약 한")):
        start, end = korean.start_positions[[window]], korean.end_positions[[window]]
        assert start < end
        places = korean.char_spans(np.array([window]), start, end)
        assert "약 한 알"[places[0][0] : places[1][0]] == text
        inside = korean[window]["input_ids"][start[0] : end[0] + 1].tolist()
        assert tokenizer.decode(inside) == tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"])
    bytes_windows = QaWindows(qa_frame(("so 😀 so", "q", ["😀"], [3])), byte_level_tokenizer(["so so"]), 32, 4)
    assert bytes_windows.gold_lengths[0] >= 4


def test_the_recipe_labels_one_token_too_many_where_a_mark_is_dropped(tokenizer):
    """It walks back until a token ends before the answer does, and no token ends with the mark."""
    context, answer = "Le cafe\u0301 ouvre tard", "cafe\u0301"
    gold = {"text": [answer], "answer_start": [3]}
    ((_, start, end, _),) = recipe_windows(tokenizer, "q", context, gold, 32, 4)
    windows = QaWindows(qa_frame((context, "q", [answer], [3])), tokenizer, 32, 4)
    assert (windows.start_positions[0], windows.end_positions[0]) == (start, end - 1)
    ((_, start, end, _),) = recipe_windows(tokenizer, "q", context[:8], gold, 32, 4)
    assert (start, end) == (0, 0)  # and at the end of a context it finds no answer
    assert QaWindows(qa_frame((context[:8], "q", [answer], [3])), tokenizer, 32, 4).has_gold.all()


def test_gold_answers_with_other_tokens_are_listed_with_their_text(tokenizer):
    context = "saxophonist in 1950s, cafe\u0301 and tea"
    texts = ["saxophon", "50s", " cafe\u0301", "cafe", "tea", "saxophonist"]
    frame = qa_frame(*((context, "q", [text], [context.index(text)]) for text in texts))
    windows = QaWindows(frame, tokenizer, 32, 4)
    name, action = "gold answer cannot be predicted exactly", "kept, labelled by its tokens"
    assert windows.problems(None) == [
        (0, name, action, "saxophon", "saxophonist"),
        (1, name, action, "50s", "1950s"),
        (3, name, action, "cafe", "cafe\u0301"),
    ]
    for row, text in ((0, "saxophonist"), (2, "cafe\u0301"), (3, "cafe\u0301")):
        begin, end = windows.char_spans(np.array([row]), windows.start_positions[[row]], windows.end_positions[[row]])
        assert context[begin[0] : end[0]] == text


WITHOUT_TOKENS = ("one \u200b two", "q", ["\u200b"], [4])


@pytest.mark.parametrize(
    "others", [[("one two", "q", ["two"], [4])], [("one", "q", ["one"], [0]), ("one", "q", [], [])]]
)
def test_a_gold_answer_without_any_token_is_left_out_of_training(tokenizer, others):
    frame = qa_frame(WITHOUT_TOKENS, *others)
    windows = QaWindows(frame, tokenizer, 32, 4, to_train_on=True)
    assert windows.problems(None) == [(0, "gold answer without tokens", "left out of training", "\u200b", "")]
    assert windows.example.tolist() == list(range(1, len(frame)))
    assert windows.gold_lengths[0] == 0
    assert windows.without_gold_window() == {0: "no token stands for the gold answer"}
    alone = QaWindows(qa_frame(*others), tokenizer, 32, 4, to_train_on=True)
    for number in range(len(alone)):
        expected = {name: np.asarray(value).tolist() for name, value in alone[number].items()}
        assert {name: np.asarray(value).tolist() for name, value in windows[number].items()} == expected


def test_elsewhere_it_stays_and_has_no_gold(tokenizer):
    windows = QaWindows(qa_frame(WITHOUT_TOKENS), tokenizer, 32, 4)
    assert windows.problems(None) == [(0, "gold answer without tokens", "kept, cannot be predicted", "\u200b", "")]
    assert windows.has_gold.tolist() == [False]


def test_nothing_but_gold_answers_without_tokens_is_refused(tokenizer):
    with pytest.raises(DataError, match=r"any of the 1 gold answers .* '\\u200b': look at the data"):
        QaWindows(qa_frame(WITHOUT_TOKENS), tokenizer, 32, 4, to_train_on=True)


def test_lengths_are_those_of_the_items(tokenizer):
    windows = QaWindows(demo_frame("", 20), tokenizer, 40, 12)
    assert windows.lengths.tolist() == [len(windows[number]["input_ids"]) for number in range(len(windows))]


def test_every_context_is_tokenised_once(tokenizer, monkeypatch):
    from datamap.features import tokens

    encoded, real = [], tokens.bare_encodings
    monkeypatch.setattr(tokens, "bare_encodings", lambda own, texts: encoded.extend(texts) or real(own, texts))
    rows = [("Aspirin daily.", f"question {number}?", ["daily"], [8]) for number in range(5)]
    QaWindows(qa_frame(*rows), tokenizer, 64, 8)
    assert encoded.count("Aspirin daily.") == 1


def test_gold_bearing_windows_and_the_no_answer_label(tokenizer):
    context = " ".join(f"word{number}" for number in range(60)) + " target end"
    frame = qa_frame((context, "q", ["target"], [context.index("target")]), (context, "q", [], []))
    windows = QaWindows(frame, tokenizer, 64, 16)
    answerable, unanswerable = windows.example == 0, windows.example == 1
    assert answerable.sum() > 2
    assert windows.has_gold[answerable].tolist() == [False] * (answerable.sum() - 1) + [True]
    assert windows.has_gold[unanswerable].all()
    assert set(windows.start_positions[unanswerable]) == {0}
    assert set(windows.start_positions[answerable & ~windows.has_gold]) == {0}
    assert windows.gold_lengths.tolist() == [1, 0]


def test_white_space_at_the_edges_of_a_gold_answer_stays_outside():
    answers = [{"text": [" two words "], "answer_start": [3]}, {"text": [], "answer_start": []}]
    answers += [{"text": ["gone"], "answer_start": [-1]}, {"text": ["  "], "answer_start": [4]}]
    assert gold_char_spans(answers).tolist() == [[4, 13], [-1, -1], [-1, -1], [-1, -1]]


def test_q_only_masks_the_context_and_keeps_lengths_and_labels(tokenizer):
    frame = demo_frame("", 8)
    plain, masked = QaWindows(frame, tokenizer, 48, 12), QaWindows(frame, tokenizer, 48, 12, "q_only")
    for number in range(len(plain)):
        before, after = plain[number], masked[number]
        inside = slice(before["context_start"], before["context_end"])
        assert set(after["input_ids"][inside]) == {tokenizer.mask_token_id}
        assert (
            np.delete(after["input_ids"], np.r_[inside]).tolist()
            == np.delete(before["input_ids"], np.r_[inside]).tolist()
        )
        assert {k: v for k, v in before.items() if np.ndim(v) == 0} == {
            k: v for k, v in after.items() if np.ndim(v) == 0
        }


def test_p_only_asks_one_neutral_question(tokenizer):
    windows = QaWindows(demo_frame("", 8), tokenizer, 256, 16, "p_only")
    neutral = tokenizer(NEUTRAL_QUESTION)["input_ids"]
    for number in range(len(windows)):
        assert windows[number]["input_ids"][: len(neutral)].tolist() == neutral


def test_q_only_without_a_mask_token_is_refused(tokenizer):
    texts = ["one two three"]
    bare = byte_level_tokenizer(texts)
    bare.mask_token = None
    with pytest.raises(UsageError, match="mask token"):
        QaWindows(qa_frame(("one two", "three", ["two"], [4])), bare, 32, 4, "q_only")


def test_a_tokenizer_without_a_classifier_token_is_refused():
    bare = byte_level_tokenizer(["one two"])
    bare.cls_token = None
    with pytest.raises(DataError, match="classifier token"):
        QaWindows(qa_frame(("one two", "three", ["two"], [4])), bare, 32, 4)


def test_a_long_question_is_cut_only_where_windows_could_not_advance(tokenizer):
    context = " ".join(["alpha"] * 100)
    rows = [(context, " ".join(["beta"] * n), ["alpha"], [0]) for n in (44, 45, 70)]
    windows = QaWindows(qa_frame(*rows), tokenizer, 64, 16)
    assert windows.questions.lengths.tolist() == [44, 22, 22]
    assert [problem[:4] for problem in windows.problems(None)] == [
        (1, "question too long", "cut for the model", "45 tokens"),
        (2, "question too long", "cut for the model", "70 tokens"),
    ]


def test_gold_answers_longer_than_asked_for_are_listed(tokenizer):
    frame = qa_frame(("one two three four", "q", ["two three four"], [4]), ("one two", "q", ["two"], [4]))
    windows = QaWindows(frame, tokenizer, 64, 16)
    assert [problem[0] for problem in windows.problems(2)] == [0]
    assert windows.problems(None) == []
    assert windows.problems(3) == []


def test_a_stride_that_leaves_no_room_is_refused(tokenizer):
    with pytest.raises(UsageError, match="--doc_stride 60"):
        QaWindows(demo_frame("", 2), tokenizer, 64, 60)


def test_collator_pads_to_the_longest_and_marks_padding(tokenizer):
    windows = QaWindows(qa_frame(("one two three", "q", ["two"], [4]), ("one", "q", ["one"], [0])), tokenizer, 32, 4)
    batch = PadCollator(tokenizer)([windows[0], windows[1]])
    assert batch["input_ids"].shape == (2, 7)
    assert batch["attention_mask"].tolist() == [[1] * 7, [1] * 5 + [0] * 2]
    assert batch["input_ids"][1, 5:].tolist() == [tokenizer.pad_token_id] * 2
    assert batch["row"].tolist() == [0, 1]


def nli_frame():
    import pandas as pd

    sides = [
        ("a man sleeps " * 30, "he rests"),
        ("short", "a woman runs " * 40),
        ("a " * 60, "b " * 60),
        ("one", "two"),
    ]
    return pd.DataFrame({"premise": [s[0] for s in sides], "hypothesis": [s[1] for s in sides], "label": [0, 1, 2, 0]})


def test_nli_pairs_equal_the_tokenizers_own(tokenizer):
    frame = nli_frame()
    pairs = NliPairs(frame, tokenizer, 48)
    for row in range(len(frame)):
        own = tokenizer(frame["premise"][row], frame["hypothesis"][row], truncation=True, max_length=48)
        assert pairs[row]["input_ids"].tolist() == own["input_ids"]
        assert pairs[row]["token_type_ids"].tolist() == own["token_type_ids"]
        assert pairs[row]["labels"] == frame["label"][row]


@pytest.mark.parametrize(("ablation", "kept"), [("q_only", "hypothesis"), ("p_only", "premise")])
def test_nli_ablations_keep_one_side(tokenizer, ablation, kept):
    frame = nli_frame()
    pairs = NliPairs(frame, tokenizer, 48, ablation)
    for row, text in enumerate(frame[kept]):
        assert pairs[row]["input_ids"].tolist() == tokenizer(text, truncation=True, max_length=48)["input_ids"]
