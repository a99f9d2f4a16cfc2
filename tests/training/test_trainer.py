"""The Trainer: padding, batching, accumulation, order of work and restarts change nothing."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from datamap.training.cpu_functions import CpuFunctions
from tests.trainers import gradients_of_one_step, make_trainer, padded_to, weights


def test_padding_changes_neither_losses_nor_spans(tiny_model, tokenizer, tmp_path):
    trainer = make_trainer(tiny_model, tokenizer, tmp_path)
    model = trainer.model.eval()
    batch = trainer.data_collator([trainer.train_dataset[number] for number in range(12)])
    wide = padded_to(batch, 512)
    assert wide["input_ids"].shape[1] == 512 > batch["input_ids"].shape[1]
    with torch.no_grad():
        narrow_out, wide_out = trainer.forward(model, batch), trainer.forward(model, wide)
        narrow, broad = trainer.row_losses(narrow_out, batch), trainer.row_losses(wide_out, wide)
        stock = model(**{key: wide[key] for key in wide if key not in ("row", "context_start", "context_end")}).loss
        trainer.evaluation.start()
        found_narrow = trainer.evaluation.reduce(narrow_out, batch, narrow)
        found_wide = trainer.evaluation.reduce(wide_out, wide, broad)
    torch.testing.assert_close(narrow, broad, rtol=0, atol=1e-6)
    assert abs(stock - broad.mean()) > 0.1  # the stock head lets padding into the softmax
    for one, other in zip(found_narrow[2:], found_wide[2:], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_row_losses_equal_cross_entropy_computed_window_by_window(tiny_model, tokenizer, tmp_path):
    trainer = make_trainer(tiny_model, tokenizer, tmp_path)
    model = trainer.model.eval()
    batch = trainer.data_collator([trainer.train_dataset[number] for number in range(9)])
    with torch.no_grad():
        losses = trainer.row_losses(trainer.forward(model, batch), batch)
        for number in range(9):
            item = trainer.train_dataset[number]
            alone = {key: torch.tensor(item[key])[None] for key in ("input_ids", "token_type_ids")}
            output = model(**alone)
            start = -torch.log_softmax(output.start_logits[0].double(), 0)[item["start_positions"]]
            end = -torch.log_softmax(output.end_logits[0].double(), 0)[item["end_positions"]]
            assert losses[number].item() == pytest.approx(((start + end) / 2).item(), abs=1e-6)


def test_gradients_agree_between_one_batch_of_16_and_4_of_4(still_model, tokenizer, tmp_path):
    arguments = {"max_steps": 1, "max_grad_norm": 0.0, "train_sampling_strategy": "sequential"}
    whole = make_trainer(
        still_model,
        tokenizer,
        tmp_path / "a",
        per_device_train_batch_size=16,
        gradient_accumulation_steps=1,
        **arguments,
    )
    parts = make_trainer(
        still_model,
        tokenizer,
        tmp_path / "b",
        per_device_train_batch_size=4,
        gradient_accumulation_steps=4,
        **arguments,
    )
    one, other = gradients_of_one_step(whole), gradients_of_one_step(parts)
    assert one.keys() == other.keys()
    assert max(gradient.abs().max() for gradient in one.values()) > 1e-3
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("micro_batch_tokens", [1, 100, 250])
def test_micro_batches_leave_the_gradient_of_the_whole_batch(still_model, tokenizer, tmp_path, micro_batch_tokens):
    arguments = {"max_steps": 1, "max_grad_norm": 0.0, "per_device_train_batch_size": 16, "seed": 3}
    whole = make_trainer(still_model, tokenizer, tmp_path / "a", micro_batch_tokens=10**6, **arguments)
    parts = make_trainer(still_model, tokenizer, tmp_path / "b", micro_batch_tokens=micro_batch_tokens, **arguments)
    calls = []
    parts.compute_loss = lambda *args, call=parts.compute_loss, **kwargs: calls.append(args) or call(*args, **kwargs)
    one, other = gradients_of_one_step(whole), gradients_of_one_step(parts)
    assert len(calls) > 2
    assert one.keys() == other.keys()
    assert max(gradient.abs().max() for gradient in one.values()) > 1e-3
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-6)


def test_the_stand_ins_leave_the_gradient_of_pytorchs_functions(still_model, tokenizer, tmp_path):
    arguments = {"max_steps": 1, "max_grad_norm": 0.0, "per_device_train_batch_size": 16}
    ours = make_trainer(still_model, tokenizer, tmp_path / "a", **arguments)
    stock = make_trainer(still_model, tokenizer, tmp_path / "b", **arguments)
    assert isinstance(ours.functions, CpuFunctions)
    stock.functions = contextlib.nullcontext()
    one, other = gradients_of_one_step(ours), gradients_of_one_step(stock)
    assert any("word_embeddings" in name for name in one)
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-6)


def test_the_last_short_step_is_a_mean_over_its_rows(still_model, tokenizer, tmp_path):
    """10 windows in steps of 2 x 4: the second step holds 2 rows, and each weighs a half, not an eighth."""
    trainer = make_trainer(
        still_model, tokenizer, tmp_path, per_device_train_batch_size=4, gradient_accumulation_steps=2,
        train_sampling_strategy="sequential",
    )  # fmt: skip
    batches = [trainer.data_collator([trainer.train_dataset[n] for n in rows]) for rows in ((8, 9),)]
    (batch,), n_rows = trainer.get_batch_samples(iter(batches), 2, "cpu")
    assert n_rows == 2
    assert type(n_rows) is int  # a number of the device would have to be asked for
    with torch.no_grad():
        loss = trainer.compute_loss(trainer.model.eval(), batch, num_items_in_batch=n_rows)
        rows = trainer.row_losses(trainer.forward(trainer.model, batch), batch)
    assert loss.item() == pytest.approx(rows.mean().item(), abs=1e-7)


@pytest.mark.parametrize(
    "arguments",
    [
        {"train_sampling_strategy": "group_by_length"},
        {"per_device_eval_batch_size": 5},
        {"dataloader_drop_last": True, "per_device_eval_batch_size": 7},
        {"dataloader_num_workers": 2},
        {"eval_batch_tokens": 300},
        {"for_gpu": True, "eval_batch_tokens": 640, "per_device_eval_batch_size": 7},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_the_order_of_work_changes_no_result(tiny_model, tokenizer, tmp_path, arguments):
    reference = make_trainer(tiny_model, tokenizer, tmp_path / "a", "v2", per_device_eval_batch_size=8)
    other = make_trainer(tiny_model, tokenizer, tmp_path / "b", "v2", **arguments)
    expected, figures = reference.evaluate(), other.evaluate()
    assert list(other.evaluation.predictions())[0].keys() == list(reference.evaluation.predictions())[0].keys()
    for one, two in zip(reference.evaluation.predictions(), other.evaluation.predictions(), strict=True):
        assert (one["id"], one["predicted_answer"], one["em"]) == (two["id"], two["predicted_answer"], two["em"])
        assert one["predicted_score"] == pytest.approx(two["predicted_score"], abs=1e-5)
    for name in ("eval_exact_match", "eval_f1", "eval_f1_low", "eval_loss", "eval_best_f1"):
        assert figures[name] == pytest.approx(expected[name], abs=1e-5)


def test_batches_for_a_gpu_train_to_the_same_weights(still_model, tokenizer, tmp_path):
    """Padded to multiples of 8, without a mask where nothing is padded, cut by lengths that stay on the host."""
    arguments = {"max_steps": 1, "max_grad_norm": 0.0, "per_device_train_batch_size": 16, "seed": 3}
    plain = make_trainer(still_model, tokenizer, tmp_path / "a", micro_batch_tokens=10**6, **arguments)
    cut = make_trainer(still_model, tokenizer, tmp_path / "b", micro_batch_tokens=130, for_gpu=True, **arguments)
    shapes = []
    step = cut.forward
    cut.forward = lambda model, inputs: (
        shapes.append((inputs["input_ids"].shape, "attention_mask" in inputs)) or step(model, inputs)
    )
    one, other = gradients_of_one_step(plain), gradients_of_one_step(cut)
    assert {shape[1] % 8 for shape, _ in shapes} == {0}
    assert {masked for _, masked in shapes} == {True, False}
    assert all(rows * width <= 130 for (rows, width), _ in shapes)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-6)


def test_evaluation_equals_an_example_by_example_search(tiny_model, tokenizer, tmp_path):
    """Every window on its own, all spans in Python loops, best over the windows."""
    trainer = make_trainer(tiny_model, tokenizer, tmp_path, n_rows=12)
    trainer.evaluate()
    predicted = [row["predicted_answer"] for row in trainer.evaluation.predictions()]
    windows, model = trainer.eval_dataset, trainer.model.eval()
    best = {}
    for number in range(len(windows)):
        item = windows[number]
        with torch.no_grad():
            output = model(**{key: torch.tensor(item[key])[None] for key in ("input_ids", "token_type_ids")})
        starts, ends = output.start_logits[0].numpy(), output.end_logits[0].numpy()
        for i in range(item["context_start"], item["context_end"]):
            for j in range(i, min(i + 30, item["context_end"])):
                example = int(windows.example[number])
                best[example] = max(best.get(example, (-np.inf,)), (float(starts[i] + ends[j]), number, i, j))
    contexts = trainer.evaluation.frame["context"]
    for example, (_, number, i, j) in best.items():
        start, end = windows.char_spans(np.array([number]), np.array([i]), np.array([j]))
        assert predicted[example] == contexts[example][start[0] : end[0]]


def test_resuming_gives_the_weights_of_the_uninterrupted_run(tiny_model, tokenizer, tmp_path):
    arguments = {"num_train_epochs": 2, "per_device_train_batch_size": 4, "save_strategy": "steps", "save_steps": 0.4}
    whole = make_trainer(tiny_model, tokenizer, tmp_path / "whole", **arguments)
    start = weights(whole)
    whole.train()
    saved = sorted((tmp_path / "whole").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    steps = [int(path.name.split("-")[1]) for path in saved]
    assert 0 < steps[0] < whole.state.max_steps / 2
    resumed = make_trainer(tiny_model, tokenizer, tmp_path / "resumed", **arguments)
    resumed.train(resume_from_checkpoint=str(saved[0]))
    after, again = weights(whole), weights(resumed)
    assert any(not torch.equal(after[name], start[name]) for name in after)
    for name in after:
        assert torch.equal(after[name], again[name]), name


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
def test_resuming_in_the_second_epoch_sees_the_same_batches(tiny_model, tokenizer, tmp_path, strategy):
    arguments = {"num_train_epochs": 2, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    arguments |= {"save_strategy": "steps", "save_steps": 2, "train_sampling_strategy": strategy}
    whole = make_trainer(tiny_model, tokenizer, tmp_path / "whole", n_rows=20, **arguments)
    whole.train()
    steps = sorted(int(path.name.split("-")[1]) for path in (tmp_path / "whole").glob("checkpoint-*"))
    late = next(step for step in steps if step > whole.state.max_steps / 2)
    assert late < whole.state.max_steps
    resumed = make_trainer(tiny_model, tokenizer, tmp_path / "resumed", n_rows=20, **arguments)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{late}"))
    after, again = weights(whole), weights(resumed)
    assert [name for name in after if not torch.equal(after[name], again[name])] == []


def test_evaluating_on_the_way_changes_no_weight(tiny_model, tokenizer, tmp_path):
    plain = make_trainer(tiny_model, tokenizer, tmp_path / "plain", n_rows=12, max_steps=4)
    plain.train()
    watched = make_trainer(
        tiny_model, tokenizer, tmp_path / "watched", n_rows=12, max_steps=4, eval_strategy="steps", eval_steps=1
    )
    watched.train()
    assert sum("eval_f1" in entry for entry in watched.state.log_history) == 4
    one, other = weights(plain), weights(watched)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_nan_outputs_are_refused(tiny_model, tokenizer, tmp_path):
    from datamap.errors import DataError

    trainer = make_trainer(tiny_model, tokenizer, tmp_path, n_rows=4)
    with torch.no_grad():
        trainer.model.qa_outputs.bias.fill_(torch.nan)
    with pytest.raises(DataError, match="learning_rate"):
        trainer.evaluate()


def test_best_model_by_f1(tiny_model, tokenizer, tmp_path):
    trainer = make_trainer(
        tiny_model, tokenizer, tmp_path, n_rows=16, num_train_epochs=2, eval_strategy="epoch", save_strategy="epoch",
        load_best_model_at_end=True, metric_for_best_model="eval_f1", learning_rate=1e-3,
    )  # fmt: skip
    trainer.train()
    state = json.loads((Path(tmp_path) / f"checkpoint-{trainer.state.global_step}" / "trainer_state.json").read_text())
    scores = [entry["eval_f1"] for entry in state["log_history"] if "eval_f1" in entry]
    assert trainer.state.best_metric == max(scores)
    assert trainer.evaluate()["eval_f1"] == pytest.approx(max(scores), abs=1e-9)
