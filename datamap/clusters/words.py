"""The words that set a cluster's texts apart from those of the other clusters."""

import re
import sys
import unicodedata

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

from datamap.clusters.files import NOISE

N_WORDS = 3
# Vowel signs, accents and the like, which the regular expression \w leaves out.
MARKS = "".join(filter(lambda sign: unicodedata.category(sign)[0] == "M", map(chr, range(sys.maxunicode + 1))))
JOINERS, SOFT_HYPHEN = "\u200c\u200d", "\u00ad"
# A word begins with a letter and has at least two characters: letters, marks, digits, and between them joiners
# or one underscore: several fill the gaps of de-identified notes.
WORD = re.compile(rf"[^\W\d_](?:(?:_|[{JOINERS}]*)(?:[^\W_]|[{MARKS}]))+")
STOP_WORDS = ENGLISH_STOP_WORDS | {"did", "does", "doing", "doesn", "didn", "isn", "wasn", "don", "ll", "ve"}


def words_of(text: str) -> list[str]:
    """The words of a text in lower case (NFC, without soft hyphens) that are not stop words.

    A script that writes no blanks between words gives phrases: what stands between two blanks or punctuation marks.
    """
    plain = unicodedata.normalize("NFC", text.lower()).replace(SOFT_HYPHEN, "")
    return [word for word in WORD.findall(plain) if word not in STOP_WORDS]


def cluster_words(texts: list[str], labels: np.ndarray, n_words: int = N_WORDS) -> list[list[str]]:
    """The `n_words` best words of each cluster by class-based TF-IDF (Grootendorst 2022, arXiv 2203.05794, section 3).

    W(word, cluster) = f(word, cluster) / n(cluster) x log(1 + A / f(word)): f counts occurrences in a cluster and in
    all clusters, n is the cluster's number of words, A the mean of n. The paper leaves out the division by n, which
    alters no order within a cluster. Noise is no class and is not counted. Of equal words the first by alphabet.

    Args:
        texts: of all rows.
        labels: int [n_rows], -1 = noise, else 0 .. n_clusters - 1.

    Returns:
        a list a cluster, best first, with fewer words where the texts have no more.
    """
    n_clusters = int(labels.max(initial=NOISE)) + 1
    members = np.flatnonzero(labels != NOISE)
    vectorizer = CountVectorizer(analyzer=words_of)
    chosen = [texts[row] for row in members]
    if not any(words_of(text) for text in chosen):
        return [[] for _ in range(n_clusters)]
    counts = vectorizer.fit_transform(chosen)
    places = (labels[members], np.arange(len(members)))
    classes = csr_matrix((np.ones(len(members)), places), shape=(n_clusters, len(members))) @ counts
    names = vectorizer.get_feature_names_out()
    totals = np.asarray(classes.sum(axis=0)).ravel()
    lengths = np.asarray(classes.sum(axis=1)).ravel()
    rarity = np.log1p(lengths.mean() / totals)
    found = []
    for cluster in range(n_clusters):
        begin, end = classes.indptr[cluster], classes.indptr[cluster + 1]
        columns = classes.indices[begin:end]
        weights = classes.data[begin:end] / max(lengths[cluster], 1) * rarity[columns]
        # Rounded, so that words with equal counts stay equal; get_feature_names_out is in alphabetical order.
        best = np.lexsort((columns, -weights.round(12)))[:n_words]
        found.append([str(names[column]) for column in columns[best]])
    return found
