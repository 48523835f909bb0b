"""Blackrock Cerebus, protocol 4.1: packets in UDP datagrams, several in one.

A packet is a header (time, channel, type, length of the payload in 32-bit words, instrument,
reserved; little-endian) and its payload. Spikes come from channels from 1 on, their type is the unit;
the digital port is a channel as well. On channel 0x8000 there are a heartbeat (type 0) and the
protocol monitor (type 1), each every 10 ms; the monitor says how many packets were sent since the
last one, itself included, so that lost ones are noticed.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

from pydantic import Field

from protocols.interfaces import SessionInfo
from rig_client.acquisition.line_words import LineSettings, LineStream
from rig_client.acquisition.recording import Gap

HEADER = struct.Struct("<QHHHBB")
SYSTEM_CHANNEL = 0x8000
HEARTBEAT, MONITOR = 0, 1
NOISE_UNIT = 255
MAX_DATAGRAM_BYTES = 1 << 16


class Packet(NamedTuple):
    """One packet; `time` in the instrument's ticks."""

    time: int
    channel: int
    type: int
    payload: bytes = b""
    instrument: int = 0


def encoded(packet: Packet) -> bytes:
    """As the instrument sends it."""
    payload = packet.payload + bytes(-len(packet.payload) % 4)
    n_words = len(payload) // 4
    fields = (packet.time, packet.channel, packet.type, n_words, packet.instrument, 0)
    return HEADER.pack(*fields) + payload


def decoded(datagram: bytes) -> Iterator[Packet]:
    """The packets of a datagram; what is cut off at its end is none."""
    place = 0
    while place + HEADER.size <= len(datagram):
        time, channel, kind, n_words, instrument, _ = HEADER.unpack_from(datagram, place)
        end = place + HEADER.size + 4 * n_words
        if end > len(datagram):
            return
        yield Packet(time, channel, kind, datagram[place + HEADER.size : end], instrument)
        place = end


class CerebusSettings(LineSettings):
    """Settings of a Blackrock Cerebus.

    Attributes:
        host: This computer's address in the instrument's network.
        port: To which the instrument sends.
        clock_hz: Ticks in a second of the packets' time: 30 kHz of an NSP, 1 GHz of a Gemini.
        word_channel: Channel of the digital input port.
        count_packets: Whether lost packets are looked for by the protocol monitor.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=51002, ge=1, le=65535)
    clock_hz: Literal[30_000, 1_000_000_000] = 30_000
    word_channel: int = Field(default=151, ge=1, le=0x7FFF)
    count_packets: bool = True


class Cerebus(LineStream):
    """Counts what the instrument sends. A site is a channel (`"12"`) or one of its units (`"12#1"`).

    The unit for noise (255) counts only if it is named.
    """

    Settings = CerebusSettings
    least_wait_s = 0.015
    """A monitor, which tells of lost packets, must have its time to come."""

    def __init__(self, settings: CerebusSettings, session: SessionInfo) -> None:  # noqa: ARG002
        super().__init__(
            settings,
            sources=settings.sources('["12", "13#1"]'),
            quiet_ms=None,
            where=f"UDP port {settings.port}",
            rate_hz=settings.clock_hz,
        )
        self._settings = settings
        self._socket: socket.socket | None = None
        self.start()

    def _open(self) -> None:
        self._n_packets: int | None = None
        self._n_lost = 0
        self._gap: Gap | None = None
        self._monitored = self._count = 0
        self._monitored_epoch = self.recording.epoch
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
        self._socket.bind((self._settings.host, self._settings.port))

    def _read(self, timeout_s: float) -> bool:
        if self._socket is None:
            return False
        self._socket.settimeout(timeout_s)
        try:
            datagram = self._socket.recv(MAX_DATAGRAM_BYTES)
        except TimeoutError:
            return False
        for packet in decoded(datagram):
            self._take(packet)
        return True

    def _shut(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _take(self, packet: Packet) -> None:
        if self._n_packets is not None:
            self._n_packets += 1
        if packet.channel == SYSTEM_CHANNEL:
            if packet.type == MONITOR and self._settings.count_packets:
                self._compare(packet)
            self.heard(packet.time)
        elif packet.channel == self._settings.word_channel:
            (value,) = struct.unpack_from("<I", packet.payload.ljust(4, b"\0"))
            self.port(value, packet.time)
        elif packet.channel:
            channel, unit = str(packet.channel), f"{packet.channel}#{packet.type}"
            self.spike(packet.time, *([unit] if packet.type == NOISE_UNIT else [channel, unit]))
        else:
            self.heard(packet.time)

    def _compare(self, monitor: Packet) -> None:
        """Packets sent and received since the last monitor; a difference may still even out."""
        if monitor.time < self._monitored or self._monitored_epoch != self.recording.epoch:
            self._n_packets, self._n_lost, self._gap = None, 0, None
        n_sent, count = struct.unpack_from("<II", monitor.payload.ljust(8, b"\0"))
        if self._n_packets is not None:
            is_next = len(monitor.payload) < 8 or count == self._count + 1
            self._n_lost += n_sent - self._n_packets if is_next else 1
            self._report(monitor.time)
        self._n_packets, self._count, self._monitored = 0, count, monitor.time
        self._monitored_epoch = self.recording.epoch

    def _report(self, now: int) -> None:
        if self._gap is not None and now > self._gap.last + self.recording.wait_ticks:
            self._gap, self._n_lost = None, 0
        elif self._n_lost > 0 and self._gap is None:
            first = min(self._monitored, now) - self.recording.wait_ticks
            self._gap = self.recording.gap("message_gap", first, now + self.recording.wait_ticks)
        elif self._n_lost <= 0 and self._gap is not None:
            self.recording.filled(self._gap)
            self._gap = None
