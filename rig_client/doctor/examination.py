"""All checks, in the order in which they build on each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from protocols.checkup import Finding, tried
from rig_client.doctor import equipment, stream, surroundings
from rig_client.settings import RigSettings


def examine(
    rig: RigSettings, *, wait_s: float = 10, photodiode_site: str = "", skip: tuple[str, ...] = ()
) -> Iterator[Finding]:
    """Check a rig; one finding after the other, as they come.

    Args:
        rig: Its settings.
        wait_s: How long server, recorder and eye tracker are waited for.
        photodiode_site: The recorder's site that has the photodiode; empty: none.
        skip: Names of checks to leave out.
    """
    of = equipment.Equipment(rig, wait_s)
    checks: dict[str, Callable[[], Finding]] = {
        "settings": lambda: surroundings.settings(rig),
        "keys": lambda: surroundings.keys(rig),
        "disk": lambda: surroundings.disk(rig),
        "server": lambda: surroundings.server(rig, wait_s),
        "recorder": lambda: equipment.recorder(of),
        "trigger": lambda: equipment.trigger(of),
        "reward": lambda: equipment.reward(of),
        "window": lambda: equipment.window(of),
        "refresh rate": lambda: equipment.refresh(of),
        "dropped frames": lambda: equipment.dropped_frames(of),
        "eye tracker": lambda: equipment.eye(of),
        "words arrive": lambda: equipment.words(of),
        "clock": lambda: equipment.clock(of),
        "units": lambda: stream.units(of),
        "event channels": lambda: stream.channels(of),
        "stragglers": lambda: stream.stragglers(of),
        "counts": lambda: stream.verdict(of),
        "photodiode": lambda: equipment.photodiode(of, photodiode_site),
    }
    with of.parts:
        for name, check in checks.items():
            if name in skip:
                yield Finding(name=name, status="skip", detail="left out")
            else:
                yield tried(name, check)
