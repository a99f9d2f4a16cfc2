"""The review page: one suspicious label at a time, decided by a person. Rows in, HTML out; no file is written."""

from collections.abc import Sequence
from pathlib import Path
from string import Template

from datamap.report.parts import embedded, joined_scripts, joined_styles, packed, policy

PARTS = Path(__file__).resolve().parent
SCRIPTS = ("page_parts/base.js", "review_parts/marks.js", "review_parts/decisions.js", "review_parts/review.js")
STYLES = ("page_parts/base.css", "review_parts/review.css")
MAX_CHARACTERS = 10_000_000  # of the file; all of it is ASCII but the page's own words
LEAST_SHRINK = 0.9  # how many of the rows stay, at most, where the file would be larger


def build_review(
    rows: Sequence[dict], *, title: str, labels: Sequence[str] | Sequence[int], n_rows: int, key: str, show_origin: bool
) -> str:
    """The whole page.

    Args:
        rows: of `queue.review_rows`, in the order in which they are shown.
        title: the data set's name.
        labels: NLI labels as the rows have them, empty for QA.
        n_rows: of the whole data set.
        key: under which the browser keeps the decisions.
        show_origin: whether the page says which label is the published one before a decision.
    """
    places = {text: place for place, text in enumerate(dict.fromkeys(row["context"] for row in rows))}
    short = [row | {"context": places[row["context"]]} for row in rows]
    head = {"title": title, "labels": list(labels), "n_rows": n_rows, "key": key, "show_origin": show_origin}
    script = joined_scripts(PARTS / name for name in SCRIPTS)
    style = joined_styles(PARTS / name for name in STYLES)
    template = Template((PARTS / "review_parts" / "review.html").read_text(encoding="utf-8"))
    data = {"head": embedded(head), "rows": packed(short), "contexts": packed(list(places))}
    return template.substitute(data, script=script, style=style, policy=policy([script]))


def fitting(n_rows: int, n_characters: int) -> int:
    """How many rows to try next where a page with `n_rows` has `n_characters`; `n_rows` itself where they fit."""
    if n_characters <= MAX_CHARACTERS:
        return n_rows
    return max(1, int(n_rows * min(LEAST_SHRINK, LEAST_SHRINK * MAX_CHARACTERS / n_characters)))
