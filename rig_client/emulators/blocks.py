"""How Open Ephys's GUI works: a block of samples at a time, electrode by electrode, lines last.

From its source (GUI 1.0.1): `GenericProcessor::addSpike` puts every spike at position 0 of the block's
buffer, `SpikeDetector::process` goes through the electrodes one after the other, and events of lines
stand at their own positions. `checkForEvents` reads the buffer from its begin.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from rig_client.emulators.emulator import EmulatorSettings, Event, Lines, Spike, Tick

AUDIO_BLOCK_MS = 1000 * 1024 / 44_100
"""The GUI's default: 1024 samples of the computer's audio device."""


class OpenEphysEmulatorSettings(EmulatorSettings):
    """Settings that both of Open Ephys's plug-ins share.

    Attributes:
        block_ms: Length of the GUI's block of samples; its user may set 5 to 136 ms.
    """

    block_ms: float = Field(default=AUDIO_BLOCK_MS, gt=0, le=1000)


class GuiBlocks:
    """Collects events, and gives them back block by block, in the GUI's order."""

    def __init__(self) -> None:
        self._events: list[Spike | Lines] = []

    def add(self, event: Spike | Lines) -> None:
        """Something happened; it is told with its block."""
        self._events.append(event)

    def flush(self, end: Tick) -> Sequence[Event]:
        """Everything before the block's end."""
        due = [event for event in self._events if event.sample < end.sample]
        self._events = [event for event in self._events if event.sample >= end.sample]
        spikes = [event for event in due if isinstance(event, Spike)]
        lines = [event for event in due if isinstance(event, Lines)]
        spikes.sort(key=lambda spike: (spike.place, spike.sample))
        return [*spikes, *sorted(lines)]

    def clear(self) -> None:
        """The recorder restarts."""
        self._events.clear()
