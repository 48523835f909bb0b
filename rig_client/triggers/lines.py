"""Digital lines that carry words: bits, strobe, pulse. What writes them is the plug-in's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pydantic import Field, model_validator

from protocols.errors import RigError, SettingsError
from protocols.settings import Frozen
from protocols.vocabulary import Block, Cue
from rig_client.courier import Courier, attempted


class LineSettings(Frozen):
    """Which lines a word takes, and for how long.

    Attributes:
        word_bits: Lines of the word; as many as rig.toml's `word_bits`, or more.
        first_line: Line of the word's lowest bit.
        strobe_line: Goes up once the word stands on its lines, for recorders that read it then.
        pulse_ms: How long a word stays; not given: as long as the image.
    """

    word_bits: int = Field(default=8, ge=1, le=32)
    first_line: int = Field(default=0, ge=0, le=31)
    strobe_line: int | None = Field(default=None, ge=0, le=31)
    pulse_ms: float | None = Field(default=None, gt=0, le=1000)

    @model_validator(mode="after")
    def _lines_differ(self) -> LineSettings:
        if self.first_line + self.word_bits > 32:
            raise ValueError("first_line + word_bits must not exceed 32")
        if self.strobe_line in range(self.first_line, self.first_line + self.word_bits):
            raise ValueError(f"strobe_line {self.strobe_line} is one of the word's lines")
        return self

    @property
    def all_lines(self) -> int:
        """Bits of all lines in use."""
        return self.levels(2**self.word_bits - 1) | self.strobe

    @property
    def strobe(self) -> int:
        """Bit of the strobe line; 0 without one."""
        return 0 if self.strobe_line is None else 1 << self.strobe_line

    def levels(self, word: int) -> int:
        """Bits of the lines that are up for `word`."""
        return word << self.first_line


def check_width(settings: LineSettings, most: int, where: str) -> None:
    """Refuse lines that a device does not have.

    Raises:
        SettingsError: If a line beyond `most` is asked for.
    """
    if settings.all_lines >= 1 << most:
        raise SettingsError(
            "the device has fewer lines than the words take",
            where=where,
            expected=f"lines 0 to {most - 1}",
            got=f"up to line {settings.all_lines.bit_length() - 1}",
            remedy="lower word_bits, first_line or strobe_line",
        )


class WordLines:
    """A `Trigger` on lines that `write(levels)` sets all at once.

    A write that fails is logged, and the session goes on: the recorder misses that word, and says so.

    Args:
        name: For what is logged.
        settings: The lines.
        write: Sets the lines to the bits of `levels`.
        slow_ms: None if `write` returns at once. Otherwise it is called in a thread of its own; a
            word that would leave later than this after its image is dropped, and logged: a recorder
            had better miss it than take its time for the image's.
    """

    def __init__(
        self,
        name: str,
        settings: LineSettings,
        write: Callable[[int], None],
        slow_ms: float | None = None,
    ) -> None:
        self.word_bits = settings.word_bits
        self._name, self._settings, self._write_lines = name, settings, write
        self._slow_ms = slow_ms
        self._strobe = settings.strobe
        self._largest = 2**settings.word_bits - 1
        self._pulse_s = None if settings.pulse_ms is None else settings.pulse_ms / 1000
        self._n_sent = 0
        self._lock = threading.Lock()
        self._trouble = ""
        self._failure: Exception | None = None
        self._closing = False
        self._courier: Courier[tuple[int, float]] | None = None
        if slow_ms is not None:
            self._courier = Courier(name, self._carry)
        elif self._pulse_s is not None:
            self._courier = Courier(name, self._end_pulse)

    @property
    def trouble(self) -> str:
        """Why the last word did not get through; empty if it did."""
        slow = self._courier.trouble if self._courier else ""
        return self._trouble or slow

    @property
    def is_carrying(self) -> bool:
        """Whether a thread still uses the device, even after `close`."""
        return self._courier is not None and self._courier.is_running

    def stage(self, block: Block) -> None:
        """Nothing to prepare."""

    def send(self, word: int, cue: Cue) -> None:
        """Put `word` on the lines; returns at once.

        Raises:
            RigError: If the lines cannot carry it.
        """
        if not 0 < word <= self._largest:
            raise RigError(
                "the trigger lines cannot carry this word",
                where=f"{self._name}, trial {cue.trial}",
                expected=f"1 to {self._largest}",
                got=word,
                remedy="set word_bits of rig.toml to no more than word_bits of the trigger",
            )
        self._n_sent += 1
        if self._slow_ms is not None and self._courier:
            self._courier.hand_over((word, time.monotonic()))
            return
        self._trouble = attempted(self._name, self._trouble, self._raise, word)
        if self._courier:
            self._courier.hand_over((self._n_sent, time.monotonic()))

    def clear(self) -> None:
        """Lines back to zero, unless a pulse ends by itself."""
        if self._pulse_s is not None:
            return
        if self._courier:
            self._courier.hand_over((0, time.monotonic()))
        else:
            self._trouble = attempted(self._name, self._trouble, self._write, 0)

    def close(self) -> None:
        """Lines back to zero."""
        self._closing = True
        if self._slow_ms is not None and self._courier:
            self._courier.hand_over((0, time.monotonic()))
            self._courier.close()
            return
        if self._courier:
            self._courier.close()
        self._trouble = attempted(self._name, self._trouble, self._write, 0)

    def _write(self, levels: int) -> None:
        with self._lock:
            self._write_lines(levels)

    def _raise(self, word: int) -> None:
        levels = self._settings.levels(word)
        self._write(levels)
        if self._strobe:
            self._write(levels | self._strobe)

    def _carry(self, item: tuple[int, float]) -> None:
        """In the courier's thread, for a device that is slow; word 0 clears."""
        word, asked_s = item
        late = 1000 * (time.monotonic() - asked_s) > (self._slow_ms or 0)
        if self._failure and (late or self._closing):
            raise self._failure  # what piled up while the device did not answer
        if late and word:
            raise RigError("a word was dropped: it would have left too late for its image")
        try:
            self._carry_in_time(word)
        except Exception as error:
            self._failure = error
            raise
        self._failure = None

    def _carry_in_time(self, word: int) -> None:
        if not word:
            self._write(0)
            return
        self._raise(word)
        if self._pulse_s is not None and self._courier:
            self._courier.pause(self._pulse_s)
            self._write(0)

    def _end_pulse(self, item: tuple[int, float]) -> None:
        """In the courier's thread, for a device that is fast: unless the next word stands already."""
        number, sent_s = item
        if self._courier and self._pulse_s is not None:
            self._courier.pause(max(0.0, sent_s + self._pulse_s - time.monotonic()))
        with self._lock:
            if number == self._n_sent:
                self._write_lines(0)
