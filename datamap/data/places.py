"""Where an answer stands in its context: as it is written, or but for blanks, hyphens, case and Unicode form.

Places are characters of the context. Everything here is text alone: no frame, no file.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

EXACT, TOLERANT = "exact", "tolerant"
# Han, kana, Thai, Lao, Myanmar, Khmer: words follow each other without blanks, so a letter beside one tells nothing.
WITHOUT_BLANKS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]")
MINUS = "\u2212"
SEPARATORS = re.compile("[ -]+")
DECIMAL_SIGNS = ".,"
JOINERS = "\u00ad\u200c\u200d\u2060"  # soft hyphen, non-joiner, joiner, word joiner: all inside words
REACH = 4  # characters beyond a span that tell whether its word goes on


class Place(NamedTuple):
    """A span of the context (end exclusive), how it was found, and among how many that were as good."""

    start: int
    end: int
    how: str
    n_choices: int


class Folded(NamedTuple):
    """A text without the differences that are tolerated; starts and ends are those of each character's source."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


def find_answer(context: str, text: str, start: int) -> Place | None:
    """Where `text` stands; `start` is where it is said to stand, −1 if nothing is said. None if it stands nowhere.

    At the start stated, exactly or by a tolerant comparison; else at an exact occurrence that stands alone, else at a
    tolerant one that does, else at an exact one inside a word. Of several the nearest to the start is taken, the
    earlier of two, the first if no start is stated.
    """
    if start >= 0 and context.startswith(text, start):
        return Place(start, start + len(text), EXACT, 1)
    if start >= 0 and (span := _tolerant_at(context, text, start)):
        return Place(*span, TOLERANT, 1)
    exact = [(place, place + len(text)) for place in occurrences(context, text)]
    alone = [span for span in exact if stands_alone(context, *span)]
    tolerant = [] if alone else tolerant_occurrences(context, text)
    spans, how = (tolerant, TOLERANT) if tolerant else (alone or exact, EXACT)
    return Place(*min(spans, key=lambda span: (abs(span[0] - start), span[0])), how, len(spans)) if spans else None


def occurrences(context: str, text: str) -> list[int]:
    """The starts of all occurrences, overlapping ones included, in order."""
    found, place = [], context.find(text)
    while place >= 0:
        found.append(place)
        place = context.find(text, place + 1)
    return found


def stands_alone(context: str, start: int, end: int) -> bool:
    """Whether a span is no part of a longer word or number: no letter, mark or digit goes on beyond its edges.

    Joiners and soft hyphens are no edge of a word. A decimal point or comma between digits joins them. Beside a letter
    of a script without blanks nothing can be told, so only a mark joins there.
    """
    before, after = context[max(start - REACH, 0) : start][::-1], context[end : end + REACH]
    return not (_goes_on(context[start], before.lstrip(JOINERS)) or _goes_on(context[end - 1], after.lstrip(JOINERS)))


def _goes_on(edge: str, beyond: str) -> bool:
    """Whether a word whose last character (seen from inside) is `edge` goes on in the characters beyond it."""
    if not beyond or unicodedata.category(edge)[0] not in "LMN":
        return False
    kind = unicodedata.category(beyond[0])[0]
    if edge.isdigit() and beyond[0] in DECIMAL_SIGNS:
        return beyond[1:2].isdigit()
    untold = WITHOUT_BLANKS.match(edge + beyond[0]) or WITHOUT_BLANKS.match(beyond[0])
    return kind == "M" or kind in "LN" and not untold


def tolerant_occurrences(context: str, text: str) -> list[tuple[int, int]]:
    """All spans that stand alone and differ from `text` only in blanks, line ends, hyphens, case or Unicode form.

    First those that have a blank or hyphen wherever the text has one of its kind; only without any of them those where
    blanks and hyphens may take each other's place or be missing, except between two digits and in a minus sign.
    """
    skeleton = _skeleton(text)
    if not skeleton or skeleton not in _skeleton(context):
        return []
    for fold in (folded, loosely_folded):
        spans = [span for span in _spans(fold(context), fold(text.strip()).text) if stands_alone(context, *span)]
        if spans:
            return spans
    return []


