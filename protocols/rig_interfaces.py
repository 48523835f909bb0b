"""What each part of a rig must do; conformance checks stand in `protocols.conformance`.

As in `protocols.interfaces`: each plug-in is called with its own frozen `Settings`, then with the
session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from protocols.rig_description import DisplayDescription, RigDescription
from protocols.spike_times import Ticks
from protocols.vocabulary import (
    Block,
    BlockResponses,
    Counts,
    Cue,
    Gaze,
    Images,
    Placement,
    RecorderClock,
)

Wish: TypeAlias = Literal[
    "",
    "pause",
    "resume",
    "quit",
    "free_reward",
    "longer_pulse",
    "shorter_pulse",
    "centre_gaze",
    "undo_centre",
    "calibrate",
]
"""What the experimenter asks for at the rig's keyboard; empty: nothing."""


def always() -> bool:
    """Fixation that is never broken."""
    return True


class Attachment(NamedTuple):
    """What a rig says of itself when a session begins."""

    rig_id: str
    site_ids: tuple[str, ...]
    rig: RigDescription


class Flip(NamedTuple):
    """What the display did: onset on its own clock, and frames that came late.

    `held` is False if the image was taken away because fixation was broken. `shown_s` is how long
    the image was on the screen, by the flips; 0 if the display does not know.
    """

    onset_s: float
    dropped_frames: int = 0
    held: bool = True
    shown_s: float = 0.0


class Measurement(NamedTuple):
    """Spikes counted in the half-open window after an onset.

    `onset_s` is the onset on the recorder's clock where a trial word gave it, else None.
    `ticks` are each site's spike times within the kept span, in whole ticks of the recorder's clock
    relative to the onset; None from a recorder that only counts, or if none were asked for.
    """

    counts: Counts
    onset_s: float | None = None
    ticks: tuple[Ticks, ...] | None = None


@runtime_checkable
class Display(Protocol):
    """Shows images. Times are seconds on its own clock."""

    @property
    def clock(self) -> Literal["rig", "virtual"]: ...

    def now_s(self) -> float:
        """Now, on this display's clock."""
        ...

    def describe(self) -> DisplayDescription:
        """Its screen, and where images appear that have no place of their own."""
        ...

    def stage(self, images: Images, places: Sequence[Placement | None] = ()) -> None:
        """Upload a block's images `(n, h, w, 3) uint8`, so that `show` has nothing left to load.

        Args:
            images: One for each stimulus; equal ones are one texture.
            places: One for each image, or none at all; None: the display's own place.

        Raises:
            SettingsError, DisplayError: If one cannot be shown there.
        """
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

    def blank(self, duration_s: float, held: Callable[[], bool] = always) -> bool:
        """Gray background for `duration_s`; ends early, with False, at the first False of `held()`.

        `held()` is asked in every frame, and once more at the end.
        """
        ...

    def spot(self, visible: bool) -> None:
        """Whether the fixation spot stands on the background from the next frame on."""
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
class DisplayWatching(Protocol):
    """A part of a rig that is told of the display: a subject that sees the screen, an eye tracker."""

    def watch_on(self, display: Display) -> None:
        """Called once, before the first trial."""
        ...


@runtime_checkable
class InterruptibleFixation(Protocol):
    """A `Fixation` that listens while it waits, to what is asked for at the rig's keyboard."""

    def heed_while_waiting(self, is_interrupted: Callable[[], bool]) -> None:
        """Called once, before the first trial: `acquire` asks it again and again, and ends with True."""
        ...


@runtime_checkable
class GazeFixation(Fixation, Protocol):
    """A `Fixation` that needs the display: its window, its frames, its clock."""

    def watch_on(self, display: Display) -> None:
        """Called once, before the first trial."""
        ...


@runtime_checkable
class GazeTracing(Fixation, Protocol):
    """A `Fixation` that keeps where the subject looked."""

    @property
    def gaze_hz(self) -> float:
        """Samples kept in a second."""
        ...

    def gaze_since(self) -> Gaze:
        """`(n, 4) float32` since this was last asked: s after `gaze_start_s`, x, y in degrees, valid."""
        ...

    @property
    def gaze_start_s(self) -> float:
        """On the display's clock: times of what `gaze_since` gave last count from here."""
        ...


@runtime_checkable
class GazeCorrecting(Fixation, Protocol):
    """A `Fixation` whose idea of straight ahead can be corrected at the rig."""

    def centre_gaze(self) -> str:
        """What is looked at now is the fixation point; returns what was changed, in words."""
        ...

    def undo_centre(self) -> str:
        """Back to before; returns what was changed, in words."""
        ...

    def calibrate(self, reward: Callable[[], object]) -> str:
        """Show points and fit the tracker to them; `reward()` for each accepted one.

        Called within a pause; may take as long as it needs. Returns the result, in words.
        """
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

    @property
    def pulse_ms(self) -> float:
        """Duration of one reward; 0: a device of its own decides, or there is none."""
        ...

    @property
    def given_ml(self) -> float:
        """Given so far, free rewards included; 0 if the rig does not know ml a pulse."""
        ...

    def give(self, trial: int) -> bool:
        """Called after a trial whose fixation was held to its end; must not wait.

        Returns:
            Whether one is given; not every trial may be paid.
        """
        ...

    def give_free(self) -> bool:
        """One reward that the experimenter gives; must not wait. Returns whether one is given."""
        ...

    def set_pulse(self, pulse_ms: float) -> None:
        """From now on; refuses (`SettingsError`) what is outside 10 to 1000 ms."""
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

    @property
    def tick_hz(self) -> float:
        """Ticks in a second of the clock that spike times are given on; 0: it only counts."""
        ...

    def spike_counts(
        self,
        cue: Cue,
        window_s: tuple[float, float],
        kept_s: tuple[float, float] | None = None,
    ) -> Measurement:
        """Counts in `[start, stop)` after the onset of `cue`; called once its trial is over.

        Args:
            cue: Which showing.
            window_s: The count window.
            kept_s: The span around the onset whose spike times are wanted; None: counts alone. A
                recorder with `tick_hz` 0 ignores it. The counts must be those that the times give.

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


@runtime_checkable
class RevisingAcquisition(Acquisition, Protocol):
    """An `Acquisition` that can find out later that a count was too low."""

    def late(self) -> tuple[Cue, ...]:
        """Showings that were counted already, and for which a spike came since this was last asked."""
        ...


@runtime_checkable
class NotingAcquisition(Acquisition, Protocol):
    """An `Acquisition` that notices what an experimenter should know: silent sites, unknown names."""

    def notes(self) -> tuple[str, ...]:
        """What was noticed since this was last asked; one sentence each."""
        ...


@runtime_checkable
class RigInProcess(Protocol):
    """A whole rig without sockets, in the process of whoever plays the session."""

    def attachment(self) -> Attachment:
        """What it says of itself before the first block."""
        ...

    def present(self, block: Block) -> BlockResponses:
        """Show the block to its end."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...
