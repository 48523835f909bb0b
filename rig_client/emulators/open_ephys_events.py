"""Emulates Open Ephys's Event Broadcaster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import zmq
from pydantic import Field

from rig_client.acquisition.open_ephys_events import Spike, Ttl, encoded
from rig_client.emulators import emulator as emulated
from rig_client.emulators.blocks import GuiBlocks, OpenEphysEmulatorSettings
from rig_client.emulators.sockets import bound

STREAM, BACKGROUND = "Emulator", "background"


class OpenEphysEventsEmulatorSettings(OpenEphysEmulatorSettings):
    """Settings of the emulated Event Broadcaster.

    Attributes:
        port: Where it publishes.
        background_hz: Spikes on an electrode that nobody counts; 0: a stream that may be quiet.
    """

    port: int = Field(default=5557, ge=0, le=65535)
    background_hz: float = Field(default=100, ge=0, le=10_000)


class OpenEphysEventsSpeaker:
    """Publishes events as JSON; sites are electrodes of the same name."""

    Settings = OpenEphysEventsEmulatorSettings
    is_sampled = False

    def __init__(self, settings: OpenEphysEventsEmulatorSettings, site_ids: Sequence[str]) -> None:
        self._settings = settings
        self._site_ids = site_ids
        self._rate_hz = settings.sample_rate_hz
        self._has_background = settings.background_hz > 0
        tick_s = 1 / (settings.background_hz or 100) if settings.ideal else settings.block_ms / 1000
        self.tick_samples = max(1, int(self._rate_hz * tick_s))
        self._blocks = GuiBlocks()
        self.is_lost = emulated.never_lost
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._port = 0 if settings.any_port else settings.port
        self.come_back()

    def speak(self, events: Sequence[emulated.Event]) -> None:
        """A message for each line that changes, and for each spike; a block at a time."""
        for event in events:
            if self._settings.ideal:
                self._send(event, self._messages(event))
            elif isinstance(event, emulated.Tick):
                self._send(event, self._background(event.sample))
                for one in self._blocks.flush(event):
                    self._send(one, self._messages(one))
            else:
                self._blocks.add(event)

    def _send(self, event: emulated.Event, messages: Sequence[Ttl | Spike]) -> None:
        for message in messages:
            if not self.is_lost(event):
                self._socket.send_multipart(encoded(message))

    def _background(self, end: int) -> list[Spike]:
        """The first electrode's spikes of the block: evenly, the last of them near its end."""
        if not self._has_background:
            return []
        step = max(1, int(self._rate_hz / self._settings.background_hz))
        begin = end - self.tick_samples
        samples = range(begin + (-begin) % step, end, step)
        return [Spike(STREAM, self._rate_hz, sample, BACKGROUND, 0) for sample in samples]

    def _messages(self, event: emulated.Event) -> list[Ttl | Spike]:
        at = (STREAM, self._rate_hz, event.sample)
        if isinstance(event, emulated.Lines):
            return [Ttl(*at, line, state) for line, state in event.changed]
        if isinstance(event, emulated.Spike):
            return [Spike(*at, self._site_ids[event.place], 0)]
        return [Spike(*at, BACKGROUND, 0)] if self._has_background else []

    def serve(self) -> None:
        """Nobody asks for anything."""

    def hang_up(self) -> None:
        """Close the port."""
        self._blocks.clear()
        self._socket.close(0)

    def come_back(self) -> None:
        """Open it again."""
        self._socket, self._port = bound(self._context, zmq.PUB, self._settings.host, self._port)
        self._socket.sndhwm = 0

    def acquisition(self, site_ids: Sequence[str]) -> dict[str, Any]:
        """As `rig.toml` has it."""
        options = {
            "address": f"tcp://{self._settings.host}:{self._port}",
            "sample_rate_hz": self._rate_hz,
            "sites": list(site_ids),
        }
        return {"name": "open_ephys_events", "options": options}

    def close(self) -> None:
        """Release everything."""
        self._socket.close(0)
        self._context.term()
