"""Where rows meet: the same texts at several strengths, one context inside another, the same wording or answer."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from datamap.audit.containment import contained_pairs
from datamap.audit.templates import wordings
from datamap.audit.texts import normalised
from datamap.data.groups import LEVELS
from datamap.errors import DataError

NONE = LEVELS[-1]
MEETINGS = LEVELS[:-1]  # the levels at which rows meet, the strongest first
NLI_LEVELS = ("exact", "normalised", "context", "contained")


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of one or two splits, one split after the other.

    Attributes:
        frame: canonical, with a column `split`; its index counts from 0.
        splits: their names, one or two; rows of the second are those that are judged by what the first has.
        label_names: of NLI.
    """

    frame: pd.DataFrame
    splits: tuple[str, ...]
    label_names: tuple[str, ...] = ()

    @property
    def is_qa(self) -> bool:
        """Whether they are questions about contexts, or else pairs of sentences."""
        return "question" in self.frame

    @property
    def task(self) -> str:
        """qa or nli."""
        return "qa" if self.is_qa else "nli"

    @property
    def side(self) -> np.ndarray:
        """The number of each row's split, int64 [n]."""
        return (self.frame["split"] != self.splits[0]).to_numpy().astype(np.int64)

    def levels(self) -> tuple[str, ...]:
        """The levels that this task has, the strongest first."""
        return MEETINGS if self.is_qa else NLI_LEVELS


@dataclasses.dataclass(frozen=True)
class Level:
    """Which rows meet: those that are members of one group. A row may be in several groups, or in none.

    Attributes:
        row: int64 [m].
        group: int64 [m], numbers without meaning.
    """

    row: np.ndarray
    group: np.ndarray

    def met(self, side: np.ndarray, *, across: bool) -> np.ndarray:
        """Whether each row meets one of the other side (`across`) or another one of its own, bool [n]."""
        n_groups = int(self.group.max(initial=-1)) + 1
        counts = np.stack([np.bincount(self.group[side[self.row] == one], minlength=n_groups) for one in (0, 1)])
        own = side[self.row]
        hits = counts[1 - own, self.group] > 0 if across else counts[own, self.group] > 1
        found = np.zeros(len(side), dtype=bool)
        found[self.row[hits]] = True
        return found


