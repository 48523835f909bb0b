"""Screens in memory: several at once, gone when they should be, and a clear word if there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from protocols.errors import InstallationError
from rig_client.display import virtual_screen
from rig_client.display.psychopy_settings import PsychoPySettings
from rig_client.display.virtual_screen import VirtualScreen, has_screen
from rig_client.display.window import open_window
from tests.end_to_end.processes import eventually

needs_xvfb = pytest.mark.skipif(shutil.which("Xvfb") is None, reason="Xvfb is not installed")


def _socket(name: str) -> Path:
    return Path("/tmp/.X11-unix") / f"X{name.removeprefix(':')}"


@needs_xvfb
def test_each_has_a_number_of_its_own_and_is_gone_at_the_end(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":before")
    with VirtualScreen((64, 64)) as _:
        first = os.environ["DISPLAY"]
        with VirtualScreen((64, 64)):
            second = os.environ["DISPLAY"]
            assert _socket(first).exists()
            assert _socket(second).exists()
            assert first != second
        assert os.environ["DISPLAY"] == first
        eventually(lambda: not _socket(second).exists(), "the second screen's end")
        assert _socket(first).exists()
    assert os.environ["DISPLAY"] == ":before"


@needs_xvfb
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_it_ends_with_its_process_even_if_that_is_killed():
    program = (
        "from rig_client.display.virtual_screen import VirtualScreen\n"
        "print(VirtualScreen((64, 64)).start(), flush=True)\n"
        "input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    name = process.stdout.readline().strip()
    assert _socket(name).exists()
    process.kill()
    process.communicate()
    eventually(lambda: not _socket(name).exists(), "the screen's end")


def test_a_missing_xvfb_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InstallationError, match="sudo apt-get install xvfb libgl1-mesa-dri"):
        VirtualScreen().start()


def test_an_xvfb_that_does_not_start_says_why(monkeypatch, tmp_path):
    program = tmp_path / "Xvfb"
    program.write_text("#!/bin/sh\necho 'no such extension: GLX' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("DISPLAY", ":before")
    with pytest.raises(InstallationError, match="no such extension: GLX"):
        VirtualScreen().start()
    assert os.environ["DISPLAY"] == ":before"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have no DISPLAY")
def test_without_a_screen_the_rig_does_not_start_on_an_invisible_one(monkeypatch):
    """Unless it was told to: nobody should wonder why an animal sees nothing."""
    started = []
    monkeypatch.setattr(virtual_screen.VirtualScreen, "start", lambda self: started.append(1))
    monkeypatch.delenv("DISPLAY", raising=False)
    assert not has_screen()
    with pytest.raises(InstallationError, match="virtual_screen = true"):
        open_window(PsychoPySettings())
    assert started == []
