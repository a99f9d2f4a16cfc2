"""Recordings, clusters and predictions of the same rows, made by hand, and their join by hand."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from datamap.clusters import files
from datamap.data.examples import load_examples
from datamap.data.sources import open_source
from datamap.dynamics import recordings
from datamap.dynamics.measures import assign_regions, over_epochs
from datamap.files import manifests, outputs
from datamap.files.manifests import rows_fields

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
