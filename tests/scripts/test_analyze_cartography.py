"""analyze_cartography.py from the command line: its files, its numbers against an independent computation, its no."""

import base64
import gzip
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datamap.files import manifests, outputs, pictures
from tests.recordings import dynamics, load, read_samples, read_table, record
from tests.running import in_process

TABLES = ("cartography_regions.csv", "question_type_analysis.csv", "category_samples.json")
FIGURES = ("cartography_map.png", 
    "metric_distributions.png", "confidence_vs_correctness.png", "category_analysis.png", "dynamics_by_region.png",
)  # fmt: skip
QA_COLUMNS = [
    "id", "region", "confidence", "variability", "correctness", "start_confidence", "end_confidence", "span_f1",
    "forgetting_events", "never_learnt", "threshold_closeness", "aum", "loss", "el2n", "num_epochs", "n_windows",
    "n_gold_windows", "question_type",
]  # fmt: skip
MEANS = {
    "confidence": "gold_prob", "start_confidence": "start_prob", "end_confidence": "end_prob", "span_f1": "span_f1",
    "correctness": "correct", "aum": "margin", "loss": "loss", "el2n": "el2n",
}  # fmt: skip


@pytest.fixture
def analyze(capsys):
    """Run analyze_cartography.py in this process; returns (exit code, stdout, stderr)."""
    import analyze_cartography

    return in_process(capsys, analyze_cartography.main)


@pytest.fixture
def blank_pictures(monkeypatch):
    """Figures are built but not painted, which takes most of a run's time."""
    monkeypatch.setattr(pictures, "write_figure", lambda path, figure: path.write_bytes(b""))


@pytest.fixture(scope="module")
def demo_ids():
    return load("demo", "qa").frame["id"].tolist()


def measured_independently(directory, first_epoch=1):
    """Metrics by id, computed with pandas from the records of the epoch files, whose numbers are float32."""
    files = Path(directory).glob("training_dynamics_epoch_*.json")
    rows = pd.concat([pd.DataFrame(json.loads(path.read_text())) for path in files]).sort_values("epoch", kind="stable")
    rows = rows[rows["epoch"] >= first_epoch].astype({"correct": int})
    rows[list(MEANS.values())] = rows[list(MEANS.values())].astype(np.float32).astype(np.float64)
    groups = rows.groupby("id", sort=False)
    found = pd.DataFrame({name: groups[source].mean() for name, source in MEANS.items()})
    return found.assign(
        variability=groups["gold_prob"].std(ddof=0),
        forgetting_events=groups["correct"].apply(lambda hits: int((hits.diff() == -1).sum())),
        num_epochs=groups.size(),
        never_learnt=found["correctness"] == 0,
        threshold_closeness=found["confidence"] * (1 - found["confidence"]),
    )


def regions_independently(found, ambiguous_fraction=1 / 3, confidence_threshold=0.5):
    """Regions by id, by walking down the examples from the highest variability."""
    n_ambiguous = int(np.floor(ambiguous_fraction * (len(found) - 1))) + 1
    wavering = found["variability"].sort_values(ascending=False).index[:n_ambiguous]
    regions = pd.Series(np.where(found["confidence"] >= confidence_threshold, "easy", "hard"), index=found.index)
    regions.loc[[name for name in wavering if found.loc[name, "variability"] >= 0.1]] = "ambiguous"
    return regions


def assert_refused(answer, code, *parts):
    """One sentence on stderr, starting with "error:" and holding the parts; no traceback, nothing on stdout."""
    found, out, err = answer
    assert (found, out) == (code, ""), err
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.startswith("error: ")
    assert err.count("error:") == 1
    for part in parts:
        assert part in last


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, demo_ids):
    """The demo data set in reverse order, 4 epochs."""
    return record(tmp_path_factory.mktemp("demo") / "recording", demo_ids[::-1], dynamics(len(demo_ids), 4))


@pytest.fixture(scope="module")
def small(tmp_path_factory, demo_ids):
    """90 examples of the demo data set, 4 epochs."""
    return record(tmp_path_factory.mktemp("small") / "recording", demo_ids[:90], dynamics(90, 4, seed=1))


@pytest.fixture(scope="module")
def analyzed(tmp_path_factory, recorded):
    """The output directory of the script with its defaults."""
    import analyze_cartography
    import helpers

    directory = tmp_path_factory.mktemp("analyzed") / "out"
    argv = ("--cartography_dir", recorded, "--output_dir", directory)
    assert helpers.run_script(analyze_cartography.main, list(map(str, argv))) == 0
    return directory


