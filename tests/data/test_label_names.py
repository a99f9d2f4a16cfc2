"""Labels of a model counted as those of the data: HANS by itself, anything else by --label_map."""

import json

import numpy as np
import pytest

from datamap.data.label_names import fit_labels
from datamap.errors import DataError, UsageError
from tests.models import Config
from tests.rows import nli_examples

USUAL = ("entailment", "neutral", "contradiction")


def evaluated(model_names, names, labels, label_map=None):
    return fit_labels(Config(model_names), {"eval": nli_examples(names, labels)}, label_map)["eval"]


def counted(part):
    return part.merged.by_name(part.label_names)


@pytest.mark.parametrize("name", ["non-entailment", "not_entailment", "Non-Entailment"])
def test_neutral_and_contradiction_count_as_non_entailment(name, caplog):
    caplog.set_level("INFO")
    part = evaluated(("CONTRADICTION", "ENTAILMENT", "NEUTRAL"), (name, "entailment"), [0, 1, 0])
    assert part.label_names == (name, "entailment")
    assert part.frame["label"].tolist() == [0, 1, 0]
    assert (part.merged.names, part.merged.places) == (("CONTRADICTION", "ENTAILMENT", "NEUTRAL"), (0, 1, 0))
    assert f"CONTRADICTION and NEUTRAL as {name}" in caplog.text


def test_a_split_of_one_of_the_two_labels_and_another_spelling():
    part = evaluated(USUAL, ("non-entailment",), [0])
    assert (part.label_names, part.frame["label"].tolist()) == (("entailment", "non-entailment"), [1])
    part = evaluated(("not_entailment", "entailment"), ("entailment", "non-entailment"), [0])
    assert (part.label_names, part.frame["label"].tolist()) == (("non-entailment", "entailment"), [1])


def test_labels_of_the_same_names_are_not_merged():
    assert evaluated(USUAL, USUAL, [0]).merged is None
    assert evaluated(("non-entailment", "entailment"), ("entailment", "non-entailment"), [0]).merged is None


def test_a_label_map_names_all_others():
    part = evaluated(USUAL, ("no", "yes"), [1, 0], {"yes": "Entailment", "no": "neutral, contradiction"})
    assert counted(part) == {"yes": ["entailment"], "no": ["neutral", "contradiction"]}
    assert part.frame["label"].tolist() == [0, 1]
    part = evaluated(("LABEL_0", "LABEL_1", "LABEL_2"), ("0", "1"), [1, 0], {"0": "LABEL_1", "1": "LABEL_0,LABEL_2"})
    assert (part.merged.places, part.frame["label"].tolist()) == ((0, 1, 0), [0, 1])


def test_a_label_that_the_map_does_not_name_counts_as_itself():
    part = evaluated(USUAL, ("entailment", "other"), [1], {"other": "contradiction"})
    assert counted(part) == {"entailment": ["entailment"], "neutral": ["neutral"], "other": ["contradiction"]}


@pytest.mark.parametrize(
    ("label_map", "error", "sentence"),
    [
        ({"maybe": "neutral"}, UsageError, "maybe=neutral: the data's labels are yes, no"),
        ({"yes": "entailmend"}, UsageError, "'entailmend' is none of --model's labels, entailment, neutral, contr"),
        (
            {"yes": "neutral", "no": "contradiction,neutral"},
            UsageError,
            "no=contradiction,neutral: neutral is given twi",
        ),
        ({"yes": "entailment"}, DataError, "the label no, which no prediction can have"),
    ],
)
def test_a_label_map_that_does_not_fit_is_refused(label_map, error, sentence):
    with pytest.raises(error, match=sentence):
        evaluated(USUAL, ("yes", "no"), [0, 1], label_map)


def test_a_label_map_that_changes_nothing_is_refused():
    with pytest.raises(UsageError, match="changes nothing"):
        evaluated(USUAL, USUAL, [0], {"neutral": "neutral"})


def test_three_labels_without_names_are_not_guessed():
    with pytest.raises(DataError, match="does not name, .* --label_map entailment=LABEL_0 non-entailment=LABEL_1,"):
        evaluated(("LABEL_0", "LABEL_1", "LABEL_2"), ("entailment", "non-entailment"), [0])


