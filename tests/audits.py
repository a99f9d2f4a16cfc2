"""The rows.csv of an audit, made by hand."""

import pandas as pd

from datamap.data import groups
from datamap.files import manifests


def rows_of(directory, of_id, split="train", more=(), other="validation", level="context"):
    """rows.csv with the groups of a split by id, and those of another split; returns its path."""
    found = [(name, split, level, group) for name, group in of_id.items()]
    found += [(name, other, level, group) for name, group in dict(more).items()]
    groups.write_rows(directory, pd.DataFrame(found, columns=["id", "split", "level", "group"]))
    return directory / groups.ROWS


def audit_of(directory, levels, dataset, split="train"):
    """A finished audit of a split with the level of every id, and of a few rows of the split dev."""
    found = [(name, split, level, number) for number, (name, level) in enumerate(levels.items())]
    found += [(name, "dev", "exact", number) for number, name in enumerate(list(levels)[:2])]
    groups.write_rows(directory, pd.DataFrame(found, columns=["id", "split", "level", "group"]))
    rows = {"dataset": str(dataset), "split": split}
    manifests.write_manifest(directory, {"script": groups.SCRIPT, "data": {"rows": rows}})
    return directory
