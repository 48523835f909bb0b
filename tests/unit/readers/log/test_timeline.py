"""Onsets come to the session's axis where they happened, whatever became of the clocks meanwhile."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.vocabulary import Outcome, Presentation, RecorderClock
from synth_server.readers.log.timeline import TimedBlock, placed

TAIL_S = 0.2
TRUE_S = np.array([[10, 10.25, 10.5], [20, 20.25, 20.5], [4000, 4000.25, 4000.5]])
"""When things happened, in seconds of the session, by block."""


def shown(onset_s, clock="rig"):
    done = clock != "rig"
    return Presentation(
        stimulus_id="0" * 64,
        repetition=0,
        attempt=0,
        trial=0,
        onset_s=float(onset_s),
        onset_clock=clock,
        outcome=Outcome.COMPLETED if done else Outcome.FIXATION_BREAK,
        spike_counts=(1.0,) if done else None,
    )


def block(true_s, presentations, delay_s=0.05, clock=None):
    """Proposed 0.5 s before its first image, answered `delay_s` after its end."""
    return TimedBlock(true_s[0] - 0.5, true_s[-1] + TAIL_S + delay_s, TAIL_S, presentations, clock)


def on_rig(offsets_s, delays_s=(0.05, 0.05, 0.05)):
    return [
        block(true_s, [shown(at - offset_s) for at in true_s], delay_s)
        for true_s, offset_s, delay_s in zip(TRUE_S, offsets_s, delays_s, strict=True)
    ]


def test_the_soonest_responses_place_a_run_and_intervals_stay_exact():
    found = placed(on_rig((1000, 1000, 1000), delays_s=(60, 0.02, 5)))
    for each, true_s in zip(found, TRUE_S, strict=True):
        np.testing.assert_allclose(each.onset_s, true_s + 0.02, atol=1e-9)
        assert each.aligned_by == ["rig"] * 3
        assert each.offset_s == pytest.approx(1000.02)


@pytest.mark.parametrize(
    "later_s", [3990, -500], ids=["its clock begins at 0 again", "and is ahead of the first"]
)
def test_a_rig_that_was_started_again_begins_a_run(later_s):
    found = placed(on_rig((-100, -100, later_s)))
    for each, true_s in zip(found, TRUE_S, strict=True):
        np.testing.assert_allclose(each.onset_s, true_s + 0.05, atol=1e-9)


def test_within_a_block_too():
    """Its journal kept the first presentation; the clock began again before the second."""
    first = block(TRUE_S[0], [shown(500), shown(1.0), shown(1.25)])
    later = block(TRUE_S[1], [shown(at - 9.25) for at in TRUE_S[1]])
    found = placed([first, later])
    np.testing.assert_allclose(found[0].onset_s[1:], TRUE_S[0][1:] + 0.05, atol=1e-9)
    np.testing.assert_allclose(found[1].onset_s, TRUE_S[1] + 0.05, atol=1e-9)
    assert TRUE_S[0][0] - 0.5 <= found[0].onset_s[0] <= found[0].onset_s[1] + 1e-9


def test_the_recorders_fit_brings_its_times_to_the_rigs():
    """Onsets on both clocks in one block; recorder = rig + 7 s at the last word, 100 ppm fast."""
    rig_s = np.array([100.0, 150.0, 200.0, 250.0])
    recorder_s = rig_s + 7 + (rig_s - 250) * 100e-6
    mixed = [shown(recorder_s[0], "recorder"), shown(rig_s[1])]
    mixed += [shown(at, "recorder") for at in recorder_s[2:]]
    fit = RecorderClock(offset_s=7, drift_ppm=100, residual_s=1e-5, n_words=3)
    (found,) = placed([block(rig_s, mixed, delay_s=0, clock=fit)])
    np.testing.assert_allclose(found.onset_s, rig_s, atol=1e-6)
    assert found.aligned_by == ["recorder fit", "rig", "recorder fit", "recorder fit"]


def test_a_block_without_a_fit_takes_the_nearest():
    fit = RecorderClock(offset_s=7, drift_ppm=0, residual_s=0, n_words=3)
    blocks = [
        block(true_s, [shown(at + 7, "recorder") for at in true_s], 0, clock)
        for true_s, clock in zip(TRUE_S, (None, fit, None), strict=True)
    ]
    found = placed(blocks)
    for each, true_s in zip(found, TRUE_S, strict=True):
        np.testing.assert_allclose(each.onset_s, true_s, atol=1e-9)
        assert set(each.aligned_by) == {"recorder fit"}


def test_without_any_fit_the_others_are_put_between_their_neighbours():
    one = [shown(1007.0, "recorder"), shown(3.0), shown(1007.5, "recorder")]
    (found,) = placed([block(TRUE_S[0], one, delay_s=0)])
    np.testing.assert_allclose(found.onset_s, TRUE_S[0])
    assert found.aligned_by == ["recorder", "order", "recorder"]


def test_a_virtual_clock_is_the_sessions_and_goes_on_if_started_again():
    blocks = [
        TimedBlock(0, 0.01 * n, TAIL_S, [shown(at, "virtual") for at in onsets], None)
        for n, onsets in enumerate([(0, 30, 60), (90, 120, 150), (0, 30)], 1)
    ]
    first, second, third = placed(blocks)
    np.testing.assert_allclose([*first.onset_s, *second.onset_s], [0, 30, 60, 90, 120, 150])
    assert third.onset_s[0] > 150
    assert third.onset_s[1] - third.onset_s[0] == pytest.approx(30)


def test_a_block_of_which_nothing_was_shown_has_no_times():
    (found,) = placed([TimedBlock(0, 1, TAIL_S, [], None)])
    assert found.onset_s.shape == (0,)
    assert found.aligned_by == []


def test_blocks_stay_in_their_order_where_the_servers_clock_was_set_back():
    """An hour back between the two; nothing says how long it really was."""
    first, second = (block(true_s, [shown(at) for at in true_s]) for true_s in TRUE_S[:2])
    second = second._replace(
        proposed_s=second.proposed_s - 3600, answered_s=second.answered_s - 3600
    )
    found = placed([first, second])
    np.testing.assert_allclose(found[0].onset_s, TRUE_S[0] + 0.05, atol=1e-9)
    assert found[1].onset_s[0] >= found[0].onset_s[-1]
    np.testing.assert_allclose(np.diff(found[1].onset_s), 0.25)


def test_what_else_is_on_the_rigs_clock_follows_its_runs():
    """The rig was started again after the first presentation; its clock began anew at 5 s."""
    presentations = [shown(1010), shown(5.25), shown(5.5)]
    (found,) = placed([block(np.array([10, 15.25, 15.5]), presentations)])
    on_rig_s = np.array([1009.9, 1010.1, 5.0, 5.4])
    wanted_s = found.onset_s[[0, 0, 1, 2]] + [-0.1, 0.1, -0.25, -0.1]
    np.testing.assert_allclose(found.on_session(on_rig_s), wanted_s, atol=1e-9)


def test_of_a_run_without_images_nothing_is_known():
    (found,) = placed([block(np.array([10.0]), [shown(5.0)])])
    told_s = found.on_session(np.array([1009.0, 5.5]))
    assert np.isnan(told_s[0])
    assert told_s[1] == pytest.approx(found.onset_s[0] + 0.5)


def test_a_recorders_clock_alone_ties_nothing_to_the_rigs():
    (found,) = placed([block(np.array([10.0]), [shown(5.0, "recorder")])])
    assert np.isnan(found.on_session(np.array([5.0]))).all()
