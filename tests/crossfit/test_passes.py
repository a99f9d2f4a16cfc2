"""Passes over held-out rows: batches, order and padding change nothing; what a pass keeps on disk comes back."""

import numpy as np
import pandas as pd
import pytest
import torch

from datamap.crossfit import state
from datamap.crossfit.passes import NliPass, QaPass
from datamap.errors import DataError
from datamap.features.windows import NliPairs
from tests.trainers import demo_windows


def logits_of(windows, seed):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(2, len(windows), int(windows.lengths.max()), generator=generator)


def looked_at(frame, windows, logits, batches, extra=0):
    """A pass of the windows in these batches, each as wide as its longest window and `extra` more."""
    looked = QaPass(windows, frame, max_answer_length=8, allow_no_answer=True)
    looked.start()
    for rows in batches:
        items = [windows[int(row)] for row in rows]
        width = min(max(len(item["input_ids"]) for item in items) + extra, logits.shape[2])
        mask = torch.tensor([[1] * len(i["input_ids"]) + [0] * (width - len(i["input_ids"])) for i in items])
        inputs = {"attention_mask": mask, "row": torch.tensor(rows)}
        for name in ("start_positions", "end_positions"):
            inputs[name] = torch.tensor([int(item[name]) for item in items])
        outputs = {name: logits[side, rows, :width] for side, name in enumerate(("start_logits", "end_logits"))}
        reduced = looked.reduce(outputs, inputs, torch.ones(len(rows)))
        looked.add(*(part.numpy() for part in reduced))
    return looked


def test_batches_padding_and_order_change_nothing(tokenizer):
    frame, windows = demo_windows(tokenizer, "v2", n_rows=12)
    logits = logits_of(windows, 1)
    order = np.arange(len(windows))
    one = looked_at(frame, windows, logits, [order])
    one.finish()
    shuffled = np.random.default_rng(2).permutation(order)
    again = [shuffled[:5], shuffled[5:], shuffled[:3]]  # some windows come twice, as from several processes
    other = looked_at(frame, windows, logits, again, extra=7)
    other.finish()
    assert windows.example.tolist() != list(range(len(windows)))
    for name, values in one.epoch.items():
        np.testing.assert_allclose(other.epoch[name], values, rtol=0, atol=1e-6)
    for name, values in one.answers.items():
        np.testing.assert_allclose(other.answers[name], values, rtol=0, atol=1e-6)


def test_figures_are_means_over_the_examples_that_have_them(tokenizer):
    frame, windows = demo_windows(tokenizer, "v2", n_rows=12)
    looked = looked_at(frame, windows, logits_of(windows, 1), [np.arange(len(windows))])
    assert looked.finish() == {}
    figures = looked.means
    assert figures["expected_f1"] == pytest.approx(np.nanmean(looked.epoch["expected_f1"]))
    assert figures["correctness"] == np.nanmean(looked.epoch["correct"])
    assert figures["loss"] == 1.0


def test_outputs_that_are_no_numbers_and_windows_that_did_not_come_are_refused(tokenizer):
    frame, windows = demo_windows(tokenizer, n_rows=4)
    with pytest.raises(RuntimeError, match="did not come whole"):
        looked_at(frame, windows, logits_of(windows, 1), [[0]]).finish()
    logits = logits_of(windows, 1)
    logits[0, 0, 0] = torch.nan
    with pytest.raises(DataError, match="not numbers"):
        looked_at(frame, windows, logits, [np.arange(len(windows))]).finish()


def test_a_pass_comes_back_from_its_file(tmp_path, tokenizer):
    pairs = pd.DataFrame({"premise": list("abc"), "hypothesis": list("def"), "label": [0, 1, 0]})
    features = NliPairs(pairs, tokenizer, 16)
    looked = NliPass(features, 2)
    looked.start()
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    inputs = {"row": torch.tensor([2, 0, 1]), "labels": torch.tensor([0, 0, 1])}
    looked.add(*(part.numpy() for part in looked.reduce({"logits": logits}, inputs, torch.zeros(3))))
    looked.finish()
    state.write_pass(tmp_path / "pass.npz", looked)
    measures, answers = state.read_pass(tmp_path / "pass.npz")
    assert list(measures) == list(looked.epoch)
    for name, values in looked.epoch.items():
        assert measures[name].tolist() == values.tolist()
    assert answers["probs"][2].tolist() == torch.softmax(logits[0], dim=0).tolist()
    (tmp_path / "pass.npz").write_bytes(b"half")
    with pytest.raises(DataError, match="cannot be read"):
        state.read_pass(tmp_path / "pass.npz")
