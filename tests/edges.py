"""Spikes at the edges of a count window, for recorders: what is sent, and what must be counted."""

from __future__ import annotations

import numpy as np

from protocols.spike_times import ticks_after
from protocols.vocabulary import Block, Role, Timing

TIMING = Timing(on_ms=20, off_ms=0, count_start_ms=30, count_stop_ms=70)
RATE_HZ = 30_000
START, STOP = (ticks_after(edge, RATE_HZ) for edge in TIMING.count_window_s)


def edge_block(images):
    """Four images, twice."""
    order = [0, 1, 2, 3] * 2
    return Block.of(images, roles=Role.EVOLVED, order=order, timing=TIMING).at(0, "t")


def number(cue):
    return cue.stimulus_index + 4 * cue.repetition


def at_the_edges(cue):
    """Site a: both edges and their neighbours; site b: some in the middle; site c: none."""
    n = number(cue)
    middle = [START + 10 * n + 40 * place for place in range(n)]
    return [[START - 1, START, START + 1, STOP - 1, STOP, STOP + 1], middle, []]


def known(cue):
    return np.array([3.0, number(cue), 0.0])
