"""select_examples.py as a user runs it: arms of a recording, commands that run.py understands, what it refuses."""

import json
import shlex
import subprocess

import numpy as np
import pandas as pd
import pytest

import compare_runs
import helpers
import select_examples
from datamap.clusters import files
from datamap.demo import data
from datamap.files import manifests, outputs
from datamap.options.arguments import parse_arguments
from datamap.selection.commands import n_steps
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


def commands(tmp_path, script):
    """The words of every line of commands.sh that starts a script, without what guards it."""
    lines = (tmp_path / "out" / "commands.sh").read_text(encoding="utf-8").splitlines()
    return [shlex.split(line.rpartition(" || ")[2])[2:] for line in lines if f"/{script}" in line]


def without(words, *names):
    """The words without these options and the one word of each."""
    places = {words.index(name) for name in names if name in words}
    return [word for place, word in enumerate(words) if not {place, place - 1} & places]


def test_arms_commands_weights_and_manifest(select, tmp_path):
    chosen = ("--arms", "random", "hard", "coverage", "forgotten", "full", "--seeds", "1", "2")
    code, out, err = select(
        *chosen, "--weights", "variability", "--permute_seed", "7", "--metric", "loss", "--end", "low"
    )
    assert code == 0, err
    assert out == (
        "13 of 38 rows in each of: random, hard, coverage, forgotten, loss_low; full 38, weighted 38, permuted 38 "
        "(--max_steps 12).\n"
    )
    table = outputs.read_csv(tmp_path / "out" / "selection.csv", ("id", "arm"))
    sizes = table.groupby(["arm", "seed"]).size()
    whole = {"full", "weighted", "permuted"}
    assert {(arm, size) for (arm, _), size in sizes.items() if arm not in whole} == {
        (arm, 13) for arm in ("random", "hard", "coverage", "forgotten", "loss_low")
    }
    assert {sizes[arm, seed] for arm in whole for seed in (1, 2)} == {38}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    ids = (tmp_path / "out" / "ids" / "hard_1.txt").read_text(encoding="utf-8").splitlines()
    assert manifest["arms"]["hard"]["1"] == {"n_rows": 13, "ids_sha256": manifests.ids_hash(ids)}
    hashed = manifest["arms"]["weighted"]["2"]["example_weights_sha256"]
    assert hashed == manifests.file_hash(tmp_path / "out" / "weights.csv")
    assert (tmp_path / "out" / "selection.png").stat().st_size > 20_000
    runs = commands(tmp_path, "run.py")
    assert len(runs) == 16
    for words in runs:
        options, training_args = parse_arguments([*without(words, "--train_ids", "--example_weights"), "--no_cuda"])
        assert (training_args.max_steps, options.validation_fraction, options.dataset) == (12, 0.1, "demo")
        assert options.max_answer_length == 17  # its default would follow from the rows of each arm
    named = {words[words.index("--output_dir") + 1]: words for words in runs}
    assert {name for name, words in named.items() if "--example_weights" in words} == {
        f"runs/{arm}_{seed}" for arm in ("weighted", "permuted") for seed in (1, 2)
    }
    words = named["runs/permuted_2"]
    assert words[words.index("--example_weights") + 1] == "weights_permuted_7.csv"
    (compare,) = commands(tmp_path, "compare_runs.py")
    assert compare[:3] == ["--runs", "random=runs/random_1", "random=runs/random_2"]
    assert "permuted=runs/permuted_2" in compare
    weights = outputs.read_csv(tmp_path / "out" / "weights.csv", ("id",))
    shuffled = outputs.read_csv(tmp_path / "out" / "weights_permuted_7.csv", ("id",))
    assert len(weights) == 40
    assert sorted(weights["weight"]) == sorted(shuffled["weight"])
    assert weights["weight"].tolist() != shuffled.set_index("id").loc[weights["id"], "weight"].tolist()
    assert weights["weight"].iloc[38] == pytest.approx(weights["weight"].iloc[:38].mean())
    code, _, err = select("--arms", "random", "--seeds", "1")
    assert code == 0, err
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.*")) == [
        "commands.sh", "manifest.json", "random_1.txt", "selection.csv", "selection.png",
    ]  # fmt: skip


