"""Emulates Blackrock instruments: UDP datagrams with all that is due, by each version of the protocol.

`3.11`, `4.0`, `4.1`: one NSP that counts ticks of 1/30000 s. `gemini`: a hub that sends spikes to one
port, and an NSP that sends words to another, in nanoseconds of a common clock; the time in the NSP's
system packets runs slow, in cycles of two seconds (CereLink, pull request 175).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from rig_client.acquisition.formats.cerebus import (
    HEARTBEAT,
    MONITOR,
    SYSTEM_CHANNEL,
    WORD_CHANNELS,
    Packet,
    Protocol,
    encoded,
)
from rig_client.emulators import emulator as emulated
from rig_client.emulators.emulator import EmulatorSettings
from rig_client.emulators.sockets import free_udp_port

TICK_S = 0.01
MAX_DATAGRAM_BYTES = 1400
SPIKE_BYTES = 12 + 4 + 2 * 48
GEMINI_EPOCH_NS = 1_790_000_000 * 10**9
SLOW, CYCLE_NS = 0.04, 2 * 10**9


class CerebusEmulatorSettings(EmulatorSettings):
    """Settings of the emulated instruments; their clock has `sample_rate_hz`, or nanoseconds.

    Attributes:
        protocol: What they speak.
        port: To which spikes are sent, on `host`.
        word_port: To which a Gemini's NSP sends words.
        instrument: In the headers of spikes; a Gemini's NSP has the next number.
    """

    protocol: Protocol | Literal["gemini"] = "3.11"
    port: int = Field(default=51002, ge=0, le=65535)
    word_port: int = Field(default=51001, ge=0, le=65535)
    instrument: int = Field(default=0, ge=0, le=254)


@dataclass
class _Instrument:
    """One that counts what it sends."""

    number: int
    port: int
    n_sent: int = 0
    n_monitors: int = 0


class CerebusSpeaker:
    """Site number n is channel n + 1."""

    Settings = CerebusEmulatorSettings
    is_sampled = False

    def __init__(self, settings: CerebusEmulatorSettings, site_ids: Sequence[str]) -> None:  # noqa: ARG002
        self._settings = settings
        self.tick_samples = int(settings.sample_rate_hz * TICK_S)
        self.is_lost = emulated.never_lost
        self._is_gemini = settings.protocol == "gemini"
        self._protocol: Protocol = "4.1" if settings.protocol == "gemini" else settings.protocol
        usual = [settings.port, settings.word_port] if self._is_gemini else [settings.port]
        self._ports = [
            free_udp_port(settings.host) if settings.any_port or not port else port
            for port in usual
        ]
        self.come_back()

    def speak(self, events: Sequence[emulated.Event]) -> None:
        """As many packets in a datagram as it holds."""
        datagrams: dict[int, bytes] = {}
        for event in events:
            for instrument, packet in self._packets(event):
                data = encoded(packet, self._protocol)
                if self.is_lost(event):
                    continue
                waiting = datagrams.get(instrument.port, b"")
                if len(waiting) + len(data) > MAX_DATAGRAM_BYTES:
                    self._send(instrument.port, waiting)
                    waiting = b""
                datagrams[instrument.port] = waiting + data
        for port, waiting in datagrams.items():
            self._send(port, waiting)

    def serve(self) -> None:
        """Nobody asks for anything."""

    def hang_up(self) -> None:
        """Silence."""
        self._socket.close()

    def come_back(self) -> None:
        """Speak again."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        first = self._settings.instrument
        self._instruments = [_Instrument(first + n, port) for n, port in enumerate(self._ports)]

    def acquisition(self, site_ids: Sequence[str]) -> dict[str, Any]:
        """As `rig.toml` has it."""
        options = {
            "host": self._settings.host,
            "ports": self._ports,
            "sites": {site: str(place + 1) for place, site in enumerate(site_ids)},
        }
        return {"name": "cerebus", "options": options}

    def close(self) -> None:
        """Release everything."""
        self._socket.close()

    # --- packets -------------------------------------------------------------------------------

    def _packets(self, event: emulated.Event) -> list[tuple[_Instrument, Packet]]:
        """Numbered even if they get lost."""
        spiking, seeing = self._instruments[0], self._instruments[-1]
        if isinstance(event, emulated.Spike):
            return [self._counted(spiking, event.sample, event.place + 1, bytes(SPIKE_BYTES))]
        if isinstance(event, emulated.Lines):
            read = struct.pack("<III", event.word, event.word ^ event.before, 1)
            return [self._counted(seeing, event.sample, WORD_CHANNELS[self._protocol], read)]
        return [
            packet
            for one in self._instruments
            for packet in self._system_packets(one, event.sample)
        ]

    def _counted(
        self, instrument: _Instrument, sample: int, channel: int, payload: bytes
    ) -> tuple[_Instrument, Packet]:
        instrument.n_sent += 1
        return instrument, Packet(self._time(sample), channel, 0, payload, instrument.number)

    def _system_packets(
        self, instrument: _Instrument, sample: int
    ) -> list[tuple[_Instrument, Packet]]:
        time = self._time(sample)
        if self._is_gemini and instrument is not self._instruments[0]:
            time -= int(SLOW * (time % CYCLE_NS))
        instrument.n_monitors += 1
        counts = [instrument.n_sent + 2, instrument.n_monitors]
        instrument.n_sent = 0
        payload = struct.pack("<II", *counts)[: 8 if self._protocol == "4.1" else 4]
        return [
            (instrument, Packet(time, SYSTEM_CHANNEL, HEARTBEAT, b"", instrument.number)),
            (instrument, Packet(time, SYSTEM_CHANNEL, MONITOR, payload, instrument.number)),
        ]

    def _time(self, sample: int) -> int:
        if not self._is_gemini:
            return sample
        return GEMINI_EPOCH_NS + sample * 10**9 // int(self._settings.sample_rate_hz)

    def _send(self, port: int, datagram: bytes) -> None:
        if datagram:
            self._socket.sendto(datagram, (self._settings.host, port))
