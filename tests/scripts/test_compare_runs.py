"""compare_runs.py as a user runs it: what it writes and says, how it names runs, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import compare_runs
from datamap.files import manifests, outputs
from datamap.selection import ablation_matrix, comparability, evaluations
from datamap.selection.power import detectable
from tests.comparing import evaluate, rows, scores
from tests.running import in_process

N_ROWS = 24


@pytest.fixture
def compare(capsys):
    return in_process(capsys, compare_runs.main)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """r1 to r3 and a1 to a3 with these seeds; the working directory is where they lie."""
    monkeypatch.chdir(tmp_path)
    for seed in (1, 2, 3):
        evaluate(tmp_path / f"r{seed}", scores(N_ROWS, seed), seed=seed)
        evaluate(tmp_path / f"a{seed}", scores(N_ROWS, seed + 10, 0.05), seed=seed)
    return tmp_path


def named(*names, arms={"r": "random", "a": "ambiguous"}):  # noqa: B006
    return ["--control", "random", "--runs", *(f"{arms[name[0]]}={name}" for name in names)]


ALL = named("r1", "r2", "r3", "a1", "a2", "a3")


def test_the_receipt_of_three_seeds(runs, compare):
    code, out, err = compare(*ALL)
    assert code == 0, err
    directory = runs / "comparison"
    found = outputs.read_json(directory / "comparison.json")
    control, arm = found["arms"]
    differing = np.stack(
        [100 * (np.clip(scores(N_ROWS, seed + 10, 0.05), 0, 1) - scores(N_ROWS, seed)) for seed in (1, 2, 3)]
    )
    assert arm["difference"] == pytest.approx(differing.mean())
    assert control["mean"] == pytest.approx(100 * np.mean([scores(N_ROWS, seed).mean() for seed in (1, 2, 3)]))
    assert arm["seeds"] == pytest.approx(differing.mean(axis=1).var(ddof=1) / 3)
    sums = (differing.mean(axis=0) - differing.mean()).reshape(8, 3).sum(axis=1)
    assert arm["contexts"] == pytest.approx(8 / 7 * (sums**2).sum() / N_ROWS**2)
    low, high = (arm["difference"] + side * stats.t.ppf(0.975, arm["df"]) * arm["standard_error"] for side in (-1, 1))
    assert (arm["low"], arm["high"]) == pytest.approx((low, high))
    assert (found["n_rows"], found["n_groups"], found["allowed"]) == (N_ROWS, 8, {})
    assert [run["seed"] for run in found["runs"]] == [1, 2, 3, 1, 2, 3]
    verdict = f"{arm['difference']:.1f} above random ({low:+.1f} to {high:+.1f}): no difference is shown; one of "
    assert f"ambiguous: F1 {arm['mean']:.1f}, {verdict}{arm['detectable']:.1f} is shown by 80% of" in out
    assert "ambiguous and random: 3 seeds, fewer than five, tell roughly how far trainings differ." in out
    assert found["sentences"] == out.split("\n\n")[1].splitlines()


def test_everything_is_written_and_closed_last(runs, compare):
    compare(*ALL, "--output_dir", runs / "out")
    assert sorted(path.name for path in (runs / "out").iterdir()) == [
        "comparison.csv", "comparison.json", "comparison.png", "manifest.json",
    ]  # fmt: skip
    table = outputs.read_csv(runs / "out" / "comparison.csv", ("arm", "how"))
    assert table["arm"].tolist() == ["random", "ambiguous"]
    assert (table["how"].tolist(), table["n_seeds"].tolist()[1]) == (["", "paired by seed"], 3)
    assert (runs / "out" / "comparison.png").stat().st_size > 10_000
    manifest = manifests.read_manifest(runs / "out")
    assert (manifest["script"], manifest["metric"], len(manifest["made_from"])) == ("compare_runs.py", "f1", 6)
    assert compare(*ALL, "--output_dir", runs / "out")[0] == 0  # its own directory may be written again


def test_a_planted_difference_is_shown_and_said(runs, compare):
    for seed in (1, 2, 3):
        evaluate(runs / f"a{seed}", scores(N_ROWS, seed) - 0.1 - 0.001 * seed, seed=seed)
    _, out, _ = compare(*ALL)
    found = outputs.read_json(runs / "comparison" / "comparison.json")["arms"][1]
    assert found["difference"] == pytest.approx(-10.2)
    assert "10.2 below random (-10.4 to -10.0): a difference is shown (p <0.0001); one of 0.4 is shown by 80%" in out


def test_p_values_are_corrected_for_the_number_of_arms(runs, compare):
    for seed in (1, 2, 3):
        evaluate(runs / f"h{seed}", scores(N_ROWS, seed + 20, 0.02), seed=seed)
    words = [*ALL, *(f"hard=h{seed}" for seed in (1, 2, 3))]
    _, out, _ = compare(*words)
    arms = outputs.read_json(runs / "comparison" / "comparison.json")["arms"][1:]
    smaller, larger = sorted(arms, key=lambda arm: arm["p"])
    assert smaller["p_holm"] == pytest.approx(min(1, 2 * smaller["p"]))
    assert larger["p_holm"] == pytest.approx(max(larger["p"], min(1, 2 * smaller["p"])))
    assert "95% t intervals, p by Holm over 2 arms." in out
    for arm in arms:
        assert arm["detectable"] == pytest.approx(detectable(arm["standard_error"], arm["df"], 0.05 / 2))


def test_one_seed_is_said_not_to_cover_seeds(runs, compare):
    _, out, _ = compare(*named("r1", "a1"))
    assert "with one seed, seeds are not covered: the interval tells what other contexts may change" in out
    assert outputs.read_json(runs / "comparison" / "comparison.json")["arms"][1]["df"] == 7


def test_seeds_that_do_not_match_are_compared_unpaired_and_it_is_said(runs, compare):
    for seed in (1, 2, 3):
        evaluate(runs / f"a{seed}", scores(N_ROWS, seed + 10), seed=seed + 5)
    _, out, _ = compare(*ALL)
    assert "ambiguous and random: fewer than two seeds match, so that they are compared unpaired (Welch)." in out


def test_exact_match_and_accuracy(runs, compare):
    for seed in (1, 2):
        evaluate(runs / f"r{seed}", np.arange(N_ROWS) % 3 == 0, seed=seed)
        evaluate(runs / f"a{seed}", np.arange(N_ROWS) % 2 == 0, seed=seed)
    assert compare(*named("r1", "r2", "a1", "a2"), "--metric", "exact_match")[0] == 0
    arms = outputs.read_json(runs / "comparison" / "comparison.json")["arms"]
    assert [arm["mean"] for arm in arms] == pytest.approx([100 / 3, 50])
    pairs = [
        {"id": str(n), "premise": f"p{n // 4}", "hypothesis": f"h{n}", "label": 0} for n in range(N_ROWS)
    ]  # two premises hang together more than their rows
    for seed in (1, 2):
        evaluate(runs / f"r{seed}", np.arange(N_ROWS) % 3 == 0, seed=seed, of=pairs, task="nli")
        evaluate(runs / f"a{seed}", np.arange(N_ROWS) % 2 == 0, seed=seed, of=pairs, task="nli")
    code, out, err = compare(*named("r1", "r2", "a1", "a2"))
    assert code == 0, err
    found = outputs.read_json(runs / "comparison" / "comparison.json")
    assert [arm["mean"] for arm in found["arms"]] == pytest.approx([100 / 3, 50])
    assert (found["metric"], found["n_groups"]) == ("accuracy", 6)
    assert "accuracy in points of 100 on 24 rows of 6 premises" in out


def other_rows(directory):
    return evaluate(directory, scores(N_ROWS - 3, 4), seed=1, of=rows(7), dataset="other.jsonl")


DIFFERING = {
    "rows": (
        other_rows,
        "evaluated rows or texts (on other.jsonl, split train, 21 rows; on dev.jsonl, split train, 24 rows): "
        "evaluate both on the same rows",
    ),
    "ablations": (
        lambda directory: evaluate(directory, scores(N_ROWS, 4), seed=1, ablations="q_only"),
        "ablations (trained with --ablations none and evaluated with q_only; trained with --ablations none and "
        "evaluated with none): give both the same --ablations",
    ),
    "answers": (
        lambda directory: evaluate(directory, scores(N_ROWS, 4), seed=1, settings={"max_answer_length": 12}),
        "allowed answers (up to 12 tokens, never none; up to 30 tokens, never none): give both the same "
        "--max_answer_length and --null_score_threshold",
    ),
    "steps": (
        lambda directory: evaluate(directory, scores(N_ROWS, 4), seed=1, steps=50),
        "length of training (trained for 50 optimizer steps; trained for 100 optimizer steps): give both the same "
        "--max_steps",
    ),
    "precision": (
        lambda directory: evaluate(directory, scores(N_ROWS, 4), seed=1, trained_settings={"precision": "bf16"}),
        "precision (trained in bf16 and evaluated in float32; trained in float32 and evaluated in float32): give both "
        "the same --precision",
    ),
}


@pytest.mark.parametrize("kind", DIFFERING)
def test_what_cannot_be_compared_is_refused_unless_it_is_allowed(runs, compare, kind):
    make, sentence = DIFFERING[kind]
    make(runs / "a1")
    refused = f"error: a1 and r1 differ in their {sentence}, or pass --allow {kind}.\n"
    assert compare(*ALL) == (2, "", refused)
    assert not (runs / "comparison").exists()
    others = [name for name in comparability.KINDS if name != kind]
    assert compare(*ALL, "--allow", *others) == (2, "", refused)
    code, out, err = compare(*ALL, "--allow", kind)
    assert code == 0, err
    what = comparability.KINDS[kind][1]
    shared = "; the rows that all have are compared" if kind == "rows" else ""
    told = f"1 of 6 runs differ from r1 in their {what}{shared}."
    assert out.splitlines()[-1] == told
    found = outputs.read_json(runs / "comparison" / "comparison.json")
    assert found["allowed"] == {kind: told}
    assert found["n_rows"] == (N_ROWS - 3 if kind == "rows" else N_ROWS)


def test_rows_drawn_with_other_seeds_say_so(runs, compare):
    for seed in (1, 2):
        of = [row | {"question": f"drawn {seed}"} for row in rows()]
        drawn = {"held_out": "20% by context", "eval_arguments": {"max_eval_samples": N_ROWS}}
        evaluate(runs / f"a{seed}", scores(N_ROWS, 4), seed=seed, of=of, **drawn)
    told = "differ in their evaluated rows or texts (on dev.jsonl, split train, 20% by context held out, 24 rows, "
    told += "drawn with --seed 2; on dev.jsonl, split train, 20% by context held out, 24 rows, drawn with --seed 1)"
    assert told in compare("--runs", "x=a1", "y=a2", "--control", "x")[2]


def test_no_answer_rules_are_told_apart(runs, compare):
    settings = {"allow_no_answer": True, "null_score_threshold": 1.5}
    for name, more in (("r1", {}), ("a1", {"null_score_threshold": 0.5})):
        evaluate(runs / name, scores(N_ROWS, 1), seed=1, settings=settings | more)
    assert (
        "(up to 30 tokens, none above a null score difference of 0.5; up to 30 tokens, none above"
        in (compare(*named("r1", "a1"))[2])
    )


def test_rows_that_nobody_shares_are_refused_even_where_rows_may_differ(runs, compare):
    of = [row | {"id": f"other {row['id']}"} for row in rows()]
    evaluate(runs / "a1", scores(N_ROWS, 4), seed=1, of=of)
    assert compare(*named("r1", "a1"), "--allow", "rows") == (
        1, "", "error: the evaluations have no row in common: evaluate all on the same rows.\n",
    )  # fmt: skip


def test_rows_of_one_context_are_refused(runs, compare):
    for name in ("r1", "a1"):
        evaluate(runs / name, [0.5, 1.0], seed=1, of=rows(1, 2))
    assert compare(*named("r1", "a1"))[2] == (
        "error: all 2 rows are of one of the contexts, so that no interval is known.\n"
    )


def test_tasks_and_arms_that_make_no_comparison(runs, compare):
    pairs = [{"id": str(n), "premise": f"p{n}", "hypothesis": "h", "label": 0} for n in range(4)]
    evaluate(runs / "n1", [1, 0, 1, 1], seed=1, of=pairs, task="nli")
    words = ("--runs", "random=r1", "ambiguous=n1", "--control", "random")
    assert compare(*words) == (2, "", "error: n1 is of task nli and r1 of qa: give runs of one task.\n")
    assert compare(*ALL, "--metric", "accuracy")[:1] == (2,)
    assert compare(*ALL, "--metric", "accuracy")[2] == (
        "error: --metric accuracy is of nli, and the runs of qa: leave it out.\n"
    )
    assert compare(*ALL[2:], "--control", "full") == (
        2, "", "error: --control full is none of the arms random, ambiguous: name one of them.\n",
    )  # fmt: skip
    assert compare(*named("r1", "r2")) == (
        2, "", "error: --runs has no other arm than the control random: add the runs of another one.\n",
    )  # fmt: skip
    evaluate(runs / "r2", scores(N_ROWS, 2), seed=1)
    assert compare(*ALL) == (
        2, "", "error: r1 and r2 are both of random and have the seed 1: leave one out, or give it another arm's "
        "name.\n",
    )  # fmt: skip
    assert compare(*ALL, "random=r1")[2] == "error: --runs has r1 twice: leave one out.\n"
    assert compare(*ALL, "hard=./a1/../r1")[2] == "error: --runs has a1/../r1 twice: leave one out.\n"


BROKEN = {
    "eval_manifest.json": "holds no finished evaluation (no eval_manifest.json): run run.py --do_eval first.",
    "eval_metrics.json": "eval_metrics.json does not exist: run the script that writes it first.",
    "trainer_state.json": "trainer_state.json does not exist: run the script that writes it first.",
    "eval_predictions.jsonl": "eval_predictions.jsonl cannot be read",
}


@pytest.mark.parametrize("name", BROKEN)
def test_unfinished_evaluations_are_refused_and_an_earlier_receipt_stays(runs, compare, name):
    compare(*ALL)
    before = (runs / "comparison" / "comparison.json").read_bytes()
    (runs / "a2" / name).unlink()
    code, out, err = compare(*ALL)
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert BROKEN[name] in err
    assert (runs / "comparison" / "comparison.json").read_bytes() == before
    assert manifests.has_manifest(runs / "comparison")


def rewrite(path, change):
    lines = path.read_text().splitlines()
    path.write_text("\n".join(json.dumps(change(json.loads(line))) for line in lines))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda row: row | {"id": f"x{row['id']}"}, "does not hold the rows that eval_manifest.json speaks of"),
        (lambda row: row | {"f1": 0.5}, "beside it do not give the same F1: evaluate again."),
        (lambda row: row | {"f1": None}, "beside it do not give the same F1: evaluate again."),
        (lambda row: {"id": row["id"]}, "line 1: not a prediction with id, context, f1 (KeyError: 'context')"),
    ],
)
def test_predictions_of_something_else_are_refused(runs, compare, change, sentence):
    rewrite(runs / "a2" / "eval_predictions.jsonl", change)
    code, out, err = compare(*ALL)
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert sentence in err
    assert not (runs / "comparison").exists()


def test_an_evaluation_away_from_its_model_has_the_models_seed_and_steps(runs, compare):
    evaluate(runs / "a1", scores(N_ROWS, 11), seed=7, steps=100)
    away = runs / "away"
    away.mkdir()
    for name in ("eval_predictions.jsonl", "eval_metrics.json", "eval_manifest.json"):
        (runs / "a1" / name).rename(away / name)
    found = manifests.read_manifest(away, manifests.EVAL_MANIFEST)
    told = {key: found[key] for key in ("script", "task", "ablations", "data", "settings", "identity")}
    told |= {"evaluated_model": "a1", "seed": 42}
    manifests.write_manifest(away, told, [Path("a1")], manifests.EVAL_MANIFEST)
    run = evaluations.read_run("ambiguous", away)
    assert (run.seed, run.steps) == (7, 100)
    assert compare("--runs", "random=r1", "ambiguous=away", "--control", "random")[0] == 0
    evaluate(runs / "a1", scores(N_ROWS, 11), seed=8)
    assert compare("--runs", "random=r1", "ambiguous=away", "--control", "random")[2] == (
        "error: away is an evaluation of a1, which has been trained again since: evaluate again.\n"
    )
    (runs / "a1" / "manifest.json").unlink()
    assert (
        "is an evaluation of a1, which is not there (paths count from where it was run): evaluate again."
        in (compare("--runs", "random=r1", "ambiguous=away", "--control", "random")[2])
    )


def test_a_model_without_a_training_has_no_seed_and_no_steps(runs, compare):
    (runs / "a1" / "manifest.json").unlink()
    code, _, err = compare(*named("r1", "a1"))
    assert code == 2
    assert "differ in their ablations (trained elsewhere and evaluated with none; trained with --ablations none" in err
    code, out, err = compare(*named("r1", "a1"), "--allow", "ablations", "steps", "precision")
    assert code == 0, err
    assert "seeds are not covered" in out
    (runs / "a2" / "manifest.json").unlink()
    told = compare(*named("r1", "a1", "a2"))[2]
    assert told.startswith("error: a1 and a2 are both of ambiguous and have no seed that is known: leave one out")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--runs", "random=nowhere", "--control", "random"], "--runs nowhere: there is no such directory."),
        (
            ["--runs", "=r1", "--control", "random"],
            "--runs =r1: give ARM=DIR, as in random=runs/r1, or --selection_dir.",
        ),
        (["--runs", "r1", "--control", "random"], "--runs r1: give ARM=DIR, as in random=runs/r1, or --selection_dir."),
        (["--runs", "random=r1"], "--runs needs --control, the arm that all others are held against."),
        (["--control", "random"], "give --runs, or --ablation_matrix: one of them says what is compared."),
        ([*ALL, "--output_dir", "r1"], "--output_dir r1 is one of --runs as well: choose another one."),
        ([*ALL, "--allow", "seeds"], "argument --allow: invalid choice: 'seeds'"),
        (["--ablation_matrix", "r1"], "argument --ablation_matrix: expected 9 arguments"),
        (["--ablation_matrix", *"abcdefghi", "--control", "x"], "--control acts with --runs alone: leave it out."),
        (["--ablation_matrix", *"abcdefghi", "--allow", "ablations"], "--allow ablations cannot act"),
        (["--ablation_matrix", *"abcdefghi", "--allow", "training"], "--allow training cannot act"),
        (["--ablation_matrix", *"abcdefghi", "--selection_dir", "s"], "--selection_dir acts with --runs alone"),
        ([*ALL, "--selection_dir", "s"], "--selection_dir names the arms of runs without a name, and all of --runs"),
        ([*ALL, "--output_dir", "r1/manifest.json/below"], "--output_dir r1/manifest.json/below cannot be written to"),
    ],
)
def test_command_lines_that_cannot_act(runs, compare, words, sentence):
    code, out, err = compare(*words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert sentence in err
    assert not (runs / "comparison").exists()


def test_a_directory_of_another_script_is_not_written_to(runs, compare):
    manifests.write_manifest(runs / "other", {"script": "run.py"})
    code, _, err = compare(*ALL, "--output_dir", "other")
    assert (code, "holds the finished run of another script" in err) == (2, True)


def nine(runs):
    names = []
    for down, trained in enumerate(ablation_matrix.ABLATIONS):
        for across, evaluated in enumerate(ablation_matrix.ABLATIONS):
            names.append(f"{trained}_{evaluated}")
            f1 = np.full(N_ROWS, 0.1 * down + 0.02 * across)
            evaluate(runs / names[-1], f1, seed=1, trained_ablations=trained, ablations=evaluated)
    return names


def test_nine_evaluations_make_a_matrix(runs, compare):
    names = nine(runs)
    code, out, err = compare("--ablation_matrix", *reversed(names))
    assert code == 0, err
    table = outputs.read_csv(runs / "comparison" / "comparison.csv", ("trained", "evaluated", "directory"))
    assert table["directory"].tolist() == names
    assert table["mean"].tolist() == pytest.approx([0, 2, 4, 10, 12, 14, 20, 22, 24])
    assert "one training a row, so that seeds are not covered." in out
    assert "24.0 (24.0 to 24.0)" in out
    assert manifests.has_manifest(runs / "comparison")


def test_what_is_no_matrix_is_refused(runs, compare):
    names = nine(runs)
    evaluate(runs / names[-1], scores(N_ROWS, 1), seed=1)
    assert compare("--ablation_matrix", *names) == (
        2, "", "error: none_none and p_only_p_only are both trained with --ablations none and evaluated with none: "
        "give one for each cell.\n",
    )  # fmt: skip
    (runs / names[0] / "manifest.json").unlink()
    assert (
        "none_none: its model has no training of run.py, so that it belongs to no cell."
        in (compare("--ablation_matrix", *names)[2])
    )


def test_the_command_line_names_what_the_room_knows():
    assert tuple(evaluations.METRICS) == compare_runs.METRICS
    assert (*comparability.KINDS, comparability.TRAINED) == compare_runs.KINDS
