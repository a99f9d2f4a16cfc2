"""Recordings: epoch files, metrics, the state in a checkpoint, and both layouts read back."""

import json
import math
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datamap.dynamics import recordings
from datamap.errors import DataError, UsageError
from datamap.files import manifests

ODD_IDS = [
    "0012",
    "null",
    "nan",
    "",
    'a "quoted" id',
    "two\nlines",
    "caf\u00e9 🫀",
    "a,b;c\td",
    "\u2028",
    "1e5",
    "True",
]
float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


def epoch_of(gold_probs, names=recordings.QA_MEASURES, **values):
    """Float32 arrays by measure: the gold probabilities given, NaN wherever they are, and something for the rest."""
    probs = np.array(gold_probs, dtype=np.float32)
    epoch = {name: np.where(np.isnan(probs), np.nan, probs / 2).astype(np.float32) for name in names}
    epoch |= {"gold_prob": probs, "correct": np.where(np.isnan(probs), np.nan, probs > 0.5).astype(np.float32)}
    return epoch | {name: np.array(numbers, dtype=np.float32) for name, numbers in values.items()}


def counts_of(n_examples):
    return {"n_windows": np.arange(2, n_examples + 2), "n_gold_windows": np.arange(1, n_examples + 1)}


def write_and_read(path, ids, epoch):
    recordings.write_epoch(path, 1, ids, epoch, counts_of(len(ids)))
    return recordings.read_epoch(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(float32, min_size=1, max_size=50))
def test_every_float32_comes_back_bit_for_bit(tmp_path, numbers):
    values = np.array([*numbers, 1e-30, 1, 0, -0.0, -17.25, 1e-45, 0.1, 1 / 3, 3.4e38], dtype=np.float32)
    ids = [str(number) for number in range(len(values))]
    epoch = epoch_of(np.linspace(0, 1, len(values)), margin=values, loss=values[::-1])
    frame = write_and_read(tmp_path / "epoch.json", ids, epoch)
    back = recordings.align_epoch(frame, ids)
    assert list(back) == list(recordings.QA_MEASURES)
    for name, expected in epoch.items():
        assert back[name].dtype == np.float32
        assert back[name].tobytes() == expected.tobytes(), name


def test_numbers_are_written_with_the_fewest_digits(tmp_path):
    write_and_read(tmp_path / "epoch.json", ["a"], epoch_of([0.1]))
    assert '"gold_prob": 0.1,' in (tmp_path / "epoch.json").read_text()


@pytest.mark.parametrize("names", [recordings.QA_MEASURES, recordings.NLI_MEASURES])
def test_an_epoch_file_is_a_json_list_of_records_with_whatever_ids(tmp_path, names):
    probs = np.linspace(0, 1, len(ODD_IDS))
    epoch = epoch_of(probs, names)
    frame = write_and_read(tmp_path / "epoch.json", ODD_IDS, epoch)
    records = json.loads((tmp_path / "epoch.json").read_text(encoding="utf-8"))
    assert [record["id"] for record in records] == ODD_IDS
    assert list(records[0]) == ["id", "epoch", *names, "n_windows", "n_gold_windows"]
    assert [record["correct"] for record in records] == [value > 0.5 for value in probs]
    assert {record["epoch"] for record in records} == {1}
    assert frame["id"].tolist() == ODD_IDS
    assert frame["n_windows"].tolist() == list(range(2, len(ODD_IDS) + 2))
    assert recordings.align_epoch(frame, ODD_IDS)["gold_prob"].tolist() == epoch["gold_prob"].tolist()


def test_an_example_that_was_not_seen_has_no_record(tmp_path):
    frame = write_and_read(tmp_path / "epoch.json", ["a", "b", "c"], epoch_of([0.25, math.nan, 0.75]))
    assert frame["id"].tolist() == ["a", "c"]
    assert frame["n_gold_windows"].tolist() == [1, 3]
    back = recordings.align_epoch(frame, ["c", "b", "a"])
    assert back["gold_prob"].tolist()[::2] == [0.75, 0.25]
    assert all(np.isnan(values[1]) for values in back.values())