def test_the_files_of_the_contract_and_the_manifest_last(analyzed, recorded):
    assert {path.name for path in analyzed.iterdir()} == {*TABLES, *FIGURES, "report.html", "manifest.json"}
    written = {path.name: path.stat().st_mtime_ns for path in analyzed.iterdir()}  # in ticks, which files may share
    assert written["manifest.json"] == max(written.values())
    for name in FIGURES:
        assert (analyzed / name).read_bytes().startswith(b"\x89PNG")
    manifest, source = manifests.read_manifest(analyzed), recorded / "manifest.json"
    assert manifest["script"] == "analyze_cartography.py"
    assert manifest["made_from"] == {str(source): manifests.file_hash(source)}
    assert manifest["data"] == manifests.read_manifest(recorded)["data"]
    assert (manifest["task"], manifest["seed"], manifest["n_rows"]) == ("qa", 42, 720)
    assert manifest["arguments"]["n_examples"] == 10


def test_regions_equal_an_independent_computation_from_the_epoch_files(analyzed, recorded):
    table = read_table(analyzed)
    assert list(table.columns) == QA_COLUMNS
    assert table["id"].is_unique
    found = measured_independently(recorded)
    assert set(table["id"]) == set(found.index)
    table = table.set_index("id").loc[found.index]
    for name in found:
        # The two add the same float64 numbers in another order.
        np.testing.assert_allclose(table[name].astype(float), found[name].astype(float), rtol=1e-9, atol=1e-12)
    assert table["region"].tolist() == regions_independently(found).tolist()
    assert set(table["region"]) == {"easy", "ambiguous", "hard"}
    records = json.loads((recorded / "training_dynamics_epoch_1.json").read_text())
    windows = pd.DataFrame(records).set_index("id").loc[found.index]
    assert table["n_windows"].tolist() == windows["n_windows"].tolist()
    assert table["n_gold_windows"].tolist() == windows["n_gold_windows"].tolist()


@pytest.mark.usefixtures("blank_pictures")
def test_the_summary_on_stdout_equals_an_independent_computation(analyze, recorded, tmp_path):
    found = measured_independently(recorded)
    regions = regions_independently(found)
    lines = analyze("--cartography_dir", recorded, "--output_dir", tmp_path)[1].splitlines()
    names = ["confidence", "variability", "correctness", "forgetting_events", "aum", "loss"]
    assert lines[0].split() == ["count", "share", *names]
    assert [line.split()[0] for line in lines[1:5]] == ["easy", "ambiguous", "hard", "all"]
    for line in lines[1:5]:
        region, count, share, *means = line.split()
        part = found if region == "all" else found[regions == region]
        assert count == f"{len(part):,}"
        assert share == f"{100 * len(part) / len(found):.1f}%"
        assert [float(mean) for mean in means] == pytest.approx(part[names].mean().tolist(), abs=0.0005001)
    probs = [
        [record["gold_prob"] for record in json.loads(path.read_text())]
        for path in sorted(recorded.glob("training_dynamics_epoch_*.json"))
    ]
    assert lines[5:] == ["mean gold probability by epoch: " + " ".join(f"{np.mean(epoch):.3f}" for epoch in probs)]


def test_question_types_are_those_of_the_data_with_their_means(analyzed, recorded):
    from datamap.data.questions import question_type

    table, frame = read_table(analyzed), load("demo", "qa").frame.set_index("id")
    types = [question_type(frame.loc[identifier, "question"]) for identifier in table["id"]]
    assert table["question_type"].tolist() == types
    groups = read_table(analyzed, "question_type_analysis.csv").set_index("group")
    assert list(groups.columns) == [
        "grouping", "count", "share", "confidence", "variability", "correctness", "forgetting_events", "aum",
        "easy", "ambiguous", "hard",
    ]  # fmt: skip
    assert set(groups["grouping"]) == {"question_type"}
    assert groups["count"].to_dict() == pd.Series(types).value_counts().to_dict()
    assert groups["share"].sum() == pytest.approx(1)
    found = measured_independently(recorded).loc[table["id"]]
    means = found.groupby(types)[["confidence", "variability", "correctness", "forgetting_events", "aum"]].mean()
    np.testing.assert_allclose(groups.loc[means.index, means.columns], means, rtol=1e-9)
    shares = pd.crosstab(pd.Series(types), table["region"], normalize="index")
    np.testing.assert_allclose(groups.loc[shares.index, shares.columns], shares)


