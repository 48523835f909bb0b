"""Counts in another window, from kept spike times; the table of sites."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.in_process import rehearse
from protocols.documents import EventKind, SessionSettings, ThreadSettings
from protocols.errors import DataError, SettingsError
from protocols.spike_times import counts_in
from simulated_neurons.spiking import latencies
from synth_server.monitor.sites_view import SitesView
from synth_server.readers.log.recounted import parsed_window, recounted
from synth_server.readers.summary.sites import read_sites
from synth_server.readers.time_courses.psth_and_latency import read_course, time_courses
from synth_server.recordings.measured import Wanted
from synth_server.recordings.reading import read_responses
from synth_server.report.page import write_report
from synth_server.session.log import SessionLog, verify_chain

SITES = ("site-00", "site-01")
OTHER_S = (0.04, 0.24)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    mapping = {"n_images": 12, "image_size_px": 16, "repetitions": 8}
    thread = ThreadSettings(name="map", protocol="map_responses", settings=mapping)
    settings = SessionSettings(session_id="w", seed=3, threads=(thread,))
    subject = {"name": "gabor_energy", "options": {"n_sites": 2}}
    return rehearse(settings, tmp_path_factory.mktemp("w"), {"subject": subject})


def responses(path):
    read = SessionLog(path)
    try:
        return [read.responses(event) for event in read.events(EventKind.RESPONSES_RECEIVED)]
    finally:
        read.close()


def test_a_window_is_asked_for_in_ms():
    assert parsed_window("", "--window") is None
    assert parsed_window("60,160", "--window") == (0.06, 0.16)
    for wrong in ("160,60", "60", "a,b"):
        with pytest.raises(SettingsError, match="this is no window"):
            parsed_window(wrong, "--window")


def test_counts_are_those_of_the_kept_times_and_the_log_is_left_alone(log):
    before = log.read_bytes()
    with recounted(log, OTHER_S) as copy:
        again = responses(copy)
        reader = SessionLog(copy)
        verify_chain(reader)
        reader.close()
    assert not copy.exists()
    assert log.read_bytes() == before
    for one, other in zip(responses(log), again, strict=True):
        for shown, recount in zip(one.presentations, other.presentations, strict=True):
            expected = counts_in(one.ticks(shown), OTHER_S, one.tick_hz)
            assert recount.spike_counts == tuple(expected)
    assert any(
        a.presentations != b.presentations for a, b in zip(responses(log), again, strict=True)
    )
    with recounted(log, None) as same:
        assert same == log


def test_a_recording_may_be_counted_in_another_window(log):
    found = read_responses(log, Wanted(window_s=OTHER_S))
    assert any("40–240 ms" in note for note in found.notes)
    course, _ = read_course(log)
    assert np.nanmean(found.values) == pytest.approx(course.counts(40, 240).mean() / 0.2)


def test_less_was_kept_than_asked_for(log):
    with pytest.raises(DataError, match="less was kept"), recounted(log, (0.05, 0.4)):
        pass


def test_the_table_of_sites_tells_the_latencies_that_the_sites_have(log):
    sites = read_sites(log)
    assert [line.site for line in sites.lines] == list(SITES)
    for line, true_s in zip(sites.lines, latencies(0, SITES, (50, 110)), strict=True):
        assert line.latency_ms == pytest.approx(1000 * true_s, abs=15)
        assert line.reliability is not None
        assert line.snr > 1
        assert line.best_window_ms is not None
        assert (line.x_deg, line.remark) == (None, "")
    course, timing = read_course(log)
    assert len(time_courses(course, timing).sites) == 2


def test_the_page_is_given_the_table_and_one_time_course(log):
    view = SitesView(log, 8)
    assert [line.site for line in view.document.lines] == list(SITES)
    assert view.document.mapped == ()
    assert view.document.count_window_ms == (70, 170)
    course = view.course("site-01")
    assert len(course.psth) == len(view.document.roles) == 1
    assert len(course.psth[0]) == len(view.document.times_ms) == 80
    assert len(course.raster) == 60
    assert any(course.raster)
    assert view.course("nobody").psth == ()


def test_the_report_says_which_window_was_counted_in(log, tmp_path):
    with recounted(log, OTHER_S) as copy:
        made = write_report(copy, tmp_path, None, counted_again=OTHER_S)
    page = made.page.read_text("utf-8")
    assert "counted again in 40–240 ms" in page
    assert "Sites: rate and baseline" in page
    assert any(figure.title == "Time course" for figure in made.figures)
