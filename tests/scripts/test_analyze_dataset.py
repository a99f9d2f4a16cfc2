"""analyze_dataset.py from the command line: the join against one by hand, every file of the contract, its no."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datamap.clusters import files
from datamap.data.examples import load_examples
from datamap.data.sources import open_source
from datamap.dynamics import recordings
from datamap.dynamics.measures import assign_regions, over_epochs
from datamap.files import manifests, outputs, pictures
from datamap.files.manifests import rows_fields
from tests.pages import report_data

METRICS = [
    "confidence", "variability", "correctness", "start_confidence", "end_confidence", "span_f1", "forgetting_events",
    "never_learnt", "threshold_closeness", "aum", "loss", "el2n", "num_epochs", "n_windows", "n_gold_windows",
]  # fmt: skip
CLUSTERS = ["cluster", "words", "cluster_probability", "x", "y", "assigned"]
QA_TEXTS = ["id", "text", "question", "context", "answer", "question_type"]
FIGURES = ("category_cluster_heatmap.png", "integrated_scatter.png", "metrics_by_cluster_boxplot.png")
BOTH = {
    "unified_analysis.csv", "unified_analysis.parquet", "category_cluster_overlap.csv",
    "cluster_cartography_stats.csv", "interesting_patterns.json", "report.html", "manifest.json", *FIGURES,
}  # fmt: skip
SIDE = {"unified_analysis.csv", "unified_analysis.parquet", "report.html", "manifest.json"}
WORDS = {0: "fever, ward, day", 1: "$dose, daily, “drug”", 2: "scan, bone, left"}
N_UNTRACKED = 3


@pytest.fixture
def analyze(capsys):
    """Run analyze_dataset.py in this process; returns (exit code, stdout, stderr)."""
    import analyze_dataset
    import helpers

    def call(*argv) -> tuple[int, str, str]:
        capsys.readouterr()
        code = helpers.run_script(analyze_dataset.main, [str(word) for word in argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def blank_pictures(monkeypatch):
    """Figures are built but not painted, which takes most of a run's time."""
    monkeypatch.setattr(pictures, "write_figure", lambda path, figure: path.write_bytes(b""))


def qa_rows(n_rows):
    """Raw QA rows whose texts hold everything that a table could break on."""
    rows = []
    for number in range(n_rows):
        context = (
            f'Note {number}:\r\n"the dose",\nwas $5 – \U0001f489, {"null" if number % 2 else "NA"}.\tIt was given.'
        )
        question = f'What, in "$" \U0001f600,\nwas it in {number}?' if number % 3 else "NA"
        answers = {"text": ["$5 – \U0001f489"], "answer_start": [context.index("$5")]}
        rows.append({"id": f"{number:04d}", "context": context, "question": question, "answers": answers})
    return rows


def nli_rows(n_rows):
    return [
        {"id": f"{number:04d}", "premise": f"The ward, {number}", "hypothesis": "No one\nslept", "label": number % 3}
        for number in range(n_rows)
    ]


def measures(generator, is_hard, task):
    """One epoch of an example-wise recording, float32 [n] by measure; the first examples were never seen."""
    prob = np.where(is_hard, generator.beta(1, 9, len(is_hard)), generator.beta(9, 1, len(is_hard)))
    prob = np.where(np.arange(len(is_hard)) % 5 == 0, generator.beta(1, 1, len(is_hard)), prob).clip(1e-4, 1 - 1e-4)
    epoch = {"gold_prob": prob, "correct": prob > 0.5, "margin": np.log(prob / (1 - prob)), "loss": -np.log(prob)}
    epoch["el2n"] = np.sqrt(2) * (1 - prob)
    if task == "qa":
        epoch |= {"start_prob": prob**0.3, "end_prob": prob**0.7, "span_f1": (1 + prob) / 2}
    epoch = {name: np.array(values, dtype=np.float32) for name, values in epoch.items()}
    for values in epoch.values():
        values[:N_UNTRACKED] = np.nan
    return epoch


