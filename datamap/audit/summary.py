"""An audit in under 30 lines of text; the first sentence is the one that matters."""

import pandas as pd

from datamap.audit.shares import COPIES

LEVEL_MEANING = {
    "exact": "same texts, byte for byte",
    "normalised": "but for case, blanks, punctuation",
    "answer": "same context and answer, other question",
    "context": "same context",
    "contained": "one context inside the other",
    "template": "same wording of the question",
    "none": "share nothing",
}
NLI_MEANING = {"context": "a sentence in common", "contained": "one premise inside the other"}


def opening(figures: dict, levels: pd.DataFrame, *, is_qa: bool) -> str:
    """The sentence that matters, from `shares.leading_figures` and `shares.level_shares`."""
    split, other, n_rows = figures["split"], figures["other"], f"{figures['n_rows']:,}"
    if other is None:
        what = "questions repeat another one" if is_qa else "pairs repeat another one"
        shared = "share their context with another question" if is_qa else "share a sentence with another pair"
        return (
            f"{figures['copies']:.1%} of the {n_rows} {split} {what} (exact or but for case, blanks, punctuation); "
            f"{figures['context']:.1%} {shared}."
        )
    share = dict(levels[(levels["scope"] == "across") & (levels["split"] == split)][["level", "share"]].to_numpy())
    copies = f"{figures['copies']:.1%} are copies of {other} rows"
    if is_qa:
        told = f"{figures['context']:.1%} of the {n_rows} {split} questions are about a context that {other} has, and "
        told += f"{copies}; {share['contained']:.1%} more are about a context inside another or around it, "
        told += f"{share['template']:.1%} have only the wording of a question in common"
    else:
        told = f"{figures['context']:.1%} of the {n_rows} {split} pairs share a sentence with {other} "
        told += f"({figures['both']:.1%} both), and {copies}"
    return f"{told}; {figures['none']:.1%} share nothing with {other}."


def level_lines(levels: pd.DataFrame, *, is_qa: bool) -> str:
    """Rows by strongest level: a line a level, a column a split and scope."""
    meaning = LEVEL_MEANING | ({} if is_qa else NLI_MEANING)
    splits = list(dict.fromkeys(levels["split"]))
    table = pd.DataFrame(index=list(dict.fromkeys(levels["level"])))
    for (scope, split), part in levels.groupby(["scope", "split"], sort=False):
        other = next((name for name in splits if name != split), "")
        name = f"{split} meets {other}" if scope == "across" else f"within {split}"
        cells = part.set_index("level")
        counts, percents = cells["rows"].map("{:,}".format), cells["share"].map("{:.1%}".format)
        table[name] = counts + " (" + percents + ")"
    table.index = [f"{name}: {meaning[name]}" for name in table.index]
    return f"Rows by the strongest level at which they meet another row:\n{table.to_string()}"


def contradiction_line(found: dict) -> str:
    """How many rows contradict others."""
    counts = found["rows"]
    return (
        f"{counts[COPIES[0]]:,} rows have the very texts of another row and another label; {counts[COPIES[1]]:,} where "
        "case, blanks and punctuation do not count."
    )


def group_line(figures: dict) -> str:
    """What rows must stay together, and how large the largest group is."""
    return (
        f"{figures['n_groups']:,} groups that must stay together, by {' and '.join(figures['levels'])}; the largest "
        f"has {figures['largest']:,} rows ({figures['largest_share']:.1%})."
    )


def alike_line(pairs: pd.DataFrame) -> str:
    """How near the nearest rows are; they are looked at, not counted."""
    shares = ", ".join(f"{(pairs['cosine'] >= cut).mean():.1%} at {cut} or more" for cut in (0.99, 0.95, 0.9))
    return f"Nearest rows by their vectors, of {len(pairs):,} looked up: {shares} (cosine; not counted above)."
