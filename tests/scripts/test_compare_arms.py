"""compare_runs.py: arms that a selection knows, runs of one arm that were trained otherwise, and the whole receipt
computed a second time."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import compare_runs
from datamap.files import manifests, outputs
from tests.comparing import evaluate, rows, scores
from tests.running import in_process

N_ROWS = 24
ARMS = {
    "random": {1: "ab", 2: "bc"},
    "hard": {1: "cd", 2: "cd"},
    "aum": {1: "cd", 2: "cd"},
    "full": {1: "abcd", 2: "abcd"},
}


@pytest.fixture
def compare(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return in_process(capsys, compare_runs.main)


def select(directory, arms):
    told = {
        arm: {str(seed): {"n_rows": len(ids), "ids_sha256": manifests.ids_hash(ids)} for seed, ids in seeds.items()}
        for arm, seeds in arms.items()
    }
    full = told["full"]["1"]
    told["weighted"] = {seed: full | {"example_weights_sha256": "w"} for seed in ("1", "2")}
    manifests.write_manifest(directory, {"script": "select_examples.py", "arms": told})


def trained(directory, ids, seed, **files):
    evaluate(directory, scores(N_ROWS, seed), seed=seed, train_ids=list(ids))
    manifest = manifests.read_manifest(directory)
    manifest["data"]["train"] |= files
    outputs.write_json(directory / "manifest.json", manifest)
    return directory.name


def test_arms_are_known_by_rows_and_weights(compare, tmp_path):
    select(tmp_path / "selection", ARMS)
    names = [trained(tmp_path / f"r{seed}", ARMS["random"][seed], seed) for seed in (1, 2)]
    names += [trained(tmp_path / f"f{seed}", "abcd", seed) for seed in (1, 2)]
    names += [trained(tmp_path / f"w{seed}", "abcd", seed, example_weights_sha256="w") for seed in (1, 2)]
    words = ("--selection_dir", "selection", "--control", "random", "--runs", *names)
    code, _, err = compare(*words, f"other={trained(tmp_path / 'x', 'dcx', 1)}")
    assert code == 0, err
    found = outputs.read_json(tmp_path / "comparison" / "comparison.json")["runs"]
    assert [run["arm"] for run in found] == ["random"] * 2 + ["full"] * 2 + ["weighted"] * 2 + ["other"]
    assert "selection/manifest.json" in manifests.read_manifest(tmp_path / "comparison")["made_from"]
    why = "of the rows and weights that it was trained on (--selection_dir selection): give ARM="
    for name, which in (
        (trained(tmp_path / "h1", "cd", 1), "hard and aum of them are"),
        (trained(tmp_path / "u1", "abcde", 1), "no arm of it is"),
        (trained(tmp_path / "v1", "abcd", 1, example_weights_sha256="v"), "no arm of it is"),
        (trained(tmp_path / "s1", "abcd", 1, example_smoothing_sha256="s"), "no arm of it is"),
    ):
        code, out, err = compare(*words, name)
        assert (code, out, err) == (2, "", f"error: --runs {name} has no name, and {which} {why}{name}.\n")


def test_what_is_no_selection_is_refused(compare, tmp_path):
    evaluate(tmp_path / "r1", scores(N_ROWS, 1), seed=1)
    words = ("--control", "random", "--runs", "r1", "--selection_dir")
    for name in ("nowhere", "r1"):
        told = f"--selection_dir {name} holds no finished run of select_examples.py: give its --output_dir."
        assert compare(*words, name) == (1, "", f"error: {told}\n")
    select(tmp_path / "selection", ARMS)
    (tmp_path / "selection" / "manifest.json").unlink()  # unfinished
    assert compare(*words, "selection")[0] == 1


def test_runs_of_one_arm_are_trained_alike(compare, tmp_path):
    for name, seed, arm_rate in (("r1", 1, 1e-4), ("r2", 2, 1e-4), ("a1", 1, 1e-4), ("a2", 2, 3e-4)):
        evaluate(tmp_path / name, scores(N_ROWS, seed), seed=seed)
        manifest = manifests.read_manifest(tmp_path / name)
        outputs.write_json(
            tmp_path / name / "manifest.json", manifest | {"training_arguments": {"learning_rate": arm_rate}}
        )
    words = ("--control", "random", "--runs", "random=r1", "random=r2")
    told = (
        "a2 and a1 are both of a and differ in learning_rate (0.0003; 0.0001): give another arm's name to one of them"
    )
    assert compare(*words, "a=a1", "a=a2") == (2, "", f"error: {told}, or pass --allow training.\n")
    code, out, _ = compare(*words, "a=a1", "a=a2", "--allow", "training")
    assert (code, out.splitlines()[-1]) == (0, "1 of 4 runs were trained otherwise than the first one of their arm.")
    assert compare(*words, "a=a2")[0] == 0  # arms may differ


def second_receipt(arm, control, groups):
    """(difference, low, high, p) of scores [seeds, rows], from frames and scipy, by the documented formula."""
    differing = arm - control
    n_seeds, n_rows = differing.shape
    names = sorted(set(groups))

    def clustered(values):
        sums = pd.Series(values - values.mean()).groupby(groups).sum()
        return len(names) / (len(names) - 1) * float((sums**2).sum()) / n_rows**2

    seeds = stats.sem(differing.mean(axis=1)) ** 2
    contexts = clustered(differing.mean(axis=0))
    both = sum(clustered(row) for row in differing - differing.mean(axis=0)) / (n_seeds * (n_seeds - 1))
    variance = max(seeds, contexts, seeds + contexts - both)
    degrees = (n_seeds - 1, len(names) - 1, (n_seeds - 1) * (len(names) - 1))
    df = variance**2 / sum(part**2 / n for part, n in zip((seeds, contexts, both), degrees, strict=True))
    low, high = stats.t.interval(0.95, df, differing.mean(), np.sqrt(variance))
    return differing.mean(), low, high, 2 * stats.t.sf(abs(differing.mean()) / np.sqrt(variance), df)


def test_a_receipt_is_what_a_second_computation_gives(compare, tmp_path):
    draw, of, kept = np.random.default_rng(5), rows(30, 4), {}
    difficulty = draw.normal(0.6, 0.15, len(of))
    for arm, effect in (("random", 0.0), ("hard", -0.04), ("easy", 0.01)):
        luck = draw.normal(0, 0.01, 4)
        noise = draw.normal(0, 0.08, (4, len(of)))
        kept[arm] = np.clip(difficulty + effect + luck[:, None] + noise, 0, 1)
        for seed in range(4):
            evaluate(tmp_path / f"{arm}{seed}", kept[arm][seed], seed=seed, of=of)
    names = [f"{arm}={arm}{seed}" for arm in kept for seed in range(4)]
    assert compare("--control", "random", "--runs", *names)[0] == 0
    groups = np.array([row["context"] for row in of])
    found = outputs.read_json(tmp_path / "comparison" / "comparison.json")["arms"]
    expected = {arm: second_receipt(100 * kept[arm], 100 * kept["random"], groups) for arm in ("hard", "easy")}
    for one in found[1:]:
        assert [one[name] for name in ("difference", "low", "high", "p")] == pytest.approx(expected[one["arm"]])
    by_p = sorted(found[1:], key=lambda one: one["p"])
    assert by_p[0]["p_holm"] == pytest.approx(2 * by_p[0]["p"])
    assert by_p[1]["p_holm"] == pytest.approx(max(by_p[1]["p"], 2 * by_p[0]["p"]))


def test_the_seeds_part_may_lie_below_the_noise(compare, tmp_path):
    # rows differ among seeds, their means do not: the seeds' part is 0, and the error is the contexts' part
    base, swing = np.full(N_ROWS, 0.5), np.tile([0.2, -0.2], N_ROWS // 2)
    for seed, sign in ((1, 1), (2, -1)):
        evaluate(tmp_path / f"r{seed}", base, seed=seed)
        evaluate(tmp_path / f"a{seed}", base + 0.1 + sign * swing + np.repeat([0.05, -0.05], N_ROWS // 2), seed=seed)
    assert compare("--control", "random", "--runs", "random=r1", "random=r2", "a=a1", "a=a2")[0] == 0
    one = outputs.read_json(tmp_path / "comparison" / "comparison.json")["arms"][1]
    assert one["seeds"] == pytest.approx(0, abs=1e-20)
    assert one["both"] > 0
    assert one["standard_error"] ** 2 == pytest.approx(one["contexts"])


def test_a_threshold_that_cannot_act_is_no_difference(compare, tmp_path):
    for name, threshold in (("r1", 0.0), ("a1", 1.5)):
        evaluate(tmp_path / name, scores(N_ROWS, 1), seed=1, settings={"null_score_threshold": threshold})
    words = ("--control", "r", "--runs", "r=r1", "a=a1")
    assert compare(*words)[0] == 0  # no answer is never allowed
    for name, threshold in (("r1", 0.0), ("a1", 1.5)):
        settings = {"null_score_threshold": threshold, "allow_no_answer": True}
        evaluate(tmp_path / name, scores(N_ROWS, 1), seed=1, settings=settings)
    assert compare(*words)[0] == 2


def test_a_run_that_stops_leaves_no_manifest(compare, tmp_path, monkeypatch):
    for name, seed in (("r1", 1), ("a1", 2)):
        evaluate(tmp_path / name, scores(N_ROWS, seed), seed=1)
    words = ("--control", "r", "--runs", "r=r1", "a=a1")
    assert compare(*words)[0] == 0
    monkeypatch.setattr(compare_runs.pictures, "write_figure", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        compare(*words)
    assert not manifests.has_manifest(tmp_path / "comparison")


DAMAGED = {
    "figures that are a list": ("eval_metrics.json", lambda _: [1], "do not give the same F1: evaluate again."),
    "no steps": ("trainer_state.json", lambda _: {}, "does not say how many steps were taken: train again."),
    "no settings": (
        "eval_manifest.json",
        lambda told: told | {"settings": None},
        "does not say what it is of: evaluate",
    ),
    "no rows": (
        "eval_manifest.json",
        lambda told: told | {"data": {"eval": {}}},
        "does not say what it is of: evaluate",
    ),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_evaluations_are_one_sentence(compare, tmp_path, kind):
    name, change, said = DAMAGED[kind]
    for directory in ("r1", "a1"):
        evaluate(tmp_path / directory, scores(N_ROWS, 1), seed=1)
    path = tmp_path / "a1" / name
    outputs.write_json(path, change(outputs.read_json(path)))
    code, out, err = compare("--control", "r", "--runs", "r=r1", "a=a1")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert said in err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"context": None}, "has a row without a context: evaluate again."),
        ({"f1": True}, "line 2: not a prediction with id, context, f1 (TypeError: f1 is True, which is no number)"),
    ],
)
def test_damaged_predictions_are_one_sentence(compare, tmp_path, change, said):
    for directory in ("r1", "a1"):
        evaluate(tmp_path / directory, scores(N_ROWS, 1), seed=1)
    path = tmp_path / "a1" / "eval_predictions.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    outputs.write_jsonl(path, [lines[0], lines[1] | change, *lines[2:]])
    code, out, err = compare("--control", "r", "--runs", "r=r1", "a=a1")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert said in err


def test_one_seed_beside_several_is_of_all_of_them(compare, tmp_path):
    for seed in (1, 2, 3):
        evaluate(tmp_path / f"r{seed}", scores(N_ROWS, seed), seed=seed)
    evaluate(tmp_path / "a1", scores(N_ROWS, 9), seed=1)
    assert compare("--control", "r", "--runs", "r=r1", "r=r2", "r=r3", "a=a1")[0] == 0
    control, arm = outputs.read_json(tmp_path / "comparison" / "comparison.json")["arms"]
    assert arm["difference"] == pytest.approx(arm["mean"] - control["mean"])
