"""When light comes: the delay from a flip's trial word to the photodiode, on the recorder's clock.

The photodiode is recorded as a site (its threshold crossings are events like spikes). Flashes are
shown as any image is; the delay is the time after the word at which the site's first event of a
flash came, to the width of a step.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError, RecorderGap
from protocols.rig_interfaces import Acquisition
from protocols.vocabulary import Block, Cue, Role, Timing
from rig_client.apparatus import Apparatus
from rig_client.showing import Marked

STEP_S = 0.001
FLASH_PX = 16
EARLIEST_S = -0.020


class Latency(NamedTuple):
    """Delays of the flashes that were seen.

    Attributes:
        delays_s: `(n_seen,)`, each to within `STEP_S`.
        n_flashes: How many were shown.
    """

    delays_s: NDArray[np.float64]
    n_flashes: int

    @property
    def median_s(self) -> float:
        """What onsets are to be moved by."""
        return float(np.median(self.delays_s))

    @property
    def jitter_s(self) -> float:
        """Range of the middle 95 % of the delays."""
        low, high = np.quantile(self.delays_s, (0.025, 0.975))
        return float(high - low)


def flashes(n: int, on_ms: float, off_ms: float) -> Block:
    """`n` showings of a white image."""
    white = np.full((1, FLASH_PX, FLASH_PX, 3), 255, np.uint8)
    timing = Timing(on_ms=on_ms, off_ms=off_ms, count_start_ms=0, count_stop_ms=on_ms)
    block = Block.of(white, roles=Role.CONTROL, order=[0] * n, label="photodiode", timing=timing)
    return block.at(0, "calibration")


def measure_latency(
    apparatus: Apparatus,
    site: str,
    *,
    word_bits: int = 8,
    n: int = 100,
    on_ms: float = 50,
    off_ms: float = 100,
) -> Latency:
    """Show `n` flashes and find the photodiode's first event after the word of each.

    Args:
        apparatus: Of the rig; the photodiode's patch must be on.
        site: The photodiode's.
        word_bits: Of rig.toml.
        n: Flashes.
        on_ms: Of each; delays up to this are seen.
        off_ms: Between them.

    Raises:
        DataError: If the recorder has no such site, or it saw fewer than half of the flashes.
    """
    recorder = apparatus.acquisition
    if site not in recorder.site_ids:
        raise DataError(
            "the recorder has no such site",
            where="--site",
            expected=", ".join(recorder.site_ids),
            got=site,
            remedy="name the photodiode's channel in the acquisition's options",
        )
    block = flashes(n, on_ms, off_ms)
    column = recorder.site_ids.index(site)
    marked = Marked(apparatus, word_bits)
    marked.stage(block)
    delays = []
    for cue in block.cues():
        marked.show(cue, on_ms / 1000)
        apparatus.display.blank(off_ms / 1000)
        delay_s = _delay_s(recorder, cue, column, on_ms / 1000)
        delays += [] if delay_s is None else [delay_s]
    if 2 * len(delays) < n:
        raise DataError(
            "the photodiode did not see the flashes",
            where=f"site {site}",
            expected=f"an event for each of {n} flashes",
            got=f"{len(delays)}",
            remedy="is it taped over the patch (display option photodiode), its threshold set, and "
            "its channel recorded?",
        )
    return Latency(np.array(delays), n)


def _delay_s(recorder: Acquisition, cue: Cue, column: int, longest_s: float) -> float | None:
    """Halve the window that holds the first event until it is a step wide; None if there is none."""
    try:
        low, high = EARLIEST_S, longest_s
        if not recorder.spike_counts(cue, (low, high)).counts[column]:
            return None
        while high - low > STEP_S:
            middle = (low + high) / 2
            if recorder.spike_counts(cue, (low, middle)).counts[column]:
                high = middle
            else:
                low = middle
    except RecorderGap:
        return None
    return (low + high) / 2
