"""What is checked when a rig attaches: before it is shown a single image, and at each restart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from protocols.documents import RigAttached, ThreadSettings
from protocols.errors import Refusal, SettingsError
from protocols.interfaces import Objective
from protocols.vocabulary import Block, Placement
from protocols.wire.messages import RefusalReason


def check_sites(objectives: Sequence[Objective], rig: RigAttached) -> None:
    """Raise `Refusal` if an objective needs a site that the rig does not record."""
    for objective in objectives:
        try:
            objective.sites(rig.site_ids)
        except SettingsError as error:
            raise Refusal.of(RefusalReason.UNKNOWN_SITE, error) from None


def check_same_rig(known: RigAttached, rig: RigAttached) -> None:
    """Raise `Refusal` if `rig` is not the one that served the session so far, or shows otherwise."""
    if rig.rig_id != known.rig_id:
        raise Refusal(
            RefusalReason.OTHER_RIG,
            "another rig serves this session",
            expected=known.rig_id,
            got=rig.rig_id,
            remedy="give a replacement the same rig_id in rig.toml",
        )
    if rig.site_ids != known.site_ids:
        raise Refusal(
            RefusalReason.UNKNOWN_SITE,
            "the recorded sites changed within the session",
            expected=", ".join(known.site_ids),
            got=", ".join(rig.site_ids),
            remedy="record the same sites, or start a new session",
        )
    changes = _changes(known, rig)
    if changes and not rig.display_change_accepted:
        raise Refusal(
            RefusalReason.OTHER_DISPLAY,
            "the rig shows images otherwise than before in this session",
            expected="the same display, distance, place and size of images, and the same kind of parts",
            got="; ".join(changes),
            remedy="undo the change in rig.toml; or, if it is meant: rig-client run "
            "--accept-display-change, which is logged",
        )


def _changes(known: RigAttached, rig: RigAttached) -> tuple[str, ...]:
    before, now = known.rig, rig.rig
    changes: tuple[str, ...] = ()
    if before.display is not None and now.display is not None:
        changes = before.display.differences(now.display)
    elif before.display != now.display:
        changes = (f"display: {_name(known)} before, {_name(rig)} now",)
    if before.simulated != now.simulated:
        changes += (f"simulated parts: {_parts(known)} before, {_parts(rig)} now",)
    return changes


def _name(rig: RigAttached) -> str:
    return rig.rig.display.name if rig.rig.display else "none that it knows of"


def _parts(rig: RigAttached) -> str:
    return ", ".join(rig.rig.simulated) or "none"


def check_can_show(
    rig: RigAttached, threads: Iterable[ThreadSettings], blocks: Iterable[Block]
) -> None:
    """Raise `Refusal` if the rig cannot show the threads' or blocks' images where they are wanted.

    A rig without a display of its own cannot be told where to show anything. So is a rig refused that
    gives no spike times where a block requires them.
    """
    wanted: dict[Placement, str] = {
        thread.place: f"thread {thread.name}"
        for thread in threads
        if isinstance(thread.place, Placement)
    }
    for block in blocks:
        here = f"block {block.index} (thread {block.thread})"
        wanted |= {
            one.place: f"{here}, {one.label or one.role}" for one in block.stimuli if one.place
        }
        if block.timing.require_times and not rig.rig.tick_hz:
            raise Refusal(
                RefusalReason.NO_SPIKE_TIMES,
                "the recorder only counts, and this session needs spike times",
                expected="a recorder that gives spike times",
                got=f"{here} has require_times = true; the rig's recorder gives counts alone",
                remedy="record with an adapter that gives spike times, or set require_times = false",
            )
    display = rig.rig.display
    for place, where in wanted.items():
        if (
            why := display.why_not(place)
            if display
            else "on a screen that the rig knows nothing of"
        ):
            raise Refusal(
                RefusalReason.PLACE_OFF_SCREEN,
                "an image cannot be shown where it is wanted",
                expected="the whole image on the screen, clear of the photodiode's patch",
                got=f"{where}: {place} is {why}",
                remedy="move it or make it smaller: place = { x_deg, y_deg, size_deg }",
            )
