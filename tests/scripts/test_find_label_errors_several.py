"""find_label_errors.py on several recordings of the same rows."""

import numpy as np
import pytest

import find_label_errors
import helpers
import run
from datamap.files import outputs
from tests.lines import lines_of
from tests.running import in_process

TEXT = ("id", "kind", "label", "proposal", "predicted_answer", "question", "context", "reason")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, tiny_model):
    """Two cross-fits of other seeds on the same rows, and one on others."""
    place = tmp_path_factory.mktemp("several")
    common = ["--do_train", "--model", tiny_model, "--no_cuda", "--num_train_epochs", 1, "--precision", "float32",
              "--save_strategy", "no", "--dataset", "demo", "--max_length", 64, "--doc_stride", 16,
              "--cross_fit", 2, "--data_seed", 1]  # fmt: skip
    for name, more in (("one", ("--seed", 1)), ("two", ("--seed", 2)), ("other", ("--max_train_samples", 40))):
        words = [*common, *more, "--crossfit_output_dir", place / name]
        if name != "other":
            words += ["--validation_fraction", "0.9"]
        assert helpers.run_script(run.main, [str(word) for word in words]) == 0
    return place


@pytest.fixture
def find(capsys):
    return in_process(capsys, find_label_errors.main)


def test_rows_are_ranked_by_the_means(recorded, find, tmp_path):
    code, _, err = find("--crossfit_dir", recorded / "one", recorded / "two", "--score", "expected_f1",
                        "--output_dir", tmp_path / "out")  # fmt: skip
    assert code == 0, err
    table = outputs.read_csv(tmp_path / "out" / "label_errors.csv", TEXT)
    ranked = table[table["rank"].notna()].set_index("id")
    parts = [
        {row["id"]: row for row in lines_of(recorded / name / "crossfit_predictions.jsonl")} for name in ("one", "two")
    ]
    assert parts[0].keys() == parts[1].keys() == set(ranked.index)
    assert parts[0] != parts[1]
    for name, row in ranked.iterrows():
        assert row["score"] == pytest.approx(1 - np.mean([part[name]["expected_f1"] for part in parts]), abs=1e-12)
        assert row["label_prob"] == pytest.approx(np.mean([part[name]["label_prob"] for part in parts]), abs=1e-12)
    assert (np.diff(ranked["score"]) <= 0).all()
    assert len(outputs.read_json(tmp_path / "out" / "manifest.json")["made_from"]) == 2


def test_recordings_of_other_rows_are_refused(recorded, find, tmp_path):
    code, out, err = find("--crossfit_dir", recorded / "one", recorded / "other", "--output_dir", tmp_path / "out")
    assert (code, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith(
        f"error: --crossfit_dir {recorded / 'one'} and --crossfit_dir {recorded / 'other'} are recordings of other rows"
    )
    assert not (tmp_path / "out").exists()


def test_a_recording_counts_once(recorded, find, tmp_path):
    code, _, err = find("--crossfit_dir", recorded / "one", recorded / "one", "--output_dir", tmp_path / "out")
    assert code == 2
    assert err.splitlines()[-1] == "error: --crossfit_dir names a directory twice: give every recording once."
