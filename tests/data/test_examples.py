"""Which rows are held out and drawn, and in what order NLI labels meet the model's logits."""

import contextlib
import json

import pandas as pd
import pytest

from datamap.data.examples import Examples, hold_out, load_examples, sample_rows
from datamap.data.label_names import align_labels, fit_labels
from datamap.data.purposes import load_data
from datamap.data.sources import open_source
from datamap.errors import DataError
from tests.models import Config
from tests.rows import nli_examples


def qa_examples(n_contexts=20, each=3):
    rows = [
        {"id": f"{c}-{q}", "context": f"context {c}", "question": f"q {q}", "answers": {"text": [], "answer_start": []}}
        for c in range(n_contexts)
        for q in range(each)
    ]
    problems = pd.DataFrame(
        [("0-0", "p", "a", "b", "c", "train")], columns=["id", "problem", "action", "before", "after", "split"]
    )
    return Examples(pd.DataFrame(rows).assign(usable_for_training=True), problems, "name", "train")


def test_whole_contexts_are_held_out_up_to_the_fraction():
    rest, held_out = hold_out(qa_examples(), 0.25)
    assert len(held_out.frame) == 15
    assert len(rest.frame) == 45
    assert set(rest.frame["context"]) & set(held_out.frame["context"]) == set()
    assert len(rest.problems) + len(held_out.problems) == 1


def test_what_is_held_out_depends_on_the_texts_alone():
    whole = qa_examples()
    shuffled = whole.replaced(whole.frame.sample(frac=1, random_state=7))
    assert set(hold_out(whole, 0.2)[1].frame["id"]) == set(hold_out(shuffled, 0.2)[1].frame["id"])


def test_a_small_fraction_still_holds_out_one_context_and_a_large_one_leaves_one():
    assert len(hold_out(qa_examples(3), 0.01)[1].frame) == 3
    assert len(hold_out(qa_examples(3), 0.99)[0].frame) == 3


def test_one_context_cannot_be_split():
    with pytest.raises(DataError, match="share one context"):
        hold_out(qa_examples(1), 0.5)


def test_a_sample_depends_on_the_seed_and_keeps_the_order():
    whole = qa_examples()
    first, again, other = sample_rows(whole, 10, 1), sample_rows(whole, 10, 1), sample_rows(whole, 10, 2)
    assert first.frame["id"].tolist() == again.frame["id"].tolist() != other.frame["id"].tolist()
    place = {name: number for number, name in enumerate(whole.frame["id"])}
    assert first.frame["id"].map(place).is_monotonic_increasing
    assert sample_rows(whole, 60, 1) is whole


def test_ids_do_not_depend_on_what_is_held_out_or_drawn(tmp_path):
    rows = [
        {"context": f"context {n // 2} word", "question": f"q{n}", "answers": {"text": ["word"], "answer_start": [10]}}
        for n in range(12)
    ]
    for row in rows:
        row["answers"]["answer_start"] = [row["context"].index("word")]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    whole = load_examples(open_source(str(path), "qa"), "train", "qa")
    by_question = dict(zip(whole.frame["question"], whole.frame["id"], strict=True))
    for part in (*hold_out(whole, 0.5), sample_rows(whole, 4, 3)):
        assert all(by_question[q] == i for q, i in zip(part.frame["question"], part.frame["id"], strict=True))


def test_labels_follow_the_models_own_order_by_name():
    data = {"eval": nli_examples(["entailment", "neutral", "contradiction"], [0, 1, 2, 0])}
    fitted = fit_labels(Config(["CONTRADICTION", "ENTAILMENT", "NEUTRAL"]), data)["eval"]
    assert fitted.frame["label"].tolist() == [1, 2, 0, 1]
    assert fitted.label_names == ("CONTRADICTION", "ENTAILMENT", "NEUTRAL")


def test_a_new_head_is_sized_to_the_training_data():
    config = Config(["LABEL_0", "LABEL_1"])
    data = {"train": nli_examples(["yes", "no", "perhaps"], [0, 1, 2]), "eval": nli_examples(["no", "yes"], [0, 1])}
    fitted = fit_labels(config, data)
    assert config.num_labels == 3
    assert config.label2id == {"yes": 0, "no": 1, "perhaps": 2}
    assert fitted["eval"].frame["label"].tolist() == [1, 0]


