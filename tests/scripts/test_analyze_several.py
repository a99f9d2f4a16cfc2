"""analyze_cartography.py on several recordings of the same rows."""

import numpy as np
import pytest

import analyze_cartography
from tests.recordings import dynamics, load, read_samples, read_table, record
from tests.running import in_process


@pytest.fixture(scope="module")
def ids():
    return load("demo", "qa").frame["id"].tolist()[:60]


@pytest.fixture(scope="module")
def directories(tmp_path_factory, ids):
    """Three recordings of the same rows."""
    place = tmp_path_factory.mktemp("several")
    return [record(place / f"seed_{seed}", ids, dynamics(60, 4, seed=seed)) for seed in range(3)]


@pytest.fixture
def analyze(capsys):
    return in_process(capsys, analyze_cartography.main)


def test_means_and_agreement_are_written_and_said(directories, analyze, tmp_path):
    code, out, err = analyze("--cartography_dir", *directories, "--output_dir", tmp_path / "all")
    assert code == 0, err
    alone = []
    for number, directory in enumerate(directories):
        assert analyze("--cartography_dir", directory, "--output_dir", tmp_path / f"{number}")[0] == 0
        alone.append(read_table(tmp_path / f"{number}").set_index("id"))
    table = read_table(tmp_path / "all").set_index("id")
    for name in ("confidence", "variability", "loss"):
        means = np.mean([one.loc[table.index, name] for one in alone], axis=0)
        assert table[name].to_numpy() == pytest.approx(means, abs=1e-9)
    regions = np.array([one.loc[table.index, "region"] for one in alone]).T.tolist()
    shares = [max(row.count(region) for region in row) / 3 for row in regions]
    assert table["region_agreement"].to_numpy() == pytest.approx(shares)
    n_moving = sum(len(set(row)) > 1 for row in regions)
    assert f"{n_moving} of {len(table)} examples" in out
    assert "Spearman's correlation of confidence between recordings:" in out
    assert len(read_samples(tmp_path / "all")["easy"]["extreme"][0]["gold_probs"]) == 4
    assert "All numbers are means over 3 recordings." in (tmp_path / "all" / "report.html").read_text(encoding="utf-8")
    assert "region_agreement" not in alone[0]


def test_recordings_of_other_rows_are_refused_and_nothing_is_written(directories, analyze, tmp_path, ids):
    other = record(tmp_path / "other", ids[:50], dynamics(50, 4))
    code, out, err = analyze("--cartography_dir", directories[0], other, "--output_dir", tmp_path / "all")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == (
        f"error: --cartography_dir {directories[0]} and {other} are of other rows (60 and 50, 50 of them in both): "
        "give recordings of the same rows, of different seeds or models."
    )
    assert not (tmp_path / "all").exists()


def test_a_recording_counts_once(directories, analyze, tmp_path):
    again = directories[0].parent / "seed_1" / ".." / "seed_0"
    code, _, err = analyze("--cartography_dir", directories[0], again, "--output_dir", tmp_path / "all")
    assert code == 2
    assert err.splitlines()[-1] == ("error: --cartography_dir names a directory twice: give every recording once.")
