"""Whose spikes an emulator emits."""

from __future__ import annotations

import logging
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from protocols import plugins
from protocols.errors import RecorderGap
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Acquisition
from protocols.seeds import random_stream
from protocols.settings import PluginChoice
from protocols.spike_times import ticks_after
from protocols.vocabulary import Block, Cue

logger = logging.getLogger(__name__)

MARGIN = 0.25
"""Spikes keep off the window's edges by this fraction of it, so that windows may overlap a little."""


class Train(NamedTuple):
    """Spikes of a presentation, by samples after its word and by places of sites."""

    offsets: NDArray[np.int64]
    places: NDArray[np.int64]


class Neurons(Protocol):
    """What an emulator records."""

    @property
    def site_ids(self) -> tuple[str, ...]:
        """What the recorder would record."""
        ...

    def stage(self, session: SessionInfo, block: Block) -> None:
        """A block is about to be shown."""
        ...

    def train(self, cue: Cue, rate_hz: float) -> Train | None:
        """The spikes that follow; None: the recorder loses this presentation, word and all."""
        ...


class PluginNeurons:
    """Neurons of a `stimloop.acquisitions` plug-in: its counts, made into spikes.

    Spikes are drawn uniformly from the count window's middle, seeded by session and cue: the same
    counts come out of the recorder as out of the plug-in itself. Counts that are no whole numbers
    (noise `none`) are rounded.
    """

    def __init__(self, choice: PluginChoice) -> None:
        self._choice = choice
        self._session = SessionInfo(session_id="rehearsal", seed=0)
        self._acquisition = self._made()
        self._block: Block | None = None
        self._window_s = (0.0, 0.0)

    @property
    def site_ids(self) -> tuple[str, ...]:
        """Those of the plug-in."""
        return self._acquisition.site_ids

    def stage(self, session: SessionInfo, block: Block) -> None:
        """They look at the images."""
        if session != self._session:
            self._session = session
            self._acquisition.close()
            self._acquisition = self._made()
        self._acquisition.stage(block)
        self._block = block
        self._window_s = block.timing.count_window_s

    def train(self, cue: Cue, rate_hz: float) -> Train | None:
        """Spikes to one image."""
        if self._block is None or self._block.index != cue.block_index:
            logger.warning("an image of block %d, which was not announced", cue.block_index)
            return None
        try:
            self._acquisition.mark(cue, 0.0, 1)
            counts = self._acquisition.spike_counts(cue, self._window_s).counts
        except RecorderGap:
            return None
        whole = np.rint(counts).astype(np.int64)
        start, stop = (ticks_after(edge, rate_hz) for edge in self._window_s)
        margin = int(MARGIN * (stop - start))
        random = random_stream(self._session.seed, "emulated spikes", *cue.seed_path)
        offsets = random.integers(
            start + margin, max(stop - margin, start + margin + 1), whole.sum()
        )
        return Train(offsets, np.repeat(np.arange(len(whole)), whole))

    def _made(self) -> Acquisition:
        made: Acquisition = plugins.create("stimloop.acquisitions", self._choice, self._session)
        return made
