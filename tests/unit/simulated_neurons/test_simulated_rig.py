"""The simulated recorder and gaze: seeded by cue, so that a restart changes nothing."""

import numpy as np
import pytest

from protocols.errors import RecorderGap, RigError, SettingsError
from protocols.interfaces import SessionInfo
from protocols.plugins import create
from protocols.rig_interfaces import Acquisition, Fixation
from protocols.settings import PluginChoice
from protocols.vocabulary import Block, Cue, Role, Timing
from simulated_neurons.gabor_energy import GaborEnergyPopulation, GaborEnergySettings

SESSION = SessionInfo(session_id="test", seed=11)
WINDOW = (0.07, 0.17)
SUBJECT = {"name": "gabor_energy", "options": {"n_sites": 3}}


def recorder(session: SessionInfo = SESSION, **options) -> Acquisition:
    choice = PluginChoice(name="simulated", options={"subject": SUBJECT, **options})
    return create("stimloop.acquisitions", choice, session)


def gaze(**options) -> Fixation:
    return create("stimloop.fixations", PluginChoice(name="simulated", options=options), SESSION)


def block(index: int = 0, repetitions: int = 5) -> Block:
    subject = GaborEnergyPopulation(GaborEnergySettings(n_sites=3))
    images = np.stack([subject.best_image(site, 32) for site in range(3)])
    order = list(range(3)) * repetitions
    timing = Timing(on_ms=100, count_start_ms=50, count_stop_ms=150)
    return Block.of(images, roles=Role.NATURAL, order=order, timing=timing).at(index, "main")


def recorded(acquisition: Acquisition, shown: Block, cues: list[Cue]) -> np.ndarray:
    acquisition.stage(shown)
    for cue in cues:
        acquisition.mark(cue, 0.0, 1)
    return np.array([acquisition.spike_counts(cue, WINDOW).counts for cue in cues])


def test_they_are_plug_ins_that_keep_the_interfaces():
    assert isinstance(recorder(), Acquisition)
    assert isinstance(gaze(), Fixation)
    assert recorder().site_ids == ("site-00", "site-01", "site-02")


def test_without_noise_counts_are_rate_times_window():
    shown = block()
    counts = recorded(recorder(noise="none"), shown, list(shown.cues()))
    subject = GaborEnergyPopulation(GaborEnergySettings(n_sites=3))
    np.testing.assert_allclose(counts, np.tile(subject.rates(shown.images), (5, 1)) * 0.1)


def test_a_restarted_rig_counts_the_same_in_any_order():
    shown = block()
    cues = list(shown.cues())
    counts = recorded(recorder(drift=0.2), shown, cues)
    assert np.array_equal(recorded(recorder(drift=0.2), shown, cues[::-1])[::-1], counts)
    assert np.array_equal(recorded(recorder(drift=0.2), shown, cues[7:9]), counts[7:9])


def test_counts_differ_by_session_repetition_attempt_and_block():
    shown = block(repetitions=40)
    cues = list(shown.cues())
    counts = recorded(recorder(), shown, cues)
    again = [cue.model_copy(update={"attempt": 1}) for cue in cues]
    later = block(1, repetitions=40)
    other = SessionInfo(session_id="test", seed=12)
    assert np.unique(counts[::3], axis=0).shape[0] > 5
    for elsewhere in (
        recorded(recorder(), shown, again),
        recorded(recorder(), later, list(later.cues())),
        recorded(recorder(other), shown, cues),
    ):
        assert not np.array_equal(elsewhere, counts)


def test_noise_is_around_the_expectation():
    shown = block(repetitions=400)
    cues = list(shown.cues())
    expected = recorded(recorder(noise="none"), shown, cues)[0]
    poisson = recorded(recorder(), shown, cues)[::3]
    wide = recorded(recorder(noise="overdispersed", fano=3), shown, cues)[::3]
    np.testing.assert_allclose(poisson.mean(axis=0), expected, rtol=0.2, atol=0.06)
    assert poisson[:, 0].var() / poisson[:, 0].mean() == pytest.approx(1, abs=0.25)
    assert wide[:, 0].var() / wide[:, 0].mean() == pytest.approx(3, abs=0.8)


