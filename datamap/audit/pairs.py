"""The rows that meet, as pairs: what pairs.csv holds, and which of them contradict each other."""

import numpy as np
import pandas as pd

from datamap.audit.meetings import Level, Meetings, Rows
from datamap.evaluation.contradictions import label_numbers

COLUMNS = ("id", "split", "other_id", "other_split", "level", "similarity", "contradiction")
SAME_TEXTS = ("exact", "normalised")


def pairs_table(rows: Rows, meetings: Meetings) -> pd.DataFrame:
    """The pairs of rows that meet, by strength and then by row: each member of a group beside the group's first.

    Of contexts that lie in each other every pair is there, each context by its first row in each split. Rows that meet
    at a stronger level, too, are not listed at a weaker one.

    Returns:
        `id, split` and `other_id, other_split` (the earlier row), `level`,
        `similarity` in [0, 1] (contained: the share of the inner context's runs of five words; else 1), `contradiction`
        (whether rows of the same texts have different labels; missing at weaker levels).
    """
    parts, names = [], list(meetings.levels)
    for number, (name, level) in enumerate(meetings.levels.items()):
        part = _contained_pairs(rows, meetings) if name == "contained" else _beside_first(level)
        first, member = (part[end].to_numpy(dtype=np.int64) for end in ("first", "member"))
        is_stronger = np.zeros(len(part), dtype=bool)
        for stronger in names[:number]:
            is_stronger |= meetings.are_met(stronger, first, member)
        parts.append(part[~is_stronger].assign(level=number))
    table = pd.concat(parts, ignore_index=True).sort_values(["level", "member", "first"], kind="stable")
    table = table.drop_duplicates(["first", "member"], ignore_index=True)
    return _named(rows, table, np.array(names, dtype=object))


def _beside_first(level: Level) -> pd.DataFrame:
    """Of every member of a group but the first: `first`, `member` and a `similarity` of 1."""
    order = np.lexsort((level.row, level.group))
    row, group = level.row[order], level.group[order]
    is_first = np.r_[True, group[1:] != group[:-1]] if len(row) else np.zeros(0, dtype=bool)
    first = row[is_first][np.cumsum(is_first) - 1] if len(row) else row
    return pd.DataFrame({"first": first[~is_first], "member": row[~is_first], "similarity": 1.0})


def _contained_pairs(rows: Rows, meetings: Meetings) -> pd.DataFrame:
    """The pairs of contexts that lie in each other, each by its first row in each split."""
    table = pd.DataFrame({"text": meetings.texts_of[:, 0], "side": rows.side, "row": np.arange(len(rows.frame))})
    firsts = table.drop_duplicates(["text", "side"])[["text", "row"]]
    pairs = meetings.contained.merge(firsts, left_on="inner", right_on="text")
    pairs = pairs.merge(firsts, left_on="outer", right_on="text", suffixes=("", "_outer"))
    one, other = pairs["row"].to_numpy(dtype=np.int64), pairs["row_outer"].to_numpy(dtype=np.int64)
    found = {"first": np.minimum(one, other), "member": np.maximum(one, other), "similarity": pairs["similarity"]}
    return pd.DataFrame(found).reset_index(drop=True)


def _named(rows: Rows, table: pd.DataFrame, names: np.ndarray) -> pd.DataFrame:
    """The pairs with ids and names in place of numbers."""
    ids, splits = rows.frame["id"].to_numpy(), rows.frame["split"].to_numpy()
    first, member = table["first"].to_numpy(dtype=np.int64), table["member"].to_numpy(dtype=np.int64)
    level, label = names[table["level"].to_numpy(dtype=np.int64)], label_numbers(rows.frame)
    differs = pd.array(label[first] != label[member], dtype="boolean")
    differs[~np.isin(level, SAME_TEXTS)] = pd.NA
    columns = (ids[member], splits[member], ids[first], splits[first], level, table["similarity"], differs)
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))


def with_alike(table: pd.DataFrame, near: pd.DataFrame) -> pd.DataFrame:
    """The pairs of `pairs_table`, then those of `alike.alike_pairs` at the level "alike", with their cosine."""
    alike = near.rename(columns={"cosine": "similarity"}).assign(level="alike", contradiction=pd.NA)
    return pd.concat([table, alike[list(COLUMNS)]], ignore_index=True)
