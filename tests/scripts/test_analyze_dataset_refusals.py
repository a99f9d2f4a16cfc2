"""analyze_dataset.py says no: other rows, other data, files that are none; and what --allow_partial then does."""

import pandas as pd
import pytest

from datamap.files import manifests, outputs
from tests.sides import N_UNTRACKED, assert_refused, contents, described, predictions_of, read_csv, save_clusters, sides


def test_different_rows_are_refused_and_may_be_left_out(analyze, base, blank_pictures):
    ids = [f"{number:04d}" for number in range(100)]
    clusters = [(0, 0, 0, 1, 1, 2, -1)[number % 7] for number in range(100)]
    save_clusters(base / "clusters", ids, clusters, described(base / "data.jsonl", ids))
    before = contents(base)
    parts = ("share 100 ids", "of 120 rows", "of 100 rows", "--allow_partial")
    assert_refused(analyze(*sides(base)), 1, *parts)
    assert contents(base) == before
    code, out, err = analyze(*sides(base), "--allow_partial")
    assert (code, "100 rows met; 20 of the recording's" in err) == (0, True)
    assert read_csv(base / "out" / "unified_analysis.csv")["id"].tolist() == ids[::-1]
    assert out.startswith("100 examples, 97 with metrics")


def test_manifests_that_speak_of_different_data_are_refused(analyze, base):
    manifest = manifests.read_manifest(base / "clusters")
    manifest["data"]["rows"] |= {"ids_sha256": "0" * 64, "dataset": "other.json"}
    outputs.write_json(base / "clusters" / "manifest.json", manifest)
    assert_refused(analyze(*sides(base)), 1, "other.json", "different data", "--allow_partial")
    assert not (base / "out").exists()


def test_no_common_id_is_refused_even_when_partial(analyze, base):
    ids = [f"x{number}" for number in range(30)]
    save_clusters(base / "clusters", ids, [0] * 30, described(base / "data.jsonl", ids))
    assert_refused(analyze(*sides(base), "--allow_partial"), 1, "share 0 ids")


def test_rows_that_met_without_any_metrics_are_refused(analyze, base):
    ids = [f"{number:04d}" for number in range(N_UNTRACKED)]
    save_clusters(base / "clusters", ids, [0] * 3, described(base / "data.jsonl", ids))
    assert_refused(analyze(*sides(base), "--allow_partial"), 1, "none of the rows has metrics")
    assert not (base / "out").exists()


def test_predictions_of_some_rows_are_refused_and_may_be_left_empty(analyze, base, blank_pictures):
    path = predictions_of(base, ids={"0005", "0006"})
    assert_refused(analyze(*sides(base), "--predictions", path), 1, "hold 2 of the 120 ids", "--allow_partial")
    assert not (base / "out").exists()
    assert analyze(*sides(base), "--predictions", path, "--allow_partial")[0] == 0
    unified = pd.read_parquet(base / "out" / "unified_analysis.parquet")
    assert (len(unified), unified["f1"].notna().sum()) == (120, 2)


def test_predictions_of_other_texts_are_refused(analyze, base):
    path = predictions_of(base)
    path.write_text(path.read_text("utf-8").replace("was it in 7?", "was it in the other split?"), encoding="utf-8")
    assert_refused(analyze(*sides(base), "--predictions", path), 1, "1 of 120 ids", "another question", "0007")


GOOD_LINE = '{"id": "0001", "predicted_answer": "a", "predicted_score": 1, "em": 0, "f1": 0.5, "question": "q"}\n'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{broken\n", "line 1: not a prediction"),
        ('{"id": "0001", "nbest": []}\n', "KeyError: 'predicted_answer'"),
        ('{"id": 1}\n', "the id is no text"),
        ("[]\n", "line 1: not a prediction"),
        (GOOD_LINE.replace("0.5", '"abc"'), "f1 is 'abc', which is no number"),
        (GOOD_LINE.replace('"a"', '["a"]'), "predicted_answer is ['a'], which is no text"),
        ("", "hold 0 of the 120 ids"),
    ],
)
def test_a_file_that_holds_no_predictions_is_refused(analyze, base, line, words):
    (base / "predictions.jsonl").write_text(line, encoding="utf-8")
    assert_refused(analyze(*sides(base), "--predictions", base / "predictions.jsonl"), 1, words)
    assert not (base / "out").exists()


def test_directories_that_are_no_finished_runs_are_refused(analyze, base):
    (base / "recording" / "manifest.json").rename(base / "kept.json")
    assert_refused(analyze(*sides(base)), 1, str(base / "recording"), "manifest.json")
    (base / "kept.json").rename(base / "recording" / "manifest.json")
    (base / "clusters" / "manifest.json").unlink()
    assert_refused(analyze(*sides(base)), 1, str(base / "clusters"), "cluster_analysis.py")
    assert not (base / "out").exists()


def test_sides_of_different_tasks_are_refused(analyze, base):
    manifest = manifests.read_manifest(base / "clusters") | {"task": "nli"}
    outputs.write_json(base / "clusters" / "manifest.json", manifest)
    assert_refused(analyze(*sides(base)), 1, "the recording of task qa and the clusters of task nli")


def test_recorded_ids_with_other_texts_are_refused(analyze, base):
    """The data changed after the recording; the clusters are of the new texts."""
    path = base / "data.jsonl"
    path.write_text(path.read_text("utf-8").replace("was it in 7?", "was it in the other file?"), encoding="utf-8")
    assert_refused(analyze("--cartography_dir", base / "recording", "--output_dir", base / "out"), 1, "other texts")
    ids = [f"{number:04d}" for number in range(120)]
    save_clusters(base / "clusters", ids, [0] * 120, described(path, ids))
    assert_refused(analyze(*sides(base)), 1, "the recorded ids with other texts")
    assert not (base / "out").exists()


def test_another_data_set_may_be_named(analyze, base, blank_pictures):
    (base / "data.jsonl").rename(base / "moved.jsonl")
    assert_refused(analyze(*sides(base)), 1, "data.jsonl", "give --dataset")
    assert analyze(*sides(base), "--dataset", base / "moved.jsonl")[0] == 0
    assert_refused(analyze(*sides(base), "--dataset", base / "moved.jsonl", "--split", "dev"), 1, "dev")


def test_misuse(analyze, base):
    recording = ("--cartography_dir", base / "recording")
    assert_refused(analyze(), 2, "--cartography_dir, --cluster_dir, or both")
    assert_refused(analyze(*recording, "--allow_partial"), 2, "--allow_partial acts where")
    assert_refused(analyze(*recording, "--output_dir", base / "recording"), 2, "--cartography_dir as well")
    assert_refused(analyze(*sides(base)[:4], "--output_dir", base / "clusters"), 2, "--cluster_dir as well")
    assert_refused(analyze(*recording, "--cluster"), 2, "--cluster")
    predictions_of(base)
    manifests.write_manifest(base / "eval", {"script": "run.py"})
    assert_refused(analyze(*recording, "--output_dir", base / "eval"), 2, "another script")
