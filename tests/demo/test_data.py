"""The built-in demo data: the same every time, exact slices, disjoint notes, and mistakes only where it says so."""

import hashlib
import json

import pytest

from datamap import errors
from datamap.demo import data, noise

QA_VARIANTS = ("", "v2", "noisy")
# The data people compare their results on: a change of it is deliberate or a mistake.
SHA256 = {
    "": "b84390e01b3f04b5c1729b8ae72be3193b91bfea88f2129071b130fd0714a614",
    "v2": "d163c72af5672ed2d9ea30c59e7d0cb9dd036c3bf78d64cfb264e79ffa19dfa7",
    "noisy": "a89ee677dde3184ce1fcd9d0498ed22ff5785a87decb9e521ff2278127628daa",
    "nli": "795a1566445ff4258d05ce6d179addcd46147f0f27d1df1c1c2bba96ec41af28",
}


@pytest.fixture(scope="module")
def demo():
    """Every variant, generated once for this file."""
    return {variant: data.make_demo(variant) for variant in data.VARIANTS}


def contexts(rows, column="context"):
    return {row[column] for row in rows}


@pytest.mark.parametrize("variant", data.VARIANTS)
def test_is_the_same_every_time_and_everywhere(demo, variant):
    text = json.dumps(demo[variant], sort_keys=True)
    assert text == json.dumps(data.make_demo(variant), sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == SHA256[variant]


@pytest.mark.parametrize("variant", data.VARIANTS)
def test_has_the_sizes_it_promises(demo, variant):
    assert {split: len(rows) for split, rows in demo[variant].items()} == {"train": 720, "validation": 300}


@pytest.mark.parametrize("variant", QA_VARIANTS)
def test_rows_have_the_shape_of_emrqa_msquad(demo, variant):
    columns = ["context", "question", "answers"] + ["planted"] * (variant == "noisy")
    for row in demo[variant]["train"] + demo[variant]["validation"]:
        assert list(row) == columns
        assert list(row["answers"]) == ["text", "answer_start", "answer_end"]
        assert len({len(values) for values in row["answers"].values()}) == 1


@pytest.mark.parametrize("variant", QA_VARIANTS)
def test_every_answer_is_an_exact_slice(demo, variant):
    for row in demo[variant]["train"] + demo[variant]["validation"]:
        answers = row["answers"]
        for text, start, end in zip(*answers.values(), strict=True):
            assert row["context"][start:end] == text
            assert text == text.strip()
            assert text


@pytest.mark.parametrize("variant", QA_VARIANTS)
def test_no_question_is_asked_twice_of_a_note(demo, variant):
    rows = demo[variant]["train"] + demo[variant]["validation"]
    assert len({(row["context"], row["question"]) for row in rows}) == len(rows)


@pytest.mark.parametrize("variant", QA_VARIANTS)
def test_train_and_validation_share_no_note_and_only_some_wordings(demo, variant):
    train, validation = demo[variant]["train"], demo[variant]["validation"]
    assert len(contexts(train)) == 120
    assert len(contexts(validation)) == 50
    assert not contexts(train) & contexts(validation)
    wordings = {row["question"] for row in train} & {row["question"] for row in validation}
    assert "How is tamsulosin administered?" not in {row["question"] for row in validation}
    assert 0 < sum(row["question"] in wordings for row in validation) < 150


def test_some_drugs_stand_in_one_split_only(demo):
    train, validation = (" ".join(sorted(contexts(demo[""][split]))) for split in ("train", "validation"))
    assert "azithromycin" in validation
    assert "azithromycin" not in train
    assert "metoprolol" in train
    assert "metoprolol" not in validation
    assert "gabapentin" in train
    assert "gabapentin" in validation


def test_questions_of_the_default_set_all_have_one_answer(demo):
    rows = demo[""]["train"] + demo[""]["validation"]
    assert all(len(row["answers"]["text"]) == 1 for row in rows)


def test_a_third_of_v2_has_no_answer_in_every_note(demo):
    for split, n_unanswerable in (("train", 240), ("validation", 100)):
        rows = [row for row in demo["v2"][split] if not row["answers"]["text"]]
        assert len(rows) == n_unanswerable
        assert contexts(rows) == contexts(demo[""][split])


def test_most_unanswerable_questions_are_worded_like_answerable_ones(demo):
    beginnings = {True: [], False: []}
    for row in demo["v2"]["train"]:
        beginnings[bool(row["answers"]["text"])].append(" ".join(row["question"].split()[:3]))
    n_alike = sum(beginning in beginnings[True] for beginning in beginnings[False])
    assert n_alike >= 0.9 * len(beginnings[False])


def test_a_question_without_an_answer_is_not_one_the_default_set_answers(demo):
    answered = {(row["context"], row["question"]) for row in demo[""]["train"]}
    rows = [row for row in demo["v2"]["train"] if not row["answers"]["text"]]
    assert not answered & {(row["context"], row["question"]) for row in rows}


def test_noisy_plants_a_tenth_in_equal_shares_and_only_in_training(demo):
    planted = [row["planted"] for row in demo["noisy"]["train"]]
    assert {kind: planted.count(kind) for kind in sorted(set(planted))} == {
        "none": 648,
        "random span": 18,
        "shifted boundary": 18,
        "swapped question": 18,
        "wrong entity": 18,
    }
    assert {row["planted"] for row in demo["noisy"]["validation"]} == {"none"}


def test_noisy_is_the_default_set_row_by_row_but_for_what_it_planted(demo):
    for split in ("train", "validation"):
        for clean, noisy in zip(demo[""][split], demo["noisy"][split], strict=True):
            same = {**clean, "planted": "none"} == noisy
            assert same == (noisy["planted"] == "none")
            assert clean["context"] == noisy["context"]


def test_planted_answers_differ_from_the_right_ones(demo):
    right = {(row["context"], row["question"]): row["answers"]["text"][0] for row in demo[""]["train"]}
    rows = [row for row in demo["noisy"]["train"] if row["planted"] != "none"]
    for row in rows:
        assert noise.differs(row["answers"]["text"][0], right[row["context"], row["question"]])


def overlaps(one, other):
    """Whether the first answers of two rows share a character of the note."""
    first = max(row["answers"]["answer_start"][0] for row in (one, other))
    last = min(row["answers"]["answer_end"][0] for row in (one, other))
    return first < last


def test_each_kind_of_mistake_is_what_its_name_says(demo):
    for clean, noisy in zip(demo[""]["train"], demo["noisy"]["train"], strict=True):
        swapped = noisy["planted"] in ("swapped question",)
        assert (noisy["question"] != clean["question"]) == swapped
        assert (noisy["answers"] == clean["answers"]) == (noisy["planted"] in ("none", "swapped question"))
        assert overlaps(clean, noisy) == (noisy["planted"] not in ("random span", "wrong entity"))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("The wound clinic.", "wound clinic", False),
        ("50 mg", "50 MG,", False),
        ("50 mg", "50 mg by", True),
        ("2.5 mg", "5 mg", True),
    ],
)
def test_answers_differ_as_the_squad_scripts_compare_them(one, other, expected):
    assert noise.differs(one, other) is expected


