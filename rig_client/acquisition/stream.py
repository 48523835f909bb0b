"""What all recorders have in common that speak over a connection: one thread that reads it.

A recorder derives from `StreamAcquisition`, says how its connection is opened, read and shut, and
tells `self.recording` what it reads. Everything else (matching, counting, faults, reconnecting,
what stands on the screen) is done here. It ends its `__init__` with `self.start()`.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from typing import ClassVar

from pydantic import Field

from protocols.errors import RigError, SettingsError
from protocols.live_interfaces import Fresh
from protocols.rig_interfaces import Measurement
from protocols.settings import Frozen
from protocols.vocabulary import Block, Cue, RecorderClock
from rig_client.acquisition.disorder import FIRST_S
from rig_client.acquisition.names import Names
from rig_client.acquisition.recording import Limits, Recording
from rig_client.acquisition.survey import Survey

logger = logging.getLogger(__name__)

READ_S = 0.01
"""How long one reading waits for something to arrive."""
RETRY_S = 0.25
BEFORE_S = 0.2
"""A first trial's kept span may begin so long before its onset, and has to lie within the connection."""
JOIN_S = 5.0


class StreamLost(RigError):
    """The connection to the recorder is gone, or cannot be made; it is tried again."""


class Misfit(StreamLost):
    """What comes cannot be recorded with these settings; that stays so until something else comes."""


class RecorderSettings(Frozen):
    """Settings that all recorders have.

    Attributes:
        sites: What to count: names of the recorder's electrodes or units, or a table
            `name = electrode` that gives them names of one's own.
        settle_ms: How long counts wait for stragglers at least; not given: 250 ms, until it was
            measured how far behind they come. It is raised by itself in any case.
        word_wait_ms: How long after an onset its trial word is waited for.
        tolerance_ms: By how much a word may be off the clock line.
        silence_s: After so long without a message, the recorder is said to be silent.
    """

    sites: dict[str, str] | tuple[str, ...] = ()
    settle_ms: float | None = Field(default=None, ge=0, le=10_000)
    word_wait_ms: float = Field(default=1000, gt=0, le=60_000)
    tolerance_ms: float = Field(default=20, gt=0, le=10_000)
    silence_s: float = Field(default=3, gt=0, le=3600)

    def limits(self, quiet_ms: float | None, least_s: float = 0.0) -> Limits:
        """When to believe the stream; `quiet_ms` as `Limits.quiet_s`, `least_s` as there."""
        return Limits(
            settle_s=FIRST_S if self.settle_ms is None else self.settle_ms / 1000,
            least_s=least_s,
            is_measured=self.settle_ms is None,
            quiet_s=None if quiet_ms is None else quiet_ms / 1000,
            word_wait_s=self.word_wait_ms / 1000,
            tolerance_s=self.tolerance_ms / 1000,
        )

    def sources(self, example: str) -> dict[str, str]:
        """Site id → the recorder's name for it.

        Raises:
            SettingsError: If there is none; the message says how they are named.
        """
        named = self.sites if isinstance(self.sites, dict) else {name: name for name in self.sites}
        n_given = len(self.sites)
        if not named or len(set(named.values())) < n_given:
            raise SettingsError(
                "a recorder needs sites, each of them once",
                where="rig.toml, [acquisition.options]",
                expected=f"sites = {example}",
                got=f"sites = {list(self.sites) if named else '[]'}",
                remedy="name the electrodes or units that shall be counted",
            )
        return named


