"""The rig's description, and its events besides showing images.

A session is simulated if, at any time that a rig attached, a part of its rig was simulated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from protocols.documents import Event, EventKind, RigAttached
from protocols.rig_description import DisplayDescription
from protocols.settings import Frozen
from protocols.vocabulary import RigEvent

SIMULATED = "SIMULATED"
"""Stands on everything that is made of a session of which a part was simulated."""
REWARDS, FREE = "reward", "free_reward"
MISS, REST, REST_OVER, LATE = "miss", "rest", "rest_over", "late_spikes"
CALIBRATIONS = ("calibration", "drift_correction")
WARNINGS = ("recorder_warning", "display_warning")
COUNTED = (REWARDS, FREE, MISS)
"""Kinds that are too many to be told one by one."""


class AtRig(Frozen):
    """What happened at a rig, counted.

    Attributes:
        rewards: For trials whose fixation was held to the end.
        free_rewards: Given by the experimenter.
        reward_ms: Of all of both, summed.
        ml: Of both; 0 if the rig does not know ml a pulse.
        misses: Fixations that were not acquired.
        rests: After too many misses in a row.
        rest_s: Of those that ended, together.
        late_spikes: Spikes that came after their count; such counts are withdrawn.
        calibrations: And drift corrections, in words, in order.
        warnings: Of the recorder and of the display, in words, each once, with their numbers.
    """

    rewards: int = 0
    free_rewards: int = 0
    reward_ms: float = 0.0
    ml: float = 0.0
    misses: int = 0
    rests: int = 0
    rest_s: float = 0.0
    late_spikes: int = 0
    calibrations: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class RigRecord:
    """Fed with a session's events.

    Attributes:
        attached: Every attach, in order.
        shown_on: The display that the last answered block was shown on. None if the rig knows of none,
            or if it was another at the beginning: which images came before the change is not known.
    """

    def __init__(self) -> None:
        self.attached: list[RigAttached] = []
        self.shown_on: DisplayDescription | None = None
        self._changed = False
        self._rest_began_s: float | None = None
        self._rest_s = 0.0
        self._kinds: Counter[str] = Counter()
        self._warnings: Counter[str] = Counter()
        self._calibrations: list[str] = []
        self._reward_ms = 0.0
        self._ml = Millilitres()

    def feed(self, event: Event) -> None:
        """Take in the next event of the log."""
        if event.kind is EventKind.RIG_ATTACHED:
            rig = RigAttached.model_validate(event.document)
            if self.attached:
                self._changed |= is_other(self.attached[-1].rig.display, rig.rig.display)
            self.attached.append(rig)
        elif event.kind is EventKind.RESPONSES_RECEIVED:
            display = self.attached[-1].rig.display if self.attached else None
            self.shown_on = None if self._changed else display
            self._changed = False
            self.add(RigEvent.model_validate(one) for one in event.document.get("events", ()))

    def add(self, events: Iterable[RigEvent]) -> None:
        """Take in what happened while a block was shown."""
        for event in events:
            self._kinds[event.kind] += 1
            self._ml.add(event)
            self._rest(event)
            if event.kind in (REWARDS, FREE):
                self._reward_ms += event.ms
            elif event.kind in CALIBRATIONS:
                self._calibrations.append(_said(event))
            elif event.kind in WARNINGS:
                self._warnings[event.text or _said(event)] += 1

    def _rest(self, event: RigEvent) -> None:
        if event.kind == REST:
            self._rest_began_s = event.at_s
        elif event.kind == REST_OVER and self._rest_began_s is not None:
            self._rest_s += max(0.0, event.at_s - self._rest_began_s)
            self._rest_began_s = None

    @property
    def simulated(self) -> tuple[str, ...]:
        """Parts that were not real at one attach or another, such as `acquisition: simulated`."""
        return simulated_parts(self.attached)

    @property
    def counted(self) -> AtRig:
        """As of the last event."""
        return AtRig(
            rewards=self._kinds[REWARDS],
            free_rewards=self._kinds[FREE],
            reward_ms=self._reward_ms,
            ml=self._ml.total,
            misses=self._kinds[MISS],
            rests=self._kinds[REST],
            rest_s=self._rest_s,
            late_spikes=self._kinds[LATE],
            calibrations=tuple(self._calibrations),
            warnings=tuple(
                text if n == 1 else f"{text} ({n} times)" for text, n in self._warnings.items()
            ),
        )


class Millilitres:
    """What was given in a session, from running totals that begin anew when a rig is restarted."""

    def __init__(self) -> None:
        self._before = self._running = 0.0

    def add(self, event: RigEvent) -> None:
        """Take in the next event; of those that tell no total, nothing follows."""
        if not event.ml:
            return
        gives = event.kind in (REWARDS, FREE)
        if event.ml < self._running or (gives and event.ml == self._running):
            self._before += self._running
        self._running = event.ml

    @property
    def total(self) -> float:
        """In ml."""
        return self._before + self._running


def is_other(one: DisplayDescription | None, other: DisplayDescription | None) -> bool:
    """Whether images are shown otherwise on the other display."""
    if one is None or other is None:
        return one is not other
    return bool(one.differences(other))


def simulated_parts(attached: Iterable[RigAttached]) -> tuple[str, ...]:
    """Parts that were not real at one attach or another; empty for a session in which all were."""
    return tuple(dict.fromkeys(part for each in attached for part in each.rig.simulated))


def stamp(simulated: Iterable[str]) -> str:
    """What stands on everything made of such a session; empty if nothing was simulated."""
    parts = ", ".join(simulated)
    return f"{SIMULATED}: {parts}" if parts else ""


def _said(event: RigEvent) -> str:
    name = event.kind.replace("_", " ")
    return f"{name}: {event.text}" if event.text else name
