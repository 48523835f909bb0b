"""Open Ephys, Event Broadcaster: spikes and TTL events as JSON over ZeroMQ.

A message has two frames: a number (0: TTL, 1: spike; uint16, little-endian) and JSON. The GUI sends a
block of samples at a time (23 ms by default, up to 136): within it electrode by electrode, and lines
after the spikes. Messages have no numbers: one that is lost cannot be noticed.
"""

from __future__ import annotations

import json
import struct
import time
from typing import Any, NamedTuple

from pydantic import Field

from protocols.errors import SettingsError
from protocols.interfaces import SessionInfo
from rig_client.acquisition.alignment import Alignment
from rig_client.acquisition.event_channels import EventChannel
from rig_client.acquisition.line_words import LineSettings, LineStream
from rig_client.acquisition.one_sender import OneSender
from rig_client.acquisition.order import Order
from rig_client.acquisition.stream import Misfit
from rig_client.acquisition.subscriber import Subscriber, decoded_or_lost
from rig_client.acquisition.survey import Survey

TTL, SPIKE = 0, 1
Message = list[bytes]


class Ttl(NamedTuple):
    """A line of an event channel went up or down."""

    stream: str
    sample_rate_hz: float
    sample: int
    line: int
    state: bool
    channel: EventChannel = EventChannel(100, "TTL")


class Spike(NamedTuple):
    """A spike on an electrode; `unit` is 0 if it was not sorted."""

    stream: str
    sample_rate_hz: float
    sample: int
    electrode: str
    unit: int
    node: int = 100


def encoded(event: Ttl | Spike) -> Message:
    """As Open Ephys sends it."""
    content: dict[str, Any] = {
        "stream": event.stream,
        "source_node": event.channel.node if isinstance(event, Ttl) else event.node,
        "sample_rate": event.sample_rate_hz,
    }
    if isinstance(event, Ttl):
        kind = TTL
        content = {"event_type": "ttl", **content, "channel_name": event.channel.name}
        content |= {"sample_number": event.sample, "line": event.line, "state": event.state}
    else:
        kind = SPIKE
        content = {"event_type": "spike", **content, "electrode": event.electrode}
        content |= {"num_channels": 1, "sample_number": event.sample}
        content |= {"sorted_id": event.unit, "amp1": -60.0}
    return [struct.pack("<H", kind), json.dumps(content).encode()]


def decoded(message: Message) -> Ttl | Spike | None:
    """What it says; None if it is of another kind.

    Raises:
        ValueError, KeyError, TypeError, struct.error: If it is none of Open Ephys.
    """
    if len(message[0]) != 2:
        raise ValueError("the first frame is not of two bytes")
    (kind,) = struct.unpack("<H", message[0])
    if kind not in (TTL, SPIKE):
        return None
    content = json.loads(message[1].rstrip(b"\0"))
    common = (
        str(content["stream"]),
        float(content["sample_rate"]),
        int(content["sample_number"]),
    )
    node = int(content.get("source_node", 0))
    if kind == TTL:
        channel = EventChannel(node, str(content.get("channel_name", "")))
        return Ttl(*common, int(content["line"]), bool(content["state"]), channel)
    return Spike(*common, str(content["electrode"]), int(content.get("sorted_id", 0)), node)


class OpenEphysEventsSettings(LineSettings):
    """Settings of Open Ephys's Event Broadcaster.

    Attributes:
        address: The broadcaster.
        stream: Which data stream has the spikes; may be empty if only one has events.
        word_channel: Which event channel carries the words: its name, or the number of its source
            node. Empty: it is found, by the words that were sent.
        word_stream: Which data stream carries the words; empty: the same.
        sync_line: With `word_stream`: the line on it that carries the sync pulses.
        spike_sync_line: The line on the spikes' stream that carries the same pulses.
        quiet_ms: How long after a window's end silence means that there were no spikes, at least.
    """

    address: str = Field(default="tcp://127.0.0.1:5557", pattern="^tcp://")
    stream: str = ""
    word_channel: str = ""
    word_stream: str = ""
    sync_line: int | None = Field(default=None, ge=0, le=255)
    spike_sync_line: int = Field(default=0, ge=0, le=255)
    quiet_ms: float = Field(default=250, ge=0, le=60_000)