def canonical(path, task, ids):
    """The rows of these ids as the suite reads them, in the data's order."""
    frame = load_examples(open_source(str(path), task), "train", task).frame
    return frame[frame["id"].isin(set(ids))]


def record(directory, ids, is_hard, rows, task="qa", n_epochs=4):
    """A finished recording as run.py writes it."""
    generator = np.random.default_rng(0)
    counts = {name: np.ones(len(ids), dtype=np.int64) for name in recordings.COUNTS}
    epochs = [measures(generator, is_hard, task) for _ in range(n_epochs)]
    hashes = {}
    for number, epoch in enumerate(epochs, start=1):
        path = recordings.epoch_path(directory, number)
        recordings.write_epoch(path, number, ids, epoch, counts)
        hashes[number] = manifests.file_hash(path)
    stacked = {name: np.stack([epoch[name] for epoch in epochs])[:, N_UNTRACKED:] for name in epochs[0]}
    metrics = over_epochs(stacked).assign(n_windows=1, n_gold_windows=1)
    metrics.insert(0, "id", ids[N_UNTRACKED:])
    recordings.write_metrics(directory, metrics, stacked["gold_prob"], stacked["correct"])
    untracked = pd.DataFrame(
        {"id": ids[:N_UNTRACKED], "reason": "no window, none", "n_windows": 1, "n_gold_windows": 0}
    )
    outputs.write_csv(directory / recordings.UNTRACKED, untracked)
    fields = {"script": "run.py", "task": task, "seed": 42, "data": {"train": rows}, "epoch_files": hashes}
    manifests.write_manifest(directory, fields | rows_fields(canonical(rows["dataset"], task, metrics["id"])))
    return directory


def save_clusters(directory, ids, clusters, rows, task="qa", words=WORDS):
    """A finished directory of cluster_analysis.py, its rows in another order than the recording's."""
    generator = np.random.default_rng(1)
    table = pd.DataFrame({"id": ids, "cluster": clusters})
    table["cluster_probability"] = np.where(table["cluster"] < 0, 0.0, generator.random(len(ids)))
    table["dim1"], table["dim2"] = generator.normal(size=(2, len(ids)))
    table["assigned"] = "clustered"
    sizes = table.loc[table["cluster"] >= 0, "cluster"].value_counts().sort_index()
    statistics = pd.DataFrame({"cluster": sizes.index, "size": sizes.to_numpy(), "share": sizes.to_numpy() / len(ids)})
    statistics = statistics.assign(persistence=0.5, mean_probability=0.5, n_approximate=0)
    files.write_clusters(directory, table.iloc[::-1], statistics.assign(words=[words[c] for c in sizes.index]), {})
    manifest = {"script": "cluster_analysis.py", "task": task, "seed": 42, "data": {"rows": rows}, "arguments": {}}
    fields = rows_fields(canonical(rows["dataset"], task, ids)) | {"ids_sha256": manifests.ids_hash(ids)}
    manifests.write_manifest(directory, manifest | {"n_rows": len(ids)} | fields)
    return directory


def described(path, ids):
    return {
        "dataset": str(path), "split": "train", "held_out": None, "n_rows": len(ids),
        "ids_sha256": manifests.ids_hash(ids),
    }  # fmt: skip


def build(directory, n_rows=120, task="qa"):
    """data.jsonl, recording/ and clusters/: of three clusters and noise, cluster 1 is mostly hard."""
    raw = qa_rows(n_rows) if task == "qa" else nli_rows(n_rows)
    outputs.write_jsonl(directory / "data.jsonl", raw)
    ids = [row["id"] for row in raw]
    clusters = np.array([(0, 0, 0, 1, 1, 2, -1)[number % 7] for number in range(n_rows)])
    is_hard = np.where(clusters == 1, np.arange(n_rows) % 4 > 0, np.arange(n_rows) % 11 == 0)
    rows = described(directory / "data.jsonl", ids)
    record(directory / "recording", ids, is_hard, rows, task)
    save_clusters(directory / "clusters", ids, clusters, rows, task)
    return directory


