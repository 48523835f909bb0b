"""Checks of the rig's parts, and of what goes from one to the other."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from protocols import plugins
from protocols.checkup import Finding
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import (
    Acquisition,
    ClockedAcquisition,
    Display,
    GazeFixation,
    Reward,
    Trigger,
)
from protocols.vocabulary import Block, Outcome, Presentation, Role, Timing
from rig_client.apparatus import Apparatus, check_is_seen
from rig_client.display.frames import LATE_FRAMES
from rig_client.display.in_words import in_words
from rig_client.fixation.none import NoFixation
from rig_client.presenter import Presenter
from rig_client.reward import NoReward
from rig_client.settings import RigSettings
from rig_client.spool import Spool
from rig_client.triggers.none import NoTrigger

SESSION = SessionInfo(session_id="doctor", seed=0)
GLANCE_S = 0.05
RESIDUAL_S = 0.002
"""A clock line that leaves more than this is worth a look."""
IMAGE_PX = 64
TIMING = Timing(
    on_ms=100, off_ms=100, count_start_ms=0, count_stop_ms=150, inter_trial_ms=50, max_attempts=1
)


@dataclass
class Equipment:
    """The parts that could be made so far; closed in the end, whatever fails."""

    rig: RigSettings
    wait_s: float
    display: Display | None = None
    acquisition: Acquisition | None = None
    trigger: Trigger | None = None
    reward: Reward | None = None
    n_sent: int = 0
    n_found: int = 0
    parts: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def make(self, group: str, choice: Any) -> Any:
        """The plug-in, to be closed in the end."""
        made = plugins.create(group, choice, SESSION)
        self.parts.callback(made.close)
        return made


def window(of: Equipment) -> Finding:
    """The display opens, and says what it is; a real recorder needs one that shows something."""
    of.display = of.make("stimloop.displays", of.rig.display)
    if of.acquisition is not None:
        check_is_seen(of.rig, of.display, of.acquisition)
    detail = in_words(of.display.describe())
    if not getattr(of.display, "is_simulated", False):
        return Finding(name="window", status="pass", detail=detail)
    return Finding(
        name="window",
        status="warn" if hasattr(of.display, "window") else "pass",
        detail=f"SIMULATED, clock {of.display.clock}; {detail}",
        remedy="before a subject: a screen with check_refresh = true",
    )


def refresh(of: Equipment) -> Finding:
    """The screen's rate is the configured one."""
    if of.display is None or not hasattr(of.display, "frame_intervals_s"):
        return Finding(name="refresh rate", status="skip", detail="no window")
    measured = getattr(of.display, "measured_hz", None)
    if measured is None:
        return Finding(
            name="refresh rate",
            status="warn",
            detail="not measured: check_refresh = false",
            remedy="set check_refresh = true before a session with a subject",
        )
    return Finding(name="refresh rate", status="pass", detail=f"{measured:.2f} Hz, as configured")


def dropped_frames(of: Equipment, n_frames: int = 500) -> Finding:
    """No flip of so many comes late."""
    name = "dropped frames"
    if of.display is None or getattr(of.display, "measured_hz", None) is None:
        return Finding(name=name, status="skip", detail="no frames to drop")
    intervals_s = np.asarray(of.display.frame_intervals_s(n_frames))  # type: ignore[attr-defined]
    n_late = int((intervals_s > LATE_FRAMES * np.median(intervals_s)).sum())
    detail = f"{n_late} of {n_frames} flips late; longest {1000 * intervals_s.max():.1f} ms"
    if n_late == 0:
        return Finding(name=name, status="pass", detail=detail)
    return Finding(
        name=name,
        status="warn" if n_late <= n_frames // 100 else "fail",
        detail=detail,
        remedy="close other programs, switch the compositor off, use the screen's native rate",
    )


def recorder(of: Equipment) -> Finding:
    """The recorder is reachable, and streams."""
    of.acquisition = of.make("stimloop.acquisitions", of.rig.acquisition)
    until_s = time.monotonic() + of.wait_s
    clock = threading.Event()
    while (trouble := of.acquisition.trouble()) and time.monotonic() < until_s:
        clock.wait(GLANCE_S)
    sites = of.acquisition.site_ids
    if not trouble:
        detail = f"{of.rig.acquisition.name}: streaming, {len(sites)} sites"
        return Finding(name="recorder", status="pass", detail=detail)
    return Finding(
        name="recorder",
        status="fail",
        detail=trouble,
        remedy="start it, press its acquire or play button; check its address in rig.toml",
    )


def trigger(of: Equipment) -> Finding:
    """The trigger's device is there."""
    of.trigger = of.make("stimloop.triggers", of.rig.trigger)
    bits = getattr(of.trigger, "word_bits", of.rig.word_bits)
    if isinstance(of.trigger, NoTrigger):
        return Finding(name="trigger", status="skip", detail="not connected")
    if bits < of.rig.word_bits:
        return Finding(
            name="trigger",
            status="fail",
            detail=f"carries {bits} bits of {of.rig.word_bits}",
            remedy="make word_bits of rig.toml and of the trigger's options the same",
        )
    return Finding(name="trigger", status="pass", detail=f"{of.rig.trigger.name}, {bits} bits")


