"""Every container gives back the rows that were put into it; whatever cannot be read is one sentence."""

import csv
import gzip
import io
import json
import tempfile
from pathlib import Path

import datasets
import huggingface_hub
import pandas as pd
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from datamap import errors
from datamap.data import records, sources

NOTE = 'Pt "J. Doe", 50 mg,\ndaily 💊 — مرحبا; naïve\u2028end'
ROWS = [
    {"id": "0012", "context": NOTE, "question": "Dose?", "answers": {"text": ["50 mg"], "answer_start": [13]}},
    {"id": "null", "context": NOTE, "question": "Pill?", "answers": {"text": ["💊"], "answer_start": [26]}},
    {"id": "NA", "context": NOTE, "question": 'Say "hi", مرحبا?', "answers": {"text": [], "answer_start": []}},
    {"id": "1e5", "context": "x", "question": "?", "answers": {"text": ["x", "x"], "answer_start": [0, 0]}},
]


def as_csv(rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows({k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()} for row in rows)
    return text.getvalue().encode()


def as_parquet(rows):
    buffer = io.BytesIO()
    datasets.Dataset.from_list(rows).to_pandas().to_parquet(buffer)
    return buffer.getvalue()


def as_squad(rows):
    articles = [
        {
            "title": "T",
            "paragraphs": [{"context": row["context"], "qas": [{k: row[k] for k in row if k != "context"}]}],
        }
        for row in rows
    ]
    for article in articles:
        question = article["paragraphs"][0]["qas"][0]
        given_answers = question["answers"]
        question["answers"] = [
            {"text": text, "answer_start": start}
            for text, start in zip(given_answers["text"], given_answers["answer_start"], strict=True)
        ]
    return json.dumps({"version": "1.1", "data": articles}).encode()


CONTAINERS = {
    "squad.json": as_squad,
    "flat.json": lambda rows: json.dumps({"data": rows}, ensure_ascii=False).encode(),
    "list.json": lambda rows: json.dumps(rows, indent=1).encode(),
    "rows.jsonl": lambda rows: "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode(),
    "rows.ndjson": lambda rows: "".join(json.dumps(row) + "\r\n" for row in rows).encode(),
    "rows.csv": as_csv,
    "rows.parquet": as_parquet,
    "UPPER.JSONL": lambda rows: "".join(json.dumps(row) + "\n\n" for row in rows).encode(),
}


def write(path, content):
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


def assert_same_rows(source, rows):
    frame, problems = records.canonical_qa(source.read("train"), source.name)
    assert problems.empty
    assert frame[["id", "context", "question", "answers"]].to_dict("records") == rows


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_every_file_gives_its_rows_back(tmp_path, container, suffix):
    name = write(tmp_path / (container + suffix), CONTAINERS[container](ROWS))
    source = sources.open_source(name, "qa")
    assert (source.name, source.splits, source.label_names) == (name, ("train",), None)
    assert_same_rows(source, ROWS)
    assert [path.name for path in tmp_path.iterdir()] == [container + suffix]


@pytest.mark.parametrize("container", CONTAINERS)
def test_ids_made_from_the_content_are_the_same_from_every_file(tmp_path, container):
    rows = [{key: row[key] for key in row if key != "id"} for row in [*ROWS, ROWS[0]]]
    source = sources.open_source(write(tmp_path / container, CONTAINERS[container](rows)), "qa")
    frame, problems = records.canonical_qa(source.read("train"), source.name)
    assert problems.empty
    assert list(frame["id"]) == [
        "1e1a6de2a7216068",
        "1e73abd80f4e235a",
        "5beb3d37a5d1d3a9",
        "5bf0e1f9109c5a4d",
        "1e1a6de2a7216068-1",
    ]


@pytest.mark.parametrize("container", ["flat.json", "rows.jsonl", "rows.csv"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path, container):
    name = write(tmp_path / container, b"\xef\xbb\xbf" + CONTAINERS[container](ROWS))
    assert_same_rows(sources.open_source(name, "qa"), ROWS)


def test_a_saved_dataset_is_the_split_train(tmp_path):
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    source = sources.open_source(str(tmp_path / "saved"), "qa")
    assert source.splits == ("train",)
    assert_same_rows(source, ROWS)


def test_a_saved_dataset_dict_keeps_its_splits(tmp_path):
    split = datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS), held_out=datasets.Dataset.from_list(ROWS[1:3]))
    split.save_to_disk(tmp_path / "saved")
    source = sources.open_source(str(tmp_path / "saved"), "qa")
    assert source.splits == ("train", "held_out")
    assert list(source.read("held_out")["id"]) == ["null", "NA"]
    with pytest.raises(errors.DataError, match=r"no split 'test'; it has train, held_out\.$"):
        source.read("test")


