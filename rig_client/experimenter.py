"""What the experimenter asks for at the rig: juice, gaze, pause, the end."""

from __future__ import annotations

import logging

from protocols.errors import RigStopped, SettingsError
from protocols.rig_interfaces import GazeCorrecting, Wish
from rig_client.apparatus import Apparatus
from rig_client.presenter import Presenter

logger = logging.getLogger(__name__)

PULSE_STEP_MS = 10.0
KEYS = "R juice, + and - its pulse, C centre the gaze (U undoes), K calibrate, P go on, Q quit"


class Experimenter:
    """Carries out wishes between two trials, and keeps what was done for the log.

    Args:
        apparatus: Its display hears the keys.
        presenter: Is told what happened.

    Attributes:
        paused: Whether the rig is paused at its keyboard.
        answer: What the last wish came to, for the screen.
    """

    def __init__(self, apparatus: Apparatus, presenter: Presenter) -> None:
        self._parts, self._presenter = apparatus, presenter
        self.paused = False
        self.answer = ""

    @property
    def says(self) -> str:
        """For the screen while the rig is paused; empty if it is not."""
        if not self.paused:
            return ""
        keys = getattr(self._parts.display, "keys_help", "") or KEYS
        return f"paused at the rig: {keys}" + (f"\n{self.answer}" if self.answer else "")

    def heed(self) -> None:
        """Do what was asked for since this was last called.

        Raises:
            RigStopped: If it was to quit.
        """
        while wish := self._parts.display.wish():
            self._do(wish)

    def _do(self, wish: Wish) -> None:
        match wish:
            case "quit":
                raise RigStopped(
                    "stopped at the keyboard; nothing is lost",
                    remedy="start the rig client again: it goes on where it was, within the block",
                )
            case "pause" | "resume":
                self.paused, self.answer = wish == "pause", ""
            case "free_reward":
                self._juice()
            case "longer_pulse" | "shorter_pulse":
                self._change_pulse(PULSE_STEP_MS if wish == "longer_pulse" else -PULSE_STEP_MS)
            case _:
                self._gaze(wish)
        if self.answer:
            logger.info("%s", self.answer)

    def _juice(self) -> None:
        reward = self._parts.reward
        if reward.give_free():
            self._presenter.tell("free_reward", ms=reward.pulse_ms)
            self.answer = (
                f"free reward of {reward.pulse_ms:g} ms; {self._presenter.given_ml:.2f} ml so far"
            )
        else:
            self.answer = "no reward is set up: see reward in rig.toml"

    def _change_pulse(self, by_ms: float) -> None:
        reward = self._parts.reward
        try:
            reward.set_pulse(reward.pulse_ms + by_ms)
        except SettingsError as error:
            self.answer = str(error.what)
            return
        self.answer = f"reward pulse: {reward.pulse_ms:g} ms"
        self._presenter.tell("reward_pulse", self.answer, ms=reward.pulse_ms)

    def _gaze(self, wish: Wish) -> None:
        fixation = self._parts.fixation
        if not isinstance(fixation, GazeCorrecting):
            self.answer = "this fixation has no eye tracker that could be corrected"
        elif wish == "calibrate" and not self.paused:
            self.answer = "pause first (Esc), then calibrate (K)"
        elif wish == "calibrate":
            self.answer = fixation.calibrate(self._juice_for_point)
            self._presenter.tell("calibration", self.answer)
        else:
            self.answer = (
                fixation.centre_gaze() if wish == "centre_gaze" else fixation.undo_centre()
            )
            self._presenter.tell("drift_correction", self.answer)

    def _juice_for_point(self) -> None:
        if self._parts.reward.give_free():
            self._presenter.tell("free_reward", "calibration", ms=self._parts.reward.pulse_ms)
