"""What each part of a rig must do; conformance checks stand in `protocols.conformance`.

As in `protocols.interfaces`: each plug-in is called with its own frozen `Settings`, then with the
session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from protocols.vocabulary import Block, Counts, Cue, Images, RecorderClock

Wish: TypeAlias = Literal["", "pause", "resume", "quit"]
"""What the experimenter asks for at the rig's keyboard; empty: nothing."""


def always() -> bool:
    """Fixation that is never broken."""
    return True


class Flip(NamedTuple):
    """What the display did: onset on its own clock, and frames that came late.

    `held` is False if the image was taken away because fixation was broken.
    """

    onset_s: float
    dropped_frames: int = 0
    held: bool = True


class Measurement(NamedTuple):
    """Spikes counted in the half-open window after an onset.

    `onset_s` is the onset on the recorder's clock where a trial word gave it, else None.
    """

    counts: Counts
    onset_s: float | None = None


@runtime_checkable
class Display(Protocol):
    """Shows images. Times are seconds on its own clock."""

    @property
    def clock(self) -> Literal["rig", "virtual"]: ...

    def now_s(self) -> float:
        """Now, on this display's clock."""
        ...

    def stage(self, images: Images) -> None:
        """Upload a block's images `(n, h, w, 3) uint8`, so that `show` has nothing left to load."""
        ...

    def show(
        self,
        cue: Cue,
        on_s: float,
        at_onset: Callable[[float], None],
        held: Callable[[], bool] = always,
    ) -> Flip:
        """Show image `cue.stimulus_index` for `on_s`; call `at_onset(onset_s)` at its first flip.

        `held()` is asked at least once before the image goes; at the first False it goes at once.
        """
        ...

    def blank(self, duration_s: float) -> None:
        """Gray background for `duration_s`."""
        ...

    def wish(self) -> Wish:
        """What was asked for at the keyboard since this was last called; asked between trials."""
        ...

    def message(self, text: str) -> None:
        """Gray background and a line for the experimenter; empty text clears it."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Fixation(Protocol):
    """Knows whether the subject looks where it should."""

    def acquire(self, cue: Cue) -> bool:
        """Wait for fixation before the trial of `cue`; False if it was not reached in time."""
        ...

    def held(self, cue: Cue) -> bool:
        """Whether fixation was held since `acquire`; asked every frame of `cue`, returns at once."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class GazeFixation(Fixation, Protocol):
    """A `Fixation` that needs the display: its window, its frames, its clock."""

    def watch_on(self, display: Display) -> None:
        """Called once, before the first trial."""
        ...


@runtime_checkable
class Trigger(Protocol):
    """Tells the recorder, by a word on its digital lines, which image appeared when."""

    def stage(self, block: Block) -> None:
        """A block is about to be shown."""
        ...

    def send(self, word: int, cue: Cue) -> None:
        """Put `word` (1 and up) on the lines; called at the first flip of `cue`, returns at once."""
        ...

    def clear(self) -> None:
        """Lines back to zero; called when the image has gone."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Reward(Protocol):
    """Pays the subject for a trial."""

    def give(self, trial: int) -> None:
        """Called after a trial whose fixation was held to its end; must not wait."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Acquisition(Protocol):
    """Counts spikes."""

    @property
    def site_ids(self) -> tuple[str, ...]: ...

    def stage(self, block: Block) -> None:
        """A block is about to be shown."""
        ...

    def mark(self, cue: Cue, onset_s: float, word: int) -> None:
        """The image of `cue` has just appeared, and `word` was sent; called between flips.

        Must return at once. `onset_s` is on the display's clock; `word` counts up from 1 with every
        presentation, and begins again at 1 after the largest that the lines can carry.
        """
        ...

    def spike_counts(self, cue: Cue, window_s: tuple[float, float]) -> Measurement:
        """Counts in `[start, stop)` after the onset of `cue`; called once its trial is over.

        Raises:
            RecorderGap: If the recorder cannot account for this presentation.
        """
        ...

    def trouble(self) -> str:
        """Why nothing can be recorded now, for the screen; the rig waits until it is empty.

        Asked between trials; must return at once.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class ClockedAcquisition(Acquisition, Protocol):
    """An `Acquisition` with a clock of its own."""

    def clock(self) -> RecorderClock | None:
        """How the recorder's clock runs against the display's, by now; None while unknown."""
        ...
