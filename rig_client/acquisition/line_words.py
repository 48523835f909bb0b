"""Trial words on digital lines: a bit a line, with a strobe line or without.

Without a strobe, lines that change within `line_settle_ms` of the first one make one word, whose time
is that of the first. With one, the word is what stands on the lines when the strobe rises. Zero is no
word.
"""

from __future__ import annotations

import bisect
import time
from abc import ABC
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from pydantic import Field

from protocols.spike_times import ticks_after
from rig_client.acquisition.event_channels import EventChannel, WordChannel
from rig_client.acquisition.stream import RecorderSettings, StreamAcquisition
from rig_client.acquisition.survey import Survey
from rig_client.acquisition.words import Word

ONLY = EventChannel(0)
"""The event channel of a recorder that has one."""


class LineSettings(RecorderSettings):
    """Settings of recorders that see the trial word on digital lines.

    Attributes:
        sample_rate_hz: Of the recorder.
        word_lines: Lines that carry the word's bits, lowest first, as the recorder numbers them.
        strobe_line: The line that says when a word is to be read.
        line_settle_ms: Without a strobe: how long the lines may take to change.
    """

    sample_rate_hz: float = Field(default=30_000, gt=0, le=1e9)
    word_lines: tuple[int, ...] = Field(default=(0, 1, 2, 3, 4, 5, 6, 7), min_length=1)
    strobe_line: int | None = Field(default=None, ge=0, le=63)
    line_settle_ms: float = Field(default=1, ge=0, le=1000)


class _Change(NamedTuple):
    sample: int
    order: int
    up: int
    down: int
    heard_s: float


class LineWords:
    """Changes of lines, in any order → words.

    Args:
        lines: Lines of the word's bits, lowest first.
        strobe_line: None: without.
        settle: Samples that the lines may take to change.
    """

    def __init__(self, lines: tuple[int, ...], strobe_line: int | None, settle: int) -> None:
        self._lines = lines
        self._strobe = 0 if strobe_line is None else 1 << strobe_line
        self._settle = 0 if strobe_line is not None else settle
        self._changes: list[_Change] = []
        self._n_changes = 0
        self._state = 0

    def line(self, line: int, state: bool, sample: int, heard_s: float) -> None:
        """One line went up or down."""
        bit = 1 << line
        self._add(sample, bit if state else 0, 0 if state else bit, heard_s)

    def port(self, value: int, sample: int, heard_s: float) -> None:
        """All lines at once are `value` from `sample` on."""
        self._add(sample, value, ~value, heard_s)

    def clear(self) -> None:
        """Forget everything: the recorder began anew."""
        self._changes.clear()
        self._state = 0

    @property
    def are_waiting(self) -> bool:
        """Whether a change waits to become a word."""
        return bool(self._changes)

    @property
    def heard_s(self) -> float | None:
        """When the latest change that waits was read; None if none does."""
        return max((change.heard_s for change in self._changes), default=None)

    def until(self, sample: float) -> Iterator[Word]:
        """Words that are complete if all changes before `sample` are known."""
        while self._changes and self._changes[0].sample + self._settle < sample:
            first = self._changes[0]
            before = self._state
            end = first.sample + self._settle
            while self._changes and self._changes[0].sample <= end:
                change = self._changes.pop(0)
                self._state = (self._state | change.up) & ~change.down
            word = self._word(self._state)
            if self._strobe:
                is_new = bool(self._state & ~before & self._strobe)
            else:
                is_new = word != self._word(before)
            if is_new and word:
                yield Word(word, first.sample, first.heard_s)

    def _add(self, sample: int, up: int, down: int, heard_s: float) -> None:
        self._n_changes += 1
        bisect.insort(self._changes, _Change(sample, self._n_changes, up, down, heard_s))

    def _word(self, state: int) -> int:
        return sum((state >> line & 1) << bit for bit, line in enumerate(self._lines))


