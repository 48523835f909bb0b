"""A hand map from beginning to end: mouse, window, recorder, terminal, file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.live import Live

from protocols import plugins
from protocols.errors import SettingsError
from protocols.fields import FieldMap
from protocols.interfaces import SessionInfo
from protocols.live_interfaces import LiveAcquisition, SeeingAcquisition
from protocols.rig_interfaces import Acquisition, DisplayWatching, NotingAcquisition, Reward
from protocols.settings import PluginChoice
from rig_client.apparatus import check_has_window, check_is_seen
from rig_client.display.psychopy_window import PsychoPyDisplay
from rig_client.handmap.mouse import Mouse
from rig_client.handmap.points import Points
from rig_client.handmap.rates import LiveRates, Reading
from rig_client.handmap.stage import Stage, seen_by_degrees
from rig_client.handmap.state import Event, Hand, Pressed, after
from rig_client.handmap.table import table
from rig_client.lock import held_for_hand_map
from rig_client.settings import RigSettings

SESSION = SessionInfo(session_id="handmap", seed=0)
READ_S, SEE_S, SAY_S = 0.05, 0.1, 0.25
"""How often the recorder is asked, a simulated subject shown the screen, the terminal drawn."""
N_NOTES = 3
"""The recorder's latest, on the terminal."""


class HandMap:
    """Holds the rig from when it is made until `close`.

    Args:
        settings: `rig.toml`.
        out: The folder for the points.
        photographs: `(height, width, 3) uint8` each.
        console: Where the table goes; a console that is no terminal gets none.

    Raises:
        SpoolError: If another program uses this rig.
        SettingsError: If its recorder or display will not do, or `out` cannot be written.
    """

    def __init__(
        self,
        settings: RigSettings,
        out: Path,
        photographs: list[NDArray[np.uint8]],
        console: Console,
    ) -> None:
        self._console, self._photographs = console, photographs
        self.hand = Hand()
        self._rates = LiveRates()
        with contextlib.ExitStack() as parts:
            parts.callback(held_for_hand_map(settings.spool).close)
            self.recorder = _recorder(settings, parts)
            self.reward: Reward = _part(parts, "stimloop.rewards", settings.reward)
            self.display = _display(settings, parts)
            self._subject = self.recorder if isinstance(self.recorder, SeeingAcquisition) else None
            if isinstance(self.recorder, DisplayWatching):
                self.recorder.watch_on(self.display)
            check_is_seen(settings, self.display, self.recorder)
            self._described = self.display.describe()
            self._background = round(self._described.background)
            self.site_ids = self.recorder.site_ids
            self.simulated = _simulated(settings, self.display, self.recorder)
            self.points = Points(out, self.site_ids, self._bounds_deg(), self._about(settings))
            parts.callback(self.points.close)
            self._stage = Stage(self.display, self._background, photographs)
            self._mouse = Mouse(self.display.window, self.display.geometry)
            parts.callback(self._mouse.close)
            self._parts = parts.pop_all()
        self._juice_key = _juice_key(settings)
        self._read_s = self._seen_s = float("-inf")
        self._notes: tuple[str, ...] = ()

    def run(self) -> FieldMap | None:
        """Until it is ended at the keyboard; returns the fields, None if no point was kept.

        Raises:
            RigStopped: If the window was closed.
        """
        with self._shown_live() as live:
            said_s = float("-inf")
            while not self.hand.is_over:
                self.step()
                now_s = self.display.now_s()
                if live is not None and now_s >= said_s + SAY_S:
                    said_s = now_s
                    live.update(self._table(), refresh=True)
        return self.points.fields() if self.points.kept else None

    def close(self) -> None:
        """Let go of the rig."""
        self._parts.close()

    def step(self) -> None:
        """One frame, and what was asked for in the one before."""
        for event in self._mouse.events():
            self.take(event)
        now_s = self.display.now_s()
        is_seen = self._subject is not None and now_s >= self._seen_s + SEE_S
        self._stage.frame(self.hand.stimulus, now_s, self._see if is_seen else None)
        if now_s >= self._read_s + READ_S:
            self._read_s = now_s
            hidden = not self.hand.stimulus.is_shown
            self._rates.take(self.recorder.fresh(), now_s, hidden=hidden)
            if isinstance(self.recorder, NotingAcquisition):
                self._notes = (*self._notes, *self.recorder.notes())[-N_NOTES:]

    def take(self, event: Event) -> None:
        """Do what an event asks for; points are on the disk when this returns."""
        if isinstance(event, Pressed) and event.key == self._juice_key:
            self._juice()
            return
        before = self.hand
        self.hand = after(before, event, self.site_ids, len(self._photographs))
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        if len(self.hand.kept) > len(before.kept):
            self.points.keep(self.hand.kept[-1], self.reading(), at)
        elif len(self.hand.kept) < len(before.kept):
            self.points.take_back(before.kept[-1].number, at)

    def reading(self) -> Reading:
        """Rates by now."""
        return self._rates.reading()

    def _see(self, pixels: NDArray[np.uint8]) -> None:
        """A simulated subject looks; a slow one less often, so that the hand still moves smoothly."""
        began_s = self.display.now_s()
        screen, place = seen_by_degrees(pixels, self.display.geometry, self._background)
        if self._subject is not None:
            self._subject.see(screen, place)
        now_s = self.display.now_s()
        self._seen_s = now_s + (now_s - began_s)

    def _juice(self) -> None:
        if self.reward.give_free():
            said = (
                f"free reward of {self.reward.pulse_ms:g} ms; {self.reward.given_ml:.2f} ml so far"
            )
        else:
            said = "no reward is set up: see reward in rig.toml"
        self.hand = self.hand._replace(said=said)

    def _table(self) -> Any:
        notes = [f"SIMULATED: {', '.join(self.simulated)}" if self.simulated else ""]
        notes += [self.points.trouble, *self._notes]
        size = self._console.width, self._console.height
        return table(self.hand, self.reading(), self.site_ids, notes, self._juice_key, size)

    @contextlib.contextmanager
    def _shown_live(self) -> Iterator[Live | None]:
        if not self._console.is_terminal:
            yield None
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            yield live

    def _bounds_deg(self) -> tuple[float, float, float, float]:
        width = self.display.geometry.window_px[0]
        right, top = self.display.geometry.point_deg((width, 0))
        return (-right, -top, right, top)

    def _about(self, settings: RigSettings) -> dict[str, Any]:
        return {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "rig_id": settings.rig_id,
            "acquisition": settings.acquisition.name,
            "simulated": list(self.simulated),
            "display": self._described.model_dump(mode="json"),
        }


