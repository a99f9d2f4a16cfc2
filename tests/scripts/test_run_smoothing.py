"""run.py --label_smoothing_factor and --example_smoothing: NLI as Transformers does it, identities, refusals."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from datamap.crossfit import loop
from datamap.dynamics import recordings
from datamap.files import manifests
from tests.lines import write_lines
from tests.rows import aspirin_rows

N_ROWS = 12
SHORT = ("--max_length", 40, "--doc_stride", 12, "--no_cuda")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with rows.jsonl (QA), zeros.csv and tenths.csv, a factor of every row."""
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "rows.jsonl", aspirin_rows(N_ROWS))
    for name, factor in (("zeros", 0), ("tenths", 0.1)):
        (tmp_path / f"{name}.csv").write_text("id,factor\n" + "".join(f"{n:03d},{factor}\n" for n in range(N_ROWS)))
    return tmp_path


def qa(model, *argv):
    return ("--do_train", "--dataset", "rows.jsonl", "--model", model, "--learning_rate", "1e-3", *argv, *SHORT)


def changed(one, other):
    one, other = (load_file(directory / "model.safetensors") for directory in (one, other))
    return [name for name in one if (one[name] != other[name]).any()]


def test_an_nli_step_is_that_of_transformers_smoother(command, tmp_path, still_model, tokenizer):
    """Gradient descent at rate 1, from a model with a head of its own; all pairs in a step."""
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.trainer_pt_utils import LabelSmoother

    rows = [
        {"id": str(n), "premise": f"It has {n} beds.", "hypothesis": "No one slept. " * (1 + n % 3), "label": n % 3}
        for n in range(9)
    ]
    write_lines(tmp_path / "pairs.jsonl", rows)
    argv = ("--do_train", "--task", "nli", "--dataset", tmp_path / "pairs.jsonl", "--max_steps", 1, "--optim", "sgd",
            "--per_device_train_batch_size", 9, "--lr_scheduler_type", "constant", "--max_grad_norm", 0, "--no_cuda",
            "--micro_batch_tokens", 60)  # fmt: skip
    head, out = tmp_path / "head", tmp_path / "out"
    assert command(*argv, "--model", still_model, "--learning_rate", 0, "--output_dir", head)[0] == 0
    smoothed = ("--learning_rate", 1, "--label_smoothing_factor", 0.3)
    code, _, err = command(*argv, "--model", head, "--output_dir", out, *smoothed)
    assert code == 0, err
    model = AutoModelForSequenceClassification.from_pretrained(head)
    texts = [row["premise"] for row in rows], [row["hypothesis"] for row in rows]
    labels = torch.tensor([row["label"] for row in rows])
    loss = LabelSmoother(0.3)(model(**tokenizer(*texts, padding=True, return_tensors="pt")), labels)
    loss.backward()
    stepped = load_file(out / "model.safetensors")
    assert max(p.grad.abs().max() for p in model.parameters()) > 1e-3
    for name, weights in model.named_parameters():
        np.testing.assert_allclose(stepped[name], (weights - weights.grad).detach().numpy(), rtol=0, atol=2e-6)
    trained = json.loads((out / "trainer_state.json").read_text())["log_history"][-1]["train_loss"]
    assert trained == pytest.approx(loss.item(), abs=1e-6)


def test_zeros_are_none_and_a_file_of_equal_factors_is_the_flag(command, here, tiny_model):
    ways = {
        "none": (),
        "no_flag": ("--label_smoothing_factor", 0),
        "zeros": ("--example_smoothing", "zeros.csv"),
        "tenths": ("--example_smoothing", "tenths.csv"),
        "flag": ("--label_smoothing_factor", 0.1),
    }
    for name, argv in ways.items():
        recording = ("--enable_cartography", "--cartography_output_dir", f"{name}_map", "--output_dir", name)
        code, _, err = command(*qa(tiny_model, *recording, "--num_train_epochs", 2, *argv))
        assert code == 0, err
    assert changed(here / "none", here / "no_flag") == changed(here / "none", here / "zeros") == []
    assert changed(here / "tenths", here / "flag") == []
    assert changed(here / "none", here / "flag")
    epochs = {name: recordings.epoch_path(here / f"{name}_map", 2).read_bytes() for name in ways}
    assert epochs["none"] == epochs["zeros"] != epochs["tenths"] == epochs["flag"]
    identities = {name: manifests.read_manifest(here / f"{name}_map")["identity"] for name in ways}
    assert identities["none"].keys() == identities["no_flag"].keys()
    assert identities["flag"].items() - identities["none"].items() >= {("--label_smoothing_factor", 0.1)}
    digest = manifests.file_hash(here / "tenths.csv")
    assert identities["tenths"]["example smoothing"] == digest
    data = {name: manifests.read_manifest(here / name)["data"]["train"] for name in ways}
    assert data["tenths"]["example_smoothing_sha256"] == digest
    assert data["none"] == data["flag"]


