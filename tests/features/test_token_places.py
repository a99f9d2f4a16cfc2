"""Places of tokens: written out character by character, and as the answers of many scripts need them."""

import itertools
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamap.features.token_places import mended_places
from datamap.features.tokens import bare_encodings, tokenize_contexts
from tests.models import byte_level_tokenizer, letter_losing_tokenizer

LATIN = "The patient was admitted to Amsterdam on Monday, with fever and a cough."
KINDS = {"M": "mark", "L": "word", "N": "word", "P": "symbol", "S": "symbol"}
SPECIAL = dict.fromkeys("\u00ad\u200c\u200d\u2060", "joiner") | {"\ufffd": "word"}
OF_WORDS = {"mark", "joiner", "word"}


def kind(character):
    return SPECIAL.get(character, KINDS.get(unicodedata.category(character)[0], "parting"))


def by_character(text, offsets):
    """What mended_places gives, one token and one character after the other."""
    places = [trimmed(text, *place) for place in offsets]
    covered = 0
    for place in places:
        if place[0] == place[1] and place[0] > covered and not text[place[0] - 1].isspace():
            place[0] -= 1
        else:
            covered = max(covered, place[1] if place[0] < place[1] else 0)
    own = [place for place in places if place[0] < place[1]]
    grown = [[*place, place[1]] for place in own]
    for number in range(len(grown) + 1):
        share_gap(text, grown, number)
    found, rest = [], [[len(text), 0, 0], *reversed(grown)]
    before = [0, 0, 0]
    for start, end in places:
        before = rest.pop() if start < end else before
        found.append(list(before) if start < end else [rest[-1][0], *before[1:]])
    return found


def trimmed(text, start, end):
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return [start, end]


def share_gap(text, grown, number):
    """Give the characters before a token to it and to the one before."""
    begin = max((place[1] for place in grown[:number]), default=0)
    edge = end = grown[number][0] if number < len(grown) else len(text)
    if number < len(grown):
        right = kind(text[end])
        like = OF_WORDS if right in OF_WORDS else {"mark", "joiner", right} - {"parting"}
        while edge > begin and kind(text[edge - 1]) in like:
            edge -= 1
        while edge < end and kind(text[edge]) in ("mark", "joiner"):
            edge += 1
    if number:
        like = OF_WORDS if kind(text[begin - 1]) in OF_WORDS else {"mark"}
        reach = begin
        while reach < edge and kind(text[reach]) in like:
            reach += 1
        for place in grown:
            place[2] = reach if place[1] == begin else place[2]
    if edge < end:
        grown[number][0] = edge


@pytest.fixture(scope="module")
def tokenizers(tokenizer):
    texts = [LATIN, "e\u0301 \u05d4\u05dc\u05d1 \U0001fac0 \u2014\u201cx\u201d  \n y"] * 3
    return {
        "wordpiece": tokenizer,
        "byte level": byte_level_tokenizer(texts),
        "blanks inside": byte_level_tokenizer(texts, trim_offsets=False),
        "letters lost": letter_losing_tokenizer(texts),
        "letters kept": letter_losing_tokenizer(texts, trim_offsets=False),
    }


characters = st.one_of(
    st.sampled_from(
        "ab é.,-(“—$\u00ad\u0301\u0323\u200b\u200c\u200d\u200e\u2060\ufeff\ufffd\ufe0f\x00\x01\n\t\u00a0\ue000"
    ),
    st.sampled_from("הלבָדمِشَرहेैंทีกิ่한각漢👍🏽🫀①½ﬁ"),
    st.characters(exclude_categories=["Cs", "Cf"]),
)
unicode_texts = st.text(characters, max_size=24)


def mended(tokenizer, texts):
    encodings = bare_encodings(tokenizer, texts)
    offsets = np.cumsum([0, *map(len, encodings)])
    spans = np.array([place for encoding in encodings for place in encoding.offsets], dtype=np.int64).reshape(-1, 2)
    return encodings, offsets, np.stack(mended_places(texts, *spans.T, offsets), axis=1)


