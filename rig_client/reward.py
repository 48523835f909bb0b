"""Rewards for trials whose fixation was held. What fails is logged; a session never stops for it."""

from __future__ import annotations

import subprocess
import threading
from typing import NamedTuple, Self

from pydantic import Field, model_validator

from protocols.errors import SettingsError
from protocols.interfaces import SessionInfo
from protocols.settings import Frozen
from rig_client.courier import Courier
from rig_client.serial_port import default_port, open_port

SHORTEST_MS, LONGEST_MS = 10.0, 1000.0
"""Of one reward."""


class NoReward:
    """Nothing to drink."""

    class Settings(Frozen):
        """Nothing to set."""

    def __init__(self, settings: Settings, session: SessionInfo) -> None:
        """See `protocols.plugins.GROUPS`."""

    pulse_ms = 0.0
    given_ml = 0.0

    def give(self, trial: int) -> bool:  # noqa: ARG002
        """Nothing."""
        return False

    def give_free(self) -> bool:
        """Nothing."""
        return False

    def set_pulse(self, pulse_ms: float) -> None:
        """There is none.

        Raises:
            SettingsError: Always.
        """
        raise no_pulse(pulse_ms)

    def close(self) -> None:
        """Nothing to release."""


class RewardSettings(Frozen):
    """How often a reward is given, and how much it is.

    Attributes:
        every_n: After every n-th trial whose fixation was held.
        ml_per_pulse: What one reward of the configured `pulse_ms` gives; a longer or shorter one
            gives proportionally more or less.
        ml_per_s: The same, by time; give one of both. 0: unknown.
    """

    every_n: int = Field(default=1, ge=1, le=1000)
    ml_per_pulse: float = Field(default=0, ge=0, le=100)
    ml_per_s: float = Field(default=0, ge=0, le=1000)

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        if self.ml_per_pulse and self.ml_per_s:
            raise ValueError("give ml_per_pulse or ml_per_s, not both")
        return self


class Due(NamedTuple):
    """A reward to give: the trial (None: a free one), its pulse, and what it gives."""

    trial: int | None
    pulse_ms: float
    ml: float


class _EveryNth:
    """Counts trials, and pays in a thread of its own.

    Args:
        pulse_ms: Of one reward; 0: the device decides.
    """

    def __init__(self, name: str, settings: RewardSettings, pulse_ms: float) -> None:
        self._settings, self._n_held = settings, 0
        self._pulse_ms = self._usual_ms = pulse_ms
        self._given_ml = 0.0
        self._counting = threading.Lock()
        self._courier: Courier[Due] = Courier(name, self._carry)

    @property
    def trouble(self) -> str:
        """Why the last reward was not given; empty if it was."""
        return self._courier.trouble

    @property
    def pulse_ms(self) -> float:
        """Of one reward; 0: the device decides."""
        return self._pulse_ms

    @property
    def given_ml(self) -> float:
        """Since the rig was started, free rewards included; what failed is taken out again."""
        with self._counting:
            return self._given_ml

    def give(self, trial: int) -> bool:
        """A trial was held; returns at once whether it is one of those that are paid."""
        self._n_held += 1
        return self._n_held % self._settings.every_n == 0 and self._hand_over(trial)

    def give_free(self) -> bool:
        """One besides; returns at once."""
        return self._hand_over(None)

    def set_pulse(self, pulse_ms: float) -> None:
        """From the next reward on.

        Raises:
            SettingsError: If it is not within 10 to 1000 ms, or the device decides itself.
        """
        if not self._usual_ms:
            raise no_pulse(pulse_ms)
        if not SHORTEST_MS <= pulse_ms <= LONGEST_MS:
            raise SettingsError(
                "a reward may not be so short or so long",
                where="pulse of the reward",
                expected=f"{SHORTEST_MS:g} to {LONGEST_MS:g} ms",
                got=f"{pulse_ms:g} ms",
            )
        self._pulse_ms = pulse_ms

    def close(self) -> None:
        """Give what is due, and release the device."""
        self._courier.close()

    def _hand_over(self, trial: int | None) -> bool:
        due = Due(trial, self._pulse_ms, self._ml())
        self._count(due.ml)
        self._courier.hand_over(due)
        return True

    def _ml(self) -> float:
        """Of one reward now."""
        if self._settings.ml_per_pulse:
            longer = self._pulse_ms / self._usual_ms if self._usual_ms else 1
            return self._settings.ml_per_pulse * longer
        return self._settings.ml_per_s * self._pulse_ms / 1000

    def _carry(self, due: Due) -> None:
        try:
            self._pay(due)
        except BaseException:
            self._count(-due.ml)
            raise

    def _count(self, ml: float) -> None:
        with self._counting:
            self._given_ml = max(0.0, self._given_ml + ml)

    def _pay(self, due: Due) -> None:
        raise NotImplementedError