def test_a_rerun_rewrites_everything_with_the_same_tables(small, analyze, tmp_path):
    argv = ("--cartography_dir", small, "--output_dir", tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    first = analyze(*argv)
    assert first[0] == 0, first[2]
    before = {name: (tmp_path / name).read_bytes() for name in TABLES}
    stamps = {name: (tmp_path / name).stat().st_mtime_ns for name in (*TABLES, *FIGURES)}
    assert analyze(*argv)[:2] == first[:2]
    assert {name: (tmp_path / name).read_bytes() for name in TABLES} == before
    assert all((tmp_path / name).stat().st_mtime_ns > stamp for name, stamp in stamps.items())
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.usefixtures("blank_pictures")
def test_burn_in_leaves_out_the_first_epochs_everywhere(small, analyze, tmp_path):
    code, _, err = analyze("--cartography_dir", small, "--output_dir", tmp_path, "--burn_in", 1)
    assert code == 0, err
    assert "1 examples were not seen after the burn-in" in err
    warning = "Variability over fewer than 3 epochs means little"
    assert warning not in err
    found = measured_independently(small, first_epoch=2)
    table = read_table(tmp_path).set_index("id")
    assert len(found) == 89
    assert set(table.index) == set(found.index)
    for name in found:
        wanted = table.loc[found.index, name].astype(float)
        np.testing.assert_allclose(wanted, found[name].astype(float), rtol=1e-9, atol=1e-12)
    assert table.loc[found.index, "region"].tolist() == regions_independently(found).tolist()
    assert len(read_samples(tmp_path)["easy"]["extreme"][0]["gold_probs"]) == 3
    assert manifests.read_manifest(tmp_path)["n_rows"] == 89
    assert warning in analyze("--cartography_dir", small, "--output_dir", tmp_path, "--burn_in", 2)[2]


def test_a_burn_in_that_leaves_nothing_is_refused(small, analyze, tmp_path, demo_ids):
    argv = ("--cartography_dir", small, "--output_dir", tmp_path / "out", "--burn_in", 4)
    assert_refused(analyze(*argv), 2, "--burn_in 4 leaves none of the 4 epochs")
    epochs = dynamics(5, 2)
    for values in epochs[1].values():
        values[:] = np.nan
    record(tmp_path / "recording", demo_ids[:5], epochs)
    argv = ("--cartography_dir", tmp_path / "recording", "--output_dir", tmp_path / "out", "--burn_in", 1)
    assert_refused(analyze(*argv), 2, "--burn_in 1 leaves epochs without any record")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("blank_pictures")
def test_the_median_method_cuts_at_the_medians(small, analyze, tmp_path):
    code, out, _ = analyze("--cartography_dir", small, "--output_dir", tmp_path, "--region_method", "median")
    assert code == 0
    table = read_table(tmp_path)
    wavering = table["variability"] >= table["variability"].median()
    sure = table["confidence"] >= table["confidence"].median()
    expected = np.where(wavering, "ambiguous", np.where(sure, "easy", "hard"))
    assert table["region"].tolist() == expected.tolist()
    assert out.splitlines()[2].split()[:3] == ["ambiguous", "45", "50.0%"]
    thirds = regions_independently(measured_independently(small))
    assert (table.set_index("id")["region"].loc[thirds.index] != thirds).any()


@pytest.mark.parametrize(
    ("option", "value", "by_hand"),
    [
        ("--ambiguous_fraction", 0.1, {"ambiguous_fraction": 0.1}),
        ("--confidence_threshold", 0.9, {"confidence_threshold": 0.9}),
    ],
)
@pytest.mark.usefixtures("blank_pictures")
def test_the_thresholds_of_the_regions_act(option, value, by_hand, small, analyze, tmp_path):
    code, _, err = analyze("--cartography_dir", small, "--output_dir", tmp_path, option, value)
    assert code == 0, err
    found = measured_independently(small)
    expected = regions_independently(found, **by_hand)
    assert read_table(tmp_path).set_index("id").loc[found.index, "region"].tolist() == expected.tolist()
    assert (expected != regions_independently(found)).any()


def test_nli_is_grouped_by_label_negation_and_length(analyze, tmp_path):
    examples = load("demo:nli", "nli")
    frame = examples.frame.iloc[:200]
    record(tmp_path / "in", frame["id"].tolist(), dynamics(200, 3, "nli"), dataset="demo:nli", task="nli")
    code, _, err = analyze("--cartography_dir", tmp_path / "in", "--output_dir", tmp_path / "out")
    assert code == 0, err
    table = read_table(tmp_path / "out").set_index("id").loc[frame["id"]]
    groupings = ["gold_label", "negation", "hypothesis_length"]
    expected = [name for name in QA_COLUMNS[:-1] if name not in ("start_confidence", "end_confidence", "span_f1")]
    assert list(table.columns) == [*expected[1:], *groupings]
    assert table["gold_label"].tolist() == [examples.label_names[label] for label in frame["label"]]
    groups = read_table(tmp_path / "out", "question_type_analysis.csv")
    assert list(dict.fromkeys(groups["grouping"])) == groupings
    assert groups.groupby("grouping")["count"].sum().tolist() == [200] * 3
    shown = read_samples(tmp_path / "out")["easy"]["typical"][0]
    row = frame.set_index("id").loc[shown["id"]]
    assert (shown["premise"], shown["hypothesis"]) == (row["premise"], row["hypothesis"])
    assert shown["gold"] == examples.label_names[row["label"]]


def write_foreign(directory, guids, n_epochs=3):
    """allenai/cartography's layout, three classes, gold 0."""
    generator = np.random.default_rng(2)
    for number in range(n_epochs):
        logits = generator.normal(0, 2, (len(guids), 3)).tolist()
        rows = [
            {"guid": guid, f"logits_epoch_{number}": row, "gold": 0} for guid, row in zip(guids, logits, strict=True)
        ]
        outputs.write_jsonl(directory / "training_dynamics" / f"dynamics_epoch_{number}.jsonl", rows)
    return directory


def test_the_layout_of_allenai_cartography_needs_no_data_set(analyze, tmp_path):
    write_foreign(tmp_path / "log", list(range(50)))
    code, out, err = analyze("--cartography_dir", tmp_path / "log", "--output_dir", tmp_path / "out")
    assert code == 0, err
    assert "No --dataset was given" in err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    left_out = {"question_type_analysis.csv", "category_analysis.png"}
    assert names == {*TABLES, *FIGURES, "report.html", "manifest.json"} - left_out
    table = read_table(tmp_path / "out")
    assert table["id"].tolist() == [str(number) for number in range(50)]
    assert not {"question_type", "gold_label", "span_f1"} & set(table.columns)
    assert "question" not in read_samples(tmp_path / "out")["ambiguous"]["extreme"][0]
    assert manifests.read_manifest(tmp_path / "out")["made_from"] == {}
    assert out.splitlines()[-2].split()[:2] == ["all", "50"]


@pytest.mark.usefixtures("blank_pictures")
def test_the_layout_of_allenai_cartography_meets_its_data_set(analyze, tmp_path):
    ids = load("demo:nli", "nli").frame["id"].tolist()[:60]
    write_foreign(tmp_path / "log", ids)
    argv = ("--cartography_dir", tmp_path / "log" / "training_dynamics", "--output_dir", tmp_path / "out")
    code, _, err = analyze(*argv, "--dataset", "demo:nli")
    assert code == 0, err
    assert read_table(tmp_path / "out")["id"].tolist() == ids
    assert (tmp_path / "out" / "category_analysis.png").is_file()
    assert analyze(*argv)[0] == 0
    assert not (tmp_path / "out" / "category_analysis.png").exists()
    assert_refused(analyze(*argv, "--split", "train"), 2, "--split train", "give --dataset as well")


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["--region_method", "median", "--ambiguous_fraction", "0.2"], ["--ambiguous_fraction"]),
        (["--region_method", "median", "--confidence_threshold", "0.2"], ["--confidence_threshold"]),
        (["--region_method", "quartiles"], ["--region_method", "quartiles"]),
        (["--ambiguous_fraction", "1"], ["--ambiguous_fraction", "1.0 does not lie between 0 and 1"]),
        (["--confidence_threshold", "0"], ["--confidence_threshold", "0.0 does not lie between 0 and 1"]),
        (["--n_examples", "0"], ["--n_examples", "0 is not at least 1"]),
        (["--burn_in", "-1"], ["--burn_in"]),
        (["--seed", "x"], ["--seed", "'x' is not a whole number"]),
        (["--n_example", "3"], ["--n_example"]),
        (["--ambigous_fraction", "0.3"], ["--ambigous_fraction"]),
        (["stray"], ["stray"]),
    ],
)
def test_misuse_is_refused_with_the_name_of_the_flag(argv, parts, small, analyze, tmp_path):
    answer = analyze("--cartography_dir", small, "--output_dir", tmp_path / "out", *argv)
    assert_refused(answer, 2, *parts)
    assert not (tmp_path / "out").exists()


