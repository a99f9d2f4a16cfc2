"""Columns of other names: those that are known, and --columns for all others, through the whole chain."""

import csv
import json

import datasets
import pandas as pd
import pytest

import helpers
from datamap.data import sources
from datamap.data.columns import nearest_first, renamed
from datamap.data.examples import load_examples
from datamap.errors import DataError, UsageError

TEXT = "The pump runs at 40 bar. Use oil type B."
ROW = {"q": "What pressure?", "passage": TEXT, "ans": "40 bar", "from": 17, "key": "k1"}
COLUMNS = {"question": "q", "context": "passage", "answers": "ans", "answer_start": "from", "id": "key"}


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_rows(path, rows):
    if path.suffix == ".csv":
        write_csv(path, rows)
    elif path.suffix == ".parquet":
        datasets.Dataset.from_list(rows).to_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        datasets.DatasetDict(train=datasets.Dataset.from_list(rows)).save_to_disk(path)


def read(path, task="qa", columns=None):
    return load_examples(sources.open_source(str(path), task, columns), "train", task)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "saved"])
def test_columns_give_every_column_by_its_role(tmp_path, name):
    write_rows(tmp_path / name, [ROW | {"context": "not this one"}])
    examples = read(tmp_path / name, columns=COLUMNS)
    assert examples.frame.to_dict("records") == [
        {
            "id": "k1",
            "context": TEXT,
            "question": "What pressure?",
            "answers": {"text": ["40 bar"], "answer_start": [17]},
            "usable_for_training": True,
            "source_context": "not this one",
        }
    ]
    assert examples.columns == COLUMNS
    assert examples.problems.empty


def test_names_match_without_regard_to_case(tmp_path):
    write_rows(tmp_path / "a.csv", [{"Q": "?", "Passage": TEXT, "answers": "pump"}])
    assert read(tmp_path / "a.csv", columns={"question": "q", "context": "passage"}).frame["question"].tolist() == ["?"]


def test_answers_beside_their_starts(tmp_path):
    row = {"context": "See [**B**] at 40 bar.", "question": "?"}
    whole = "{'text': ['bar'], 'answer_start': [18]}"
    pairs = [("bar", "18"), ("[**B**]", "4"), ("", ""), (whole, "")]
    write_rows(tmp_path / "a.csv", [row | {"answers": text, "answer_start": start} for text, start in pairs])
    examples = read(tmp_path / "a.csv")
    assert examples.frame["answers"].tolist() == [
        {"text": ["bar"], "answer_start": [18]},
        {"text": ["[**B**]"], "answer_start": [4]},
        {"text": [], "answer_start": []},
        {"text": ["bar"], "answer_start": [18]},
    ]
    assert "answer_start" not in examples.frame
    assert examples.problems.empty
    write_rows(tmp_path / "a.jsonl", [row | {"answers": ["bar", "See"], "answer_start": [18, 0]}])
    assert read(tmp_path / "a.jsonl").frame["answers"].tolist() == [{"text": ["bar", "See"], "answer_start": [18, 0]}]


def test_haystack_rows_are_answers_in_flat_columns(tmp_path):
    row = {"document_id": 3, "context": TEXT, "question": "What?", "text": "40 bar", "answer_start": 17}
    write_rows(tmp_path / "a.csv", [row | {"answer_end": 23}, row | {"question": "Else?", "answer_end": 23}])
    examples = read(tmp_path / "a.csv")
    assert examples.frame["answers"].tolist() == [{"text": ["40 bar"], "answer_start": [17]}] * 2
    assert examples.frame["document_id"].tolist() == ["3", "3"]
    assert examples.problems.empty
    assert set(examples.frame["id"]).isdisjoint({"3"})
    write_rows(tmp_path / "b.csv", [{"context": TEXT, "question": "What?", "text": "a remark"}])
    with pytest.raises(DataError, match="column answers is missing; found context, question, text"):
        read(tmp_path / "b.csv")


def test_anli_and_wanli(tmp_path):
    anli = [
        {"uid": f"u{n}", "context": f"Premise {n}.", "hypothesis": "So.", "label": "enC"[n], "reason": ""}
        for n in range(3)
    ]
    write_rows(tmp_path / "anli.jsonl", anli)
    examples = read(tmp_path / "anli.jsonl", "nli")
    assert examples.label_names == ("entailment", "neutral", "contradiction")
    assert examples.frame[["id", "premise", "label"]].values.tolist() == [
        ["u0", "Premise 0.", 0], ["u1", "Premise 1.", 1], ["u2", "Premise 2.", 2],
    ]  # fmt: skip
    write_rows(tmp_path / "wanli.jsonl", [{"id": 7, "premise": "p", "hypothesis": "h", "gold": "neutral"}])
    assert read(tmp_path / "wanli.jsonl", "nli").frame[["id", "label"]].values.tolist() == [["7", 0]]


@pytest.mark.parametrize("name", ["qid", "UID", "guid", "pairID", "pair_ID", "question_id"])
def test_ids_of_other_names_are_taken_where_every_row_has_its_own(tmp_path, name):
    row = {"context": TEXT, "question": "?", "answers": "pump"}
    write_rows(tmp_path / "a.csv", [row | {name: "007"}, row | {name: "NA"}])
    examples = read(tmp_path / "a.csv")
    assert examples.frame["id"].tolist() == ["007", "NA"]
    assert name not in examples.frame
    for values in (("007", "007"), ("007", "")):
        write_rows(tmp_path / "a.csv", [row | {name: value} for value in values])
        assert [len(i.partition("-")[0]) for i in read(tmp_path / "a.csv").frame["id"]] == [16, 16]
    write_rows(tmp_path / "a.csv", [row | {name: "007", "id": "own"}])
    assert read(tmp_path / "a.csv").frame["id"].tolist() == ["own"]


