"""Normalising: what counts as the same text, held against hand-worked lines."""

import pytest

from datamap.audit.texts import normalised, word_numbers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Straße", "strasse"),
        ("\uff13\uff15 mg", "35 mg"),
        ("co\u00adoperate", "cooperate"),
        ("cafe\u0301", "caf\u00e9"),
        ("3.5 mg, 1,000.", "3.5 mg 1,000"),
        ("\u22125 \u00b0C and 3-5", "-5 \u00b0c and 3 5"),
        ("well-known -x", "well known x"),
        ("\u0928\u092e\u0938\u094d\u0924\u0947\u0964 A", "\u0928\u092e\u0938\u094d\u0924\u0947 a"),
        ("\u0645\u0627\u061f \u0646\u0639\u0645\u060c", "\u0645\u0627 \u0646\u0639\u0645"),
        ("?!\u2014\u2026 ()", ""),
        ("\u00a0A\t\nb ", "a b"),
        ("a+b <c", "a+b <c"),
    ],
)
def test_a_text_is_normalised_as_worked_by_hand(text, expected):
    assert normalised(text) == expected
    assert normalised(normalised(text)) == expected


def test_words_are_numbered_by_what_they_are():
    words, bounds = word_numbers(["a b a", "", "c b"])
    assert words.tolist() == [0, 1, 0, 2, 1]
    assert bounds.tolist() == [0, 3, 3, 5]
