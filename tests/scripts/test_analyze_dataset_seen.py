"""analyze_dataset.py --audit_dir: where the rows were seen, joined by id, in the tables and the report; its no."""

import pandas as pd
import pytest

from datamap.data.groups import LEVELS
from datamap.files import manifests, outputs
from tests.audits import audit_of, rows_of
from tests.pages import report_data
from tests.sides import assert_refused, build, sides


def levels_of(n_rows=120):
    """The level of every row by id: unlike counts, so that no two levels are as common as each other."""
    names = [level for place, level in enumerate(LEVELS, start=1) for _ in range(place * 4)]
    return {f"{number:04d}": (names * 2)[number] for number in range(n_rows)}


@pytest.mark.parametrize("task", ["qa", "nli"])
def test_levels_are_joined_by_id_and_are_groups_of_the_report(task, analyze, tmp_path, blank_pictures):
    base = build(tmp_path, task=task)
    levels = levels_of()
    audit_of(base / "audit", levels | {"left out": "exact"}, base / "data.jsonl")
    code, _, err = analyze(*sides(base), "--audit_dir", base / "audit")
    assert code == 0, err
    assert "120 of 120 rows are in the audit; 1 more are of other rows." in err
    assert "The audit in" not in err
    unified = pd.read_parquet(base / "out" / "unified_analysis.parquet")
    assert unified["seen"].tolist() == [levels[name] for name in unified["id"]]
    table = outputs.read_csv(base / "out" / "unified_analysis.csv", unified.select_dtypes(exclude="number").columns)
    assert table["seen"].tolist() == unified["seen"].tolist()
    head, rows = report_data(base / "out" / "report.html")
    (column,) = [column for column in rows["categories"] if column["name"] == "seen"]
    assert column["names"] == unified["seen"].value_counts().index.tolist()
    assert [column["names"][code] for code in column["codes"]] == [levels[name] for name in rows["id"]]
    (block,) = [block for block in head["groups"] if block["name"] == "seen"]
    assert block["title"] == "Seen elsewhere in the data"
    assert {group["group"]: group["count"] for group in block["groups"]} == unified["seen"].value_counts().to_dict()
    assert all({"easy", "ambiguous", "hard", "confidence"} <= group.keys() for group in block["groups"])
    made_from = manifests.read_manifest(base / "out")["made_from"]
    assert made_from[str(base / "audit" / "manifest.json")] == manifests.file_hash(base / "audit" / "manifest.json")


def test_rows_that_the_audit_lacks_are_refused_or_left_empty(analyze, base, blank_pictures):
    levels = {name: level for name, level in levels_of().items() if name >= "0100"}
    audit_of(base / "audit", levels, base / "data.jsonl")
    argv = [*sides(base), "--audit_dir", base / "audit"]
    assert_refused(
        analyze(*argv), 1, f"--audit_dir {base / 'audit'} holds 20 of the 120 ids of the split train: run "
        "audit_dataset.py on the same data, or pass --allow_partial to leave the others empty.",
    )  # fmt: skip
    assert not (base / "out").exists()
    code, _, err = analyze(*argv, "--allow_partial")
    assert (code, "20 of 120 rows are in the audit; 0 more are of other rows." in err) == (0, True)
    unified = pd.read_parquet(base / "out" / "unified_analysis.parquet")
    found = [None if pd.isna(level) else level for level in unified["seen"]]
    assert found == [levels.get(name) for name in unified["id"]]
    head, rows = report_data(base / "out" / "report.html")
    (column,) = [column for column in rows["categories"] if column["name"] == "seen"]
    assert column["codes"].count(column["names"].index("not audited")) == 100
    (block,) = [block for block in head["groups"] if block["name"] == "seen"]
    assert (block["groups"][0]["group"], block["groups"][0]["count"]) == ("not audited", 100)


def test_audits_of_other_data_and_directories_that_are_none_are_refused(analyze, base):
    argv = [*sides(base), "--audit_dir", base / "audit"]
    assert_refused(analyze(*argv), 1, f"--audit_dir {base / 'audit'}: there is no such directory.")
    rows_of(base / "audit", {"0000": 0})
    unfinished = f"--audit_dir {base / 'audit'} holds no finished run of audit_dataset.py: give its --output_dir."
    assert_refused(analyze(*argv), 1, unfinished)
    audit_of(base / "audit", levels_of(), base / "data.jsonl", split="test")
    splits = "is of the splits test, dev, not of train: run audit_dataset.py on the data of the other directories."
    assert_refused(analyze(*argv), 1, splits)
    audit_of(base / "audit", {f"x{name}": level for name, level in levels_of().items()}, base / "data.jsonl")
    none = "holds 0 of the 120 ids of the split train: run audit_dataset.py on the same data."
    assert_refused(analyze(*argv, "--allow_partial"), 1, none)
    (base / "audit" / "rows.csv").unlink()
    assert_refused(analyze(*argv), 1, f"{base / 'audit' / 'rows.csv'} cannot be read")
    assert not (base / "out").exists()


def test_an_audit_that_names_other_data_is_said(analyze, base, blank_pictures):
    audit_of(base / "audit", levels_of(), "other.json")
    argv = ["--cartography_dir", base / "recording", "--output_dir", base / "out", "--report", "none"]
    code, _, err = analyze(*argv, "--audit_dir", base / "audit", "--allow_partial")
    assert code == 0, err
    assert f"The audit in {base / 'audit'} is of other.json, and the examples are of {base / 'data.jsonl'}." in err


def test_without_an_audit_there_is_no_such_column(analyze, base, blank_pictures):
    assert analyze(*sides(base))[0] == 0
    assert "seen" not in pd.read_parquet(base / "out" / "unified_analysis.parquet")
    head, rows = report_data(base / "out" / "report.html")
    assert "seen" not in {column["name"] for column in rows["categories"]} | {block["name"] for block in head["groups"]}
