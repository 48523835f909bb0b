"""What can be checked of Windows and macOS from here; neither is run."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from protocols.endings import CONSOLE_CLOSED, ConsoleEnd, ending_signals, on_console_end
from protocols.errors import DisplayError
from protocols.replacing import replace_file
from rig_client.display.scaling import check_scaling, scale_of
from rig_client.serial_port import default_port
from synth_server.interrupts import Interrupts


class HeldOpen:
    """Stands for Windows: another process has the file open for the first few attempts."""

    def __init__(self, attempts: int) -> None:
        self.left = attempts

    def __call__(self, this: Path, target: Path) -> Path:
        if self.left:
            self.left -= 1
            raise PermissionError(13, "The process cannot access the file")
        return target


def replaced(tmp_path: Path, attempts: int, platform: str) -> HeldOpen:
    held, moment = HeldOpen(attempts), iter(float(n) for n in range(1000))
    with (
        mock.patch.object(Path, "replace", lambda this, target: held(this, target)),
        mock.patch("protocols.replacing.sys", SimpleNamespace(platform=platform)),
        mock.patch("protocols.replacing.time", mock.Mock(monotonic=lambda: next(moment))),
    ):
        replace_file(tmp_path / "new", tmp_path / "old")
    return held


def test_a_file_that_is_open_elsewhere_is_replaced_once_it_is_free(tmp_path: Path) -> None:
    assert replaced(tmp_path, 3, "win32").left == 0
    with pytest.raises(PermissionError):
        replaced(tmp_path, 100, "win32")
    with pytest.raises(PermissionError):
        replaced(tmp_path, 1, "linux")


def test_nobody_replaces_files_in_another_way() -> None:
    """One place knows what Windows does; `Path.replace` and `os.replace` stand nowhere else."""
    root = Path(__file__).parents[2]
    found = []
    for package in ("protocols", "encoders", "synth_server", "rig_client"):
        for file in (root / package).rglob("*.py"):
            text = file.read_text("utf-8")
            if (
                "os.replace(" in text
                or "unfinished.replace(" in text
                or "part.replace(path" in text
            ):
                found.append(str(file))
    assert found == []


def test_the_console_s_end_waits_for_the_program() -> None:
    told = threading.Event()
    end = ConsoleEnd(told.set)
    assert not end(0), "Ctrl-C is Python's"
    assert not told.is_set()
    end.ended()
    assert end(CONSOLE_CLOSED)
    assert told.is_set()


@pytest.mark.skipif(sys.platform == "win32", reason="of the other systems")
def test_elsewhere_the_console_s_end_is_a_signal() -> None:
    with on_console_end(lambda: None):
        assert ending_signals() == (signal.SIGTERM,)


def test_ctrl_break_ends_as_sigterm_does() -> None:
    """On Windows SIGBREAK is the signal that another process can send."""
    calls: list[str] = []
    before = signal.getsignal(signal.SIGUSR1)
    with (
        mock.patch("synth_server.interrupts.ending_signals", return_value=(signal.SIGUSR1,)),
        Interrupts(lambda: calls.append("finish"), lambda: None, lambda: calls.append("end")),
    ):
        signal.raise_signal(signal.SIGUSR1)
    assert calls == ["end"]
    assert signal.getsignal(signal.SIGUSR1) == before


class Handle:
    """As pyglet's window tells of itself."""

    def __init__(self, size: int, framebuffer: int, ratio: float | None = None) -> None:
        self._size, self._framebuffer = size, framebuffer
        if ratio is not None:
            self.get_pixel_ratio = lambda: ratio

    def get_size(self) -> tuple[int, int]:
        return self._size, self._size

    def get_framebuffer_size(self) -> tuple[int, int]:
        return self._framebuffer, self._framebuffer


@pytest.mark.parametrize(
    ("handle", "scale"),
    [
        (Handle(1000, 1000), 1.0),
        (Handle(1000, 2000), 2.0),
        (Handle(1000, 1000, 2.0), 2.0),
        (Handle(1000, 1500, 1.5), 1.5),
        (SimpleNamespace(), 1.0),
    ],
)
def test_points_that_are_no_pixels_are_refused(handle: object, scale: float) -> None:
    window = SimpleNamespace(winHandle=handle)
    assert scale_of(window) == scale
    if scale == 1:
        check_scaling(window)
        return
    with pytest.raises(DisplayError, match="the screen is scaled") as refused:
        check_scaling(window)
    assert refused.value.got == f"{100 * scale:.0f} %"


@pytest.mark.parametrize(
    ("platform", "ports"),
    [
        ("win32", ["COM3", "COM4"]),
        ("darwin", ["/dev/cu.usbserial-0", "/dev/cu.usbserial-1"]),
        ("linux", ["/dev/ttyUSB0", "/dev/ttyUSB1"]),
    ],
)
def test_serial_ports_are_called_as_the_system_calls_them(platform: str, ports: list[str]) -> None:
    with mock.patch("rig_client.serial_port.sys", SimpleNamespace(platform=platform)):
        assert [default_port(), default_port(1)] == ports
