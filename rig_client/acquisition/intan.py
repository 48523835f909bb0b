"""Intan RHX over TCP: spikes from its spike port, trial words from its waveform port.

The spike port carries no digital words. The waveform port does: with one digital input enabled and
nothing else, each of a block's 128 frames is a timestamp and the 16-bit digital-in word.
"""

from __future__ import annotations

import re
import selectors
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.interfaces import SessionInfo
from rig_client.acquisition.line_words import LineSettings, LineStream
from rig_client.acquisition.stream import StreamLost

SPIKE_MAGIC, WAVEFORM_MAGIC = 0x3AE2710F, 0x2EF07A08
SPIKE = struct.Struct("<I5sIB")
ARTEFACT = 0x80
N_FRAMES = 128
FRAME = np.dtype([("timestamp", "<u4"), ("word", "<u2")])
BLOCK_BYTES = 4 + N_FRAMES * FRAME.itemsize
CONNECT_S = 1.0
CHUNK_BYTES = 1 << 16


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

    Segments may split them anywhere. Where the magic number is not in its place, the stream is
    searched for the next one.
    """

    def __init__(self, magic: int, size_bytes: int) -> None:
        self._magic = struct.pack("<I", magic)
        self._size = size_bytes
        self._buffer = bytearray()
        self.n_skipped = 0

    def feed(self, received: bytes) -> Iterator[bytes]:
        """The packets that are complete now; `n_skipped` counts bytes that belonged to none."""
        self._buffer += received
        while len(self._buffer) >= self._size:
            if self._buffer.startswith(self._magic):
                packet = bytes(self._buffer[: self._size])
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


class IntanSettings(LineSettings):
    """Settings of Intan RHX.

    Attributes:
        host: The computer on which RHX runs.
        command_port: Of its remote TCP control.
        waveform_port: Of its waveform output, which carries the digital words.
        spike_port: Of its spike output.
        digital_in: The digital input to enable, as RHX names it; any one brings the whole word.
        configure: Unless RHX runs, enable what is needed and start it; false: done by hand.
    """

    host: str = "127.0.0.1"
    command_port: int = Field(default=5000, ge=1, le=65535)
    waveform_port: int = Field(default=5001, ge=1, le=65535)
    spike_port: int = Field(default=5002, ge=1, le=65535)
    digital_in: str = "digital-in-01"
    configure: bool = True


class Intan(LineStream):
    """Counts what RHX detects. A site is a channel by its native name, `"A-010"`.

    Spikes that RHX takes for artefacts are left out.
    """

    Settings = IntanSettings
    spikes_say_time = False

    def __init__(self, settings: IntanSettings, session: SessionInfo) -> None:  # noqa: ARG002
        sources = settings.sources('["A-010", "A-011"]')
        self._channels = tuple(sources.values())
        super().__init__(
            settings,
            sources=sources,
            quiet_ms=None,
            where=f"{settings.host}:{settings.command_port}",
        )
        self._settings = settings
        self._selector: selectors.DefaultSelector | None = None
        self.start()

    def _open(self) -> None:
        self._spikes = Packets(SPIKE_MAGIC, SPIKE.size)
        self._blocks = Packets(WAVEFORM_MAGIC, BLOCK_BYTES)
        self._sample_of = Unwrapped()
        self._word: int | None = None
        self._n_skipped = 0
        self._selector = selectors.DefaultSelector()
        settings = self._settings
        self._connected(settings.waveform_port, "waveform")
        self._connected(settings.spike_port, "spike")
        if settings.configure:
            self._command = self._connected(settings.command_port, "command")
            self._command.sendall(b"get sampleratehertz;")

    def _orders(self) -> str:
        channels = sorted({source.partition("#")[0].lower() for source in self._channels})
        orders = ["execute clearalldataoutputs"]
        orders += [f"set {channel}.tcpdataoutputenabledspike true" for channel in channels]
        orders += [f"set {self._settings.digital_in}.tcpdataoutputenabled true", "set runmode run"]
        return ";".join(orders) + ";"

    def _connected(self, port: int, what: str) -> socket.socket:
        try:
            connection = socket.create_connection((self._settings.host, port), CONNECT_S)
        except OSError as error:
            raise StreamLost(f"RHX does not answer on its {what} port {port}: {error}") from None
        connection.setblocking(False)
        if self._selector is not None:
            self._selector.register(connection, selectors.EVENT_READ, what)
        return connection

    def _read(self, timeout_s: float) -> bool:
        heard = False
        for key, _ in self._selector.select(timeout_s) if self._selector else ():
            received = key.fileobj.recv(CHUNK_BYTES)  # type: ignore[union-attr]
            if not received:
                raise StreamLost(f"RHX has closed its {key.data} port")
            heard |= key.data != "command"
            if key.data == "spike":
                for packet in self._spikes.feed(received):
                    self._take_spike(decoded_spike(packet))
            elif key.data == "waveform":
                for packet in self._blocks.feed(received):
                    self._take_block(decoded_block(packet))
            else:
                self._answered(received.decode("ascii", "replace"))
        self._notice_skipped()
        return heard

    def _shut(self) -> None:
        if self._selector is not None:
            for key in list(self._selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
            self._selector.close()
            self._selector = None

    def _take_spike(self, spike: Spike) -> None:
        if spike.unit != ARTEFACT:
            self.spike(self._sample_of(spike.timestamp), spike.channel)

    def _take_block(self, frames: NDArray[np.void]) -> None:
        words = frames["word"].astype(int)
        before = words[:1] if self._word is None else np.array([self._word])
        for place in np.flatnonzero(np.diff(words, prepend=before)):
            self.port(int(words[place]), self._sample_of(int(frames["timestamp"][place])))
        self._word = int(words[-1])
        self.heard(self._sample_of(int(frames["timestamp"][-1])))

    def _notice_skipped(self) -> None:
        n_skipped = self._spikes.n_skipped + self._blocks.n_skipped
        if n_skipped > self._n_skipped and (latest := self.recording.latest) is not None:
            slack = self.recording.wait_ticks
            self.recording.gap("message_gap", latest - slack, latest + slack)
        self._n_skipped = n_skipped

    def _answered(self, answer: str) -> None:
        """RHX is silent on what is well, and answers what it is asked. A run is not disturbed."""
        if rate := re.search(r"SampleRateHertz (\d+)", answer):
            if float(rate[1]) != self._settings.sample_rate_hz:
                raise StreamLost(f"RHX has {rate[1]} samples/s; set sample_rate_hz to that")
            self._command.sendall(b"get runmode;")
        elif mode := re.search(r"RunMode (\w+)", answer):
            if mode[1].lower() == "stop":
                self._command.sendall(self._orders().encode("ascii"))
        else:
            raise StreamLost(f"RHX answers {answer!r:.200}")
