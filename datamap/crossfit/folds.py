"""Folds of whole contexts (QA), of whole groups of pairs that share sentences (NLI), or of groups that are given.

No random number takes part.
"""

import dataclasses
import logging

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from datamap.data.groups import Grouping, fill_folds, group_keys, text_hash
from datamap.errors import DataError, shortlist
from datamap.features.windows import factorize

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Folds:
    """Which rows are held out together.

    Attributes:
        of_row: the fold of every row, counted from 0, int64 [n_rows].
        n_folds: how many there are.
        n_groups: contexts, or groups of pairs that share sentences, as the data have them; or those that are given.
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


def assign_folds(frame: pd.DataFrame, n_folds: int, grouping: Grouping | None = None) -> Folds:
    """Put whole groups of rows into folds, the largest first, each to the smallest fold.

    Of equally large groups the one with the smaller SHA-256 of its texts comes first. A group of pairs
    that is larger than a fold is cut by premise before; groups that are given stay whole. The order of the rows
    changes nothing, nor do the numbers of the groups.

    Args:
        frame: a canonical QA or NLI frame.
        n_folds: at least 2.
        grouping: takes the place of contexts and shared sentences.

    Raises:
        DataError: there are fewer groups than folds.
    """
    if grouping is not None:
        return _folds_as_given(frame, n_folds, grouping)
    is_qa = "context" in frame
    groups = factorize(frame["context"])[0] if is_qa else sentence_groups(frame)
    n_groups, split_groups = int(groups.max()) + 1, []
    if not is_qa:
        sizes = np.bincount(groups)
        large = sizes > len(frame) / n_folds
        split_groups = sorted(sizes[large].tolist(), reverse=True)
        premises = factorize(frame["premise"])[0]
        groups = factorize(np.where(large[groups], n_groups + premises, groups).tolist())[0]
    refuse_few_groups(groups, n_folds, "contexts" if is_qa else "groups of pairs that share sentences")
    if split_groups:
        logger.warning(
            "%d groups of pairs that share sentences are larger than a fold (%s rows) and are cut by premise.",
            len(split_groups), shortlist(split_groups),
        )  # fmt: skip
    columns = ["context"] if is_qa else ["premise", "hypothesis"]
    hashes = {group: text_hash(part.to_numpy().ravel()) for group, part in frame[columns].groupby(groups)}
    return Folds(fill_folds(groups, hashes, n_folds), n_folds, n_groups, split_groups)


def _folds_as_given(frame: pd.DataFrame, n_folds: int, grouping: Grouping) -> Folds:
    """The folds of groups that are given, none of which is cut."""
    groups = grouping.of_rows(frame["id"])
    refuse_few_groups(groups, n_folds, "groups of --groups")
    sizes = np.bincount(groups)
    large = sorted(sizes[sizes > len(frame) / n_folds].tolist(), reverse=True)
    if large:
        logger.warning(
            "%d groups of --groups are larger than a fold (%s of %d rows) and stay whole, so the folds differ in size.",
            len(large), shortlist(large), len(frame),
        )  # fmt: skip
    return Folds(fill_folds(groups, group_keys(frame, groups.tolist()), n_folds), n_folds, len(sizes), [])


def refuse_few_groups(groups: np.ndarray, n_folds: int, what: str) -> None:
    """DataError where there are fewer groups than folds; `what` they are, in words."""
    n_groups = int(groups.max()) + 1
    if n_groups < n_folds:
        raise DataError(
            f"--cross_fit {n_folds}: the {len(groups)} rows have {n_groups} {what}, and each lies whole in one fold: "
            f"give {'more data' if n_groups < 2 else f'at most {n_groups}'}."
        )
