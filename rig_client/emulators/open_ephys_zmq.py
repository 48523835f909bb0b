"""Emulates Open Ephys's ZMQ Interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import zmq
from pydantic import Field

from rig_client.acquisition.open_ephys_zmq import Data, Spike, Ttl, encoded
from rig_client.emulators import emulator as emulated
from rig_client.emulators.blocks import GuiBlocks, OpenEphysEmulatorSettings
from rig_client.emulators.sockets import bound

STREAM = "Emulator"
TICK_S = 0.01


class OpenEphysZmqEmulatorSettings(OpenEphysEmulatorSettings):
    """Settings of the emulated ZMQ Interface.

    Attributes:
        port: Where it publishes.
        heartbeat_port: Where it answers heartbeats.
        n_channels: Channels whose data are sent; the plug-in sends all that there are.
    """

    port: int = Field(default=5556, ge=0, le=65535)
    heartbeat_port: int = Field(default=5557, ge=0, le=65535)
    n_channels: int = Field(default=16, ge=0, le=1024)


class OpenEphysZmqSpeaker:
    """Publishes numbered messages: data of one channel, lines, spikes."""

    Settings = OpenEphysZmqEmulatorSettings
    is_sampled = False

    def __init__(self, settings: OpenEphysZmqEmulatorSettings, site_ids: Sequence[str]) -> None:
        self._settings = settings
        self._site_ids = site_ids
        tick_s = TICK_S if settings.ideal else settings.block_ms / 1000
        self.tick_samples = max(1, int(settings.sample_rate_hz * tick_s))
        self._blocks = GuiBlocks()
        self.is_lost = emulated.never_lost
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._port = 0 if settings.any_port else settings.port
        self._heartbeat_port = 0 if settings.any_port else settings.heartbeat_port
        self.come_back()

    def speak(self, events: Sequence[emulated.Event]) -> None:
        """A message that is lost has had its number. A block's events come before its data."""
        for event in events:
            if self._settings.ideal:
                self._send(event)
            elif isinstance(event, emulated.Tick):
                for one in self._blocks.flush(event):
                    self._send(one)
                self._send(event)
            else:
                self._blocks.add(event)

    def _send(self, event: emulated.Event) -> None:
        for message in self._messages(event):
            numbered = message._replace(number=self._number)
            self._number += 1
            if not self.is_lost(event):
                self._socket.send_multipart(encoded(numbered))

    def _messages(self, event: emulated.Event) -> Sequence[Data | Ttl | Spike]:
        if isinstance(event, emulated.Tick):
            first = event.sample if self._settings.ideal else event.sample - self.tick_samples
            n_channels = 1 if self._settings.ideal else self._settings.n_channels
            return [Data(0, STREAM, first, self.tick_samples)] * n_channels
        if isinstance(event, emulated.Spike):
            return [Spike(0, STREAM, event.sample, self._site_ids[event.place], 0)]
        messages, word = [], event.before
        for line, state in event.changed:
            word ^= 1 << line
            messages.append(Ttl(0, STREAM, event.sample, line, state, word))
        return messages

    def serve(self) -> None:
        """Heartbeats are answered."""
        while self._heartbeats.poll(0):
            self._heartbeats.recv()
            self._heartbeats.send(b"heartbeat received")

    def hang_up(self) -> None:
        """Close both ports."""
        self._blocks.clear()
        self._socket.close(0)
        self._heartbeats.close(0)

    def come_back(self) -> None:
        """Open them again; messages count from 1."""
        host = self._settings.host
        self._socket, self._port = bound(self._context, zmq.PUB, host, self._port)
        self._socket.sndhwm = 0
        self._heartbeats, self._heartbeat_port = bound(
            self._context, zmq.REP, host, self._heartbeat_port
        )
        self._number = 1

    def acquisition(self, site_ids: Sequence[str]) -> dict[str, Any]:
        """As `rig.toml` has it."""
        host = self._settings.host
        options = {
            "address": f"tcp://{host}:{self._port}",
            "heartbeat_address": f"tcp://{host}:{self._heartbeat_port}",
            "sample_rate_hz": self._settings.sample_rate_hz,
            "sites": list(site_ids),
        }
        return {"name": "open_ephys_zmq", "options": options}

    def close(self) -> None:
        """Release everything."""
        self.hang_up()
        self._context.term()