def test_shuffled_rows_are_read_in_their_shuffled_order(tmp_path):
    shuffled = datasets.Dataset.from_list(ROWS).select([3, 0])
    shuffled.save_to_disk(tmp_path / "saved")
    assert list(sources.open_source(str(tmp_path / "saved"), "qa").read("train")["id"]) == ["1e5", "0012"]


NLI_FEATURES = datasets.Features(
    premise=datasets.Value("string"),
    hypothesis=datasets.Value("string"),
    label=datasets.ClassLabel(names=["contradiction", "neutral", "entailment"]),
)
NLI_ROWS = [{"premise": "p", "hypothesis": "h", "label": label} for label in (2, 0, -1)]


@pytest.mark.parametrize("container", ["saved", "rows.parquet"])
def test_class_names_come_from_the_label_column(tmp_path, container):
    dataset = datasets.Dataset.from_list(NLI_ROWS, features=NLI_FEATURES)
    if container == "saved":
        datasets.DatasetDict(validation_matched=dataset, test=dataset).save_to_disk(tmp_path / container)
    else:
        dataset.to_parquet(tmp_path / container)
    source = sources.open_source(str(tmp_path / container), "nli")
    assert source.label_names == ("contradiction", "neutral", "entailment")
    frame, problems, names = records.canonical_nli(source.read(source.splits[0]), "x", source.label_names)
    assert names == source.label_names
    assert list(frame["label"]) == [2, 0]
    assert list(problems["problem"]) == ["no gold label"]


@pytest.mark.parametrize("container", ["saved", "rows.parquet", "rows.jsonl"])
def test_int_ids_beside_a_missing_one_stay_ints(tmp_path, container):
    rows = [ROWS[0] | {"id": 2**60 + 1}, ROWS[1] | {"id": None}]
    if container == "saved":
        datasets.Dataset.from_list(rows).save_to_disk(tmp_path / container)
    elif container == "rows.parquet":
        datasets.Dataset.from_list(rows).to_parquet(tmp_path / container)
    else:
        write(tmp_path / container, CONTAINERS[container](rows))
    raw = sources.open_source(str(tmp_path / container), "qa").read("train")
    frame, _ = records.canonical_qa(raw, "x")
    assert frame["id"][0] == "1152921504606846977"
    assert len(frame["id"][1]) == 16


SQUAD_2 = {
    "data": [
        {
            "title": "Ward",
            "split": "b",
            "paragraphs": [
                {
                    "context": "On aspirin.",
                    "document_id": 7,
                    "id": "paragraph",
                    "qas": [
                        {
                            "id": 1,
                            "question": "Drug?",
                            "is_impossible": False,
                            "answers": [{"text": "aspirin", "answer_start": 3}],
                        },
                        {
                            "question": "Dose?",
                            "is_impossible": True,
                            "title": "own",
                            "answers": [],
                            "plausible_answers": [{"text": "aspirin", "answer_start": 3}],
                        },
                    ],
                }
            ],
        }
    ]
}