def test_arms_are_trained_like_the_recording(select, recorded, tmp_path):
    manifest = manifests.read_manifest(recorded)
    manifest["arguments"] |= {"task": "nli", "label_map": {"non-entailment": "neutral"}, "micro_batch_tokens": 512,
                              "dataset": "demo:nli"}  # fmt: skip
    manifest["task"] = "nli"
    manifest["data"]["train"]["dataset"] = "demo:nli"
    manifest["settings"] = {}
    manifest["training_arguments"] |= {"optim": "adafactor", "max_grad_norm": 0.5, "warmup_steps": 3,
                                       "lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 2.0},
                                       "label_smoothing_factor": 0.1, "gradient_accumulation_steps": 2}  # fmt: skip
    manifest["identity"] = {"rows in a step": 32}  # of two processes
    outputs.write_json(recorded / "manifest.json", manifest)
    code, out, err = select("--seeds", "4", "--num_train_epochs", "1.5")
    assert code == 0, err
    # 13 rows of 2 windows are one step of 32; 1.5 epochs are two
    assert "random, ambiguous, hard, easy, coverage (--max_steps 2)." in out
    for words in commands(tmp_path, "run.py"):
        options, training_args = parse_arguments([*without(words, "--train_ids"), "--no_cuda"])
        assert (options.label_map, options.micro_batch_tokens) == ({"non-entailment": "neutral"}, 512)
        assert (training_args.optim, training_args.max_grad_norm, training_args.warmup_steps) == ("adafactor", 0.5, 3)
        assert training_args.lr_scheduler_kwargs == {"power": 2.0}
        assert (training_args.label_smoothing_factor, training_args.gradient_accumulation_steps) == (0.1, 4)
    assert select("--equal", "epochs", "--num_train_epochs", "1.5")[1].endswith("(--num_train_epochs 1.5).\n")
    for words in commands(tmp_path, "run.py"):
        assert parse_arguments([*without(words, "--train_ids"), "--no_cuda"])[1].num_train_epochs == 1.5


@pytest.fixture(scope="module")
def twice(tmp_path_factory, tiny_model):
    """Demo notes recorded with two seeds, a and b, and some of them with a third, c."""
    import run

    directory = tmp_path_factory.mktemp("twice")
    parts = data.make_demo("")
    for name, part, n_rows in (("train", "train", 120), ("eval", "validation", 40)):
        outputs.write_jsonl(directory / f"{name}.jsonl", parts[part][:n_rows])
    common = ["--do_train", "--enable_cartography", "--dataset", directory / "train.jsonl", "--model", tiny_model]
    common += ["--do_eval", "--eval_dataset", directory / "eval.jsonl", "--no_cuda"]
    common += ["--max_length", "96", "--num_train_epochs", "1", "--save_strategy", "no", "--precision", "float32"]
    for name, seed, more in (("a", 1, ()), ("b", 2, ()), ("c", 3, ("--max_train_samples", "60"))):
        words = ["--output_dir", directory / f"run_{name}", "--cartography_output_dir", directory / name]
        assert helpers.run_script(run.main, [str(word) for word in (*common, *words, "--seed", seed, *more)]) == 0
    return directory


def test_the_means_of_several_recordings_select(capsys, twice, tmp_path):
    select = in_process(capsys, select_examples.main)
    words = ("--arms", "hard", "--seeds", "1", "--fraction", "0.1", "--output_dir", tmp_path / "out")
    code, _, err = select("--cartography_dir", twice / "a", twice / "b", *words)
    assert code == 0, err
    assert "Spearman's correlation of confidence between recordings" in err
    confidence = [
        outputs.read_csv(twice / name / "cartography_metrics.csv", ("id",)).set_index("id")["confidence"]
        for name in "ab"
    ]
    mean = (confidence[0] + confidence[1].loc[confidence[0].index]) / 2
    listed = (tmp_path / "out" / "ids" / "hard_1.txt").read_text(encoding="utf-8").split()
    assert len(listed) == round(0.1 * len(mean))
    assert set(listed) == set(mean.nsmallest(len(listed)).index)
    assert set(listed) != set(confidence[0].nsmallest(len(listed)).index)
    code, out, err = select("--cartography_dir", twice / "a", twice / "c", "--output_dir", tmp_path / "other")
    assert (code, out) == (2, "")
    assert f"--cartography_dir {twice / 'a'} and {twice / 'c'} are of other rows (" in err
    assert not (tmp_path / "other").exists()


