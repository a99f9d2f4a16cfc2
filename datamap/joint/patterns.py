"""Patterns where similarity and learning difficulty meet: tests by cluster, and findings that read as sentences.

Frames in, dicts out; no file is read or written. Noise (cluster −1) is no cluster and is never tested as one.
"""

import math

import numpy as np
import pandas as pd
from scipy import stats

from datamap.clusters.files import NOISE

FALSE_DISCOVERY_RATE = 0.05
TESTED_REGIONS = ("hard", "ambiguous")
N_EXAMPLE_IDS = 3
N_LOWEST = 3
ORDINALS = ("lowest", "second lowest", "third lowest")
Z_95 = 1.959963984540054


def enrichment_tests(tracked: pd.DataFrame) -> pd.DataFrame:
    """Whether a cluster holds more hard (ambiguous) examples than a random draw of its size would.

    One-sided hypergeometric test of each cluster and region that has examples: with K of the N rows in the region, a
    cluster of n rows gets p = P(X ≥ count), X ~ Hypergeometric(N, K, n). q values are those of Benjamini and Hochberg
    (1995) over all tests.

    Args:
        tracked: a row an example with metrics: cluster (−1 = noise, counted in N and K alone), words, region.

    Returns:
        A row a test: cluster, words, region, cluster_size, count, expected (n · K / N), ratio (count / expected),
        p_value, q_value; the largest excess of count over expected first.
    """
    members = tracked[tracked["cluster"] != NOISE].groupby("cluster")
    sizes, words = members.size(), members["words"].first()
    parts = []
    for region in TESTED_REGIONS:
        in_region = tracked["region"] == region
        if not in_region.any():
            continue
        count = in_region.groupby(tracked["cluster"]).sum().reindex(sizes.index)
        p_value = stats.hypergeom.sf(count - 1, len(tracked), in_region.sum(), sizes)
        expected = sizes * in_region.sum() / len(tracked)
        columns = {"words": words, "region": region, "cluster_size": sizes, "count": count, "expected": expected}
        parts.append(pd.DataFrame(columns | {"ratio": count / expected, "p_value": p_value}))
    tests = pd.concat(parts).rename_axis("cluster").reset_index() if parts else pd.DataFrame(columns=["cluster"])
    if tests.empty:
        return tests
    tests["q_value"] = stats.false_discovery_control(tests["p_value"].clip(0, 1), method="bh")
    order = np.argsort(-(tests["count"] - tests["expected"]).to_numpy(), kind="stable")
    return tests.iloc[order].reset_index(drop=True)


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """95% interval of a share, count out of total (at least 1), after Wilson (1927); in [0, 1]."""
    share, weight = count / total, Z_95**2 / total
    middle = (share + weight / 2) / (1 + weight)
    half = math.sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)


def interesting_patterns(unified: pd.DataFrame, seed: int) -> dict:
    """The content of interesting_patterns.json.

    Args:
        unified: a row an example: id, cluster (−1 = noise), words, region (missing where untracked), confidence,
            variability, correctness. The order of the rows changes nothing.
        seed: draws among examples that are equally extreme.

    Returns:
        n_examples, n_tracked, n_clusters, n_tests, false_discovery_rate, and findings: a list of dicts with kind,
        sentence, the numbers in it and up to three example_ids. Kinds: more_hard_than_chance,
        more_ambiguous_than_chance (q below the false discovery rate), lowest_correctness (a ranking, not a test),
        hard_outliers, confident_in_hard_cluster.
    """
    tracked = unified[unified["region"].notna()].sort_values("id", kind="stable")
    tracked = tracked.iloc[np.random.default_rng(seed).permutation(len(tracked))]
    tests = enrichment_tests(tracked)
    found = [enriched(test, tracked) for test in tests.to_dict("records") if test["q_value"] < FALSE_DISCOVERY_RATE]
    hard = [finding for finding in found if finding["region"] == "hard"]
    findings = [*hard, *(finding for finding in found if finding["region"] == "ambiguous")]
    findings += lowest_correctness(tracked)
    findings += hard_outliers(tracked)
    findings += [confident for finding in hard for confident in confident_inside(finding, tracked)]
    clusters = unified.loc[unified["cluster"] != NOISE, "cluster"]
    numbers = {"n_examples": len(unified), "n_tracked": len(tracked), "n_clusters": clusters.nunique()}
    return numbers | {"n_tests": len(tests), "false_discovery_rate": FALSE_DISCOVERY_RATE, "findings": findings}


def examples_of(finding: dict, unified: pd.DataFrame) -> np.ndarray:
    """Which rows a finding is about, bool [n]: all those that its sentence counts, not the few that it names.

    Args:
        finding: of `interesting_patterns`.
        unified: a row an example: cluster, region (missing where untracked). It may hold some of the examples alone.
    """
    regions = {"hard_outliers": "hard", "confident_in_hard_cluster": "easy"}
    region = finding.get("region") or regions.get(finding["kind"])
    in_region = unified["region"] == region if region else unified["region"].notna()
    return ((unified["cluster"] == finding.get("cluster", NOISE)) & in_region).to_numpy(dtype=bool)


