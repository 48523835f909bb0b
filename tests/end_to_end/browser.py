"""A headless Chromium that looks at the monitor, and notes what a browser would complain about."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.processes import Lab, Process, eventually

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/")
MOVES = """
window.moved = [];
new PerformanceObserver((list) => list.getEntries().forEach((entry) => {
  if (!entry.hadRecentInput) window.moved.push({ at: entry.startTime, value: entry.value,
    what: entry.sources.map(({ node }) => node?.id || node?.className || node?.nodeName) });
})).observe({ type: "layout-shift", buffered: true });
"""
"""Notes what jumps on the page without anybody having touched it (Layout Instability API)."""


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser; skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    pytest.importorskip("fastapi", reason="stimloop[monitor] is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is in the path (Debian: apt install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path)
        yield browser
        browser.close()


def start_monitor(
    lab: Lab, *arguments: str | Path, name: str = "monitor", port: str = "0"
) -> Process:
    """Start a monitor."""
    options = [*arguments, "--port", port, "--no-open"]
    process = Process(name, "synth_server.cli", ["monitor", *options], lab.folder)
    lab.processes.append(process)
    return process


def address(process: Process, n_before: int = 0) -> str:
    """The address of a monitor's page, once it can be opened.

    Args:
        process: The monitor.
        n_before: Monitors before it that have written to the same output.
    """

    def announced() -> list[str]:
        return ADDRESS.findall(process.output)[n_before:]

    return eventually(announced, "the monitor is there", alive=[process])[-1]


def monitor(
    lab: Lab, *arguments: str | Path, port: str = "0", n_before: int = 0
) -> tuple[Process, str]:
    """Start a monitor; returns once its page can be opened, with the address."""
    process = start_monitor(lab, *arguments, port=port)
    return process, address(process, n_before)


@dataclass
class Viewer:
    """A page that shows the monitor.

    Attributes:
        complaints: Errors and warnings of the console, and exceptions of the page.
        requests: Every address that the page asked for.
    """

    page: Any
    url: str
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.add_init_script(MOVES)
        self.page.goto(self.url, timeout=150_000)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def text(self, selector: str) -> str:
        """What stands there."""
        found: str = self.page.text_content(selector)
        return found

    def points(self, figure: str = "figure-main") -> int:
        """Points of the last line of a figure."""
        found: int = self.page.evaluate(
            "(id) => document.getElementById(id).data?.at(-1)?.x?.length ?? 0", figure
        )
        return found

    def sees(
        self, happened: Callable[[], Any], what: str, alive: list[Process] | None = None
    ) -> Any:
        """Wait for something on the page."""
        return eventually(happened, what, alive=alive or [], tick_s=0.05)

    def sees_text(self, selector: str, wanted: str, alive: list[Process] | None = None) -> None:
        """Wait until `wanted` stands there."""
        self.sees(lambda: wanted in self.text(selector), f"{selector} says {wanted!r}", alive)

    def moved(self) -> list[dict[str, Any]]:
        """What jumped, and how far (1: a whole page), since the page had its first content."""
        found: list[dict[str, Any]] = self.page.evaluate("window.moved")
        return found

    def check_calm(self) -> None:
        """No complaint, and nothing was asked of another computer."""
        assert self.complaints == []
        own = (self.url, "data:", f"blob:{self.url}")
        assert [each for each in self.requests if not each.startswith(own)] == []