def test_other_labels_than_the_models_are_refused():
    with pytest.raises(DataError, match="maybe"):
        align_labels(nli_examples(["yes", "maybe"], [0, 1]), ("yes", "no"))
    with pytest.raises(DataError, match="3 labels"):
        fit_labels(Config(["LABEL_0", "LABEL_1"]), {"eval": nli_examples(["a", "b", "c"], [0, 1, 2])})


def test_bare_numbers_meet_names_in_the_usual_order_only():
    usual = ("entailment", "neutral", "contradiction")
    fitted = align_labels(nli_examples(["0", "1"], [1, 0]), usual)
    assert fitted.frame["label"].tolist() == [1, 0]
    assert fitted.label_names == usual
    from_1 = align_labels(nli_examples(["1", "2", "3"], [1, 0, 2]), usual)
    assert (from_1.frame["label"].tolist(), from_1.label_names) == ([1, 0, 2], usual)
    with pytest.raises(DataError, match="0, 1, 2, 3, but entailment"):
        align_labels(nli_examples(["0", "1", "2", "3"], [1, 0, 2]), usual)
    with pytest.raises(DataError, match="0, 1, but CONTRADICTION"):
        align_labels(nli_examples(["0", "1"], [1, 0]), ("CONTRADICTION", "entailment", "neutral"))


def test_numbers_without_rows_need_no_class_of_the_model():
    fitted = align_labels(nli_examples(["0", "1", "2"], [2, 1, 2]), ("1", "2", "3"))
    assert (fitted.frame["label"].tolist(), fitted.label_names) == ([1, 0, 1], ("1", "2", "3"))
    with pytest.raises(DataError, match="0, 1, 2, but 1, 2, 3 are expected"):
        align_labels(nli_examples(["0", "1", "2"], [2, 0]), ("1", "2", "3"))


class Options:
    task, train_split, eval_split, eval_dataset = "qa", "train", None, None
    max_train_samples = max_eval_samples = columns = groups = train_ids = example_weights = example_smoothing = None
    model = "demo"

    def __init__(self, dataset, validation_fraction):
        self.dataset, self.validation_fraction = dataset, validation_fraction


class Arguments:
    seed, do_predict = 1, False

    def __init__(self, do_train, do_eval):
        self.do_train, self.do_eval = do_train, do_eval

    def main_process_first(self, desc):
        return contextlib.nullcontext()


def test_what_training_alone_holds_out_is_what_evaluation_alone_sees():
    train = load_data(Options("demo", 0.2), Arguments(True, False))["train"]
    evaluated = load_data(Options("demo", 0.2), Arguments(False, True))["eval"]
    both = load_data(Options("demo", 0.2), Arguments(True, True))
    assert set(train.frame["id"]) & set(evaluated.frame["id"]) == set()
    assert set(train.frame["context"]) & set(evaluated.frame["context"]) == set()
    assert len(train.frame) + len(evaluated.frame) == 720
    assert both["train"].frame["id"].tolist() == train.frame["id"].tolist()
    assert both["eval"].frame["id"].tolist() == evaluated.frame["id"].tolist()
    assert train.held_out == evaluated.held_out == 0.2


def test_unanswerable_questions_are_known_whatever_is_drawn():
    options = Options("demo:v2", None)
    options.max_eval_samples = 1
    drawn = [load_data(options, Arguments(False, True))["eval"] for Arguments.seed in range(12)]
    assert all(part.has_unanswerable for part in drawn)
    assert {part.n_unanswerable for part in drawn} == {0, 1}


def test_splits_with_other_label_orders_are_refused(tmp_path):
    import datasets

    def split(names):
        text = datasets.Value("string")
        features = datasets.Features(premise=text, hypothesis=text, label=datasets.ClassLabel(names=names))
        return datasets.Dataset.from_dict({"premise": ["p"], "hypothesis": ["h"], "label": [0]}, features=features)

    both = datasets.DatasetDict(train=split(["yes", "no"]), validation=split(["no", "yes"]))
    both.save_to_disk(tmp_path / "mixed")
    with pytest.raises(DataError, match="number their labels differently"):
        open_source(str(tmp_path / "mixed"), "nli")
