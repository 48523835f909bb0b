"""An emulated recorder: a clock of its own, neurons that see the screen, and a way to speak."""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import zmq
from pydantic import Field

from protocols.errors import RigError
from protocols.seeds import random_stream
from protocols.settings import Frozen, PluginChoice
from rig_client.emulators import cables
from rig_client.emulators.neurons import Neurons

logger = logging.getLogger(__name__)

IDLE_S = 0.005
LINES_S = 0.0015
"""Lines change no faster than this, or nobody could tell their words apart."""
FIRST_SAMPLE_S = 10.0
"""Where the recorder's clock begins when the emulator does; after a restart, at 0."""


class EmulatorSettings(Frozen):
    """How an emulated recorder behaves.

    Attributes:
        neurons: A `stimloop.acquisitions` plug-in, whose counts become spikes.
        host: Interface to listen on, or computer to send to.
        any_port: Let the system choose all ports, instead of the recorder's usual ones.
        rehearsal_port: Where the rig's `rehearsal` trigger finds the emulator.
        sample_rate_hz: Of the recorder.
        latency_ms: From an event to the message that tells of it.
        jitter_ms: By how much more a message may be late: messages overtake each other.
        loss: Fraction of messages that get lost.
        drift_ppm: By how many µs the recorder's clock gains in a second.
        restart_after_s: The recorder restarts once, so long after the first word; 0: never.
        away_s: How long a restart takes.
        seed: Of jitter and loss; spikes are seeded by the session.
        ideal: Everything in the order of time, as no recorder sends it; for tests of single steps.
    """

    neurons: PluginChoice = PluginChoice(name="simulated")
    host: str = "127.0.0.1"
    any_port: bool = False
    rehearsal_port: int = Field(default=5599, ge=0, le=65535)
    sample_rate_hz: float = Field(default=30_000, gt=0, le=1e9)
    latency_ms: float = Field(default=5, ge=0, le=60_000)
    jitter_ms: float = Field(default=0, ge=0, le=60_000)
    loss: float = Field(default=0, ge=0, le=1)
    drift_ppm: float = Field(default=0, ge=-100_000, le=100_000)
    restart_after_s: float = Field(default=0, ge=0)
    away_s: float = Field(default=0.5, ge=0, le=3600)
    seed: int = Field(default=0, ge=0)
    ideal: bool = False


class Lines(NamedTuple):
    """The word on the digital lines from `sample` on, and `before`; 0: none."""

    sample: int
    word: int
    before: int

    @property
    def changed(self) -> list[tuple[int, bool]]:
        """Each line that changes, with its new state."""
        differ = self.word ^ self.before
        return [(n, bool(self.word >> n & 1)) for n in range(64) if differ >> n & 1]


class Spike(NamedTuple):
    """A spike of site number `place`."""

    sample: int
    place: int


class Tick(NamedTuple):
    """The clock has come to `sample`: time to send what goes on when nothing happens."""

    sample: int


Event = Lines | Spike | Tick
IsLost: TypeAlias = Callable[[Event], bool]


def never_lost(event: Event) -> bool:  # noqa: ARG001
    """A perfect connection."""
    return False


