"""Samples for a person to read: which examples of a group, and what is shown of each."""

import numpy as np
import pandas as pd

CHARACTERS_AROUND = 150
EXTREMES = {"easy": ("confidence", False), "ambiguous": ("variability", False), "hard": ("confidence", True)}


def around_answer(context: str, start: int, length: int) -> str:
    """The context within 150 characters of an answer, which stands in [[ ]]; "…" where it was cut."""
    end = start + length
    before, after = context[max(0, start - CHARACTERS_AROUND) : start], context[end : end + CHARACTERS_AROUND]
    opening = "…" if start > CHARACTERS_AROUND else ""
    closing = "…" if end + CHARACTERS_AROUND < len(context) else ""
    return f"{opening}{before}[[{context[start:end]}]]{after}{closing}"


def shown_text(row: dict, label_names: tuple[str, ...]) -> dict:
    """What a person reads of an example: question, context around the answer and gold answer; NLI: the pair and label.

    Without a gold answer, the context's beginning (300 characters) is shown.

    Args:
        row: a row of a canonical frame.
        label_names: of NLI labels.
    """
    if "premise" in row:
        return {"premise": row["premise"], "hypothesis": row["hypothesis"], "gold": label_names[row["label"]]}
    texts, starts = row["answers"]["text"], row["answers"]["answer_start"]
    if not texts or starts[0] < 0:
        context = row["context"][: 2 * CHARACTERS_AROUND]
        cut = "…" if len(row["context"]) > len(context) else ""
        return {"question": row["question"], "context": context + cut, "gold": texts[0] if texts else ""}
    context = around_answer(row["context"], starts[0], len(texts[0]))
    return {"question": row["question"], "context": context, "gold": texts[0]}


def region_rows(metrics: pd.DataFrame, region: str, n_examples: int, seed: int) -> dict[str, np.ndarray]:
    """Row numbers of a region's most extreme and most typical examples, up to `n_examples` of each and none twice.

    Extreme is the highest confidence (easy), the highest variability (ambiguous) or the lowest confidence (hard);
    typical is nearest to the region's mean confidence and variability. Equal examples are drawn with the seed.
    """
    rows = np.flatnonzero((metrics["region"] == region).to_numpy())
    rows = np.random.default_rng(seed).permutation(rows)
    name, rising = EXTREMES[region]
    key = metrics[name].to_numpy()[rows]
    extreme = rows[np.argsort(key if rising else -key, kind="stable")][:n_examples]
    rest = rows[~np.isin(rows, extreme)]
    points = metrics[["confidence", "variability"]].to_numpy()
    distance = np.linalg.norm(points[rest] - points[rows].mean(axis=0), axis=1) if len(rest) else np.empty(0)
    return {"extreme": extreme, "typical": rest[np.argsort(distance, kind="stable")][:n_examples]}
