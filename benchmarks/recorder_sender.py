"""A recorder's other side, in a process of its own: neurons that fire all the time, and know when."""

from __future__ import annotations

import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 30_000
LATENCY_S = 0.01
"""So late the sender is behind the rig's clock: a word must have been heard of by then."""
PAUSE_S = 0.002


class Sender:
    """Poisson spikes on all sites, words when told, told as the kind's vendor does.

    Args:
        kind: An emulator's.
        options: Of the emulator: its block, its writes.
        n_sites: How many neurons.
        rate: Spikes a second of each.
        seed: Of the spikes.
    """

    def __init__(
        self, kind: str, options: dict[str, Any], n_sites: int, rate: float, seed: int
    ) -> None:
        from rig_client import emulators

        factory = emulators.loaded(kind)
        settings = factory.Settings(any_port=True, **options)
        self.sites = tuple(f"site {place}" for place in range(n_sites))
        self.speaker = factory(settings, self.sites)
        self._rate, self._random = rate, np.random.default_rng(seed)
        self._began_s = time.perf_counter()
        self._generated = self._ticked = 10 * RATE_HZ
        self._before = 0
        self._spikes: list[NDArray[np.int64]] = []
        self._words: dict[int, int] = {}

    def step(self, words: Sequence[tuple[int, float]]) -> None:
        """Words that were sent meanwhile; then all that has happened by now."""
        from rig_client.emulators.emulator import Lines, Spike, Tick

        now = max(self._generated, self._sample_at(time.perf_counter() - LATENCY_S))
        events: list[Any] = []
        for word, sent_s in words:
            sample = max(self._sample_at(sent_s), self._ticked + 1, self._generated + 1)
            events.append(Lines(sample, word, self._before))
            self._before = word
            if word:
                self._words[word] = sample
            now = max(now, sample + 1)
        n_spikes = self._random.poisson(
            self._rate * (now - self._generated) / RATE_HZ, len(self.sites)
        )
        places = np.repeat(np.arange(len(self.sites)), n_spikes)
        samples = self._random.integers(self._generated, now, len(places))
        self._spikes.append(np.stack([samples, places]))
        events += [Spike(*pair) for pair in zip(samples.tolist(), places.tolist(), strict=True)]
        self._generated = now
        while self._ticked + self.speaker.tick_samples <= now:
            self._ticked += self.speaker.tick_samples
            events.append(Tick(self._ticked))
        events.sort(key=lambda event: (event.sample, isinstance(event, Tick)))
        self.speaker.speak(events)
        self.speaker.serve()

    def truth(self, window_s: tuple[float, float]) -> dict[int, list[int]]:
        """Spikes of each site in the window after each word."""
        samples, places = np.concatenate(self._spikes, axis=1)
        start, stop = (round(edge * RATE_HZ) for edge in window_s)
        counts = {}
        for word, at in self._words.items():
            inside = (samples >= at + start) & (samples < at + stop)
            counts[word] = np.bincount(places[inside], minlength=len(self.sites)).tolist()
        return counts

    def _sample_at(self, at_s: float) -> int:
        return int(10 * RATE_HZ + (at_s - self._began_s) * RATE_HZ)


def send(
    to: Connection, kind: str, options: dict[str, Any], n_sites: int, rate: float, seed: int
) -> None:
    """The process: says what belongs into rig.toml, sends until it is asked for the truth."""
    sender = Sender(kind, options, n_sites, rate, seed)
    to.send(sender.speaker.acquisition(sender.sites))
    window_s = None
    while window_s is None:
        words = []
        while to.poll(0):
            message = to.recv()
            if message[0] == "truth":
                window_s = message[1]
            else:
                words.append(message[1:])
        sender.step(words)
        time.sleep(PAUSE_S)
    to.send(sender.truth(window_s))
    sender.speaker.close()
