"""What reviews amount to: how many labels stood, how many errors are probably left, how far reviewers agree."""

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from scipy.stats import binomtest

from datamap.labels.patches import LEFT_OUT, Decision
from datamap.labels.queue import AUDIT, QUEUE

LEAST_AUDITED = 30  # rows of the audit before anything is said of the rest
LEVEL = 0.95
BOTH = "both"


def did_not_stand(decision: Decision) -> bool:
    """Whether a published label did not stand; rows with two right answers and rows left out count apart."""
    return decision.state == "changes" and decision.decision not in (BOTH, LEFT_OUT)


def audit_sample(decisions: Collection[Decision], contested: Iterable[Decision] = ()) -> list[Decision]:
    """The decisions of the audit about rows that the queue would not have reached by itself.

    The queue decides a head of the ranking. Rows of the audit that lie in this head belong to it; without them the
    audit is a simple random sample of all other rows. A row lies in the head where the next rank below it that the
    audit did not take is decided by the queue, be it by decisions that contradict each other.
    """
    found = itertools.chain(contested, decisions)
    draws = {decision.rank: decision.drawn for decision in found if decision.rank is not None}

    def is_reached(rank: int | None) -> bool:
        if rank is None:
            return False
        following = next(place for place in itertools.count(rank + 1) if draws.get(place) != AUDIT)
        return draws.get(following) == QUEUE

    return [decision for decision in decisions if decision.drawn == AUDIT and not is_reached(decision.rank)]


def errors_left(decisions: Collection[Decision], n_rows: int, contested: Iterable[Decision] = ()) -> dict[str, Any]:
    """How many rows that nobody decided about probably have a label that would not stand.

    Args:
        decisions: one a row.
        n_rows: of the data set, at least as many as are decided.
        contested: decisions about rows on which files disagree, which count as undecided.

    Returns:
        n_undecided, n_audited (rows of `audit_sample`), n_wrong (of these), and errors_left, errors_left_low,
        errors_left_high: the undecided rows times the share of wrong ones and its 95% interval (Clopper and Pearson
        1934); None where fewer than 30 rows are audited.
    """
    sample = audit_sample(decisions, contested)
    n_left, n_wrong = n_rows - len(decisions), sum(map(did_not_stand, sample))
    found: dict[str, Any] = {"n_undecided": n_left, "n_audited": len(sample), "n_wrong": n_wrong}
    names = ("errors_left", "errors_left_low", "errors_left_high")
    if len(sample) < LEAST_AUDITED:
        return found | dict.fromkeys(names)
    interval = binomtest(n_wrong, len(sample)).proportion_ci(LEVEL, method="exact")
    shares = (n_wrong / len(sample), interval.low, interval.high)
    return found | {name: float(n_left * share) for name, share in zip(names, shares, strict=True)}


def estimate_sentence(estimate: dict[str, Any]) -> str:
    """What `errors_left` says, in words."""
    if estimate["errors_left"] is None:
        return (
            f"{estimate['n_audited']} of the rows decided were drawn at random from the rest: too few (under "
            f"{LEAST_AUDITED}) to say how many errors are left."
        )
    return (
        f"About {estimate['errors_left']:.0f} of the {estimate['n_undecided']} rows not decided probably have a label "
        f"that would not stand (95% interval {estimate['errors_left_low']:.0f} to {estimate['errors_left_high']:.0f}): "
        f"{estimate['n_wrong']} of {estimate['n_audited']} rows drawn at random did."
    )


def kappa(one: dict[str, Decision], other: dict[str, Decision]) -> float | None:
    """Cohen's kappa (1960) of two reviewers over stays, changes, left out, on the rows that both decided.

    None where they share no row, or where chance alone agrees always (both gave one and the same verdict throughout).
    """
    shared = [(one[identifier].state, other[identifier].state) for identifier in one if identifier in other]
    if not shared:
        return None
    observed = sum(first == second for first, second in shared) / len(shared)
    counts = [Counter(states) for states in zip(*shared, strict=True)]
    by_chance = sum(counts[0][state] * counts[1][state] for state in counts[0]) / len(shared) ** 2
    return None if by_chance == 1 else (observed - by_chance) / (1 - by_chance)


def counted(decisions: Iterable[Decision]) -> dict[str, int]:
    """How many rows are decided, and what became of them."""
    states = Counter(decision.state for decision in decisions)
    return {"decided": states.total(), "stay": states["stays"], "changed": states["changes"],
            "left_out": states["left out"]}  # fmt: skip


def summary(
    agreed: dict[str, Decision], contested: Sequence[Decision], patches: dict[str, dict[str, Decision]], n_rows: int
) -> dict[str, Any]:
    """What review_summary.json says.

    Args:
        agreed, contested: of `patches.merged`.
        patches: the checked decisions by file.
        n_rows: of the data set.
    """
    decisions = list(agreed.values())
    kinds = sorted({decision.kind or "" for decision in decisions})
    of_kind = {kind: [decision for decision in decisions if (decision.kind or "") == kind] for kind in kinds}
    estimate = errors_left(decisions, n_rows, contested)
    pairs = [{"files": list(names), "rows_of_both": len(patches[names[0]].keys() & patches[names[1]].keys()),
              "kappa": kappa(*(patches[name] for name in names))}
             for names in itertools.combinations(patches, 2)]  # fmt: skip
    files = {
        name: counted(patch.values()) | {"reviewers": sorted({decision.reviewer for decision in patch.values()})}
        for name, patch in patches.items()
    }
    return {
        "n_rows": n_rows,
        **counted(decisions),
        "decisions": dict(sorted(Counter(decision.decision for decision in decisions).items())),
        "kinds": {kind or "not ranked": counted(found) for kind, found in of_kind.items()},
        "estimate": estimate | {"sentence": estimate_sentence(estimate)},
        "files": files,
        "agreement": pairs,
        "n_disagreements": len({decision.id for decision in contested}),
    }
