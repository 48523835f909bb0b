"""The conformance check of recorders: known spikes must give known counts, or a named fault."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from protocols.errors import RecorderGap
from protocols.promises import require
from protocols.rig_interfaces import (
    Acquisition,
    ClockedAcquisition,
    Measurement,
    RevisingAcquisition,
    Trigger,
)
from protocols.vocabulary import Block, Counts, Cue

LATE = "late_spikes"
STRAGGLERS_S, GLANCE_S = 5.0, 0.01
"""How long a wrong count may take to be withdrawn after the last trial, and how often that is asked."""
Show = Callable[[Cue, Callable[[float], None]], None]


def at_once(cue: Cue, at_onset: Callable[[float], None]) -> None:  # noqa: ARG001
    """An image that appears now and is gone: enough for neurons that are told what they see."""
    at_onset(time.perf_counter())


@dataclass
class Shown:
    """What became of a showing: its measurement, or its fault."""

    measured: dict[Cue, Measurement] = field(default_factory=dict)
    faults: dict[Cue, str] = field(default_factory=dict)

    def withdraw(self, late: Iterable[Cue]) -> None:
        """Counts that the recorder has found to be too low."""
        for cue in late:
            require(cue in self.measured, "late() tells of showings that were counted", got=cue)
            del self.measured[cue]
            self.faults[cue] = LATE


def check_recorder(
    recorder: Acquisition,
    trigger: Trigger,
    block: Block,
    expected: Callable[[Cue], Counts | None],
    *,
    show: Show = at_once,
    first_word: int = 1,
    expected_ticks: Callable[[Cue], Sequence[Sequence[int]]] | None = None,
    kept_s: tuple[float, float] | None = None,
    may_refuse: bool = False,
) -> dict[Cue, str]:
    """Check a recorder that streams, by a source whose spikes are known.

    A count is exact, or it has a named fault: at once (`RecorderGap`), or later, if the recorder has
    `late()`, which is asked between trials and at the end. The source should send as its vendor does.

    Args:
        recorder: The recorder.
        trigger: What puts the trial words on its lines, and tells the source what is shown.
        block: Shown once, trial by trial.
        expected: Counts `(n_sites,)` that must come out; None: it must refuse, with a fault.
        show: Shows an image: calls its second argument with the onset, on the rig's clock.
        first_word: Words count up from here.
        expected_ticks: For each site its spike times, which must come out as well: whole ticks after
            the word, rising.
        kept_s: The span whose spike times are asked for; must be given with `expected_ticks`.
        may_refuse: Whether a fault will do where counts were expected: of a source that is
            disturbed, no count may be wrong.

    Returns:
        The fault of each presentation that was refused or withdrawn.

    Raises:
        PluginError: At the first promise that is broken.
    """
    trigger.stage(block)
    recorder.stage(block)
    cues, size = list(block.cues()), block.timing.presentations_per_trial
    shown = Shown()
    onset_s = -np.inf
    for first in range(0, len(cues), size):
        trial = [
            cue.model_copy(update={"trial": first // size}) for cue in cues[first : first + size]
        ]
        require(recorder.trouble() == "", "the recorder must stream", got=recorder.trouble())
        for place, cue in enumerate(trial):
            word = first_word + first + place

            def at_onset(shown_s: float, cue: Cue = cue, word: int = word) -> None:
                trigger.send(word, cue)
                recorder.mark(cue, shown_s, word)

            show(cue, at_onset)
            trigger.clear()
        for cue in trial:
            _measure(recorder, cue, block.timing.count_window_s, kept_s, shown)
            if cue in shown.measured:
                onset_s = _advanced(shown.measured[cue], onset_s)
        shown.withdraw(_late(recorder))
    _await_stragglers(recorder, shown, expected)
    for cue in list(shown.measured):
        require(expected(cue) is not None, "what was lost must be refused, never guessed", got=cue)
        _compare(cue, shown.measured[cue], expected(cue), len(recorder.site_ids))
        if expected_ticks is not None:
            _compare_ticks(cue, shown.measured[cue], expected_ticks(cue))
    for cue, fault in shown.faults.items():
        allowed = may_refuse or expected(cue) is None
        require(allowed, "what arrived in full must be counted", got=f"{_where(cue)}: {fault}")
    _check_clock(recorder, len(shown.measured))
    return shown.faults


def _measure(
    recorder: Acquisition,
    cue: Cue,
    window_s: tuple[float, float],
    kept_s: tuple[float, float] | None,
    shown: Shown,
) -> None:
    try:
        shown.measured[cue] = recorder.spike_counts(cue, window_s, kept_s)
    except RecorderGap as gap:
        require(gap.fault not in ("", "recorder_gap"), "a fault must have a name", got=gap.fault)
        shown.faults[cue] = gap.fault


def _await_stragglers(
    recorder: Acquisition, shown: Shown, expected: Callable[[Cue], Counts | None]
) -> None:
    """A wrong count of the last trials may still be withdrawn: what proves it wrong is on its way."""
    until_s = time.monotonic() + STRAGGLERS_S
    while isinstance(recorder, RevisingAcquisition) and time.monotonic() < until_s:
        shown.withdraw(recorder.late())
        if all(_is_known(shown.measured[cue], expected(cue)) for cue in shown.measured):
            return
        time.sleep(GLANCE_S)


def _is_known(measured: Measurement, known: Counts | None) -> bool:
    return known is not None and np.array_equal(measured.counts, known)


def _late(recorder: Acquisition) -> tuple[Cue, ...]:
    return recorder.late() if isinstance(recorder, RevisingAcquisition) else ()


def _advanced(measured: Measurement, onset_s: float) -> float:
    require(measured.onset_s is not None, "the onset must come from the recorder's clock")
    now_s = measured.onset_s or 0.0
    require(now_s > onset_s, "onsets must advance", got=f"{now_s} after {onset_s}")
    return now_s


def _where(cue: Cue) -> str:
    return f"stimulus {cue.stimulus_index}, trial {cue.trial}"


def _compare(cue: Cue, measured: Measurement, known: Counts | None, n_sites: int) -> None:
    require(
        measured.counts.shape == (n_sites,),
        "spike_counts must return one count a site",
        got=f"{measured.counts.shape} for {n_sites} sites",
    )
    require(
        _is_known(measured, known),
        "known spikes must give exactly the known counts",
        got=f"{_where(cue)}: {measured.counts.tolist()}, known {np.asarray(known).tolist()}",
    )


def _compare_ticks(cue: Cue, measured: Measurement, known: Sequence[Sequence[int]]) -> None:
    got = None if measured.ticks is None else [each.tolist() for each in measured.ticks]
    require(
        got == [list(each) for each in known],
        "known spikes must give exactly the known spike times",
        got=f"{_where(cue)}: {got}, known {known}",
    )


def _check_clock(recorder: Acquisition, n_counted: int) -> None:
    if not isinstance(recorder, ClockedAcquisition) or not n_counted:
        return
    clock = recorder.clock()
    require(clock is not None, "a recorder that has counted must know its clock")
    require(
        clock is not None and clock.n_words >= 1, "a clock is fitted to the words that were seen"
    )
