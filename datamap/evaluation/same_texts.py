"""Spans that have a label's text elsewhere: narrowed down by a sum over their letters, confirmed by their text."""

import hashlib
import string
import sys

import numpy as np

from datamap.evaluation.metrics import normalize_answer

UTF_32 = f"utf-32-{sys.byteorder[0]}e"
# What normalising may take away or put elsewhere: punctuation, and the letters of a, an and the (white space, too).
WITHOUT_WEIGHT = frozenset(string.punctuation + "anthe")
SIGMAS = str.maketrans("ς", "σ")  # the one letter that lower case writes by what stands around it


def weight_of(character: str) -> int:
    """A 64-bit number for a character, the sum of those of its lower case; 0 for what normalising may take away."""
    kept = [part for part in character.lower().translate(SIGMAS) if part not in WITHOUT_WEIGHT and not part.isspace()]
    numbers = (hashlib.blake2b(part.encode(UTF_32, "surrogatepass"), digest_size=8).digest() for part in kept)
    return sum(int.from_bytes(number, "little") for number in numbers) % 2**64


def weight_sums(text: str) -> np.ndarray:
    """Sum of the weights (modulo 2**64) of the characters before each place of a text, uint64 [len(text) + 1]."""
    codes = np.frombuffer(text.encode(UTF_32, "surrogatepass"), dtype=np.uint32)
    distinct, place = np.unique(codes, return_inverse=True)
    weights = np.array([weight_of(chr(code)) for code in distinct], dtype=np.uint64)
    return np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(weights[place], dtype=np.uint64)])


def same_text_spans(
    context: str, char_starts: np.ndarray, text_ends: np.ndarray, reach: int, label: str
) -> tuple[np.ndarray, np.ndarray]:
    """Every span of a context whose text normalises to the same as a label's, as `normalize_answer` has it.

    Normalising neither adds nor changes a letter that has a weight, so that spans of the same normalised text have the
    same sum; the few spans that have it are normalised and compared. Exact, also for a label such as "the" or "." that
    normalises to nothing.

    Args:
        context: the text.
        char_starts, text_ends: where the text of each of its tokens begins and ends (exclusive), int [n].
        reach: tokens of the longest span, at least 1.
        label: the text to look for.

    Returns:
        The first token of every span, in order, and its length in tokens less one; both int64 [n_found].
    """
    n_tokens, wanted = len(char_starts), normalize_answer(label)
    if not n_tokens:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    padded = np.concatenate([text_ends, np.zeros(reach - 1, dtype=text_ends.dtype)])
    begins = char_starts[:, None]
    ends = np.maximum(np.lib.stride_tricks.sliding_window_view(padded, reach), begins)
    sums = weight_sums(context)
    alike = sums[ends] - sums[begins] == weight_sums(wanted)[-1]
    alike &= np.arange(n_tokens)[:, None] + np.arange(reach) < n_tokens
    first, further = np.nonzero(alike)
    pairs = zip(char_starts[first].tolist(), ends[first, further].tolist(), strict=True)
    same = np.array([normalize_answer(context[begin:end]) == wanted for begin, end in pairs], dtype=bool)
    return first[same], further[same]
