"""Photograph the monitor's page with a headless Chromium, as for the README.

    synth-server dry-run --seed 1 --sites 6 --generations 30 --population 30 --out demo
    python scripts/monitor_screenshot.py demo/session.sqlite docs/images/monitor.png --size 1280 1060

Needs `stimloop[monitor,test]` and Debian's package chromium (or another one in the path). The session
may be finished or under way. `--key` presses a key first: 3 chooses the third thread, ArrowLeft goes
back by a block.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
READY = "body:not(.reading):not(.busy)"
ALL_DRAWN = "[...document.images].every((image) => image.complete && image.naturalWidth)"


def photograph(
    session: Path, out: Path, width_px: int, height_px: int, theme: str, keys: list[str]
) -> None:
    """Write a PNG of the page as it stands once its images are there."""
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    command = [sys.executable, "-m", "synth_server.cli", "monitor", str(session), "--port", "0"]
    monitor = subprocess.Popen([*command, "--no-open"], stdout=subprocess.PIPE, text=True)
    try:
        url = monitor.stdout.readline().strip() if monitor.stdout else ""
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path)
            page = browser.new_page(
                viewport={"width": width_px, "height": height_px},
                color_scheme="dark" if theme == "dark" else "light",
            )
            page.goto(url)
            page.wait_for_selector(".has-data #figure-main, .has-data > #figure-main")
            page.wait_for_selector(f"{READY} #images img", timeout=120_000)
            for key in keys:
                page.keyboard.press(key)
                page.wait_for_timeout(300)
            page.wait_for_selector(f"{READY} #images img", timeout=120_000)
            while not page.evaluate(ALL_DRAWN):
                page.wait_for_timeout(200)
            page.screenshot(path=out)
            browser.close()
    finally:
        monitor.terminate()
        monitor.wait()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("session", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 800), metavar="PX")
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    parser.add_argument("--key", action="append", default=[])
    chosen = parser.parse_args()
    photograph(chosen.session, chosen.out, *chosen.size, chosen.theme, chosen.key)


if __name__ == "__main__":
    main()
