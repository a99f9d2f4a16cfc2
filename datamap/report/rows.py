"""The rows of the report: which examples are on the page, and all that the page knows of each. Frames in, dicts out.

Texts stay as they are; a long context stands on the page once. Where the contexts are too many for a file that can be
mailed, every example keeps the part around its answer, and the page says so.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from datamap.clusters.files import NOISE
from datamap.dynamics.measures import REGIONS
from datamap.joint import patterns
from datamap.report.parts import packed

UNTRACKED = "untracked"
# Base64 characters that the contexts may take: with 20,000 rows and the scripts the file then stays under 25 MB.
# The default data, 131,000 rows with 5,000 contexts, make 18 MB.
MAX_PACKED_CONTEXTS = 14_000_000
# Contexts with more characters than this are cut before they are packed for the first time.
MAX_CHARACTERS = 60_000_000
# Contexts are not cut further than this; where answers alone take more room, the file is larger.
LEAST_CHARACTERS = 200
SIGNIFICANT_DIGITS = 6
GROUPINGS = ("question_type", "gold_label", "negation", "hypothesis_length", "seen")
NOT_RANKED, NOT_AUDITED = "not ranked", "not audited"
NOT_NUMBERS = {"x", "y", "cluster"}


def balanced_rows(regions: pd.Series, ids: pd.Series, max_rows: int, seed: int) -> np.ndarray:
    """Row numbers of a seeded sample in which the regions are as equal as their sizes allow, in the rows' order.

    A region with fewer examples than its share is taken whole, and the others share the rest. The order of the rows
    changes nothing.

    Args:
        regions: text, one a row.
        ids: unique, one a row; equal draws for equal ids.
        max_rows: at least 1; all rows where there are no more.
        seed: of the draw.
    """
    if len(ids) <= max_rows:
        return np.arange(len(ids))
    order = np.argsort(ids.to_numpy().astype(str), kind="stable")
    drawn = order[np.random.default_rng(seed).permutation(len(order))]
    groups = [drawn[regions.to_numpy()[drawn] == region] for region in sorted(set(regions))]
    chosen, left = [], max_rows
    for place, rows in enumerate(sorted(groups, key=len)):
        share = rows[: left // (len(groups) - place)]
        chosen.append(share)
        left -= len(share)
    return np.sort(np.concatenate(chosen))


def regions_of(frame: pd.DataFrame) -> pd.Series:
    """The region of every row as text, "untracked" without metrics; "" everywhere without a recording."""
    if "region" not in frame:
        return pd.Series("", index=frame.index)
    return frame["region"].astype(object).where(frame["region"].notna(), UNTRACKED)


def rounded(values: pd.Series) -> list[float | None]:
    """Numbers with six significant digits, None for a missing one; whole numbers and truth values as whole numbers."""
    numbers = values.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    size = np.floor(np.log10(np.abs(np.where(numbers == 0, 1, numbers))))
    scale = 10.0 ** (SIGNIFICANT_DIGITS - 1 - np.nan_to_num(size))
    short = np.round(numbers * scale) / scale
    return [None if number != number else int(number) if number == number // 1 else number for number in short.tolist()]


def number_columns(frame: pd.DataFrame) -> list[dict]:
    """name and values of every column of numbers or truth values that has some, coordinates and cluster left out."""
    names = frame.select_dtypes(include=["number", "bool", "boolean"]).columns
    kept = [name for name in names if name not in NOT_NUMBERS and frame[name].notna().any()]
    return [{"name": name, "values": rounded(frame[name])} for name in kept]


def category(name: str, values: Sequence[str], order: Sequence[str]) -> dict:
    """A column of categories: their names in the order given and, for every row, the place of its own among them."""
    places = {value: place for place, value in enumerate(order)}
    return {"name": name, "names": list(order), "codes": [places[value] for value in values]}


def cluster_names(frame: pd.DataFrame) -> dict[int, str]:
    """The clusters by rising number, noise last, with the name that a person reads."""
    words = frame.drop_duplicates("cluster").set_index("cluster")["words"]
    numbers = sorted(number for number in words.index if number != NOISE)
    names = {number: f"{number}: {words[number]}" if words[number] else str(number) for number in numbers}
    return names | ({NOISE: "noise"} if NOISE in words.index else {})


def groups_of(frame: pd.DataFrame) -> dict[str, pd.Series]:
    """The groups of every row as text, by the name of the grouping; "not audited" for rows that an audit lacks."""
    groups = {name: frame[name].astype(object) for name in GROUPINGS if name in frame}
    return {name: values.where(values.notna(), NOT_AUDITED) for name, values in groups.items()}


def category_columns(frame: pd.DataFrame) -> list[dict]:
    """Region, groups of questions (NLI: of pairs) and cluster, as far as the frame has them; common groups first."""
    columns = []
    if "region" in frame:
        regions = regions_of(frame)
        columns.append(category("region", regions, [name for name in (*REGIONS, UNTRACKED) if (regions == name).any()]))
    for name, groups in groups_of(frame).items():
        columns.append(category(name, groups, groups.value_counts().index.tolist()))
    if "suspicion_kind" in frame:
        kinds = frame["suspicion_kind"].astype(object).where(frame["suspicion_kind"].notna(), NOT_RANKED)
        columns.append(category("suspicion_kind", kinds, kinds.value_counts().index.tolist()))
    if "cluster" in frame:
        names = cluster_names(frame)
        columns.append(category("cluster", [names[number] for number in frame["cluster"]], list(names.values())))
    return columns


def gold_answers(texts: pd.DataFrame) -> list[list[list]]:
    """[start, text] of every gold answer of every row; a start counts code points, −1 where it is not known."""
    return [
        [[int(start), text] for text, start in zip(answers["text"], answers["answer_start"], strict=True)]
        for answers in texts["answers"]
    ]


def cut_context(context: str, answers: list[list], limit: int) -> tuple[str, list[list]]:
    """A context's `limit` characters around its first answer, which stays whole, and the answers that lie in them."""
    if len(context) <= limit:
        return context, answers
    start, length = (answers[0][0], len(answers[0][1])) if answers and answers[0][0] >= 0 else (0, 0)
    first = max(0, min(start - max(0, limit - length) // 2, len(context) - limit))
    last = max(first + limit, start + length)
    inside = [[place - first if place >= 0 else place, text] for place, text in answers
              if place < 0 or first <= place and place + len(text) <= last]  # fmt: skip
    return context[first:last], inside


def context_columns(contexts: list[str], answers: list[list[list]], limit: int | None) -> dict:
    """The distinct contexts, every row's place among them, its answers, and which rows have a part of theirs alone."""
    if limit is not None:
        pairs = [cut_context(*pair, limit) for pair in zip(contexts, answers, strict=True)]
        is_cut = [int(len(text) < len(whole)) for (text, _), whole in zip(pairs, contexts, strict=True)]
        contexts, answers = [text for text, _ in pairs], [inside for _, inside in pairs]
    else:
        is_cut = [0] * len(contexts)
    places = {text: place for place, text in enumerate(dict.fromkeys(contexts))}
    of_rows = [places[text] for text in contexts]
    return {"texts": list(places), "context": of_rows, "answers": answers, "context_is_cut": is_cut}


def packed_contexts(contexts: list[str], answers: list[list[list]]) -> tuple[str, dict, int | None]:
    """(the distinct contexts, packed; the columns of the rows; the characters that each was cut to, None if whole)."""
    n_characters = sum(map(len, set(contexts)))
    limit = MAX_CHARACTERS // len(contexts) if n_characters > MAX_CHARACTERS else None
    columns = context_columns(contexts, answers, limit)
    text = packed(columns["texts"])
    while len(text) > MAX_PACKED_CONTEXTS and (limit is None or limit > LEAST_CHARACTERS):
        present = sum(map(len, columns["texts"])) / len(contexts)
        limit = int(0.9 * min(present, limit or present) * MAX_PACKED_CONTEXTS / len(text))
        columns = context_columns(contexts, answers, limit)
        text = packed(columns["texts"])
    del columns["texts"]
    return text, columns, limit


def probability_lines(gold_probs: np.ndarray | None) -> list[list[int | None]] | None:
    """Gold probabilities [n_epochs, n_rows] in thousandths, an epoch a list; None where an example was not seen."""
    if gold_probs is None:
        return None
    return [
        [None if value < 0 else value for value in epoch]
        for epoch in np.nan_to_num(np.round(gold_probs * 1000), nan=-1).astype(int).tolist()
    ]


def finding_rows(frame: pd.DataFrame, findings: list[dict]) -> list[list[int]]:
    """The row numbers of the examples that each finding is about."""
    return [np.flatnonzero(patterns.examples_of(finding, frame)).tolist() for finding in findings]


def row_columns(frame: pd.DataFrame, gold_probs: np.ndarray | None, findings: list[dict]) -> dict:
    """All that the page knows of its rows except their contexts and answers.

    Args:
        frame: a row an example, `id` first: of `join.unify`, or ids with some of its columns.
        gold_probs: float [n_epochs, n_rows] in [0, 1], NaN where an example was not seen; None without a recording.
        findings: of interesting_patterns.json.
    """
    columns = {"id": frame["id"].tolist(), "categories": category_columns(frame), "numbers": number_columns(frame)}
    columns["text"] = frame[next((name for name in ("question", "hypothesis") if name in frame), "id")].tolist()
    predicted = next((name for name in ("predicted_answer", "predicted_label") if name in frame), None)
    if predicted:
        columns["predicted"] = frame[predicted].astype(object).where(frame[predicted].notna(), None).tolist()
    if "proposal" in frame:
        columns["proposal"] = frame["proposal"].astype(object).where(frame["proposal"].notna(), None).tolist()
    if "x" in frame and frame[["x", "y"]].notna().all(axis=None):
        columns |= {name: rounded(frame[name]) for name in ("x", "y")}
    columns["gold_probs"] = probability_lines(gold_probs)
    return columns | {"findings": finding_rows(frame, findings)}
