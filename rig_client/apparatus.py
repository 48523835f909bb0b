"""What stands at a rig: display, recorder, eye tracker, trigger line, reward."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from protocols import plugins
from protocols.errors import PluginError, SettingsError
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import (
    Acquisition,
    Display,
    DisplayWatching,
    Fixation,
    GazeFixation,
    Reward,
    Trigger,
)
from protocols.settings import PluginChoice
from rig_client.settings import RigSettings
from rig_client.triggers.noted import NotedTrigger, WordNoting

GROUPS_OF_PARTS = {
    "display": "stimloop.displays",
    "acquisition": "stimloop.acquisitions",
    "fixation": "stimloop.fixations",
    "trigger": "stimloop.triggers",
    "reward": "stimloop.rewards",
}
"""Kind of part, as `rig.toml` names it → group of its plug-ins."""


@dataclass(frozen=True)
class Apparatus:
    """Each part is a plug-in, chosen in rig.toml.

    A part that is not real has an attribute `is_simulated`, which is true.

    Attributes:
        names: Kind of part → its plug-in's name.
    """

    display: Display
    acquisition: Acquisition
    fixation: Fixation
    trigger: Trigger
    reward: Reward
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def simulated(self) -> tuple[str, ...]:
        """Parts that are not real, `kind: plug-in`."""
        return tuple(
            f"{kind}: {self.names.get(kind, type(getattr(self, kind)).__name__)}"
            for kind in GROUPS_OF_PARTS
            if getattr(getattr(self, kind), "is_simulated", False)
        )

    def close(self) -> None:
        """Release everything, whatever fails on the way."""
        parts = (self.display, self.acquisition, self.fixation, self.trigger, self.reward)
        with contextlib.ExitStack() as stack:
            for part in parts:
                stack.callback(part.close)


def apparatus_of(
    settings: RigSettings, session: SessionInfo, recorder: Acquisition | None = None
) -> Apparatus:
    """Make all parts; if one cannot be made, those before it are released.

    The recorder first, then the trigger, so that a lab sees at once whether they are reachable; the
    display before the eye tracker, which may need its window.

    Args:
        settings: Which parts.
        session: The session's id and seed.
        recorder: In place of the one that `settings` name, which is not made then.

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

        if recorder is None:
            recorder = part(Acquisition, "stimloop.acquisitions", settings.acquisition)
        acquisition: Acquisition = recorder
        trigger = part(Trigger, "stimloop.triggers", settings.trigger)
        _check_word_fits(settings, trigger)
        reward = part(Reward, "stimloop.rewards", settings.reward)
        display = part(Display, "stimloop.displays", settings.display)
        fixation = part(Fixation, "stimloop.fixations", settings.fixation)
        if isinstance(fixation, GazeFixation):
            fixation.watch_on(display)
        if isinstance(fixation, WordNoting):
            trigger = NotedTrigger(trigger, fixation)
        if isinstance(acquisition, DisplayWatching):
            acquisition.watch_on(display)
        check_is_seen(settings, display, acquisition)
        made.pop_all()
    names = {kind: getattr(settings, kind).name for kind in GROUPS_OF_PARTS}
    return Apparatus(display, acquisition, fixation, trigger, reward, names)


def check_is_seen(settings: RigSettings, display: Display, acquisition: Acquisition) -> None:
    """Real neurons must have something real to look at: a virtual clock shows them nothing.

    A recorder with `shows_images` has a rig of its own that shows them.
    """
    is_real = not getattr(acquisition, "is_simulated", False)
    elsewhere = getattr(acquisition, "shows_images", False)
    if is_real and display.clock == "virtual" and not elsewhere:
        raise SettingsError(
            "a real recorder cannot stand before a display that shows nothing",
            where=f"rig.toml: acquisition {settings.acquisition.name}, display {settings.display.name}",
            expected='display = { name = "psychopy", options = { ... } }, or another real display',
            got=f"display {settings.display.name!r} on a virtual clock",
            remedy="choose a real display; or, for a rehearsal without a screen, "
            'display = { name = "headless", options = { clock = "real" } }',
        )


def check_has_window(settings: RigSettings, what: str) -> None:
    """For programs that draw into the rig's window themselves; `what` goes wrong without one."""
    if settings.display.name != "psychopy":
        raise SettingsError(
            what,
            where="rig.toml: display",
            expected='name = "psychopy"',
            got=settings.display.name,
        )


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
