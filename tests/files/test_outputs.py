"""Writers, manifests and the hash of a data set's ids."""

import csv
import json
import math
import os
import warnings

import numpy as np
import pandas as pd
import pytest

from datamap.errors import DataError, UsageError
from datamap.files import checkpoints, manifests, outputs, pictures


def test_json_keeps_values_and_turns_what_json_lacks_into_null(tmp_path):
    value = {
        "a": np.float32(0.5),
        "b": [np.int64(3), math.nan, math.inf],
        "c": np.array([1, 2]),
        4: (True, None, "é🫀"),
    }
    outputs.write_json(tmp_path / "value.json", value)
    assert outputs.read_json(tmp_path / "value.json") == {
        "a": 0.5,
        "b": [3, None, None],
        "c": [1, 2],
        "4": [True, None, "é🫀"],
    }


def test_reading_what_is_not_there_or_not_json_names_the_file(tmp_path):
    with pytest.raises(DataError, match=r"gone\.json does not exist"):
        outputs.read_json(tmp_path / "gone.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(DataError, match=r"half\.json is not a readable JSON file"):
        outputs.read_json(tmp_path / "half.json")


def test_an_interrupted_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def rows():
        yield {"row": 1}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outputs.write_jsonl(path, rows())
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_written_files_get_the_usual_permissions(tmp_path):
    outputs.write_json(tmp_path / "a.json", 1)
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_hash_of_ids_ignores_order_and_sees_every_change():
    assert manifests.ids_hash(["a", "b"]) == manifests.ids_hash(["b", "a"])
    different = [["a"], ["a", "b"], ["ab"], ["a", "b", "b"], ["a,b"], ['a"', "b"]]
    assert len({manifests.ids_hash(ids) for ids in different}) == len(different)


def test_the_manifest_names_what_it_was_made_from(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    manifests.write_manifest(source, {"seed": 1})
    manifests.write_manifest(target, {"seed": 2}, [source, tmp_path / "without"])
    manifest = json.loads((target / "manifest.json").read_text())
    assert manifest["made_from"] == {str(source / "manifest.json"): manifests.file_hash(source / "manifest.json")}
    assert manifest["seed"] == 2
    assert manifest["versions"]["numpy"] == np.__version__


def test_only_complete_checkpoints_count_in_numeric_order(tmp_path):
    for name in ("checkpoint-9", "checkpoint-10", "checkpoint-11", "checkpoint-best"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-best" / "trainer_state.json").write_text("{}")
    (tmp_path / "checkpoint-7").write_text("a file")
    for name in ("checkpoint-9", "checkpoint-10"):
        (tmp_path / name / "trainer_state.json").write_text("{}")
    assert [path.name for path in checkpoints.checkpoints(tmp_path)] == ["checkpoint-9", "checkpoint-10"]
    assert checkpoints.checkpoint_to_resume(tmp_path, "last") == str(tmp_path / "checkpoint-10")
    assert checkpoints.checkpoint_to_resume(tmp_path, None) is None
    with pytest.raises(DataError, match="no complete checkpoint"):
        checkpoints.checkpoint_to_resume(tmp_path, str(tmp_path / "checkpoint-11"))
    with pytest.raises(DataError, match="no complete checkpoint"):
        checkpoints.checkpoint_to_resume(tmp_path / "checkpoint-11", "last")


class Arguments:
    do_train, resume_from_checkpoint = True, None


def test_clearing_an_earlier_run_leaves_the_users_own_files(tmp_path):
    for name in ("manifest.json", "data_problems.csv", "notes.txt", "checkpoint-3/trainer_state.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    with pytest.raises(UsageError, match="finished run"):
        checkpoints.refuse_earlier_run(tmp_path, False, Arguments, "demo")
    checkpoints.refuse_earlier_run(tmp_path, True, Arguments, "demo")
    with pytest.raises(UsageError, match="lies in --output_dir"):
        checkpoints.refuse_earlier_run(tmp_path, True, Arguments, str(tmp_path / "checkpoint-3"))
    checkpoints.clear_earlier_run(tmp_path, checkpoints_too=False)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint-3", "notes.txt"]
    checkpoints.clear_earlier_run(tmp_path, checkpoints_too=True)
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_tables_keep_every_kind_of_line_end_and_quote(tmp_path):
    ids = ["a\rb", "a\nb", 'a"b', "a,b", "plain", " null"]
    outputs.write_csv(tmp_path / "table.csv", pd.DataFrame({"id": ids, "x": [0.5] * 6, "flag": [True] * 6}))
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ids
    back = pd.read_csv(tmp_path / "table.csv")
    assert (back["id"].tolist(), back["x"].tolist(), back["flag"].tolist()) == (ids, [0.5] * 6, [True] * 6)
    outputs.write_csv(tmp_path / "plain.csv", pd.DataFrame({"id": ["a", "b"]}))
    assert (tmp_path / "plain.csv").read_text() == "id\na\nb\n"


def test_names_are_short_where_they_are_paths(tmp_path, monkeypatch):
    (tmp_path / "wards").mkdir()
    (tmp_path / "wards" / "notes.jsonl").write_text("")
    monkeypatch.chdir(tmp_path / "wards")
    monkeypatch.setenv("HOME", str(tmp_path))
    names = [str(tmp_path / "wards" / "notes.jsonl"), "notes.jsonl", ".", "../wards/", "~/wards", "org/data", "demo:v2"]
    expected = ["notes.jsonl", "notes.jsonl", "wards", "wards", "wards", "org/data", "demo:v2"]
    assert [outputs.short_name(name) for name in names] == expected


def test_characters_that_the_font_lacks_are_said_once_and_other_warnings_kept(tmp_path, caplog, recwarn):
    from matplotlib.figure import Figure

    class Warner(Figure):
        def savefig(self, *arguments, **options):
            warnings.warn("of another kind", RuntimeWarning, stacklevel=1)
            super().savefig(*arguments, **options)

    figure = Warner(figsize=(1, 1))
    figure.suptitle("".join(map(chr, range(0xE000, 0xE007))) * 3)  # no font has characters there
    pictures.write_figure(tmp_path / "a.png", figure)
    assert [str(warning.message) for warning in recwarn] == ["of another kind"]
    said = "the font of figures lacks 7 characters (\ue000 \ue001 \ue002 \ue003 \ue004 …), which are drawn as boxes"
    assert [record.getMessage() for record in caplog.records] == [f"a.png: {said}; tables and pages show them."]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_hash_of_texts_ignores_order_and_sees_every_change():
    frame = pd.DataFrame(
        {"id": ["1", "2"], "question": ["q", "r"], "context": ["c", "d"], "x": [1, 2],
         "answers": [{"text": ["c"], "answer_start": [0]}, {"text": [], "answer_start": []}]}
    )  # fmt: skip
    same = manifests.texts_hash(frame)
    assert manifests.texts_hash(frame.iloc[::-1].assign(x=3)) == same
    for column, values in (("id", ["1", "3"]), ("question", ["q", "s"]), ("context", ["d", "c"])):
        assert manifests.texts_hash(frame.assign(**{column: values})) != same
    assert manifests.texts_hash(frame.assign(answers=frame["answers"].tolist()[::-1])) != same
