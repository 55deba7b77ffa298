"""Build the site, and look at it: `python -m docs.site [--gallery] [--browse PICTURES]`.

Warnings of Sphinx are errors. `--gallery` runs the scripts for their pictures (a minute); `--browse` opens
every page in headless Chromium (with chromedriver; the extra `docs`), wide and narrow, clicks and searches,
and keeps pictures of the pages in a folder.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver import Chrome

FOLDER = Path(__file__).parent
SITE = FOLDER / "_site"
WIDTHS = {"wide": 1300, "narrow": 420}  # pixels: a laptop's window, a telephone
BROKEN = "return [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
# What sticks out to the right, so that the whole page scrolls sideways.
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


def build(gallery: bool) -> int:
    """Build the pages; return Sphinx's status, which is not 0 if it had a warning."""
    from sphinx.cmd.build import build_main

    scripts = ["-D", f"plot_gallery={int(gallery)}"]
    return int(build_main(["-W", "--keep-going", "-q", "-b", "html", *scripts, str(FOLDER), str(SITE)]))


def browse(pictures: Path) -> list[str]:
    """Open the pages in Chromium, and keep pictures of them in a folder; return what is wrong."""
    pictures.mkdir(parents=True, exist_ok=True)
    handler = functools.partial(_Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = _chromium()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            return [*_pages(browser, address, pictures), *_clicks(browser, address)]
        finally:
            browser.quit()
            server.shutdown()


def _pages(browser: Chrome, address: str, pictures: Path) -> Iterator[str]:
    for page in sorted(SITE.rglob("*.html")):
        name = page.relative_to(SITE).as_posix()
        if name.startswith(("_static", "_modules")):
            continue
        for kind, width in WIDTHS.items():
            browser.set_window_size(width, 1200)
            browser.get(f"{address}/{name}")
            broken = browser.execute_script(BROKEN)
            if broken:
                yield f"{name}, {kind}: broken pictures {broken}"
            if browser.execute_script(OVERFLOW) > 1:
                yield f"{name}, {kind}: wider than its window"
            browser.save_screenshot(
                str(pictures / f"{name.removesuffix('.html').replace('/', '-')}-{kind}.png")
            )
    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    yield from (f"the browser says: {message}" for message in severe)


def _clicks(browser: Chrome, address: str) -> Iterator[str]:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.set_window_size(WIDTHS["wide"], 1200)
    browser.get(address)
    for title in ("Guides", "How it works", "Reference", "Gallery", "Benchmarks"):
        browser.find_element(By.LINK_TEXT, title).click()
        if title not in browser.title:
            yield f"the link {title} leads to {browser.title!r}"
    browser.get(f"{address}/search.html?q=logsumexp")
    found = WebDriverWait(browser, 20).until(lambda b: b.find_elements(By.CSS_SELECTOR, "ul.search li a"))
    if not any("logsumexp" in (link.get_attribute("href") or "") for link in found):
        yield "a search for logsumexp does not find it"


def _chromium() -> Chrome:
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    os.environ["SE_AVOID_STATS"] = "true"  # nothing is sent to Selenium's makers
    options = ChromeOptions()
    switches = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars")
    for switch in (
        *switches,
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Chrome(options=options, service=Service(shutil.which("chromedriver")))  # None: Selenium's


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing of requests."""


def main(words: list[str] | None = None) -> int:
    """Build, and look if asked to. 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m docs.site", description=__doc__)
    parser.add_argument("--gallery", action="store_true", help="run the scripts of the gallery")
    parser.add_argument("--browse", type=Path, metavar="PICTURES", help="open pages in Chromium")
    chosen = parser.parse_args(words)
    status = build(chosen.gallery)
    wrong = browse(chosen.browse) if chosen.browse and not status else []
    for line in wrong:
        print(line, file=sys.stderr)
    return status or bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