def test_an_epoch_file_that_no_recording_has_is_refused(tmp_path):
    path = tmp_path / "epoch.json"
    for text in ('{"id": 1}', "[1, 2]", '[{"id": "a"}]'):
        path.write_text(text)
        with pytest.raises(DataError, match=r"epoch\.json is not a list of records with correct, gold_prob"):
            recordings.read_epoch(path)
    path.write_text('[{"id": "a", ')
    with pytest.raises(DataError, match=r"epoch\.json is not a readable JSON file"):
        recordings.read_epoch(path)
    recordings.write_epoch(path, 1, ["a", "a"], epoch_of([0.1, 0.2]), counts_of(2))
    with pytest.raises(DataError, match="has the id 'a' twice"):
        recordings.read_epoch(path)


def test_epoch_files_are_found_in_numeric_order(tmp_path):
    for name in ("10", "2", "1", "01", "x", "0"):
        recordings.epoch_path(tmp_path, name).write_text("[]")
    assert list(recordings.epoch_paths(tmp_path)) == [1, 2, 10]
    assert recordings.epoch_paths(tmp_path)[10] == tmp_path / "training_dynamics_epoch_10.json"


def test_metrics_as_json_and_as_csv_agree(tmp_path):
    from datamap.dynamics.measures import over_epochs

    ids = ODD_IDS[:6]
    probs = np.random.default_rng(0).random((3, 6))
    probs[1, 2] = math.nan
    epochs = [epoch_of(row) for row in probs]
    stacked = {name: np.stack([epoch[name] for epoch in epochs]) for name in epochs[0]}
    metrics = over_epochs(stacked)
    metrics.insert(0, "id", ids)
    recordings.write_metrics(tmp_path, metrics, stacked["gold_prob"], stacked["correct"])
    table = pd.read_csv(tmp_path / "cartography_metrics.csv", dtype={"id": str}, keep_default_na=False)
    records = json.loads((tmp_path / "cartography_metrics.json").read_text(encoding="utf-8"))
    pd.testing.assert_frame_equal(table, metrics, check_exact=True)
    assert [{name: record[name] for name in metrics} for record in records] == metrics.to_dict("records")
    for row, record in enumerate(records):
        seen = [None if math.isnan(value) else value for value in stacked["gold_prob"][:, row].tolist()]
        written = [None if value is None else float(np.float32(value)) for value in record["gold_probs"]]
        assert written == seen
        assert record["correct"] == [None if value is None else value > 0.5 for value in seen]
    assert records[2]["num_epochs"] == 2


def running_epoch():
    generator = np.random.default_rng(1)
    return recordings.RunningEpoch(
        run_id="ab12",
        identity={"task": "qa", "seed": 42, "examples": "é🫀"},
        number=12,
        finished={number: f"{number:064x}" for number in range(1, 12)},
        values=generator.standard_normal((6, 50)).astype(np.float32),
        seen_at=generator.integers(0, 2**31 - 1, 50).astype(np.int32),
    )


def test_a_running_epoch_comes_back_from_a_checkpoint(tmp_path):
    running = running_epoch()
    recordings.write_state(tmp_path, running)
    back = recordings.read_state(tmp_path)
    assert (back.run_id, back.identity, back.number) == ("ab12", running.identity, 12)
    assert back.finished == running.finished
    for name in ("values", "seen_at"):
        expected, read = getattr(running, name), getattr(back, name)
        assert (read.dtype, read.tobytes()) == (expected.dtype, expected.tobytes())
    assert os.listdir(tmp_path) == ["cartography_state.npz"]


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_truncated_state_is_refused(tmp_path, share):
    recordings.write_state(tmp_path, running_epoch())
    path = tmp_path / "cartography_state.npz"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"cartography_state\.npz cannot be read .*resume from an earlier checkpoint"):
        recordings.read_state(tmp_path)