def _recorder(settings: RigSettings, parts: contextlib.ExitStack) -> LiveAcquisition:
    """The recorder, if its spikes can be watched: asked before a window opens."""
    made: Acquisition = _part(parts, "stimloop.acquisitions", settings.acquisition)
    if not isinstance(made, LiveAcquisition):
        raise SettingsError(
            "this recorder counts around trials only: its spikes cannot be watched as they come",
            where=f"rig.toml: acquisition {settings.acquisition.name}",
            expected="a recorder that streams: open_ephys_events, open_ephys_zmq, intan, cerebus, lsl, "
            "python_stream; or a simulated subject that is placed",
            got=settings.acquisition.name,
            remedy="map with the plan map_fields instead (docs/how-to/map-receptive-fields.md)",
        )
    made.fresh()
    return made


def _display(settings: RigSettings, parts: contextlib.ExitStack) -> PsychoPyDisplay:
    check_has_window(settings, "a hand map needs a window that it can draw in")
    made: PsychoPyDisplay = _part(parts, "stimloop.displays", settings.display)
    return made


def _part(parts: contextlib.ExitStack, group: str, choice: PluginChoice) -> Any:
    made = plugins.create(group, choice, SESSION)
    parts.callback(made.close)
    return made


def _simulated(settings: RigSettings, *parts: object) -> tuple[str, ...]:
    """Which of display and recorder are not real."""
    names = (settings.display.name, settings.acquisition.name)
    return tuple(
        name
        for name, part in zip(names, parts, strict=True)
        if getattr(part, "is_simulated", False)
    )


def _juice_key(settings: RigSettings) -> str:
    group = "stimloop.displays"
    options = plugins.settings_of(
        group, settings.display, plugins.load(group, settings.display.name)
    )
    return str(getattr(options, "free_reward_key", "r"))
