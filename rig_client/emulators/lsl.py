"""Emulates a program that streams spikes and trial words through the Lab Streaming Layer."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from rig_client.emulators import emulator as emulated
from rig_client.emulators.emulator import EmulatorSettings
from rig_client.installed import imported

TICK_S = 0.1
BACKGROUND = "background"
"""A unit that is no site, and fires all the time; 0 among numbers."""


class LslEmulatorSettings(EmulatorSettings):
    """Settings of the emulated streams; with `any_port` their names are made unique.

    Attributes:
        spikes: Name of the stream of spikes.
        words: Name of the stream of trial words.
        ids: What the samples of spikes are: the sites' names, or numbers from 1 on, as int32 or
            float32; words are of the same kind.
    """

    spikes: str = Field(default="emulated spikes", min_length=1)
    words: str = Field(default="emulated words", min_length=1)
    ids: Literal["strings", "ints", "floats"] = "strings"


class LslSpeaker:
    """Two outlets; LSL has no ports of its own to choose."""

    Settings = LslEmulatorSettings
    is_sampled = False

    def __init__(self, settings: LslEmulatorSettings, site_ids: Sequence[str]) -> None:
        self._lsl = imported(
            "pylsl", needed_by="the LSL emulator", install="pip install 'stimloop[lsl]'"
        )
        self._rate_hz = settings.sample_rate_hz
        self._names = tuple(site_ids)
        if settings.ids != "strings":
            self._names = tuple(str(place + 1) for place in range(len(site_ids)))
        formats = {"strings": "cf_string", "ints": "cf_int32", "floats": "cf_float32"}
        self._format = getattr(self._lsl, formats[settings.ids])
        self.tick_samples = int(settings.sample_rate_hz * TICK_S)
        self.is_lost = emulated.never_lost
        self._suffix = f" {uuid.uuid4().hex[:8]}" if settings.any_port else ""
        self._settings = settings
        self.come_back()

    def speak(self, events: Sequence[emulated.Event]) -> None:
        """A sample for each spike, and for each word that is not zero."""
        for event in events:
            if self.is_lost(event):
                continue
            if isinstance(event, emulated.Spike):
                self._spikes.push_sample([self._id(self._names[event.place])], self._time_s(event))
            elif isinstance(event, emulated.Lines) and event.word:
                self._words.push_sample([self._id(str(event.word))], self._time_s(event))
            elif isinstance(event, emulated.Tick):
                self._spikes.push_sample([self._id(BACKGROUND)], self._time_s(event))

    def serve(self) -> None:
        """LSL's own threads do."""

    def hang_up(self) -> None:
        """Take both streams off the network."""
        del self._spikes, self._words

    def come_back(self) -> None:
        """Two new streams of the same names."""
        self._spikes = self._outlet(self._settings.spikes, "Spikes")
        self._words = self._outlet(self._settings.words, "Markers")

    def acquisition(self, site_ids: Sequence[str]) -> dict[str, Any]:
        """As `rig.toml` has it."""
        options = {
            "spikes": self._settings.spikes + self._suffix,
            "words": self._settings.words + self._suffix,
            "sites": dict(zip(site_ids, self._names, strict=True)),
        }
        return {"name": "lsl", "options": options}

    def close(self) -> None:
        """Release everything."""
        if hasattr(self, "_spikes"):
            self.hang_up()

    def _outlet(self, name: str, kind: str) -> Any:
        source = uuid.uuid4().hex
        name += self._suffix
        info = self._lsl.StreamInfo(name, kind, 1, self._lsl.IRREGULAR_RATE, self._format, source)
        return self._lsl.StreamOutlet(info)

    def _id(self, name: str) -> str | int:
        """As the stream's format has it; LSL makes a float of a number."""
        if self._settings.ids == "strings":
            return name
        return 0 if name == BACKGROUND else int(name)

    def _time_s(self, event: emulated.Event) -> float:
        return event.sample / self._rate_hz