def test_a_state_of_something_else_is_refused(tmp_path):
    path = tmp_path / "cartography_state.npz"
    np.savez(path, something=np.zeros(3))
    with pytest.raises(DataError, match="cannot be read"):
        recordings.read_state(tmp_path)
    path.write_bytes(b"no archive at all")
    with pytest.raises(DataError, match="cannot be read"):
        recordings.read_state(tmp_path)


def test_a_checkpoint_without_a_recording_is_refused(tmp_path):
    with pytest.raises(DataError, match="was saved without --enable_cartography"):
        recordings.read_state(tmp_path / "checkpoint-3")


def refuse(directory, overwrite=False, resuming=False, output_dir="trainer_output"):
    recordings.refuse_earlier_recording(directory, directory.parent / output_dir, overwrite, resuming)


EVERY_WAY = [(False, False), (True, False), (False, True), (True, True)]


@pytest.mark.parametrize(("overwrite", "resuming"), EVERY_WAY)
def test_a_recording_does_not_go_where_it_cannot_or_must_not(tmp_path, overwrite, resuming):
    file, foreign = tmp_path / "file", tmp_path / "foreign"
    file.write_text("mine")
    manifests.write_manifest(foreign, {"script": "analyze_cartography.py"})
    with pytest.raises(UsageError, match="file is a file"):
        refuse(file, overwrite, resuming)
    with pytest.raises(UsageError, match="is --output_dir as well"):
        refuse(tmp_path / "x" / ".." / "both", overwrite, resuming, output_dir=tmp_path / "both")
    with pytest.raises(UsageError, match="finished run of another script"):
        refuse(foreign, overwrite, resuming)


