"""The fixation window: gaze must reach it, stay for a while, and not leave it until the trial ends."""

from __future__ import annotations

import logging
from math import hypot

from pydantic import Field

from protocols.errors import RigError
from protocols.rig_interfaces import Display
from protocols.settings import Frozen
from protocols.vocabulary import Cue
from rig_client.fixation.tracker import EyeTracker, Gaze

logger = logging.getLogger(__name__)

POLL_S = 1 / 60
"""One frame at 60 Hz, two at 120: how often gaze is looked at while fixation is acquired."""


class FixationWindowSettings(Frozen):
    """A disc in the visual field, and times.

    Attributes:
        radius_deg: Of the window.
        centre_deg: Its centre, right and above of straight ahead.
        acquire_s: How long the subject has to bring its gaze there and keep it for `hold_ms`.
        hold_ms: How long gaze must stay before the first image.
        blink_ms: How long the tracker may lose the eye without breaking fixation.
        silent_ms: A tracker without a new sample for so long has lost the eye.
        give_up_s: A tracker without a new sample for so long, while fixation is waited for, stops
            the rig with an error.
    """

    radius_deg: float = Field(default=1.5, gt=0, le=60)
    centre_deg: tuple[float, float] = (0, 0)
    acquire_s: float = Field(default=3, gt=0, le=600)
    hold_ms: float = Field(default=200, ge=0, le=60_000)
    blink_ms: float = Field(default=0, ge=0, le=1000)
    silent_ms: float = Field(default=100, gt=0, le=10_000)
    give_up_s: float = Field(default=2, gt=0, le=3600)


class FixationWindow:
    """A `Fixation` on any eye tracker; time is the display's.

    Once broken, fixation stays broken until the next `acquire`.

    Args:
        settings: The window.
        tracker: Gives the latest gaze.
    """

    def __init__(self, settings: FixationWindowSettings, tracker: EyeTracker) -> None:
        self._settings = settings
        self._tracker = tracker
        self._display: Display | None = None
        self._sample_time_s: float | None = None
        self._fresh_s = self._inside_s = 0.0
        self._is_broken = True

    def watch_on(self, display: Display) -> None:
        """Gaze is measured on `display`, and waited for by its frames."""
        self._display = display
        self._tracker.open_on(display)
        self._fresh_s = display.now_s()

    def acquire(self, cue: Cue) -> bool:
        """Show blank frames until gaze has been in the window for `hold_ms`.

        Returns:
            False if that did not happen within `acquire_s`.

        Raises:
            RigError: If the tracker has been silent for `give_up_s`.
        """
        display = self._shown_on()
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
            display.blank(POLL_S)
        self._check_speaks(display.now_s())
        logger.info("fixation was not acquired: block %d, trial %d", cue.block_index, cue.trial)
        return False

    def held(self, cue: Cue) -> bool:
        """Whether gaze has been in the window since `acquire`, blinks aside; returns at once."""
        if self._is_broken:
            return False
        now_s = self._shown_on().now_s()
        gaze = self._gaze(now_s)
        if gaze is not None and self._contains(gaze):
            self._inside_s = now_s
        elif gaze is not None or self._is_lost(now_s):
            self._is_broken = True
            where = f"{gaze.x_deg:.1f}°, {gaze.y_deg:.1f}°" if gaze else "the eye was lost"
            logger.info(
                "fixation broke (%s): block %d, trial %d", where, cue.block_index, cue.trial
            )
        return not self._is_broken

    def gaze_deg(self) -> Gaze | None:
        """The tracker's latest sample, for `doctor`."""
        return self._tracker.gaze_deg()

    def close(self) -> None:
        """Release the tracker."""
        self._tracker.close()

    def _shown_on(self) -> Display:
        if self._display is None:
            raise RigError(
                "fixation was asked for before there was a display",
                expected="watch_on(display) first",
            )
        return self._display

    def _gaze(self, now_s: float) -> Gaze | None:
        """The latest sample; None if it is invalid, or old."""
        gaze = self._tracker.gaze_deg()
        if gaze is None:
            return None
        if gaze.time_s != self._sample_time_s:
            self._sample_time_s, self._fresh_s = gaze.time_s, now_s
        is_fresh = now_s - self._fresh_s <= self._settings.silent_ms / 1000
        return gaze if gaze.is_valid and is_fresh else None

    def _contains(self, gaze: Gaze) -> bool:
        x_deg, y_deg = self._settings.centre_deg
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
