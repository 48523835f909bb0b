"""Blackrock's protocol monitors: how many packets were sent, against how many came."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from rig_client.acquisition.cerebus_links import Heard, Origin
from rig_client.acquisition.formats.cerebus import Packet
from rig_client.acquisition.recording import Gap, Recording

SLACK_S = 0.015
"""A packet may be counted by the monitor before or after it: what was lost may still come."""
TOO_LONG = 1.7
"""Monitors come regularly: after so many times the usual interval one was lost."""


@dataclass
class _Count:
    """Of one origin, since its last monitor."""

    n_packets: int | None = None
    n_lost: int = 0
    gap: Gap | None = None
    monitored: int = 0
    number: int = 0
    intervals: list[int] = field(default_factory=list)


class Losses:
    """Compares, and tells a recording of what was lost.

    Args:
        recording: Whose clock counts nanoseconds.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._slack = int(SLACK_S * 1e9)
        self._counts: dict[Origin, _Count] = {}
        self._epoch = recording.epoch

    def count(self, heard: Heard) -> None:
        """A packet has come."""
        if self._epoch != self._recording.epoch:
            self._epoch = self._recording.epoch
            self._counts.clear()
        count = self._counts.setdefault(heard.origin, _Count())
        if count.n_packets is not None:
            count.n_packets += 1
        if heard.packet.is_monitor:
            self._compare(count, heard.packet)

    def dropped(self, latest: int | None) -> None:
        """Packets were lost in this computer."""
        if latest is not None:
            self._recording.gap("message_gap", latest - self._slack, latest + self._slack)

    def _compare(self, count: _Count, monitor: Packet) -> None:
        """A difference may still even out, by packets that straddle the monitor."""
        n_sent, *numbers = struct.unpack(f"<{len(monitor.payload) // 4}I", monitor.payload)
        number = numbers[0] if numbers else None
        if monitor.time < count.monitored:
            count.n_packets, count.n_lost, count.gap = None, 0, None
            count.intervals.clear()
        if count.n_packets is not None:
            is_next = self._is_next(count, monitor.time, number)
            count.n_lost += n_sent - count.n_packets if is_next else 1
            self._report(count, monitor.time)
        count.n_packets, count.number, count.monitored = 0, number or 0, monitor.time

    def _is_next(self, count: _Count, time: int, number: int | None) -> bool:
        """Whether no monitor was lost before this one."""
        if number is not None:
            return number == count.number + 1
        interval = time - count.monitored
        count.intervals = [*count.intervals[-8:], interval]
        usual = sorted(count.intervals)[len(count.intervals) // 2]
        return len(count.intervals) < 3 or interval <= TOO_LONG * usual

    def _report(self, count: _Count, now: int) -> None:
        if count.gap is not None and now > count.gap.last + self._slack:
            count.gap, count.n_lost = None, 0
        elif count.n_lost > 0 and count.gap is None:
            first = min(count.monitored, now) - self._slack
            count.gap = self._recording.gap("message_gap", first, now + self._slack)
        elif count.n_lost <= 0 and count.gap is not None:
            self._recording.filled(count.gap)
            count.gap = None
        if count.gap is None and count.n_lost < 0:
            count.n_lost = 0
