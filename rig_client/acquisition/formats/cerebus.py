"""Blackrock's packets in UDP datagrams, several in one, by three versions of its protocol.

A packet is a header and a payload of 32-bit words, little-endian. Headers, and what is different
besides, from CereLink's protocol_detector.cpp, packet_translator.cpp and types.h:

| protocol | header | bytes | time | digital input |
|---|---|---|---|---|
| 3.11 | time u32, channel u16, type u8, length u8 | 8 | 1/30000 s | channel 151 |
| 4.0 | time u64, channel u16, type u8, length u16, instrument u8, reserved u16 | 16 | see below | 279 |
| 4.1 and later | time u64, channel u16, type u16, length u16, instrument u8, reserved u8 | 16 | | 279 |

With 64 bits, time is in 1/30000 s (NSP, nPlay) or in nanoseconds (Gemini).

Spikes come from channels from 1 on; their type is the unit, 255 is noise. The digital input is a
channel as well. Channels from 0x8000 on are the system: on 0x8000, type 0 is a heartbeat, type 1 the
protocol monitor, about every 10 ms: how many packets were sent since the last one, itself included,
and from 4.1 on its own number.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

Protocol: TypeAlias = Literal["3.11", "4.0", "4.1"]
PROTOCOLS: tuple[Protocol, ...] = ("3.11", "4.0", "4.1")
SYSTEM_CHANNEL = 0x8000
HEARTBEAT, MONITOR, CHANNEL_INFO = 0, 1, 0x40
NOISE_UNIT = 255
MAX_DATAGRAM_BYTES = 1 << 16
WORD_CHANNELS = {"3.11": 151, "4.0": 279, "4.1": 279}
TICKS_HZ, NANOSECONDS_HZ = 30_000, 1_000_000_000

_MOST_WORDS = 252
"""Of a payload: a packet has 1024 bytes at most."""
_MOST_CHANNEL = 4096
_MOST_GROUP = 8
"""Packets of channel 0 are of a group of continuous channels."""
_HEADERS = {
    "3.11": struct.Struct("<IHBB"),
    "4.0": struct.Struct("<QHBHBH"),
    "4.1": struct.Struct("<QHHHBB"),
}
_LABEL_AT, _LABEL_BYTES = 168, 16


class Packet(NamedTuple):
    """One packet; `time` in the instrument's ticks."""

    time: int
    channel: int
    type: int
    payload: bytes = b""
    instrument: int = 0

    @property
    def is_of_system(self) -> bool:
        """Of the instrument itself: no spike, no sample, no word."""
        return self.channel >= SYSTEM_CHANNEL

    @property
    def is_monitor(self) -> bool:
        """The protocol monitor."""
        return self.channel == SYSTEM_CHANNEL and self.type == MONITOR


def encoded(packet: Packet, protocol: Protocol) -> bytes:
    """As the instrument sends it."""
    payload = packet.payload + bytes(-len(packet.payload) % 4)
    n_words = len(payload) // 4
    time, channel, kind, instrument = packet.time, packet.channel, packet.type, packet.instrument
    if protocol == "3.11":
        return _HEADERS["3.11"].pack(time & 0xFFFFFFFF, channel, kind, n_words) + payload
    middle = (kind, n_words, instrument, 0)
    return _HEADERS[protocol].pack(time, channel, *middle) + payload


def decoded(datagram: bytes, protocol: Protocol) -> Iterator[Packet]:
    """The packets of a datagram; what is cut off at its end is none."""
    header, place = _HEADERS[protocol], 0
    while place + header.size <= len(datagram):
        time, channel, kind, n_words, *rest = header.unpack_from(datagram, place)
        begin = place + header.size
        place = begin + 4 * n_words
        if place > len(datagram):
            return
        yield Packet(time, channel, kind, datagram[begin:place], rest[0] if rest else 0)


def fits(datagram: bytes, protocol: Protocol) -> bool:
    """Whether a datagram can be of this protocol: packets to its end, all of them possible."""
    header, place = _HEADERS[protocol], 0
    while place < len(datagram):
        if place + header.size > len(datagram):
            return False
        _, channel, kind, n_words, *rest = header.unpack_from(datagram, place)
        if n_words > _MOST_WORDS or (protocol == "4.0" and rest[1]):
            return False
        if not _is_possible(channel, kind, n_words, protocol):
            return False
        place += header.size + 4 * n_words
    return bool(datagram) and place == len(datagram)


def _is_possible(channel: int, kind: int, n_words: int, protocol: Protocol) -> bool:
    if channel == 0:
        return 1 <= kind <= _MOST_GROUP
    if channel == SYSTEM_CHANNEL and kind in (HEARTBEAT, MONITOR):
        return n_words == (0 if kind == HEARTBEAT else 2 if protocol == "4.1" else 1)
    if channel < SYSTEM_CHANNEL:
        return channel <= _MOST_CHANNEL and kind <= NOISE_UNIT and n_words > 0
    return channel < SYSTEM_CHANNEL + _MOST_CHANNEL


def label(packet: Packet) -> tuple[int, str] | None:
    """Number and name of a channel, if the packet tells of one's settings."""
    if packet.channel != SYSTEM_CHANNEL or packet.type & 0xF0 != CHANNEL_INFO:
        return None
    if len(packet.payload) < _LABEL_AT + _LABEL_BYTES:
        return None
    (channel,) = struct.unpack_from("<I", packet.payload)
    text = packet.payload[_LABEL_AT : _LABEL_AT + _LABEL_BYTES].split(b"\0")[0]
    return channel, text.decode("latin-1").strip()


class Guess:
    """Which protocol datagrams are of: the only one that all of them fit."""

    def __init__(self) -> None:
        self._possible = list(PROTOCOLS)

    def of(self, datagram: bytes) -> Protocol | None:
        """The protocol, once it is certain; None if it is not yet."""
        fitting = [one for one in PROTOCOLS if fits(datagram, one)]
        self._possible = [one for one in self._possible if one in fitting] or fitting
        if not self._possible:
            self._possible = list(PROTOCOLS)
        return self._possible[0] if len(self._possible) == 1 else None
