"""Texts as an audit compares them: without case, width, punctuation and blanks, as words, and as numbers of words."""

import functools
import re
import sys
import unicodedata
from collections.abc import Iterable

import numpy as np


@functools.cache
def _marks() -> tuple[re.Pattern, re.Pattern]:
    """(punctuation that parts words, characters that nobody sees)."""
    by_category: dict[str, list[str]] = {}
    for number in range(sys.maxunicode + 1):
        by_category.setdefault(unicodedata.category(chr(number)), []).append(chr(number))
    punctuation = "".join(re.escape(mark) for name, marks in by_category.items() if name[0] == "P" for mark in marks)
    invisible = "".join(re.escape(mark) for mark in by_category["Cf"])
    # A point or comma between digits and the sign of a number belong to it: 3.5 is not 35, and -5 is not 5.
    parting = rf"[{punctuation}](?!(?<=\d[.,])\d)(?!(?<=-)(?<!\w-)\d)"
    return re.compile(parting), re.compile(f"[{invisible}]")


def normalised(text: str) -> str:
    """The form in which two texts are the same: NFKC, case folded, words parted by single blanks.

    Punctuation (Unicode's categories P) parts words like blanks do; a point or comma between digits and a minus before
    a number stay. Symbols (+, <, °) stay, invisible characters go. May be "".
    """
    parting, invisible = _marks()
    text = unicodedata.normalize("NFKC", invisible.sub("", text)).casefold().replace("\u2212", "-")
    return " ".join(parting.sub(" ", unicodedata.normalize("NFKC", text)).split())


def word_numbers(texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """(the words of normalised texts, one text after the other, as numbers, int64 [m]; bounds, int64 [n + 1]).

    Equal words, equal numbers; those of text i are `words[bounds[i]:bounds[i + 1]]`.
    """
    number_of: dict[str, int] = {}
    parts, bounds = [np.zeros(0, dtype=np.int64)], [0]
    for text in texts:
        words = text.split()
        parts.append(np.array([number_of.setdefault(word, len(number_of)) for word in words], dtype=np.int64))
        bounds.append(bounds[-1] + len(words))
    return np.concatenate(parts), np.array(bounds, dtype=np.int64)
