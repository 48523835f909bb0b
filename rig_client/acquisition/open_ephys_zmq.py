"""Open Ephys, ZMQ Interface: data, spikes and TTL events over ZeroMQ, all messages numbered.

Frames: `DATA\\0` or `EVENT\\0`; JSON; for most, binary data. Whoever listens says so every two
seconds on a second port.

The GUI works a block of samples at a time. The plug-in sends a block's events and spikes, electrode by
electrode, then its data. So once a block's data have come, nothing can come of the blocks before, but
for a spike that was cut by the block's end.
"""

from __future__ import annotations

import json
import struct
import time
import uuid
from collections.abc import Hashable
from typing import Any, NamedTuple

import zmq
from pydantic import Field

from protocols.interfaces import SessionInfo
from protocols.spike_times import ticks_after
from rig_client.acquisition.event_channels import EventChannel
from rig_client.acquisition.line_words import LineSettings, LineStream
from rig_client.acquisition.message_numbers import MessageNumbers
from rig_client.acquisition.one_sender import OneSender
from rig_client.acquisition.order import Order
from rig_client.acquisition.stream import Misfit
from rig_client.acquisition.subscriber import Subscriber, decoded_or_lost

DATA_FRAME, EVENT_FRAME = b"DATA\0", b"EVENT\0"
TTL_EVENT = 3
HEARTBEAT_S = 2.0
OVERFLOW, OVERFLOW_S = 210, 0.007
"""A spike near a block's end is found in the next one: 200 samples at any rate, and some more."""
Message = list[bytes]


class Data(NamedTuple):
    """Samples of one channel, from `sample` on; what they are does not matter here."""

    number: int
    stream: str
    sample: int
    n_samples: int


class Ttl(NamedTuple):
    """A line went up or down; `word` is what all lines are from then on."""

    number: int
    stream: str
    sample: int
    line: int
    state: bool
    word: int
    node: int = 100


class Spike(NamedTuple):
    """A spike on an electrode; `unit` is 0 if it was not sorted."""

    number: int
    stream: str
    sample: int
    electrode: str
    unit: int
    node: int = 100


class Other(NamedTuple):
    """A message that only counts."""

    number: int


def encoded(event: Data | Ttl | Spike) -> Message:
    """As Open Ephys sends it."""
    head: dict[str, Any] = {"message_num": event.number, "timestamp": 0}
    if isinstance(event, Data):
        content = {"stream": event.stream, "channel_num": 0, "sample_num": event.sample}
        content |= {"num_samples": event.n_samples, "sample_rate": 30000}
        binary = bytes(4 * event.n_samples)
        head |= {"type": "data", "content": content, "data_size": len(binary)}
        return [DATA_FRAME, json.dumps(head).encode(), binary]
    if isinstance(event, Ttl):
        content = {"stream": event.stream, "source_node": event.node, "type": TTL_EVENT}
        content |= {"sample_num": event.sample}
        binary = struct.pack("<BBQ", event.line, event.state, event.word)
        head |= {"type": "event", "content": content, "data_size": len(binary)}
        return [EVENT_FRAME, json.dumps(head).encode(), binary]
    spike = {"stream": event.stream, "source_node": event.node, "electrode": event.electrode}
    spike |= {"sample_num": event.sample, "num_channels": 1, "num_samples": 4}
    spike |= {"sorted_id": event.unit, "threshold": [-50.0]}
    head |= {"type": "spike", "spike": spike}
    return [EVENT_FRAME, json.dumps(head).encode(), bytes(16)]


def decoded(message: Message) -> Data | Ttl | Spike | Other:
    """What it says.

    Raises:
        ValueError, KeyError, TypeError, IndexError, struct.error: If it is none of Open Ephys.
    """
    if message[0].rstrip(b"\0") not in (b"DATA", b"EVENT"):
        raise ValueError("neither DATA nor EVENT")
    head = json.loads(message[1].rstrip(b"\0"))
    number = int(head["message_num"])
    if head["type"] == "spike":
        spike = head["spike"]
        electrode, unit = str(spike["electrode"]), int(spike.get("sorted_id", 0))
        node = int(spike.get("source_node", 0))
        return Spike(number, str(spike["stream"]), int(spike["sample_num"]), electrode, unit, node)
    content = head.get("content", {})
    if head["type"] == "data":
        start, n_samples = int(content["sample_num"]), int(content["num_samples"])
        return Data(number, str(content["stream"]), start, n_samples)
    if head["type"] == "event" and content.get("type") == TTL_EVENT:
        line, state, word = struct.unpack("<BBQ", message[2][:10])
        sample = int(content["sample_num"])
        node = int(content.get("source_node", 0))
        return Ttl(number, str(content["stream"]), sample, line, bool(state), word, node)
    return Other(number)


class OpenEphysZmqSettings(LineSettings):
    """Settings of Open Ephys's ZMQ Interface.

    Attributes:
        address: Where it publishes.
        heartbeat_address: Where it answers heartbeats; empty: none are sent.
        stream: Which data stream to listen to; may be empty if it is the only one.
        word_channel: The number of the source node whose lines carry the words. Empty: it is found,
            by the words that were sent.
    """

    address: str = Field(default="tcp://127.0.0.1:5556", pattern="^tcp://")
    heartbeat_address: str = Field(default="tcp://127.0.0.1:5557", pattern="^(tcp://|$)")
    stream: str = ""
    word_channel: str = Field(default="", pattern="^[0-9]*$")


