"""Long work says how far it is, also where no terminal draws a bar."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from protocols import command_line


@pytest.mark.parametrize(
    ("quiet_s", "lines"), [(-1.0, ["fitting: 1 of 3", "fitting: 2 of 3"]), (1e9, [])]
)
def test_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, quiet_s: float, lines: list[str]
) -> None:
    said = io.StringIO()
    monkeypatch.setattr(command_line, "stderr", Console(file=said, width=200))
    monkeypatch.setattr(command_line, "QUIET_S", quiet_s)
    with command_line.progress_bar("fitting") as progress:
        progress(1, 3, "masks")
        progress(2, 3)
    assert said.getvalue().splitlines() == lines


def test_a_terminal_has_a_bar_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    terminal = Console(file=said, force_terminal=True, width=200, legacy_windows=False)
    monkeypatch.setattr(command_line, "stderr", terminal)
    with command_line.progress_bar("fitting") as progress:
        progress(1, 3, "masks")
    assert "fitting masks" in said.getvalue()
    assert "fitting: 1 of 3" not in said.getvalue()
