"""Which of a recorder's event channels carries the trial words: others have lines of the same numbers.

A photodiode behind a detector, a joystick, sync pulses: each is an event channel with lines from 0 on.
Where the settings choose none, the channel is found: it is the one whose words are those that were
sent. As long as only one channel has ever had a word, it is taken; from then on a channel must have
had `N_HITS` different words that had just been sent, and more of them than any other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import NamedTuple

from rig_client.acquisition.words import Word

N_HITS = 2
N_HELD = 64


class EventChannel(NamedTuple):
    """An event channel by the number of its source and, where the format tells it, its name."""

    node: int
    name: str = ""

    def __str__(self) -> str:
        return f"{self.node} {self.name!r}" if self.name else str(self.node)

    def is_called(self, wanted: str) -> bool:
        """Whether it is meant by its number or by its name."""
        return wanted in (str(self.node), self.name)


class WordChannel:
    """Finds the channel; words of others are dropped.

    Args:
        was_sent: Whether a word was sent just now.
    """

    def __init__(self, was_sent: Callable[[int], bool]) -> None:
        self._was_sent = was_sent
        self._hits: defaultdict[EventChannel, set[int]] = defaultdict(set)
        self._held: list[tuple[EventChannel, Word]] = []
        self.chosen: EventChannel | None = None
        self._notes: list[str] = []

    def offered(self, channel: EventChannel, word: Word) -> list[Word]:
        """The words that are trial words, now that `channel` has had this one."""
        hits = self._hits[channel]
        if self._was_sent(word.word):
            hits.add(word.word)
        if self.chosen is None and len(self._hits) > 1:
            self._choose()
        if self.chosen is not None:
            return [word] if channel == self.chosen else []
        if len(self._hits) == 1:
            return [word]
        self._held = [*self._held[1 - N_HELD :], (channel, word)]
        return []

    @property
    def is_holding(self) -> bool:
        """Whether words are held back."""
        return bool(self._held)

    def released(self) -> list[Word]:
        """Words that were held back until the channel was known; each once."""
        if self.chosen is None:
            return []
        held, self._held = self._held, []
        return [word for channel, word in held if channel == self.chosen]

    def notes(self) -> list[str]:
        """What was decided since this was last asked."""
        said, self._notes = self._notes, []
        return said

    def _choose(self) -> None:
        ranks = Counter({channel: len(hits) for channel, hits in self._hits.items()}).most_common(2)
        (best, n_best), (_, n_next) = ranks
        if n_best >= N_HITS and n_best > n_next:
            self.chosen = best
            others = ", ".join(str(channel) for channel in self._hits if channel != best)
            self._notes.append(
                f"trial words come by event channel {best}; channels with the same lines: {others} "
                "(word_channel in rig.toml chooses)"
            )
