"""The joint analysis in under 40 lines of text: regions, the hardest clusters, findings."""

import pandas as pd

from datamap.clusters.files import NOISE
from datamap.dynamics.measures import REGIONS
from datamap.joint.join import cluster_stats

MAX_CLUSTERS_LISTED, MAX_FINDINGS_LISTED = 8, 12


def region_lines(unified: pd.DataFrame) -> str:
    """Count, share and mean metrics of every region, and of all examples with metrics."""
    tracked = unified[unified["region"].notna()]
    rows = {region: tracked[tracked["region"] == region] for region in REGIONS} | {"all": tracked}
    table = pd.DataFrame({"count": {name: f"{len(part):,}" for name, part in rows.items()}})
    table["share"] = [f"{len(part) / len(tracked):.1%}" for part in rows.values()]
    for name in ("confidence", "variability", "correctness"):
        table[name] = [f"{part[name].mean():.3f}" if len(part) else "" for part in rows.values()]
    if "cluster" in unified:
        table["in noise"] = [f"{(part['cluster'] == NOISE).mean():.1%}" if len(part) else "" for part in rows.values()]
    return table.to_string()


def cluster_lines(unified: pd.DataFrame) -> str:
    """The largest clusters, or with dynamics those with the highest share of hard examples: a row each."""
    stats = cluster_stats(unified)
    stats = stats[stats["cluster"] != NOISE]
    if stats.empty:
        return "There is no cluster: every example is noise."
    order, heading = "n_examples", "The largest clusters"
    if "region" in unified:
        overall = (unified["region"] == "hard").sum() / unified["region"].notna().sum()
        order, heading = "hard", f"The clusters with the highest share of hard examples, against {overall:.3f} of all"
    listed = stats.sort_values(order, ascending=False, kind="stable").head(MAX_CLUSTERS_LISTED)
    names = ("mean_confidence", "mean_correctness", "hard", "mean_em", "mean_f1", "mean_predicted_correct")
    table = pd.DataFrame({"cluster": listed["cluster"], "examples": [f"{size:,}" for size in listed["n_examples"]]})
    for name in names:
        if name in listed:
            table[name.removeprefix("mean_")] = listed[name].map("{:.3f}".format, na_action="ignore").fillna("")
    table["words"] = listed["words"]
    return f"{heading} ({len(listed)} of {len(stats)}):\n{table.to_string(index=False)}"


def finding_lines(patterns: dict, file_name: str) -> str:
    """The sentences of the first findings, and how many there are."""
    findings = patterns["findings"]
    lines = [f"- {finding['sentence']}" for finding in findings[:MAX_FINDINGS_LISTED]]
    if not any("q_value" in finding for finding in findings):
        n_tests = patterns["n_tests"]
        lines.insert(0, f"- No cluster holds more hard or ambiguous examples than chance would give ({n_tests} tests).")
    shown = min(len(findings), MAX_FINDINGS_LISTED)
    return "\n".join([f"Findings ({shown} of {len(findings)}; numbers and example ids in {file_name}):", *lines])


def summary(unified: pd.DataFrame, patterns: dict | None, file_name: str) -> str:
    """What a person needs to know, in under 40 lines; `file_name` is that of the patterns."""
    opening = f"{len(unified):,} examples"
    if "region" in unified:
        n_tracked = unified["region"].notna().sum()
        opening += f", {n_tracked:,} with metrics"
    if "cluster" in unified:
        clustered = unified.loc[unified["cluster"] != NOISE, "cluster"]
        n_noise = len(unified) - len(clustered)
        opening += f", {len(clustered):,} in {clustered.nunique()} clusters, {n_noise:,} noise"
    parts = [f"{opening}."]
    if "region" in unified:
        parts.append(region_lines(unified))
    if "cluster" in unified:
        parts.append(cluster_lines(unified))
    if patterns is not None:
        parts.append(finding_lines(patterns, file_name))
    return "\n\n".join(parts)