def test_nested_squad_keeps_the_scalars_of_every_level(tmp_path):
    raw = sources.open_source(write(tmp_path / "v2.json", json.dumps(SQUAD_2).encode()), "qa").read("train")
    first, second = raw.to_dict("records")
    assert first == {
        "id": 1,
        "context": "On aspirin.",
        "question": "Drug?",
        "answers": [{"text": "aspirin", "answer_start": 3}],
        "title": "Ward",
        "split": "b",
        "document_id": 7,
        "is_impossible": False,
    }
    assert (second["id"], second["title"], second["is_impossible"]) == (None, "own", True)
    assert "plausible_answers" not in raw.columns


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.json", b'{"data": [\n {"id" 1}]}', "line 2, column 8: broken JSON"),
        ("a.json", b'{"id": 1}\n{"id": 2', "line 2, column 9: broken JSON"),
        ("a.json", b'{"id": 1} {"id": 2}', r"line 1, column 11: broken JSON \(Extra data\)"),
        ("a.json", b'{"questions": []}', "expected a list of rows .* found an object with questions"),
        ("a.json", b"3", "expected a list of rows .* found 3"),
        ("a.json", b'[{"a": 1}, 5]', "entry 2 is not an object but int"),
        ("a.json", b"[]", "holds no rows"),
        ("a.json", b'{"data": [{"paragraphs": []}]}', "holds no questions"),
        ("a.json", b'{"data": [{"paragraphs": [{"qas": []}]}]}', r"data\[0\].paragraphs\[0\] has no 'context'"),
        ("a.json", b'{"data": [{"paragraphs": [{"context": "c"}]}]}', r"\[0\] has no 'qas'; found context"),
        ("a.json", b'{"data": [{"paragraphs": "p"}]}', r"data\[0\]: 'paragraphs' is not a list but str"),
        ("a.json", b'{"data": [{"paragraphs": [{"context": "c", "qas": [{}]}]}]}', "'qas' has no 'question'"),
        ("a.jsonl", b'{"id": 1}\n\n{"id": 2', "line 3, column 9: broken JSON"),
        ("a.jsonl", b'{"id": 1}\n[1]', "line 2: not an object but list"),
        ("a.jsonl", b'{"id": "a"}\n{"id": "caf\xe9"}', r"line 2: the text is not UTF-8 \(byte 0xe9\)"),
        ("a.csv", "id,context\n1,2".encode("utf-16"), r"line 1: the text is not UTF-8 \(byte 0xff\)"),
        ("a.csv", b'id,context\n1,"two\nlines"\n3,4,5\n', "line 4: 3 fields where the header has 2"),
        ("a.csv", b'id,context\n1,"two\nlines",3\n', "line 2: 3 fields where the header has 2"),
        ("a.csv", b"id,context\n1,2\n3\n", "line 3: 1 fields where the header has 2"),
        ("a.csv", b'id,context\n1,"open', "line 2: broken CSV"),
        ("a.csv", b"id,a,id\n1,2,3\n", "has the column id more than once"),
        ("a.csv", b"id,context\n", "holds no rows"),
        ("a.parquet", b"PAR1 and nothing else", "not a whole parquet file"),
        ("a.json", b" \n", "the file is empty"),
        ("a.csv", b"", "the file is empty"),
        ("a.txt", b"hello\nworld", "the first line gives one column, 'hello'; .* commas, semicolons or tabs"),
        ("a.doc", b"hello", "the file type is not known; files end in .json, .jsonl"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence_with_its_name(tmp_path, name, content, sentence):
    path = write(tmp_path / name, content)
    with pytest.raises(errors.DataError, match=sentence) as caught:
        sources.open_source(path, "qa").read("train")
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b'{"id": 1}', "not whole gzip data"), (gzip.compress(b'{"id": 1}', mtime=0)[:-9], "not whole gzip data")],
)
def test_a_gz_that_is_not_gzip(tmp_path, content, sentence):
    (tmp_path / "a.jsonl.gz").write_bytes(content)
    with pytest.raises(errors.DataError, match=sentence):
        sources.open_source(str(tmp_path / "a.jsonl.gz"), "qa")


@pytest.mark.parametrize(
    "name", ["./none", "/none/there", "~/none_there", "~nobody_here/x", "none.csv", "none.json.gz", "a/b/c"]
)
def test_a_missing_file_is_not_looked_for_on_the_hub(name, monkeypatch):
    monkeypatch.setattr(sources, "_open_hub", None)
    with pytest.raises(errors.DataError, match=f"{name!r} is missing"):
        sources.open_source(name, "qa")


def test_parquet_with_unreadable_class_names_still_gives_its_rows(tmp_path, caplog):
    metadata = {b"huggingface": json.dumps({"info": {"features": {"label": {"_type": "Unheard"}}}})}
    table = pyarrow.table({"premise": ["p"], "hypothesis": ["h"], "label": [1]}).replace_schema_metadata(metadata)
    parquet.write_table(table, tmp_path / "a.parquet")
    source = sources.open_source(str(tmp_path / "a.parquet"), "nli")
    assert source.label_names is None
    assert source.read("train").to_dict("records") == [{"premise": "p", "hypothesis": "h", "label": 1}]
    assert "class names cannot be read" in caplog.text


def test_a_directory_that_was_not_saved_by_datasets(tmp_path):
    with pytest.raises(errors.DataError, match="was not written by save_to_disk"):
        sources.open_source(str(tmp_path), "qa")
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(errors.DataError, match="cannot be loaded"):
        sources.open_source(str(tmp_path), "qa")


def test_an_existing_path_wins_over_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    datasets.Dataset.from_list(ROWS).save_to_disk("squad")
    monkeypatch.setattr(sources, "_open_hub", None)
    assert_same_rows(sources.open_source("squad", "qa"), ROWS)


@pytest.mark.parametrize("name", ["demo", "demo:v2", "demo:noisy"])
def test_the_demo_has_its_two_splits(name):
    source = sources.open_source(name, "qa")
    assert (source.name, source.splits, source.label_names) == (name, ("train", "validation"), None)
    assert ("planted" in source.read("train").columns) == (name == "demo:noisy")


def test_the_nli_demo_carries_its_class_names():
    source = sources.open_source("demo:nli", "nli")
    assert source.label_names == ("entailment", "neutral", "contradiction")
    assert {"premise", "hypothesis", "label"} <= set(source.read("validation").columns)


