"""Words through a parallel port, by PsychoPy's driver."""

from __future__ import annotations

import sys

from protocols.errors import RigError
from protocols.interfaces import SessionInfo
from rig_client.installed import imported
from rig_client.triggers.lines import LineSettings, WordLines, check_width


class ParallelTriggerSettings(LineSettings):
    """A parallel port: its data lines 0 to 7 are the pins 2 to 9.

    Attributes:
        address: `/dev/parport0`, or on Windows the port's number such as `0x0378`.
    """

    address: str | int = "/dev/parport0" if sys.platform != "win32" else 0x0378


class ParallelTrigger(WordLines):
    """Sets the eight data lines; takes microseconds."""

    Settings = ParallelTriggerSettings

    def __init__(self, settings: ParallelTriggerSettings, session: SessionInfo) -> None:  # noqa: ARG002
        check_width(settings, 8, "trigger parallel")
        parallel = imported(
            "psychopy.parallel",
            needed_by="the parallel trigger",
            install="pip install 'stimloop[rig]'; on Linux also pyparallel, on Windows inpoutx64",
        )
        try:
            self._port = parallel.ParallelPort(address=settings.address)
        except Exception as error:  # drivers raise whatever they like
            raise RigError(
                "the parallel port cannot be opened",
                where=str(settings.address),
                got=f"{type(error).__name__}: {error}",
                remedy="check the address and who may open it (on Linux: group lp, pyparallel)",
            ) from error
        super().__init__("parallel trigger", settings, self._port.setData)
        self._write(0)
