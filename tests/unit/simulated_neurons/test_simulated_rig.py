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
    plain = recorder(noise="none", latency_ms=70, transient=0)
    counts = recorded(plain, shown, list(shown.cues()))
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


# --- gaze in time -----------------------------------------------------------------------------------


def watched(refresh_hz: float = 500, session: SessionInfo = SESSION, **options):
    """A gaze on a headless display's virtual clock."""
    settings = {"refresh_hz": refresh_hz, "fixation_point_deg": (2, 1)}
    display = create("stimloop.displays", PluginChoice(name="headless", options=settings), session)
    eye = create("stimloop.fixations", PluginChoice(name="simulated", options=options), session)
    eye.watch_on(display)
    return eye, display


def breaks_after_s(eye, display, cue, longest_s: float = 0.3) -> float | None:
    assert eye.acquire(cue)
    began_s = display.now_s()
    held = display.blank(longest_s, lambda: eye.held(cue))
    return None if held else display.now_s() - began_s


def test_a_break_comes_at_a_moment_of_its_own_that_only_cue_and_seed_decide():
    cues = list(block(repetitions=100).cues())
    eye, display = watched(break_rate=0.3)
    moments = [breaks_after_s(eye, display, cue) for cue in cues]
    broken = [moment for moment in moments if moment is not None]
    assert len(broken) / len(cues) == pytest.approx(0.3, abs=0.08)
    assert min(broken) < 0.02
    assert 0.13 < max(broken) <= 0.153
    restarted, later = watched(break_rate=0.3)
    later.blank(17.3)
    again = [breaks_after_s(restarted, later, cue) for cue in reversed(cues)]
    for first, second in zip(moments, reversed(again), strict=True):
        assert first == pytest.approx(second, abs=1e-9)
    other, elsewhere = watched(session=SessionInfo(session_id="test", seed=12), break_rate=0.3)
    assert [breaks_after_s(other, elsewhere, cue) for cue in cues] != moments


def test_a_nap_begins_no_trial_and_changes_nothing_else():
    """A trial that runs when it begins is finished; afterwards all is as it would have been."""
    cues = list(block(repetitions=30).cues())

    def story(**options) -> tuple[list[tuple[int, bool]], float]:
        eye, display = watched(refresh_hz=60, break_rate=0.3, failure_rate=0.3, **options)
        fates = []
        for cue in cues:
            misses = 0
            while not eye.acquire(cue):
                asleep = any(
                    start <= display.now_s() - 1 < stop for start, stop in options.get("naps", ())
                )
                misses += not asleep
            fates.append((misses, display.blank(0.3, lambda c=cue: eye.held(c))))
        return fates, display.now_s()

    awake, lasted_s = story()
    slept, longer_s = story(naps=[[10, 610]])
    assert slept == awake
    assert longer_s - lasted_s == pytest.approx(600, abs=2)


def test_a_nap_must_end():
    with pytest.raises(SettingsError, match="to_s comes after from_s"):
        gaze(naps=[[5, 5]])


def test_gaze_is_at_the_point_and_away_when_it_is_broken():
    eye, display = watched(break_rate=1, within_ms=100, gaze_hz=250)
    cue = next(block().cues())
    assert eye.acquire(cue)
    display.blank(1.0, lambda: eye.held(cue))
    broken_s = display.now_s()
    display.blank(1.0)
    kept = eye.gaze_since()
    assert kept.dtype == np.float32
    np.testing.assert_allclose(np.diff(kept[:, 0]), 1 / 250, atol=1e-4)
    near = np.hypot(kept[:, 1] - 2, kept[:, 2] - 1) < 1
    assert (near == (kept[:, 0] + eye.gaze_start_s < broken_s)).mean() > 0.98
    assert len(eye.gaze_since()) == 0
