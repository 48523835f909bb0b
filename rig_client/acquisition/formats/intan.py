"""Intan RHX's packets: spikes, and blocks of 128 frames of timestamp and digital-in word.

From RHX 3.4.0 (tcpdataoutputthread.cpp, waveformfifo.h), and Intan's page on remote TCP control.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SPIKE_MAGIC, WAVEFORM_MAGIC = 0x3AE2710F, 0x2EF07A08
SPIKE = struct.Struct("<I5sIB")
UNIT_OF = {0x40: 0, 1: 1, 2: 2, 4: 3, 8: 4}
"""RHX's spike id → number of the unit; 0: not sorted. `ARTEFACT` is none of them."""
ARTEFACT = 0x80
NATIVE_NAME = re.compile(rb"[A-Z]-\d{3}")
IDS = {*UNIT_OF, ARTEFACT}
N_FRAMES = 128
FRAME = np.dtype([("timestamp", "<u4"), ("word", "<u2")])
BLOCK_BYTES = 4 + N_FRAMES * FRAME.itemsize


class Spike(NamedTuple):
    """A spike on a channel (`A-010`), at a 32-bit timestamp; `unit` 0x40 is not sorted."""

    channel: str
    timestamp: int
    unit: int


def encoded_spike(spike: Spike) -> bytes:
    """As RHX sends it: 14 bytes."""
    name = spike.channel.encode("ascii")
    return SPIKE.pack(SPIKE_MAGIC, name, spike.timestamp & 0xFFFFFFFF, spike.unit)


def decoded_spike(packet: bytes) -> Spike:
    """What its 14 bytes say."""
    _, name, timestamp, unit = SPIKE.unpack(packet)
    return Spike(name.decode("ascii", "replace"), timestamp, unit)


def is_spike(packet: bytes) -> bool:
    """Whether 14 bytes can be a spike: what a cut packet and the next one make together cannot."""
    return NATIVE_NAME.fullmatch(packet[4:9]) is not None and packet[13] in IDS


def encoded_block(timestamps: NDArray[np.uint32], words: NDArray[np.uint16]) -> bytes:
    """As RHX sends it: 128 frames of timestamp and digital-in word."""
    frames = np.empty(N_FRAMES, FRAME)
    frames["timestamp"], frames["word"] = timestamps, words
    return struct.pack("<I", WAVEFORM_MAGIC) + frames.tobytes()


def decoded_block(packet: bytes) -> NDArray[np.void]:
    """Its 128 frames, with `timestamp` and `word`."""
    return np.frombuffer(packet, FRAME, offset=4)


class Packets:
    """A byte stream → packets of one size that begin with a magic number.

    Segments may split them anywhere. Where the magic number is not in its place, or what follows it is
    no packet, the stream is searched for the next one.
    """

    def __init__(
        self, magic: int, size_bytes: int, is_possible: Callable[[bytes], bool] = bool
    ) -> None:
        self._magic = struct.pack("<I", magic)
        self._size, self._is_possible = size_bytes, is_possible
        self._buffer = bytearray()
        self.n_skipped = 0

    @property
    def has_part(self) -> bool:
        """Whether a part of a packet has come, and the rest has not."""
        return bool(self._buffer)

    def feed(self, received: bytes) -> Iterator[bytes]:
        """The packets that are complete now; `n_skipped` counts bytes that belonged to none."""
        self._buffer += received
        while len(self._buffer) >= self._size:
            packet = bytes(self._buffer[: self._size])
            if packet.startswith(self._magic) and self._is_possible(packet):
                del self._buffer[: self._size]
                yield packet
                continue
            found = self._buffer.find(self._magic, 1)
            n_wrong = found if found >= 0 else len(self._buffer) - 3
            self.n_skipped += n_wrong
            del self._buffer[:n_wrong]


class Unwrapped:
    """32-bit timestamps, which wrap after 39.7 h at 30 kHz → samples that go on."""

    def __init__(self) -> None:
        self._latest: int | None = None

    def __call__(self, timestamp: int) -> int:
        """The sample that has this timestamp and is nearest to the latest one."""
        if self._latest is None:
            self._latest = timestamp
            return timestamp
        ahead = (timestamp - self._latest + 2**31) % 2**32 - 2**31
        sample = self._latest + ahead
        self._latest = max(self._latest, sample) if ahead > -(2**30) else sample
        return sample


def is_whole(frames: NDArray[np.void]) -> bool:
    """Whether the frames follow each other, as those of one block do."""
    steps = np.diff(frames["timestamp"].astype(np.int64)) % 2**32
    return bool((steps == 1).all())
