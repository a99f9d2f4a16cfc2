"""What a data set's answer starts count: characters, or something else that its tool counted.

A convention is that of a whole data set: single starts that are wrong are another matter (see `places`).
"""

import itertools
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

CHARACTERS, UTF16, UTF8 = "characters", "UTF-16 units", "bytes of UTF-8"
AS_IT_IS, AS_ONE, AS_TWO = "", "CRLF as one", "LF as two"
LINE_FEED, CARRIAGE_RETURN = 10, 13


class Convention(NamedTuple):
    """What is counted, how the ends of lines are counted, and the number of the first character."""

    unit: str = CHARACTERS
    line_end: str = AS_IT_IS
    first: int = 0

    def __str__(self) -> str:
        parts = [self.unit, self.line_end, "from 1" if self.first else ""]
        return ", ".join(part for part in parts if part)

    def counts(self, context: str) -> np.ndarray:
        """The number of every character and of the end of the context, int64 [length + 1], never falling."""
        return _counts(self, context)

    def number(self, context: str, place: int) -> int:
        """The number of a character; that of the end for a place beyond it."""
        return place if self == CHARACTERS_FROM_0 else int(self.counts(context)[min(place, len(context))])

    def place(self, context: str, text: str, number: int) -> int:
        """The character that a number means: of two with that number the one where `text` stands.

        A number within a character means that character, one beyond the context its end.
        """
        if self == CHARACTERS_FROM_0:
            return number
        counts = self.counts(context)
        first = int(np.searchsorted(counts, number, side="left"))
        last = int(np.searchsorted(counts, number, side="right")) - 1
        return first if first < last and context.startswith(text, first) else max(last, 0)

    def fits(self, context: str, text: str, number: int) -> bool:
        """Whether `text` begins with the character of this number."""
        place = self.place(context, text, number)
        return self.number(context, place) == number and context.startswith(text, place)


CHARACTERS_FROM_0 = Convention()
ALL = sorted(
    itertools.starmap(Convention, itertools.product((CHARACTERS, UTF16, UTF8), (AS_IT_IS, AS_ONE, AS_TWO), (0, 1))),
    key=lambda it: (sum(part != usual for part, usual in zip(it, CHARACTERS_FROM_0, strict=True)), it.first),
)


@lru_cache(maxsize=64)
def _counts(convention: Convention, context: str) -> np.ndarray:
    codes = np.frombuffer(context.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    sizes = np.ones(len(codes), dtype=np.int64)
    limits = {CHARACTERS: (), UTF16: (0xFFFF,), UTF8: (0x7F, 0x7FF, 0xFFFF)}[convention.unit]
    for limit in limits:
        sizes += codes > limit
    returns = np.append(codes[:-1] == CARRIAGE_RETURN, False)[: len(codes)]
    in_pair = returns & (np.roll(codes, -1) == LINE_FEED)
    if convention.line_end == AS_ONE:
        sizes[in_pair] = 0
    if convention.line_end == AS_TWO:
        sizes[(codes == LINE_FEED) & ~np.roll(in_pair, 1)] = 2
    return convention.first + np.concatenate([[0], np.cumsum(sizes)])


def recognise(stated: Iterable[tuple[str, str, int]]) -> Convention:
    """The convention of a data set's (context, text, start): characters unless every start fits another one.

    An answer whose text does not occur in its context has no say. Of several that fit, the one that differs least
    from characters is meant. Counting from 1 needs two answers that say so: a single start may be wrong by one.
    """
    stated = list(stated)
    others = [answer for answer in stated if not answer[0].startswith(answer[1], answer[2])]
    others = [answer for answer in others if answer[1] in answer[0]]
    for convention in ALL[1:] if others else ():
        enough = len(others) > 1 or not convention.first
        if enough and all(convention.fits(*answer) for answer in others) and _all_fit(convention, stated):
            return convention
    return CHARACTERS_FROM_0


def _all_fit(convention: Convention, stated: list[tuple[str, str, int]]) -> bool:
    return all(convention.fits(*answer) for answer in stated if answer[1] in answer[0])
