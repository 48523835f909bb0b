"""From a shown image to its presentation: counts and spike times, or why there are none."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.digests import array_digest
from protocols.errors import RecorderGap
from protocols.rig_interfaces import ClockedAcquisition, Measurement
from protocols.spike_times import packed, packed_counts
from protocols.vocabulary import Outcome, Presentation, RecorderClock, Timing
from rig_client.apparatus import Apparatus
from rig_client.showing import Showing

logger = logging.getLogger(__name__)

EDGE_S = 1e-6
"""Rounding of a display's clock: a window that ends at a look at the eye was seen to its end."""

Arrays = dict[str, NDArray[Any]]


class Counter:
    """Asks the recorder, once a trial is over.

    Args:
        apparatus: Its recorder counts; its display knows the clock.
    """

    def __init__(self, apparatus: Apparatus) -> None:
        self._display = apparatus.display
        self._recorder = apparatus.acquisition

    def clock(self) -> RecorderClock | None:
        """The recorder's clock against the display's; None if it has none, or it is not known yet."""
        recorder = self._recorder
        return recorder.clock() if isinstance(recorder, ClockedAcquisition) else None

    def counted(
        self, shown: Showing, timing: Timing, held_until_s: float
    ) -> tuple[Presentation, Arrays]:
        """The presentation, and its packed spike times by digest.

        Args:
            shown: The showing.
            timing: Of its block.
            held_until_s: When fixation was last seen to hold, on the display's clock; a count window
                that ends later is not counted.
        """
        cue, flip, word = shown
        what: dict[str, Any] = {
            "onset_s": flip.onset_s,
            "onset_clock": str(self._display.clock),
            "dropped_frames": flip.dropped_frames,
            "shown_ms": round(flip.shown_s * 1000, 3),
            "word": word,
        }
        if held_until_s < flip.onset_s + timing.count_window_s[1] - EDGE_S or not flip.held:
            return cue.presentation(**what, outcome=Outcome.FIXATION_BREAK), {}
        if flip.dropped_frames:
            return cue.presentation(**what, outcome=Outcome.DROPPED_FRAME), {}
        try:
            measured = self._recorder.spike_counts(cue, timing.count_window_s, timing.kept_span_s)
            times = self._times(measured, timing)
        except RecorderGap as gap:
            logger.warning("%s", gap)
            return cue.presentation(**what, outcome=Outcome.ABORTED, fault=gap.fault), {}
        if measured.onset_s is not None:
            what |= {"onset_s": measured.onset_s, "onset_clock": "recorder"}
        what["spike_counts"] = tuple(float(count) for count in measured.counts)
        if times is not None:
            what["times"] = array_digest(times)
        presentation = cue.presentation(**what, outcome=Outcome.COMPLETED)
        return presentation, {} if times is None else {what["times"]: times}

    def _times(self, measured: Measurement, timing: Timing) -> NDArray[Any] | None:
        """Packed spike times; None from a recorder that only counts.

        Raises:
            RecorderGap: If the times do not give the counts.
        """
        tick_hz = self._recorder.tick_hz
        if measured.ticks is None or not tick_hz:
            return None
        times = packed(measured.ticks, timing.kept_span_s, tick_hz)
        given = packed_counts(times, len(measured.ticks), timing.count_window_s, tick_hz)
        if not np.array_equal(given, measured.counts):
            raise RecorderGap(
                "the recorder's counts are not those that its spike times give",
                fault="counts_do_not_fit_times",
                expected=f"{given.tolist()!r:.200}",
                got=f"{measured.counts.tolist()!r:.200}",
                remedy="an error in the recorder's adapter; the image is shown again",
            )
        return times
