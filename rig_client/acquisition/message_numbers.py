"""Finds lost messages by their numbers, which count up by one."""

from __future__ import annotations

from rig_client.acquisition.recording import Gap, Recording


class MessageNumbers:
    """Tells a `Recording` of gaps; those that fill because messages overtook each other, too.

    What was lost may be of the time between its neighbours, and earlier by the stream's disorder, but
    not of what an earlier message had said to be complete: say `came` before you say what it says.
    Numbers that begin anew are a recorder that did.

    Args:
        recording: Where the messages go.
        slack: Samples by which what was lost may lie before or after its neighbours, at least; more
            if the stream's disorder is more.
    """

    def __init__(self, recording: Recording, slack: int = 0) -> None:
        self._recording = recording
        self._slack = slack
        self._epoch = recording.epoch
        self._next: int | None = None
        self._missing: dict[int, tuple[Gap, set[int]]] = {}

    def clear(self) -> None:
        """A new connection: numbers begin wherever they are."""
        self._next = None
        self._missing.clear()

    def came(self, number: int, sample: int, latest: int | None) -> None:
        """Message `number` has arrived, which is of `sample`; before it, `latest` was the latest."""
        if self._epoch != self._recording.epoch:
            self._epoch = self._recording.epoch
            self.clear()
        if self._next is None:
            self._next = number
        if number in self._missing:
            gap, numbers = self._missing.pop(number)
            numbers.discard(number)
            if not numbers:
                self._recording.filled(gap)
        elif number < self._next:
            self._recording.restarted()
            self._epoch = self._recording.epoch
            self.clear()
            self._next = number
        elif number > self._next:
            before = sample if latest is None else latest
            slack = max(self._slack, self._recording.wait_ticks)
            first, last = min(before, sample) - slack, max(before, sample) + slack
            if (told := self._recording.completed) is not None:
                first = max(first, min(told, last))
            gap = self._recording.gap("message_gap", first, last)
            numbers = set(range(max(self._next, number - 1000), number))
            self._missing.update(dict.fromkeys(numbers, (gap, numbers)))
        self._next = max(self._next, number + 1)
        if len(self._missing) > 10_000:
            self._missing.clear()
