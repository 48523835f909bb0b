"""Rewards for trials whose fixation was held. What fails is logged; a session never stops for it."""

from __future__ import annotations

import subprocess

from pydantic import Field

from protocols.interfaces import SessionInfo
from protocols.settings import Frozen
from rig_client.courier import Courier
from rig_client.serial_port import open_port


class NoReward:
    """Nothing to drink."""

    class Settings(Frozen):
        """Nothing to set."""

    def __init__(self, settings: Settings, session: SessionInfo) -> None:
        """See `protocols.plugins.GROUPS`."""

    def give(self, trial: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing to release."""


class RewardSettings(Frozen):
    """How often a reward is given.

    Attributes:
        every_n: After every n-th trial whose fixation was held.
    """

    every_n: int = Field(default=1, ge=1, le=1000)


class _EveryNth:
    """Counts trials, and pays in a thread of its own."""

    def __init__(self, name: str, settings: RewardSettings) -> None:
        self._every_n, self._n_held = settings.every_n, 0
        self._courier: Courier[int] = Courier(name, self._pay)

    @property
    def trouble(self) -> str:
        """Why the last reward was not given; empty if it was."""
        return self._courier.trouble

    def give(self, trial: int) -> None:
        """A trial was held; returns at once."""
        self._n_held += 1
        if self._n_held % self._every_n == 0:
            self._courier.hand_over(trial)

    def close(self) -> None:
        """Give what is due, and release the device."""
        self._courier.close()

    def _pay(self, trial: int) -> None:
        raise NotImplementedError


class SerialRewardSettings(RewardSettings):
    """A pump or valve behind a serial port.

    Attributes:
        port: `/dev/ttyUSB0`, `COM3`, or a URL that pyserial knows.
        baudrate: As the device has it.
        on: What opens the valve, as text.
        off: What closes it; empty: it closes by itself.
        pulse_ms: For how long.
    """

    port: str = Field(default="/dev/ttyUSB1", min_length=1)
    baudrate: int = Field(default=115_200, ge=300, le=4_000_000)
    on: str = Field(default="1", min_length=1, max_length=200)
    off: str = Field(default="0", max_length=200)
    pulse_ms: float = Field(default=100, gt=0, le=10_000)


class SerialReward(_EveryNth):
    """Opens the valve, waits in a thread of its own, and closes it."""

    Settings = SerialRewardSettings

    def __init__(self, settings: SerialRewardSettings, session: SessionInfo) -> None:  # noqa: ARG002
        self._on, self._off = settings.on.encode(), settings.off.encode()
        self._pulse_s = settings.pulse_ms / 1000
        self._port = open_port(settings.port, settings.baudrate, needed_by="the serial reward")
        super().__init__("serial reward", settings)

    def close(self) -> None:
        """Close the valve, then the port."""
        super().close()
        self._port.close()

    def _pay(self, trial: int) -> None:  # noqa: ARG002
        self._port.write(self._on)
        self._courier.pause(self._pulse_s)
        self._port.write(self._off)


class CommandRewardSettings(RewardSettings):
    """A program that gives the reward.

    Attributes:
        command: The program and its arguments; no shell is involved. `{trial}` is replaced by the
            trial's number in its block.
        timeout_s: A program that takes longer is ended.
    """

    command: tuple[str, ...] = Field(min_length=1)
    timeout_s: float = Field(default=10, gt=0, le=600)


class CommandReward(_EveryNth):
    """Runs the program in a thread of its own, one after the other."""

    Settings = CommandRewardSettings

    def __init__(self, settings: CommandRewardSettings, session: SessionInfo) -> None:  # noqa: ARG002
        self._command, self._timeout_s = settings.command, settings.timeout_s
        super().__init__("reward command", settings)

    def _pay(self, trial: int) -> None:
        command = [part.replace("{trial}", str(trial)) for part in self._command]
        subprocess.run(command, check=True, timeout=self._timeout_s, stdin=subprocess.DEVNULL)
