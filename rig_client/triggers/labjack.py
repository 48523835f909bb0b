"""Words through the digital port of a LabJack: U3 by LabJackPython, T4 and T7 by labjack-ljm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from pydantic import Field

from protocols.errors import RigError, SettingsError
from protocols.interfaces import SessionInfo
from rig_client.installed import imported
from rig_client.triggers.lines import LineSettings, WordLines, check_width

PORTS = ("fio", "eio", "cio")


class LabJackTriggerSettings(LineSettings):
    """A LabJack and one of its ports of eight lines (CIO: four).

    Attributes:
        model: `U3`, `T4` or `T7`.
        lines_of: The port whose lines carry the words.
        serial_number: Which LabJack; 0: the first that is found.
        max_delay_ms: A word that would leave later than this after its image is dropped.
    """

    model: Literal["U3", "T4", "T7"] = "T7"
    lines_of: Literal["fio", "eio", "cio"] = "eio"
    serial_number: int = Field(default=0, ge=0)
    max_delay_ms: float = Field(default=20, gt=0, le=1000)


class LabJackTrigger(WordLines):
    """Sets the lines in a thread of its own: by USB that takes 1 to 4 ms."""

    Settings = LabJackTriggerSettings

    def __init__(self, settings: LabJackTriggerSettings, session: SessionInfo) -> None:  # noqa: ARG002
        check_width(settings, 4 if settings.lines_of == "cio" else 8, "trigger labjack")
        if settings.model == "T4" and settings.lines_of == "fio" and settings.all_lines & 0x0F:
            raise SettingsError(
                "lines 0 to 3 of a T4's FIO are analogue inputs, and nothing else",
                where="rig.toml, [trigger.options] lines_of",
                expected='"eio", or "cio" with 4 lines',
                got='"fio"',
            )
        opened = _u3 if settings.model == "U3" else _t_series
        write, self._release = opened(settings)
        super().__init__("LabJack trigger", settings, write, settings.max_delay_ms)
        self._write(0)

    def close(self) -> None:
        """Lines back to zero, and the device released."""
        super().close()
        if not self.is_carrying:
            self._release()


def _u3(settings: LabJackTriggerSettings) -> tuple[Callable[[int], None], Callable[[], Any]]:
    u3 = imported("u3", needed_by="a LabJack U3", install="pip install LabJackPython")
    place = PORTS.index(settings.lines_of)
    number = settings.serial_number

    def of_port(bits: int) -> list[int]:
        return [bits if k == place else 0 for k in range(3)]

    with _found(settings):
        device = u3.U3(serial=number) if number else u3.U3()
        if settings.lines_of != "cio":
            analog = {"fio": "FIOAnalog", "eio": "EIOAnalog"}[settings.lines_of]
            device.configIO(**{analog: 0})
        mask = of_port(settings.all_lines)
        device.getFeedback(u3.PortDirWrite(Direction=mask, WriteMask=mask))

    def write(levels: int) -> None:
        device.getFeedback(u3.PortStateWrite(State=of_port(levels), WriteMask=mask))

    return write, device.close


def _t_series(settings: LabJackTriggerSettings) -> tuple[Callable[[int], None], Callable[[], Any]]:
    ljm = imported(
        "labjack.ljm",
        needed_by=f"a LabJack {settings.model}",
        install="install LabJack's LJM library, then pip install labjack-ljm",
    )
    port = settings.lines_of.upper()
    first_dio = 8 * PORTS.index(settings.lines_of)
    with _found(settings):
        handle = ljm.openS(settings.model, "ANY", str(settings.serial_number or "ANY"))
        # DIO_INHIBIT: ones are lines that what follows leaves alone.
        others = 0x7FFFFF & ~(settings.all_lines << first_dio)
        ljm.eWriteName(handle, "DIO_INHIBIT", others)
        if settings.model == "T4":
            # EIO0 to EIO3 (and FIO4 to FIO7) are flexible lines, analogue until they are told.
            ljm.eWriteName(handle, "DIO_ANALOG_ENABLE", 0)
        ljm.eWriteName(handle, f"{port}_DIRECTION", settings.all_lines)
    return (
        lambda levels: ljm.eWriteName(handle, f"{port}_STATE", levels),
        lambda: ljm.close(handle),
    )


@contextmanager
def _found(settings: LabJackTriggerSettings) -> Iterator[None]:
    """Whatever a driver raises, as an error that says what to do."""
    try:
        yield
    except Exception as error:
        raise RigError(
            "the LabJack cannot be opened",
            where=f"{settings.model}, serial number {settings.serial_number or 'any'}",
            got=f"{type(error).__name__}: {error}",
            remedy="check the cable; close other programs that hold it",
        ) from error
