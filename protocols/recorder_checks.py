"""The conformance check of recorders: known spikes must give known counts, or a named fault."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from protocols.errors import RecorderGap
from protocols.promises import require
from protocols.rig_interfaces import Acquisition, ClockedAcquisition, Measurement, Trigger
from protocols.vocabulary import Block, Counts, Cue

Show = Callable[[Cue, Callable[[float], None]], None]


def at_once(cue: Cue, at_onset: Callable[[float], None]) -> None:  # noqa: ARG001
    """An image that appears now and is gone: enough for neurons that are told what they see."""
    at_onset(time.perf_counter())


def check_recorder(
    recorder: Acquisition,
    trigger: Trigger,
    block: Block,
    expected: Callable[[Cue], Counts | None],
    *,
    show: Show = at_once,
    first_word: int = 1,
) -> dict[Cue, str]:
    """Check a recorder that streams, by a source whose spikes are known.

    Args:
        recorder: The recorder.
        trigger: What puts the trial words on its lines, and tells the source what is shown.
        block: Shown once, trial by trial.
        expected: Counts `(n_sites,)` that must come out; None: it must refuse, with a fault.
        show: Shows an image: calls its second argument with the onset, on the rig's clock.
        first_word: Words count up from here.

    Returns:
        The fault of each presentation that was refused.

    Raises:
        PluginError: At the first promise that is broken.
    """
    trigger.stage(block)
    recorder.stage(block)
    cues, size = list(block.cues()), block.timing.presentations_per_trial
    faults: dict[Cue, str] = {}
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
            measured = _measured(recorder, cue, block.timing.count_window_s)
            _compare(cue, measured, expected(cue), len(recorder.site_ids))
            if isinstance(measured, str):
                faults[cue] = measured
                continue
            require(measured.onset_s is not None, "the onset must come from the recorder's clock")
            require(
                (measured.onset_s or 0.0) > onset_s,
                "onsets must advance",
                got=f"{measured.onset_s} after {onset_s}",
            )
            onset_s = measured.onset_s or 0.0
    _check_clock(recorder, len(cues) - len(faults))
    return faults


def _measured(recorder: Acquisition, cue: Cue, window_s: tuple[float, float]) -> Measurement | str:
    try:
        return recorder.spike_counts(cue, window_s)
    except RecorderGap as gap:
        require(gap.fault not in ("", "recorder_gap"), "a fault must have a name", got=gap.fault)
        return gap.fault


def _compare(cue: Cue, measured: Measurement | str, known: Counts | None, n_sites: int) -> None:
    where = f"stimulus {cue.stimulus_index}, trial {cue.trial}"
    if known is None:
        require(
            isinstance(measured, str),
            "what was lost must be refused, never guessed",
            got=f"{where}: {measured}",
        )
        return
    if isinstance(measured, str):
        require(False, "what arrived in full must be counted", got=f"{where}: {measured}")
        return
    require(
        measured.counts.shape == (n_sites,),
        "spike_counts must return one count a site",
        got=f"{measured.counts.shape} for {n_sites} sites",
    )
    require(
        np.array_equal(measured.counts, known),
        "known spikes must give exactly the known counts",
        got=f"{where}: {measured.counts.tolist()}, known {np.asarray(known).tolist()}",
    )


def _check_clock(recorder: Acquisition, n_counted: int) -> None:
    if not isinstance(recorder, ClockedAcquisition) or not n_counted:
        return
    clock = recorder.clock()
    require(clock is not None, "a recorder that has counted must know its clock")
    require(
        clock is not None and clock.n_words >= 1, "a clock is fitted to the words that were seen"
    )
