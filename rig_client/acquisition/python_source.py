"""A laboratory's own Python in front of a vendor's SDK: Ripple, Plexon, SpikeGLX, TDT, anything.

Two ways, by what the SDK can do; docs/how-to/record-with-a-vendors-sdk.md has examples.

- `python_stream`: the SDK tells of spikes and of words on digital lines, with the recorder's times.
  stimloop does the rest: matching, windows on the recorder's clock, faults, restarts.
- `python_callable`: the SDK (or a program of the lab's) can be asked for counts around a moment.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from pydantic import Field

from protocols.errors import PluginError, RecorderGap, RigError
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Measurement
from protocols.settings import Frozen
from protocols.vocabulary import Block, Cue
from rig_client.acquisition.stream import RecorderSettings, StreamAcquisition, StreamLost

PLACE = Field(pattern=r"^[\w.]+:\w+$", description="module:name")


class Spike(NamedTuple):
    """A spike of `source`, as the settings' `sites` name it, at `sample` of the recorder's clock."""

    sample: int
    source: str


class Word(NamedTuple):
    """The digital lines carry `word` from `sample` on."""

    sample: int
    word: int


class Heard(NamedTuple):
    """The stream has come to `sample`: everything before it has been told, this reading included.

    A spike that proves it wrong is noticed, and from then on is waited for.
    """

    sample: int


Event: TypeAlias = Spike | Word | Heard


class Source(Protocol):
    """What a lab's class must do; it is made anew when a connection was lost."""

    def read(self, timeout_s: float) -> Iterable[Event]:
        """What has arrived, in any order; wait no longer than `timeout_s` if nothing has.

        Any exception means that the connection is lost; it is tried again.
        """
        ...

    def close(self) -> None:
        """Release the connection."""
        ...


class PythonStreamSettings(RecorderSettings):
    """Which class, and its recorder's clock.

    Attributes:
        source: `module:name` of a class (or function) that returns a `Source`.
        options: What it is called with, by name.
        sample_rate_hz: Of the recorder's clock.
        quiet_ms: How long after a window's end silence means that there were no spikes; not given:
            the stream says `Heard` all the time, and its silence is a fault.
    """

    source: str = PLACE
    options: dict[str, Any] = Field(default_factory=dict)
    sample_rate_hz: float = Field(default=30_000, gt=0, le=1e9)
    quiet_ms: float | None = Field(default=None, ge=0, le=60_000)