class StreamAcquisition(ABC):
    """An `Acquisition` with a clock of its own, fed by a connection.

    Args:
        settings: Common settings.
        sources: Site id → the recorder's name for it.
        rate_hz: Samples in a second of the recorder's clock.
        quiet_ms: As `Limits.quiet_s`: given by recorders that say nothing when nothing happens.
        where: The recorder's address, for messages.

    Attributes:
        least_wait_s: Counts wait for stragglers so long at least, however orderly the stream is.
        limits: Losses that this recorder's format cannot reveal, in words; empty: none.
    """

    least_wait_s: ClassVar[float] = 0.0
    limits: ClassVar[str] = ""

    def __init__(
        self,
        settings: RecorderSettings,
        *,
        sources: dict[str, str],
        rate_hz: float,
        quiet_ms: float | None,
        where: str,
    ) -> None:
        self._site_ids, self._rate_hz = tuple(sources), rate_hz
        self._may_be_quiet = quiet_ms is not None
        self._silence_s = settings.silence_s
        self._where = where
        self._trouble = f"connecting to the recorder at {where}"
        self._warned, self._is_misfit = "", False
        self._stop = threading.Event()
        self.names = Names(sources)
        limits = settings.limits(quiet_ms, self.least_wait_s)
        self.recording = Recording(self._site_ids, rate_hz, limits)
        self._reader = threading.Thread(target=self._run, name="recorder", daemon=True)

    # --- what a recorder adds ------------------------------------------------------------------

    @abstractmethod
    def _open(self) -> None:
        """Connect; takes a second at most.

        Raises:
            StreamLost, OSError: If that fails.
        """

    @abstractmethod
    def _read(self, timeout_s: float) -> bool:
        """Read what has arrived and tell it to `self.recording`; wait `timeout_s` if nothing has.

        Returns:
            Whether there was anything.

        Raises:
            StreamLost, OSError: If the connection is gone.
        """

    @abstractmethod
    def _shut(self) -> None:
        """Close what `_open` opened, whatever it came to."""

    def _idle(self) -> None:
        """Nothing has arrived: connected, and read empty."""
        self.recording.drained()

    def spike(self, sample: int, *sources: str) -> None:
        """A spike at `sample`, known to the recorder by any of these names, the first its own.

        Strangers are not counted, but remembered by their name, and told of.
        """
        self.recording.spike(sample, *self.names.sites(sources))

    def start(self) -> None:
        """Begin to read; the last line of a recorder's `__init__`."""
        self._reader.start()

    # --- what the rig asks ---------------------------------------------------------------------

    @property
    def site_ids(self) -> tuple[str, ...]:
        """Those of the settings."""
        return self._site_ids

    def stage(self, block: Block) -> None:
        """Which windows will be asked for."""
        self.names.block_begins()
        self.recording.expect(block.timing.count_window_s, block.timing.kept_span_s)

    def mark(self, cue: Cue, onset_s: float, word: int) -> None:
        """An image has appeared."""
        self.recording.mark(cue, onset_s, word)

    @property
    def tick_hz(self) -> float:
        """Samples in a second of the recorder's clock."""
        return self._rate_hz

    def spike_counts(
        self,
        cue: Cue,
        window_s: tuple[float, float],
        kept_s: tuple[float, float] | None = None,
    ) -> Measurement:
        """Counts in `[start, stop)` after the word of `cue`, on the recorder's clock, and spike times.

        Raises:
            RecorderGap: With the fault's name; see `rig_client.acquisition.recording`.
        """
        self.names.shown()
        return self.recording.measurement(cue, window_s, kept_s)

    def fresh(self) -> Fresh:
        """Spikes of what is complete since this was last asked, without any words."""
        trouble = self.trouble()
        fresh = self.recording.fresh()
        if not trouble:
            return fresh
        return fresh._replace(duration_s=0.0, counts=0 * fresh.counts, fault=trouble)

    def late(self) -> tuple[Cue, ...]:
        """Showings whose counts were given, and for which something came since this was last asked."""
        return self.recording.late()

    def notes(self) -> tuple[str, ...]:
        """What was noticed since this was last asked: the wait, silent sites, unknown names."""
        return (*self.recording.notes(), *self.names.notes())

    def trouble(self) -> str:
        """Why nothing can be recorded now; also says that no trial is under way."""
        self.recording.rest()
        return self._trouble

    def survey(self) -> Survey:
        """What the stream has brought so far."""
        return Survey(
            units=self.names.seen(),
            mismatch=tuple(self.names.mismatch()),
            channels={},
            word_channel="",
            disorder=self.recording.disorder(),
            is_measured=self.recording.is_measured,
            n_late=self.recording.n_late,
            limits=self.limits,
        )

    def clock(self) -> RecorderClock | None:
        """The recorder's clock against the rig's."""
        return self.recording.clock()

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        if self._reader.is_alive():
            self._reader.join(JOIN_S)

    # --- the reader's thread -------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._open()
                self.recording.opened()
                if not self._is_misfit:
                    self._trouble = self._just_now() if self._may_be_quiet else self._no_data()
                self._follow()
            except (StreamLost, OSError) as error:
                self._is_misfit = isinstance(error, Misfit)
                self._lost(error.what if isinstance(error, StreamLost) else str(error))
            except Exception as error:
                logger.exception("reading from the recorder failed; trying again")
                self._lost(f"{type(error).__name__}: {error}")
            finally:
                self._shut()
            self._stop.wait(RETRY_S)

    def _follow(self) -> None:
        heard_s = opened_s = time.perf_counter()
        speaks = self._may_be_quiet and not self._is_misfit
        while not self._stop.is_set():
            has_read = self._read(READ_S)
            now_s = time.perf_counter()
            if has_read:
                heard_s, self._is_misfit, speaks = now_s, False, True
            is_known = now_s - opened_s >= BEFORE_S + self.recording.wait_s
            if self._trouble and speaks and is_known:
                self._trouble = ""
            if has_read:
                continue
            self._idle()
            silent_s = now_s - heard_s
            if not self._may_be_quiet and silent_s > self._silence_s and not self._trouble:
                self._say(f"the recorder at {self._where} has been silent for {silent_s:.0f} s")
                self.recording.restarted("silent_stream")
                speaks = False

    def _lost(self, why: str) -> None:
        what = (
            "this recorder cannot be used" if self._is_misfit else "no connection to the recorder"
        )
        self._say(f"{what} at {self._where}: {why}")
        self.recording.restarted("disconnected")

    def _no_data(self) -> str:
        return f"nothing comes from the recorder at {self._where} yet: is it acquiring?"

    def _just_now(self) -> str:
        """Of the first moments, something may have been sent before the connection was made."""
        return f"connected just now to the recorder at {self._where}"

    def _say(self, trouble: str) -> None:
        if trouble not in (self._trouble, self._warned):
            logger.warning("%s", trouble)
            self._warned = trouble
        self._trouble = trouble
