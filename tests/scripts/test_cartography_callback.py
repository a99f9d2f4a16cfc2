"""Recording: it changes nothing, equals an example-by-example computation, and restarts change nothing."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import TrainerCallback

from cartography_callback import NEVER
from datamap.dynamics import recordings
from datamap.errors import DataError
from datamap.evaluation.gold_measures import nli_measures, qa_measures
from datamap.features.windows import NliPairs, PadCollator, QaWindows
from tests.one_by_one import alone, distance, gold_of_window, softmax, window_numbers
from tests.rows import qa_frame
from tests.trainers import add_recorder, make_trainer, padded_to, recorded, weights

MAX_LENGTH, STRIDE = 40, 12


def read(directory, number):
    return recordings.read_epoch(recordings.epoch_path(directory, number)).set_index("id")


def demo_rows(variant, n_rows):
    from datamap.demo import data

    return data.make_demo(variant)["train"][:n_rows]


def expected_qa(model, tokenizer, rows):
    """Example by example, window by window, from the tokenizer's own windows."""
    expected = []
    for row in rows:
        encoding = tokenizer(
            [row["question"]], [row["context"]], truncation="only_second", max_length=MAX_LENGTH, stride=STRIDE,
            return_overflowing_tokens=True, return_offsets_mapping=True,
        )  # fmt: skip
        numbers = []
        for window in range(len(encoding["input_ids"])):
            start, end, has_gold = gold_of_window(encoding, window, row["answers"])
            if has_gold:
                numbers.append(window_numbers(*alone(model, encoding, window), start, end))
        folded = {name: np.mean([entry[name] for entry in numbers]) for name in numbers[0]} if numbers else {}
        if numbers:
            folded["correct"] = all(entry["correct"] for entry in numbers)
        expected.append(folded | {"n_windows": len(encoding["input_ids"]), "n_gold_windows": len(numbers)})
    return pd.DataFrame(expected, index=[str(number) for number in range(len(rows))])