class OpenEphysZmq(LineStream):
    """Counts what Open Ephys's ZMQ Interface sends; lost messages are found by their numbers.

    A site is an electrode (`"Electrode 1"`), or one of its sorted units (`"Electrode 1#2"`); of two
    detectors with the same names, `"101/Electrode 1"` is the electrode of node 101. At least one
    channel must be sent: its data say that the stream goes on, and that no samples are missing.
    """

    Settings = OpenEphysZmqSettings

    def __init__(self, settings: OpenEphysZmqSettings, session: SessionInfo) -> None:  # noqa: ARG002
        sources = settings.sources('["Electrode 1", "Electrode 2#1"]')
        super().__init__(
            settings,
            sources=sources,
            quiet_ms=None,
            where=settings.address,
        )
        self._settings = settings
        self._stream = settings.stream
        self._subscriber: Subscriber | None = None
        self._heart: Heart | None = None
        self._numbers = MessageNumbers(self.recording)
        self._order = Order(settings.sample_rate_hz)
        self._one_sender = OneSender(sources.values())
        self._overflow = max(OVERFLOW, ticks_after(OVERFLOW_S, settings.sample_rate_hz))
        self._block: Data | None = None
        self.start()

    def _open(self) -> None:
        self._subscriber = Subscriber(self._settings.address)
        if self._settings.heartbeat_address:
            self._heart = Heart(self._settings.heartbeat_address)
        self._numbers.clear()
        self._order.clear()
        self._block = None
        self._stream = self._settings.stream

    def _read(self, timeout_s: float) -> bool:
        if self._heart is not None:
            self._heart.beat()
        messages = self._subscriber.receive(timeout_s) if self._subscriber else []
        for message in messages:
            self._take(understood(message))
        return bool(messages)

    def _shut(self) -> None:
        for part in (self._subscriber, self._heart):
            if part is not None:
                part.close()
        self._subscriber = self._heart = None

    def _take(self, event: Data | Ttl | Spike | Other) -> None:
        latest = self.recording.latest
        sample = latest if isinstance(event, Other) else event.sample
        if sample is not None:
            self._numbers.came(event.number, sample, latest)
        if isinstance(event, Other) or not self._is_ours(event.stream):
            return
        if isinstance(event, Data):
            if self._block is not None and event.sample == self._block.sample:
                return  # another channel's data of the same block
            self._keep_order("data", event.sample)
            self._notice_skipped(event)
            self.heard(event.sample)
            self.complete(event.sample - self._overflow)
        elif isinstance(event, Ttl):
            self._keep_order((event.node, event.line), event.sample)
            channel = EventChannel(event.node)
            wanted = self._settings.word_channel
            if wanted and not channel.is_called(wanted):
                self.n_changes[channel] += 1
            else:
                self.port(event.word, event.sample, channel)
        else:
            self._keep_order((event.node, event.electrode), event.sample)
            names = self._one_sender.names(event.electrode, event.unit, event.node)
            self.spike(event.sample, *names)

    def _notice_skipped(self, block: Data) -> None:
        """Blocks follow each other, unless the source has lost samples: then nothing was detected."""
        before, self._block = self._block, block
        if before is None or block.sample <= before.sample + before.n_samples:
            return
        first = before.sample + before.n_samples - self._overflow
        self.recording.gap("message_gap", first, block.sample + self._overflow)

    def _keep_order(self, source: Hashable, sample: int) -> None:
        if not self._order.is_kept(source, sample):
            self.recording.restarted()

    def _is_ours(self, stream: str) -> bool:
        self._stream = self._stream or stream
        if stream == self._stream:
            return True
        if self._settings.stream:
            return False
        raise Misfit(
            f"streams {self._stream!r} and {stream!r} have clocks of their own; set stream"
        )


class Heart:
    """Says every two seconds that somebody listens."""

    def __init__(self, address: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(address)
        self._id = str(uuid.uuid4())
        self._last_s = float("-inf")

    def beat(self) -> None:
        """Send a heartbeat if one is due; answers are read and forgotten."""
        now_s = time.perf_counter()
        if now_s < self._last_s + HEARTBEAT_S:
            return
        self._last_s = now_s
        message = {"application": "stimloop", "uuid": self._id, "type": "heartbeat"}
        while self._socket.poll(0):
            self._socket.recv_multipart()
        if self._socket.poll(0, zmq.POLLOUT):
            self._socket.send_multipart([b"", json.dumps(message).encode()])

    def close(self) -> None:
        """Release everything."""
        self._socket.close(0)
        self._context.term()


def understood(message: Message) -> Data | Ttl | Spike | Other:
    """As `decoded`.

    Raises:
        Misfit: If whoever speaks there is no ZMQ Interface; it says who it may be.
    """
    return decoded_or_lost(decoded, message, "ZMQ Interface", _who)


def _who(message: Message) -> str:
    if len(message[0]) == 2:
        return "it is an Event Broadcaster: use acquisition open_ephys_events, or another port"
    if message[0].rstrip(b"\0") in (b"DATA", b"EVENT"):
        return f"needed is the plug-in's version 0.3 or later: update it (got {message[1:2]!r:.80})"
    return f"got {message!r:.80}"