@pytest.fixture
def base(tmp_path):
    return build(tmp_path)


def predictions_of(directory, ids=None):
    """eval_predictions.jsonl of the data's rows (or of those of `ids`) and of one row more."""
    raw = [json.loads(line) for line in (directory / "data.jsonl").read_text("utf-8").splitlines()]
    path = directory / "eval" / "eval_predictions.jsonl"
    chosen = [row for row in raw if ids is None or row["id"] in ids] + [raw[0] | {"id": "elsewhere", "question": "?"}]
    answers = [
        {"predicted_answer": f"a\n{row['id']}", "predicted_start": 3, "predicted_score": 1.5, "em": 0.0, "f1": 0.25}
        for row in chosen
    ]
    outputs.write_jsonl(path, [row | answer for row, answer in zip(chosen, answers, strict=True)])
    return path


def sides(base):
    return ("--cartography_dir", base / "recording", "--cluster_dir", base / "clusters", "--output_dir", base / "out")


def read_csv(path):
    return pd.read_csv(path, dtype={"id": str}, keep_default_na=False)


def contents(directory):
    paths = [path for path in sorted(Path(directory).rglob("*")) if path.is_file()]
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def assert_refused(answer, code, *parts):
    """One sentence on stderr, starting with "error:" and holding the parts; no traceback, nothing on stdout."""
    found, out, err = answer
    assert (found, out) == (code, ""), err
    assert "Traceback" not in err
    assert err.count("error:") == 1
    last = err.splitlines()[-1]
    assert last.startswith("error: ")
    for part in parts:
        assert part in last


def joined_by_hand(base):
    """Every row of the cluster file with all that the other files say of its id, as a dict of Python values."""
    raw = {row["id"]: row for row in map(json.loads, (base / "data.jsonl").read_text("utf-8").splitlines())}
    metrics = pd.read_csv(base / "recording" / recordings.METRICS_CSV, dtype={"id": str})
    regions = assign_regions(metrics["confidence"].to_numpy(), metrics["variability"].to_numpy())
    by_id = {
        row["id"]: row | {"region": region} for row, region in zip(metrics.to_dict("records"), regions, strict=True)
    }
    table = pd.read_csv(base / "clusters" / "cluster_assignments.csv", dtype={"id": str})
    rows = []
    for assigned in table.to_dict("records"):
        text = raw[assigned["id"]]
        row = {"id": text["id"], "text": text["question"], "question": text["question"], "context": text["context"]}
        row |= {"answer": text["answers"]["text"][0], "question_type": "what" if "What" in row["text"] else "other"}
        row |= by_id.get(text["id"], dict.fromkeys(["region", *METRICS]))
        row["untracked_reason"] = None if text["id"] in by_id else "no window, none"
        row |= {"cluster": assigned["cluster"], "words": WORDS.get(assigned["cluster"], "")}
        row |= {"x": assigned["dim1"], "y": assigned["dim2"]}
        rows.append(row | {name: assigned[name] for name in ("cluster_probability", "assigned")})
    return rows


def plain_rows(frame):
    """A frame as dicts of Python values, None where one is missing."""
    return [
        {name: None if pd.isna(value) else value for name, value in row.items()} for row in frame.to_dict("records")
    ]