@dataclasses.dataclass(frozen=True)
class Meetings:
    """Every level of some rows.

    Attributes:
        levels: by name, the strongest first.
        keys: of the levels at which a row has one key, int64 [n] by name; −1 where it has none.
        contained: the pairs of contexts of which one lies in the other: inner, outer (numbers of texts), similarity.
        texts_of: the numbers of each row's texts as normalised, int64 [n, k]: the context, or premise and hypothesis.
    """

    levels: Mapping[str, Level]
    keys: Mapping[str, np.ndarray]
    contained: pd.DataFrame
    texts_of: np.ndarray

    def are_met(self, name: str, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Whether the rows `first` and `second`, int64 [m] each, meet at this very level, bool [m]."""
        if name in self.keys:
            key = self.keys[name]
            return (key[first] == key[second]) & (key[first] >= 0)
        one, other = self.texts_of[first], self.texts_of[second]
        if name == "context":
            return (one[:, :, None] == other[:, None, :]).any(axis=(1, 2))
        n_texts = int(self.texts_of.max(initial=0)) + 1
        listed = self.contained["inner"].to_numpy() * n_texts + self.contained["outer"].to_numpy()
        ways = (one[:, 0] * n_texts + other[:, 0], other[:, 0] * n_texts + one[:, 0])
        return np.isin(ways[0], listed) | np.isin(ways[1], listed)

    def of_rows(self, side: np.ndarray, *, across: bool) -> np.ndarray:
        """The strongest level at which each row meets another one, object [n]; "none" where it meets none."""
        found = np.full(len(side), NONE, dtype=object)
        for name, level in reversed(list(self.levels.items())):
            found[level.met(side, across=across)] = name
        return found

    def groups(self, names: Sequence[str], n_rows: int) -> np.ndarray:
        """The connected groups of rows that meet at the levels of `names`, int64 [n]; numbered by first appearance."""
        rows, nodes, n_nodes = [], [], n_rows
        for name in names:
            level = self.levels[name]
            rows.append(level.row)
            nodes.append(level.group + n_nodes)
            n_nodes += int(level.group.max(initial=-1)) + 1
        row, node = np.concatenate(rows), np.concatenate(nodes)
        links = coo_array((np.ones(len(row), dtype=bool), (row, node)), shape=(n_nodes, n_nodes))
        found = connected_components(links, directed=False)[1][:n_rows]
        return pd.factorize(found)[0].astype(np.int64)


def joined_rows(frames: Sequence[pd.DataFrame], splits: Sequence[str], label_names: Sequence[str]) -> Rows:
    """The rows of one or two splits as one; columns beside the texts and labels are left behind."""
    columns = (
        ["id", "context", "question", "answers"]
        if "question" in frames[0]
        else ["id", "premise", "hypothesis", "label"]
    )
    parts = [frame[columns].assign(split=split) for frame, split in zip(frames, splits, strict=True)]
    return Rows(pd.concat(parts, ignore_index=True), tuple(splits), tuple(label_names))


def joined_labels(orders: Sequence[Sequence[str]]) -> list[str]:
    """The label names of one or two splits, each once.

    Raises:
        DataError: two splits have none in common, spell one in two ways, or count classes from 0 and from 1.
    """
    names = list(dict.fromkeys(name for order in orders for name in order))
    if len(set(map(frozenset, orders))) == 1:
        return names
    are_alike = len(names) == len({name.lower() for name in names})
    starts = {min(map(int, order)) for order in orders if order and all(map(str.isdecimal, order))}
    is_disjoint = len(names) == sum(map(len, orders))
    if is_disjoint or not are_alike or len(starts) > 1:
        listed = " and ".join(", ".join(order) for order in orders)
        why = "have no label in common" if is_disjoint and are_alike else "name their labels in two ways"
        raise DataError(f"the splits {why} ({listed}): give two data sets with the same labels.")
    return names


def hash_order(ids: Sequence[str]) -> np.ndarray:
    """The rows by the SHA-256 of their ids, int64 [n]: an order that has nothing to do with that of the file."""
    hashes = [hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest() for name in ids]
    return np.array(sorted(range(len(ids)), key=hashes.__getitem__), dtype=np.int64)


def find_meetings(rows: Rows) -> Meetings:
    """All levels of the rows."""
    return _qa_meetings(rows.frame) if rows.is_qa else _nli_meetings(rows.frame)


def _coded(texts: pd.Series) -> tuple[np.ndarray, list[str]]:
    """The number of each row's text, int64 [n], and the distinct texts."""
    codes, distinct = pd.factorize(texts)
    return codes.astype(np.int64), list(distinct)


def _folded(codes: np.ndarray, distinct: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """As `_coded`, of the normalised texts."""
    numbers, texts = pd.factorize(np.array([normalised(text) for text in distinct], dtype=object))
    return numbers.astype(np.int64)[codes], list(texts)


def _crossed(*codes: np.ndarray) -> np.ndarray:
    """One number for every distinct combination of numbers, int64 [n]."""
    found = codes[0]
    for more in codes[1:]:
        found = pd.factorize(found * (int(more.max(initial=0)) + 1) + more)[0].astype(np.int64)
    return found


def _by_key(keys: np.ndarray) -> Level:
    """The level at which rows of equal keys meet; −1 is no key."""
    row = np.flatnonzero(keys >= 0)
    return Level(row, keys[row])


def _qa_meetings(frame: pd.DataFrame) -> Meetings:
    """All levels of questions about contexts."""
    context, contexts = _coded(frame["context"])
    question, questions = _coded(frame["question"])
    text_of, texts = _folded(context, contexts)
    asked, asked_texts = _folded(question, questions)
    wording, distinct = _coded(pd.Series(wordings([asked_texts[number] for number in asked], texts, text_of)))
    unworded = distinct.index("") if "" in distinct else -1
    keys = {
        "exact": _crossed(context, question),
        "normalised": _crossed(text_of, asked),
        "answer": _answer_keys(frame, context),
        "template": np.where(wording == unworded, -1, wording),
    }
    return _meetings(keys, _by_key(text_of), text_of[:, None], texts)


def _answer_keys(frame: pd.DataFrame, context: np.ndarray) -> np.ndarray:
    """One number for every context and place of a first answer in it, int64 [n]; −1 without a placed answer."""
    starts = np.array([(answer["answer_start"] or [-1])[0] for answer in frame["answers"]], dtype=np.int64)
    lengths = np.array([len((answer["text"] or [""])[0]) for answer in frame["answers"]], dtype=np.int64)
    return np.where(starts < 0, -1, _crossed(context, np.maximum(starts, 0), lengths))


def _nli_meetings(frame: pd.DataFrame) -> Meetings:
    """All levels of pairs of sentences; a sentence counts as the same whether it is a premise or a hypothesis."""
    n_rows = len(frame)
    codes, sentences = _coded(pd.concat([frame["premise"], frame["hypothesis"]], ignore_index=True))
    folded, texts = _folded(codes, sentences)
    keys = {
        "exact": _crossed(codes[:n_rows], codes[n_rows:]),
        "normalised": _crossed(folded[:n_rows], folded[n_rows:]),
    }
    members = np.unique(np.stack([np.tile(np.arange(n_rows), 2), folded], axis=1), axis=0)
    return _meetings(keys, Level(members[:, 0], members[:, 1]), folded.reshape(2, n_rows).T, texts)


def _meetings(keys: dict[str, np.ndarray], context: Level, texts_of: np.ndarray, texts: list[str]) -> Meetings:
    """Meetings from the levels with keys, that of equal texts, and the texts (a row's first may lie in others)."""
    used, numbers = np.unique(texts_of[:, 0], return_inverse=True)
    inner, outer, share = contained_pairs([texts[number] for number in used])
    contained = pd.DataFrame({"inner": used[inner], "outer": used[outer], "similarity": share})
    level_of = {name: _by_key(key) for name, key in keys.items()}
    level_of |= {"context": context, "contained": _contained_level(numbers, inner, outer)}
    return Meetings({name: level_of[name] for name in MEETINGS if name in level_of}, keys, contained, texts_of)


def _contained_level(number_of: np.ndarray, inner: np.ndarray, outer: np.ndarray) -> Level:
    """The level at which the rows of two texts meet of which one lies in the other: a group a pair of texts."""
    order = np.argsort(number_of, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(np.bincount(number_of))])
    texts, pairs = np.concatenate([inner, outer]), np.tile(np.arange(len(inner)), 2)
    counts = bounds[texts + 1] - bounds[texts]
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return Level(order[np.repeat(bounds[texts], counts) + offsets], np.repeat(pairs, counts))


def refuse_unknown_levels(names: Sequence[str], rows: Rows) -> None:
    """DataError where a level is asked for that the task does not have."""
    for name in names:
        if name not in rows.levels():
            raise DataError(f"--resplit_by {name}: the levels of {rows.task} are {', '.join(rows.levels())}.")