NAMES = ("wordpiece", "byte level", "blanks inside", "letters lost", "letters kept")


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=150, deadline=None)
@given(texts=st.lists(unicode_texts, min_size=1, max_size=4))
def test_places_are_those_found_character_by_character(tokenizers, name, texts):
    encodings, offsets, places = mended(tokenizers[name], texts)
    for row, (text, encoding) in enumerate(zip(texts, encodings, strict=True)):
        assert places[offsets[row] : offsets[row + 1]].tolist() == by_character(text, encoding.offsets)


@settings(max_examples=150, deadline=None)
@given(text=unicode_texts, cuts=st.lists(st.tuples(st.integers(0, 24), st.integers(0, 4)), max_size=6))
def test_so_they_are_for_any_offsets_in_order(text, cuts):
    edges = sorted(min(place, len(text)) for place, _ in cuts)
    ends = [
        min(start + length, following)
        for start, (_, length), following in zip(edges, cuts, [*edges[1:], len(text)], strict=False)
    ]
    offsets = list(zip(edges, ends, strict=True))
    spans = np.array(offsets, dtype=np.int64).reshape(-1, 2)
    found = np.stack(mended_places([text], *spans.T, np.array([0, len(offsets)])), axis=1)
    assert found.tolist() == by_character(text, offsets)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=100, deadline=None)
@given(text=unicode_texts)
def test_places_are_in_order_and_spans_have_no_blank_at_their_edges(tokenizers, name, text):
    _, _, places = mended(tokenizers[name], [text])
    assert (np.diff(places, axis=0) >= 0).all()
    assert ((places >= 0) & (places <= len(text))).all()
    for first, last in itertools.combinations_with_replacement(range(len(places)), 2):
        span = text[places[first, 0] : places[last, 2]]
        assert span == span.strip()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=100, deadline=None)
@given(text=unicode_texts, cut=st.tuples(st.integers(0, 24), st.integers(0, 24)))
def test_the_tokens_of_an_answer_cover_it_but_for_what_belongs_to_none(tokenizers, name, text, cut):
    """Beyond the answer they reach no further than their own characters and what hangs on these."""
    from datamap.features.windows import gold_token_spans

    begin, end = sorted(min(place, len(text)) for place in cut)
    answer = text[begin:end]
    begin, end = begin + len(answer) - len(answer.lstrip()), end - len(answer) + len(answer.rstrip())
    if begin >= end:
        return
    contexts = tokenize_contexts(tokenizers[name], [text])
    first, last = gold_token_spans(contexts, np.array([0]), np.array([[begin, end]]))[0]
    own = {
        place
        for start, stop in zip(contexts.char_starts, contexts.char_ends, strict=True)
        for place in range(start, stop)
    }
    tails = {
        place
        for start, stop in zip(contexts.char_ends, contexts.text_ends, strict=True)
        for place in range(start, stop)
    } - own
    inside = {place for place in range(begin, end) if not text[place].isspace()}
    if first < 0:
        assert not inside & own
        return
    start, stop = contexts.char_starts[first], contexts.text_ends[last]
    of_the_token_before = set(itertools.takewhile(tails.__contains__, range(begin, end)))
    assert inside & (own | tails) <= set(range(start, stop)) | of_the_token_before
    beyond = {*range(start, begin), *range(end, stop)}
    assert not {place for place in beyond if text[place].isspace()} - own  # blanks inside a token are its own


def text_of(tokenizer, text, answer):
    """The text of an answer's tokens."""
    from datamap.features.windows import gold_token_spans

    contexts, begin = tokenize_contexts(tokenizer, [text]), text.index(answer)
    first, last = gold_token_spans(contexts, np.array([0]), np.array([[begin, begin + len(answer)]]))[0]
    return text[contexts.char_starts[first] : contexts.text_ends[last]]