def test_the_label_column_asked_for_brings_its_own_class_names(tmp_path):
    text = datasets.Value("string")
    features = datasets.Features(
        premise=text, hypothesis=text, label=datasets.ClassLabel(names=["a", "b"]),
        verdict=datasets.ClassLabel(names=["yes", "no"]),
    )  # fmt: skip
    rows = {"premise": ["p"], "hypothesis": ["h"], "label": [0], "verdict": [1]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "saved")
    assert read(tmp_path / "saved", "nli").label_names == ("a", "b")
    examples = read(tmp_path / "saved", "nli", {"label": "verdict"})
    assert (examples.label_names, examples.frame["label"].tolist()) == (("yes", "no"), [1])


@pytest.mark.parametrize(
    ("columns", "error", "sentence"),
    [
        (
            {"question": "querry"},
            DataError,
            "--columns question=querry, but there is no column 'querry'; found query, ",
        ),
        (
            {"premise": "query"},
            UsageError,
            "--columns premise=query: the columns of --task qa are id, context, question",
        ),
        (
            {"question": "text", "context": "TEXT"},
            UsageError,
            "--columns question=TEXT context=TEXT: a column has one role; name another one.",
        ),
        ({"context": "text"}, DataError, "column question is missing; found .* question=NAME"),
    ],
)
def test_columns_that_do_not_fit_are_one_sentence(tmp_path, columns, error, sentence):
    row = {f"other_{n}": "x" for n in range(20)} | {"text": TEXT, "query": "?"}
    write_rows(tmp_path / "a.csv", [row])
    with pytest.raises(error, match=sentence) as caught:
        read(tmp_path / "a.csv", columns=columns)
    assert len(str(caught.value)) - len(str(tmp_path)) < 300


def test_one_side_of_an_nli_row_needs_the_other():
    frame = pd.DataFrame({"sentence1": ["a"], "sentence2": ["b"], "text": ["c"], "label": [0]})
    with pytest.raises(DataError, match="column hypothesis is missing; .* --columns hypothesis=NAME"):
        renamed(frame, {"premise": "text"}, "x")


def test_few_of_many_columns_are_listed_the_likeliest_first():
    assert nearest_first(["b", "a"], ["context"]) == "b, a"
    listed = nearest_first([f"x{n}" for n in range(30)] + ["contexts"], ["context"])
    assert listed == "contexts, x0, x1, x2, x3, x4, and 25 more"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["question"], "question: give ROLE=NAME"),
        (["=q"], "=q: give ROLE=NAME"),
        (["question=q", "question=r"], "question=r: question is given twice"),
        (["question=q", "context=Q"], "context=Q: Q is given twice"),
    ],
)
def test_columns_are_pairs_of_two_names(words, sentence):
    from datamap.options.arguments import build_parser

    with pytest.raises(UsageError, match=sentence):
        build_parser().parse_known_args(["--columns", *words])


def test_later_scripts_refuse_columns_without_a_data_set():
    import analyze_cartography
    import analyze_dataset
    import cluster_analysis
    import extract_embeddings

    for script in (analyze_cartography, analyze_dataset, cluster_analysis, extract_embeddings):
        argv = ["--cartography_dir", "c"] if script is analyze_dataset else []
        with pytest.raises(UsageError, match="--columns acts with --dataset"):
            script.parse_arguments([*argv, "--columns", "question=q"])


def test_the_chain_goes_on_with_the_columns_of_the_training(tmp_path, tiny_model, command):
    import analyze_cartography
    import analyze_dataset
    import cluster_analysis
    import extract_embeddings

    rows = [{"q": f"What is number {n}?", "passage": f"Number {n} is pump {n}.", "ans": f"pump {n}"} for n in range(24)]
    write_csv(tmp_path / "own.csv", rows)
    model, recording = tmp_path / "model", tmp_path / "recording"
    argv = ("--dataset", tmp_path / "own.csv", "--no_cuda")
    words = ("--columns", "question=q", "context=passage", "answers=ans")
    training = ("--do_train", "--model", tiny_model, "--output_dir", model, "--num_train_epochs", 1, *argv)
    code, _, err = command(*training)
    assert (code, "column context, question is missing; found q, passage, ans" in err) == (1, True)
    assert "--columns context=NAME" in err
    code, _, err = command(*training, *words, "--enable_cartography", "--cartography_output_dir", recording)
    assert code == 0, err
    code, _, err = command(
        "--do_eval", "--model", model, "--output_dir", tmp_path / "evaluated", "--eval_split", "train", *argv
    )
    assert code == 0, err
    assert "is read as --model read it: --columns question=q context=passage answers=ans" in err

    def later(script, *argv):
        assert helpers.run_script(script.main, [str(word) for word in argv]) == 0

    later(analyze_cartography, "--cartography_dir", recording, "--output_dir", tmp_path / "analysis")
    embedded, clusters = tmp_path / "embedded", tmp_path / "clusters"
    later(extract_embeddings, "--model_path", model, "--output_dir", embedded, "--no_cuda")
    later(cluster_analysis, "--embedding_dir", embedded, "--output_dir", clusters,
          "--visualization_method", "none", "--reduction_dim", 4)  # fmt: skip
    joined = tmp_path / "joined"
    later(analyze_dataset, "--cartography_dir", recording, "--cluster_dir", clusters, "--output_dir", joined)
    table = pd.read_csv(joined / "unified_analysis.csv", keep_default_na=False)
    assert sorted(table["question"]) == sorted(row["q"] for row in rows)
    for directory in (recording, model, embedded, clusters, joined):
        data = json.loads((directory / "manifest.json").read_text())["data"]
        assert data.get("rows", data.get("train"))["columns"] == dict(word.split("=") for word in words[1:])
