"""The commands that people type, one after the other in one empty directory, as they type them.

Only what needs a hub is another: the default model is a tiny one, the default data sets are the first rows of `demo`.
"""

import importlib
import shlex
from pathlib import Path

import pytest

from datamap.files import manifests

EVALUATION = {"eval_metrics.json", "eval_predictions.jsonl", "eval_data_problems.csv", "eval_manifest.json"}
N_TRAIN, N_EVAL = 120, 40
SEVERAL = (
    "run.py --do_train --do_eval --dataset demo --num_train_epochs 1 --max_train_samples 50 --max_eval_samples 20 "
    "--per_device_train_batch_size 16 --save_total_limit 2 --save_strategy epoch --ablations q_only --no_cuda"
)


@pytest.fixture
def typed(tmp_path, monkeypatch, tiny_model, capsys):
    """Run a command line in an empty directory; returns (exit code, stdout, stderr)."""
    import helpers
    from datamap.data import examples
    from datamap.demo import data
    from datamap.options import arguments

    make = data.make_demo
    sizes = {"train": N_TRAIN, "validation": N_EVAL}
    shorter = {name: {split: rows[: sizes[split]] for split, rows in make(name).items()} for name in ("", "nli")}
    monkeypatch.setattr(data, "make_demo", shorter.__getitem__)
    monkeypatch.setattr(arguments, "MODEL", str(tiny_model))
    monkeypatch.setattr(examples, "DEFAULT_DATASETS", {"qa": "demo", "nli": "demo:nli"})
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> tuple[int, str, str]:
        capsys.readouterr()
        script, *argv = shlex.split(line)
        code = helpers.run_script(importlib.import_module(script.removesuffix(".py")).main, argv)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def names(directory: str) -> set[str]:
    return {path.name for path in Path(directory).iterdir()}


def hashes(directory: str) -> dict[str, str]:
    """Hash of every file of a directory that is not of an evaluation."""
    files = [path for path in Path(directory).rglob("*") if path.is_file() and path.name not in EVALUATION]
    return {str(path): manifests.file_hash(path) for path in files}


@pytest.mark.slow
def test_every_command_works_after_the_others(typed):
    def works(line: str) -> tuple[str, str]:
        code, out, err = typed(line)
        assert code == 0, f"{line}\n{err}"
        assert "Traceback" not in err
        return out, err

    works("run.py --do_train")
    trained = hashes("trainer_output")
    for _ in range(2):
        out, err = works("run.py --do_eval --model ./trainer_output")
        assert f"{N_EVAL} questions" in out
        assert err.splitlines()[-1] == "Everything is in trainer_output."
        assert names("trainer_output") >= EVALUATION
        assert hashes("trainer_output") == trained
    works("run.py --do_train --output_dir ./model_output --seed 456")
    works("run.py --do_eval --model ./model_output")
    assert manifests.read_manifest("model_output")["seed"] == 456
    assert names("model_output") >= EVALUATION
    assert hashes("trainer_output") == trained

    code, _, err = typed(SEVERAL)
    assert (code, "trainer_output holds a finished run: choose another --output_dir, or pass" in err) == (2, True)
    assert hashes("trainer_output") == trained
    works(f"{SEVERAL} --overwrite_output_dir")
    evaluated = manifests.read_manifest("trainer_output", manifests.EVAL_MANIFEST)
    assert (evaluated["data"]["eval"]["n_rows"], evaluated["ablations"]) == (20, "q_only")
    works("run.py --task nli --do_train --do_eval --output_dir ./nli_output")

    recording = "run.py --do_train --num_train_epochs 5 --enable_cartography --cartography_output_dir"
    _, err = works(f"{recording} ./cartography_output --overwrite_output_dir")
    assert not names("trainer_output") & EVALUATION  # they were of the model before
    assert err.splitlines()[-2:] == [
        "The data map is cartography_output/cartography_map.png.",
        "Next: python analyze_cartography.py --cartography_dir cartography_output",
    ]
    analysis = "analyze_cartography.py --cartography_dir ./cartography_output --split train --n_examples 20"
    works(f"{analysis} --output_dir ./cartography_analysis")
    works("extract_embeddings.py --model_path ./trainer_output --output_dir ./embeddings_output")
    clustering = "cluster_analysis.py --embedding_dir ./embeddings_output --output_dir ./cluster_output"
    works(f"{clustering} --reduction_dim 50 --min_cluster_size 15")
    joining = "analyze_dataset.py --cartography_dir ./cartography_output --cluster_dir ./cluster_output"
    out, _ = works(f"{joining} --output_dir ./integrated_analysis")
    assert f"{N_TRAIN} examples" in out
    assert works("analyze_dataset.py")[0] == out
    assert names(".") == {
        "trainer_output", "model_output", "nli_output", "cartography_output", "cartography_analysis",
        "embeddings_output", "cluster_output", "integrated_analysis",
    }  # fmt: skip
    assert all(manifests.has_manifest(directory) for directory in names("."))
