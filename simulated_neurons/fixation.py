"""A simulated gaze that sometimes wanders."""

from __future__ import annotations

from collections import Counter

from pydantic import Field

from protocols.interfaces import SessionInfo
from protocols.seeds import random_stream
from protocols.settings import Frozen
from protocols.vocabulary import Cue


class SimulatedFixationSettings(Frozen):
    """How often the subject looks elsewhere."""

    break_rate: float = Field(default=0.05, ge=0, le=1, description="presentations that are broken")
    failure_rate: float = Field(default=0, ge=0, lt=1, description="trials that do not begin")


class SimulatedFixation:
    """Every break is seeded by the session and its cue: a restarted rig meets the same ones."""

    Settings = SimulatedFixationSettings

    def __init__(self, settings: SimulatedFixationSettings, session: SessionInfo) -> None:
        self._settings = settings
        self._session = session
        self._failures: Counter[tuple[str | int, ...]] = Counter()

    def acquire(self, cue: Cue) -> bool:
        """Whether fixation is reached; asking again after a failure is a new try."""
        path = cue.seed_path
        random = random_stream(self._session.seed, "fixation", *path, self._failures[path])
        reached = bool(random.random() >= self._settings.failure_rate)
        if reached:
            del self._failures[path]
        else:
            self._failures[path] += 1
        return reached

    def held(self, cue: Cue) -> bool:
        """Whether fixation is held through the presentation of `cue`."""
        random = random_stream(self._session.seed, "gaze", *cue.seed_path)
        return bool(random.random() >= self._settings.break_rate)

    def close(self) -> None:
        """Nothing to release."""
