"""The first screen of the report: what a data set looks like, in sentences and numbers. Frames in, dicts out.

All figures are over all examples, whether or not the page shows each of them as a point.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from datamap.clusters.files import NOISE
from datamap.dynamics.measures import FEW_EPOCHS, REGIONS
from datamap.report.rows import GROUPINGS, UNTRACKED, groups_of, regions_of

REGION_WORDS = {
    "easy": "right early and surely",
    "ambiguous": "the model wavers between epochs",
    "hard": "seldom or never right; wrong labels gather here",
}
# Above these shares a fact about the map turns into a warning.
MUCH_NOISE, MUCH_NEVER_LEARNT = 0.3, 0.5
FEW_FOR_A_MAP = 5
MAX_GROUPS = 12
GROUPING_TITLES = dict(
    zip(GROUPINGS, ("Question types", "Gold labels", "Negation in the hypothesis", "Length of the hypothesis",
                    "Seen elsewhere in the data"), strict=True)
)  # fmt: skip


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 example", "1,200 examples"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def lead(frame: pd.DataFrame, n_epochs: int | None) -> str:
    """How many examples there are, with metrics of how many epochs, in how many clusters."""
    said = counted(len(frame), "example")
    if "region" in frame:
        n_watched, epochs = frame["region"].notna().sum(), counted(n_epochs or 0, "epoch")
        said += f", {n_watched:,} of them watched over {epochs} of training"
    if "cluster" in frame:
        clustered = frame.loc[frame["cluster"] != NOISE, "cluster"]
        n_noise = len(frame) - len(clustered)
        said += f". {len(clustered):,} lie in {counted(clustered.nunique(), 'cluster')} of similar examples, "
        said += f"{n_noise:,} ({n_noise / len(frame):.0%}) in none (noise)"
    return f"{said}."


def region_cards(frame: pd.DataFrame) -> list[dict]:
    """Name, count, share and a sentence of every region, and of untracked examples where there are any."""
    if "region" not in frame:
        return []
    tracked = frame[frame["region"].notna()]
    cards = []
    for region in REGIONS:
        rows = tracked[tracked["region"] == region]
        card = {"region": region, "count": len(rows), "share": len(rows) / len(tracked), "words": REGION_WORDS[region]}
        if len(rows):
            card["figures"] = (
                f"mean confidence {rows['confidence'].mean():.2f}, right in {rows['correctness'].mean():.0%} of epochs"
            )
        cards.append(card)
    return cards


def warnings(frame: pd.DataFrame, gold_probs: np.ndarray | None) -> list[str]:
    """What a reader must know before trusting the maps, a sentence each; none where all is well."""
    found = []
    if "region" in frame:
        found += dynamics_warnings(frame, gold_probs)
    if "cluster" in frame:
        noise = (frame["cluster"] == NOISE).mean()
        if noise > MUCH_NOISE:
            found.append(f"{noise:.0%} of the examples are noise: they lie in no cluster.")
        if "x" in frame and frame[["x", "y"]].isna().any(axis=None):
            found.append("The clusters were made without coordinates, so there is no cluster map.")
    return found


def dynamics_warnings(frame: pd.DataFrame, gold_probs: np.ndarray | None) -> list[str]:
    """The warnings about a recording."""
    found = []
    n_epochs = len(gold_probs) if gold_probs is not None else int(frame["num_epochs"].max())
    if n_epochs < FEW_FOR_A_MAP:
        little = "variability means little" if n_epochs < FEW_EPOCHS else "variability is rough"
        found.append(
            f"The metrics are over {counted(n_epochs, 'epoch')}, so {little}; {FEW_FOR_A_MAP} or more make a good map."
        )
    untracked = frame["region"].isna()
    if untracked.any():
        reasons = frame.loc[untracked, "untracked_reason"].value_counts() if "untracked_reason" in frame else {}
        why = "; ".join(reason if len(reasons) == 1 else f"{count:,}: {reason}" for reason, count in reasons.items())
        listed = f" ({why})" if why else ""
        found.append(f"There are no metrics of {counted(int(untracked.sum()), 'example')}{listed}.")
    never = (frame["correctness"] == 0).sum() / (~untracked).sum()
    if never > MUCH_NEVER_LEARNT:
        found.append(
            f"{never:.0%} of the examples were right in no epoch: the model has only begun to learn, so hard means "
            "little here."
        )
    return found


def group_rows(frame: pd.DataFrame) -> list[dict]:
    """A block a grouping: name, title and its largest groups with count, share and, with metrics, region shares."""
    blocks = []
    for name, of_row in groups_of(frame).items():
        sizes = of_row.value_counts()
        groups = []
        for group, count in sizes.head(MAX_GROUPS).items():
            rows = frame[of_row == group]
            entry = {"group": group, "count": int(count), "share": count / len(frame)}
            tracked = rows[rows["region"].notna()] if "region" in frame else rows[:0]
            if len(tracked):
                entry["confidence"] = tracked["confidence"].mean()
                entry |= {region: (tracked["region"] == region).mean() for region in REGIONS}
            groups.append(entry)
        blocks.append({"name": name, "title": GROUPING_TITLES[name], "n_groups": len(sizes), "groups": groups})
    return blocks


def sample_note(frame: pd.DataFrame, chosen: np.ndarray, seed: int) -> str | None:
    """Which examples the page shows as points, None where it shows all."""
    if len(chosen) == len(frame):
        return None
    note = f"The page shows {len(chosen):,} of {len(frame):,} examples, drawn with seed {seed}"
    if "region" in frame:
        regions = regions_of(frame)
        sizes, drawn = regions.value_counts(), regions.iloc[chosen].value_counts()
        listed = ", ".join(
            f"{drawn.get(region, 0):,} of {sizes[region]:,} {region}"
            for region in (*REGIONS, UNTRACKED)
            if region in sizes
        )
        note += f" so that every region has as many as the others where it can ({listed})"
    return f"{note}. The numbers above the maps are of all examples."


def first_screen(
    frame: pd.DataFrame,
    gold_probs: np.ndarray | None,
    chosen: np.ndarray,
    findings: list[dict],
    seed: int,
    notes: Sequence[str],
) -> dict:
    """All that stands above the maps.

    Args:
        frame: a row an example, as for `rows.row_columns`.
        gold_probs: float [n_epochs, n_rows], None without a recording.
        chosen: numbers of the rows that the page shows.
        findings: of interesting_patterns.json.
        seed: that the rows were drawn with.
        notes: more warnings, said first.
    """
    n_epochs = len(gold_probs) if gold_probs is not None else None
    return {
        "lead": lead(frame, n_epochs),
        "warnings": [*notes, *warnings(frame, gold_probs)],
        "regions": region_cards(frame),
        "findings": [finding["sentence"] for finding in findings],
        "groups": group_rows(frame),
        "sample_note": sample_note(frame, chosen, seed),
    }