def test_both_sides_give_every_file_of_the_contract(analyze, base):
    code, out, err = analyze(*sides(base))
    assert (code, "120 rows met; 0 of the recording's" in err, "3 untracked examples have no" in err) == (0, True, True)
    directory = base / "out"
    assert {path.name for path in directory.iterdir()} == BOTH
    for name in FIGURES:
        assert (directory / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    unified = read_csv(directory / "unified_analysis.csv")
    assert list(unified.columns) == [
        *QA_TEXTS,
        "region",
        *METRICS,
        "untracked_reason",
        *CLUSTERS[:3],
        "x",
        "y",
        "assigned",
    ]
    overlap = read_csv(directory / "category_cluster_overlap.csv")
    assert list(overlap.columns) == ["cluster", "words", "region", "count", "share_of_cluster", "share_of_region"]
    stats = read_csv(directory / "cluster_cartography_stats.csv")
    assert list(stats["cluster"]) == [-1, 0, 1, 2]
    assert {"n_examples", "n_tracked", "mean_confidence", "median_aum", "hard", "never_learnt"} <= set(stats.columns)
    assert stats["n_examples"].tolist() == [17, 52, 34, 17]
    assert stats["n_tracked"].tolist() == [17, 49, 34, 17]
    assert stats[["easy", "ambiguous", "hard"]].sum(axis=1).tolist() == pytest.approx([1] * 4)
    patterns = json.loads((directory / "interesting_patterns.json").read_text("utf-8"))
    assert set(patterns) == {
        "n_examples", "n_tracked", "n_clusters", "n_tests", "false_discovery_rate", "findings",
    }  # fmt: skip
    for finding in patterns["findings"]:
        assert {"kind", "sentence", "example_ids"} < finding.keys()
        assert 1 <= len(finding["example_ids"]) <= 3
        assert set(finding["example_ids"]) <= set(unified["id"])
    manifest = manifests.read_manifest(directory)
    assert (manifest["script"], manifest["task"], manifest["n_rows"]) == ("analyze_dataset.py", "qa", 120)
    assert manifest["data"]["rows"] == described(base / "data.jsonl", unified["id"]) | {"columns": {}}
    assert set(manifest["made_from"]) == {str(base / name / "manifest.json") for name in ("recording", "clusters")}
    assert len(out.splitlines()) < 40


def test_the_unified_frame_is_the_join_by_hand(analyze, base, blank_pictures):
    assert analyze(*sides(base))[0] == 0
    expected = joined_by_hand(base)
    assert plain_rows(pd.read_parquet(base / "out" / "unified_analysis.parquet")) == expected
    from_csv = read_csv(base / "out" / "unified_analysis.csv")
    shown = pd.DataFrame({name: [row[name] for row in expected] for name in from_csv.columns}, dtype=object)
    for name in from_csv.columns:
        texts = ["" if value is None else str(value) for value in shown[name]]
        assert from_csv[name].astype(object).map(str).tolist() == texts, name


def test_the_parquet_file_opens_as_it_is(analyze, base, blank_pictures):
    import pyarrow.parquet

    assert analyze(*sides(base))[0] == 0
    table = pyarrow.parquet.read_table(base / "out" / "unified_analysis.parquet")
    types = {field.name: str(field.type) for field in table.schema}
    assert {types["x"], types["y"], types["confidence"]} == {"double"}
    assert (types["cluster"], types["forgetting_events"], types["never_learnt"]) == ("int64", "int64", "bool")
    assert {types["text"], types["id"], types["region"]} <= {"string", "large_string"}
    assert "__index_level_0__" not in types
    assert table["region"].null_count == table["confidence"].null_count == N_UNTRACKED


def test_the_hard_cluster_is_named_on_stdout_and_in_the_patterns(analyze, base, blank_pictures):
    _, out, _ = analyze(*sides(base))
    patterns = json.loads((base / "out" / "interesting_patterns.json").read_text("utf-8"))
    first = patterns["findings"][0]
    assert (first["kind"], first["cluster"], first["words"]) == ("more_hard_than_chance", 1, WORDS[1])
    assert first["q_value"] < 0.05
    assert f"- {first['sentence']}" in out.splitlines()
    assert out.splitlines()[0] == "120 examples, 117 with metrics, 103 in 3 clusters, 17 noise."


def test_the_recording_alone(analyze, base):
    code, out, err = analyze("--cartography_dir", base / "recording", "--output_dir", base / "out")
    assert (code, "One side alone" in err) == (0, True)
    names = SIDE
    assert {path.name for path in (base / "out").iterdir()} == names
    unified = pd.read_parquet(base / "out" / "unified_analysis.parquet")
    assert list(unified.columns) == [*QA_TEXTS, "region", *METRICS, "untracked_reason"]
    by_hand = {row["id"]: row for row in joined_by_hand(base)}
    expected = [{name: by_hand[i][name] for name in unified.columns} for i in unified["id"]]
    assert (len(expected), plain_rows(unified)) == (120, expected)
    assert out.splitlines()[0] == "120 examples, 117 with metrics."


def test_the_clusters_alone(analyze, base):
    code, out, _ = analyze("--cluster_dir", base / "clusters", "--output_dir", base / "out")
    names = {*SIDE, "cluster_cartography_stats.csv"}
    assert (code, {path.name for path in (base / "out").iterdir()}) == (0, names)
    unified = pd.read_parquet(base / "out" / "unified_analysis.parquet")
    assert list(unified.columns) == [*QA_TEXTS, *CLUSTERS[:3], "x", "y", "assigned"]
    stats = read_csv(base / "out" / "cluster_cartography_stats.csv")
    assert list(stats.columns) == ["cluster", "words", "n_examples", "share", "mean_cluster_probability"]
    assert out.splitlines()[0] == "120 examples, 103 in 3 clusters, 17 noise."


def test_one_side_after_both_leaves_nothing_stale(analyze, base, blank_pictures):
    assert analyze(*sides(base))[0] == 0
    assert analyze("--cluster_dir", base / "clusters", "--output_dir", base / "out")[0] == 0
    names = {*SIDE, "cluster_cartography_stats.csv"}
    assert {path.name for path in (base / "out").iterdir()} == names


def test_without_directories_the_defaults_are_taken_where_they_are(analyze, base, blank_pictures, monkeypatch):
    monkeypatch.chdir(base)
    assert_refused(analyze(), 2, "neither ./cartography_output nor ./cluster_output", "--cluster_dir")
    (base / "recording").rename("cartography_output")
    code, out, err = analyze()
    assert (code, "117 with metrics" in out, "clusters" in out.splitlines()[0]) == (0, True, False), err
    (base / "clusters").rename("cluster_output")
    code, out, err = analyze()
    assert (code, "117 with metrics" in out, "clusters" in out.splitlines()[0]) == (0, True, True), err
    assert manifests.read_manifest("integrated_analysis")["arguments"]["cluster_dir"] == "./cluster_output"
    code, out, _ = analyze("--cluster_dir", "cluster_output")  # what is named is all that is taken
    assert (code, "metrics" in out.splitlines()[0]) == (0, False)


def test_predictions_are_joined_by_id(analyze, base, blank_pictures):
    path = predictions_of(base)
    code, out, err = analyze(*sides(base), "--predictions", path)
    assert (code, "120 of 120 rows have a prediction; 1 more" in err) == (0, True)
    unified = read_csv(base / "out" / "unified_analysis.csv")
    assert list(unified.columns[-4:]) == ["predicted_answer", "predicted_score", "em", "f1"]
    assert unified["predicted_answer"].tolist() == [f"a\n{identifier}" for identifier in unified["id"]]
    assert read_csv(base / "out" / "cluster_cartography_stats.csv")["mean_f1"].tolist() == [0.25] * 4
    assert "0.250" in out
    assert f"{path} has no eval_manifest.json beside it, so its evaluation may be unfinished" in err


def test_the_manifest_names_the_evaluation_that_was_joined(analyze, base, blank_pictures):
    path = predictions_of(base)
    closing = path.parent / "eval_manifest.json"
    manifests.write_manifest(path.parent, {"data": {"eval": {}}}, name=closing.name)
    code, _, err = analyze(*sides(base), "--predictions", path)
    assert (code, "may be unfinished" in err) == (0, False)
    assert manifests.read_manifest(base / "out")["made_from"][str(closing)] == manifests.file_hash(closing)


def test_nli(analyze, tmp_path, blank_pictures):
    build(tmp_path, task="nli")
    raw = [json.loads(line) for line in (tmp_path / "data.jsonl").read_text("utf-8").splitlines()]
    names = ("entailment", "neutral", "contradiction")
    lines = [
        row | {"label_name": names[row["label"]], "predicted_label": "neutral", "predicted_scores": {"neutral": 1.0}}
        for row in raw
    ]
    outputs.write_jsonl(tmp_path / "predictions.jsonl", lines)
    code, _, err = analyze(*sides(tmp_path), "--predictions", tmp_path / "predictions.jsonl")
    assert code == 0, err
    unified = pd.read_parquet(tmp_path / "out" / "unified_analysis.parquet")
    texts = ["id", "text", "premise", "hypothesis", "gold_label", "negation", "hypothesis_length"]
    assert list(unified.columns[:7]) == texts
    assert "span_f1" not in unified
    assert unified["text"].tolist() == [f"The ward, {int(i)}\nNo one\nslept" for i in unified["id"]]
    assert set(unified["negation"]) == {"negation"}
    right = [1.0 if int(identifier) % 3 == 1 else 0.0 for identifier in unified["id"]]
    assert unified["predicted_correct"].tolist() == right


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


def test_the_same_seed_gives_the_same_files(analyze, base):
    assert analyze(*sides(base))[0] == 0
    before = contents(base / "out")
    assert analyze(*sides(base))[0] == 0
    assert contents(base / "out") == before


def test_the_summary_of_sixty_clusters_and_many_findings_is_short(analyze, tmp_path, blank_pictures):
    outputs.write_jsonl(tmp_path / "data.jsonl", qa_rows(1200))
    ids = [f"{number:04d}" for number in range(1200)]
    clusters = np.arange(1200) // 20
    rows = described(tmp_path / "data.jsonl", ids)
    record(tmp_path / "recording", ids, clusters % 3 == 0, rows)
    save_clusters(tmp_path / "clusters", ids, clusters, rows, words=[f"w{number}, a, b" for number in range(60)])
    code, out, err = analyze(*sides(tmp_path))
    assert code == 0, err
    assert len(out.splitlines()) < 40
    findings = json.loads((tmp_path / "out" / "interesting_patterns.json").read_text("utf-8"))["findings"]
    assert len(findings) > 20
    assert f"Findings (12 of {len(findings)};" in out


def test_clusters_without_coordinates_have_no_scatter(analyze, base, blank_pictures):
    path = base / "clusters" / "cluster_assignments.csv"
    outputs.write_csv(path, pd.read_csv(path, dtype={"id": str}).assign(dim1=np.nan, dim2=np.nan))
    code, _, err = analyze(*sides(base))
    assert (code, "there is no integrated_scatter.png" in err) == (0, True)
    assert not (base / "out" / "integrated_scatter.png").exists()
    assert pd.read_parquet(base / "out" / "unified_analysis.parquet")["x"].isna().all()


def test_all_noise_is_said(analyze, base):
    ids = [f"{number:04d}" for number in range(120)]
    save_clusters(base / "clusters", ids, [-1] * 120, described(base / "data.jsonl", ids))
    code, out, err = analyze(*sides(base))
    assert code == 0, err
    assert "There is no cluster: every example is noise." in out
    assert {path.name for path in (base / "out").iterdir()} == BOTH


def test_the_report_holds_the_joined_rows_and_the_recorded_probabilities(analyze, base, blank_pictures):
    assert analyze(*sides(base), "--predictions", predictions_of(base))[0] == 0
    head, rows = report_data(base / "out" / "report.html")
    unified = pd.read_parquet(base / "out" / "unified_analysis.parquet")
    findings = json.loads((base / "out" / "interesting_patterns.json").read_text("utf-8"))["findings"]
    assert head["title"] == "data.jsonl, train"
    assert head["findings"] == [finding["sentence"] for finding in findings]
    assert rows["id"] == unified["id"].tolist()
    assert rows["text"] == unified["question"].tolist()
    assert rows["predicted"] == unified["predicted_answer"].tolist()
    recorded = json.loads((base / "recording" / "cartography_metrics.json").read_text("utf-8"))
    by_id = {record["id"]: [round(1000 * prob) for prob in record["gold_probs"]] for record in recorded}
    assert list(zip(*rows["gold_probs"], strict=True)) == [tuple(by_id.get(i, [None] * 4)) for i in unified["id"]]


def test_more_examples_than_the_report_may_hold_are_drawn(analyze, base, blank_pictures):
    assert analyze(*sides(base), "--report_max_points", 40, "--seed", 7)[0] == 0
    head, rows = report_data(base / "out" / "report.html")
    assert head["sample_note"].startswith("The page shows 40 of 120 examples, drawn with seed 7")
    region = next(column for column in rows["categories"] if column["name"] == "region")
    drawn = pd.Series([region["names"][code] for code in region["codes"]]).value_counts()
    assert drawn["untracked"] == N_UNTRACKED
    assert len(rows["id"]) == 40 == drawn.sum()
    assert drawn.drop("untracked").max() - drawn.drop("untracked").min() <= 1


def test_report_none_leaves_it_out_and_removes_an_earlier_one(analyze, base, blank_pictures):
    assert analyze(*sides(base))[0] == 0
    assert analyze(*sides(base), "--report", "none")[0] == 0
    assert {path.name for path in (base / "out").iterdir()} == BOTH - {"report.html"}
    assert_refused(analyze(*sides(base), "--report", "none", "--report_max_points", 5), 2, "--report_max_points acts")
    assert_refused(analyze(*sides(base), "--report_max_points", 0), 2, "--report_max_points")
    assert_refused(analyze(*sides(base), "--report", "pdf"), 2, "--report")


def test_a_report_that_breaks_off_leaves_nothing_half_written(analyze, base, blank_pictures, monkeypatch):
    from datamap.report import page

    assert analyze(*sides(base))[0] == 0
    monkeypatch.setattr(page, "build_report", lambda *args, **settings: "x" * 100_000 + "\ud800")
    with pytest.raises(UnicodeEncodeError):
        analyze(*sides(base))
    names = {path.name for path in (base / "out").iterdir()}
    assert names == BOTH - {"report.html", "manifest.json"}


def test_the_manifest_is_written_after_the_report(analyze, base, blank_pictures, monkeypatch):
    order = []
    for owner, name in ((outputs, "write_text"), (manifests, "write_manifest")):
        real = getattr(owner, name)
        recorded = lambda *args, name=name, real=real: (order.append(name), real(*args))  # noqa: E731
        monkeypatch.setattr(owner, name, recorded)
    assert analyze(*sides(base))[0] == 0
    assert order == ["write_text", "write_manifest"]


def test_a_recording_without_probabilities_is_refused(analyze, base, blank_pictures):
    path = base / "recording" / "cartography_metrics.json"
    assert analyze(*sides(base))[0] == 0
    before = (base / "out" / "unified_analysis.csv").read_bytes()
    path.write_text('[{"id": "0003"}]', encoding="utf-8")
    assert_refused(analyze(*sides(base)), 1, str(path), "holds no gold probabilities", "KeyError")
    path.unlink()
    assert_refused(analyze(*sides(base)), 1, str(path), "does not exist")
    assert (base / "out" / "unified_analysis.csv").read_bytes() == before  # nothing is touched before all is read
    assert analyze(*sides(base), "--report", "none")[0] == 0
