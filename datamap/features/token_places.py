"""Places of tokens in their texts: what a tokenizer's offsets leave out or take in too much is put right.

Uncased tokenizers drop combining marks, many drop soft hyphens and joiners, some count the blank before a word to it,
and byte-level ones behind another pre-tokenizer lose a word's first letter. Here

- blanks at a token's edges stay outside it;
- a token without a character of its own has the one before its place;
- a letter or digit that no token covers belongs to the token after it or, where it does not touch that one, to the
  token before; a symbol to the token after it, where that begins with a symbol;
- a combining mark that no token covers belongs to the text of the token that it follows; so does a joiner or soft
  hyphen that follows a letter, a digit or their marks;
- every other character that no token covers (zero-width spaces, signs of direction, controls) belongs to none, and
  nothing reaches across a blank.
"""

import sys
import unicodedata
from collections.abc import Sequence

import numpy as np

IS_BLANK = np.array([chr(code).isspace() for code in range(0x3002)])  # no later character is a blank
PARTING, SYMBOL, WORD, MARK, JOINER = range(5)
KIND_OF_CATEGORY = {"M": MARK, "L": WORD, "N": WORD, "P": SYMBOL, "S": SYMBOL}
ZERO_WIDTH_SPACES = "\u200b\ufeff"
REPLACED = "\ufffd"
UTF_32 = f"utf-32-{sys.byteorder[0]}e"


def mended_places(
    texts: Sequence[str], starts: np.ndarray, ends: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where tokens begin and end, and where their text ends, in characters of their own text; ends are exclusive.

    Args:
        texts: the tokenised texts.
        starts, ends: the tokenizer's offsets, int [n_tokens], in order but for tokens without characters.
        offsets: text t has the tokens `offsets[t]:offsets[t + 1]`.

    Returns:
        Starts, ends and text ends, int32 [n_tokens], each in order within a text. The text of a token takes in the
        marks that follow it. A token without characters begins where the next one does and ends where the one before
        it does, so that it adds nothing to a span of several.
    """
    codes = np.frombuffer(("\n" + "\n".join(texts) + "\n").encode(UTF_32, "surrogatepass"), dtype=np.uint32)
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    base = np.repeat(np.cumsum(lengths + 1) - lengths, np.diff(offsets))
    first, last = trimmed(codes, starts + base, ends + base)
    first = with_lost_character(codes, first, last)
    own = first < last
    places = between_neighbours(grown(codes, first[own], last[own]), own)
    length = np.repeat(lengths, np.diff(offsets))
    return tuple(np.clip(place - base, 0, length).astype(np.int32) for place in places)


def is_blank(codes: np.ndarray) -> np.ndarray:
    """Whether characters are white space, as `str.isspace` has it."""
    return IS_BLANK[np.minimum(codes, len(IS_BLANK) - 1)]


def kind_of(character: str) -> int:
    """What a character is where no token covers it: PARTING, SYMBOL, WORD, MARK or JOINER."""
    category = unicodedata.category(character)
    if category == "Cf":  # neutral in direction: soft hyphen, joiner, non-joiner, word joiner
        joins = unicodedata.bidirectional(character) == "BN" and character not in ZERO_WIDTH_SPACES
        return JOINER if joins else PARTING
    return WORD if character == REPLACED else KIND_OF_CATEGORY.get(category[0], PARTING)


def kinds_of(codes: np.ndarray) -> np.ndarray:
    """`kind_of` for code points, int [n]."""
    distinct, place = np.unique(codes, return_inverse=True)
    return np.array([kind_of(chr(code)) for code in distinct], dtype=np.int64)[place]


def trimmed(codes: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last places (exclusive) without the blanks at the edges of tokens."""
    first, last = first.copy(), last.copy()
    rows = np.flatnonzero(is_blank(codes[first]) & (first < last))
    while len(rows):
        first[rows] += 1
        rows = rows[is_blank(codes[first[rows]]) & (first[rows] < last[rows])]
    rows = np.flatnonzero(is_blank(codes[last - 1]) & (first < last))
    while len(rows):
        last[rows] -= 1
        rows = rows[is_blank(codes[last[rows] - 1]) & (first[rows] < last[rows])]
    return first, last


def with_lost_character(codes: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """First places; a token without characters takes the one before it, unless that is blank or an earlier token's."""
    empty = first == last
    covered = np.maximum.accumulate(np.where(empty, 0, last))
    return first - (empty & (covered < first) & ~is_blank(codes[first - 1]))


def grown(codes: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first, last, text_last) of tokens that all have characters, with the characters between them given out."""
    begins = np.concatenate([[0], np.maximum.accumulate(last)])
    sizes = np.append(first, len(codes)) - begins
    gaps = np.flatnonzero(sizes > is_blank(codes[begins]))  # most are one blank, or nothing
    begins, sizes = begins[gaps], sizes[gaps]
    to_left, to_right = shares(codes, begins, sizes)
    first = first.copy()
    first[gaps[to_right > 0]] -= to_right[to_right > 0]
    begins, to_left = begins[to_left > 0], to_left[to_left > 0]
    if not len(begins):
        return first, last, last
    found = np.minimum(np.searchsorted(begins, last), len(begins) - 1)
    return first, last, last + np.where(begins[found] == last, to_left[found], 0)


def shares(codes: np.ndarray, begins: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many characters of each gap between two tokens belong to the left and to the right one, each int [n_gaps].

    The gaps lie in the order of the text and touch a blank at both ends of it.
    """
    gap = np.repeat(np.arange(len(sizes)), sizes)
    edges = np.cumsum(sizes) - sizes
    place, n = np.arange(len(gap)) - edges[gap], sizes[gap]
    kind = kinds_of(codes[begins[gap] + place])
    left, right = kinds_of(codes[begins - 1]), kinds_of(codes[np.minimum(begins + sizes, len(codes) - 1)])
    follows = kind >= MARK
    like_right = follows | ((kind != PARTING) & (kind == np.minimum(right, WORD)[gap]))
    barrier = np.maximum.reduceat(np.where(like_right, 0, place + 1), edges)
    rights = np.minimum.reduceat(np.where(~follows & (place >= barrier[gap]), place, n), edges)
    marks = np.minimum.reduceat(np.where(kind == MARK, n, place), edges)
    letters = np.minimum.reduceat(np.where(kind >= WORD, n, place), edges)
    return np.where(left >= WORD, np.minimum(letters, rights), marks), sizes - rights


def between_neighbours(places: tuple[np.ndarray, ...], own: np.ndarray) -> tuple[np.ndarray, ...]:
    """(first, last, text_last) of all tokens from those of the tokens with characters, which `own` marks [n_tokens]."""
    if own.all():
        return places
    before = np.cumsum(own) - own
    first, *ends = places
    return np.append(first, np.iinfo(np.int64).max)[before], *(np.append(0, last)[before + own] for last in ends)
