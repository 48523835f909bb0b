"""Where figures go: `benchmarks/RESULTS.md`, a section a benchmark, with hardware and commit."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocols.seeds import random_stream

RESULTS = Path(__file__).with_name("RESULTS.md")
TITLE = (
    "# Measured figures\n\n"
    "Written by `make benchmarks` (each section names its own command). Times are medians over "
    "repeats, compared side by side within one run; shared machines are noisy, so trust ratios "
    "rather than milliseconds.\n"
)


def quantiles(seconds: Sequence[float]) -> str:
    """Median and 99th percentile in ms."""
    p50, p99 = np.quantile(np.asarray(seconds), (0.5, 0.99)) * 1000
    return f"{p50:.1f} | {p99:.1f}"


def bootstrapped(values: NDArray[np.float64], decimals: int = 2) -> str:
    """Mean over neurons `(n,)` with its 95 % interval, of 2,000 resamples."""
    random = random_stream(0, "benchmarks", "bootstrap")
    draws = values[random.integers(0, len(values), (2000, len(values)))].mean(axis=1)
    low, high = np.percentile(draws, (2.5, 97.5))
    return f"{values.mean():.{decimals}f} ({low:.{decimals}f} to {high:.{decimals}f})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_section(name: str, command: str, text: str) -> None:
    """Replace the section `name` of RESULTS.md."""
    section = f"## {name}\n\n`{command}` — {_circumstances()}\n\n{text.strip()}\n"
    old = RESULTS.read_text("utf-8") if RESULTS.exists() else TITLE
    pattern = re.compile(rf"^## {re.escape(name)}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    if pattern.search(old):
        new = pattern.sub(lambda _: section + "\n", old)
    else:
        new = f"{old.rstrip()}\n\n{section}"
    RESULTS.write_text(new.rstrip() + "\n", "utf-8")
    print(section)


def _circumstances() -> str:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=RESULTS.parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return (
        f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"commit {commit or 'unknown'}, {datetime.now(UTC):%Y-%m-%d}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text())
        if found:
            return found.group(1)
    return platform.processor() or platform.machine()
