"""Embeddings: equal to an example-by-example computation, whatever the batches, the order and restarts."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import extract_embeddings
import helpers
from datamap.embeddings import encoder
from datamap.embeddings.vectors import INDEX, METADATA, VECTORS, read_embeddings
from datamap.errors import DataError
from tests.lines import write_lines
from tests.running import in_process

WINDOWS = ("--max_length", "40", "--doc_stride", "12", "--no_cuda")


@pytest.fixture
def extract(capsys):
    """Run extract_embeddings.py in this process; returns (exit code, stdout, stderr)."""
    return in_process(capsys, extract_embeddings.main)


def demo_rows(variant, n_rows):
    from datamap.demo.data import make_demo

    return [row | {"id": f"row {n}"} for n, row in enumerate(make_demo(variant)["train"][:n_rows])]


def by_id(directory):
    found = read_embeddings(directory)
    return dict(zip(found.ids, found.vectors, strict=True)), dict(zip(found.ids, found.span_source, strict=True))


def hidden_states(model, encoding, window):
    inputs = {name: torch.tensor([encoding[name][window]]) for name in ("input_ids", "token_type_ids")}
    with torch.no_grad():
        return model(**inputs).last_hidden_state[0].double().numpy()


def expected_qa(model, tokenizer, row, max_length=40, stride=12):
    """(vector, span source) of one question: all windows walked through, the most central one embedded alone."""
    encoding = tokenizer(
        [row["question"]], [row["context"]], truncation="only_second", max_length=max_length, stride=stride,
        return_overflowing_tokens=True, return_offsets_mapping=True,
    )  # fmt: skip
    answers = row["answers"]
    best, chosen, tokens, source = -1, 0, [0], "not_in_any_window" if answers["text"] else "no_answer"
    for window in range(len(encoding["input_ids"])) if answers["text"] else []:
        begin, end = answers["answer_start"][0], answers["answer_start"][0] + len(answers["text"][0])
        context = [place for place, side in enumerate(encoding.sequence_ids(window)) if side == 1]
        spans = encoding["offset_mapping"][window]
        inside = [place for place in context if spans[place][0] < end and spans[place][1] > begin]
        holds = inside and spans[context[0]][0] <= begin and spans[context[-1]][1] >= end
        if holds and min(inside[0] - context[0], context[-1] - inside[-1]) > best:
            best = min(inside[0] - context[0], context[-1] - inside[-1])
            chosen, tokens, source = window, inside, "answer"
    states = hidden_states(model, encoding, chosen)
    return np.concatenate([states[0], states[tokens].mean(axis=0)]), source


def load(path):
    from transformers import AutoModel

    return AutoModel.from_pretrained(path).eval()


@pytest.mark.parametrize("variant", ["", "v2"])
def test_vectors_equal_an_example_by_example_computation(extract, tiny_model, tokenizer, tmp_path, variant):
    rows = demo_rows(variant, 30)
    rows[3]["answers"] = {"text": [rows[3]["context"]], "answer_start": [0]}  # too long for any window
    data = write_lines(tmp_path / "rows.jsonl", rows)
    code, out, err = extract("--model_path", tiny_model, "--dataset", data, "--output_dir", tmp_path / "out", *WINDOWS)
    assert code == 0, err
    vectors, sources = by_id(tmp_path / "out")
    model = load(tiny_model)
    assert list(vectors) == [row["id"] for row in rows]
    for row in rows:
        vector, source = expected_qa(model, tokenizer, row)
        assert sources[row["id"]] == source
        np.testing.assert_allclose(vectors[row["id"]], vector, rtol=0, atol=1e-5)
    assert set(sources.values()) == {"answer", "not_in_any_window"} | ({"no_answer"} if variant else set())
    assert out.startswith("30 rows, 64 dimensions; spans: answer ")


def test_an_answer_far_behind_the_first_window_is_embedded_where_it_stands(extract, tiny_model, tokenizer, tmp_path):
    filler = "The patient slept well and ate little. " * 120
    context = filler + "Warfarin was stopped. " + filler
    row = {"id": "far", "context": context, "question": "What was stopped?"}
    row["answers"] = {"text": ["Warfarin"], "answer_start": [context.index("Warfarin")]}
    assert len(tokenizer(filler)["input_ids"]) > 512
    data = write_lines(tmp_path / "rows.jsonl", [row])
    code, _, err = extract("--model_path", tiny_model, "--dataset", data, "--output_dir", tmp_path / "out", "--no_cuda")
    assert code == 0, err
    vectors, sources = by_id(tmp_path / "out")
    expected, _ = expected_qa(load(tiny_model), tokenizer, row, max_length=512, stride=128)
    np.testing.assert_allclose(vectors["far"], expected, rtol=0, atol=1e-5)
    assert sources == {"far": "answer"}
    first_window = hidden_states(load(tiny_model), tokenizer([row["question"]], [context], truncation="only_second"), 0)
    assert np.abs(vectors["far"][:32] - first_window[0]).max() > 1e-4


def test_nli_vectors_equal_a_pair_by_pair_computation(extract, tiny_model, tokenizer, tmp_path):
    rows = demo_rows("nli", 20)
    rows[0]["premise"] = "A long premise. " * 200  # cut before the hypothesis
    data = write_lines(tmp_path / "rows.jsonl", rows)
    argv = ("--model_path", tiny_model, "--task", "nli", "--dataset", data, "--output_dir", tmp_path / "out")
    code, _, err = extract(*argv, "--no_cuda", "--max_length", 64)
    assert code == 0, err
    vectors, sources = by_id(tmp_path / "out")
    model = load(tiny_model)
    for row in rows:
        encoding = tokenizer(row["premise"], row["hypothesis"], truncation=True, max_length=64)
        tokens = [place for place, side in enumerate(encoding.sequence_ids(0)) if side == 1]
        encoding = {name: [encoding[name]] for name in ("input_ids", "token_type_ids")}
        states = hidden_states(model, encoding, 0)
        expected = np.concatenate([states[0], states[tokens].mean(axis=0)])
        np.testing.assert_allclose(vectors[row["id"]], expected, rtol=0, atol=1e-5)
    assert set(sources.values()) == {"hypothesis"}


def test_neither_batches_nor_the_order_of_rows_change_a_vector(extract, tiny_model, tmp_path):
    rows = demo_rows("v2", 40)
    shuffled = [rows[n] for n in np.random.default_rng(0).permutation(40)]
    found = []
    for name, order, tokens in (("a", rows, 64), ("b", rows, 4000), ("c", shuffled, 500)):
        data = write_lines(tmp_path / f"{name}.jsonl", order)
        argv = ("--model_path", tiny_model, "--dataset", data, "--output_dir", tmp_path / name, *WINDOWS)
        assert extract(*argv, "--batch_tokens", tokens)[0] == 0
        found.append(by_id(tmp_path / name)[0])
    for vectors in found[1:]:
        assert vectors.keys() == found[0].keys()
        for identifier, vector in found[0].items():
            np.testing.assert_allclose(vectors[identifier], vector, rtol=0, atol=1e-5)


def test_a_stopped_run_goes_on_where_it_was(extract, tiny_model, tmp_path, monkeypatch):
    data = write_lines(tmp_path / "rows.jsonl", demo_rows("", 30))
    argv = ("--model_path", tiny_model, "--dataset", data, *WINDOWS)
    monkeypatch.setattr(encoder, "SHARD_ROWS", 8)
    assert extract(*argv, "--output_dir", tmp_path / "whole")[0] == 0
    write, written = encoder.write_shard, []

    def failing(path, *rest):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path.name)
        write(path, *rest)

    monkeypatch.setattr(encoder, "write_shard", failing)
    assert extract(*argv, "--output_dir", tmp_path / "broken")[0] == 1
    assert {path.name for path in (tmp_path / "broken").iterdir()} == {encoder.SHARDS}
    monkeypatch.setattr(encoder, "write_shard", write)
    code, _, err = extract(*argv, "--output_dir", tmp_path / "broken")
    assert code == 0
    assert "2 of 4 shards are there" in err
    for name in (VECTORS, INDEX):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert {path.name for path in (tmp_path / "broken").iterdir()} == {
        VECTORS, INDEX, METADATA, "manifest.json",
    }  # fmt: skip


def test_shards_of_another_model_are_not_used(extract, tiny_model, still_model, tmp_path):
    data = write_lines(tmp_path / "rows.jsonl", demo_rows("", 6))
    shards = tmp_path / "out" / encoder.SHARDS
    shards.mkdir(parents=True)
    np.save(shards / "shard_00000.npy", np.zeros((6, 64), np.float32))
    (shards / "made_with.json").write_text('{"weights": "others"}')
    argv = ("--model_path", tiny_model, "--dataset", data, "--output_dir", tmp_path / "out", *WINDOWS)
    code, _, err = extract(*argv)
    assert code == 0
    assert "from an earlier run" not in err
    assert np.abs(read_embeddings(tmp_path / "out").vectors).min(axis=1).max() > 0


def test_the_rows_that_a_model_was_trained_on_are_embedded_by_default(command, extract, tiny_model, tmp_path):
    data = write_lines(tmp_path / "rows.jsonl", demo_rows("", 60))
    argv = ("--do_train", "--dataset", data, "--model", tiny_model, "--max_train_samples", 25, "--max_steps", 1)
    model, out = tmp_path / "model", tmp_path / "out"
    assert command(*argv, "--validation_fraction", 0.3, "--output_dir", model, *WINDOWS)[0] == 0
    code, _, err = extract("--model_path", model, "--output_dir", out, "--no_cuda")
    assert code == 0, err
    trained = json.loads((model / "manifest.json").read_text())
    made = json.loads((out / "manifest.json").read_text())
    assert made["data"]["rows"] == trained["data"]["train"]
    assert made["ids_sha256"] == trained["data"]["train"]["ids_sha256"]
    assert list(made["made_from"]) == [str(model / "manifest.json")]
    metadata = json.loads((out / METADATA).read_text())
    assert (metadata["max_length"], metadata["doc_stride"], metadata["n_rows"]) == (40, 12, 25)
    write_lines(data, demo_rows("", 59))
    code, _, err = extract("--model_path", model, "--output_dir", tmp_path / "late", "--no_cuda")
    assert code == 1
    assert "does not hold the 25 rows" in err
    assert not (tmp_path / "late").exists()
    code, _, err = extract("--model_path", model, "--task", "nli", "--output_dir", tmp_path / "late", "--no_cuda")
    assert (code, "was trained for --task qa" in err) == (1, True)


def test_bfloat16_is_close_and_said(extract, tiny_model, tmp_path):
    data = write_lines(tmp_path / "rows.jsonl", demo_rows("", 8))
    argv = ("--model_path", tiny_model, "--dataset", data, *WINDOWS)
    assert extract(*argv, "--output_dir", tmp_path / "a")[0] == 0
    assert extract(*argv, "--output_dir", tmp_path / "b", "--bf16")[0] == 0
    one, other = (read_embeddings(tmp_path / name) for name in "ab")
    assert (one.metadata["precision"], other.metadata["precision"]) == ("float32", "bf16")
    difference = np.abs(one.vectors - other.vectors).max()
    assert 1e-5 < difference < 0.2
    assert other.vectors.dtype == np.float32


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_model):
    place = tmp_path_factory.mktemp("embeddings")
    data = write_lines(place / "rows.jsonl", demo_rows("", 6))
    argv = ["--model_path", tiny_model, "--dataset", data, "--output_dir", place / "out", *WINDOWS]
    assert helpers.run_script(extract_embeddings.main, [str(word) for word in argv]) == 0
    return place / "out"


def copy_of(finished, tmp_path):
    import shutil

    return shutil.copytree(finished, tmp_path / "copy")


def test_vectors_that_are_not_numbers_are_counted_and_named(finished, tmp_path):
    directory = copy_of(finished, tmp_path)
    vectors = np.load(directory / VECTORS)
    vectors[1, 3], vectors[4, 0] = np.nan, np.inf
    np.save(directory / VECTORS, vectors)
    with pytest.raises(DataError, match=r"2 rows hold NaN or infinite numbers \(row 1, row 4\)"):
        read_embeddings(directory)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda d: (d / "manifest.json").unlink(), "no finished embeddings"),
        (lambda d: np.save(d / VECTORS, np.array([{}, {}]), allow_pickle=True), "cannot be read"),
        (lambda d: np.save(d / VECTORS, np.zeros((6, 4))), "not rows of float32"),
        (lambda d: np.save(d / VECTORS, np.zeros((5, 4), np.float32)), "does not belong to"),
        (lambda d: (d / INDEX).write_text("id,row,span_source\na,0,answer\n"), "does not belong to"),
        (lambda d: (d / VECTORS).write_bytes(b""), "cannot be read"),
    ],
    ids=["no manifest", "pickle", "float64", "fewer rows", "other ids", "empty"],
)
def test_spoilt_directories_are_refused(finished, tmp_path, spoil, sentence):
    directory = copy_of(finished, tmp_path)
    spoil(directory)
    with pytest.raises(DataError, match=sentence):
        read_embeddings(directory)


def test_the_index_keeps_ids_as_text(finished):
    index = pd.read_csv(finished / INDEX)
    assert list(index.columns) == ["id", "row", "span_source"]
    found = read_embeddings(finished)
    assert found.ids == [f"row {n}" for n in range(6)]
    assert isinstance(found.vectors, np.memmap)


@pytest.mark.parametrize(
    ("argv", "code", "sentence"),
    [
        (("--model_path", "./nowhere"), 1, "there is no such directory"),
        (("--dataset", "demo", "--doc_stride", "10", "--task", "nli"), 2, "--doc_stride is for --task qa"),
        (("--batch_tokens", "0"), 2, "not at least 1"),
        (("--datset", "demo"), 2, "--datset"),
        ((), 2, "does not say what it was trained on"),
    ],
)
def test_misuse_is_one_sentence(extract, tiny_model, tmp_path, monkeypatch, argv, code, sentence):
    monkeypatch.chdir(tmp_path)
    model = () if "--model_path" in argv else ("--model_path", tiny_model)
    got, _, err = extract(*model, *argv)
    assert (got, sentence in err.strip().splitlines()[-1]) == (code, True), err
    assert list(tmp_path.iterdir()) == []
