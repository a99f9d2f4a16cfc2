"""Bad input: one plain sentence that says what to do, exit code 1 (data) or 2 (usage), nothing left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.models import save_electra
from tests.paths import ROOT

ROW = {"context": "Aspirin daily.", "question": "How often?", "answers": {"text": ["daily"], "answer_start": [8]}}

DEMO = ("--do_train", "--dataset", "demo", "--model", "demo")


@pytest.fixture
def refused(command, tmp_path):
    """Run run.py on something it must refuse; returns (exit code, the sentence)."""

    def call(*argv) -> tuple[int, str]:
        out = tmp_path / "refused_output"
        code, printed, err = command(*argv, "--output_dir", out, "--no_cuda")
        sentences = [line for line in err.splitlines() if line.startswith("error: ")]
        assert printed == ""
        assert len(sentences) == 1, err
        assert "Traceback" not in err
        assert not out.exists()
        return code, sentences[0]

    return call


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "pass --do_train to train, --do_eval to evaluate"),
        (("--do_train", "--max_train_samples", "0"), "0 is not at least 1"),
        (("--do_train", "--validation_fraction", "1.5"), "between 0 and 1"),
        (("--do_train", "--max_lenght", "128"), "--max_lenght; did you mean --max_length?"),
        (("--do_train", "--num_train_epoch", "2"), "--num_train_epoch; did you mean --num_train_epochs?"),
        (("--do_trian",), "--do_trian; did you mean --do_train?"),
        (("--do_train", "--seed", "many"), "argument --seed: invalid int value: 'many'"),
        (("--do_train", "--bf16", "true", "stray"), "unknown argument stray"),
        (("--do_train", "--ablations", "both"), "invalid choice: 'both'"),
        (("--do_train", "--load_best_model_at_end", "--eval_strategy", "steps"), "do not fit together"),
        (("--do_train", "--eval_split", "test"), "--eval_split needs --do_eval"),
        (("--do_eval", "--max_train_samples", "5"), "--max_train_samples needs --do_train"),
        (("--do_eval", "--eval_dataset", "demo", "--validation_fraction", "0.1"), "does not go with --eval_dataset"),
        (("--do_train", "--task", "nli", "--doc_stride", "8"), "--doc_stride is for --task qa"),
        ((*DEMO, "--do_eval", "--null_score_threshold", "1"), "cannot act"),
        (("--do_train", "--task", "qa", "--dataset", "demo:nli", "--model", "demo"), "--task nli"),
        (("--do_train", "--dataset", "demo:v9", "--model", "demo"), "demo:v2"),
        ((*DEMO, "--max_length", "600"), "600 is more than the model's 512"),
        ((*DEMO, "--max_length", "64", "--doc_stride", "60"), "lower --doc_stride or raise --max_length"),
        ((*DEMO, "--do_eval", "--metric_for_best_model", "bleu"), "bleu is not a figure of the evaluation"),
        (("--no_such_flag", "1"), "unknown argument --no_such_flag"),
        (("--seed", "1"), "nothing to do"),
        (("--do_train", "--dataset", "gone.json", "--report_to", "nonsense"), "--report_to nonsense is not known"),
        (("--do_train", "--early_stopping_patience", "2"), "needs --load_best_model_at_end and an --eval_strategy"),
        (("--do_eval", "--early_stopping_patience", "2"), "--early_stopping_patience needs --do_train"),
        (("--do_train", "--seed", "-1"), "--seed -1 does not lie between"),
        (("--do_train", "--per_device_train_batch_size", "0"), "--per_device_train_batch_size must be at least 1"),
        (("--do_train", "--num_train_epochs", "-1"), "--num_train_epochs -1.0 is not above 0"),
        (("--do_train", "--max_length", "abc"), "'abc' is not a whole number"),
        (("--do_eval", "--null_score_threshold", "nan"), "'nan' is not a finite number"),
        (("--do_train", "--n_best_size", "4"), "--n_best_size needs --do_eval"),
        (("--do_eval", "--n_best_size", "4"), "--n_best_size acts with --save_nbest"),
        (("--do_train", "--task", "nli", "--doc_stride", "0"), "--doc_stride is for --task qa"),
    ],
)  # fmt: skip
def test_misuse_ends_with_2(refused, argv, words):
    code, sentence = refused(*argv)
    assert words in sentence
    assert code == 2


@pytest.mark.parametrize(
    "script", ["run", "analyze_cartography", "extract_embeddings", "cluster_analysis", "analyze_dataset"]
)
def test_every_script_names_an_unknown_flag_where_nothing_else_is_asked_for(script, capsys, tmp_path, monkeypatch):
    import importlib

    import helpers

    monkeypatch.chdir(tmp_path)
    assert helpers.run_script(importlib.import_module(script).main, ["--no_such_flag", "1"]) == 2
    assert "--no_such_flag" in capsys.readouterr().err.splitlines()[-1]


def test_a_report_to_a_package_that_is_not_there_is_said_before_the_data_are_loaded(refused, monkeypatch):
    monkeypatch.setattr("transformers.integrations.get_available_reporting_integrations", lambda: ["tensorboard"])
    code, sentence = refused("--do_train", "--dataset", "gone.json", "--report_to", "wandb")
    assert "--report_to wandb needs the package of wandb, which is not installed" in sentence
    assert code == 2


def larger_vocabulary(tiny_model: Path, directory: Path) -> Path:
    """A model directory whose tokenizer has one token more than the model."""
    from transformers import AutoTokenizer

    shutil.copytree(tiny_model, directory)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    tokenizer.add_tokens(["cephalexin"])
    tokenizer.save_pretrained(directory)
    return directory


@pytest.mark.parametrize("script", ["run", "extract_embeddings"])
def test_a_tokenizer_with_more_tokens_than_the_model(script, tmp_path, tiny_model, capsys):
    """The data set is missing, too: the sentence comes before anything is read."""
    import importlib

    import helpers

    model = larger_vocabulary(tiny_model, tmp_path / "model")
    flags = {"run": ["--do_train", "--model"], "extract_embeddings": ["--model_path"]}[script]
    argv = [*flags, str(model), "--dataset", "gone.json", "--output_dir", str(tmp_path / "out")]
    assert helpers.run_script(importlib.import_module(script).main, argv) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert f"{flags[-1]} {model}: its tokenizer has 30523 tokens, but the model embeddings for 30522 alone" in sentence
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (None, "gone.json", "gone.json"),
        ('{"data": [\n{"context": "a",}]}', "broken.json", "line 2"),
        ('{"context": "a"}\n{"context": \n', "broken.jsonl", "line 2"),
        (json.dumps([{"context": "a", "text": "b"}]), "columns.json", "question"),
        (json.dumps([ROW | {"context": ""}]), "empty.json", "none of its 1 rows is usable"),
        ("", "nothing.csv", "nothing.csv"),
    ],
)
def test_bad_data_end_with_1(refused, tmp_path, content, name, words):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    code, sentence = refused("--do_train", "--dataset", path, "--model", "demo")
    assert words in sentence
    assert code == 1


def test_a_split_that_does_not_exist(refused):
    code, sentence = refused("--do_train", "--dataset", "demo", "--train_split", "dev", "--model", "demo")
    assert "train, validation" in sentence
    assert code == 1


def test_nothing_to_evaluate_on_is_asked_back(refused, tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([ROW]))
    code, sentence = refused("--do_eval", "--dataset", path, "--model", "demo")
    assert "--eval_split" in sentence
    assert "--validation_fraction" in sentence
    assert code == 2


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("model.safetensors", "without weights"),
        ("tokenizer.json", "without a tokenizer"),
        ("config.json", "without a config.json"),
    ],
)
def test_a_model_directory_that_lacks_something(refused, tmp_path, tiny_model, missing, words):
    copy = tmp_path / "model"
    shutil.copytree(tiny_model, copy)
    (copy / missing).unlink()
    code, sentence = refused("--do_train", "--dataset", "demo", "--model", copy)
    assert words in sentence
    assert code == 1


def test_an_encoder_without_a_trained_head_is_not_evaluated(refused, tiny_model):
    code, sentence = refused("--do_eval", "--dataset", "demo", "--model", tiny_model)
    assert "no trained weights" in sentence
    assert code == 1


def broken_weights(directory):
    (directory / "model.safetensors").write_bytes((directory / "model.safetensors").read_bytes()[:1000])


def other_sizes(directory):
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"hidden_size": 48}))


def other_model(directory):
    (directory / "config.json").write_text(
        json.dumps({"model_type": "bert", "hidden_size": 32, "num_attention_heads": 2})
    )


def broken_tokenizer(directory):
    (directory / "tokenizer.json").write_text("{}")


@pytest.mark.parametrize("spoil", [broken_weights, other_sizes, other_model, broken_tokenizer])
def test_a_model_whose_files_do_not_belong_together(refused, tmp_path, tiny_model, spoil):
    copy = tmp_path / "model"
    shutil.copytree(tiny_model, copy)
    spoil(copy)
    code, sentence = refused("--do_train", "--dataset", "demo", "--model", copy)
    assert str(copy) in sentence
    assert code == 1


def test_a_failing_run_leaves_the_finished_one_alone(command, tmp_path, tiny_model):
    out = tmp_path / "out"
    argv = (
        "--do_train",
        "--dataset",
        "demo",
        "--max_train_samples",
        8,
        "--max_steps",
        1,
        "--output_dir",
        out,
        "--no_cuda",
    )
    assert command(*argv, "--model", tiny_model)[0] == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    for wrong in (
        ("--model", tmp_path / "gone"),
        ("--model", tiny_model, "--max_length", 5000),
        ("--model", out / "checkpoint-1"),
    ):
        assert command(*argv, *wrong, "--overwrite_output_dir")[0] in (1, 2)
        assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_names_that_only_a_hub_could_know(refused, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, sentence = refused("--do_train", "--dataset", "nobody/no-such-data-set", "--model", "demo")
    assert "nobody/no-such-data-set" in sentence
    assert "demo" in sentence
    assert code == 1


def test_a_model_name_that_only_a_hub_could_know(refused, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    code, sentence = refused("--do_train", "--dataset", "demo", "--model", "nobody/no-such-model")
    assert "nobody/no-such-model" in sentence
    assert "--model demo" in sentence
    assert code == 1


def heed_interrupts() -> None:
    """A shell that starts the tests in the background has them ignore SIGINT, which children inherit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_names_the_last_checkpoint(tmp_path, tokenizer):
    """A real interrupt: SIGINT to the running script once its first checkpoint is complete."""
    model = save_electra(tmp_path / "model", tokenizer)
    argv = ["--do_train", "--dataset", "demo", "--model", model, "--output_dir", tmp_path / "out", "--no_cuda",
            "--save_strategy", "steps", "--save_steps", "20", "--num_train_epochs", "200"]  # fmt: skip
    command = [sys.executable, str(ROOT / "run.py"), *map(str, argv)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, preexec_fn=heed_interrupts)
    deadline = time.monotonic() + 600
    while not list((tmp_path / "out").glob("checkpoint-*/trainer_state.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert "Traceback" not in err
    assert "the last checkpoint is" in err
    assert "--resume_from_checkpoint last" in err
    assert process.returncode == 1


def test_the_old_cache_name_is_honoured_with_one_line(monkeypatch, capsys):
    import helpers

    monkeypatch.setenv("TRANSFORMERS_CACHE", "/somewhere/models")
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    helpers.set_up_logging()
    helpers.honour_old_cache_name()
    assert os.environ["HF_HUB_CACHE"] == "/somewhere/models"
    assert capsys.readouterr().err.count("TRANSFORMERS_CACHE") == 1
    monkeypatch.setenv("HF_HUB_CACHE", "/elsewhere")
    helpers.honour_old_cache_name()
    assert os.environ["HF_HUB_CACHE"] == "/elsewhere"


def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    from datamap.errors import DataError
    from datamap.files import outputs

    path = tmp_path / "figures.json"
    path.write_text("old")

    def rows():
        yield {"row": 1}
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="No space left on device"):
        outputs.write_jsonl(path, rows())
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["figures.json"]
