"""SquadMetric: exact figures, the join by id, and that no connection is opened."""

import socket
import sys

import evaluate
import pytest

from datamap.evaluation import squad_metric


def prediction(example_id, text):
    return {"id": example_id, "prediction_text": text}


def reference(example_id, *texts):
    return {"id": example_id, "answers": {"text": list(texts), "answer_start": [0] * len(texts)}}


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args):
        raise AssertionError("a connection was attempted")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(params=[True, False], ids=["in_memory", "on_disk"])
def metric(request, tmp_path, no_network):
    return squad_metric.SquadMetric(keep_in_memory=request.param, cache_dir=str(tmp_path))


def test_rows_are_joined_by_id_whatever_their_order(metric):
    figures = metric.compute(
        predictions=[prediction("0012", "Aspirin."), prediction("null", "50 mg daily"), prediction("3", "x")],
        references=[reference("3", "y"), reference("null", "mg", "50 mg"), reference("0012", "aspirin")],
    )
    assert figures == {
        "exact_match": pytest.approx(100 / 3),
        "f1": pytest.approx(60.0),
        "total": 3,
    }


def test_one_unanswerable_reference_brings_the_second_rule(metric):
    figures = metric.compute(
        predictions=[prediction("1", ""), prediction("2", "the"), prediction("3", "x"), prediction("4", "A")],
        references=[reference("1"), reference("2"), reference("3"), reference("4", "the")],
    )
    assert figures == {
        "exact_match": 75.0,
        "f1": 75.0,
        "total": 4,
        "HasAns_exact": 100.0,
        "HasAns_f1": 100.0,
        "HasAns_total": 1,
        "NoAns_exact": pytest.approx(200 / 3),
        "NoAns_f1": pytest.approx(200 / 3),
        "NoAns_total": 3,
    }


def test_without_unanswerable_references_the_first_rule_holds(metric):
    figures = metric.compute(predictions=[prediction("4", "A")], references=[reference("4", "the")])
    assert figures == {"exact_match": 100.0, "f1": 0.0, "total": 1}


def test_batches_add_up_and_the_metric_can_be_used_again(metric):
    metric.add_batch(predictions=[prediction("1", "x")], references=[reference("1", "x")])
    metric.add(prediction=prediction("2", "y"), reference=reference("2", "z"))
    assert metric.compute() == {"exact_match": 50.0, "f1": 50.0, "total": 2}
    again = metric.compute(predictions=[prediction("1", "x")], references=[reference("1", "x")])
    assert again == {"exact_match": 100.0, "f1": 100.0, "total": 1}


@pytest.mark.parametrize(
    ("predicted_ids", "reference_ids", "message"),
    [
        ("a", "ab", "references without a prediction: 1, first id 'b'"),
        ("abc", "a", "predictions without a reference: 2, first id 'b'"),
        ("ab", "ac", "references without a prediction: 1, first id 'c'"),
        ("aa", "ab", "id 'a' stands twice in the predictions"),
        ("ab", "bb", "id 'b' stands twice in the references"),
    ],
)
def test_ids_that_do_not_match_are_named(metric, predicted_ids, reference_ids, message):
    predictions = [prediction(example_id, "x") for example_id in predicted_ids]
    references = [reference(example_id, "x") for example_id in reference_ids]
    with pytest.raises(ValueError, match=message):
        metric.compute(predictions=predictions, references=references)
    matched = metric.compute(predictions=[prediction("a", "x")], references=[reference("a", "x")])
    assert matched["total"] == 1


def test_ids_added_in_batches_are_matched_too(metric):
    metric.add_batch(predictions=[prediction("a", "x")], references=[reference("b", "x")])
    with pytest.raises(ValueError, match="first id 'b'"):
        metric.compute()


@pytest.mark.usefixtures("no_network")
def test_evaluate_loads_the_file_without_network(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate.config, "HF_MODULES_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "path", sys.path.copy())
    loaded = evaluate.load(squad_metric.__file__, keep_in_memory=True, cache_dir=str(tmp_path))
    assert type(loaded).__name__ == "SquadMetric"
    assert type(loaded).__module__.startswith("evaluate_modules.metrics.squad_metric.")
    figures = loaded.compute(
        predictions=[prediction("0012", "Denver")],
        references=[reference("0012", "the Broncos", "Denver Broncos")],
    )
    assert figures == {"exact_match": 0.0, "f1": pytest.approx(200 / 3), "total": 1}
