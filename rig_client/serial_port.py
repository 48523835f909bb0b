"""A serial port that never makes anybody wait: for triggers and rewards."""

from __future__ import annotations

import sys
from typing import Any

from protocols.errors import RigError
from rig_client.installed import imported


def default_port(place: int = 0) -> str:
    """What a system calls its serial ports: the first (0) for triggers, the next (1) for rewards."""
    if sys.platform == "win32":
        return f"COM{3 + place}"
    if sys.platform == "darwin":
        return f"/dev/cu.usbserial-{place}"
    return f"/dev/ttyUSB{place}"


def open_port(port: str, baudrate: int, *, needed_by: str) -> Any:
    """A `serial.Serial` whose writes return at once.

    Raises:
        InstallationError: If pyserial is missing.
        RigError: If the port cannot be opened.
    """
    serial = imported("serial", needed_by=needed_by, install="pip install pyserial")
    try:
        return serial.serial_for_url(port, baudrate=baudrate, write_timeout=0)
    except (serial.SerialException, ValueError) as error:
        raise RigError(
            f"the serial port of {needed_by} cannot be opened",
            where=port,
            got=error,
            remedy="check the cable, the name and who may open it (on Linux: group dialout)",
        ) from error
