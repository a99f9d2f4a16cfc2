"""Where an answer stands: hand-worked contexts, and a plain search over all spans."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamap.data import places

#       0         1         2         3         4         5         6         7         8
#       0123456789012345678901234567890123456789012345678901234567890123456789012345678901234
NOTE = "Known nodule. BP 155/85. There is no pain. Takes 5 mg of drug A and no other drug."


def found(context, text, start=-1):
    place = places.find_answer(context, text, start)
    return place and (place.start, context[place.start : place.end], place.n_choices)


@pytest.mark.parametrize(
    ("text", "start", "expected"),
    [
        ("no", -1, (34, "no", 2)),  # not in "Known" or "nodule"
        ("no", 10, (34, "no", 2)),
        ("no", 60, (68, "no", 2)),
        ("no", 1, (1, "no", 1)),  # where the data say so it stays, in a word or not
        ("5", -1, (49, "5", 1)),
        ("5", 17, (49, "5", 1)),
        ("A", -1, (62, "A", 1)),
        ("nodul", -1, (6, "nodul", 1)),  # only inside a word: better than nowhere
        ("od", 0, (7, "od", 1)),
        ("Known", 3, (0, "Known", 1)),
        ("absent", 3, None),
    ],
)
def test_occurrences_that_stand_alone_come_first_then_the_nearest(text, start, expected):
    assert found(NOTE, text, start) == expected


@pytest.mark.parametrize(
    ("context", "text", "alone"),
    [
        ("a no b", "no", [2]),
        ("no", "no", [0]),
        ("-no-", "no", [1]),
        ("no_", "no", [0]),
        ("no1 1no non", "no", []),
        ("no\u0301 no", "no", [4]),
        ("\u0e33no no", "no", [1, 4]),
        ("a(5)b", "(5)", [1]),
        ("neg\u00adative ative", "ative", [10]),
        ("\u0645\u06cc\u200c\u0631\u0648\u062f \u0631\u0648\u062f", "\u0631\u0648\u062f", [7]),
        ("\u0915\u094d\u200d\u0937 \u0937", "\u0937", [5]),
        ("no\u2060w no", "no", [5]),
        ("no\u00ad no\u200b1", "no", [0, 4]),
        ("2.5 mg, 5 mg", "5 mg", [8]),
        ("2,5 mg", "5 mg", []),
        ("2.", "2", [0]),
        ("1,000 units", "1", []),
        ("x.5", "5", [2]),
        ("服用药A，药B。", "药A", [2]),
        ("年5日", "5", [1]),
        ("กำ", "ก", [0]),
        ("ก่า", "ก", []),
        ("155", "5", []),
    ],
)
def test_what_stands_alone(context, text, alone):
    starts = places.occurrences(context, text)
    assert [start for start in starts if places.stands_alone(context, start, start + len(text))] == alone


@given(st.text("ab ", min_size=1, max_size=12), st.text("ab", min_size=1, max_size=3), st.integers(-1, 14))
def test_an_exact_place_is_that_of_a_plain_search(context, text, start):
    every = [n for n in range(len(context)) if context[n : n + len(text)] == text]
    alone = [n for n in every if not (context[:n] + " ")[n - 1 if n else -1].isalpha()]
    alone = [n for n in alone if not (context + " ")[n + len(text)].isalpha()]
    place = places.find_answer(context, text, start)
    if start in every or alone:
        best = start if start in every else min(alone, key=lambda n: (abs(n - start), n))
        assert (place.start, place.end, place.how) == (best, best + len(text), places.EXACT)
    elif place and place.how == places.EXACT:
        assert place.start == min(every, key=lambda n: (abs(n - start), n))
    elif not place:
        assert not every


@pytest.mark.parametrize(
    ("context", "text", "expected"),
    [
        ("Lisinopril 20  mg daily", "20 mg", "20  mg"),
        ("Metformin\n500 mg", "Metformin 500 mg", "Metformin\n500 mg"),
        ("daily\r\nMetformin", "daily\nMetformin", "daily\r\nMetformin"),
        ("in\u00a0two\u2009weeks", "in two weeks", "in\u00a0two\u2009weeks"),
        ("two weeks", "  two weeks \n", "two weeks"),
        ("20mg daily", "20 mg", "20mg"),
        ("the Cafe\u0301.", "Caf\u00e9", "Cafe\u0301"),
        ("the Caf\u00e9.", "Cafe\u0301", "Caf\u00e9"),
        ("a q\u0323\u0307 b", "q\u0307\u0323", "q\u0323\u0307"),
        ("a \ud55c\uad6d b", unicodedata.normalize("NFD", "\ud55c\uad6d"), "\ud55c\uad6d"),
        ("was HIGH.", "high", "HIGH"),
        ("Die STRASSE hier", "Stra\u00dfe", "STRASSE"),
        ("Blood-pressure", "blood-pressure", "Blood-pressure"),
        ("Blood-pressure", "Blood pressure", "Blood-pressure"),
        ("blood\u2010pressure", "blood-pressure", "blood\u2010pressure"),
        ("blood\u2011pressure", "bloodpressure", "blood\u2011pressure"),
        ("metas\u00adtasis", "metastasis", "metas\u00adtasis"),
        ("medi-\ncation now", "medication", "medi-\ncation"),
        ("zero\u200bwidth", "zerowidth", "zero\u200bwidth"),
        ("5\u201310 mg", "5-10 mg", "5\u201310 mg"),
        ("5 - 10 mg", "5-10 mg", "5 - 10 mg"),
        ("at \u22125 degrees", "-5", "\u22125"),
        ("COVID 19", "COVID-19", "COVID 19"),
    ],
)
def test_blanks_hyphens_case_and_unicode_form_are_tolerated(context, text, expected):
    place = places.find_answer(context, text, -1)
    assert (context[place.start : place.end], place.how, place.n_choices) == (expected, places.TOLERANT, 1)
    assert places.find_answer(context, text, place.start)[:3] == place[:3]


@pytest.mark.parametrize(
    ("context", "text"),
    [
        ("with me", "IT"),  # not inside a word
        ("highest", "HIGH"),
        ("510 mg", "5-10 mg"),
        ("5 10 mg", "5-10 mg"),
        ("a 5", "-5"),
        ("Cafe\u0301", "CAFE"),
        ("\ud55c", "\u1112"),
        ("resume", "r\u00e9sum\u00e9"),
        ("x\u00b2", "x2"),
        ("a b", "-"),
        ("", "a"),
    ],
)
def test_what_is_not_tolerated(context, text):
    assert places.find_answer(context, text, 0) is None


def test_a_tolerant_place_that_is_stated_comes_before_an_exact_one_elsewhere():
    assert found("high risk; HIGH fever", "high", 11) == (11, "HIGH", 1)
    assert found("high risk; HIGH fever", "high", 12) == (0, "high", 1)
    assert found("xhigh; HIGH fever", "high", 1) == (1, "high", 1)
    assert found("xhigh; HIGH fever", "high", 3) == (7, "HIGH", 1)


def test_a_blank_more_at_the_edge_is_no_other_form_where_the_text_occurs():
    assert found("the dose is here", " dose", 4) == (3, " dose", 1)


@given(st.text("aB é\u0301-\u00ad\n5", max_size=14))
def test_folding_keeps_its_places(text):
    for fold in (places.folded, places.loosely_folded):
        whole = fold(text)
        assert len(whole.text) == len(whole.starts) == len(whole.ends)
        assert list(whole.starts) == sorted(whole.starts)
        assert all(0 <= start < end <= len(text) for start, end in zip(whole.starts, whole.ends, strict=True))
