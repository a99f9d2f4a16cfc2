"""Recordings of another trainer, in the layout of allenai/cartography: its numbers, and what is no such recording."""

import json
import math

import numpy as np
import pytest

from datamap.dynamics import recordings
from datamap.errors import DataError


def foreign_lines(epoch, rows):
    """Lines of allenai/cartography's layout from (guid, logits, gold)."""
    return [json.dumps({"guid": guid, f"logits_epoch_{epoch}": logits, "gold": gold}) for guid, logits, gold in rows]


def write_foreign(directory, epochs):
    directory.mkdir(parents=True)
    for number, rows in enumerate(epochs):
        (directory / f"dynamics_epoch_{number}.jsonl").write_text("\n".join(foreign_lines(number, rows)) + "\n")
    return directory


def in_plain_python(epochs, guid):
    """Confidence, variability, correctness, aum, loss and EL2N of an example, from nothing but the math module."""
    probs, hits, margins, losses, errors = [], [], [], [], []
    for rows in epochs:
        for found, logits, gold in rows:
            if found == guid:
                total = sum(math.exp(logit) for logit in logits)
                others = max(logit for place, logit in enumerate(logits) if place != gold)
                probs.append(math.exp(logits[gold]) / total)
                hits.append(logits[gold] > others)
                margins.append(logits[gold] - others)
                losses.append(-math.log(probs[-1]))
                one_hot = [float(place == gold) for place in range(len(logits))]
                errors.append(math.dist([math.exp(logit) / total for logit in logits], one_hot))
    count = len(probs)
    mean = sum(probs) / count
    spread = math.sqrt(sum((prob - mean) ** 2 for prob in probs) / count)
    means = [sum(values) / count for values in (hits, margins, losses, errors)]
    return [mean, spread, *means, count]


def foreign_epochs(n_epochs, n_examples):
    generator = np.random.default_rng(5)
    golds = generator.integers(0, 3, n_examples).tolist()
    orders = [generator.permutation(n_examples).tolist() for _ in range(n_epochs)]
    return [[(guid, generator.normal(0, 3, 3).round(4).tolist(), golds[guid]) for guid in order] for order in orders]


@pytest.mark.parametrize("parts", [("training_dynamics",), ()])
def test_the_layout_of_allenai_cartography_gives_the_numbers_of_plain_python(tmp_path, parts):
    from datamap.dynamics.measures import over_epochs

    epochs = foreign_epochs(12, 9)
    epochs[11] = [row for row in epochs[11] if row[0] != 4]
    directory = tmp_path / "log"
    write_foreign(directory.joinpath(*parts), epochs)
    recording = recordings.read_recording(directory)
    metrics = over_epochs(recording.epochs)
    assert recording.ids == [str(guid) for guid, _, _ in epochs[0]]
    assert recording.manifest == {}
    assert {name: counts.tolist() for name, counts in recording.counts.items()} == {
        "n_windows": [1] * 9, "n_gold_windows": [1] * 9,
    }  # fmt: skip
    names = ["confidence", "variability", "correctness", "aum", "loss", "el2n", "num_epochs"]
    expected = [in_plain_python(epochs, int(identifier)) for identifier in recording.ids]
    # float32 keeps 7 digits; the largest numbers here are margins of about 20
    np.testing.assert_allclose(metrics[names].to_numpy(dtype=float), expected, rtol=1e-6, atol=1e-6)
    assert metrics["num_epochs"].tolist() == [11 if identifier == "4" else 12 for identifier in recording.ids]
    position = recording.ids.index("4")
    by_hand = [in_plain_python([rows], 4)[0] for rows in epochs[:11]]
    np.testing.assert_allclose(recording.epochs["gold_prob"][:11, position], by_hand, rtol=1e-6)
    assert np.isnan(recording.epochs["gold_prob"][11, position])


def test_a_missing_epoch_of_allenai_cartography_is_named(tmp_path):
    directory = write_foreign(tmp_path / "training_dynamics", foreign_epochs(4, 2))
    (directory / "dynamics_epoch_2.jsonl").unlink()
    with pytest.raises(DataError, match=r"has no dynamics_epoch_2\.jsonl, but has dynamics_epoch_3\.jsonl"):
        recordings.read_recording(tmp_path)