def first_ids(rows: pd.DataFrame, name: str, *, rising: bool) -> list[str]:
    """The ids of up to three rows with the lowest (or highest) value; equal ones in the order of the rows."""
    return rows.sort_values(name, ascending=rising, kind="stable")["id"].head(N_EXAMPLE_IDS).tolist()


def named(cluster: int, words: str) -> str:
    """A cluster's number with its words."""
    return f"Cluster {cluster} ({words})" if words else f"Cluster {cluster}"


def enriched(test: dict, tracked: pd.DataFrame) -> dict:
    """The finding for a test that passed; examples are the least confident (hard) or most variable (ambiguous)."""
    region = test["region"]
    rows = tracked[(tracked["cluster"] == test["cluster"]) & (tracked["region"] == region)]
    share, (low, high) = test["count"] / test["cluster_size"], wilson_interval(test["count"], test["cluster_size"])
    sentence = (
        f"{named(test['cluster'], test['words'])}: {test['count']:,} of its {test['cluster_size']:,} examples are "
        f"{region} ({share:.1%}, 95% interval {low:.1%} to {high:.1%}), {test['ratio']:.1f} times the "
        f"{test['expected']:.1f} that chance would give (q {shown_q(test['q_value'])})."
    )
    column, rising = ("confidence", True) if region == "hard" else ("variability", False)
    shares = {"share": share, "share_interval_95": [low, high]}
    ids = {"example_ids": first_ids(rows, column, rising=rising)}
    return {"kind": f"more_{region}_than_chance", "sentence": sentence} | test | shares | ids


def shown_q(q_value: float) -> str:
    """A q value in words: "= 0.012" or "< 0.0001"."""
    return f"= {q_value:.2g}" if q_value >= 0.0001 else "< 0.0001"


def lowest_correctness(tracked: pd.DataFrame) -> list[dict]:
    """The up to three clusters with the lowest mean correctness, as far as they lie below that of all examples."""
    members = tracked[tracked["cluster"] != NOISE].groupby("cluster")
    means, overall = members["correctness"].mean().sort_values(kind="stable"), tracked["correctness"].mean()
    findings = []
    for rank, (cluster, mean) in enumerate(means[means < overall].head(N_LOWEST).items()):
        rows = members.get_group(cluster)
        words = rows["words"].iloc[0]
        sentence = (
            f"{named(cluster, words)} has the {ORDINALS[rank]} mean correctness of the {len(means)} clusters: "
            f"{mean:.2f} over {len(rows):,} examples, against {overall:.2f} over all."
        )
        numbers = {"cluster": cluster, "words": words, "cluster_size": len(rows), "mean_correctness": mean}
        ids = {"example_ids": first_ids(rows, "confidence", rising=True)}
        overall_mean = {"mean_correctness_of_all": overall}
        findings.append({"kind": "lowest_correctness", "sentence": sentence} | numbers | overall_mean | ids)
    return findings


def hard_outliers(tracked: pd.DataFrame) -> list[dict]:
    """One finding for the outliers (noise) that are hard, none where there are none."""
    is_noise, is_hard = tracked["cluster"] == NOISE, tracked["region"] == "hard"
    rows = tracked[is_noise & is_hard]
    if rows.empty:
        return []
    share, (low, high) = len(rows) / is_noise.sum(), wilson_interval(len(rows), int(is_noise.sum()))
    elsewhere = is_hard[~is_noise].mean() if (~is_noise).any() else None
    against = f", against {elsewhere:.1%} of the clustered examples" if elsewhere is not None else ""
    sentence = (
        f"{len(rows):,} of the {is_noise.sum():,} outliers (noise) are hard ({share:.1%}, 95% interval {low:.1%} to "
        f"{high:.1%}){against}."
    )
    numbers = {"count": len(rows), "n_outliers": is_noise.sum(), "share": share, "share_interval_95": [low, high]}
    ids = {"share_of_clustered": elsewhere, "example_ids": first_ids(rows, "confidence", rising=True)}
    return [{"kind": "hard_outliers", "sentence": sentence} | numbers | ids]


def confident_inside(finding: dict, tracked: pd.DataFrame) -> list[dict]:
    """The easy examples inside a cluster with more hard ones than chance; no finding where there are none."""
    cluster, words, size = finding["cluster"], finding["words"], finding["cluster_size"]
    rows = tracked[(tracked["cluster"] == cluster) & (tracked["region"] == "easy")]
    if rows.empty:
        return []
    mean = rows["confidence"].mean()
    sentence = (
        f"{named(cluster, words)} holds more hard examples than chance would give, yet {len(rows):,} of its {size:,} "
        f"are easy, with a mean confidence of {mean:.2f}: see what sets them apart."
    )
    numbers = {"cluster": cluster, "words": words, "cluster_size": size, "count": len(rows)}
    numbers |= {"share": len(rows) / size, "mean_confidence": mean}
    ids = {"example_ids": first_ids(rows, "confidence", rising=False)}
    return [{"kind": "confident_in_hard_cluster", "sentence": sentence} | numbers | ids]