@pytest.mark.parametrize(
    ("name", "task", "choice"),
    [
        ("demo:nli", "qa", "use demo or demo:v2 or demo:noisy"),
        ("demo", "nli", "use demo:nli"),
        ("demo:v9", "qa", "use demo or demo:v2 or demo:noisy"),
    ],
)
def test_a_demo_of_the_other_task_is_misuse(name, task, choice):
    with pytest.raises(errors.UsageError, match=choice):
        sources.open_source(name, task)


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """The hub refuses every request at once, and the cache is empty, whatever the machine can reach."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("name", ["Eladio/emrqa-msquad", "snli", "glue:mnli"])
def test_without_the_hub_the_sentence_names_the_ways_out(no_hub, name):
    with pytest.raises(errors.DataError, match=f"cannot be reached .*{name!r}.*--dataset demo.* save_to_disk"):
        sources.open_source(name, "qa")


def test_without_the_hub_a_cached_copy_is_used_and_nothing_else_is_asked(no_hub, monkeypatch):
    asked = []

    def load_dataset(path, subset):
        asked.append((path, subset, datasets.config.HF_HUB_OFFLINE))
        return datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert_same_rows(sources.open_source("owner/set:part", "qa"), ROWS)
    assert asked == [("owner/set", "part", True)]
    assert datasets.config.HF_HUB_OFFLINE is False


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (RuntimeError("Dataset scripts are no longer supported"), "needs a loading script"),
        (ValueError("BuilderConfig 'x' not found.\nAvailable: ['cola', 'mnli']"), r"set:SUBSET .*cola', 'mnli"),
        (FileNotFoundError("no data"), "cannot be loaded .no data"),
        (datasets.exceptions.DatasetGenerationError("broken"), "cannot be loaded .broken"),
    ],
)
def test_a_hub_data_set_that_does_not_load(monkeypatch, problem, sentence):
    def load_dataset(path, subset):
        raise problem

    monkeypatch.setattr(sources, "_hub_answers", lambda repository, name: True)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(errors.DataError, match=sentence) as caught:
        sources.open_source("set:x", "qa")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [("RepositoryNotFoundError", "knows no data set 'owner/set'"), ("GatedRepoError", "'owner/set' is gated")],
)
def test_a_hub_that_says_no(monkeypatch, kind, sentence):
    refusal = getattr(huggingface_hub.errors, kind)

    def dataset_info(self, repository, timeout):
        raise refusal.__new__(refusal)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    with pytest.raises(errors.DataError, match=f"{sentence}.*--dataset demo"):
        sources.open_source("owner/set", "qa")


@pytest.mark.parametrize("name", ["two words", "name:"])
def test_a_name_that_the_hub_cannot_have(no_hub, name):
    with pytest.raises(errors.SuiteError, match="possible name on the hub|ends in a colon"):
        sources.open_source(name, "qa")


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@pytest.mark.parametrize("container", ["flat.json", "rows.jsonl", "rows.csv", "rows.parquet"])
@given(rows=st.lists(st.tuples(texts, texts, texts, st.integers(0, 10**9)), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_any_text_survives_any_container(container, rows):
    rows = [
        {"id": f"{n}{name}", "context": context, "question": question, "answers": answers}
        for n, (name, context, question, start) in enumerate(rows)
        for answers in [{"text": [context], "answer_start": [start]}]
    ]
    with tempfile.TemporaryDirectory() as directory:
        name = write(Path(directory) / container, CONTAINERS[container](rows))
        assert_same_rows(sources.open_source(name, "qa"), rows)


def test_a_cell_of_csv_may_be_long_and_keeps_its_line_ends(tmp_path):
    note = "a\r\nb\rc\n" * 50_000
    name = write(tmp_path / "a.csv", f'id,note\r\n1,"{note}"\r\n\r\n'.encode())
    assert sources.open_source(name, "qa").read("train")["note"].tolist() == [note]


def test_apostrophes_of_a_saved_selection_are_taken_away_where_the_file_says_so(tmp_path):
    path = tmp_path / "selection.csv"
    path.write_text(
        'id,context,apostrophe_before\n"\'=1","\'=x","id context"\n"\'a","\'+b",""\n"c","\'@d","context"\n',
        encoding="utf-8-sig",
    )
    frame = sources.open_source(str(path), "qa").read("train")
    assert frame.to_dict("list") == {"id": ["=1", "'a", "c"], "context": ["=x", "'+b", "@d"]}


def test_extra_columns_of_csv_are_text_as_written(tmp_path):
    name = write(tmp_path / "a.csv", b"id,grade,note\n1,007,NA\n2,1.50,\n")
    expected = pd.DataFrame({"id": ["1", "2"], "grade": ["007", "1.50"], "note": ["NA", ""]}, dtype=object)
    pd.testing.assert_frame_equal(sources.open_source(name, "qa").read("train"), expected)
