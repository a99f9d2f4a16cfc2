"""The parts of the join: what a recording must hold, whose rows meet, tables against counting by hand, figures."""

import dataclasses
import math
import statistics

import pandas as pd
import pytest

from datamap.clusters.files import Clusters
from datamap.dynamics.measures import REGIONS
from datamap.errors import DataError
from datamap.files import manifests, outputs
from datamap.joint import plots
from datamap.joint.join import (
    Dynamics,
    cluster_stats,
    met_ids,
    overlap_table,
    read_dynamics,
    read_predictions,
    refuse_other_predictions,
    text_columns,
    unify,
)
from tests.rows import qa_frame

METRICS = pd.DataFrame(
    {
        "id": ["a", "0012", "null", "d"],
        "confidence": [0.9, 0.2, 0.6, 0.75],
        "variability": [0.05, 0.02, 0.4, 0.3],
        "correctness": [1.0, 0.0, 0.5, 0.75],
        "forgetting_events": [0, 0, 1, 2],
        "never_learnt": [False, True, False, False],
        "aum": [3.5, -2.25, 0.5, 1.0],
        "loss": [0.1, 1.75, 0.5, 0.25],
        "num_epochs": [4, 4, 4, 4],
    }
)
UNTRACKED = pd.DataFrame({"id": ["e"], "reason": ["too long, cut"], "n_windows": [2], "n_gold_windows": [0]})


def described(ids, **changes):
    rows = {"dataset": "data.json", "split": "train", "n_rows": len(ids), "ids_sha256": manifests.ids_hash(ids)}
    return {"task": "qa", "data": {"rows": rows | changes}}


def save_recording(directory, metrics=METRICS, untracked=UNTRACKED, ids=("a", "0012", "null", "d", "e")):
    outputs.write_csv(directory / "cartography_metrics.csv", metrics)
    outputs.write_csv(directory / "untracked_examples.csv", untracked)
    data = {"train": described(ids)["data"]["rows"]}
    manifests.write_manifest(directory, {"script": "run.py", "task": "qa", "data": data, "epoch_files": {"1": "0"}})
    return directory


def clusters_of(ids, numbers, **changes):
    table = pd.DataFrame({"id": ids, "cluster": numbers, "cluster_probability": [0.5] * len(ids)})
    table = table.assign(dim1=range(len(ids)), dim2=0.5, assigned="clustered")
    words = pd.DataFrame({"cluster": [0, 1], "words": ["x, y, z", "$a, b, c"]})
    return Clusters(table, words, {}, described(ids, **changes))


def test_a_recording_is_read_with_regions_and_whole_numbers(tmp_path):
    found = read_dynamics(save_recording(tmp_path))
    assert found.ids == ["a", "0012", "null", "d", "e"]
    # The top third by variability starts at 0.3, which is the 2/3 quantile of 0.02, 0.05, 0.3, 0.4.
    assert found.metrics["region"].tolist() == ["easy", "hard", "ambiguous", "ambiguous"]
    assert list(found.metrics.columns[:3]) == ["id", "region", "confidence"]
    assert found.metrics["forgetting_events"].dtype == "Int64"
    assert found.untracked.to_dict("records") == [{"id": "e", "reason": "too long, cut"}]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metrics": METRICS.assign(confidence=[0.9, math.nan, 0.5, 0.5])}, "1 rows hold metrics that are no"),
        ({"metrics": METRICS.assign(aum=["x", "y", "z", "1"])}, "'x' in row 1 of the column aum is no number"),
        ({"metrics": METRICS.assign(aum=[math.nan] * 3 + [1])}, "hold metrics that are no numbers (a, 0012, null):"),
        ({"metrics": METRICS.assign(loss=math.inf)}, "4 rows hold metrics that are no numbers (a, 0012, null, …)"),
        ({"metrics": METRICS.drop(columns="aum")}, "no column aum"),
        ({"metrics": METRICS.iloc[:3]}, "do not hold the ids"),
        ({"metrics": METRICS.iloc[[0, 0, 1, 2, 3]]}, "do not hold the ids"),
        ({"untracked": UNTRACKED.assign(id="f")}, "do not hold the ids"),
        ({"metrics": METRICS.iloc[:0], "ids": ("e",)}, "no metrics of any example"),
    ],
)  # fmt: skip
def test_files_that_do_not_belong_to_the_recording_are_refused(tmp_path, changes, words):
    with pytest.raises(DataError) as caught:
        read_dynamics(save_recording(tmp_path, **changes))
    assert words in str(caught.value)


