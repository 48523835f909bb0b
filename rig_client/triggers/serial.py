"""Words through a serial port: trigger boxes, microcontrollers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from protocols.interfaces import SessionInfo
from rig_client.serial_port import default_port, open_port
from rig_client.triggers.lines import LineSettings, WordLines


class SerialTriggerSettings(LineSettings):
    """A serial port, and what is written to it.

    Attributes:
        port: `/dev/ttyUSB0`, `COM3`, or a URL that pyserial knows.
        baudrate: As the box has it.
        message: `bytes`: the levels of the lines, 8 to a byte, lowest first, as trigger boxes take
            them; `decimal`: as a number in ASCII with a line feed, for a microcontroller.
    """

    port: str = Field(default_factory=default_port, min_length=1)
    baudrate: int = Field(default=115_200, ge=300, le=4_000_000)
    message: Literal["bytes", "decimal"] = "bytes"


class SerialTrigger(WordLines):
    """Writes the levels of all lines whenever they change, zero included."""

    Settings = SerialTriggerSettings

    def __init__(self, settings: SerialTriggerSettings, session: SessionInfo) -> None:  # noqa: ARG002
        self._port = open_port(settings.port, settings.baudrate, needed_by="the serial trigger")
        self._n_bytes = (settings.all_lines.bit_length() + 7) // 8
        self._decimal = settings.message == "decimal"
        super().__init__("serial trigger", settings, self._put)
        self._write(0)

    def close(self) -> None:
        """Lines back to zero, and the port closed."""
        super().close()
        self._port.close()

    def _put(self, levels: int) -> None:
        if self._decimal:
            self._port.write(b"%d\n" % levels)
        else:
            self._port.write(levels.to_bytes(self._n_bytes, "little"))
