"""Tokens: kept for the next run by a fingerprint of tokenizer, settings and texts, and the same as without a cache."""

import numpy as np
import pytest

from datamap.features import tokens

TEXTS = ["The patient was given 20 mg of aspirin.", "No fever.", "Ünïcode 🙂 text", ""] * 3


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of its own that keeps however few tokens."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr(tokens, "CACHED_CHARACTERS", 0)
    return tmp_path / tokens.CACHE


def arrays(found):
    return [found.token_ids, found.char_starts, found.char_ends, found.text_ends, found.offsets]


class Counting:
    """A tokenizer that counts its calls."""

    def __init__(self, tokenizer):
        self.tokenizer, self.n_calls = tokenizer, 0

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)

    def __call__(self, *args, **kwargs):
        self.n_calls += 1
        return self.tokenizer(*args, **kwargs)


def test_the_second_run_takes_the_tokens_of_the_first(tokenizer, cache, monkeypatch):
    first = tokens.tokenize_contexts(tokenizer, TEXTS)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(tokens, "bare_encodings", lambda *arguments: pytest.fail("tokenised again"))
    second = tokens.tokenize_contexts(tokenizer, TEXTS)
    for one, other in zip(arrays(first), arrays(second), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_tokens_kept_with_other_places_are_not_taken(tokenizer, cache):
    """As an earlier version kept them: the tokenizer's own places."""
    names = ("token_ids", "char_starts", "char_ends", "offsets")
    old = dict.fromkeys(names, np.zeros(2, dtype=np.int64))
    tokens.kept(tokenizer, ("contexts",), [TEXTS], lambda: old)
    found = tokens.tokenize_contexts(tokenizer, TEXTS)
    assert len(found.offsets) == len(TEXTS) + 1
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("splits", [False, True])
def test_contexts_and_texts_equal_the_tokenizers_own(tokenizer, splits):
    """Whatever an earlier call of the tokenizer has left behind."""
    from transformers import AutoTokenizer

    own = AutoTokenizer.from_pretrained(tokenizer.name_or_path, split_special_tokens=splits)
    texts = [*TEXTS, "before [SEP] after", "[MASK]"]
    own(texts, truncation=True, max_length=3, padding=True, split_special_tokens=not splits)
    found = tokens.tokenize_contexts(own, texts)
    listed = tokens.tokenize_texts(own, texts)
    for row, text in enumerate(texts):
        expected = own(text, add_special_tokens=False, return_offsets_mapping=True)
        place = slice(found.offsets[row], found.offsets[row + 1])
        assert found.token_ids[place].tolist() == listed[row] == expected["input_ids"]
        spans = zip(found.char_starts[place].tolist(), found.char_ends[place].tolist(), strict=True)
        assert list(spans) == expected["offset_mapping"]


def test_other_texts_settings_or_tokenizers_are_tokenised_anew(tokenizer, cache):
    from transformers import AutoTokenizer

    counting = Counting(tokenizer)
    tokens.tokenize_pairs(counting, TEXTS, TEXTS, 32)
    for first, second, length in ((TEXTS[1:], TEXTS[1:], 32), (TEXTS, None, 32), (TEXTS, TEXTS, 8)):
        before = counting.n_calls
        tokens.tokenize_pairs(counting, first, second, length)
        assert counting.n_calls == before + 1
    other = AutoTokenizer.from_pretrained(tokenizer.name_or_path)
    other.add_tokens(["aspirin"])
    (ids, _), (other_ids, _) = (tokens.tokenize_pairs(t, TEXTS, TEXTS, 32) for t in (tokenizer, other))
    assert ids[0].tolist() != other_ids[0].tolist()
    assert len(list(cache.iterdir())) == 5
    for name, value in (("truncation_side", "left"), ("split_special_tokens", True)):
        changed = Counting(AutoTokenizer.from_pretrained(tokenizer.name_or_path, **{name: value}))
        tokens.tokenize_pairs(changed, TEXTS, TEXTS, 32)
        assert changed.n_calls == 1, name


def test_pairs_equal_the_tokenizers_own(tokenizer, cache):
    for _ in range(2):  # made, then read
        ids, types = tokens.tokenize_pairs(tokenizer, TEXTS, TEXTS[::-1], 16)
        for row, (one, other) in enumerate(zip(TEXTS, TEXTS[::-1], strict=True)):
            expected = tokenizer([one], [other], truncation=True, max_length=16)
            assert ids[row].tolist() == expected["input_ids"][0]
            assert types[row].tolist() == expected["token_type_ids"][0]


def test_a_damaged_file_is_said_and_replaced(tokenizer, cache, caplog):
    first = tokens.tokenize_contexts(tokenizer, TEXTS)
    (path,) = cache.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    second = tokens.tokenize_contexts(tokenizer, TEXTS)
    assert "cannot be read" in caplog.text
    np.testing.assert_array_equal(first.token_ids, second.token_ids)
    assert tokens.read_arrays(path) is not None


def test_a_cache_that_cannot_be_written_is_said_and_stops_nothing(tokenizer, cache, caplog):
    cache.write_text("a file where the directory should be")
    assert len(tokens.tokenize_contexts(tokenizer, TEXTS).offsets) == len(TEXTS) + 1
    assert "not kept" in caplog.text


def test_few_texts_and_a_cache_turned_off_leave_nothing(tokenizer, cache, monkeypatch):
    import datasets

    datasets.disable_caching()
    tokens.tokenize_contexts(tokenizer, TEXTS)
    datasets.enable_caching()
    monkeypatch.setattr(tokens, "CACHED_CHARACTERS", 10**6)
    tokens.tokenize_contexts(tokenizer, TEXTS)
    assert not cache.exists()