def no_pulse(pulse_ms: float) -> SettingsError:
    """The duration of a reward cannot be chosen here."""
    return SettingsError(
        "the duration of a reward cannot be chosen: its device decides, or there is none",
        where="pulse of the reward",
        got=f"{pulse_ms:g} ms",
        remedy="rig.toml: [reward] name, and options.pulse_ms",
    )


class SerialRewardSettings(RewardSettings):
    """A pump or valve behind a serial port.

    Attributes:
        port: `/dev/ttyUSB0`, `COM3`, or a URL that pyserial knows.
        baudrate: As the device has it.
        on: What opens the valve, as text.
        off: What closes it; empty: it closes by itself.
        pulse_ms: For how long, 10 to 1000.
    """

    port: str = Field(default_factory=lambda: default_port(1), min_length=1)
    baudrate: int = Field(default=115_200, ge=300, le=4_000_000)
    on: str = Field(default="1", min_length=1, max_length=200)
    off: str = Field(default="0", max_length=200)
    pulse_ms: float = Field(default=100, ge=SHORTEST_MS, le=LONGEST_MS)


class SerialReward(_EveryNth):
    """Opens the valve, waits in a thread of its own, and closes it."""

    Settings = SerialRewardSettings

    def __init__(self, settings: SerialRewardSettings, session: SessionInfo) -> None:  # noqa: ARG002
        self._on, self._off = settings.on.encode(), settings.off.encode()
        self._port = open_port(settings.port, settings.baudrate, needed_by="the serial reward")
        super().__init__("serial reward", settings, settings.pulse_ms)

    def close(self) -> None:
        """Close the valve, then the port."""
        super().close()
        self._port.close()

    def _pay(self, due: Due) -> None:
        self._port.write(self._on)
        self._courier.pause(due.pulse_ms / 1000)
        self._port.write(self._off)


class CommandRewardSettings(RewardSettings):
    """A program that gives the reward.

    Attributes:
        command: The program and its arguments; no shell is involved. `{trial}` is replaced by the
            trial's number in its block (`free` for a reward that the experimenter gives), `{ms}` by
            the pulse in ms.
        pulse_ms: What `{ms}` stands for, 10 to 1000; not given: the program decides.
        timeout_s: A program that takes longer is ended.
    """

    command: tuple[str, ...] = Field(min_length=1)
    pulse_ms: float | None = Field(default=None, ge=SHORTEST_MS, le=LONGEST_MS)
    timeout_s: float = Field(default=10, gt=0, le=600)


class CommandReward(_EveryNth):
    """Runs the program in a thread of its own, one after the other."""

    Settings = CommandRewardSettings

    def __init__(self, settings: CommandRewardSettings, session: SessionInfo) -> None:  # noqa: ARG002
        self._command, self._timeout_s = settings.command, settings.timeout_s
        super().__init__("reward command", settings, settings.pulse_ms or 0)

    def _pay(self, due: Due) -> None:
        trial = "free" if due.trial is None else str(due.trial)
        command = [
            part.replace("{trial}", trial).replace("{ms}", f"{due.pulse_ms:g}")
            for part in self._command
        ]
        subprocess.run(command, check=True, timeout=self._timeout_s, stdin=subprocess.DEVNULL)