def test_recordings_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(DataError, match="there is no such directory"):
        read_dynamics(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no finished recording"):
        read_dynamics(tmp_path)
    (save_recording(tmp_path) / "cartography_metrics.csv").unlink()
    with pytest.raises(DataError, match="cartography_metrics.csv cannot be read"):
        read_dynamics(tmp_path)
    (tmp_path / "cartography_metrics.csv").write_bytes(b"id,\xff\xfe\n1")
    with pytest.raises(DataError, match="cartography_metrics.csv cannot be read"):
        read_dynamics(tmp_path)


def test_rows_meet_in_the_order_of_the_clusters(tmp_path, caplog):
    caplog.set_level("INFO", logger="datamap.joint.join")
    dynamics = read_dynamics(save_recording(tmp_path))
    ids = ["e", "null", "a", "d", "0012"]
    assert met_ids(dynamics, clusters_of(ids, [0] * 5), False) == ids
    assert met_ids(dynamics, clusters_of(["e", "x", "a"], [0] * 3), True) == ["e", "a"]
    left_out = "rows met; %d of the recording's or the clusters' rows are left out."
    assert [f"5 {left_out % 0}", f"2 {left_out % 4}"] == [record.getMessage() for record in caplog.records]


def test_clusters_of_some_of_the_rows_are_refused(tmp_path):
    """A sample of the recorded rows: its manifest speaks of the same data, and still not all rows meet."""
    dynamics = read_dynamics(save_recording(tmp_path))
    sampled = clusters_of(["e", "a"], [0, 0], ids_sha256=manifests.ids_hash(dynamics.ids))
    with pytest.raises(DataError, match="share 2 ids, so they were made from different data"):
        met_ids(dynamics, sampled, False)
    assert met_ids(dynamics, sampled, True) == ["e", "a"]


def test_a_change_of_name_alone_is_said_and_accepted(tmp_path, caplog):
    dynamics = read_dynamics(save_recording(tmp_path))
    assert len(met_ids(dynamics, clusters_of(dynamics.ids, [0] * 5, dataset="moved.json"), False)) == 5
    assert "moved.json" in caplog.text


def unified_example():
    ids = ["a", "0012", "null", "d", "e"]
    texts = pd.DataFrame({"id": ids, "text": ["t"] * 5})
    metrics = METRICS.assign(region=["easy", "hard", "ambiguous", "ambiguous"])
    dynamics = Dynamics(metrics, UNTRACKED[["id", "reason"]], {})
    clusters = clusters_of(["e", "d", "null", "0012", "a"], [1, -1, 0, 0, 0])
    predictions = pd.DataFrame(
        {"id": ["a", "d"], "predicted_answer": ["p", "q"], "em": [1.0, 0.0], "question": ["", ""]}
    )
    return unify(texts, dynamics, clusters, predictions)


def test_unify_keeps_the_order_of_the_texts_and_leaves_unknown_cells_empty():
    unified = unified_example()
    assert unified["id"].tolist() == ["a", "0012", "null", "d", "e"]
    assert unified["words"].tolist() == ["x, y, z", "x, y, z", "x, y, z", "", "$a, b, c"]
    assert unified["x"].tolist() == [4, 3, 2, 1, 0]
    assert unified["confidence"].tolist()[:4] == METRICS["confidence"].tolist()
    assert unified.loc[4, ["region", "confidence", "aum"]].isna().all()
    assert unified["untracked_reason"].fillna("-").tolist() == ["-"] * 4 + ["too long, cut"]
    assert unified["predicted_answer"].fillna("-").tolist() == ["p", "-", "-", "q", "-"]
    assert "question" not in unified


def test_an_id_that_stands_twice_never_multiplies_rows():
    texts = pd.DataFrame({"id": ["a", "a"], "text": ["t", "u"]})
    with pytest.raises(pd.errors.MergeError):
        unify(texts, None, clusters_of(["a"], [0]), None)


def test_the_overlap_is_that_of_counting():
    unified = unified_example()
    rows = list(zip(unified["cluster"], unified["region"].fillna(""), strict=True))
    table = overlap_table(unified)
    assert table["cluster"].tolist() == [number for number in (-1, 0, 1) for _ in REGIONS]
    for row in table.to_dict("records"):
        count = rows.count((row["cluster"], row["region"]))
        in_cluster = sum(cluster == row["cluster"] and region != "" for cluster, region in rows)
        in_region = sum(region == row["region"] for _, region in rows)
        assert row["count"] == count
        assert row["share_of_region"] == count / in_region
        assert math.isnan(row["share_of_cluster"]) if in_cluster == 0 else row["share_of_cluster"] == count / in_cluster
    assert table.groupby("region")["share_of_region"].sum().tolist() == [1, 1, 1]


def test_the_statistics_of_a_cluster_are_those_of_its_rows():
    stats = cluster_stats(unified_example()).set_index("cluster")
    assert stats.index.tolist() == [-1, 0, 1]
    assert stats["n_examples"].tolist() == [1, 3, 1]
    assert stats["n_tracked"].tolist() == [1, 3, 0]
    assert stats["share"].tolist() == [0.2, 0.6, 0.2]
    members = METRICS.iloc[:3]
    for name in ("confidence", "variability", "correctness", "forgetting_events", "aum", "loss"):
        assert stats.loc[0, f"mean_{name}"] == pytest.approx(statistics.fmean(members[name]))
        assert stats.loc[0, f"median_{name}"] == statistics.median(members[name])
        assert math.isnan(stats.loc[1, f"mean_{name}"])
    assert stats.loc[0, ["easy", "ambiguous", "hard", "never_learnt"]].tolist() == pytest.approx([1 / 3] * 4)
    assert stats.loc[-1, ["easy", "ambiguous", "hard", "mean_em"]].tolist() == [0, 1, 0, 0]
    assert stats.loc[0, "mean_em"] == 1


def test_predicted_labels_are_held_against_the_labels(tmp_path):
    (tmp_path / "p.jsonl").write_text(
        '{"id": "NA", "predicted_label": "neutral", "label_name": "neutral", "hypothesis": "h", "more": 1}\n'
        '{"id": "b", "predicted_label": "neutral", "label_name": "null", "hypothesis": "null"}\n'
    )
    assert read_predictions(tmp_path / "p.jsonl", "nli").to_dict("split") == {
        "index": [0, 1], "columns": ["id", "predicted_label", "predicted_correct", "hypothesis"],
        "data": [["NA", "neutral", 1.0, "h"], ["b", "neutral", 0.0, "null"]],
    }  # fmt: skip
    with pytest.raises(DataError, match=r"p\.jsonl, line 1: not a prediction with id, predicted_answer"):
        read_predictions(tmp_path / "p.jsonl", "qa")


def test_predictions_with_an_id_twice_are_refused(tmp_path):
    line = {"id": "a", "predicted_answer": "p", "predicted_score": 1.0, "em": 1.0, "f1": 1.0, "question": "?"}
    outputs.write_jsonl(tmp_path / "twice.jsonl", [line, line])
    with pytest.raises(DataError, match="the id a twice"):
        read_predictions(tmp_path / "twice.jsonl", "qa")
    with pytest.raises(DataError, match="cannot be read"):
        read_predictions(tmp_path / "nowhere.jsonl", "qa")


def test_predictions_of_no_row_are_refused_even_when_partial():
    texts = pd.DataFrame({"id": ["a"], "question": ["?"]})
    predictions = pd.DataFrame({"id": ["b"], "question": ["?"]})
    with pytest.raises(DataError, match="hold 0 of the 1 ids"):
        refuse_other_predictions(texts, predictions, "qa", True)


def test_an_unanswerable_question_has_an_empty_answer():
    @dataclasses.dataclass
    class Rows:
        frame: pd.DataFrame
        label_names: tuple = ()

    frame = qa_frame(("He took it.", "Who took it?", ["He"], [0]), ("Nothing.", "Why?", [], []))
    assert text_columns(Rows(frame)).to_dict("records") == [
        {"id": "0", "text": "Who took it?", "question": "Who took it?", "context": "He took it.", "answer": "He",
         "question_type": "who"},
        {"id": "1", "text": "Why?", "question": "Why?", "context": "Nothing.", "answer": "", "question_type": "why"},
    ]  # fmt: skip


def many_clusters(n_clusters):
    """Clusters of 10 examples each with words that would be a formula; cluster 3 all hard, cluster 7 never."""
    cluster = [number for number in range(n_clusters) for _ in range(10)]
    region = [
        "hard" if number == 3 or (number != 7 and place < 2) else "easy"
        for number in range(n_clusters)
        for place in range(10)
    ]
    frame = pd.DataFrame({"id": [f"{row:04d}" for row in range(len(cluster))], "cluster": cluster, "region": region})
    words = [f"$x_{number}, b, c$" for number in cluster]
    metrics = {"confidence": 0.5, "variability": 0.1, "correctness": 1.0}
    return frame.assign(words=words, x=frame.index % 37.0, y=frame.index % 11.0, **metrics)


def texts_of(figure):
    from matplotlib.text import Text

    figure.canvas.draw()
    return [(text.get_text(), text.get_parse_math()) for text in figure.findobj(Text) if text.get_text()]


def test_the_clusters_farthest_from_chance_are_shown_hardest_first():
    frame = many_clusters(60)
    chosen = plots.shown_clusters(frame)
    assert (len(chosen), chosen[0], chosen[-1]) == (20, 3, 7)
    # All others are equally far, so they come by number.
    assert chosen[1:-1] == [0, 1, 2, 4, 5, 6, *range(8, 20)]
    with_noise = frame.assign(cluster=frame["cluster"].replace(3, -1))
    assert 3 not in plots.shown_clusters(with_noise)
    assert -1 not in plots.shown_clusters(with_noise)


@pytest.mark.parametrize("name", ["category_cluster_heatmap", "metrics_by_cluster_boxplot"])
def test_figures_say_which_clusters_they_show(name):
    found = texts_of(getattr(plots, name)(many_clusters(60)))
    assert [words for words, _ in found if words.startswith("20 of 60 clusters: those whose number of hard")]
    assert ("3: $x_3, b, c$ (10)", False) in found
    assert not [words for words, _ in found if words.startswith("40: ")]
    found = texts_of(getattr(plots, name)(many_clusters(20)))
    assert [words for words, _ in found if words.startswith("all 20 clusters")]


def test_the_heatmap_holds_counts_and_shares():
    found = [words for words, _ in texts_of(plots.category_cluster_heatmap(many_clusters(20)))]
    assert found.count("100% (10)") == 2
    assert found.count("20% (2)") == 18
    assert "23% (46)" in found
    assert "all (200)" in found


def test_the_scatter_draws_each_example_once_whatever_the_order_of_the_rows():
    frame = many_clusters(20)
    frame.loc[:4, ["region", "confidence"]] = [None, math.nan]
    figure = plots.integrated_scatter(frame, seed=1)
    left, right = figure.axes[:2]
    assert [len(points.get_offsets()) for points in left.collections] == [5, 195]
    assert [len(points.get_offsets()) for points in right.collections] == [5, 195]
    again = plots.integrated_scatter(frame.sample(frac=1, random_state=0), seed=1)
    assert (again.axes[0].collections[1].get_offsets() == left.collections[1].get_offsets()).all()
    numbers = {words for words, _ in texts_of(figure)}
    assert {str(cluster) for cluster in range(20)} <= numbers
    assert {"hard-to-learn (44)", "untracked (5)", "examples: 200; numbers: 20 of 20 clusters"} <= numbers


def test_many_points_are_sampled_and_that_is_said(monkeypatch):
    monkeypatch.setattr(plots, "MAX_POINTS", 50)
    figure = plots.integrated_scatter(many_clusters(60), seed=7)
    assert len(figure.axes[0].collections[1].get_offsets()) == 50
    assert [words for words, _ in texts_of(figure) if words.startswith("50 of 600 examples drawn, seed 7; numbers: 20")]
