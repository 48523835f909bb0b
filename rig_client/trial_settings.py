"""What the rig does when the subject does not work: part of `rig.toml`."""

from __future__ import annotations

from pydantic import Field

from protocols.settings import Frozen


class TrialSettings(Frozen):
    """Misses, rests, and the fixation spot between trials.

    Attributes:
        rest_after_misses: After so many trials in a row whose fixation was not reached, the rig rests.
        rest_s: Pause between two tries while it rests.
        spot_off_between_trials: Whether the fixation spot goes between trials.
    """

    rest_after_misses: int = Field(default=10, ge=1, le=10_000)
    rest_s: float = Field(default=10, gt=0, le=3600)
    spot_off_between_trials: bool = False
