"""The words of a text, and which words and word pairs stand in which texts."""

import dataclasses
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array, hstack

# Accents, vowel signs and the like, which \w leaves out; with those beyond 0xFFFF, of rare scripts, the expression
# would take eight times as long.
_MARKS = "".join(filter(lambda sign: unicodedata.category(sign)[0] == "M", map(chr, range(0x10000))))
_WORD = re.compile(rf"[\w{_MARKS}]+(?:['-][\w{_MARKS}]+)*")
# Typographic apostrophes and hyphens as ASCII has them; an underscore is a blank, a soft hyphen is not there.
_PLAIN = str.maketrans("‘’ʼ‐_", "'''- ", "\u00ad")


def words_of(text: str) -> list[str]:
    """The words of a text in their order, case-folded, in Unicode form NFKC.

    A word is letters, marks and digits, with single apostrophes and hyphens inside ("isn't", "x-ray"); a script that
    writes no blanks between words gives phrases.
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).translate(_PLAIN).casefold())


@dataclasses.dataclass(frozen=True)
class Terms:
    """Words and pairs of adjacent words, and where they stand.

    Attributes:
        names: the terms, words before pairs, both in alphabetical order; a pair is two words with a blank between.
        n_words: 1 or 2 for each, int64 [n_terms].
        presence: 1.0 where a text has the term, however often, float64 [n_texts, n_terms].
    """

    names: list[str]
    n_words: np.ndarray
    presence: csr_array


def find_terms(texts: Sequence[str], min_rows: int) -> Terms:
    """The words and adjacent word pairs that at least `min_rows` of the texts have.

    Words are adjacent whatever marks stand between them. The order of the texts changes nothing but that of the rows.
    """
    codes, rows, words = _word_codes(texts)
    is_pair = rows[1:] == rows[:-1]
    pairs = codes[:-1][is_pair] * len(words) + codes[1:][is_pair]
    parts, names, n_words = [], [], []
    for length, terms, term_rows in ((1, codes, rows), (2, pairs, rows[1:][is_pair])):
        found, presence = _presence(terms, term_rows, len(texts), min_rows)
        places = np.stack(np.divmod(found, len(words)), axis=1) if length == 2 else found[:, None]
        names += [" ".join(words[place] for place in term) for term in places.tolist()]
        parts.append(presence)
        n_words += [length] * len(found)
    return Terms(names, np.array(n_words, dtype=np.int64), csr_array(hstack(parts, format="csr")))


def _word_codes(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(number of each word in the alphabet, its text, the distinct words in alphabetical order), both int64."""
    code_of: dict[str, int] = {}
    codes, lengths = [], []
    for text in texts:
        words = words_of(text)
        codes += [code_of.setdefault(word, len(code_of)) for word in words]
        lengths.append(len(words))
    alphabet = sorted(code_of)
    rank = np.empty(len(alphabet), dtype=np.int64)
    rank[[code_of[word] for word in alphabet]] = np.arange(len(alphabet))
    return rank[codes], np.repeat(np.arange(len(texts)), lengths), alphabet


def _presence(terms: np.ndarray, rows: np.ndarray, n_rows: int, min_rows: int) -> tuple[np.ndarray, csr_array]:
    """The distinct terms that enough rows have, int64 [n_terms], and where they stand, float64 [n_rows, n_terms]."""
    distinct, columns = np.unique(terms, return_inverse=True)
    presence = csr_array((np.ones(len(terms)), (rows, columns)), shape=(n_rows, len(distinct)))
    presence.sum_duplicates()
    presence.data[:] = 1.0
    kept = np.flatnonzero(np.bincount(presence.indices, minlength=len(distinct)) >= min_rows)
    return distinct[kept], csr_array(presence[:, kept])
