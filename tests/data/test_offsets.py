"""What starts count, against the lengths that Python's own encoders and replacements give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamap.data import offsets
from datamap.data.offsets import (
    ALL,
    AS_IT_IS,
    AS_ONE,
    AS_TWO,
    CHARACTERS,
    CHARACTERS_FROM_0,
    UTF8,
    UTF16,
    Convention,
)

texts = st.text("ab\u00e9\u4e2d💊\r\n", max_size=12)


def length(text, unit, line_end):
    if line_end == AS_ONE:
        text = text.replace("\r\n", "\n")
    if line_end == AS_TWO:
        text = text.replace("\r\n", "\n").replace("\n", "\r\n")
    encoded = {CHARACTERS: text, UTF16: text.encode("utf-16-le"), UTF8: text.encode("utf-8")}[unit]
    return len(encoded) // 2 if unit == UTF16 else len(encoded)


@given(texts, st.sampled_from(ALL))
def test_the_number_of_a_character_is_the_length_of_what_comes_before(context, convention):
    for place in range(len(context) + 1):
        in_pair = context[place - 1 : place + 1] == "\r\n" if place else False
        if in_pair and convention.line_end != AS_IT_IS:
            continue  # a place between the two characters of one line end
        expected = convention.first + length(context[:place], convention.unit, convention.line_end)
        assert convention.number(context, place) == expected


@given(texts, st.integers(0, 12), st.integers(1, 4), st.sampled_from(ALL))
def test_a_number_leads_back_to_its_text(context, place, size, convention):
    text = context[place : place + size]
    if text:
        number = convention.number(context, place)
        found = convention.place(context, text, number)
        assert context.startswith(text, found)
        assert convention.number(context, found) == number
        assert convention.fits(context, text, number)


def test_a_line_end_that_counts_once_has_its_text_at_either_character():
    convention = Convention(CHARACTERS, AS_ONE)
    assert convention.place("a\r\nb", "\r\nb", 1) == 1
    assert convention.place("a\r\nb", "\nb", 1) == 2
    assert convention.place("a\r\nb", "b", 2) == 3


@pytest.mark.parametrize(("number", "place"), [(0, 0), (1, 0), (2, 1), (3, 2), (99, 2)])
def test_a_number_within_a_character_or_beyond_the_end_means_the_nearest_place(number, place):
    assert Convention(UTF16).place("💊a", "x", number) == place
    assert not Convention(UTF16).fits("💊a", "💊", 1)


def test_the_plainest_convention_that_fits_is_meant():
    assert [convention for convention in ALL if convention == CHARACTERS_FROM_0] == ALL[:1]
    assert len(set(ALL)) == 18
    both = [("💊\u00e9 no, no", "no", 4), ("💊 yes", "yes", 3)]
    assert offsets.recognise(both) == Convention(UTF16)
    assert offsets.recognise([("💊\n no", "no", 5)]) == Convention(UTF16, AS_TWO)
    assert offsets.recognise([("a no", "no", 2), ("b", "c", 9)]) == CHARACTERS_FROM_0
    assert offsets.recognise([]) == CHARACTERS_FROM_0