def test_a_new_or_empty_directory_is_free(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for overwrite, resuming in EVERY_WAY:
        refuse(tmp_path / "new", overwrite, resuming)
        refuse(tmp_path, overwrite, resuming)


def test_an_earlier_recording_is_overwritten_or_gone_on_with_only_when_asked(tmp_path):
    unfinished, finished = tmp_path / "unfinished", tmp_path / "finished"
    for directory in (unfinished, finished):
        directory.mkdir()
        recordings.epoch_path(directory, 1).write_text("[]")
    (finished / "cartography_metrics.csv").write_text("id\n")
    manifests.write_manifest(finished, {"script": "run.py"})
    with pytest.raises(UsageError, match=r"epochs of an unfinished recording: pass --resume_from_checkpoint last"):
        refuse(unfinished)
    with pytest.raises(UsageError, match=r"holds a finished recording.*--overwrite_output_dir"):
        refuse(finished)
    for overwrite, resuming in EVERY_WAY[1:]:
        refuse(unfinished, overwrite, resuming)
        refuse(finished, overwrite, resuming)


def test_clearing_removes_what_is_written_again_and_nothing_else(tmp_path):
    own = ["manifest.json", "cartography_metrics.json", "cartography_metrics.csv", "cartography_map.png",
           "untracked_examples.csv", ".cartography_metrics.csv.abc", ".training_dynamics_epoch_3.json.xyz"]  # fmt: skip
    kept = ["notes.txt", "training_dynamics_epoch_3.json.bak", "training_dynamics_epoch_x.json", ".hidden"]
    epochs = [f"training_dynamics_epoch_{number}.json" for number in (1, 2, 3, 10)]
    for name in (*own, *kept, *epochs):
        (tmp_path / name).write_text("[]")
    recordings.clear_recording(tmp_path, from_epoch=3)
    assert set(os.listdir(tmp_path)) == {*kept, *epochs[:2]}
    recordings.clear_recording(tmp_path, from_epoch=1)
    assert set(os.listdir(tmp_path)) == set(kept)


def record(directory, probs, ids, task="qa", **fields):
    """A finished recording of these gold probabilities, [n_epochs, n_examples]."""
    names = recordings.QA_MEASURES if task == "qa" else recordings.NLI_MEASURES
    hashes = {}
    for number, row in enumerate(probs, start=1):
        path = recordings.epoch_path(directory, number)
        recordings.write_epoch(path, number, ids, epoch_of(row, names), counts_of(len(ids)))
        hashes[number] = manifests.file_hash(path)
    manifests.write_manifest(directory, {"script": "run.py", "task": task, "epoch_files": hashes} | fields)
    return directory


def test_a_recording_comes_back_with_gaps_where_examples_were_not_seen(tmp_path):
    probs = np.array([[0.1, np.nan, 0.3, np.nan], [0.4, 0.5, np.nan, np.nan], [0.7, 0.8, 0.9, np.nan]])
    record(tmp_path, probs, ["a", "b", "c", "never"])
    recording = recordings.read_recording(tmp_path)
    assert recording.ids == ["a", "c", "b"]
    np.testing.assert_array_equal(recording.epochs["gold_prob"], probs[:, [0, 2, 1]].astype(np.float32))
    assert set(recording.epochs) == set(recordings.QA_MEASURES)
    assert recording.counts["n_windows"].tolist() == [2, 4, 3]
    assert recording.counts["n_gold_windows"].tolist() == [1, 3, 2]
    assert recording.n_epochs == 3
    assert recording.manifest["script"] == "run.py"


def test_more_than_ten_epochs_come_back_in_numeric_order(tmp_path):
    probs = np.linspace(0, 1, 12)[:, None]
    record(tmp_path, probs, ["a"])
    np.testing.assert_array_equal(recordings.read_recording(tmp_path).epochs["gold_prob"], probs.astype(np.float32))


@pytest.mark.parametrize("task", ["qa", "nli"])
@pytest.mark.parametrize("empty", [0, 1])
def test_an_epoch_in_which_no_example_was_seen_whole_counts_as_an_epoch(tmp_path, task, empty):
    probs = np.array([[0.2, 0.4], [0.6, 0.8]])
    probs[empty] = np.nan
    recording = recordings.read_recording(record(tmp_path, probs, ["a", "b"], task))
    assert set(recording.epochs) == set(recordings.QA_MEASURES if task == "qa" else recordings.NLI_MEASURES)
    for values in recording.epochs.values():
        assert np.isnan(values[empty]).all()
        assert not np.isnan(values[1 - empty]).any()


def test_a_recording_without_any_record_is_refused(tmp_path):
    record(tmp_path / "records", np.full((2, 2), np.nan), ["a", "b"])
    record(tmp_path / "epochs", np.empty((0, 2)), ["a", "b"])
    for name in ("records", "epochs"):
        with pytest.raises(DataError, match=f"{name} holds no record of any example"):
            recordings.read_recording(tmp_path / name)


def test_a_changed_or_missing_epoch_file_is_named(tmp_path):
    record(tmp_path, np.full((2, 2), 0.5), ["a", "b"])
    path = recordings.epoch_path(tmp_path, 2)
    text = path.read_text()
    path.write_text(text.replace("0.5", "0.6"))
    with pytest.raises(DataError, match=r"training_dynamics_epoch_2\.json is not the file that .*manifest\.json names"):
        recordings.read_recording(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"training_dynamics_epoch_2\.json is not the file that .*manifest\.json names"):
        recordings.read_recording(tmp_path)
    path.write_text(text)
    recordings.epoch_path(tmp_path, 3).write_text("left by another run")
    assert recordings.read_recording(tmp_path).n_epochs == 2


def test_a_directory_without_a_finished_recording_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no such directory"):
        recordings.read_recording(tmp_path / "missing")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="there is no such directory"):
        recordings.read_recording(tmp_path / "file")
    empty, unfinished, other = (tmp_path / name for name in ("empty", "unfinished", "other"))
    empty.mkdir()
    record(unfinished, np.full((2, 2), 0.5), ["a", "b"])
    (unfinished / "manifest.json").unlink()
    manifests.write_manifest(other, {"script": "run.py"})
    with pytest.raises(DataError, match="empty holds no recording of training dynamics: give the --cartography_output"):
        recordings.read_recording(empty)
    with pytest.raises(DataError, match=r"holds an unfinished recording \(no manifest\.json\)"):
        recordings.read_recording(unfinished)
    with pytest.raises(DataError, match="other holds no recording"):
        recordings.read_recording(other)
