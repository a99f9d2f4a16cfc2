"""A receipt: every arm against the control, as a table, as sentences and as a file."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from datamap.errors import DataError
from datamap.selection.differences import LEVEL, ONE_SEED, UNPAIRED, Difference, difference, holm
from datamap.selection.evaluations import METRICS, Run
from datamap.selection.power import ALPHA, POWER, detectable

ENOUGH_SEEDS = 5
DEFINITION = (
    "points of 100; difference: arm minus control; standard_error^2 = seeds + contexts - both, at least the larger of "
    "the first two; low, high: 95% t interval with Satterthwaite's degrees of freedom; p_holm: of all arms together; "
    "detectable: the difference that such an experiment finds in 80% of cases at Holm's first step"
)


@dataclasses.dataclass(frozen=True)
class Arm:
    """An arm beside the control.

    Attributes:
        name: of the arm.
        seeds: of its runs, in their order.
        mean: over seeds and rows, in points.
        difference: to the control; None of the control itself.
        p_holm: NaN where nothing was tested.
        detectable: in points, at Holm's first step; NaN where nothing was tested.
    """

    name: str
    seeds: list[int | None]
    mean: float
    difference: Difference | None = None
    p_holm: float = float("nan")
    detectable: float = float("nan")


@dataclasses.dataclass(frozen=True)
class Receipt:
    """All arms of a comparison, the control first.

    Attributes:
        metric: of METRICS.
        control: the arm that all others are held against.
        arms: by their order on the command line, after the control.
        n_rows, n_groups: that are compared; groups are contexts, of nli premises.
        allowed: of `comparability.let_through`.
    """

    metric: str
    control: str
    arms: list[Arm]
    n_rows: int
    n_groups: int
    allowed: dict[str, str]

    @property
    def others(self) -> list[Arm]:
        """The arms without the control."""
        return self.arms[1:]


def receipt(runs: list[Run], scores: list[pd.DataFrame], metric: str, control: str, allowed: dict[str, str]) -> Receipt:
    """Every arm against the control.

    Args:
        runs: named, without a seed twice in an arm.
        scores: of `evaluations.shared`, one a run.
        metric: of METRICS.
        control: one of the arms.
        allowed: of `comparability.let_through`.

    Raises:
        DataError: all rows have one context.
    """
    groups = pd.factorize(scores[0]["group"])[0]
    if groups.max() < 1:
        raise DataError(f"all {len(groups)} rows are of one of the {groups_of(metric)}, so that no interval is known.")
    by_arm: dict[str, dict[int | None, np.ndarray]] = {control: {}}
    for run, frame in zip(runs, scores, strict=True):
        by_arm.setdefault(str(run.arm), {})[run.seed] = frame["score"].to_numpy()
    found = {name: difference(by_arm[name], by_arm[control], groups) for name in by_arm if name != control}
    corrected = holm(np.array([one.p_value() for one in found.values()]))
    n_tested = int((~np.isnan(corrected)).sum())
    arms = [arm_of(control, by_arm[control])]
    for (name, one), p in zip(found.items(), corrected, strict=True):
        size = detectable(one.standard_error, one.df, ALPHA / n_tested) if one.standard_error else float("nan")
        arms.append(arm_of(name, by_arm[name], difference=one, p_holm=float(p), detectable=size))
    return Receipt(metric, control, arms, len(groups), int(groups.max()) + 1, allowed)


def arm_of(name: str, scores: dict[int | None, np.ndarray], **known: Any) -> Arm:
    """An arm with its mean over seeds."""
    return Arm(name, list(scores), float(np.mean([values.mean() for values in scores.values()])), **known)


def table(found: Receipt) -> pd.DataFrame:
    """comparison.csv: a row an arm, the control first with its mean alone; in points."""
    rows = []
    for arm in found.arms:
        row: dict[str, Any] = {"arm": arm.name, "n_runs": len(arm.seeds), "mean": arm.mean}
        one = arm.difference
        if one is not None:
            low, high = one.interval(LEVEL)
            row |= {"difference": one.mean, "low": low, "high": high, "standard_error": one.standard_error}
            row |= {"df": one.df, "p": one.p_value(), "p_holm": arm.p_holm, "detectable": arm.detectable}
            row |= {"how": one.how, "n_seeds": one.n_seeds}
            row |= {"seeds": one.seeds, "contexts": one.contexts, "both": one.both}
        rows.append(row)
    whole = {"n_seeds": "Int64"}
    return pd.DataFrame(rows).assign(how=lambda frame: frame["how"].fillna("")).astype(whole)


def shown_table(found: Receipt) -> str:
    """The table as stdout shows it."""
    title = METRICS[found.metric].title
    lines = []
    for arm in found.arms:
        line = {"arm": arm.name, "runs": str(len(arm.seeds)), title: f"{arm.mean:.1f}"}
        if arm.difference is not None:
            line |= {f"minus {found.control}": f"{arm.difference.mean:+.1f}"}
            if arm.difference.standard_error:
                low, high = arm.difference.interval()
                line |= {"95% interval": f"{low:+.1f} to {high:+.1f}", "df": f"{arm.difference.df:.1f}"}
                line |= {"p (Holm)": shown_p(arm.p_holm), "detectable": f"{arm.detectable:.1f}"}
        lines.append(line)
    return pd.DataFrame(lines).fillna("").to_string(index=False)


def shown_p(p: float) -> str:
    """A p value with two figures, or as below 0.0001."""
    return f"{p:.2g}" if p >= 0.0001 else "<0.0001"


def lines(found: Receipt) -> list[str]:
    """What the receipt says: of what, each arm, then what it does not cover and what was let through."""
    rows = f"{found.n_rows:,} rows of {found.n_groups:,} {groups_of(found.metric)}"
    head = f"{METRICS[found.metric].title} in points of 100 on {rows}; 95% t intervals"
    several = f", p by Holm over {len(found.others)} arms" if len(found.others) > 1 else ""
    told = [f"{head}{several}.", *(sentence(arm, found) for arm in found.others)]
    told += [note for arm in found.others for note in notes(arm, found.arms[0], groups_of(found.metric))]
    return told + list(found.allowed.values())


def groups_of(metric: str) -> str:
    """What rows have in common that hang together."""
    return "contexts" if METRICS[metric].task == "qa" else "premises"


def sentence(arm: Arm, found: Receipt) -> str:
    """What is known of an arm."""
    one, control = arm.difference, found.control
    if one is None:
        raise ValueError("the control is not held against itself")
    size = f"{abs(one.mean):.1f}"
    where = f"level with {control}" if size == "0.0" else f"{size} {'above' if one.mean > 0 else 'below'} {control}"
    opening = f"{arm.name}: {METRICS[found.metric].title} {arm.mean:.1f}, {where}"
    if not one.standard_error:
        return f"{opening}: neither seeds nor contexts differ in it, so that no interval is known."
    low, high = one.interval()
    return f"{opening} ({low:+.1f} to {high:+.1f}): {verdict(arm, len(found.others))}."


def verdict(arm: Arm, n_arms: int) -> str:
    """Whether a difference is shown, and what size of it such an experiment shows."""
    p, p_holm = arm.difference.p_value() if arm.difference else float("nan"), arm.p_holm
    reach = f"one of {arm.detectable:.1f} is shown by {POWER:.0%} of such experiments"
    if p_holm < ALPHA:
        return f"a difference is shown (p {shown_p(p_holm)}); {reach}"
    if p < ALPHA:
        return f"no difference is shown, with {n_arms} arms looked at (p {shown_p(p_holm)}); {reach}"
    return f"no difference is shown; {reach}"


def notes(arm: Arm, control: Arm, groups: str) -> list[str]:
    """Sentences on what the difference of an arm does not cover; `groups` of `groups_of`."""
    one = arm.difference
    if one is None:
        return []
    pair = f"{arm.name} and {control.name}"
    if one.how == ONE_SEED:
        return [
            f"{pair}: with one seed, seeds are not covered: the interval tells what other {groups} may change, not "
            "what another training may."
        ]
    told = []
    if one.how == UNPAIRED:
        told.append(f"{pair}: fewer than two seeds match, so that they are compared unpaired (Welch).")
    elif one.n_seeds < max(len(arm.seeds), len(control.seeds)):
        told.append(f"{pair}: the difference is from the {one.n_seeds} seeds that both have; the mean is of all.")
    if one.n_seeds < ENOUGH_SEEDS:
        told.append(f"{pair}: {one.n_seeds} seeds, fewer than five, tell roughly how far trainings differ.")
    return told


def as_json(found: Receipt, runs: list[Run], scores: list[pd.DataFrame]) -> dict[str, Any]:
    """What comparison.json holds."""
    listed = [
        {"directory": run.directory, "arm": run.arm, "seed": run.seed, "steps": run.steps, "n_rows": len(frame),
         "mean": float(frame["score"].mean())}
        for run, frame in zip(runs, scores, strict=True)
    ]  # fmt: skip
    return {
        "metric": found.metric,
        "control": found.control,
        "n_rows": found.n_rows,
        "n_groups": found.n_groups,
        "definition": DEFINITION,
        "sentences": lines(found),
        "allowed": found.allowed,
        "arms": table(found).to_dict("records"),
        "runs": listed,
    }
