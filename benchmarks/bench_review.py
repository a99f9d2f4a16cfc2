"""review.html with short and with long contexts: seconds to its first row in headless Chromium, and to what a key does.

    python benchmarks/bench_review.py

The rows are made up from the demo's questions (`report_inputs`), the long contexts of its notes again and again. A key
is counted from its event until the next row is drawn; `n` until the words can be marked. Needs Debian's chromium and
chromium-driver.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import timing  # noqa: E402

N_ROWS, LONG = 2_000, 20_000  # rows; characters of a long context
PRESS = """
const [key, done] = arguments;
const begin = performance.now();
document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
requestAnimationFrame(() => setTimeout(() => done(performance.now() - begin)));
"""


def measure(options: argparse.Namespace) -> list[timing.Row]:
    """Both sorts of contexts."""
    return measured_rows()


def review_rows(least_characters: int) -> list[dict]:
    """Rows of a page whose contexts have at least so many characters; the other answer is the context's first word."""
    from report_inputs import questions

    rows = []
    for row in questions(N_ROWS).itertuples():
        context = row.context + f"\n{row.context}" * (least_characters // len(row.context))
        rows.append({"id": row.id, "before_sha256": "", "text": row.question, "context": context, "kind": "place",
                     "before": row.answers, "other": [context.split()[0], 0], "is_swapped": len(rows) % 2 == 1,
                     "score": 0.5, "rank": len(rows) + 1, "drawn": "queue"})  # fmt: skip
    return rows


def reviewed(path: Path) -> tuple[list[float], list[float], list[float]]:
    """Seconds to the first row, of forty decisions, and until words can be marked, in a fresh browser."""
    import browser as headless

    with headless.chromium() as browser:
        first = headless.open_page(browser, path)
        decided = [browser.execute_async_script(PRESS, key) / 1000 for key in ["1", "2"] * 20]
        return [first], decided, [browser.execute_async_script(PRESS, "n") / 1000]


def measured_rows() -> list[timing.Row]:
    """For each sort of contexts a row for the first row, one for a decision and one for marking."""
    from datamap.report.review import build_review, fitting

    found = []
    for name, characters in (("short", 0), (f"{LONG:,} characters", LONG)):
        rows = review_rows(characters)
        page = build_review(rows, title="demo", labels=(), n_rows=len(rows), key="x", show_origin=False)
        note = f"{len(page) / 1e6:.1f} MB, of which {fitting(len(rows), len(page)):,} rows fit"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "review.html"
            path.write_text(page, encoding="utf-8", newline="")
            measured = [reviewed(path) for _ in range(timing.REPEATS)]
        first, decided, marked = (sum(parts, []) for parts in zip(*measured, strict=True))
        about = {"amount": len(rows), "unit": "rows", "note": note}
        found += [timing.Row(f"review opened, {name}", "first row", tuple(first), **about),
                  timing.Row(f"review decided, {name}", "a key", tuple(decided)),
                  timing.Row(f"review marking, {name}", "n", tuple(marked))]  # fmt: skip
    return found


def main() -> None:
    """Measure and print the table."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    rows = measured_rows()
    print(timing.markdown(rows))
    for row in rows:
        print(f"{row.item}, {row.variant}: at most {1000 * max(row.seconds):.0f} ms of {len(row.seconds)}")


if __name__ == "__main__":
    main()
