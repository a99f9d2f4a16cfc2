"""Take the pictures of report.html that the README shows: first screen, a selection in the dark, a phone.

    python docs/make_screenshots.py --report ./integrated_analysis/report.html

Reads: the report of a chain, such as the one in CONTRIBUTING.md. Writes report_first_screen.png,
report_selection.png and report_phone.png beside this file. Needs Debian's packages chromium and chromium-driver.
"""

import argparse
import io
import sys
import time
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS.parent / "benchmarks")]

REPORT, N_COLOURS = Path("integrated_analysis", "report.html"), 256
DARK_SELECTION = """
document.getElementById("theme").click();
const colour = document.getElementById("colour");
colour.value = "cluster";
colour.dispatchEvent(new Event("change"));
document.querySelector("#findings button").click();
document.querySelectorAll("#rows button")[1].click();
document.getElementById("status").scrollIntoView();
"""
MAPS = "document.getElementById('status').scrollIntoView()"
# By file: width, height, whether it is a phone, and what is done first.
PICTURES = {
    "report_first_screen.png": (1280, 800, False, "scrollTo(0, 0)"),
    "report_selection.png": (1280, 1120, False, DARK_SELECTION),
    "report_phone.png": (390, 844, True, MAPS),
}


def take_picture(report: Path, name: str, width: int, height: int, is_phone: bool, script: str) -> None:
    """Open the report in a window of this size, run the script, and write the picture with few colours."""
    from PIL import Image

    import browser as headless

    with headless.chromium(width, height) as browser:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": is_phone})
        headless.open_page(browser, report)
        browser.execute_script(script)
        time.sleep(1)
        picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    few = picture.quantize(N_COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(DOCS / name, optimize=True)


def main() -> None:
    """Take every picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", type=Path, default=REPORT, help=f"a report.html (default: {REPORT})")
    options = parser.parse_args()
    for name, settings in PICTURES.items():
        take_picture(options.report, name, *settings)
        print(f"{name}: {(DOCS / name).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
