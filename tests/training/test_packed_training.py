"""Training with rows end to end: gradients, recorded numbers and evaluation are those of padded batches."""

import numpy as np
import pytest
import torch

from datamap.dynamics.recordings import align_epoch, epoch_path, read_epoch
from datamap.training.attention import use_row_attention
from datamap.training.packing import can_pack
from tests.trainers import gradients_of_one_step, make_trainer, recorded

N_ROWS = 12
ONE_STEP = {"max_steps": 1, "max_grad_norm": 0.0, "per_device_train_batch_size": 16, "seed": 3}
# Ways to cut a step: all at once, a few tokens at a time, the longest row alone, in two batches.
WAYS = {
    "at once": {"micro_batch_tokens": 4096},
    "a few rows": {"micro_batch_tokens": 100},
    "row by row": {"micro_batch_tokens": 40},
    "accumulated": {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "micro_batch_tokens": 100},
}


def packed(trainer):
    assert use_row_attention(trainer.model)
    assert can_pack(trainer.model)
    return trainer


def close(one, other, atol):
    assert one.keys() == other.keys()
    assert max(gradient.abs().max() for gradient in one.values()) > 1e-3
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=atol)


@pytest.mark.parametrize("way", WAYS)
def test_the_gradient_of_a_step_is_that_of_the_padded_batch(still_model, tokenizer, tmp_path, way):
    padded = make_trainer(still_model, tokenizer, tmp_path / "padded", n_rows=N_ROWS, **ONE_STEP)
    own = make_trainer(still_model, tokenizer, tmp_path / "own", n_rows=N_ROWS, **(ONE_STEP | WAYS[way]))
    assert not can_pack(padded.model)
    assert own.train_dataset.lengths.max() == 40  # a row as long as the least budget
    close(gradients_of_one_step(packed(own)), gradients_of_one_step(padded), 1e-6)


def test_recorded_numbers_and_the_evaluation_are_those_of_padded_batches(still_model, tokenizer, tmp_path):
    ids, found = [str(row) for row in range(N_ROWS)], {}
    for name, prepare in (("padded", lambda trainer: trainer), ("packed", packed)):
        settings = {"n_rows": N_ROWS, "num_train_epochs": 2, "learning_rate": 1e-3, "eval_batch_tokens": 200}
        trainer = prepare(make_trainer(still_model, tokenizer, tmp_path / name, **settings))
        directory = tmp_path / f"{name} map"
        recorded(trainer, directory, ids)
        epochs = [align_epoch(read_epoch(epoch_path(directory, number)), ids) for number in (1, 2)]
        found[name] = epochs, trainer.evaluate(), trainer.evaluation
    (epochs, figures, _), (own_epochs, own_figures, _) = found["padded"], found["packed"]
    for epoch, own in zip(epochs, own_epochs, strict=True):
        assert epoch.keys() == own.keys()
        assert np.isfinite(epoch["gold_prob"]).any()
        for measure in epoch:
            np.testing.assert_allclose(own[measure], epoch[measure], rtol=0, atol=2e-5, err_msg=measure)
    assert own_figures["eval_f1"] == pytest.approx(figures["eval_f1"])
    assert own_figures["eval_loss"] == pytest.approx(figures["eval_loss"], abs=1e-5)
