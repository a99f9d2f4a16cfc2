"""Numbers and answers of several recordings, beside loops over rows."""

import numpy as np
import pandas as pd
import pytest

from datamap.dynamics.agreement import mean_numbers
from datamap.labels.averages import mean_predictions

IDS = [f"r{number}" for number in range(30)]


def qa_frame(seed: int) -> pd.DataFrame:
    """Predictions as a recording has them, its rows in an order of their own; some have no other answer."""
    random = np.random.default_rng(seed)
    rows = []
    for name in random.permutation(IDS):
        has_other = random.random() < 0.8
        rows.append({
            "id": name, "fold": int(name[1:]) % 2 + 1, "predicted_answer": str(random.choice(["a", "b", ""])),
            "predicted_start": 0, "predicted_score": random.normal(), "predicted_prob": random.random(),
            "label_prob": random.random(), "boundary_prob": 0.1, "place_prob": 0.2, "null_prob": random.random(),
            "expected_f1": random.random(), "other_answer": str(random.choice(["b", "c"])) if has_other else None,
            "other_start": 3 if has_other else None, "other_prob": random.random() if has_other else None,
        })  # fmt: skip
    frame = pd.DataFrame(rows).set_index("id")
    starts = {"a": 0, "b": 3, "c": 9, "": -1}
    frame["predicted_start"] = frame["predicted_answer"].map(starts)
    frame["other_start"] = frame["other_answer"].map(starts)
    return frame


def test_one_recording_stays_as_it_is():
    frame = qa_frame(0)
    assert mean_predictions([frame]) is frame
    assert mean_numbers([frame]) is frame


def test_numbers_are_means_by_id():
    frames = [qa_frame(seed)[["label_prob", "expected_f1", "null_prob"]] for seed in range(3)]
    found = mean_numbers(frames)
    assert found.index.tolist() == frames[0].index.tolist()
    for name in IDS:
        for column in found:
            assert found.loc[name, column] == pytest.approx(np.mean([one.loc[name, column] for one in frames]))
    assert np.isnan(mean_numbers([frames[0], frames[1].drop(index="r3")]).loc["r3"]).all()


@pytest.mark.parametrize("names", [("predicted_answer", "predicted_prob"), ("other_answer", "other_prob")])
def test_an_answer_is_the_one_with_most_probability_over_all_recordings(names):
    frames = [qa_frame(seed) for seed in range(3)]
    found = mean_predictions(frames)
    for name in IDS:
        sums: dict[str, float] = {}
        for one in frames:
            answer, prob = one.loc[name, names[0]], one.loc[name, names[1]]
            if isinstance(answer, str):
                sums[answer] = sums.get(answer, 0) + prob / 3
        if not sums:
            assert pd.isna(found.loc[name, names[0]])
            continue
        best = max(sums, key=sums.get)
        assert (found.loc[name, names[0]], found.loc[name, names[1]]) == (best, pytest.approx(sums[best]))


def test_a_row_for_which_no_recording_has_another_answer_has_none():
    frames = [qa_frame(seed) for seed in range(2)]
    for frame in frames:
        frame.loc["r4", ["other_answer", "other_start", "other_prob"]] = None
    found = mean_predictions(frames).loc["r4"]
    assert pd.isna(found[["other_answer", "other_start", "other_prob"]]).all()
    assert found["fold"] == 1


def test_probabilities_of_labels_are_averaged_and_the_best_one_is_predicted():
    scores = [[{"x": 0.6, "y": 0.4}, {"x": 0.1, "y": 0.9}], [{"x": 0.2, "y": 0.8}, {"x": 0.7, "y": 0.3}]]
    frames = [
        pd.DataFrame({"id": ["a", "b"], "fold": 1, "predicted_label": "?", "predicted_scores": part}).set_index("id")
        for part in scores
    ]
    found = mean_predictions([frames[0], frames[1].iloc[::-1]])
    assert found["predicted_label"].tolist() == ["y", "y"]
    assert found.loc["a", "predicted_scores"] == pytest.approx({"x": 0.4, "y": 0.6})
    assert found.loc["b", "predicted_scores"] == pytest.approx({"x": 0.4, "y": 0.6})