STILL = {"learning_rate": 0.0, "num_train_epochs": 2}
ORDERS = {
    "batches of 5": {"per_device_train_batch_size": 5},
    "one by one": {"per_device_train_batch_size": 1},
    "accumulated": {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 4},
    "grouped": {"per_device_train_batch_size": 7, "train_sampling_strategy": "group_by_length"},
    "in order": {"per_device_train_batch_size": 16, "train_sampling_strategy": "sequential"},
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("variant", ["", "v2"])
def test_numbers_equal_an_example_by_example_computation(still_model, tokenizer, tmp_path, order, variant):
    rows = demo_rows(variant, 24)
    trainer = make_trainer(still_model, tokenizer, tmp_path / "run", variant, 24, **STILL, **ORDERS[order])
    expected = expected_qa(trainer.model.eval(), tokenizer, rows)
    recorded(trainer, tmp_path / "map", expected.index)
    assert expected["n_windows"].max() >= 3
    assert (expected["n_gold_windows"] > 1).any()
    kept = expected[expected["n_gold_windows"] > 0]
    assert variant == "" or any(not row["answers"]["text"] for row in rows)
    for number in (1, 2):
        epoch = read(tmp_path / "map", number)
        assert list(epoch.index) == list(kept.index)
        for name in kept.columns:
            np.testing.assert_allclose(epoch[name].astype(float), kept[name].astype(float), rtol=0, atol=1e-6)
    metrics = pd.read_csv(tmp_path / "map" / recordings.METRICS_CSV, dtype={"id": str}).set_index("id")
    np.testing.assert_allclose(metrics["confidence"], kept["gold_prob"].astype(float), rtol=0, atol=1e-6)
    np.testing.assert_allclose(metrics["variability"], 0, atol=1e-6)
    untracked = pd.read_csv(tmp_path / "map" / recordings.UNTRACKED, dtype=str)
    assert set(untracked["id"]) == set(expected.index) - set(kept.index)


def test_nli_numbers_equal_a_pair_by_pair_computation(still_model, tokenizer, tmp_path):
    from transformers import AutoModelForSequenceClassification, TrainingArguments, set_seed

    from datamap.training.trainer import NliTrainer

    rows = demo_rows("nli", 21)
    frame = pd.DataFrame(rows).assign(id=[f"pair {number}" for number in range(21)])
    set_seed(5)
    model = AutoModelForSequenceClassification.from_pretrained(still_model, num_labels=3)
    arguments = {"use_cpu": True, "report_to": "none", "disable_tqdm": True, "remove_unused_columns": False, "seed": 5}
    pairs = NliPairs(frame, tokenizer, 128)
    trainer = NliTrainer(
        model=model,
        args=TrainingArguments(output_dir=str(tmp_path / "run"), per_device_train_batch_size=4, **STILL, **arguments),
        train_dataset=pairs,
        processing_class=tokenizer,
        data_collator=PadCollator(tokenizer),
        micro_batch_tokens=1024,
    )
    expected = {}
    for row in frame.itertuples():
        with torch.no_grad():
            logits = model.eval()(**tokenizer(row.premise, row.hypothesis, return_tensors="pt")).logits[0].double()
        others = np.delete(logits.numpy(), row.label)
        probs = softmax(logits.numpy())
        prob = probs[row.label]
        margin = logits[row.label].item() - others.max()
        expected[row.id] = [prob, margin > 0, margin, -np.log(prob), distance(probs, row.label), 1, 1]
    recorded(trainer, tmp_path / "map", frame["id"], task="nli")
    epoch = read(tmp_path / "map", 2)
    counts = ["n_windows", "n_gold_windows"]
    assert list(epoch.columns) == ["epoch", "gold_prob", "correct", "margin", "loss", "el2n", *counts]
    assert 0 < epoch["correct"].sum() < 21
    for identifier, numbers in expected.items():
        np.testing.assert_allclose(epoch.loc[identifier].to_numpy(float)[1:], numbers, rtol=0, atol=1e-6)


@pytest.mark.parametrize("arguments", [{}, {"gradient_accumulation_steps": 3}], ids=["plain", "accumulated"])
def test_recording_changes_no_loss_and_no_weight(tiny_model, tokenizer, tmp_path, arguments):
    arguments = {"num_train_epochs": 2, "logging_steps": 1, "per_device_train_batch_size": 4} | arguments
    plain = make_trainer(tiny_model, tokenizer, tmp_path / "off", n_rows=20, **arguments)
    start = weights(plain)
    plain.train()
    watched = make_trainer(tiny_model, tokenizer, tmp_path / "on", n_rows=20, **arguments)
    recorded(watched, tmp_path / "map", [str(number) for number in range(20)])
    losses = [[entry["loss"] for entry in run.state.log_history if "loss" in entry] for run in (plain, watched)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == plain.state.max_steps
    one, other = weights(plain), weights(watched)
    assert any(not torch.equal(one[name], start[name]) for name in one)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


class StepLosses(TrainerCallback):
    """The mean recorded loss of every step, where a step holds all windows."""

    def __init__(self, recorder):
        self.recorder, self.means = recorder, []

    def on_step_end(self, args, state, control, **kwargs):
        values, seen_at = self.recorder.gathered()
        assert (seen_at != NEVER).all()
        self.means.append(values[self.recorder.measures.index("loss")].mean())


def test_numbers_are_those_before_the_steps_update_with_dropout_on(tiny_model, tokenizer, tmp_path):
    """The mean of the recorded losses of a step is the loss that the Trainer logged for it."""
    trainer = make_trainer(
        tiny_model, tokenizer, tmp_path / "run", n_rows=8, num_train_epochs=3, logging_steps=1,
        per_device_train_batch_size=64, learning_rate=1e-2,
    )  # fmt: skip
    recorder = add_recorder(trainer, tmp_path / "map", [str(number) for number in range(8)])
    steps = StepLosses(recorder)
    trainer.add_callback(steps)
    trainer.train()
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len({round(loss, 3) for loss in logged}) == 3
    np.testing.assert_allclose(steps.means, logged, atol=1e-6)


def test_padding_changes_no_number(tiny_model, tokenizer, tmp_path):
    trainer = make_trainer(tiny_model, tokenizer, tmp_path)
    batch = trainer.data_collator([trainer.train_dataset[number] for number in range(12)])
    wide = padded_to(batch, 512)
    assert wide["input_ids"].shape[1] > batch["input_ids"].shape[1]
    model = trainer.model.eval()
    numbers = []
    for inputs in (batch, wide):
        with torch.no_grad():
            output = trainer.forward(model, inputs)
            numbers.append(qa_measures(output, inputs, trainer.row_losses(output, inputs)))
    assert numbers[0].shape == (7, 12)
    torch.testing.assert_close(numbers[0], numbers[1], rtol=0, atol=1e-6)


def hand_made(start, end, gold):
    """qa_measures of one window of 4 tokens whose last is padding."""
    inputs = {"attention_mask": torch.tensor([[1, 1, 1, 0]])}
    inputs |= {"start_positions": torch.tensor([gold[0]]), "end_positions": torch.tensor([gold[1]])}
    outputs = {"start_logits": torch.tensor([[*start, 99.0]]), "end_logits": torch.tensor([[*end, 99.0]])}
    return qa_measures(outputs, inputs, torch.tensor([7.0]))[:, 0].tolist()


def test_hand_worked_windows():
    third, log2 = 1 / 3, np.log(2)
    start_prob, end_prob, correct, span_f1, margin, loss, el2n = hand_made([0, 0, log2], [0, 0, 0], (2, 2))
    assert (start_prob, end_prob) == (pytest.approx(0.5), pytest.approx(third))
    assert (correct, span_f1, loss) == (0, 0, 7)  # the first of equal ends is token 0, before the start
    assert margin == pytest.approx(log2 / 2)
    # probabilities 1/4, 1/4, 1/2 against 0, 0, 1, and three thirds against the same
    assert el2n == pytest.approx(((6 / 16) ** 0.5 + (6 / 9) ** 0.5) / 2)
    assert hand_made([0, 5, 0], [0, 0, 5], (1, 2))[2:4] == [1, 1]
    assert hand_made([0, 5, 0], [0, 0, 5], (1, 1))[2:4] == [0, pytest.approx(2 / 3)]
    assert hand_made([5, 0, 0], [5, 0, 0], (1, 2))[2:5] == [0, 0, -5]
    assert hand_made([5, 0, 0], [5, 0, 0], (0, 0))[2:4] == [1, 1]  # no answer, found


def test_of_equal_logits_the_first_counts_whichever_is_gold(monkeypatch):
    """As in a prediction, whatever a device's argmax does with equal values."""
    monkeypatch.setattr(
        torch.Tensor, "argmax", lambda values, dim: values.shape[dim] - 1 - values.flip(dim).max(dim)[1]
    )
    assert torch.zeros(1, 3).argmax(-1).tolist() == [2]
    for gold in range(3):
        assert hand_made([5, 5, 5], [5, 5, 5], (gold, gold))[2:5] == [gold == 0, gold == 0, 0]
        assert hand_made([0, 5, 5], [0, 5, 5], (gold, gold))[2] == (gold == 1)
        logits = torch.tensor([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
        outputs, inputs = {"logits": logits}, {"labels": torch.tensor([gold, gold])}
        assert nli_measures(outputs, inputs, torch.zeros(2))[1].tolist() == [gold == 0, gold == 1]


def test_rows_that_come_again_in_an_epoch_count_once_with_their_first_time(still_model, tokenizer, tmp_path):
    trainer = make_trainer(still_model, tokenizer, tmp_path / "run", n_rows=6)
    recorder = add_recorder(trainer, tmp_path / "map", [str(number) for number in range(6)])
    recorder.on_train_begin(trainer.args, trainer.state, trainer.control)
    recorder.seen_at.fill_(NEVER)
    for rows, losses in (([2, 0, 2], [1.0, 2.0, 3.0]), ([1, 0], [4.0, 5.0])):
        batch = trainer.data_collator([trainer.train_dataset[row] for row in rows])
        with torch.no_grad():
            recorder.record(trainer.forward(trainer.model, batch), batch, torch.tensor(losses))
    values, seen_at = recorder.gathered()
    assert values[recorder.measures.index("loss"), :3].tolist() == [2, 4, 1]
    assert seen_at[:3].tolist() == [0, 1, 0]
    assert (seen_at[3:] == NEVER).all()


def test_examples_that_no_window_holds_are_listed_with_the_reason(tiny_model, tokenizer, tmp_path):
    long = "one two three four five six seven eight nine ten " * 8
    frame = qa_frame(
        ("Aspirin daily.", "What?", ["daily"], [8]),
        (long, "What?", [long.strip()], [0]),
        ("Aspirin daily.", "What?", ["\u200b"], [0]),
    )
    frame.loc[2, "context"] = "\u200bAspirin daily."
    trainer = make_trainer(tiny_model, tokenizer, tmp_path / "run", num_train_epochs=1)
    trainer.train_dataset = QaWindows(frame, tokenizer, MAX_LENGTH, STRIDE, to_train_on=True)
    recorded(trainer, tmp_path / "map", ["a", "b", "c"])
    listed = pd.read_csv(tmp_path / "map" / recordings.UNTRACKED).set_index("id")
    assert listed["reason"].to_dict() == {
        "b": "the gold answer does not fit into a window",
        "c": "no token stands for the gold answer",
    }
    assert listed.loc["b", "n_windows"] > 1
    assert listed.loc["c", "n_windows"] == 0  # it was not trained on as if it had no answer
    assert (listed["n_gold_windows"] == 0).all()
    assert list(read(tmp_path / "map", 1).index) == ["a"]


def test_a_fractional_last_epoch_says_how_often_examples_were_seen(tiny_model, tokenizer, tmp_path, caplog):
    trainer = make_trainer(
        tiny_model, tokenizer, tmp_path / "run", n_rows=20, num_train_epochs=1.5, per_device_train_batch_size=4
    )
    ids = [str(number) for number in range(20)]
    with caplog.at_level("INFO", logger="datamap.dynamics"):
        recorder = recorded(trainer, tmp_path / "map", ids)
    metrics = pd.read_csv(tmp_path / "map" / recordings.METRICS_CSV, dtype={"id": str}).set_index("id")
    second = read(tmp_path / "map", 2)
    assert 0 < len(second) < len(metrics) == 20
    assert set(metrics.index[metrics["num_epochs"] == 2]) == set(second.index)
    seen = recorder.gathered()[1] != NEVER
    windows = trainer.train_dataset
    whole = [n for n in range(20) if seen[(windows.example == n) & windows.has_gold].all()]
    assert {str(n) for n in whole} == set(second.index)
    assert (metrics.loc[metrics["num_epochs"] == 1, "variability"] == 0).all()
    assert f"{len(second)} examples in 2 epochs, {20 - len(second)} examples in 1 epochs" in caplog.text
    assert "means little" in caplog.text


def test_examples_that_training_did_not_reach_are_listed(tiny_model, tokenizer, tmp_path):
    trainer = make_trainer(tiny_model, tokenizer, tmp_path / "run", n_rows=20, max_steps=2)
    recorded(trainer, tmp_path / "map", [str(number) for number in range(20)])
    metrics = pd.read_csv(tmp_path / "map" / recordings.METRICS_CSV, dtype={"id": str})
    listed = pd.read_csv(tmp_path / "map" / recordings.UNTRACKED, dtype={"id": str})
    assert 0 < len(metrics) < 20
    assert sorted([*metrics["id"], *listed["id"]], key=int) == [str(number) for number in range(20)]
    assert listed["reason"].str.startswith("in no epoch were all windows").all()


def test_nan_outputs_stop_the_recording(tiny_model, tokenizer, tmp_path):
    trainer = make_trainer(tiny_model, tokenizer, tmp_path / "run", n_rows=4, num_train_epochs=1)
    with torch.no_grad():
        trainer.model.qa_outputs.bias.fill_(torch.nan)
    with pytest.raises(DataError, match="learning_rate"):
        recorded(trainer, tmp_path / "map", list("abcd"))
    assert recordings.epoch_paths(tmp_path / "map") == {}


def test_starting_anew_after_running_out_of_memory_forgets_the_failed_attempt(tiny_model, tokenizer, tmp_path):
    """--auto_find_batch_size begins training again with smaller batches; the failed attempt leaves no number."""
    trainer = make_trainer(
        tiny_model, tokenizer, tmp_path / "run", n_rows=12, num_train_epochs=2, auto_find_batch_size=True,
        per_device_train_batch_size=8,
    )  # fmt: skip
    recorder = add_recorder(trainer, tmp_path / "map", [str(number) for number in range(12)])
    n_windows, step, calls = len(trainer.train_dataset), trainer.training_step, []

    def failing(model, inputs, n_items=None):
        calls.append(len(inputs["row"]))
        if len(calls) == 2 + -(-n_windows // 8):  # in the second epoch of the first attempt
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return step(model, inputs, n_items)

    trainer.training_step = failing
    trainer.train()
    assert max(calls[-3:]) < 8
    assert sorted(recordings.epoch_paths(tmp_path / "map")) == [1, 2]
    assert (recorder.recorded.metrics["num_epochs"] == 2).all()
    assert recorder.clock == len(calls[2 + -(-n_windows // 8) :]) / 2


def test_bfloat16_records_float32_numbers(tiny_model, tokenizer, tmp_path):
    trainer = make_trainer(tiny_model, tokenizer, tmp_path / "run", n_rows=8, num_train_epochs=1, bf16=True)
    recorder = recorded(trainer, tmp_path / "map", [str(number) for number in range(8)])
    epoch = read(tmp_path / "map", 1)
    assert recorder.values.dtype == torch.float32
    assert epoch["gold_prob"].between(0, 1).all()
    assert len(epoch) == 8


def test_the_best_model_at_the_end_changes_nothing_in_the_recording(tiny_model, tokenizer, tmp_path):
    arguments = {"num_train_epochs": 2, "learning_rate": 1e-3, "n_rows": 10}
    ids = [str(number) for number in range(10)]
    recorded(make_trainer(tiny_model, tokenizer, tmp_path / "a", **arguments), tmp_path / "plain", ids)
    best = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True, "save_total_limit": 1}
    trainer = make_trainer(tiny_model, tokenizer, tmp_path / "b", metric_for_best_model="eval_f1", **best, **arguments)
    recorded(trainer, tmp_path / "best", ids)
    names = {path.name for path in (tmp_path / "plain").iterdir()} - {recordings.IN_PROGRESS}
    assert len(names) == 5
    for name in names:
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "best" / name).read_bytes()
    assert json.loads((tmp_path / "best" / recordings.METRICS_JSON).read_text())[0]["num_epochs"] == 2
