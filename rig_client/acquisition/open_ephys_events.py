"""Open Ephys, Event Broadcaster: spikes and TTL events as JSON over ZeroMQ.

A message has two frames: a number (0: TTL, 1: spike; uint16, little-endian) and JSON.
"""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

from pydantic import Field

from protocols.interfaces import SessionInfo
from rig_client.acquisition.line_words import LineSettings, LineStream
from rig_client.acquisition.stream import StreamLost
from rig_client.acquisition.subscriber import Subscriber, decoded_or_lost

TTL, SPIKE = 0, 1
Message = list[bytes]


class Ttl(NamedTuple):
    """A line went up or down."""

    stream: str
    sample_rate_hz: float
    sample: int
    line: int
    state: bool


class Spike(NamedTuple):
    """A spike on an electrode; `unit` is 0 if it was not sorted."""

    stream: str
    sample_rate_hz: float
    sample: int
    electrode: str
    unit: int


def encoded(event: Ttl | Spike) -> Message:
    """As Open Ephys sends it."""
    content: dict[str, Any] = {
        "stream": event.stream,
        "source_node": 100,
        "sample_rate": event.sample_rate_hz,
        "sample_number": event.sample,
    }
    if isinstance(event, Ttl):
        kind, channel = TTL, "TTL"
        content = {"event_type": "ttl", "channel_name": channel, **content}
        content |= {"line": event.line, "state": event.state}
    else:
        kind = SPIKE
        content = {"event_type": "spike", "electrode": event.electrode, **content}
        content |= {"num_channels": 1, "sorted_id": event.unit, "amp1": -60.0}
    return [struct.pack("<H", kind), json.dumps(content).encode()]


def decoded(message: Message) -> Ttl | Spike | None:
    """What it says; None if it is of another kind.

    Raises:
        ValueError, KeyError, TypeError, struct.error: If it is none of Open Ephys.
    """
    (kind,) = struct.unpack("<H", message[0])
    if kind not in (TTL, SPIKE):
        return None
    content = json.loads(message[1].rstrip(b"\0"))
    common = (
        str(content["stream"]),
        float(content["sample_rate"]),
        int(content["sample_number"]),
    )
    if kind == TTL:
        return Ttl(*common, int(content["line"]), bool(content["state"]))
    return Spike(*common, str(content["electrode"]), int(content.get("sorted_id", 0)))


class OpenEphysEventsSettings(LineSettings):
    """Settings of Open Ephys's Event Broadcaster.

    Attributes:
        address: The broadcaster.
        stream: Which data stream to listen to; may be empty if only one has events.
        quiet_ms: How long after a window's end silence means that there were no spikes.
    """

    address: str = Field(default="tcp://127.0.0.1:5557", pattern="^tcp://")
    stream: str = ""
    quiet_ms: float = Field(default=250, ge=0, le=60_000)


class OpenEphysEvents(LineStream):
    """Counts what Open Ephys's Event Broadcaster sends.

    A site is an electrode (`"Electrode 1"`), or one of its sorted units (`"Electrode 1#2"`).
    """

    Settings = OpenEphysEventsSettings

    def __init__(self, settings: OpenEphysEventsSettings, session: SessionInfo) -> None:  # noqa: ARG002
        super().__init__(
            settings,
            sources=settings.sources('["Electrode 1", "Electrode 2#1"]'),
            quiet_ms=settings.quiet_ms,
            where=settings.address,
        )
        self._settings = settings
        self._stream = settings.stream
        self._subscriber: Subscriber | None = None
        self.start()

    def _open(self) -> None:
        self._subscriber = Subscriber(self._settings.address)
        self._stream = self._settings.stream

    def _read(self, timeout_s: float) -> bool:
        messages = self._subscriber.receive(timeout_s) if self._subscriber else []
        for message in messages:
            if (event := understood(message)) is not None and self._is_ours(event):
                self._take(event)
        return bool(messages)

    def _shut(self) -> None:
        if self._subscriber is not None:
            self._subscriber.close()
            self._subscriber = None

    def _take(self, event: Ttl | Spike) -> None:
        if isinstance(event, Ttl):
            self.line(event.line, event.state, event.sample)
        else:
            unit = f"{event.electrode}#{event.unit}"
            self.spike(event.sample, event.electrode, unit)

    def _is_ours(self, event: Ttl | Spike) -> bool:
        ours = self._settings
        if ours.stream and event.stream != ours.stream:
            return False
        self._stream = self._stream or event.stream
        if event.stream != self._stream:
            raise StreamLost(
                f"streams {self._stream!r} and {event.stream!r} have clocks of their own; set stream"
            )
        if event.sample_rate_hz != ours.sample_rate_hz:
            raise StreamLost(
                f"stream {event.stream!r} has {event.sample_rate_hz:g} samples/s; "
                f"set sample_rate_hz (now {ours.sample_rate_hz:g}) or stream"
            )
        return True


def understood(message: Message) -> Ttl | Spike | None:
    """As `decoded`.

    Raises:
        StreamLost: If whoever speaks there is no Event Broadcaster.
    """
    return decoded_or_lost(decoded, message, "Event Broadcaster")