def test_the_commands_run_as_they_stand_and_their_arms_are_known_again(capsys, twice, tmp_path, monkeypatch):
    import run

    arms = ("--arms", "random", "full", "--weights", "variability", "--permute_seed", "1", "--seeds", "1", "2")
    words = ("--cartography_dir", twice / "c", *arms, "--num_train_epochs", "0.1", "--output_dir", tmp_path / "out")
    code, _, err = in_process(capsys, select_examples.main)(*words)
    assert code == 0, err
    monkeypatch.chdir(tmp_path / "out")
    for line in commands(tmp_path, "run.py"):
        code, _, err = in_process(capsys, run.main)(*line)
        assert code == 0, err
    text = (tmp_path / "out" / "commands.sh").read_text(encoding="utf-8").replace("compare_runs.py", "none.py")
    again = subprocess.run(["sh", "-x", "-"], input=text.replace('cd "$(dirname "$0")"', ""), capture_output=True,
                           text=True, check=False)  # fmt: skip
    assert again.stderr.count("+ test -e runs/") == 8
    assert "run.py" not in again.stderr  # what has ended is left out
    compare = in_process(capsys, compare_runs.main)
    (line,) = commands(tmp_path, "compare_runs.py")
    assert compare(*line)[0] == 0
    told = outputs.read_json(tmp_path / "out" / "comparison" / "comparison.json")
    bare = [word.partition("=")[2] for word in line[1 : line.index("--control")]]
    found = compare("--runs", *bare, "--selection_dir", ".", "--control", "random", "--output_dir", "again")
    assert found[0] == 0, found[2]
    assert outputs.read_json(tmp_path / "out" / "again" / "comparison.json")["runs"] == told["runs"]
    assert [arm["arm"] for arm in told["arms"]] == ["random", "full", "weighted", "permuted"]
    assert {run["steps"] for run in told["runs"]} == {1}


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
        (("--cluster_dir", "x"), "--cluster_dir acts with --arms clusters alone: add it to the arms."),
        (("--label_errors_dir", "x"), "--label_errors_dir acts with --arms trusted or --weights suspicion: add one"),
        (("--cut", "0.2", "--arms", "random"), "--cut acts with the arms coverage and trusted: leave it out."),
        (("--metric", "loss"), "--metric and --end go together: give both."),
        (("--end", "low"), "--metric and --end go together: give both."),
        (
            ("--metric", "losss", "--end", "low"),
            "--metric losss is none that tells rows of this recording apart: aum, ",
        ),
        (("--num_train_epochs", "0"), "argument --num_train_epochs: 0.0 is not above 0 (--help lists the options)."),
        (("--num_train_epochs", "inf"), "argument --num_train_epochs: 'inf' is not a finite number"),
        (("--arms", "hardest"), "argument --arms: invalid choice: 'hardest'"),
        (("--fraction", "1"), "argument --fraction: 1.0 does not lie between 0 and 1"),
    ],
)
def test_what_could_not_act_is_refused(select, tmp_path, argv, said):
    code, out, err = select(*argv)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def clusters_of(directory, ids):
    frame = pd.DataFrame({"id": ids, "cluster": 0, "cluster_probability": 1.0, "dim1": 0.0, "dim2": 0.0})
    statistics = pd.DataFrame([[0, len(ids), 1.0, 1.0, 1.0, 0, "word"]], columns=files.STATISTICS_COLUMNS)
    files.write_clusters(directory, frame.assign(assigned="clustered"), statistics, {})
    manifests.write_manifest(directory, {"script": files.SCRIPT, "ids_sha256": manifests.ids_hash(ids)})
    return directory


def suspects_of(directory, ids):
    frame = pd.DataFrame({"id": ids, "rank": 1.0, "score": 0.5, "kind": "", "proposal": ""})
    outputs.write_csv(directory / "label_errors.csv", frame)
    manifests.write_manifest(directory, {"script": "find_label_errors.py"})
    return directory


