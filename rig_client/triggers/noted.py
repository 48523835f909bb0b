"""Trial words in an eye tracker's own file, beside those on the trigger's lines."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from protocols.rig_interfaces import Fixation, Trigger
from protocols.vocabulary import Cue


@runtime_checkable
class WordNoting(Fixation, Protocol):
    """A `Fixation` whose tracker keeps a file of its own, in which trial words are to stand."""

    def note_word(self, word: int, cue: Cue) -> None:
        """Called right after `word` was sent; returns at once."""
        ...


class NotedTrigger:
    """A trigger whose words are noted by the eye tracker too.

    Args:
        trigger: Sends them.
        fixation: Notes them afterwards.
    """

    def __init__(self, trigger: Trigger, fixation: WordNoting) -> None:
        self._trigger, self._fixation = trigger, fixation
        self.stage, self.clear, self.close = trigger.stage, trigger.clear, trigger.close
        self.is_simulated = getattr(trigger, "is_simulated", False)

    def send(self, word: int, cue: Cue) -> None:
        """Put it on the lines, then note it."""
        self._trigger.send(word, cue)
        self._fixation.note_word(word, cue)
