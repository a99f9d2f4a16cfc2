"""The review queue: which rows a person is shown, in which order, and what stands beside the published label.

Two draws are mixed: the ranking from its top (queue) and the head of a random order of all rows (audit). The audit
tells how many errors are left where the ranking was not followed.
"""

import hashlib
import json

import numpy as np
import pandas as pd

from datamap.labels.rows import row_hash

QUEUE, AUDIT = "queue", "audit"
BLOCK = 20  # rows within which the audit's places are drawn, so that its share is kept wherever a person stops


def drawn_order(ids: list[str], seed: int) -> np.ndarray:
    """A random order of all rows, int [n]: row numbers. It depends on the ids and the seed, not on the rows' order."""
    by_id = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
    return by_id[np.random.default_rng(seed).permutation(len(ids))]


def audit_places(n_shown: int, audit_share: float, seed: int) -> np.ndarray:
    """Which of the rows shown are drawn by the audit, bool [n_shown]: their share in every block of 20, at random."""
    generator = np.random.default_rng([seed, 1])
    places = np.zeros(n_shown, dtype=bool)
    for first in range(0, n_shown, BLOCK):
        last = min(first + BLOCK, n_shown)
        n_audit = round(last * audit_share) - round(first * audit_share)
        places[first + generator.choice(last - first, size=n_audit, replace=False)] = True
    return places


def schedule(ranking: np.ndarray, order: np.ndarray, is_audit: np.ndarray) -> list[tuple[int, str]]:
    """(row, draw) of every row shown, in order: each place takes the next row of its draw that was not shown yet.

    A row that both draws reach is shown once, by the one that reaches it first. Where a draw has no row left, the other
    one goes on.

    Args:
        ranking: row numbers, the most suspicious first; rows without a rank are not in it.
        order: of `drawn_order`, all rows.
        is_audit: of `audit_places`.
    """
    waiting = {QUEUE: iter(ranking.tolist()), AUDIT: iter(order.tolist())}
    shown: dict[int, str] = {}
    for audit in is_audit:
        wanted, other = (AUDIT, QUEUE) if audit else (QUEUE, AUDIT)
        for draw in (wanted, other):
            row = next((row for row in waiting[draw] if row not in shown), None)
            if row is not None:
                shown[row] = draw
                break
    return list(shown.items())


def other_label(answers: dict, numbers: dict) -> list | None:
    """[text, start] of the most probable answer other than the label, ["", −1] for "no answer".

    None where there is none, or where it is among the published answers.

    Args:
        answers: the row's published answers.
        numbers: of the row, what an out-of-fold recording says of it: other_answer, other_start.
    """
    text, start = numbers.get("other_answer"), numbers.get("other_start")
    if not isinstance(text, str) or start is None or np.isnan(start):
        return None
    published = list(zip(answers["text"], answers["answer_start"], strict=True)) or [("", -1)]
    return None if (text, int(start)) in published else [text, int(start)]


def review_rows(
    rows: list[dict], table: pd.DataFrame, numbers: pd.DataFrame, shown: list[tuple[int, str]], seed: int
) -> list[dict]:
    """What the page knows of every row shown, in order.

    Args:
        rows: of `rows.written_rows`, all rows.
        table: of `suspects.suspects`: id, score, rank, kind.
        numbers: by id, what recordings say.
        shown: of `schedule`.
        seed: of the order of label and other answer.

    Returns:
        id, text (question, hypothesis), context (premise), before, before_sha256, other, is_swapped (whether the other
        answer is called 1), kind, score, rank (None without), drawn. NLI: without other and is_swapped.
    """
    columns = (table[name] for name in ("id", "score", "rank", "kind"))
    ranked = {identifier: about for identifier, *about in zip(*columns, strict=True)}
    found = numbers[[name for name in ("other_answer", "other_start") if name in numbers]]
    listed = []
    for row, draw in shown:
        written = rows[row]
        score, rank, kind = ranked[written["id"]]
        known = {"kind": kind or None, "score": None, "rank": None, "drawn": draw}
        if not pd.isna(rank):
            known |= {"score": float(score), "rank": int(rank)}
        if "answers" in written:
            said = found.loc[written["id"]].to_dict() if written["id"] in found.index else {}
            texts = {"text": written["question"], "context": written["context"], "before": written["answers"]}
            texts |= {"other": other_label(written["answers"], said), "is_swapped": is_swapped(written["id"], seed)}
        else:
            texts = {"text": written["hypothesis"], "context": written["premise"], "before": written["label"]}
        listed.append({"id": written["id"], "before_sha256": row_hash(written)} | texts | known)
    return listed


def queue_of(
    rows: list[dict], table: pd.DataFrame, numbers: pd.DataFrame, *, n_shown: int, audit_share: float, seed: int
) -> list[dict]:
    """The rows that the page shows, at most `n_shown`, in order: see `schedule` and `review_rows`.

    Args:
        rows, table, numbers: as for `review_rows`.
        n_shown: at least 1.
        audit_share: in [0, 1], the share of rows that the audit draws.
        seed: of everything that is drawn.
    """
    places = {row["id"]: place for place, row in enumerate(rows)}
    ranking = np.array([places[identifier] for identifier in table.loc[table["rank"].notna(), "id"]], dtype=np.int64)
    is_audit = audit_places(min(n_shown, len(rows)), audit_share, seed)
    shown = schedule(ranking, drawn_order(list(places), seed), is_audit)
    return review_rows(rows, table, numbers, shown, seed)


def is_swapped(identifier: str, seed: int) -> bool:
    """Whether the other answer stands first: the toss of a coin by row."""
    return hashlib.sha256(f"{seed} {identifier}".encode()).digest()[0] % 2 == 1


def queue_hash(rows: list[dict]) -> str:
    """SHA-256 over ids, labels and other answers of the rows shown: under it a browser keeps what was decided."""
    content = [[row["id"], row["before"], row.get("other")] for row in rows]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode("utf-8")).hexdigest()
