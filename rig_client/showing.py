"""Shows one image under its trial word, and watches whether fixation holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

from protocols.rig_interfaces import Flip, always
from protocols.vocabulary import Block, Cue
from rig_client.apparatus import Apparatus


class Showing(NamedTuple):
    """What was shown, and under which trial word."""

    cue: Cue
    flip: Flip
    word: int


class Marked:
    """Shows images, each under the next trial word.

    Args:
        apparatus: Its display shows, its trigger sends, its recorder is told.
        word_bits: Lines that carry the word: words run from 1 to 2^word_bits − 1.
    """

    def __init__(self, apparatus: Apparatus, word_bits: int = 8) -> None:
        self._apparatus = apparatus
        self._words = itertools.cycle(range(1, 2**word_bits))

    def stage(self, block: Block) -> None:
        """A block is about to be shown."""
        places = [stimulus.place for stimulus in block.stimuli]
        self._apparatus.display.stage(block.images, places)
        self._apparatus.acquisition.stage(block)
        self._apparatus.trigger.stage(block)

    def show(self, cue: Cue, on_s: float, held: Callable[[], bool] = always) -> Showing:
        """At its first flip the word goes out, and the recorder's reader is told."""
        parts, word = self._apparatus, next(self._words)

        def at_onset(onset_s: float) -> None:
            parts.trigger.send(word, cue)
            parts.acquisition.mark(cue, onset_s, word)

        flip = parts.display.show(cue, on_s, at_onset, held)
        parts.trigger.clear()
        return Showing(cue, flip, word)


class Watch:
    """Whether fixation was held through a trial, and until when that is certain.

    Args:
        now_s: The display's clock.
        held: The fixation's own answer, for a cue.

    Attributes:
        held_until_s: When fixation was last seen to hold.
        is_broken: Once broken, it stays so for the trial.
    """

    def __init__(self, now_s: Callable[[], float], held: Callable[[Cue], bool]) -> None:
        self._now_s, self._held = now_s, held
        self.held_until_s = float("-inf")
        self.is_broken = False

    def of(self, cue: Cue) -> Callable[[], bool]:
        """What a display asks in every frame while `cue` is the latest image."""

        def is_held() -> bool:
            now_s = self._now_s()
            if not self.is_broken and self._held(cue):
                self.held_until_s = now_s
            else:
                self.is_broken = True
            return not self.is_broken

        return is_held