class PythonStream(StreamAcquisition):
    """A lab's `Source`, on the engine that all recorders share."""

    Settings = PythonStreamSettings

    def __init__(self, settings: PythonStreamSettings, session: SessionInfo) -> None:  # noqa: ARG002
        super().__init__(
            settings,
            sources=settings.sources('["elec 1", "elec 2"]'),
            rate_hz=settings.sample_rate_hz,
            quiet_ms=settings.quiet_ms,
            where=settings.source,
        )
        self._make, self._options = named_object(settings.source), settings.options
        self._source: Source | None = None
        self.start()

    def _open(self) -> None:
        self._source = self._made_of(self._make)

    def _read(self, timeout_s: float) -> bool:
        if self._source is None:
            return False
        try:
            events = list(self._source.read(timeout_s))
        except Exception as error:  # whatever an SDK raises
            raise StreamLost(f"{type(error).__name__}: {error}") from error
        for event in sorted(events, key=lambda event: isinstance(event, Heard)):
            self._take(event)
        return bool(events)

    def _shut(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def _made_of(self, make: Callable[..., Any]) -> Source:
        try:
            source: Source = make(**self._options)
        except Exception as error:
            raise StreamLost(f"{type(error).__name__}: {error}") from error
        return source

    def _take(self, event: Event) -> None:
        match event:
            case Spike(sample, source):
                self.spike(sample, source)
            case Word(sample, word):
                if word:
                    self.recording.word(word, sample)
            case Heard(sample):
                self.recording.complete(sample)
            case _:
                raise StreamLost(f"read() gave {event!r:.80}, which is no Spike, Word or Heard")


class PythonCallableSettings(Frozen):
    """Which function, and what it counts.

    Attributes:
        function: `module:name` of a function, called with `(word, onset_s, start_s, stop_s)`; or of
            a class whose instances are such functions, made with `options`.
        options: If given, `function` is a class (or makes the function), called with these first.
        sites: What its counts are of, in their order.
    """

    function: str = PLACE
    options: dict[str, Any] | None = None
    sites: tuple[str, ...] = Field(min_length=1)


class PythonCallable:
    """Asks a function for the counts of each presentation, once its trial is over.

    `function(word, onset_s, start_s, stop_s)` returns one count a site, for the half-open window
    from `start_s` to `stop_s` after the onset; or None if it cannot know, and the image is shown
    again. `onset_s` is on the rig's clock, `time.perf_counter`; `word` was sent at that moment. A
    method `mark(word, onset_s)` is called at the flip, if there is one, and must return at once.
    """

    Settings = PythonCallableSettings

    def __init__(self, settings: PythonCallableSettings, session: SessionInfo) -> None:  # noqa: ARG002
        self._settings = settings
        function = named_object(settings.function)
        try:
            self._ask = function if settings.options is None else function(**settings.options)
        except Exception as error:
            raise RigError(
                "the lab's recorder cannot be made",
                where=settings.function,
                got=f"{type(error).__name__}: {error}",
                remedy="check its options, and the vendor's software",
            ) from error
        self._mark = getattr(self._ask, "mark", None)
        self._marked: dict[Cue, tuple[int, float]] = {}

    @property
    def site_ids(self) -> tuple[str, ...]:
        """Those of the settings."""
        return self._settings.sites

    def stage(self, block: Block) -> None:  # noqa: ARG002
        """Forget the block before."""
        self._marked.clear()

    def mark(self, cue: Cue, onset_s: float, word: int) -> None:
        """Remember when, and tell the function if it wants to know."""
        self._marked[cue] = word, onset_s
        if self._mark is not None:
            self._mark(word, onset_s)

    @property
    def tick_hz(self) -> float:
        """0: it only counts."""
        return 0.0

    def spike_counts(
        self,
        cue: Cue,
        window_s: tuple[float, float],
        kept_s: tuple[float, float] | None = None,  # noqa: ARG002
    ) -> Measurement:
        """What the function says, `(n_sites,)`.

        Raises:
            RecorderGap: If it says None.
            RigError: If it says anything but one count a site, or raises.
        """
        word, onset_s = self._marked[cue]
        try:
            said = self._ask(word, onset_s, *window_s)
        except Exception as error:
            raise RecorderGap(
                "the lab's recorder has failed",
                fault="function_failed",
                where=self._settings.function,
                got=f"{type(error).__name__}: {error}",
            ) from error
        if said is None:
            raise RecorderGap(
                "the lab's recorder cannot account for this presentation",
                fault="function_says_none",
                where=f"{self._settings.function}, word {word}",
            )
        counts = np.asarray(said, np.float64)
        if counts.shape != (len(self.site_ids),) or not (np.isfinite(counts) & (counts >= 0)).all():
            raise RigError(
                "the lab's recorder gave no counts",
                where=self._settings.function,
                expected=f"{len(self.site_ids)} numbers, none negative",
                got=f"{said!r:.80}",
            )
        return Measurement(counts)

    def trouble(self) -> str:
        """What the function's own `trouble()` says, if it has one."""
        ask = getattr(self._ask, "trouble", None)
        return str(ask()) if callable(ask) else ""

    def close(self) -> None:
        """Call its `close()`, if it has one."""
        close = getattr(self._ask, "close", None)
        if callable(close):
            close()


def named_object(place: str) -> Any:
    """What stands at `module:name`.

    Raises:
        PluginError: If it cannot be imported; modules beside rig.toml are not found by themselves.
    """
    module, _, name = place.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:
        raise PluginError(
            "the lab's own Python cannot be imported",
            where=place,
            got=f"{type(error).__name__}: {error}",
            remedy="install it (pip install -e .), or name its folder in PYTHONPATH",
        ) from error
