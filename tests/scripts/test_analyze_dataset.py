"""analyze_dataset.py from the command line: the join against one by hand, every file of the contract, its no."""

import json

import numpy as np
import pandas as pd
import pytest
from pyarrow.parquet import ParquetFile

import analyze_dataset
from datamap.files import manifests, outputs
from tests.pages import report_data
from tests.sides import (
    BOTH,
    CLUSTERS,
    FIGURES,
    METRICS,
    N_UNTRACKED,
    QA_TEXTS,
    SIDE,
    WORDS,
    assert_refused,
    build,
    contents,
    described,
    joined_by_hand,
    plain_rows,
    predictions_of,
    qa_rows,
    read_csv,
    record,
    save_clusters,
    sides,
)


def test_parquet_in_parts_reads_as_if_it_were_written_at_once(tmp_path, monkeypatch):
    frame = pd.DataFrame(
        {
            "id": ["1", "2", "3", "4", "5"],
            "late": [None, None, None, "é", None],  # a part without any value
            "never": [None] * 5,
            "share": [0.5, np.nan, 1.0, np.nan, np.nan],
            "count": pd.array([1, None, 3, None, 5], dtype="Int64"),
            "region": pd.Categorical(["easy", None, "hard", "hard", "easy"]),
            "answers": [["a", "b"], [], None, ["c"], []],
        }
    )
    monkeypatch.setattr(analyze_dataset, "PARQUET_ROWS", 2)
    analyze_dataset.write_parquet(tmp_path / "parts.parquet", frame)
    frame.to_parquet(tmp_path / "whole.parquet", index=False)
    parts, whole = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("parts", "whole"))
    pd.testing.assert_frame_equal(parts, whole)
    assert ParquetFile(tmp_path / "parts.parquet").num_row_groups == 3


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


def suspects_of(directory, base, **changes):
    """A finished run of find_label_errors.py about the rows of `base`, the last one without a rank."""
    rows = [json.loads(line) for line in (base / "data.jsonl").read_text("utf-8").splitlines()]
    table = pd.DataFrame({"id": [row["id"] for row in rows], "rank": range(1, len(rows) + 1)})
    table["score"] = 1 - table["rank"] / (len(rows) + 1)
    table["kind"], table["proposal"] = "place", [f"p\n{row['id']}" for row in rows]
    table["proposal_prob"] = [0.5 if place % 2 else np.nan for place in range(len(rows))]
    table["question"] = [row["question"] for row in rows]
    table.loc[len(rows) - 1, ["rank", "score"]] = np.nan
    outputs.write_csv(directory / "label_errors.csv", table.assign(**changes))
    manifests.write_manifest(directory, {"script": "find_label_errors.py"})
    return table


def test_suspects_are_joined_by_id(analyze, base, blank_pictures):
    table = suspects_of(base / "suspects", base).set_index("id")
    code, _, err = analyze(*sides(base), "--label_errors_dir", base / "suspects")
    assert code == 0, err
    unified = pd.read_parquet(base / "out" / "unified_analysis.parquet")
    assert f"{len(unified)} of {len(unified)} rows are among the suspects" in err
    assert unified["suspicion_rank"].dropna().tolist() == table.loc[unified["id"], "rank"].dropna().tolist()
    expected = [text if prob == prob else None for text, prob in
                table.loc[unified["id"], ["proposal", "proposal_prob"]].itertuples(index=False)]  # fmt: skip
    assert [None if pd.isna(text) else text for text in unified["proposal"]] == expected
    assert "suspicion_kind" in report_data(base / "out" / "report.html")[1]["categories"][-2]["name"]


def test_suspects_of_other_data_are_refused(analyze, base):
    argv = [*sides(base), "--label_errors_dir", base / "suspects"]
    assert_refused(analyze(*argv), 1, "there is no such directory")
    (base / "suspects").mkdir()
    assert_refused(analyze(*argv), 1, "holds no finished run of find_label_errors.py")
    suspects_of(base / "suspects", base, question="other")
    assert_refused(analyze(*argv), 1, "--label_errors_dir is of other data", "have another question there")
    assert not (base / "out").exists()