def words(of: Equipment, n_words: int = 20) -> Finding:
    """Trial words go to the recorder and come back, with an onset on its clock."""
    name = "words arrive"
    apparatus = _apparatus(of)
    if apparatus is None or of.acquisition is None:
        return Finding(name=name, status="skip", detail="display, recorder or trigger is missing")
    if not getattr(of.acquisition, "is_live", True):
        return Finding(name=name, status="skip", detail="this recorder shows the images itself")
    if trouble := of.acquisition.trouble():
        return Finding(name=name, status="skip", detail=trouble)
    if apparatus.display.clock == "virtual" and isinstance(of.acquisition, ClockedAcquisition):
        return Finding(
            name=name,
            status="fail",
            detail="the display's time is virtual, the recorder's is not",
            remedy='[display] options = { clock = "real" }, or name = "psychopy"',
        )
    shown = _presented(apparatus, of.rig.word_bits, n_words)
    faults = Counter(one.fault or str(one.outcome) for one in shown if one.spike_counts is None)
    n_back = sum(one.onset_clock == "recorder" for one in shown)
    of.n_sent, of.n_found = n_words, n_back
    if faults:
        return Finding(
            name=name,
            status="fail",
            detail=f"{n_back} of {n_words} came back; "
            + ", ".join(f"{count} × {fault}" for fault, count in faults.most_common()),
            remedy="check cable, lines and word_bits; see the faults in docs/reference/settings.md"
            if not isinstance(of.trigger, NoTrigger)
            else "choose a trigger in rig.toml",
        )
    if not n_back:
        detail = f"{n_words} showings were counted; this recorder reads no words"
        return Finding(name=name, status="skip", detail=detail)
    return Finding(name=name, status="pass", detail=f"{n_back} of {n_words} came back")


def clock(of: Equipment) -> Finding:
    """The recorder's clock against the rig's."""
    name = "clock"
    found = of.acquisition.clock() if isinstance(of.acquisition, ClockedAcquisition) else None
    if found is None:
        return Finding(name=name, status="skip", detail="no words, or no clock of its own")
    detail = (
        f"offset {found.offset_s:.4f} s, {1000 * found.residual_s:.2f} ms about the line of "
        f"{found.n_words} words"
    )
    if found.residual_s <= RESIDUAL_S:
        return Finding(name=name, status="pass", detail=detail)
    return Finding(
        name=name,
        status="warn",
        detail=detail,
        remedy="words leave or arrive unevenly: use a line in place of the network, another port",
    )


def photodiode(of: Equipment, site: str, n_flashes: int = 20) -> Finding:
    """Light comes after the word, and always as late."""
    name = "photodiode"
    apparatus = _apparatus(of)
    if not site or apparatus is None:
        return Finding(name=name, status="skip", detail="not connected (--photodiode-site NAME)")
    from rig_client.calibration.photodiode import measure_latency

    found = measure_latency(apparatus, site, word_bits=of.rig.word_bits, n=n_flashes)
    detail = (
        f"light {1000 * found.median_s:.1f} ms after the word, "
        f"middle 95 % within {1000 * found.jitter_s:.1f} ms"
    )
    return Finding(name=name, status="pass", detail=detail)


def eye(of: Equipment) -> Finding:
    """The eye tracker gives samples."""
    name = "eye tracker"
    fixation = of.make("stimloop.fixations", of.rig.fixation)
    if not isinstance(fixation, GazeFixation) or of.display is None:
        return Finding(name=name, status="skip", detail=of.rig.fixation.name)
    fixation.watch_on(of.display)
    ask = getattr(fixation, "gaze_deg", None)
    until_s = time.monotonic() + of.wait_s
    while ask is not None and (gaze := ask()) is None and time.monotonic() < until_s:
        of.display.blank(GLANCE_S)
    if ask is None:
        return Finding(name=name, status="pass", detail="open")
    if gaze is None:
        return Finding(
            name=name,
            status="fail",
            detail="no samples",
            remedy="start the tracker's recording; compare fixation.options with its manual",
        )
    detail = f"gaze at {gaze.x_deg:.1f}°, {gaze.y_deg:.1f}°" if gaze.is_valid else "no eye in view"
    return Finding(name=name, status="pass" if gaze.is_valid else "warn", detail=detail)


def reward(of: Equipment) -> Finding:
    """The reward's device is there; nothing is given."""
    of.reward = of.make("stimloop.rewards", of.rig.reward)
    status = "skip" if isinstance(of.reward, NoReward) else "pass"
    return Finding.model_validate(
        {"name": "reward", "status": status, "detail": of.rig.reward.name}
    )


def _apparatus(of: Equipment) -> Apparatus | None:
    """The parts as a session has them, without fixation and reward; None if one is missing."""
    if of.display is None or of.acquisition is None or of.trigger is None:
        return None
    fixation = NoFixation(NoFixation.Settings(), SESSION)
    reward = NoReward(NoReward.Settings(), SESSION)
    return Apparatus(of.display, of.acquisition, fixation, of.trigger, reward)


def _presented(apparatus: Apparatus, word_bits: int, n: int) -> tuple[Presentation, ...]:
    """Show a dark and a bright square in turn, by the presenter of a session."""
    levels = (64, 192)
    images = np.stack([np.full((IMAGE_PX, IMAGE_PX, 3), level, np.uint8) for level in levels])
    order = [place % len(levels) for place in range(n)]
    block = Block.of(images, roles=Role.CONTROL, order=order, timing=TIMING, label="doctor")
    block = block.at(0, "doctor")

    def between_trials() -> bool:
        return bool(apparatus.acquisition.trouble())

    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(Spool(Path(folder), SESSION.session_id)) as spool,
    ):
        presenter = Presenter(apparatus, word_bits=word_bits)
        responses = presenter.present(block, spool.journal(block), between_trials)
    shown = responses.presentations
    missing = [cue.presentation(onset_s=0, outcome=Outcome.ABORTED, fault="silent_stream")
               for cue in list(block.cues())[len(shown):]]  # fmt: skip
    return (*shown, *missing)