class OpenEphysEvents(LineStream):
    """Counts what Open Ephys's Event Broadcaster sends.

    A site is an electrode (`"Electrode 1"`), or one of its sorted units (`"Electrode 1#2"`); of two
    detectors with the same names, `"101/Electrode 1"` is the electrode of node 101.
    """

    Settings = OpenEphysEventsSettings
    limits = (
        "its messages have no numbers: a spike that is lost on the way cannot be noticed, and, where "
        "few units fire, neither can a moment in which acquisition was off"
    )

    def __init__(self, settings: OpenEphysEventsSettings, session: SessionInfo) -> None:  # noqa: ARG002
        check_two_streams(settings)
        sources = settings.sources('["Electrode 1", "Electrode 2#1"]')
        super().__init__(
            settings,
            sources=sources,
            quiet_ms=settings.quiet_ms,
            where=settings.address,
        )
        self._settings = settings
        self._stream = settings.stream
        self._subscriber: Subscriber | None = None
        self._order = Order(settings.sample_rate_hz)
        self._one_sender = OneSender(sources.values())
        self._alignment: Alignment | None = None
        if settings.word_stream and settings.word_stream != settings.stream:
            self._alignment = Alignment(settings.sample_rate_hz)
        self.start()

    def trouble(self) -> str:
        """As of all recorders; with words on another stream, whether the streams are aligned."""
        trouble = super().trouble()
        if trouble or self._alignment is None or self._alignment.is_known:
            return trouble
        ours = self._settings
        return (
            f"streams {ours.word_stream!r} and {ours.stream!r} are not aligned: "
            f"{self._alignment.text()}; sync pulses of 5 ms or more must be on lines "
            f"{ours.sync_line} and {ours.spike_sync_line}"
        )

    def notes(self) -> tuple[str, ...]:
        """Those of all recorders, and how the streams are aligned."""
        more = self._alignment.notes() if self._alignment is not None else ()
        return (*super().notes(), *more)

    def survey(self) -> Survey:
        """What the stream has brought so far, and how the words' stream is aligned to it."""
        aligned = "" if self._alignment is None else self._alignment.text()
        return super().survey()._replace(alignment=aligned)

    def _open(self) -> None:
        self._subscriber = Subscriber(self._settings.address)
        self._stream = self._settings.stream
        self._order.clear()

    def _read(self, timeout_s: float) -> bool:
        messages = self._subscriber.receive(timeout_s) if self._subscriber else []
        for message in messages:
            if (event := understood(message)) is not None:
                self._take(event)
        return bool(messages)

    def _shut(self) -> None:
        if self._subscriber is not None:
            self._subscriber.close()
            self._subscriber = None

    def _take(self, event: Ttl | Spike) -> None:
        if isinstance(event, Ttl) and self._alignment is not None:
            self._take_aligned(event, self._alignment)
        elif not self._is_ours(event):
            return
        elif isinstance(event, Ttl):
            if not self._order.is_kept((event.channel, event.line), event.sample):
                self.recording.restarted()
            self._change(event, event.sample)
        else:
            if not self._order.is_kept((event.node, event.electrode), event.sample):
                self.recording.restarted()
            names = self._one_sender.names(event.electrode, event.unit, event.node)
            self.spike(event.sample, *names)

    def _take_aligned(self, event: Ttl, alignment: Alignment) -> None:
        ours = self._settings
        rate_hz = event.sample_rate_hz
        if event.stream == ours.stream and event.line == ours.spike_sync_line:
            if event.state and self._is_ours(event):
                alignment.edge("spikes", event.sample, rate_hz, time.perf_counter())
        elif event.stream == ours.word_stream and event.line == ours.sync_line:
            if event.state:
                alignment.edge("words", event.sample, rate_hz, time.perf_counter())
        elif event.stream == ours.word_stream:
            sample = alignment.spikes_sample(event.sample, rate_hz)
            if sample is not None:
                self._change(event, sample)

    def _change(self, event: Ttl, sample: int) -> None:
        wanted = self._settings.word_channel
        if not wanted or event.channel.is_called(wanted):
            self.line(event.line, event.state, sample, event.channel)
        else:
            self.n_changes[event.channel] += 1

    def _is_ours(self, event: Ttl | Spike) -> bool:
        ours = self._settings
        if ours.stream and event.stream != ours.stream:
            return False
        self._stream = self._stream or event.stream
        if event.stream != self._stream:
            raise Misfit(
                f"streams {self._stream!r} and {event.stream!r} have clocks of their own: set stream "
                "to that of the spikes, and word_stream if the words come on another"
            )
        if event.sample_rate_hz != ours.sample_rate_hz:
            raise Misfit(
                f"stream {event.stream!r} has {event.sample_rate_hz:g} samples/s; "
                f"set sample_rate_hz (now {ours.sample_rate_hz:g}) or stream"
            )
        return True


def check_two_streams(settings: OpenEphysEventsSettings) -> None:
    """Words on another stream need its name, that of the spikes' stream, and a line of pulses.

    Raises:
        SettingsError: If something is missing, or does not fit.
    """
    if not settings.word_stream or settings.word_stream == settings.stream:
        return
    carried = {*settings.word_lines, settings.strobe_line}
    if not settings.stream or settings.sync_line is None or settings.sync_line in carried:
        raise SettingsError(
            "words on another stream than the spikes need a line of sync pulses that both streams see",
            where="rig.toml, [acquisition.options]",
            expected='stream = "ProbeA", word_stream = "NI-DAQ", sync_line = 8, spike_sync_line = 0',
            got=f"stream = {settings.stream!r}, sync_line = {settings.sync_line}",
            remedy="give the spikes' stream, and a line of word_stream that carries no word",
        )


def understood(message: Message) -> Ttl | Spike | None:
    """As `decoded`.

    Raises:
        Misfit: If whoever speaks there is no Event Broadcaster; it says who it may be.
    """
    return decoded_or_lost(decoded, message, "Event Broadcaster", _who)


def _who(message: Message) -> str:
    if message[0].rstrip(b"\0") in (b"DATA", b"EVENT"):
        return "it is a ZMQ Interface: use acquisition open_ephys_zmq, or the broadcaster's port"
    if len(message[0]) == 2 and len(message) > 1 and not message[1].lstrip().startswith(b"{"):
        return "its format is Raw Binary: choose JSON in the plug-in's editor"
    return (
        "needed is the plug-in's version 0.2 or later, with the format JSON: choose JSON, update it"
    )
