"""Emulates a Blackrock Cerebus: UDP datagrams with all that is due."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from rig_client.acquisition.cerebus import HEARTBEAT, MONITOR, SYSTEM_CHANNEL, Packet, encoded
from rig_client.emulators import emulator as emulated
from rig_client.emulators.emulator import EmulatorSettings
from rig_client.emulators.sockets import free_udp_port

TICK_S = 0.01
WORD_CHANNEL = 151
MAX_DATAGRAM_BYTES = 1400


class CerebusEmulatorSettings(EmulatorSettings):
    """Settings of the emulated Cerebus; its clock has `sample_rate_hz`.

    Attributes:
        port: To which it sends, on `host`.
    """

    port: int = Field(default=51002, ge=0, le=65535)


class CerebusSpeaker:
    """Site number n is channel n + 1."""

    Settings = CerebusEmulatorSettings
    is_sampled = False

    def __init__(self, settings: CerebusEmulatorSettings, site_ids: Sequence[str]) -> None:
        self._settings = settings
        self._n_sites = len(site_ids)
        self.tick_samples = int(settings.sample_rate_hz * TICK_S)
        self.is_lost = emulated.never_lost
        any_port = settings.any_port or not settings.port
        self._port = free_udp_port(settings.host) if any_port else settings.port
        self.come_back()

    def speak(self, events: Sequence[emulated.Event]) -> None:
        """As many packets in a datagram as it holds."""
        datagram = b""
        for event in events:
            for packet in self._packets(event):
                data = encoded(packet)
                if self.is_lost(event):
                    continue
                if len(datagram) + len(data) > MAX_DATAGRAM_BYTES:
                    self._send(datagram)
                    datagram = b""
                datagram += data
        self._send(datagram)

    def serve(self) -> None:
        """Nobody asks for anything."""

    def hang_up(self) -> None:
        """Silence."""
        self._socket.close()

    def come_back(self) -> None:
        """Speak again."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._n_sent = self._n_monitors = 0

    def acquisition(self, site_ids: Sequence[str]) -> dict[str, Any]:
        """As `rig.toml` has it."""
        options = {
            "host": self._settings.host,
            "port": self._port,
            "sites": {site: str(place + 1) for place, site in enumerate(site_ids)},
        }
        return {"name": "cerebus", "options": options}

    def close(self) -> None:
        """Release everything."""
        self._socket.close()

    def _packets(self, event: emulated.Event) -> list[Packet]:
        """Numbered even if they get lost."""
        if isinstance(event, emulated.Spike):
            self._n_sent += 1
            return [Packet(event.sample, event.place + 1, 0, bytes(16))]
        if isinstance(event, emulated.Lines):
            self._n_sent += 1
            differ = event.word ^ event.before
            return [
                Packet(event.sample, WORD_CHANNEL, 0, struct.pack("<III", event.word, differ, 1))
            ]
        self._n_monitors += 1
        counts = struct.pack("<II", self._n_sent + 2, self._n_monitors)
        self._n_sent = 0
        return [
            Packet(event.sample, SYSTEM_CHANNEL, HEARTBEAT),
            Packet(event.sample, SYSTEM_CHANNEL, MONITOR, counts),
        ]

    def _send(self, datagram: bytes) -> None:
        if datagram:
            self._socket.sendto(datagram, (self._settings.host, self._port))