def same_but_for_form(one: str, other: str) -> bool:
    """Whether two texts differ only in what is tolerated."""
    return loosely_folded(one.strip()).text == loosely_folded(other.strip()).text


def _tolerant_at(context: str, text: str, start: int) -> tuple[int, int] | None:
    """The span that begins at `start` and differs from `text` only in what is tolerated, and not at its edges alone."""
    if context.startswith(text.strip(), start):
        return None
    begin = start
    while text[0].isspace() and context[begin : begin + 1].isspace():
        begin += 1
    piece = context[begin : begin + 4 * len(text) + 32]
    for fold in (folded, loosely_folded):
        spans = _spans(fold(piece), fold(text.strip()).text)
        if spans and spans[0][0] == 0 and stands_alone(context, begin, begin + spans[0][1]):
            return begin, begin + spans[0][1]
    return None


def _spans(whole: Folded, part: str) -> list[tuple[int, int]]:
    """The source's spans of all occurrences of `part` that do not begin or end within a character of the source."""
    spans = []
    for first in occurrences(whole.text, part) if part else ():
        after = first + len(part)
        cuts_start = first > 0 and whole.starts[first - 1] == whole.starts[first]
        cuts_end = after < len(whole.text) and whole.starts[after] == whole.starts[after - 1]
        if not cuts_start and not cuts_end:
            spans.append((whole.starts[first], whole.ends[after - 1]))
    return spans


@lru_cache(maxsize=8)
def folded(text: str) -> Folded:
    """White space as one blank, dashes as "-", letters without case and decomposed, invisible characters left out."""
    characters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    place = 0
    while place < len(text):
        end = _end_of_unit(text, place)
        unit = _folded_unit(text[place:end])
        if unit == " " and characters and characters[-1] == " ":
            ends[-1] = end
        else:
            characters += unit
            starts += [place] * len(unit)
            ends += [end] * len(unit)
        place = end
    return Folded("".join(characters), starts, ends)


def _end_of_unit(text: str, place: int) -> int:
    """Where the run of blanks, or the character with its combining marks, that begins at `place` ends."""
    end = place + 1
    belongs = str.isspace if text[place].isspace() else unicodedata.combining
    while end < len(text) and unicodedata.category(text[place]) != "Cf" and belongs(text[end]):
        end += 1
    return end


def _folded_unit(unit: str) -> str:
    if unit.isascii():
        return " " if unit.isspace() else unit.lower()
    category = unicodedata.category(unit[0])
    if unit[0].isspace() or category == "Cf":
        return " " if unit[0].isspace() else ""
    if category == "Pd" or unit[0] == MINUS:
        return "-"
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", unit).casefold())


@lru_cache(maxsize=8)
def loosely_folded(text: str) -> Folded:
    """As `folded`, without blanks and hyphens; between two digits one stays, and a minus sign stays."""
    whole = folded(text)
    dropped: set[int] = set()
    for run in SEPARATORS.finditer(whole.text):
        first, after = run.span()
        kept = _kept_separator(whole.text[first - 1 : first], run.group(), whole.text[after : after + 1])
        dropped.update(place for place in range(first, after) if place - first != kept)
    left = [place for place in range(len(whole.text)) if place not in dropped]
    starts, ends = ([places[place] for place in left] for places in (whole.starts, whole.ends))
    return Folded("".join(whole.text[place] for place in left), starts, ends)


def _kept_separator(before: str, run: str, after: str) -> int | None:
    """Which character of a run of blanks and hyphens between two characters stays, counted in the run."""
    if before.isdigit() and after.isdigit():
        return max(run.find("-"), 0)
    is_sign = run.endswith("-") and after.isdigit() and (run[0] == " " or not before)
    return len(run) - 1 if is_sign else None


@lru_cache(maxsize=8)
def _skeleton(text: str) -> str:
    """What is left of a text whichever way it is folded, made fast: where this does not occur, nothing does."""
    if not text.isascii():
        text = unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
        text = "".join(c for c in text if c.isascii() or unicodedata.category(c) not in ("Cf", "Pd") and c != MINUS)
    return "".join(text.lower().split()).replace("-", "")
