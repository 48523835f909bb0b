"""A screen in memory (Xvfb), for computers without one: rehearsals, tests, continuous integration."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

from protocols.errors import InstallationError

STARTUP_S = 30.0
PACKAGES = "xvfb libgl1-mesa-dri libgl1 libglu1-mesa"


def has_screen() -> bool:
    """Whether there is a screen to open a window on, as far as the environment tells."""
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY"))


class VirtualScreen:
    """Starts Xvfb on a display number that it chooses itself, and names it in `DISPLAY`.

    As a context manager, it stops at the end; started by `start`, it ends with this process, since a
    program may not lose the screen that its windows were on.
    """

    def __init__(self, size_px: tuple[int, int] = (1920, 1080)) -> None:
        self._size_px = size_px
        self._process: subprocess.Popen[bytes] | None = None
        self._before: str | None = None

    def start(self) -> str:
        """Start it; returns its name, such as `:3`.

        Raises:
            InstallationError: If Xvfb is missing or does not start.
        """
        program = shutil.which("Xvfb")
        if program is None:
            raise InstallationError(
                "there is no screen here, and no Xvfb to make one in memory",
                expected="DISPLAY, or the program Xvfb",
                remedy=f"Debian, Ubuntu: sudo apt-get install {PACKAGES}; "
                "Fedora: sudo dnf install xorg-x11-server-Xvfb mesa-dri-drivers; "
                "or start it where there is a screen",
            )
        name = f":{self._launch(program)}"
        self._before = os.environ.get("DISPLAY")
        os.environ["DISPLAY"] = name
        return name

    def stop(self) -> None:
        """End it, and forget its name."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.wait()
        self._process = None
        if self._before is None:
            os.environ.pop("DISPLAY", None)
        else:
            os.environ["DISPLAY"] = self._before

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _launch(self, program: str) -> str:
        """The display's number, which Xvfb writes into a pipe once it is ready."""
        width, height = self._size_px
        read_end, write_end = os.pipe()
        arguments = ["-displayfd", str(write_end), "-screen", "0", f"{width}x{height}x24"]
        arguments += ["+extension", "GLX", "+render", "-noreset", "-nolisten", "tcp"]
        with tempfile.TemporaryFile() as output:
            try:
                self._process = subprocess.Popen(
                    [*_dying_with_us(), program, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(write_end,),
                )
            finally:
                os.close(write_end)
            with os.fdopen(read_end) as pipe:
                ready, _, _ = select.select([pipe], [], [], STARTUP_S)
                number = pipe.readline().strip() if ready else ""
            if not number:
                self._process.kill()
                self._process.wait()
                output.seek(0)
                raise InstallationError(
                    "Xvfb does not start",
                    where=str(Path(program)),
                    got=output.read().decode(errors="replace").strip()[-500:],
                    remedy=f"Debian, Ubuntu: sudo apt-get install {PACKAGES}",
                )
        return number


def _dying_with_us() -> list[str]:
    """Linux ends the screen when this process ends, however that may be."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []
