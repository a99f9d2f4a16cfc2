"""Words that table readers take for "not available", as ids and as texts, through every script of the chain."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from datamap.clusters import files, plots
from datamap.data.examples import load_examples
from datamap.data.sources import open_source
from datamap.dynamics import recordings
from datamap.embeddings import vectors
from datamap.files import manifests, outputs, pictures
from datamap.joint.join import read_dynamics
from datamap.joint.patterns import interesting_patterns
from datamap.joint.plots import category_cluster_heatmap
from tests.pages import report_data

# pandas' own list (pandas._libs.parsers.STR_NA_VALUES) without "", which is no id; and what else tables trip over.
SPELLINGS = (
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
ODD = (" NA", "NA ", "a\rb", "a\nb", "a\r\nb", '"', '"NA"', "a,b", "0012", "1e5", "True", "inf", "-", "#x", "a\\")
IDS = [*SPELLINGS, *ODD]


def spelt_rows():
    """Two kinds of rows, told apart by their texts, without a word in their questions."""
    rows = []
    for number, identifier in enumerate(IDS):
        context = f"Ward {number} gave aspirin." if number % 2 else f"{number}: " + "nobody slept, nobody ate, " * 6
        answer = "aspirin" if number % 2 else "slept"
        answers = {"text": [answer], "answer_start": [context.index(answer)]}
        rows.append({"id": identifier, "context": context, "question": "?" * (1 + number % 2), "answers": answers})
    return rows


def test_the_list_is_pandas_own():
    from pandas._libs.parsers import STR_NA_VALUES

    assert set(SPELLINGS) == STR_NA_VALUES - {""}


def test_a_table_gives_back_its_texts_and_numbers(tmp_path):
    texts = [*IDS, "", " ", "\r", "\n", "\t", "\ufeff", "\x00", "\u2028", "\x85", "é", "\U0001f600"]
    generator = np.random.default_rng(0)
    numbers = generator.random(len(texts)) * 10.0 ** generator.integers(-300, 300, len(texts))
    numbers[:4] = np.nan, 5e-324, np.inf, 0.1 + 0.2
    frame = pd.DataFrame({"id": texts, "number": numbers, "words": texts[::-1], "count": range(len(texts))})
    frame = frame.assign(empty=np.nan, flag=frame["count"] % 3 == 0, maybe=pd.array([None, *frame["count"][1:]]))
    outputs.write_csv(tmp_path / "table.csv", frame)
    back = outputs.read_csv(tmp_path / "table.csv", ("id", "words"))
    assert (back["id"].tolist(), back["words"].tolist()) == (texts, texts[::-1])
    assert back.dtypes[["number", "count", "empty", "flag", "maybe"]].tolist() == ["f8", "i8", "f8", "bool", "f8"]
    np.testing.assert_array_equal(back["number"], numbers)
    assert back["flag"].tolist() == frame["flag"].tolist()
    assert back["empty"].isna().all()
    assert back["maybe"].isna().tolist() == [True] + [False] * (len(texts) - 1)
    outputs.write_csv(tmp_path / "none.csv", frame.iloc[:0])
    assert list(outputs.read_csv(tmp_path / "none.csv", ("id", "words")).columns) == list(frame.columns)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("id,x\na,0.5\nb,NA\n", "'NA' in row 2 of the column x is no number"),
        ("x\n1\n", "it has no column id"),
        ("", "No columns"),
    ],
)
def test_a_file_that_is_no_such_table_is_named(tmp_path, content, sentence):
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(ValueError, match=sentence):
        outputs.read_csv(tmp_path / "table.csv", ("id",))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json", ".parquet"])
def test_a_users_file_keeps_ids_and_texts_that_spell_not_available(tmp_path, suffix):
    rows = [row | {"question": row["id"], "note": row["id"]} for row in spelt_rows()]
    frame, path = pd.DataFrame(rows), tmp_path / f"rows{suffix}"
    if suffix == ".csv":
        outputs.write_csv(path, frame.assign(answers=[json.dumps(cell) for cell in frame["answers"]]))
    elif suffix == ".parquet":
        frame.to_parquet(path)
    else:
        lines = [json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) if suffix == ".jsonl" else f"[{','.join(lines)}]")
    read = load_examples(open_source(str(path), "qa"), "train", "qa").frame
    assert read["id"].tolist() == read["question"].tolist() == read["note"].tolist() == IDS


def texts_in(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


@pytest.fixture(scope="module")
def chain(tmp_path_factory, tiny_model):
    """The directory in which every script of the chain has run over the rows, each by its own command."""
    import analyze_cartography
    import analyze_dataset
    import cluster_analysis
    import extract_embeddings
    import helpers
    import run

    base, drawn = tmp_path_factory.mktemp("chain"), {}
    data = base / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in spelt_rows()), encoding="utf-8")
    common = ("--dataset", data, "--seed", "7")
    model = ("--max_length", "64", "--no_cuda", "--precision", "float32")
    commands = {
        run: (
            "--do_train", "--do_eval", "--enable_cartography", "--model", tiny_model, *common, *model,
            "--eval_split", "train", "--num_train_epochs", "2", "--output_dir", base / "run",
            "--cartography_output_dir", base / "map",
        ),
        analyze_cartography: ("--cartography_dir", base / "map", "--output_dir", base / "regions"),
        extract_embeddings: ("--model_path", base / "run", *common, *model, "--output_dir", base / "vectors"),
        cluster_analysis: (
            "--embedding_dir", base / "vectors", "--output_dir", base / "clusters", "--min_cluster_size", "5",
            "--reduction_dim", "2", "--visualization_method", "pca",
        ),
        analyze_dataset: (
            "--cartography_dir", base / "map", "--cluster_dir", base / "clusters", "--output_dir", base / "joint",
            "--predictions", base / "run" / "eval_predictions.jsonl",
        ),
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "write_figure", lambda path, figure: drawn.update({str(path): texts_in(figure)}))
        for script, argv in commands.items():
            assert helpers.run_script(script.main, [str(word) for word in argv]) == 0, script.__name__
    outputs.write_json(base / "drawn.json", drawn)
    return base


@pytest.mark.slow
def test_every_reader_gives_every_id_back(chain):
    assert open_source(str(chain / "rows.jsonl"), "qa").read("train")["id"].tolist() == IDS
    assert sorted(vectors.read_embeddings(chain / "vectors").ids) == sorted(IDS)
    clusters = files.read_clusters(chain / "clusters")
    assert sorted(clusters.assignments["id"]) == sorted(IDS)
    assert len(clusters.statistics) >= 2
    assert set(clusters.statistics["words"]) == {""}
    assert sorted(read_dynamics(chain / "map").ids) == sorted(IDS)
    assert sorted(recordings.read_recording(chain / "map").ids) == sorted(IDS)
    regions = outputs.read_csv(chain / "regions" / "cartography_regions.csv", ("id", "region", "question_type"))
    assert sorted(regions["id"]) == sorted(IDS)


@pytest.mark.slow
def test_every_id_meets_its_own_row_in_the_joint_tables_and_in_the_report(chain):
    unified = pd.read_parquet(chain / "joint" / "unified_analysis.parquet")
    expected = {row["id"]: (row["question"], row["context"], row["answers"]["text"][0]) for row in spelt_rows()}
    columns = zip(*(unified[name] for name in ("question", "context", "answer")), strict=True)
    assert dict(zip(unified["id"], columns, strict=True)) == expected
    assert unified["confidence"].notna().all()
    assert unified["em"].notna().all()
    assert set(unified["words"]) == {""}
    _, rows = report_data(chain / "joint" / "report.html")
    assert sorted(rows["id"]) == sorted(IDS)
    text = (name for name in unified if not pd.api.types.is_numeric_dtype(unified[name]))
    from_csv = outputs.read_csv(chain / "joint" / "unified_analysis.csv", set(text) - {"never_learnt"})
    assert from_csv["id"].tolist() == unified["id"].tolist()
    assert from_csv["confidence"].tolist() == unified["confidence"].tolist()


@pytest.mark.slow
def test_clusters_without_words_are_named_by_their_number(chain):
    unified = pd.read_parquet(chain / "joint" / "unified_analysis.parquet")
    differing = unified.assign(correctness=(unified["cluster"] == 0).astype(float))
    sentences = [finding["sentence"] for finding in interesting_patterns(differing, 0)["findings"]]
    assert any(sentence.startswith("Cluster 1 has the lowest mean correctness") for sentence in sentences)
    _, rows = report_data(chain / "joint" / "report.html")
    shown = files.read_clusters(chain / "clusters")
    clusters = next(column for column in rows["categories"] if column["name"] == "cluster")
    assert set(clusters["names"]) - {"noise"} == set(shown.statistics["cluster"].astype(str))
    figures = (
        plots.cluster_map(shown.assignments, shown.statistics, title="", method="PCA"),
        plots.persistence_bars(shown.statistics),
        plots.probability_distributions(shown.assignments, shown.statistics),
        category_cluster_heatmap(unified),
    )
    for figure in figures:
        drawn = texts_in(figure)
        assert any(re.match(r"cluster 1( \(\d+\))?$", text) for text in drawn)
        assert not any(re.search(r"nan|: *\(|: *$", text) for text in drawn)


@pytest.mark.slow
def test_figures_name_a_file_without_its_folders(chain, tiny_model):
    drawn = outputs.read_json(chain / "drawn.json")
    assert len(drawn) == 12
    for name, texts in drawn.items():
        assert not [text for text in texts if "/" in text.replace("\n", "")], name
    maps = {str(Path(name).relative_to(chain)): texts for name, texts in drawn.items() if "map" in name}
    assert f"rows.jsonl, train, learnt by {tiny_model.name}" in maps["map/cartography_map.png"]
    assert "rows.jsonl, train" in maps["regions/cartography_map.png"]


def test_words_that_spell_not_available_stay_words(tmp_path):
    assignments = pd.DataFrame({"id": ["NA", "b"], "cluster": [0, 1], "cluster_probability": 1.0})
    assignments = assignments.assign(dim1=0.5, dim2=np.nan, assigned="clustered").assign(dim2=1.5)
    statistics = pd.DataFrame({"cluster": [0, 1], "size": 1, "share": 0.5, "persistence": 0.5})
    statistics = statistics.assign(mean_probability=1.0, n_approximate=0, words=["nan", "null"])
    files.write_clusters(tmp_path, assignments, statistics, {})
    fields = {"script": "cluster_analysis.py", "ids_sha256": manifests.ids_hash(["NA", "b"])}
    manifests.write_manifest(tmp_path, fields)
    found = files.read_clusters(tmp_path)
    assert found.statistics["words"].tolist() == ["nan", "null"]
    assert found.assignments["id"].tolist() == ["NA", "b"]
