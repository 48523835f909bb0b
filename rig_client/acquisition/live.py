"""What of a recorder's stream is complete by now, for rates that are watched without trial words.

Between words nobody says when a span begins or ends. It ends at the *edge*: the sample before which
everything has arrived, by the same rules by which a count window is complete (`progress`). Each span
begins where the one before has ended, so every spike is told of once. One that comes later than the
wait is not told of any more. Not thread-safe: `Recording` asks under its lock.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from protocols.live_interfaces import Fresh
from rig_client.acquisition.gaps import Gaps
from rig_client.acquisition.kept_spikes import KeptSpikes
from rig_client.acquisition.progress import Progress

SILENT_S = 3.0
"""A stream of events that is silent for longer may have been stopped: nothing is said of it."""


class Live:
    """Remembers what was told.

    Args:
        rate_hz: Samples in a second of the recorder's clock.
        n_sites: How many.
        kept_s: For how long the recording keeps spikes.
        now_s: The computer's clock.
    """

    def __init__(
        self, rate_hz: float, n_sites: int, kept_s: float, now_s: Callable[[], float]
    ) -> None:
        self._rate_hz, self._n_sites, self._kept_s = rate_hz, n_sites, kept_s
        self._now_s = now_s
        self._epoch, self._told = -1, 0

    def fresh(self, epoch: int, progress: Progress, spikes: KeptSpikes, gaps: Gaps) -> Fresh:
        """The span from where the last one ended to the edge, and its spikes.

        Args:
            epoch: How often the recorder began anew.
            progress: How far the stream has come.
            spikes: Those that are kept.
            gaps: What has not arrived.
        """
        now_s = self._now_s()
        age_s = progress.silent_s(now_s)
        edge = progress.edge
        if edge is None or progress.latest is None:
            return self._nothing("nothing has come from the recorder yet", age_s)
        if fault := self._silence(progress, age_s):
            self._told = max(self._told, edge)
            return self._nothing(fault, age_s)
        lag_s = (progress.latest - edge) / self._rate_hz + age_s
        if epoch != self._epoch:
            self._epoch, self._told = epoch, edge
            return self._nothing("the recorder's stream has just begun", age_s)
        start = self._told
        if edge <= start:
            return Fresh(0.0, np.zeros(self._n_sites), age_s, lag_s)
        self._told = edge
        if start < progress.latest - self._kept_s * self._rate_hz:
            return self._nothing("spikes were not asked for in time", age_s)
        if gap := gaps.between(start, edge - 1):
            return self._nothing(f"{gap.fault}: part of the stream has not arrived", age_s)
        counts = np.array([len(one) for one in spikes.ticks(start, edge, start)], np.float64)
        return Fresh((edge - start) / self._rate_hz, counts, age_s, lag_s)

    def _silence(self, progress: Progress, age_s: float) -> str:
        """Why nothing can be said while nothing comes; empty if something can."""
        if progress.is_silence_doubtful or age_s > SILENT_S:
            return f"nothing has come for {age_s:.1f} s: neurons that are silent, or a recorder that is"
        return ""

    def _nothing(self, fault: str, age_s: float) -> Fresh:
        return Fresh(0.0, np.zeros(self._n_sites), age_s, float("inf"), fault)
