"""Contexts inside contexts, held against a loop over all pairs."""

import numpy as np
import pytest

from datamap.audit import containment


def runs(text, n_words):
    words = text.split()
    return {tuple(words[at : at + n_words]) for at in range(len(words) - n_words + 1)}


def pair_of(inner, outer, texts):
    """The share at which one text lies in the other by its definition, None where it does not."""
    n_words = len(texts[inner].split())
    if n_words == 0:
        return None
    if n_words < 5:
        longer = len(texts[outer].split()) > n_words
        return 1.0 if longer and runs(texts[inner], n_words) <= runs(texts[outer], n_words) else None
    mine, others = runs(texts[inner], 5), runs(texts[outer], 5)
    if (len(others), outer) < (len(mine), inner):
        return None
    shared = len(mine & others)
    return shared / len(mine) if 5 * shared >= 4 * len(mine) else None


def by_loop(texts):
    everyone = range(len(texts))
    found = {(one, other): pair_of(one, other, texts) for one in everyone for other in everyone if one != other}
    return {pair: share for pair, share in found.items() if share is not None}


def by_code(texts):
    inner, outer, share = containment.contained_pairs(texts)
    listed = list(zip(inner.tolist(), outer.tolist(), strict=True))
    assert listed == sorted(set(listed))
    return dict(zip(listed, share.tolist(), strict=True))


def drawn_texts(seed):
    random = np.random.default_rng(seed)
    texts = [" ".join(random.choice(list("abcdef"), size=random.integers(0, 30))) for _ in range(12)]
    for text in texts[:8]:
        words = text.split()
        begin = int(random.integers(0, max(len(words), 1)))
        texts += [" ".join(words[begin:]), " ".join(words[: begin + 2]), f"{text} {texts[-1]}"]
        if words:
            words[begin] = "z"
            texts.append(" ".join(words))
    return [texts[at] for at in random.permutation(len(texts)) if at == texts.index(texts[at])]


@pytest.mark.parametrize("seed", range(50))
def test_pairs_and_shares_are_those_of_a_loop(seed, monkeypatch):
    texts = drawn_texts(seed)
    expected = by_loop(texts)
    assert expected
    assert by_code(texts) == expected
    monkeypatch.setattr(containment, "CHUNK_ENTRIES", 1 + seed % 40)
    assert by_code(texts) == expected


@pytest.mark.parametrize(("n_lost", "found"), [(2, {(0, 1): 0.8}), (3, {})])
def test_eight_of_ten_runs_suffice_and_seven_do_not(n_lost, found):
    words = [f"w{number}" for number in range(14)]
    outer = [*words[: 14 - n_lost], "x", "y", "z", "u", "v", "q"]
    assert by_code([" ".join(words), " ".join(outer)]) == found


def test_of_equally_long_texts_the_earlier_is_inner():
    words = [f"w{number}" for number in range(15)]
    assert by_code([" ".join(words[1:]), " ".join(words[:-1])]) == {(0, 1): 0.9}


@pytest.mark.parametrize("texts", [[], [""], ["", "a"], ["a b c d e"]])
def test_too_few_texts_give_no_pair(texts):
    assert by_code(texts) == {}