class Speaker(Protocol):
    """Speaks a recorder's format.

    Attributes:
        tick_samples: How often the stream says something.
        is_sampled: Words are part of a sampled stream, and cannot be late on their own.
        is_lost: Asked for each message when it would be sent.
    """

    tick_samples: int
    is_sampled: bool
    is_lost: IsLost

    def speak(self, events: Sequence[Event]) -> None:
        """Send these, which are due now, in this order."""
        ...

    def serve(self) -> None:
        """Answer who has asked or connected meanwhile; returns at once."""
        ...

    def hang_up(self) -> None:
        """The recorder goes away: close connections."""
        ...

    def come_back(self) -> None:
        """The recorder is there again, at the same ports."""
        ...

    def acquisition(self, site_ids: Sequence[str]) -> dict[str, Any]:
        """`[acquisition]` of the rig.toml that records `site_ids` from here."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


class Emulator:
    """Hears from the rehearsal's trigger what is shown, and has its speaker tell what is recorded."""

    def __init__(self, settings: EmulatorSettings, speaker: Speaker, neurons: Neurons) -> None:
        self._settings = settings
        self._speaker = speaker
        self._neurons = neurons
        self._random = random_stream(settings.seed, "emulator")
        speaker.is_lost = self.is_lost
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._cables = self._context.socket(zmq.ROUTER)
        self._cables.linger = 0
        port = "*" if settings.any_port or not settings.rehearsal_port else settings.rehearsal_port
        try:
            self._cables.bind(f"tcp://{settings.host}:{port}")
        except zmq.ZMQError as error:
            raise RigError(
                "the emulator cannot listen for the rehearsal's trigger",
                where=f"{settings.host}:{port}",
                got=error.strerror or str(error),
                remedy="choose another rehearsal_port, or --any-port",
            ) from None
        self.rehearsal_address = self._cables.getsockopt_string(zmq.LAST_ENDPOINT)
        self._restart_at_s = float("inf") if not settings.restart_after_s else None
        self._back_at_s = float("inf")
        self._asked_to_restart = threading.Event()
        self._injected: deque[Event] = deque()
        self._last_lines = Lines(-1, 0, 0)
        self._queue: list[tuple[float, int, Event]] = []
        self._start_clock(FIRST_SAMPLE_S)

    def announcement(self) -> dict[str, Any]:
        """The parts of `rig.toml` that connect a rig to this emulator."""
        trigger = {"name": "rehearsal", "options": {"address": self.rehearsal_address}}
        acquisition = self._speaker.acquisition(self._neurons.site_ids)
        return {"acquisition": acquisition, "trigger": trigger}

    def run(self, stop: threading.Event) -> None:
        """Record until `stop` is set."""
        while not stop.is_set():
            wait_s = min(IDLE_S, self._queue[0][0] - time.perf_counter()) if self._queue else IDLE_S
            if self._cables.poll(max(0, int(1000 * wait_s))):
                self._hear()
            if self._back_at_s == float("inf"):
                self._speaker.serve()
                self._speak(time.perf_counter())
            self._restart_if_due(time.perf_counter())

    def restart(self) -> None:
        """As if somebody switched the recorder off and on; callable from any thread."""
        self._asked_to_restart.set()

    def inject(self, event: Event) -> None:
        """Say this too, as soon as may be, however late it is; callable from any thread."""
        self._injected.append(event)

    def close(self) -> None:
        """Release everything; not while it runs."""
        self._speaker.close()
        self._cables.close(0)
        self._context.term()

    # --- what is shown -------------------------------------------------------------------------

    def _hear(self) -> None:
        while self._cables.poll(0):
            sender, *frames = self._cables.recv_multipart()
            message = cables.decoded(frames)
            if isinstance(message, cables.Staged):
                self._neurons.stage(message.session, message.block)
                self._cables.send_multipart([sender, cables.STAGED])
            elif self._back_at_s < float("inf"):
                continue
            elif isinstance(message, cables.Sent):
                self._word(message)
            else:
                self._lines(0, message.sent_s)

    def _word(self, sent: cables.Sent) -> None:
        train = self._neurons.train(sent.cue, self._settings.sample_rate_hz)
        if self._restart_at_s is None:
            self._restart_at_s = time.perf_counter() + self._settings.restart_after_s
        if train is None:
            return
        sample = self._lines(sent.word, sent.sent_s)
        for offset, place in zip(train.offsets.tolist(), train.places.tolist(), strict=True):
            self._later(Spike(sample + offset, place), jitters=True)

    def _lines(self, word: int, sent_s: float) -> int:
        apart = int(LINES_S * self._settings.sample_rate_hz)
        sample = max(self._sample_at(sent_s), self._last_lines.sample + apart)
        self._last_lines = Lines(sample, word, self._last_lines.word)
        self._later(self._last_lines, jitters=not self._speaker.is_sampled)
        return sample

    # --- the recorder's clock ------------------------------------------------------------------

    def _start_clock(self, first_s: float) -> None:
        self._began_s = time.perf_counter()
        self._first_s = first_s
        self._queue.clear()
        self._n_queued = 0
        self._last_lines = Lines(-1, 0, 0)
        self._ticked = int(first_s * self._settings.sample_rate_hz)
        self._speed = self._settings.sample_rate_hz * (1 + self._settings.drift_ppm * 1e-6)

    def _sample_at(self, host_s: float) -> int:
        """The sample at `host_s`; what the stream is past already happens now, not then."""
        first = self._first_s * self._settings.sample_rate_hz
        sample = int(first + (host_s - self._began_s) * self._speed)
        late_ms = 1000 * (self._ticked + 1 - sample) / self._settings.sample_rate_hz
        if late_ms > 1:
            logger.warning("heard %.0f ms too late what is shown: raise latency_ms", late_ms)
        return max(sample, self._ticked + 1)

    def _host_s(self, sample: int) -> float:
        first = self._first_s * self._settings.sample_rate_hz
        return self._began_s + (sample - first) / self._speed

    def _later(self, event: Event, *, jitters: bool) -> None:
        late_ms = self._settings.latency_ms
        if jitters and self._settings.jitter_ms:
            late_ms += self._settings.jitter_ms * self._random.random()
        self._n_queued += 1
        due_s = self._host_s(event.sample) + late_ms / 1000
        heapq.heappush(self._queue, (due_s, self._n_queued, event))

    # --- what is said --------------------------------------------------------------------------

    def _speak(self, now_s: float) -> None:
        """Everything that is due: events between two ticks go out before the second."""
        due: list[tuple[float, Event]] = []
        while self._queue and self._queue[0][0] <= now_s:
            due_s, _, event = heapq.heappop(self._queue)
            due.append((due_s, event))
        while self._injected:
            due.append((now_s, self._injected.popleft()))
        latency_s = self._settings.latency_ms / 1000
        while True:
            tick = Tick(self._ticked + self._speaker.tick_samples)
            tick_s = self._host_s(tick.sample) + latency_s
            if tick_s > now_s:
                break
            due.append((tick_s, tick))
            self._ticked = tick.sample
        if due:
            due.sort(key=lambda pair: pair[0])
            self._speaker.speak([event for _, event in due])

    def is_lost(self, event: Event) -> bool:
        """Whether the message about `event` gets lost; said to the speaker when it is made."""
        if isinstance(event, Tick) or not self._settings.loss:
            return False
        return bool(self._random.random() < self._settings.loss)

    def _restart_if_due(self, now_s: float) -> None:
        if self._restart_at_s is not None and now_s >= self._restart_at_s:
            self._restart_at_s = float("inf")
            self._asked_to_restart.set()
        if self._asked_to_restart.is_set():
            self._asked_to_restart.clear()
            logger.warning("the recorder restarts")
            self._speaker.hang_up()
            self._back_at_s = now_s + self._settings.away_s
        if now_s >= self._back_at_s:
            self._back_at_s = float("inf")
            self._start_clock(0.0)
            self._speaker.come_back()
            logger.warning("the recorder is back; its clock begins anew")
