"""The fixation window: gaze must reach it, stay for a while, and not leave it until the trial ends."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from math import hypot
from pathlib import Path

from protocols.errors import RigError
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Display
from protocols.vocabulary import Cue
from protocols.vocabulary import Gaze as GazeArray
from rig_client.fixation.calibration import (
    POLL_S,
    PointingDisplay,
    Steadiness,
    lies_on,
    looked_at,
    mean_place,
    points_around,
    spread,
)
from rig_client.fixation.correction import Correction, fitted
from rig_client.fixation.settings import FixationWindowSettings
from rig_client.fixation.trace import GazeKeeper
from rig_client.fixation.tracker import EyeTracker, Gaze, NotingTracker, Point, SamplingTracker

logger = logging.getLogger(__name__)

CENTRE_S = 0.2
"""Gaze of so long, before the key, says what is looked at."""
FRESH_S = 0.5
"""Gaze that was watched up to so long ago is that before the key; else it is watched anew."""
CENTRE_SPREAD_DEG = 1.5
NOTHING_CHANGED = "nothing was changed"
CORRECTION = "gaze-correction.json"
NO_SESSION = ("doctor", "calibration")


def memory_of(settings: FixationWindowSettings, session: SessionInfo) -> Path | None:
    """The folder of this session; None where none is run, as by `doctor`."""
    return None if session.session_id in NO_SESSION else settings.folder / session.session_id


class FixationWindow:
    """A `Fixation` on any eye tracker; time is the display's.

    Once broken, fixation stays broken until the next `acquire`.

    Args:
        settings: The window.
        tracker: Gives the latest gaze.
        folder: Keeps the correction of gaze for a rig that is restarted; None: it is not kept.
    """

    def __init__(
        self, settings: FixationWindowSettings, tracker: EyeTracker, folder: Path | None = None
    ) -> None:
        self._settings = settings
        self._tracker = tracker
        self._display: Display | None = None
        self._centre_deg: Point = settings.centre_deg or (0, 0)
        self._correction = Correction(None if folder is None else folder / CORRECTION)
        self._keeper = GazeKeeper(settings.gaze_hz, 0)
        self._recent: deque[Gaze] = deque()
        self._sample_time_s: float | None = None
        self._fresh_s = self._inside_s = 0.0
        self._is_broken = True
        self._is_interrupted: Callable[[], bool] = _never

    def heed_while_waiting(self, is_interrupted: Callable[[], bool]) -> None:
        """What is asked again and again while fixation is waited for; True ends the wait."""
        self._is_interrupted = is_interrupted

    def watch_on(self, display: Display) -> None:
        """Gaze is measured on `display`, and waited for by its frames."""
        self._display = display
        if self._settings.centre_deg is None:
            self._centre_deg = display.describe().fixation_point_deg
        self._tracker.open_on(display)
        self._fresh_s = display.now_s()
        self._keeper = GazeKeeper(self._settings.gaze_hz, self._fresh_s)

    def acquire(self, cue: Cue) -> bool:
        """Show blank frames until gaze has been in the window for `hold_ms`.

        Returns:
            False if that did not happen within `acquire_s`, or the wait was interrupted.

        Raises:
            RigError: If the tracker has been silent for `give_up_s`.
        """
        display = self._shown_on()
        self._note(f"TRIALID block {cue.block_index} trial {cue.trial}")
        began_s = display.now_s()
        entered_s: float | None = None
        while (now_s := display.now_s()) < began_s + self._settings.acquire_s:
            gaze = self._gaze(now_s)
            if gaze is not None and self._contains(gaze):
                entered_s = now_s if entered_s is None else entered_s
                self._inside_s = now_s
                if now_s - entered_s >= self._settings.hold_ms / 1000:
                    self._is_broken = False
                    return True
            elif gaze is not None or self._is_lost(now_s):
                entered_s = None
            if self._is_interrupted():
                return False
            display.blank(POLL_S)
        self._check_speaks(display.now_s())
        logger.info("fixation was not acquired: block %d, trial %d", cue.block_index, cue.trial)
        return False

    def held(self, cue: Cue) -> bool:
        """Whether gaze has been in the window since `acquire`, blinks aside; returns at once."""
        now_s = self._shown_on().now_s()
        gaze = self._gaze(now_s)
        if self._is_broken:
            return False
        if gaze is not None and self._contains(gaze):
            self._inside_s = now_s
        elif gaze is not None or self._is_lost(now_s):
            self._is_broken = True
            where = f"{gaze.x_deg:.1f}°, {gaze.y_deg:.1f}°" if gaze else "the eye was lost"
            logger.info(
                "fixation broke (%s): block %d, trial %d", where, cue.block_index, cue.trial
            )
        return not self._is_broken

    # --- where the subject looked -------------------------------------------------------------------

    @property
    def gaze_hz(self) -> float:
        """Samples kept in a second, at most."""
        return self._settings.gaze_hz

    @property
    def gaze_start_s(self) -> float:
        """On the display's clock; times of what `gaze_since` gave last count from here."""
        return self._keeper.start_s

    def gaze_since(self) -> GazeArray:
        """`(n, 4) float32` since this was last asked; degrees as corrected, NaN where invalid."""
        if self._display is not None:
            self._gaze(self._display.now_s())
        return self._keeper.take()

    def gaze_deg(self) -> Gaze | None:
        """The tracker's latest sample, corrected."""
        self._gaze(self._shown_on().now_s())
        gaze = self._tracker.gaze_deg()
        return None if gaze is None else self._correction(gaze)

    def note_word(self, word: int, cue: Cue) -> None:
        """A word goes out at the onset of `cue`: a message in the tracker's own file, if it has one."""
        self._note(
            f"WORD {word} block {cue.block_index} trial {cue.trial} stimulus {cue.stimulus_index} "
            f"{cue.stimulus_id[:12]} repetition {cue.repetition} attempt {cue.attempt}"
        )

    # --- corrections at the rig ---------------------------------------------------------------------

    def centre_gaze(self) -> str:
        """What is looked at now is the fixation point; returns what was changed, in words."""
        display = self._shown_on()
        if not self._recent or display.now_s() - self._recent[-1].time_s > FRESH_S:
            self._recent.clear()
            until_s = display.now_s() + CENTRE_S
            while display.now_s() < until_s:
                display.blank(POLL_S)
                self._gaze(display.now_s())
        seen = list(self._recent)
        if not seen:
            return f"{NOTHING_CHANGED}: the tracker sees no eye"
        place = mean_place(seen)
        if spread(seen, place) > CENTRE_SPREAD_DEG:
            return f"{NOTHING_CHANGED}: gaze was not steady"
        offset = self._centre_deg[0] - place[0], self._centre_deg[1] - place[1]
        self._correction.shift(offset)
        self._recent.clear()
        return f"gaze moved by {offset[0]:+.2f}° across, {offset[1]:+.2f}° up"

    def undo_centre(self) -> str:
        """Back to before the last change; returns what was changed, in words."""
        if not self._correction.can_be_undone:
            return f"{NOTHING_CHANGED}: there was no correction"
        self._correction.undo()
        self._recent.clear()
        return "the last correction of gaze was undone"

    def calibrate(self, reward: Callable[[], object]) -> str:
        """Show points, one after the other, and fit what the tracker says to them.

        Args:
            reward: Called for each point that was accepted.
        """
        display = self._shown_on()
        if not isinstance(display, PointingDisplay):
            return f"{NOTHING_CHANGED}: this display cannot show points"
        points = points_around(
            self._centre_deg,
            self._settings.calibration_reach_deg,
            self._settings.calibration_points,
        )
        if not all(lies_on(display.describe(), point) for point in points):
            return (
                f"{NOTHING_CHANGED}: points lie off the screen; make calibration_reach_deg smaller"
            )
        try:
            seen = self._look_at(points, display, reward)
        finally:
            display.point(None)
        if len(seen) < len(points):
            return f"{NOTHING_CHANGED}: stopped at point {len(seen) + 1} of {len(points)}"
        return self._fit(seen, points)

    def _look_at(
        self, points: list[Point], display: PointingDisplay, reward: Callable[[], object]
    ) -> list[Point]:
        settings = self._settings
        steady = Steadiness(
            settings.calibration_hold_ms / 1000,
            settings.calibration_spread_deg,
            settings.calibration_patience_s,
        )
        interrupted = getattr(display, "interrupted", lambda: False)
        seen: list[Point] = []
        for point in points:
            found = looked_at(display, point, self._uncorrected, steady, interrupted)
            if found is None:
                break
            seen.append(found)
            reward()
        return seen

    def _fit(self, seen: list[Point], points: list[Point]) -> str:
        result = fitted(seen, points)
        if result is None:
            return f"{NOTHING_CHANGED}: gaze did not follow the points"
        correction, error_deg = result
        if error_deg > self._settings.calibration_error_deg:
            return (
                f"{NOTHING_CHANGED}: gaze is {error_deg:.2f}° off after the fit to {len(points)} "
                f"points, more than {self._settings.calibration_error_deg:g}°"
            )
        self._correction.replace(correction)
        self._recent.clear()
        return f"calibrated with {len(points)} points: {error_deg:.2f}° off (root mean square)"

    def _uncorrected(self) -> Gaze | None:
        self._gaze(self._shown_on().now_s())
        gaze = self._tracker.gaze_deg()
        return gaze if gaze is not None and gaze.is_valid else None

    # --- within -------------------------------------------------------------------------------------

    def close(self) -> None:
        """Release the tracker."""
        self._tracker.close()

    def _note(self, text: str) -> None:
        if isinstance(self._tracker, NotingTracker):
            self._tracker.note(text)

    def _shown_on(self) -> Display:
        if self._display is None:
            raise RigError(
                "fixation was asked for before there was a display",
                expected="watch_on(display) first",
            )
        return self._display

    def _gaze(self, now_s: float) -> Gaze | None:
        """The latest sample, corrected; None if it is invalid, or old. What is new is kept."""
        new = self._tracker.samples() if isinstance(self._tracker, SamplingTracker) else None
        gaze = self._tracker.gaze_deg()
        if gaze is None:
            return None
        is_new = gaze.time_s != self._sample_time_s
        if is_new:
            self._sample_time_s, self._fresh_s = gaze.time_s, now_s
        if new is None:
            new = [gaze._replace(time_s=now_s)] if is_new else []
        for sample in new:
            self._keep(self._correction(sample))
        is_fresh = now_s - self._fresh_s <= self._settings.silent_ms / 1000
        return self._correction(gaze) if gaze.is_valid and is_fresh else None

    def _keep(self, sample: Gaze) -> None:
        self._keeper.add(sample)
        if sample.is_valid:
            self._recent.append(sample)
        while self._recent and self._recent[0].time_s < sample.time_s - CENTRE_S:
            self._recent.popleft()

    def _contains(self, gaze: Gaze) -> bool:
        x_deg, y_deg = self._centre_deg
        return hypot(gaze.x_deg - x_deg, gaze.y_deg - y_deg) <= self._settings.radius_deg

    def _is_lost(self, now_s: float) -> bool:
        return now_s - self._inside_s > self._settings.blink_ms / 1000

    def _check_speaks(self, now_s: float) -> None:
        silent_s = now_s - self._fresh_s
        if silent_s >= self._settings.give_up_s:
            raise RigError(
                "the eye tracker is silent",
                where=type(self._tracker).__name__,
                expected="new samples while fixation is waited for",
                got=f"none for {silent_s:.0f} s",
                remedy="start the tracker, then the rig client: it goes on within the block",
            )


def _never() -> bool:
    return False