@pytest.mark.parametrize(
    ("first", "then", "told"),
    [
        (("--example_smoothing", "tenths.csv"), ("--example_smoothing", "zeros.csv"),
         "its recording is of other example smoothing: resume with the file of --example_smoothing that it had."),
        (("--label_smoothing_factor", 0.1), ("--label_smoothing_factor", 0.2),
         "its recording was made with --label_smoothing_factor 0.1, and this run has --label_smoothing_factor 0.2: "
         "resume with the same."),
        (("--label_smoothing_factor", 0.1), (),
         "its recording was made with --label_smoothing_factor 0.1, and this run has --label_smoothing_factor None: "
         "resume with the same."),
    ],
)  # fmt: skip
def test_a_recording_goes_on_with_the_same_smoothing_alone(command, here, tiny_model, first, then, told):
    recording = ("--enable_cartography", "--save_strategy", "steps", "--save_steps", 1, "--max_steps", 2)
    going_on = ("--resume_from_checkpoint", "trainer_output/checkpoint-1", "--overwrite_output_dir")
    code, _, err = command(*qa(tiny_model, *recording, *first))
    assert code == 0, err
    code, _, err = command(*qa(tiny_model, *recording, *going_on, *then))
    assert (code, err.splitlines()[-1]) == (
        1,
        f"error: --resume_from_checkpoint trainer_output/checkpoint-1: {told}",
    )
    code, _, err = command(*qa(tiny_model, *recording, *going_on, *first))
    assert code == 0, err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--example_smoothing", "tenths.csv"), "is of other example smoothing: "),
        (("--label_smoothing_factor", 0.1), "has --label_smoothing_factor 0.1, and this run None: "),
    ],
)
def test_an_unfinished_cross_fit_goes_on_with_the_same_smoothing_alone(
    command, here, tiny_model, monkeypatch, words, told
):
    def killed(run):
        raise KeyboardInterrupt("stopped")

    argv = qa(tiny_model, "--cross_fit", 3, "--max_steps", 1)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "cross_fit", killed)
        command(*argv, *words)
    code, _, err = command(*argv, "--resume_from_checkpoint", "last")
    assert (code, told in err.splitlines()[-1]) == (1, True), err
    code, _, err = command(*argv, *words, "--resume_from_checkpoint", "last")
    assert code == 0, err


BOTH = "--label_smoothing_factor and --example_smoothing both say how smooth labels are: leave one out."
RANGE = "--label_smoothing_factor {} does not lie from 0 to below 1."


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("--do_train", "--label_smoothing_factor", "0.1", "--example_smoothing", "tenths.csv"), BOTH),
        (("--do_train", "--label_smoothing_factor", "1"), RANGE.format("1.0")),
        (("--do_train", "--label_smoothing_factor", "-0.1"), RANGE.format("-0.1")),
        (("--do_train", "--label_smoothing_factor", "nan"), RANGE.format("nan")),
        (("--do_eval", "--label_smoothing_factor", "0.1"), "--label_smoothing_factor needs --do_train: add it."),
        (("--do_eval", "--example_smoothing", "tenths.csv"), "--example_smoothing needs --do_train: add it."),
    ],
)
def test_smoothing_that_cannot_act_is_refused(command, here, tiny_model, argv, told):
    code, _, err = command("--dataset", "rows.jsonl", "--model", tiny_model, *argv, "--no_cuda")
    assert (code, err.splitlines()[-1]) == (2, f"error: {told}")
    assert not (here / "trainer_output").exists()