def test_bad_directories_are_refused_and_nothing_is_written(small, analyze, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    unfinished, changed, run = (tmp_path / name for name in ("unfinished", "changed", "run"))
    for directory in (unfinished, changed):
        shutil.copytree(small, directory)
    (unfinished / "manifest.json").unlink()
    (changed / "training_dynamics_epoch_3.json").write_text("[]")
    manifests.write_manifest(run, {"script": "run.py", "task": "qa"})
    reasons = {
        "missing": "there is no such directory",
        "file": "no such directory",
        "empty": "holds no recording",
        "unfinished": "holds an unfinished recording",
        "changed": "training_dynamics_epoch_3.json is not the file",
        "run": "holds no recording",
    }
    for name, reason in reasons.items():
        answer = analyze("--cartography_dir", tmp_path / name, "--output_dir", tmp_path / "out")
        assert_refused(answer, 1, name, reason)
    assert not (tmp_path / "out").exists()
    assert os.listdir(tmp_path / "empty") == []


def test_a_data_set_without_the_recorded_ids_is_refused(small, analyze, tmp_path, demo_ids):
    argv = ("--cartography_dir", small, "--output_dir", tmp_path / "out")
    n_shared = len(set(demo_ids[:90]) & set(load("demo:v2", "qa").frame["id"]))
    assert 0 < n_shared < 90
    assert_refused(
        analyze(*argv, "--dataset", "demo:v2"), 1, f"{n_shared} of the 90 ids asked for are there", "demo:v2"
    )
    assert_refused(analyze(*argv, "--split", "validation"), 1, "validation: 0 of the 90 ids asked for are there")
    assert_refused(analyze(*argv, "--split", "dev"), 1, "dev")
    assert_refused(analyze(*argv, "--dataset", "demo:nli"), 2, "demo:nli")
    assert not (tmp_path / "out").exists()


def test_a_data_set_file_that_is_gone_is_named(analyze, tmp_path, monkeypatch, demo_ids):
    record(tmp_path / "in", demo_ids[:4], dynamics(4, 2), dataset="data/rows.jsonl")
    monkeypatch.chdir(tmp_path)
    answer = analyze("--cartography_dir", "in", "--output_dir", "out")
    assert_refused(answer, 1, "data/rows.jsonl", str(tmp_path), "--dataset")
    assert not (tmp_path / "out").exists()


def test_an_output_directory_of_something_else_is_refused(small, analyze, tmp_path):
    copy, other, file = (tmp_path / name for name in ("copy", "other", "file"))
    shutil.copytree(small, copy)
    manifests.write_manifest(other, {"script": "run.py"})
    file.write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    argv = ("--cartography_dir", copy, "--output_dir")
    assert_refused(analyze(*argv, copy / ".." / "copy"), 2, "is --cartography_dir as well")
    assert_refused(analyze(*argv, other), 2, "holds the finished run of another script")
    assert_refused(analyze(*argv, file), 2, "is a file")
    assert_refused(analyze(*argv, file / "below"), 1, "could not be written")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("blank_pictures")
def test_the_report_names_what_it_cannot_show(small, analyze, tmp_path):
    shutil.copytree(small, tmp_path / "recording")
    (tmp_path / "recording" / "untracked_examples.csv").write_text("id,reason\nlost,too long\ngone,too long\n")
    argv = ("--cartography_dir", tmp_path / "recording", "--output_dir", tmp_path / "out", "--burn_in", 1)
    code, _, err = analyze(*argv)
    assert code == 0, err
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    head = json.loads(re.search('id="head-data">([^<]*)<', text)[1])
    assert head["warnings"][:2] == [
        "Left out of all metrics: the first 1 epoch of 4 (--burn_in), and 1 example not seen later.",
        "Not on this page: 2 examples without metrics, listed in untracked_examples.csv.",
    ]
    assert head["first_epoch"] == 2


def test_the_report_shows_this_sides_rows(small, analyze, tmp_path):
    argv = ("--cartography_dir", small, "--output_dir", tmp_path / "out")
    assert analyze(*argv, "--burn_in", 1)[0] == 0
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    packed = re.search(r'id="row-data">([^<]*)<', text)[1]
    rows = json.loads(gzip.decompress(base64.b64decode(packed)))
    table = read_table(tmp_path / "out", "cartography_regions.csv")
    assert rows["id"] == table["id"].tolist()
    confidence = next(column for column in rows["numbers"] if column["name"] == "confidence")
    assert confidence["values"] == pytest.approx(table["confidence"].tolist(), rel=1e-5)
    mean = np.nanmean(np.array(rows["gold_probs"], dtype=float) / 1000, axis=0)
    np.testing.assert_allclose(mean, table["confidence"], atol=5e-4)
    assert '"data-map"' in text
    assert analyze(*argv, "--report", "none")[0] == 0
    assert not (tmp_path / "out" / "report.html").exists()
