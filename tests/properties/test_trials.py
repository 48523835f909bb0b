"""A trial's promises for any timing: juice after the last window, and no count of a broken one."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Measurement
from protocols.vocabulary import Block, BlockResponses, Cue, Outcome, Role, Timing
from rig_client.apparatus import Apparatus
from rig_client.display.headless import HeadlessDisplay
from rig_client.presenter import Presenter
from rig_client.spool import Spool
from rig_client.triggers.none import NoTrigger

SESSION = SessionInfo(session_id="s", seed=0)
IMAGES = np.arange(6 * 12, dtype=np.uint8).reshape(6, 2, 2, 3)
FRAME_S = 1 / 60

milliseconds = st.integers(0, 300)


@st.composite
def timings(draw: st.DrawFn) -> Timing:
    start = draw(st.integers(-50, 250))
    return Timing(
        on_ms=draw(st.integers(1, 300)),
        off_ms=draw(milliseconds),
        count_start_ms=start,
        count_stop_ms=start + draw(st.integers(1, 300)),
        keep_stop_ms=draw(st.integers(0, 400)),
        presentations_per_trial=draw(st.integers(1, 6)),
        inter_trial_ms=draw(milliseconds),
        timeout_ms=draw(milliseconds),
    )


class Recorder:
    site_ids = ("x",)
    tick_hz = 0.0

    def stage(self, block: Block) -> None: ...

    def mark(self, cue: Cue, onset_s: float, word: int) -> None: ...

    def spike_counts(self, cue: Cue, window_s: Any, kept_s: Any = None) -> Measurement:
        return Measurement(np.ones(1))

    def trouble(self) -> str:
        return ""

    def close(self) -> None: ...


class Eye:
    """Looks away from one moment on, for 20 ms, on the display's clock."""

    def __init__(self, display: HeadlessDisplay, away_s: float) -> None:
        self._display, self._away_s = display, away_s
        self.is_broken = False

    def acquire(self, cue: Cue) -> bool:
        self.is_broken = False
        return True

    def held(self, cue: Cue) -> bool:
        """Once a look away was over it is not noticed: the display asks in every frame."""
        now_s = self._display.now_s()
        self.is_broken |= self._away_s <= now_s < self._away_s + 0.02
        return not self.is_broken

    def close(self) -> None: ...


class Juice:
    pulse_ms = given_ml = 0.0

    def __init__(self, display: HeadlessDisplay) -> None:
        self._display = display
        self.at_s: dict[int, float] = {}

    def give(self, trial: int) -> bool:
        self.at_s[trial] = self._display.now_s()
        return True

    def give_free(self) -> bool:
        return False

    def set_pulse(self, pulse_ms: float) -> None: ...

    def close(self) -> None: ...


def shown(timing: Timing, away_s: float) -> tuple[BlockResponses, Juice]:
    display = HeadlessDisplay(HeadlessDisplay.Settings(), SESSION)
    juice = Juice(display)
    trigger = NoTrigger(NoTrigger.Settings(), SESSION)
    apparatus = Apparatus(display, Recorder(), Eye(display, away_s), trigger, juice)
    block = Block.of(IMAGES, roles=Role.NATURAL, timing=timing).at(0, "t")
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(Spool(Path(folder), "s")) as spool,
    ):
        presenter = Presenter(apparatus)
        return presenter.present(block, spool.journal(block), lambda: False), juice


@settings(max_examples=60, deadline=None)
@given(timings(), st.floats(0, 3))
def test_juice_never_comes_before_the_last_count_window_is_over(
    timing: Timing, away_s: float
) -> None:
    responses, juice = shown(timing, away_s)
    for trial, at_s in juice.at_s.items():
        last_s = max(one.onset_s for one in responses.presentations if one.trial == trial)
        assert at_s >= last_s + timing.count_window_s[1] - 1e-6


@settings(max_examples=60, deadline=None)
@given(timings(), st.floats(0, 3))
def test_a_break_within_the_count_window_withholds_the_count(timing: Timing, away_s: float) -> None:
    """Whatever the moment: the window of every image that counts was over before the eye left."""
    responses, _ = shown(timing, away_s)
    for one in responses.presentations:
        over_s = one.onset_s + timing.count_window_s[1]
        if one.onset_s <= away_s < over_s:
            assert one.outcome is not Outcome.COMPLETED


@settings(max_examples=40, deadline=None)
@given(timings(), st.floats(0, 3))
def test_every_image_is_counted_once_in_the_end(timing: Timing, away_s: float) -> None:
    responses, _ = shown(timing, away_s)
    counted = [one.stimulus_id for one in responses.completed()]
    assert sorted(counted) == sorted(set(counted))
    assert len(counted) == len(IMAGES)
    attempts = [(one.stimulus_id, one.attempt) for one in responses.presentations]
    assert len(attempts) == len(set(attempts))


def test_without_a_break_nothing_is_withheld() -> None:
    for on_ms in (10, 33, 100):
        timing = Timing(on_ms=on_ms, off_ms=0, count_stop_ms=171, presentations_per_trial=3)
        responses, juice = shown(timing, away_s=1e9)
        assert all(one.outcome is Outcome.COMPLETED for one in responses.presentations)
        assert len(juice.at_s) == 2
