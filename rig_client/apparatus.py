"""What stands at a rig: display, recorder, eye tracker, trigger line, reward."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from protocols import plugins
from protocols.errors import PluginError, SettingsError
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import (
    Acquisition,
    Display,
    Fixation,
    GazeFixation,
    Reward,
    Trigger,
)
from protocols.settings import PluginChoice
from protocols.vocabulary import Cue
from rig_client.settings import RigSettings


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

    def send(self, word: int, cue: Cue) -> None:
        """Put it on the lines, then note it."""
        self._trigger.send(word, cue)
        self._fixation.note_word(word, cue)


@dataclass(frozen=True)
class Apparatus:
    """Each part is a plug-in, chosen in rig.toml."""

    display: Display
    acquisition: Acquisition
    fixation: Fixation
    trigger: Trigger
    reward: Reward

    def close(self) -> None:
        """Release everything, whatever fails on the way."""
        parts = (self.display, self.acquisition, self.fixation, self.trigger, self.reward)
        with contextlib.ExitStack() as stack:
            for part in parts:
                stack.callback(part.close)


def apparatus_of(settings: RigSettings, session: SessionInfo) -> Apparatus:
    """Make all parts; if one cannot be made, those before it are released.

    The recorder first, then the trigger, so that a lab sees at once whether they are reachable; the
    display before the eye tracker, which may need its window.

    Raises:
        PluginError, SettingsError, RigError: From the part that cannot be made.
    """
    with contextlib.ExitStack() as made:

        def part(kind: Any, group: str, choice: PluginChoice) -> Any:
            one = plugins.create(group, choice, session)
            if not isinstance(one, kind):
                raise _incomplete(one, kind, group, choice.name)
            made.callback(one.close)
            return one

        acquisition = part(Acquisition, "stimloop.acquisitions", settings.acquisition)
        trigger = part(Trigger, "stimloop.triggers", settings.trigger)
        _check_word_fits(settings, trigger)
        reward = part(Reward, "stimloop.rewards", settings.reward)
        display = part(Display, "stimloop.displays", settings.display)
        fixation = part(Fixation, "stimloop.fixations", settings.fixation)
        if isinstance(fixation, GazeFixation):
            fixation.watch_on(display)
        if isinstance(fixation, WordNoting):
            trigger = NotedTrigger(trigger, fixation)
        made.pop_all()
    return Apparatus(display, acquisition, fixation, trigger, reward)


def _check_word_fits(settings: RigSettings, trigger: Trigger) -> None:
    """A trigger that knows how many lines it has must have enough of them."""
    bits = getattr(trigger, "word_bits", settings.word_bits)
    if bits < settings.word_bits:
        raise SettingsError(
            "the trial words are wider than the trigger's lines",
            where=f"trigger {settings.trigger.name}",
            expected=f"word_bits of at least {settings.word_bits}, as in rig.toml",
            got=bits,
            remedy="make both the same: word_bits, and word_bits of the trigger's options",
        )


def _incomplete(one: object, kind: Any, group: str, name: str) -> PluginError:
    missing = [word for word in vars(kind) if word[0] != "_" and not hasattr(one, word)]
    return PluginError(
        f"the plug-in {name!r} of {group} is no {kind.__name__}",
        where=type(one).__qualname__,
        expected=f"all of `protocols.interfaces.{kind.__name__}`",
        got=f"without {', '.join(missing)}",
        remedy="see docs/how-to/write-an-acquisition.md",
    )