@pytest.mark.parametrize(
    ("logits", "gold", "said"),
    [
        ([0.5, 1.0, 2.0], 1, "gold 1 of 3 classes in dynamics_epoch_2.jsonl"),
        ([0.5, 1.0, 2.0, 3.0], 2, "gold 2 of 4 classes in dynamics_epoch_2.jsonl"),
    ],
)
def test_a_gold_class_that_changes_between_epochs_is_refused_with_its_guid(tmp_path, logits, gold, said):
    kept = [("a", [1.0, 2.0, 3.0], 1), ("NA", [3.0, 2.0, 1.0], 2)]
    write_foreign(tmp_path / "training_dynamics", [kept, kept[:1], [kept[0], ("NA", logits, gold)], kept[:1]])
    with pytest.raises(DataError) as caught:
        recordings.read_recording(tmp_path)
    first = "the guid NA has gold 2 of 3 classes in dynamics_epoch_0.jsonl"
    assert f"those of 1 of 2 change between epochs; {first} and {said}:" in str(caught.value)


def test_of_equal_logits_the_first_counts_as_predicted(tmp_path):
    rows = [("first", [1.0, 1.0, 0.0], 0), ("second", [1.0, 1.0, 0.0], 1), ("alone", [0.0, 1.0, 0.5], 1)]
    write_foreign(tmp_path / "training_dynamics", [rows])
    assert recordings.read_recording(tmp_path).epochs["correct"].tolist() == [[1, 0, 1]]


GOOD = '{"guid": 1, "logits_epoch_0": [0.5, -1.0], "gold": 0}'


@pytest.mark.parametrize(
    "line",
    [
        '{"guid": 1, "logits_epoch_0": [0.5',
        "[1, 2]",
        "",
        '{"guid": 2, "logits_epoch_1": [0.5, -1.0], "gold": 0}',
        '{"guid": 2, "logits_epoch_0": [0.5, -1.0]}',
        '{"guid": 2, "logits_epoch_0": [0.5, -1.0], "gold": 2}',
        '{"guid": 2, "logits_epoch_0": [0.5, -1.0], "gold": -1}',
        '{"guid": 2, "logits_epoch_0": [0.5, -1.0], "gold": "entailment"}',
        '{"guid": 2, "logits_epoch_0": [0.5, -1.0], "gold": null}',
        '{"guid": 2, "logits_epoch_0": [0.5, -1.0], "gold": 0.5}',
        '{"guid": null, "logits_epoch_0": [0.5, -1.0], "gold": 0}',
        '{"guid": NaN, "logits_epoch_0": [0.5, -1.0], "gold": 0}',
        '{"guid": 2, "logits_epoch_0": [0.5], "gold": 0}',
        '{"guid": 2, "logits_epoch_0": [[0.5, 1.0], [0.5, 1.0]], "gold": 0}',
        '{"guid": 2, "logits_epoch_0": 0.5, "gold": 0}',
        '{"guid": 2, "logits_epoch_0": ["a", "b"], "gold": 0}',
        '{"guid": 2, "logits_epoch_0": [NaN, 0.5], "gold": 0}',
        '{"guid": 2, "logits_epoch_0": [0.5, Infinity], "gold": 0}',
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path, line):
    (tmp_path / "dynamics_epoch_0.jsonl").write_text(f"{GOOD}\n{line}\n{GOOD.replace('1,', '3,', 1)}\n")
    with pytest.raises(DataError, match=r"dynamics_epoch_0\.jsonl, line 2: not a record with guid, gold and logits_ep"):
        recordings.read_recording(tmp_path)


def test_other_trouble_in_a_file_of_allenai_cartography_is_named(tmp_path):
    path = tmp_path / "dynamics_epoch_0.jsonl"
    path.write_text(f"{GOOD}\n{GOOD.replace('0.5', '0.6')}\n")
    with pytest.raises(DataError, match=r"line 2: the guid 1 stands there twice"):
        recordings.read_recording(tmp_path)
    path.write_text("")
    with pytest.raises(DataError, match=r"dynamics_epoch_0\.jsonl, line 1: not a record"):
        recordings.read_recording(tmp_path)
    path.write_bytes(GOOD.replace('"guid": 1', '"guid": "é"').encode("latin-1"))
    with pytest.raises(DataError, match=r"dynamics_epoch_0\.jsonl cannot be read as UTF-8 text"):
        recordings.read_recording(tmp_path)


def test_guids_are_texts_and_lines_end_at_line_feeds_only(tmp_path):
    lines = [
        GOOD.replace('"guid": 1', f'"guid": {json.dumps(guid, ensure_ascii=False)}') for guid in ("0012", "a\u2028b")
    ]
    (tmp_path / "dynamics_epoch_0.jsonl").write_bytes("\r\n".join([*lines, GOOD]).encode())
    assert recordings.read_recording(tmp_path).ids == ["0012", "a\u2028b", "1"]