def test_what_lies_beside_is_of_the_same_data(select, tmp_path):
    words = ("--arms", "clusters", "trusted", "--seeds", "1")
    good = ("--cluster_dir", clusters_of(tmp_path / "c", IDS), "--label_errors_dir", suspects_of(tmp_path / "l", IDS))
    assert select(*words, *good)[0] == 0
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    other = [f"{identifier} of others" for identifier in IDS]
    sentence = "lacks 38 of the 38 ids of the recording (r 0 é is the first): make it from the same data."
    for flag, directory in (
        ("--cluster_dir", clusters_of(tmp_path / "c2", other)),
        ("--label_errors_dir", suspects_of(tmp_path / "l2", other)),
    ):
        assert select(*words, *good, flag, directory) == (1, "", f"error: {flag} {sentence}\n")
    # rows without metrics are asked for only where they may be drawn
    some = ("--cluster_dir", clusters_of(tmp_path / "c3", IDS[:38]))
    assert "lacks 2 of the 40 ids" in select(*words, *good, *some, "--untracked", "keep")[2]
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    assert select(*words, *good, *some)[0] == 0


UNTOLD = "does not say how it was trained: record the run again."
UNFIT = {
    "no training": (lambda told: told.pop("training_arguments"), UNTOLD),
    "no arguments": (lambda told: told.pop("arguments"), UNTOLD),
    "empty": (lambda told: told["training_arguments"].clear(), UNTOLD),
    "unfinished": (lambda told: told.pop("epoch_files"), "holds no finished recording (no manifest.json of one)"),
    "evaluated on": (
        lambda told: told["arguments"].update(eval_dataset="gone.jsonl"),
        "The file or directory 'gone.jsonl' is missing",
    ),
    "trained on": (
        lambda told: told["data"]["train"].update(dataset="gone.jsonl"),
        "The file or directory 'gone.jsonl' is missing",
    ),
    "smoothed by": (
        lambda told: told["arguments"].update(example_smoothing="gone.csv"),
        "was trained with --example_smoothing gone.csv, which is not there (paths count from where it was recorded)",
    ),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_recordings_that_cannot_be_selected_from(select, recorded, tmp_path, kind):
    change, said = UNFIT[kind]
    manifest = manifests.read_manifest(recorded)
    change(manifest)
    outputs.write_json(recorded / "manifest.json", manifest)
    code, out, err = select()
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert said in err
    assert not (tmp_path / "out").exists()


def test_a_recordings_directory_is_not_written_to(select, recorded):
    code, _, err = select("--output_dir", recorded)
    assert (code, f"--output_dir {recorded} " in err) == (2, True)


def test_weights_of_the_recording_are_every_arms(select, recorded, tmp_path):
    weights = tmp_path / "w.csv"
    weights.write_text("id,weight\n", encoding="utf-8")
    manifest = manifests.read_manifest(recorded)
    manifest["arguments"]["example_weights"] = str(weights)
    manifest["data"]["train"]["example_weights_sha256"] = manifests.file_hash(weights)
    outputs.write_json(recorded / "manifest.json", manifest)
    assert select("--arms", "random", "--seeds", "1")[0] == 0
    (words,) = commands(tmp_path, "run.py")
    assert words[words.index("--example_weights") + 1] == str(weights)
    assert (
        "--weights does not go with a recording that was itself trained with" in select("--weights", "variability")[2]
    )
    weights.write_text("id,weight\nr,1\n", encoding="utf-8")
    assert f"was trained with --example_weights {weights}, which has changed since: put it back" in select()[2]


def test_files_of_others_stay_and_trained_arms_are_not_selected_anew(select, tmp_path):
    out = tmp_path / "out"
    for name in ("ids/mine.txt", "weights_mine.csv", "weights.csv"):
        outputs.write_text(out / name, "mine\n")
    assert select("--arms", "random", "hard", "--seeds", "1")[0] == 0
    assert (out / "weights.csv").read_text(encoding="utf-8") == "mine\n"
    assert select("--arms", "random", "--seeds", "2")[0] == 0
    assert sorted(path.name for path in (out / "ids").iterdir()) == ["mine.txt", "random_2.txt"]
    assert (out / "weights_mine.csv").is_file()
    (out / "runs").mkdir()
    before = (out / "manifest.json").read_bytes()
    told = (
        f"error: --output_dir {out} holds trainings of an earlier selection (runs): choose another one, or remove them."
    )
    assert select("--arms", "random") == (2, "", f"{told}\n")
    assert (out / "manifest.json").read_bytes() == before


def test_how_long_arms_are_trained(select, recorded, tmp_path):
    assert select("--equal", "epochs", "--arms", "random", "full", "--seeds", "1")[0] == 0
    (compare,) = commands(tmp_path, "compare_runs.py")
    assert compare[compare.index("--allow") + 1 :] == ["steps", "--output_dir", "comparison"]
    assert n_steps(350, [2] * 22 + [1] * 328, 4, 2) == 186  # 372 windows are 93 steps
    assert n_steps(30, [1], 3, 0.1) == 1  # a tenth of ten steps, not 1.0000000000000002
    assert n_steps(100, [1], 10, 0.3) == 3
    manifest = manifests.read_manifest(recorded)
    manifest["training_arguments"]["max_steps"] = 10
    outputs.write_json(recorded / "manifest.json", manifest)
    assert select() == (2, "", "error: the recording ended by --max_steps 10: give --num_train_epochs.\n")
    assert select("--num_train_epochs", "1")[0] == 0
    assert "1e+300 are more optimizer steps than can be counted: lower it." in select("--num_train_epochs", "1e300")[2]


def test_arms_compute_like_the_recording(select, recorded, tmp_path, monkeypatch):
    (tmp_path / "demo").mkdir()  # run.py takes the built-in one
    monkeypatch.chdir(tmp_path)
    manifest = manifests.read_manifest(recorded)
    manifest["settings"]["precision"] = "float32"
    manifest["arguments"]["no_cuda"] = True
    manifest["training_arguments"] |= {"data_seed": 5, "dataloader_drop_last": True, "neftune_noise_alpha": 5.0,
                                       "train_sampling_strategy": "group_by_length"}  # fmt: skip
    outputs.write_json(recorded / "manifest.json", manifest)
    assert select("--arms", "random", "--seeds", "1")[0] == 0
    (words,) = commands(tmp_path, "run.py")
    options, training_args = parse_arguments(without(words, "--train_ids"))
    assert (options.precision, options.no_cuda, options.model, options.dataset) == ("float32", True, "demo", "demo")
    assert (training_args.data_seed, training_args.dataloader_drop_last) == (5, True)
    assert (training_args.neftune_noise_alpha, training_args.train_sampling_strategy) == (5.0, "group_by_length")
    assert training_args.save_strategy == "no"


def test_the_control_permutes_the_weights_of_rows_that_are_trained_on(select, tmp_path):
    assert select("--weights", "variability", "--permute_seed", "3", "--arms", "random")[0] == 0
    trained = (tmp_path / "out" / "ids" / "weighted_1.txt").read_text(encoding="utf-8").splitlines()
    assert len(trained) == 38
    one, other = (
        outputs.read_csv(tmp_path / "out" / name, ("id",)).set_index("id").loc[trained, "weight"]
        for name in ("weights.csv", "weights_permuted_3.csv")
    )
    assert sorted(one) == sorted(other)
    assert one.tolist() != other.tolist()


def test_suspicion_of_other_data_is_refused(select, recorded, tmp_path):
    directory = suspects_of(tmp_path / "l", IDS)
    manifest = manifests.read_manifest(directory) | {"task": "qa", "data": {"train": {"dataset": "other.jsonl"}}}
    outputs.write_json(directory / "manifest.json", manifest)
    told = f"--label_errors_dir {directory} is of other.jsonl, and the recording of demo: make it from the same data."
    assert select("--arms", "trusted", "--label_errors_dir", directory) == (1, "", f"error: {told}\n")


def test_ids_with_line_breaks_are_refused(select, recorded, tmp_path):
    path = recorded / "cartography_metrics.csv"
    frame = outputs.read_csv(path, ("id",))
    frame.loc[0, "id"] = "two\nlines"
    outputs.write_csv(path, frame)
    manifest = manifests.read_manifest(recorded)
    manifest["data"]["train"]["ids_sha256"] = manifests.ids_hash([*frame["id"], *IDS[38:]])
    outputs.write_json(recorded / "manifest.json", manifest)
    assert select() == (
        1, "", "error: the id 'two\\nlines' holds a line break, so that no list of ids can name it: give other ids.\n",
    )  # fmt: skip
    assert not (tmp_path / "out").exists()