class LineStream(StreamAcquisition, ABC):
    """A `StreamAcquisition` whose words come on lines; tell it what arrives by the methods here.

    Words are passed on before anything later is, so that none is taken for missing that only waits
    for its lines to settle. Lines belong to an event channel: two channels may have the same lines.

    Attributes:
        spikes_say_time: False if spikes come by another connection than words.
    """

    spikes_say_time: ClassVar[bool] = True

    def __init__(
        self,
        settings: LineSettings,
        *,
        sources: dict[str, str],
        quiet_ms: float | None,
        where: str,
        rate_hz: float | None = None,
    ) -> None:
        rate_hz = rate_hz or settings.sample_rate_hz
        super().__init__(settings, sources=sources, rate_hz=rate_hz, quiet_ms=quiet_ms, where=where)
        self._line_settle = ticks_after(settings.line_settle_ms / 1000, rate_hz)
        self._line_settle_s = settings.line_settle_ms / 1000
        self._line_settings = settings
        self._lines: dict[EventChannel, LineWords] = {}
        self._words_by = WordChannel(self.recording.was_sent)
        self._epoch = self.recording.epoch
        self.n_changes: Counter[EventChannel] = Counter()

    def line(self, line: int, state: bool, sample: int, channel: EventChannel = ONLY) -> None:
        """One line of an event channel changed at `sample`."""
        self._came(sample)
        self._lines_of(channel).line(line, state, sample, time.perf_counter())

    def port(self, value: int, sample: int, channel: EventChannel = ONLY) -> None:
        """All lines of an event channel are `value` from `sample` on."""
        self._came(sample)
        self._lines_of(channel).port(value, sample, time.perf_counter())

    def heard(self, sample: int) -> None:
        """The stream has come to `sample`."""
        self._pass_words(sample - self.recording.wait_ticks)
        self.recording.heard(sample)
        self._notice_restart()

    def complete(self, sample: int) -> None:
        """The format says that everything before `sample` has been told."""
        self._pass_words(sample)
        self.recording.complete(sample)
        self._notice_restart()

    def spike(self, sample: int, *sources: str) -> None:
        """A spike at `sample`, known to the recorder by any of these names."""
        if self.spikes_say_time:
            self._pass_words(sample - self.recording.wait_ticks)
        sites = self.names.sites(sources)
        self.recording.spike(sample, *sites, says_time=self.spikes_say_time)
        self._notice_restart()

    def notes(self) -> tuple[str, ...]:
        """Those of all recorders; and which event channel carries the words, if there are several."""
        return (*super().notes(), *self._words_by.notes())

    def survey(self) -> Survey:
        """What the stream has brought so far, with its event channels."""
        several = {str(channel): n for channel, n in self.n_changes.items() if channel != ONLY}
        chosen = str(getattr(self._line_settings, "word_channel", ""))
        if not chosen and self._words_by.chosen is not None:
            chosen = str(self._words_by.chosen)
        return super().survey()._replace(channels=several, word_channel=chosen)

    def _idle(self) -> None:
        """Lines that have waited long enough make their word, whatever comes."""
        for lines in self._lines.values():
            if lines.heard_s is not None and time.perf_counter() >= lines.heard_s + self._settle_s:
                self._pass_words(float("inf"))
        super()._idle()

    @property
    def _settle_s(self) -> float:
        return self.recording.wait_s + self._line_settle_s

    def _lines_of(self, channel: EventChannel) -> LineWords:
        self.n_changes[channel] += 1
        if channel not in self._lines:
            ours = self._line_settings
            made = LineWords(ours.word_lines, ours.strobe_line, self._line_settle)
            self._lines[channel] = made
        return self._lines[channel]

    def _came(self, sample: int) -> None:
        self._pass_words(sample - self.recording.wait_ticks)
        self.recording.came(sample)
        self._notice_restart()

    def _pass_words(self, until: float) -> None:
        for channel, lines in self._lines.items():
            for word in lines.until(until) if lines.are_waiting else ():
                for trial_word in self._words_by.offered(channel, word):
                    self._pass(trial_word)
        if self._words_by.is_holding:
            for held in self._words_by.released():
                self._pass(held)

    def _pass(self, word: Word) -> None:
        self.recording.word(word.word, word.sample, word.heard_s)

    def _notice_restart(self) -> None:
        if self.recording.epoch != self._epoch:
            self._epoch = self.recording.epoch
            for lines in self._lines.values():
                lines.clear()
