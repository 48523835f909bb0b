"""A recorder and its other side on a clock that stands still while they work: neurons, words, delays."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rig_client import emulators
from rig_client.acquisition import (
    cerebus,
    cerebus_links,
    intan,
    line_words,
    lsl,
    open_ephys_events,
    open_ephys_zmq,
)
from rig_client.acquisition.formats import intan as formats
from rig_client.acquisition.order import Order
from rig_client.acquisition.recording import Recording
from rig_client.emulators.emulator import Lines, Spike, Tick

RATE_HZ = 30_000
LATENCY_S = 0.01
"""So late the sender is behind the rig's clock: a word must have been heard of by then."""
STEP_S = 0.002


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def perf_counter(self) -> float:
        """As `time.perf_counter`."""
        return self.now_s


class Port:
    """Stands for a socket at either end: what is sent is there to be read."""

    def __init__(self) -> None:
        self._bytes = b""
        self.messages: list[list[bytes]] = []

    def send_multipart(self, frames: Sequence[bytes]) -> None:
        """A ZeroMQ message."""
        self.messages.append(list(frames))

    def send(self, data: bytes, segment_bytes: int = 0) -> None:  # noqa: ARG002
        """Bytes of a TCP stream."""
        self._bytes += data

    def recv(self, n_bytes: int) -> bytes:
        """At most so many of them."""
        if not self._bytes:
            raise BlockingIOError
        received, self._bytes = self._bytes[:n_bytes], self._bytes[n_bytes:]
        return received

    def close(self, linger: int = 0) -> None:
        """Nothing to release."""


class Neurons:
    """Poisson spikes all the time, words when told, told as the emulator's vendor does."""

    def __init__(self, speaker: Any, n_sites: int, rate: float, seed: int) -> None:
        self._speaker, self._n_sites = speaker, n_sites
        self._rate, self._random = rate, np.random.default_rng(seed)
        self._began_s: float | None = None
        self._generated = self._ticked = 10 * RATE_HZ
        self._before = 0
        self._spikes: list[NDArray[np.int64]] = []
        self.words: dict[int, int] = {}

    def step(self, now_s: float, words: Sequence[tuple[int, float]]) -> None:
        """Words that were sent meanwhile; then all that has happened by now."""
        self._began_s = now_s if self._began_s is None else self._began_s
        now = max(self._generated, self._sample_at(now_s - LATENCY_S))
        events: list[Lines | Spike | Tick] = []
        for word, sent_s in words:
            sample = max(self._sample_at(sent_s), self._generated + 1)
            events.append(Lines(sample, word, self._before))
            self._before = word
            if word:
                self.words[word] = sample
            now = max(now, sample + 1)
        n_spikes = self._random.poisson(
            self._rate * (now - self._generated) / RATE_HZ, self._n_sites
        )
        places = np.repeat(np.arange(self._n_sites), n_spikes)
        samples = self._random.integers(self._generated, max(now, self._generated + 1), len(places))
        self._spikes.append(np.stack([samples, places]))
        events += [Spike(*pair) for pair in zip(samples.tolist(), places.tolist(), strict=True)]
        self._generated = now
        while self._ticked + self._speaker.tick_samples <= now:
            self._ticked += self._speaker.tick_samples
            events.append(Tick(self._ticked))
        events.sort(key=lambda event: (event.sample, isinstance(event, Tick)))
        self._speaker.speak(events)

    def counts(self, word: int, window_s: tuple[float, float]) -> list[int]:
        """Spikes of each site in the window after the word."""
        samples, places = np.concatenate(self._spikes, axis=1)
        start, stop = (self.words[word] + round(edge * RATE_HZ) for edge in window_s)
        inside = (samples >= start) & (samples < stop)
        return [int(n) for n in np.bincount(places[inside], minlength=self._n_sites)]

    def _sample_at(self, at_s: float) -> int:
        return int(10 * RATE_HZ + (at_s - (self._began_s or 0.0)) * RATE_HZ)


