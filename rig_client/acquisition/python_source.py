"""A laboratory's own Python in front of a vendor's SDK: Ripple, Plexon, SpikeGLX, TDT, anything.

Two ways, by what the SDK can do; docs/how-to/record-with-a-vendors-sdk.md has examples.

- `python_stream`: the SDK tells of spikes and of words on digital lines, with the recorder's times.
  stimloop does the rest: matching, windows on the recorder's clock, faults, restarts.
- `python_callable`: the SDK (or a program of the lab's) can be asked for counts around a moment.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol, TypeAlias

from pydantic import Field

from protocols.errors import PluginError
from protocols.interfaces import SessionInfo
from rig_client.acquisition.stream import RecorderSettings, StreamAcquisition, StreamLost

logger = logging.getLogger(__name__)

STEADY_S = 1.0
"""After a failure, an SDK is believed once it has answered for so long."""
DISTINCT_HZ = 10_000
N_REMEMBERED = 50_000
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
        self._failed_s, self._why = float("-inf"), ""
        self._had: dict[tuple[int, str], None] = {}
        self._n_twice = 0
        self.start()

    def trouble(self) -> str:
        """As of any stream; also while a source that has failed has not answered for a while yet."""
        trouble = super().trouble()
        if not trouble and time.monotonic() < self._failed_s + STEADY_S:
            return f"{self._where} has just failed: {self._why}"
        return trouble

    def _open(self) -> None:
        self._had.clear()
        self._source = self._made_of(self._make)

    def _read(self, timeout_s: float) -> bool:
        if self._source is None:
            return False
        try:
            events = list(self._source.read(timeout_s))
        except Exception as error:  # whatever an SDK raises
            raise self._failure(error) from error
        for event in sorted(events, key=lambda event: isinstance(event, Heard)):
            self._take(event)
        return bool(events)

    def _shut(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            with _whatever_it_raises(self._where):
                source.close()

    def _failure(self, error: Exception) -> StreamLost:
        self._failed_s, self._why = time.monotonic(), f"{type(error).__name__}: {error}"
        return StreamLost(self._why)

    def _made_of(self, make: Callable[..., Any]) -> Source:
        try:
            source: Source = make(**self._options)
        except Exception as error:
            raise self._failure(error) from error
        return source

    def _take(self, event: Event) -> None:
        match event:
            case Spike(sample, source):
                spike = whole(sample, event), named(source)
                if not self._came_before(*spike):
                    self.spike(*spike)
            case Word(sample, word):
                if word:
                    self.recording.word(whole(word, event), whole(sample, event))
            case Heard(sample):
                self.recording.complete(whole(sample, event))
            case _:
                raise StreamLost(f"read() gave {event!r:.80}, which is no Spike, Word or Heard")

    def _came_before(self, sample: int, source: str) -> bool:
        """An SDK that tells of a spike twice: no unit fires twice within a sample of 0.1 ms or less."""
        had, latest = (sample, source) in self._had, self.recording.latest
        self._had[sample, source] = None
        if len(self._had) > N_REMEMBERED:
            del self._had[next(iter(self._had))]
        is_new_run = latest is None or sample < latest - self._rate_hz
        if not had or is_new_run or self._rate_hz < DISTINCT_HZ:
            return False
        if not self._n_twice:
            logger.warning("%s tells of spikes twice; each is counted once", self._where)
        self._n_twice += 1
        return True


def whole(number: Any, event: Any) -> int:
    """A whole number, of whatever type an SDK has for it.

    Raises:
        StreamLost: If it is none, as seconds are.
    """
    try:
        found = int(number)
    except (TypeError, ValueError, OverflowError):
        found = None
    if found is None or found != number:
        raise StreamLost(f"read() gave {event!r:.80}: samples and words must be whole numbers")
    return found


def named(source: Any) -> str:
    """A unit's name: text, a number (3 and 3.0 are "3"), or the bytes of a text."""
    return source.decode("utf-8", "replace") if isinstance(source, bytes) else str(source)


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


@contextlib.contextmanager
def _whatever_it_raises(where: str) -> Iterator[None]:
    try:
        yield
    except Exception:
        logger.exception("%s failed", where)
