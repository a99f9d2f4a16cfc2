"""report.html at several sizes: seconds to build it, and in headless Chromium to its first picture and to a selection.

    python benchmarks/bench_report.py --rows 2000 20000 100000

The analysis is made up from the demo's questions (`report_inputs`), so nothing is trained. The first picture is counted
from the start of loading until both maps and the table are drawn; a selection from letting go of the lasso until they
are drawn anew. Without Debian's chromium and chromium-driver the page is built and not opened.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import timing  # noqa: E402

SIZES = (2_000, 20_000, 100_000)
# As many lassos of different size as there are repeats.
WIDTHS = (0.1, 0.15, 0.2, 0.3, 0.5)
SELECTED = "return [...Bokeh.documents[0].get_model_by_name('points').selected.indices]"


def measure(options: argparse.Namespace) -> list[timing.Row]:
    """All sizes."""
    return measured_rows(SIZES)


def measured_rows(sizes) -> list[timing.Row]:
    """A row for building, one for the first picture and one for selections at each size."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n_rows in sizes:
            path = Path(folder) / f"report_{n_rows}.html"
            rows.append(built(n_rows, path))
            if shutil.which("chromium") and shutil.which("chromedriver"):
                rows += opened(n_rows, path)
    return rows


def built(n_rows: int, path: Path) -> timing.Row:
    """Build a report of so many points, and leave it at a path."""
    from datamap.report import page
    from report_inputs import SEED, analysed, questions

    texts = questions(n_rows)
    frame, probs, found = analysed(texts)
    settings = {
        "title": "demo:noisy, train",
        "gold_probs": probs,
        "patterns": found,
        "max_points": n_rows,
        "seed": SEED,
    }
    variants = {"build_report": lambda: page.build_report(frame, texts, **settings)}
    (row,) = timing.take_turns(f"report, {n_rows:,} points", variants, amount=n_rows, unit="points")
    path.write_text(page.build_report(frame, texts, **settings), encoding="utf-8", newline="")
    note = f"{path.stat().st_size / 1e6:.1f} MB, {texts['context'].nunique():,} contexts"
    return timing.Row(row.item, row.variant, row.seconds, row.amount, row.unit, note)


def opened(n_rows: int, path: Path) -> list[timing.Row]:
    """Open the report as often as there are repeats, each time in a fresh browser, and drag a lasso in each."""
    import browser as headless

    first, answers, selected = [], [], []
    for width in WIDTHS[: timing.REPEATS]:
        with headless.chromium() as browser:
            first.append(headless.open_page(browser, path))
            browser.execute_script("document.getElementById('maps').scrollIntoView()")
            corners = [(0.0, 0.0), (width, 0.0), (width, 1.0), (0.0, 1.0)]
            answers.append(headless.answer_seconds(browser, "data-map", corners))
            selected.append(len(browser.execute_script(SELECTED)))
    note = f"lassos around {min(selected):,} to {max(selected):,} points"
    amount = {"amount": n_rows, "unit": "points"}
    return [
        timing.Row(f"report opened, {n_rows:,} points", "first picture", tuple(first), **amount),
        timing.Row(f"report selection, {n_rows:,} points", "lasso", tuple(answers), note=note, **amount),
    ]


def main() -> None:
    """Measure every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES)
    print(timing.markdown(measured_rows(parser.parse_args().rows)))


if __name__ == "__main__":
    main()
