"""select_examples.py as a user runs it: arms of a recording, commands that run.py understands, what it refuses."""

import json
import shlex

import numpy as np
import pandas as pd
import pytest

import select_examples
from datamap.files import manifests, outputs
from datamap.options.arguments import parse_arguments
from tests.running import in_process

IDS = [f"r {row} é" for row in range(40)]


@pytest.fixture
def recorded(tmp_path):
    directory = tmp_path / "a recording"
    generator = np.random.default_rng(0)
    names = ("confidence", "variability", "correctness", "aum", "loss")
    frame = pd.DataFrame({"id": IDS[:38], **{name: generator.uniform(0, 0.5, 38) for name in names}})
    frame = frame.assign(forgetting_events=1, never_learnt=False, num_epochs=3, n_windows=2, n_gold_windows=1)
    outputs.write_csv(directory / "cartography_metrics.csv", frame)
    outputs.write_csv(directory / "untracked_examples.csv", pd.DataFrame({"id": IDS[38:], "reason": "no window"}))
    train = {"dataset": "demo", "split": "train", "held_out": 0.1, "n_rows": 40, "ids_sha256": manifests.ids_hash(IDS)}
    fields = {"script": "run.py", "task": "qa", "data": {"train": train}, "epoch_files": {}}
    fields["arguments"] = {"task": "qa", "model": "demo", "dataset": "demo", "train_split": "train"}
    fields["training_arguments"] = {"learning_rate": 1e-4, "per_device_train_batch_size": 8,
                                    "gradient_accumulation_steps": 1, "num_train_epochs": 3}  # fmt: skip
    fields["settings"] = {"max_answer_length": 17}
    manifests.write_manifest(directory, fields)
    return directory


@pytest.fixture
def select(capsys, recorded, tmp_path):
    run = in_process(capsys, select_examples.main)
    return lambda *argv: run("--cartography_dir", recorded, "--output_dir", tmp_path / "out", *argv)


def test_arms_commands_weights_and_manifest(select, tmp_path):
    chosen = ("--arms", "random", "hard", "coverage", "forgotten", "full", "--seeds", "1", "2")
    code, out, err = select(*chosen, "--weights", "variability", "--permute_seed", "7")
    assert code == 0, err
    assert out.startswith("13 of 38 rows in each of: random, hard, coverage, forgotten, full (--max_steps 12).")
    table = outputs.read_csv(tmp_path / "out" / "selection.csv", ("id", "arm"))
    sizes = table.groupby(["arm", "seed"]).size()
    assert {(arm, size) for (arm, _), size in sizes.items() if arm != "full"} == {
        (arm, 13) for arm in ("random", "hard", "coverage", "forgotten")
    }
    assert sizes["full"].tolist() == [38, 38]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    ids = (tmp_path / "out" / "ids" / "hard_1.txt").read_text(encoding="utf-8").splitlines()
    assert manifest["arms"]["hard"]["1"] == {"n_rows": 13, "ids_sha256": manifests.ids_hash(ids)}
    lines = (tmp_path / "out" / "commands.sh").read_text(encoding="utf-8").splitlines()
    runs = [shlex.split(line) for line in lines if "run.py" in line]
    assert len(runs) == 10
    for words in runs:
        place = words.index("--train_ids")
        options, training_args = parse_arguments([*words[2:place], *words[place + 2 :], "--no_cuda"])
        assert (training_args.max_steps, options.validation_fraction, options.dataset) == (12, 0.1, "demo")
        assert options.max_answer_length == 17  # its default would follow from the rows of each arm
    weights = outputs.read_csv(tmp_path / "out" / "weights.csv", ("id",))
    shuffled = outputs.read_csv(tmp_path / "out" / "weights_permuted_7.csv", ("id",))
    assert len(weights) == 40
    assert sorted(weights["weight"]) == sorted(shuffled["weight"])
    assert weights["weight"].iloc[38] == pytest.approx(weights["weight"].iloc[:38].mean())


def test_without_rows_to_evaluate_on_arms_are_only_trained(select, recorded, tmp_path):
    manifest = manifests.read_manifest(recorded)
    outputs.write_jsonl(tmp_path / "notes.jsonl", [{"context": "a", "question": "b", "answers": {}}])
    manifest["data"]["train"] |= {"held_out": None, "dataset": str(tmp_path / "notes.jsonl")}
    outputs.write_json(recorded / "manifest.json", manifest)
    code, _, err = select("--arms", "random", "hard")
    assert code == 0
    assert "so commands.sh only trains." in err
    text = (tmp_path / "out" / "commands.sh").read_text(encoding="utf-8")
    assert "--do_train" in text
    assert "--do_eval" not in text
    assert "compare_runs.py" not in text


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--fraction", "0.001"), "--fraction 0.001 of 38 rows is no row: raise it."),
        (("--arms", "hard", "hard"), "--arms has hard twice: name it once."),
        (("--seeds", "1", "1"), "--seeds has 1 twice: name it once."),
        (("--arms", "clusters"), "the arm clusters needs --cluster_dir: add it."),
        (("--arms", "trusted"), "the arm trusted needs --label_errors_dir: add it."),
        (("--weights", "suspicion"), "--weights suspicion needs --label_errors_dir: add it."),
        (("--permute_seed", "3"), "--permute_seed acts with --weights: add it."),
    ],
)
def test_what_could_not_act_is_refused(select, tmp_path, argv, said):
    code, out, err = select(*argv)
    assert (code, out) == (2, "")
    assert err.strip().endswith(said)
    assert not (tmp_path / "out").exists()
