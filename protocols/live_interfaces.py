"""What a recorder must do whose spikes are watched as they come, with no trial under way: the hand map."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from protocols.rig_interfaces import Acquisition
from protocols.vocabulary import Counts, Placement


class Fresh(NamedTuple):
    """What a recorder has heard since it was last asked, without trial words.

    Attributes:
        duration_s: Of the span that is complete now and was not before; spans follow each other.
        counts: `(n_sites,)` spikes in it.
        age_s: Since anything came from the recorder; infinite if nothing ever did.
        lag_s: How long ago the span ended, as far as is known.
        fault: Why nothing can be said of this span, in words; empty: the counts are right. Then
            `duration_s` is 0.
    """

    duration_s: float
    counts: Counts
    age_s: float
    lag_s: float
    fault: str = ""


@runtime_checkable
class LiveAcquisition(Acquisition, Protocol):
    """An `Acquisition` whose spikes can be watched as they come, with no trial under way."""

    def fresh(self) -> Fresh:
        """Spikes of what is complete since this was last asked; must return at once.

        Raises:
            SettingsError: If this one cannot be watched, with these settings.
        """
        ...


@runtime_checkable
class SeeingAcquisition(LiveAcquisition, Protocol):
    """A `LiveAcquisition` of simulated neurons, which must be shown the screen."""

    def see(self, screen: NDArray[np.uint8], place: Placement) -> None:
        """From now on the screen looks so.

        Args:
            screen: `(n, n, 3) uint8`, as many degrees in every pixel.
            place: Its centre and side.
        """
        ...