def test_nli_is_balanced_and_its_notes_disjoint(demo):
    assert data.NLI_LABELS == ("entailment", "neutral", "contradiction")
    for split, n_each in (("train", 240), ("validation", 100)):
        labels = [row["label"] for row in demo["nli"][split]]
        assert [labels.count(label) for label in (0, 1, 2)] == [n_each] * 3
        assert all(list(row) == ["premise", "hypothesis", "label"] for row in demo["nli"][split])
    rows = demo["nli"]["train"] + demo["nli"]["validation"]
    assert len({(row["premise"], row["hypothesis"]) for row in rows}) == len(rows)
    learnt = "\n".join(sorted(contexts(demo["nli"]["train"], "premise")))
    assert all(row["premise"] not in learnt for row in demo["nli"]["validation"])


def test_nli_wordings_serve_every_label(demo):
    wordings = {"takes": set(), "has": set(), "arrived": set(), "due": set()}
    for row in demo["nli"]["train"]:
        for word, labels in wordings.items():
            if word in row["hypothesis"].split():
                labels.add(row["label"])
    assert all(labels == {0, 1, 2} for labels in wordings.values())


def test_an_unknown_variant_names_the_known_ones():
    with pytest.raises(errors.UsageError, match=r"'demo:v3'.* demo, demo:v2, demo:noisy, demo:nli\."):
        data.make_demo("v3")