def test_other_labels_name_the_way_out():
    with pytest.raises(DataError, match=r"has the labels yes, no, but .* with --label_map LABEL=MODEL_LABEL\.$"):
        evaluated(USUAL, ("yes", "no"), [0])
    many = tuple(f"label number {number}" for number in range(90))
    with pytest.raises(DataError, match="label number 5, and 84 more, but entailment"):
        evaluated(USUAL, many, [0])


HANS = (
    "gold_label\tsentence1\tsentence2\tpairID\theuristic\n"
    "non-entailment\tThe judge saw the actor .\tThe actor saw the judge .\tex0\tlexical_overlap\n"
    "entailment\tThe judge and the actor slept .\tThe actor slept .\tex1\tlexical_overlap\n"
    "non-entailment\tThe judge by the actor slept .\tThe actor slept .\tex2\tsubsequence\n"
    "entailment\tThe tall judge slept .\tThe judge slept .\tex3\tsubsequence\n"
)


@pytest.fixture(scope="module")
def three_way(tmp_path_factory, tiny_model):
    """A tiny model that has been trained for a moment to tell three labels apart."""
    import helpers
    import run

    directory = tmp_path_factory.mktemp("three_way")
    argv = ["--do_train", "--task", "nli", "--dataset", "demo:nli", "--model", str(tiny_model), "--no_cuda"]
    argv += ["--max_train_samples", "48", "--num_train_epochs", "1", "--output_dir", str(directory / "model")]
    argv += ["--learning_rate", "1e-3", "--precision", "float32"]
    assert helpers.run_script(run.main, argv) == 0
    return directory / "model"


def test_hans_is_scored_on_its_two_labels_by_the_argmax_over_three(three_way, tmp_path, command):
    (tmp_path / "heuristics_evaluation_set.txt").write_text(HANS)
    argv = ("--do_eval", "--task", "nli", "--model", three_way, "--no_cuda", "--output_dir", tmp_path / "out")
    code, printed, err = command(*argv, "--eval_dataset", tmp_path / "heuristics_evaluation_set.txt")
    assert code == 0, err
    assert "neutral and contradiction as non-entailment" in err
    rows = [json.loads(line) for line in (tmp_path / "out" / "eval_predictions.jsonl").read_text().splitlines()]
    assert [row["label_name"] for row in rows] == ["non-entailment", "entailment"] * 2
    right, losses = [], []
    for row in rows:
        scores = row["predicted_scores"]
        assert list(scores) == list(USUAL)
        best = max(scores, key=scores.get)
        assert row["predicted_label"] == ("entailment" if best == "entailment" else "non-entailment")
        right.append(row["predicted_label"] == row["label_name"])
        entailed = scores["entailment"]
        losses.append(-np.log(entailed if row["label_name"] == "entailment" else 1 - entailed))
    figures = json.loads((tmp_path / "out" / "eval_metrics.json").read_text())
    assert figures["eval_accuracy"] == np.mean(right)
    assert figures["eval_loss"] == pytest.approx(np.mean(losses), abs=1e-6)  # probabilities are float32
    assert figures["label_map"] == {"entailment": ["entailment"], "non-entailment": ["neutral", "contradiction"]}
    assert np.sum(figures["confusion_matrix"], axis=1).tolist() == [2, 2]
    assert f"accuracy {np.mean(right):.4f}" in printed


def test_a_label_map_on_the_command_line(three_way, tmp_path, command):
    rows = [{"premise": "A dog runs.", "hypothesis": f"Run {n}.", "label": "yn"[n % 2]} for n in range(4)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    argv = ("--do_eval", "--task", "nli", "--model", three_way, "--no_cuda", "--output_dir", tmp_path / "out")
    argv += ("--eval_dataset", tmp_path / "rows.jsonl")
    code, _, err = command(*argv, "--label_map", "y=entailment", "n=neutral,contradiction")
    assert code == 0, err
    figures = json.loads((tmp_path / "out" / "eval_metrics.json").read_text())
    assert figures["label_names"] == ["y", "n"]
    for words, sentence in (
        (("--task", "qa", "--do_eval"), "--label_map is for --task nli"),
        (("--task", "nli", "--do_train"), "--label_map acts in evaluation, never in training"),
        (("--task", "nli", "--do_eval", "--label_map", "y"), "y: give LABEL=MODEL_LABEL"),
        (("--task", "nli", "--do_eval", "--label_map", "y=a", "y=b"), "y=b: y is given twice"),
    ):
        code, _, err = command("--label_map", "y=entailment", *words)
        assert (code, sentence in err) == (2, True), err
