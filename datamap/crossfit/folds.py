"""Folds of whole contexts (QA) or of whole groups of pairs that share sentences (NLI); no random number takes part."""

import dataclasses
import hashlib
import heapq
import logging
from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from datamap.errors import DataError, shortlist
from datamap.features.windows import factorize

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Folds:
    """Which rows are held out together.

    Attributes:
        of_row: the fold of every row, counted from 0, int64 [n_rows].
        n_folds: how many there are.
        n_groups: contexts, or groups of pairs that share sentences, as the data have them.
        split_groups: rows of each group that was larger than a fold and is cut by premise (NLI), largest first.
    """

    of_row: np.ndarray
    n_folds: int
    n_groups: int
    split_groups: list[int]

    @property
    def sizes(self) -> list[int]:
        """Rows in each fold."""
        return np.bincount(self.of_row, minlength=self.n_folds).tolist()


def sentence_groups(frame: pd.DataFrame) -> np.ndarray:
    """The group of every NLI row, int64 [n_rows]: rows are in one group when a chain of shared sentences joins them.

    A sentence is shared where its text is the same, whether as premise or as hypothesis.
    """
    n_rows = len(frame)
    codes, sentences = factorize([*frame["premise"], *frame["hypothesis"]])
    ones = np.ones(n_rows, dtype=bool)
    links = coo_array((ones, (codes[:n_rows], codes[n_rows:])), shape=(len(sentences), len(sentences)))
    return connected_components(links, directed=False)[1][codes[:n_rows]].astype(np.int64)


def text_hash(texts: Iterable[str]) -> str:
    """SHA-256 over texts, whatever their order and however often each comes."""
    digest = hashlib.sha256()
    for text in sorted(set(texts)):
        part = text.encode("utf-8", "surrogatepass")
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def assign_folds(frame: pd.DataFrame, n_folds: int) -> Folds:
    """Put whole groups of rows into folds, the largest first, each to the smallest fold.

    Of equally large groups the one with the smaller SHA-256 of its texts comes first. A group of pairs
    that is larger than a fold is cut by premise before. The order of the rows changes nothing.

    Args:
        frame: a canonical QA or NLI frame.
        n_folds: at least 2.

    Raises:
        DataError: there are fewer groups than folds.
    """
    is_qa = "context" in frame
    groups = factorize(frame["context"])[0] if is_qa else sentence_groups(frame)
    n_groups, split_groups = int(groups.max()) + 1, []
    if not is_qa:
        sizes = np.bincount(groups)
        large = sizes > len(frame) / n_folds
        split_groups = sorted(sizes[large].tolist(), reverse=True)
        premises = factorize(frame["premise"])[0]
        groups = factorize(np.where(large[groups], n_groups + premises, groups).tolist())[0]
    what = "contexts" if is_qa else "groups of pairs that share sentences"
    n_parts = int(groups.max()) + 1
    if n_parts < n_folds:
        raise DataError(
            f"--cross_fit {n_folds}: the {len(frame)} rows have {n_parts} {what}, and each lies whole in one fold: "
            f"give {'more data' if n_parts < 2 else f'at most {n_parts}'}."
        )
    if split_groups:
        logger.warning(
            "%d groups of pairs that share sentences are larger than a fold (%s rows) and are cut by premise.",
            len(split_groups), shortlist(split_groups),
        )  # fmt: skip
    return Folds(_fill(frame, groups, n_folds), n_folds, n_groups, split_groups)


def _fill(frame: pd.DataFrame, groups: np.ndarray, n_folds: int) -> np.ndarray:
    """The fold of every row: group by group, each to the fold with the fewest rows (of equal ones the first)."""
    columns = ["context"] if "context" in frame else ["premise", "hypothesis"]
    rows_of = frame[columns].groupby(groups)
    sizes = np.bincount(groups)
    hashes = {group: text_hash(part.to_numpy().ravel()) for group, part in rows_of}
    fold_of = np.empty(len(sizes), dtype=np.int64)
    filled = [(0, fold) for fold in range(n_folds)]
    for group in sorted(range(len(sizes)), key=lambda group: (-sizes[group], hashes[group])):
        n_rows, fold = heapq.heappop(filled)
        fold_of[group] = fold
        heapq.heappush(filled, (n_rows + int(sizes[group]), fold))
    return fold_of[groups]