DROPPED = {
    "Le cafe\u0301 ouvre": ["cafe\u0301", "ouvre"],
    "o\u0302\u0323, n\u0303 x": ["o\u0302\u0323", "n\u0303"],
    "\u0641\u064a \u062f\u0645\u0634\u0642\u064e \u0627\u0644": ["\u062f\u0645\u0634\u0642\u064e", "\u0641\u064a"],
    "\u0917\u0930 \u05d9\u05b8\u05e4\u05d5\u05b9 x": ["\u05d9\u05b8\u05e4\u05d5\u05b9"],
    "\u0938\u094b \u0930\u0939\u0947 \u0939\u0948\u0902 \u0914\u0930": ["\u0930\u0939\u0947 \u0939\u0948\u0902"],
    "\u0e02\u0e32 \u0e17\u0e35\u0e48\u0e19\u0e35\u0e48 \u0e27": ["\u0e17\u0e35\u0e48\u0e19\u0e35\u0e48"],
    "one end\u00ad two": ["end\u00ad", "two", "one"],
    "\ufeffNotes \u200dalpha\u200d (\u202bx\u202c) quo\u200e)": ["Notes", "alpha\u200d", "x", "quo"],
    "so (it is)\u200d\u2014\u200cthat V\u0301 \u0645\u06cc\u200c\u062e": [
        "(it is)",
        "\u2014",
        "V\u0301",
        "\u0645\u06cc\u200c\u062e",
    ],
    "wo\u2060 rd\ufeff x": ["wo\u2060", "rd"],
    "caf\ufffd ici, word\u200b more \u200bmost\x00 so": ["caf\ufffd", "word", "most"],
    "\uf0b7Aspirin \uf0b7 5 mg": ["Aspirin", "5 mg"],
    "\u2764\ufe0f 1\ufe0f\u20e3 go": ["\u2764\ufe0f", "1\ufe0f\u20e3"],
}


@pytest.mark.parametrize(("text", "answer"), [(text, answer) for text in DROPPED for answer in DROPPED[text]])
def test_what_an_uncased_tokenizer_drops_goes_with_the_token_before(tokenizer, text, answer):
    assert text_of(tokenizer, text, answer) == answer


SENTENCE = "The boy sits by a cough.  He is 8 \u05d4\u05dc\u05d1 \U0001fac0 \u2014dash \u201cq\u201d end"
WORDS = (
    "The",
    "boy",
    "a",
    "cough",
    "cough.",
    ".",
    "He",
    "8",
    "\u05d4\u05dc\u05d1",
    "\U0001fac0",
    "\u2014",
    "\u201cq",
    "\u201d",
)


@pytest.mark.parametrize("answer", WORDS)
@pytest.mark.parametrize("name", NAMES[1:])
def test_first_letters_come_back_and_blanks_stay_outside(tokenizers, name, answer):
    assert text_of(tokenizers[name], SENTENCE, answer) == answer


def test_tokens_of_one_character_share_its_marks(tokenizer):
    contexts = tokenize_contexts(tokenizer, ["\ud55c\u0301 x"])
    assert contexts.text_ends.tolist() == [2, 2, 2, 4]
    assert contexts.char_ends.tolist() == [1, 1, 1, 4]


def test_no_text_and_no_token_have_no_place():
    nothing = np.empty(0, dtype=np.int32)
    assert [len(places) for places in mended_places([], nothing, nothing, np.array([0]))] == [0, 0, 0]
    assert [len(places) for places in mended_places(["\u0301", ""], nothing, nothing, np.zeros(3, int))] == [0, 0, 0]
    alone = mended_places(["  "], np.array([0]), np.array([2]), np.array([0, 1]))
    assert [places.tolist() for places in alone] == [[2], [0], [0]]


def test_letters_that_a_vocabulary_lacks_come_back():
    """BPE without an unknown token leaves out what it has never seen."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.Whitespace()
    bare.train_from_iterator([LATIN] * 3, trainers.BpeTrainer(vocab_size=100, show_progress=False))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare)
    text = "The f\u00eavere, not\u00e9 and \u00e9tait \u2014 \u00fc"
    for answer in ("f\u00eavere", "not\u00e9", "\u00e9tait", "and", "The"):
        assert text_of(tokenizer, text, answer) == answer
    assert tokenize_contexts(tokenizer, [text]).text_ends.max() == text.index(" \u2014")
