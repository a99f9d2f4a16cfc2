"""Headless Chromium that reaches no network: opens a report from disk, says what it asked for, drags around points.

Needs Debian's packages chromium and chromium-driver, and selenium, which never downloads a driver here.
"""

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service

READY_SECONDS = 120
# A machine for tests seldom has a graphics card: WebGL is then computed, which Chromium wants to be told.
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--force-device-scale-factor=1", "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
# Where a point of the data lies in the window.
PLACE = """
const [name, x, y] = arguments;
const plot = Bokeh.documents[0].get_model_by_name(name);
const view = Bokeh.index.find_one(plot);
const frame = view.canvas_view.el.getBoundingClientRect();
return [frame.x + view.frame.x_scale.compute(x), frame.y + view.frame.y_scale.compute(y)];
"""

# Milliseconds from the end of the next drag until both maps and the table are drawn anew, kept for `answer_seconds`.
WATCH = """
window.answered = null;
addEventListener("pointerup", () => {
  const begin = performance.now();
  const seen = new MutationObserver(() => {
    seen.disconnect();
    requestAnimationFrame(() => requestAnimationFrame(() => { window.answered = performance.now() - begin; }));
  });
  seen.observe(document.getElementById("status"), { childList: true, characterData: true, subtree: true });
}, { once: true, capture: true });
"""


@contextlib.contextmanager
def chromium(width: int = 1280, height: int = 800, flags: tuple[str, ...] = ()) -> Iterator[webdriver.Chrome]:
    """A browser with a fresh profile; downloads lie in `browser.downloads`."""
    with tempfile.TemporaryDirectory() as folder:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for flag in (*FLAGS, *flags, f"--window-size={width},{height}", f"--user-data-dir={folder}/profile"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            browser.downloads = Path(folder) / "downloads"
            browser.downloads.mkdir()
            behaviour = {"behavior": "allow", "downloadPath": str(browser.downloads)}
            browser.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
            browser.get("about:blank")
            browser.get_log("performance")  # what the browser's own first page asked for
            yield browser
        finally:
            browser.quit()


def open_page(browser: webdriver.Chrome, path: Path) -> float:
    """Open a report from disk; the seconds from the start of loading to its first picture.

    Raises:
        TimeoutError: there was none within two minutes.
    """
    browser.get(Path(path).resolve().as_uri())
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        ready = browser.execute_script("return document.documentElement.dataset.ready")
        if ready:
            return int(ready) / 1000
        time.sleep(0.05)
    raise TimeoutError(f"{path} was not drawn in {READY_SECONDS} seconds: {browser.get_log('browser')}")


def requested(browser: webdriver.Chrome) -> list[str]:
    """The addresses that were asked for since the last call, those inside the page (data:, blob:) left out."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    addresses = [params["request"]["url"] for params in sent]
    return [address for address in addresses if not address.startswith(("data:", "blob:"))]


def drag(browser: webdriver.Chrome, name: str, corners: list[tuple[float, float]]) -> None:
    """Drag the pointer around points of a map, given in the map's own coordinates."""
    drag_along(browser, [browser.execute_script(PLACE, name, x, y) for x, y in corners])


def drag_along(browser: webdriver.Chrome, places: list[tuple[float, float]]) -> None:
    """Drag the pointer along places of the window, in pixels."""
    chain = ActionChains(browser, duration=20)
    for number, (x, y) in enumerate(places):
        chain.w3c_actions.pointer_action.move_to_location(round(x), round(y))
        if number == 0:
            chain.w3c_actions.pointer_action.pointer_down()
    chain.w3c_actions.pointer_action.pointer_up()
    chain.perform()


def point_at(browser: webdriver.Chrome, name: str, x: float, y: float) -> None:
    """Move the pointer onto a place of a map, given in the map's own coordinates."""
    chain = ActionChains(browser)
    chain.w3c_actions.pointer_action.move_to_location(*map(round, browser.execute_script(PLACE, name, x, y)))
    chain.perform()


def answer_seconds(browser: webdriver.Chrome, name: str, corners: list[tuple[float, float]]) -> float:
    """Drag around points and return the seconds from letting go to the next picture with the selection.

    Raises:
        TimeoutError: nothing was selected anew within two minutes.
    """
    browser.execute_script(WATCH)
    drag(browser, name, corners)
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        answered = browser.execute_script("return window.answered")
        if answered is not None:
            return answered / 1000
        time.sleep(0.02)
    raise TimeoutError(f"the selection on {name} was not drawn in {READY_SECONDS} seconds")
