"""Several recordings: means by id, regions that agree, and rank correlations against scipy's."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from datamap.dynamics.agreement import agreement, averaged, refuse_other_rows
from datamap.dynamics.maps import data_map
from datamap.dynamics.measures import assign_regions, over_epochs
from datamap.dynamics.recordings import Recording
from datamap.errors import UsageError
from tests.recordings import dynamics

RULE = {"method": "thirds", "ambiguous_fraction": 1 / 3, "confidence_threshold": 0.5}


def recording(seed: int, n_examples: int = 40, n_epochs: int = 4, order=None) -> Recording:
    """A made-up recording; `order` puts its rows in another order."""
    order = np.arange(n_examples) if order is None else order
    epochs = dynamics(n_examples, n_epochs, seed=seed)
    stacked = {name: np.stack([epoch[name] for epoch in epochs])[:, order] for name in epochs[0]}
    ids = [f"r{row}" for row in order]
    counts = {name: order % 3 + 1 for name in ("n_windows", "n_gold_windows")}
    return Recording(ids, stacked, counts, {"task": "qa"})


def test_one_recording_is_left_as_it_is():
    one = recording(0)
    found = data_map([one], 0, RULE)
    alone = over_epochs(one.epochs)
    assert found.agreement is None
    assert "region_agreement" not in found.metrics
    pd.testing.assert_frame_equal(found.metrics[list(alone)], alone)


def test_means_are_those_of_a_loop_by_id_whatever_the_order_of_the_rows():
    turned = np.random.default_rng(5).permutation(40)
    parts = [recording(0), recording(1, order=turned), recording(2)]
    found = data_map(parts, 0, RULE)
    metrics = found.metrics.set_index("id")
    for name in ("confidence", "variability", "aum", "forgetting_events"):
        for row in range(40):
            values = [over_epochs(part.epochs)[name][part.ids.index(f"r{row}")] for part in parts]
            assert metrics.loc[f"r{row}", name] == pytest.approx(np.mean(values), abs=1e-12)
    never = [set(np.array(part.ids)[over_epochs(part.epochs)["never_learnt"]]) for part in parts]
    assert set(metrics.index[metrics["never_learnt"]]) == set.intersection(*never)
    probs = [part.epochs["gold_prob"][:, [part.ids.index(name) for name in metrics.index]] for part in parts]
    masked = np.ma.masked_invalid(np.stack(probs)).mean(axis=0).filled(np.nan)
    assert np.allclose(found.gold_probs, masked, atol=1e-6, equal_nan=True)


def test_regions_are_those_of_the_means_and_agreement_is_counted_by_hand():
    parts = [recording(seed) for seed in range(3)]
    found = data_map(parts, 0, RULE)
    by_recording = []
    for part in parts:
        metrics = over_epochs(part.epochs)
        by_recording.append(assign_regions(metrics["confidence"].to_numpy(), metrics["variability"].to_numpy()))
    columns = list(zip(*by_recording, strict=True))
    shares = [max(column.count(region) for region in column) / 3 for column in columns]
    assert found.metrics["region_agreement"].tolist() == pytest.approx(shares)
    means = found.metrics
    assert means["region"].tolist() == assign_regions(
        means["confidence"].to_numpy(), means["variability"].to_numpy()
    ).tolist()  # fmt: skip
    assert found.agreement.n_moving == sum(len(set(column)) > 1 for column in columns)
    assert found.agreement.n_hard == sum("hard" in column for column in columns)
    assert found.agreement.n_hard_in_all == sum(set(column) == {"hard"} for column in columns)


def test_correlations_are_scipys():
    metrics = [over_epochs(recording(seed).epochs) for seed in range(3)]
    regions = [np.full(40, "easy")] * 3
    found = agreement(metrics, regions)
    for name in ("confidence", "variability"):
        pairs = [spearmanr(metrics[a][name], metrics[b][name]).statistic for a, b in ((0, 1), (0, 2), (1, 2))]
        assert found.correlations[name] == pytest.approx((min(pairs), np.mean(pairs)))
    flat = [table.assign(confidence=0.5) for table in metrics]
    assert np.isnan(agreement(flat, regions).correlations["confidence"]).all()


def test_equal_recordings_agree_in_all():
    found = data_map([recording(3), recording(3)], 1, RULE)
    assert found.agreement.n_moving == 0
    assert found.agreement.correlations["variability"] == pytest.approx((1.0, 1.0))
    assert (found.metrics["region_agreement"] == 1).all()
    assert "0 of 39 examples (0.0%) change their region." in found.agreement.sentences()


def test_examples_that_one_recording_has_not_seen_are_left_out():
    tables = [pd.DataFrame({"id": list(ids), "confidence": 0.5, "never_learnt": False}) for ids in ("abc", "cb")]
    assert averaged(tables)["id"].tolist() == ["b", "c"]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (recording(1, n_examples=39), "other rows (40 and 39, 39 of them in both)"),
        (recording(1, n_epochs=3), "4 and 3 epochs"),
        (dataclasses.replace(recording(1), manifest={"task": "nli"}), "tasks qa and nli"),
        (
            dataclasses.replace(recording(1), counts={name: np.ones(40) for name in ("n_windows", "n_gold_windows")}),
            "other windows (max_length or doc_stride)",
        ),
    ],
)
def test_recordings_of_something_else_are_refused(other, why):
    with pytest.raises(UsageError) as caught:
        refuse_other_rows([recording(0), other], ["first", "second"])
    assert str(caught.value) == (
        f"--cartography_dir first and second are of {why}: give recordings of the same rows, of different seeds or "
        "models."
    )
