"""Tables of a recording by group: count, mean metrics and the share of each region."""

from collections.abc import Sequence

import pandas as pd

from datamap.data.questions import GROUP_ORDERS
from datamap.dynamics.measures import REGIONS

TABLE_MEANS = ("confidence", "variability", "correctness", "forgetting_events", "aum")


def group_table(frame: pd.DataFrame, groups: dict[str, list[str]]) -> pd.DataFrame:
    """How a model learnt each group: one row a group that has rows, the groupings one below the other.

    `frame`: the metrics frame with `region` (one of REGIONS), n rows. `groups`: by the name of the grouping the
    group of each row, n names in the frame's row order. Columns: grouping, group, count, share (of all n rows,
    (0, 1]), the group's means of confidence, variability, correctness, forgetting_events and aum in the units of
    the frame, then easy, ambiguous and hard: shares of the group's rows in that region, [0, 1], which sum to 1.
    Groups follow GROUP_ORDERS, those of another grouping their first appearance. A list of another length is a
    ValueError.
    """
    return pd.concat([_one_grouping(frame, name, values) for name, values in groups.items()], ignore_index=True)


def _one_grouping(frame: pd.DataFrame, name: str, values: Sequence[str]) -> pd.DataFrame:
    if len(values) != len(frame):
        raise ValueError(f"{name} has {len(values)} groups for {len(frame)} rows")
    order = list(dict.fromkeys((*GROUP_ORDERS.get(name, ()), *values)))
    in_region = {region: frame["region"] == region for region in REGIONS}
    rows = frame[list(TABLE_MEANS)].assign(**in_region).groupby(pd.Categorical(values, order), observed=True)
    counts = rows.size()
    heads = {"grouping": name, "group": counts.index.astype(object), "count": counts, "share": counts / len(frame)}
    return pd.concat([pd.DataFrame(heads), rows.mean()], axis=1)
