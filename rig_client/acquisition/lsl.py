"""Lab Streaming Layer: a stream of spikes and a stream of trial words, both of events.

A sample of the stream of spikes names what fired, by a text, a whole number, or a number of another
format ("3.0" is unit 3); one of the stream of words is the word. Each carries LSL's time in seconds.
Streams of one computer have one clock, and their times are taken as they are; those of several are
brought to this computer's clock by LSL.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from protocols.interfaces import SessionInfo
from protocols.spike_times import ticks_after
from rig_client.acquisition.stream import RecorderSettings, StreamAcquisition, StreamLost
from rig_client.installed import imported

RATE_HZ = 1e9
"""Times are kept in whole nanoseconds."""
RESOLVE_S = 0.9
CHUNK = 1024


class LslSettings(RecorderSettings):
    """Which streams, and what silence means.

    Attributes:
        spikes: Name of the stream of spikes.
        words: Name of the stream of trial words: that of the trigger `lsl_markers`, or another.
        quiet_ms: How long after a window's end silence means that there were no spikes.
    """

    spikes: str = Field(default="spikes", min_length=1)
    words: str = Field(default="stimloop words", min_length=1)
    quiet_ms: float = Field(default=250, ge=0, le=60_000)


class LslAcquisition(StreamAcquisition):
    """Counts samples of the stream of spikes."""

    Settings = LslSettings

    def __init__(self, settings: LslSettings, session: SessionInfo) -> None:  # noqa: ARG002
        self._lsl = imported("pylsl", needed_by="LSL", install="pip install 'stimloop[lsl]'")
        self._settings = settings
        self._inlets: list[Any] = []
        super().__init__(
            settings,
            sources=settings.sources('["unit 1", "unit 2"]'),
            rate_hz=RATE_HZ,
            quiet_ms=settings.quiet_ms,
            where=f"LSL streams {settings.spikes!r} and {settings.words!r}",
        )
        self.start()

    def _open(self) -> None:
        infos = [self._found(name) for name in (self._settings.words, self._settings.spikes)]
        one_clock = infos[0].hostname() == infos[1].hostname()
        flags = 0 if one_clock else self._lsl.proc_clocksync
        try:
            for info in infos:
                inlet = self._lsl.StreamInlet(info, recover=False, processing_flags=flags)
                self._inlets.append(inlet)
                inlet.open_stream(RESOLVE_S)
        except (self._lsl.util.LostError, self._lsl.util.TimeoutError) as error:
            raise StreamLost(f"LSL: {error}") from error

    def _read(self, timeout_s: float) -> bool:
        words, spikes = self._inlets
        try:
            new_words, new_spikes = self._pulled(words), self._pulled(spikes)
            if not new_words and not new_spikes:
                value, time_s = spikes.pull_sample(timeout_s)
                new_spikes = [] if value is None else [(value[0], time_s)]
        except self._lsl.util.LostError as error:
            raise StreamLost("the stream has ended") from error
        for value, time_s in new_words:
            if word := _number(value):
                self.recording.word(word, ticks_after(time_s, RATE_HZ))
        for value, time_s in new_spikes:
            self.spike(ticks_after(time_s, RATE_HZ), str(value))
        return bool(new_words or new_spikes)

    def _shut(self) -> None:
        for inlet in self._inlets:
            inlet.close_stream()
        self._inlets.clear()

    def _pulled(self, inlet: Any) -> list[tuple[Any, float]]:
        samples, times_s = inlet.pull_chunk(timeout=0.0, max_samples=CHUNK)
        return [(sample[0], time_s) for sample, time_s in zip(samples, times_s, strict=True)]

    def _found(self, name: str) -> Any:
        found = self._lsl.resolve_byprop("name", name, 1, RESOLVE_S)
        if not found:
            raise StreamLost(f"no stream {name!r} on the network")
        if len({info.uid() for info in found}) > 1:
            raise StreamLost(f"several streams are named {name!r}")
        return found[0]


def _number(value: Any) -> int:
    """The word; 0 for what is none, such as other markers in the same stream."""
    try:
        number = float(value)
        return max(0, int(number)) if number.is_integer() else 0
    except (ValueError, OverflowError):
        return 0