class Bench:
    """One recorder with default settings, its emulator, and the neurons behind."""

    def __init__(self, kind: str, options: dict[str, Any], n_sites: int, rate: float) -> None:
        self.clock = Clock()
        for module in (line_words, cerebus, cerebus_links):
            module.time = self.clock  # type: ignore[attr-defined]
        factory = emulators.loaded(kind)
        sites = tuple(f"site {place}" for place in range(n_sites))
        self._speaker = factory(factory.Settings(any_port=True, **options), sites)
        self.neurons = Neurons(self._speaker, n_sites, rate, seed=0)
        options = self._speaker.acquisition(sites)["options"]
        made = MAKERS[kind]
        self._speaker.hang_up()
        self.recorder, self._read = made(options, self._speaker)
        limits = self.recorder.recording._limits
        rate_hz = self.recorder._rate_hz
        self.recorder.recording = Recording(sites, rate_hz, limits, self.clock.perf_counter)
        if hasattr(self.recorder, "_words_by"):
            self.recorder._words_by._was_sent = self.recorder.recording.was_sent
        if hasattr(self.recorder, "_losses"):
            self.recorder._losses._recording = self.recorder.recording
        if hasattr(self.recorder, "_numbers"):
            self.recorder._numbers._recording = self.recorder.recording

    def advance(self, duration_s: float, words: Sequence[tuple[int, float]] = ()) -> None:
        """Let time pass; words were sent at its begin."""
        until_s = self.clock.now_s + duration_s
        while self.clock.now_s < until_s - 1e-9:
            self.clock.now_s += STEP_S
            self.neurons.step(self.clock.now_s, words)
            words = ()
            if not self._read():
                self.recorder._idle()


def _without_thread(kind: Any) -> Any:
    return type(kind.__name__, (kind,), {"start": lambda self: None})  # noqa: ARG005


def _events(options: dict[str, Any], speaker: Any) -> tuple[Any, Any]:
    kind = open_ephys_events.OpenEphysEvents
    return _of_messages(kind, open_ephys_events, options, speaker)


def _zmq(options: dict[str, Any], speaker: Any) -> tuple[Any, Any]:
    found = _of_messages(open_ephys_zmq.OpenEphysZmq, open_ephys_zmq, options, speaker)
    found[0]._block = None
    return found


def _of_messages(kind: Any, module: Any, options: dict[str, Any], speaker: Any) -> tuple[Any, Any]:
    recorder = _without_thread(kind)(kind.Settings(**options), None)
    port = speaker._socket = Port()

    def read() -> bool:
        messages, port.messages = port.messages, []
        for message in messages:
            recorder._take(module.understood(message))
        return bool(messages)

    return recorder, read


def _intan(options: dict[str, Any], speaker: Any) -> tuple[Any, Any]:
    recorder = _without_thread(intan.Intan)(intan.Intan.Settings(**options), None)
    ports = {"waveform": Port(), "spike": Port()}
    speaker._waveforms, speaker._spikes = ports["waveform"], ports["spike"]
    speaker._runs = speaker._sends_words = True
    speaker._enabled = set(speaker._channels)
    recorder._spikes = formats.Packets(formats.SPIKE_MAGIC, formats.SPIKE.size, formats.is_spike)
    recorder._order, recorder._last_spike = Order(RATE_HZ), None
    recorder._blocks = formats.Packets(formats.WAVEFORM_MAGIC, formats.BLOCK_BYTES)
    recorder._sample_of, recorder._word = formats.Unwrapped(), None
    recorder._n_skipped = recorder._n_strange = 0
    recorder._next_timestamp = None
    recorder._blocks_per_write = speaker._settings.blocks_per_write
    recorder._spikes_to = -1
    recorder._begin_writes()
    recorder._data = ports
    ready = [(SimpleNamespace(data=what), 1) for what in ports]
    recorder._selector = SimpleNamespace(select=lambda timeout_s: ready)  # noqa: ARG005
    return recorder, lambda: recorder._read(0.0)


def _cerebus(options: dict[str, Any], speaker: Any) -> tuple[Any, Any]:
    recorder = _without_thread(cerebus.Cerebus)(cerebus.Cerebus.Settings(**options), None)
    speaker.come_back()
    recorder._open()
    return recorder, lambda: recorder._read(0.0)


class Stream:
    """Stands for an outlet of LSL and its inlet."""

    def __init__(self) -> None:
        self._samples: list[tuple[list[Any], float]] = []

    def push_sample(self, sample: list[Any], time_s: float) -> None:
        """At the outlet."""
        self._samples.append((sample, time_s))

    def pull_chunk(self, timeout: float, max_samples: int) -> tuple[list[list[Any]], list[float]]:  # noqa: ARG002
        """At the inlet: what has arrived."""
        pulled, self._samples = self._samples[:max_samples], self._samples[max_samples:]
        return [sample for sample, _ in pulled], [time_s for _, time_s in pulled]

    def pull_sample(self, timeout_s: float) -> tuple[list[Any] | None, float]:  # noqa: ARG002
        """Asked only when there is nothing."""
        return None, 0.0


def _lsl(options: dict[str, Any], speaker: Any) -> tuple[Any, Any]:
    recorder = _without_thread(lsl.LslAcquisition)(lsl.LslAcquisition.Settings(**options), None)
    speaker._words, speaker._spikes = recorder._inlets = [Stream(), Stream()]
    return recorder, lambda: recorder._read(0.0)


MAKERS = {
    "open-ephys-events": _events,
    "open-ephys-zmq": _zmq,
    "intan": _intan,
    "cerebus": _cerebus,
    "lsl": _lsl,
}
