"""A simulated gaze that sometimes wanders, and a subject that sometimes sleeps."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Display
from protocols.seeds import random_stream
from protocols.settings import Frozen
from protocols.vocabulary import Cue, Gaze

JITTER_DEG = 0.15
"""Standard deviation of gaze around the fixation point."""
AWAY_DEG = (7.0, 3.0)
"""Where the subject looks, from the fixation point, when it does not fixate."""


class SimulatedFixationSettings(Frozen):
    """How often the subject looks elsewhere.

    Attributes:
        break_rate: Fraction of presentations during which fixation is broken.
        within_ms: A break comes within so long after the image's onset. Longer than fixation must
            hold, some breaks come too late to matter.
        failure_rate: Fraction of tries at which fixation is not reached.
        acquire_s: How long such a try lasts.
        naps: `[[from_s, to_s], …]` on the display's clock: no try begins a trial; a trial that runs
            already is finished.
        gaze_hz: Samples of gaze that are made up in a second.
    """

    break_rate: float = Field(default=0.05, ge=0, le=1, description="presentations that are broken")
    within_ms: float = Field(default=150, ge=0, le=60_000)
    failure_rate: float = Field(default=0, ge=0, lt=1, description="tries that fail")
    acquire_s: float = Field(default=1, gt=0, le=600)
    naps: tuple[tuple[float, float], ...] = ()
    gaze_hz: float = Field(default=250, gt=0, le=2000)

    @field_validator("naps")
    @classmethod
    def _naps_end(cls, naps: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        if any(stop <= start for start, stop in naps):
            raise ValueError("a nap is [from_s, to_s], and to_s comes after from_s")
        return naps


class SimulatedFixation:
    """Every break is seeded by the session and its cue: a restarted rig meets the same ones.

    Whether the showing of a cue is broken, and how long after its first frame, depends on nothing
    else; nor does how often a try to begin its trial fails, apart from naps.
    """

    Settings = SimulatedFixationSettings
    is_simulated = True

    def __init__(self, settings: SimulatedFixationSettings, session: SessionInfo) -> None:
        self._settings = settings
        self._session = session
        self._failures: Counter[tuple[str | int, ...]] = Counter()
        self._display: Display | None = None
        self._breaks_at_s: dict[tuple[str | int, ...], float] = {}
        self._point_deg = (0.0, 0.0)
        self._broken_trial: tuple[int, int] | None = None
        self._looks_away = False
        self._start_s = self._made_until_s = 0.0
        self._rows: list[NDArray[np.float64]] = []
        self._n_made = 0

    def watch_on(self, display: Display) -> None:
        """Naps, and the moments of breaks, are on its clock."""
        self._display = display
        self._point_deg = display.describe().fixation_point_deg
        self._start_s = self._made_until_s = display.now_s()

    def acquire(self, cue: Cue) -> bool:
        """Whether fixation is reached; asking again after a failure is a new try."""
        self._look(away=True)
        self._breaks_at_s.clear()
        self._broken_trial = None
        reached = not self._sleeps() and self._is_reached(cue)
        if reached:
            self._look(away=False)
        elif self._display is not None:
            self._display.blank(self._settings.acquire_s)
        return reached

    def held(self, cue: Cue) -> bool:
        """Whether fixation is held so far; broken, it is so to the end of the trial."""
        trial = cue.block_index, cue.trial
        if self._broken_trial == trial:
            return False
        if self._breaks(cue):
            self._broken_trial = trial
            self._look(away=True)
            return False
        return True

    @property
    def gaze_hz(self) -> float:
        """Samples in a second."""
        return self._settings.gaze_hz

    @property
    def gaze_start_s(self) -> float:
        """On the display's clock; times of `gaze_since` count from here."""
        return self._start_s

    def gaze_since(self) -> Gaze:
        """`(n, 4) float32` since this was last asked: made up, near the fixation point or away."""
        self._look(away=self._looks_away)
        rows = np.concatenate([np.empty((0, 4)), *self._rows])
        self._rows = []
        if len(rows):
            self._start_s = float(rows[0, 0])
            rows[:, 0] -= self._start_s
        return rows.astype(np.float32)

    def close(self) -> None:
        """Nothing to release."""

    def _sleeps(self) -> bool:
        now_s = 0.0 if self._display is None else self._display.now_s()
        return any(start <= now_s < stop for start, stop in self._settings.naps)

    def _is_reached(self, cue: Cue) -> bool:
        path = cue.seed_path
        random = random_stream(self._session.seed, "fixation", *path, self._failures[path])
        reached = bool(random.random() >= self._settings.failure_rate)
        if reached:
            del self._failures[path]
        else:
            self._failures[path] += 1
        return reached

    def _breaks(self, cue: Cue) -> bool:
        """Whether the showing of `cue` is broken by now."""
        now_s = 0.0 if self._display is None else self._display.now_s()
        if cue.seed_path not in self._breaks_at_s:
            self._breaks_at_s[cue.seed_path] = self._break_at_s(cue, now_s)
        at_s = self._breaks_at_s[cue.seed_path]
        return at_s < float("inf") and (self._display is None or now_s >= at_s)

    def _break_at_s(self, cue: Cue, began_s: float) -> float:
        """When the showing of `cue`, whose first frame is now, will be broken; infinite: never."""
        random = random_stream(self._session.seed, "gaze", *cue.seed_path)
        if random.random() >= self._settings.break_rate:
            return float("inf")
        return began_s + float(random.random()) * self._settings.within_ms / 1000

    def _look(self, *, away: bool) -> None:
        """Make up the samples until now, then look there."""
        if self._display is not None:
            now_s = self._display.now_s()
            n = max(0, int((now_s - self._made_until_s) * self._settings.gaze_hz))
            if n:
                self._rows.append(self._samples(n))
                self._made_until_s += n / self._settings.gaze_hz
        self._looks_away = away

    def _samples(self, n: int) -> NDArray[np.float64]:
        random = random_stream(self._session.seed, "gaze samples", self._n_made)
        self._n_made += 1
        away = AWAY_DEG if self._looks_away else (0.0, 0.0)
        rows = np.ones((n, 4))
        rows[:, 0] = self._made_until_s + np.arange(n) / self._settings.gaze_hz
        rows[:, 1:3] = np.add(self._point_deg, away) + random.normal(0, JITTER_DEG, (n, 2))
        return rows