def test_latency_moves_the_response_out_of_the_window():
    shown = block(repetitions=1)
    counts = recorded(
        recorder(noise="none", latency_ms=170, baseline_rate=7), shown, list(shown.cues())
    )
    np.testing.assert_allclose(counts, 0.7)


def test_drift_scales_all_sites_alike_and_slowly():
    shown = block(repetitions=20)
    cues = list(shown.cues())
    gains = recorded(recorder(noise="none", drift=0.5), shown, cues) / recorded(
        recorder(noise="none"), shown, cues
    )
    np.testing.assert_allclose(gains, gains[:, :1].repeat(3, axis=1))
    assert np.ptp(gains) > 0
    assert np.abs(np.diff(gains[:, 0])).max() < 0.02


def test_lost_presentations_are_as_many_as_asked_for_and_seeded_by_attempt():
    shown = block(repetitions=100)
    cues = list(shown.cues())

    def lost(acquisition: Acquisition, attempt: int) -> list[bool]:
        acquisition.stage(shown)
        fates = []
        for cue in cues:
            tried = cue.model_copy(update={"attempt": attempt})
            acquisition.mark(tried, 0.0, 1)
            try:
                acquisition.spike_counts(tried, WINDOW)
                fates.append(False)
            except RecorderGap:
                fates.append(True)
        return fates

    first = lost(recorder(drop_rate=0.2), 0)
    assert np.mean(first) == pytest.approx(0.2, abs=0.06)
    assert lost(recorder(drop_rate=0.2), 0) == first
    assert lost(recorder(drop_rate=0.2), 1) != first
    assert not any(lost(recorder(), 0))


def test_counts_of_what_was_never_shown_are_refused():
    shown = block()
    cue = next(shown.cues())
    acquisition = recorder()
    with pytest.raises(RigError, match="not staged"):
        acquisition.spike_counts(cue, WINDOW)
    acquisition.stage(shown)
    with pytest.raises(RigError, match="never began"):
        acquisition.spike_counts(cue, WINDOW)
    acquisition.mark(cue, 0.0, 1)
    acquisition.stage(block(1))
    with pytest.raises(RigError, match="staged block: 1"):
        acquisition.spike_counts(cue, WINDOW)


def test_wrong_options_are_named():
    with pytest.raises(SettingsError, match="fano"):
        recorder(fano=0.5)
    with pytest.raises(SettingsError, match="break_rate"):
        gaze(break_rate=2)


def test_breaks_are_as_many_as_asked_for_and_seeded_by_attempt():
    cues = list(block(repetitions=200).cues())
    again = [cue.model_copy(update={"attempt": 1}) for cue in cues]
    eye, restarted, steady = gaze(break_rate=0.3), gaze(break_rate=0.3), gaze(break_rate=0)
    fates = [eye.held(cue) for cue in cues]
    assert np.mean(fates) == pytest.approx(0.7, abs=0.06)
    assert [restarted.held(cue) for cue in reversed(cues)] == fates[::-1]
    assert [eye.held(cue) for cue in again] != fates
    assert all(steady.held(cue) for cue in cues)


def test_fixation_that_is_not_reached_may_be_tried_again():
    cues = list(block(repetitions=200).cues())
    eye = gaze(failure_rate=0.4)
    tries = []
    for cue in cues:
        tries.append(1)
        while not eye.acquire(cue):
            tries[-1] += 1
    assert np.mean(tries) == pytest.approx(1 / 0.6, abs=0.2)
    restarted = gaze(failure_rate=0.4)
    assert [restarted.acquire(cue) for cue in cues] == [n == 1 for n in tries]
