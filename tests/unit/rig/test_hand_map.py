"""The hand map's parts: pictures, points on the disk, what the terminal says, who is refused."""

from __future__ import annotations

import contextlib
import io
import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from protocols import plugins
from protocols.errors import SettingsError
from protocols.fields import FieldMap, FieldPlace
from protocols.interfaces import SessionInfo
from protocols.live_interfaces import LiveAcquisition
from protocols.settings import PluginChoice
from protocols.vocabulary import Placement
from rig_client import emulators
from rig_client.acquisition.python_source import Heard, PythonStream, Spike
from rig_client.cli import app
from rig_client.display.geometry import Geometry
from rig_client.emulators.emulator import Spike as EmulatedSpike
from rig_client.handmap.picture import N_PHASES, Look, look_at, picture
from rig_client.handmap.points import Points, hand_map
from rig_client.handmap.rates import LiveRates, Reading
from rig_client.handmap.session import HandMap
from rig_client.handmap.stage import seen_by_degrees
from rig_client.handmap.state import Hand, Kept, Stimulus
from rig_client.handmap.table import in_words, table
from rig_client.settings import RigSettings
from simulated_neurons.acquisition import SimulatedAcquisition

SESSION = SessionInfo(session_id="s", seed=0)
GEOMETRY = Geometry((400, 300), 20.0, 57.0)
"""20 px in a degree, near the centre."""
BOUNDS = (-10.0, -7.5, 10.0, 7.5)


def reading(*rates: float, trouble: str = "") -> Reading:
    known = None if trouble else np.array(rates)
    fired = np.array([rate > 0 for rate in rates])
    return Reading(trouble, known, known, None, 0.0, 0.5, 0.02, 0.06, fired)


# --- pictures --------------------------------------------------------------------------------------


def test_a_bar_is_as_long_as_wide_and_as_turned_as_it_is_said():
    bar = Stimulus(size_deg=4.0, width_deg=1.0, orientation_deg=30.0)
    light = picture(bar, Look(), GEOMETRY, 128, [])[..., 0].astype(float) - 128
    assert light.max() == 127
    assert light.sum() / 127 == pytest.approx(80 * 20, rel=0.02)
    rows, columns = np.indices(light.shape)
    x, y = columns - columns.mean(), rows.mean() - rows
    (xx, xy), (_, yy) = np.cov(np.stack([x.ravel(), y.ravel()]), aweights=light.ravel())
    assert np.degrees(0.5 * np.arctan2(2 * xy, xx - yy)) == pytest.approx(30, abs=0.5), "y is up"
    dark = picture(bar._replace(polarity=-1, contrast=0.5), Look(), GEOMETRY, 128, [])
    assert (dark.min(), dark.max()) == (64, 128)


def test_a_grating_has_its_frequency_and_drifts_by_a_cycle_in_a_cycle():
    grating = Stimulus("grating", size_deg=8.0, frequency_cpd=1.5, flicker_hz=2.0, motion="drifts")
    looks = [look_at(grating, phase / N_PHASES / 2 + 1e-6) for phase in range(N_PHASES)]
    assert [look.phase for look in looks] == [phase / N_PHASES for phase in range(N_PHASES)]
    pixels = picture(grating, Look(), GEOMETRY, 128, [])[..., 0].astype(float) - 128
    column = pixels[:, pixels.shape[1] // 2]
    spectrum = np.abs(np.fft.rfft(column, 4096))
    cycles_per_px = spectrum.argmax() / 4096
    assert cycles_per_px * GEOMETRY.length_px(1.0) == pytest.approx(1.5, rel=0.02)
    half = picture(grating, Look(phase=0.5), GEOMETRY, 128, [])[..., 0].astype(float) - 128
    assert np.abs(pixels + half).max() <= 1
    assert look_at(grating._replace(motion="reverses"), 0.3) == Look(-1)
    assert look_at(grating._replace(flicker_hz=0.0), 0.3) == Look()


def test_a_photograph_is_upright_and_its_negative_is_about_the_background():
    image = np.full((30, 60, 3), 128, np.uint8)
    image[:15, :30] = 255, 128, 0
    one = Stimulus("photograph", size_deg=3.0)
    shown = picture(one, Look(), GEOMETRY, 128, [image])
    assert shown.shape[:2] == (30, 60)
    np.testing.assert_array_equal(shown[5, 5], [255, 128, 0])
    turned = picture(one._replace(orientation_deg=90.0), Look(), GEOMETRY, 128, [image])
    np.testing.assert_array_equal(turned[-5, 5], [255, 128, 0]), "anticlockwise"
    negative = picture(one._replace(polarity=-1), Look(), GEOMETRY, 128, [image])
    np.testing.assert_array_equal(negative[5, 5], [1, 128, 255])


def test_the_screen_by_degrees_has_everything_where_it_is():
    """A wide, near screen: at its side a degree has 1.6 times the pixels that it has in the middle."""
    near = Geometry((1000, 400), 10.0, 60.0)
    pixels = np.full((400, 1000, 3), 128, np.uint8)
    for point in ((37.0, 5.0), (-20.0, -12.0)):
        x, y = (int(one) for one in near.point_px(point))
        pixels[:] = 128
        pixels[y - 3 : y + 4, x - 3 : x + 4] = 255
        screen, place = seen_by_degrees(pixels, near, 128)
        rows, columns = np.nonzero(screen[..., 0] == 255)
        per_px = place.size_deg / len(screen)
        found = (columns.mean() + 0.5) * per_px - place.size_deg / 2
        assert found == pytest.approx(point[0], abs=0.1)
        assert place.size_deg / 2 - (rows.mean() + 0.5) * per_px == pytest.approx(point[1], abs=0.1)


# --- points ----------------------------------------------------------------------------------------


def test_a_point_is_on_the_disk_before_anything_else_and_can_be_taken_back(tmp_path, monkeypatch):
    synced: list[str] = []
    sync = os.fsync

    def noted(number: int) -> None:
        synced.append((tmp_path / "m" / "handmap.jsonl").read_text().splitlines()[-1])
        sync(number)

    monkeypatch.setattr(os, "fsync", noted)
    points = Points(tmp_path / "m", ("a", "b"), BOUNDS, {})
    first = Kept(1, Stimulus(x_deg=3.0, y_deg=-2.0), "")
    points.keep(first, reading(12, 3), "now")
    points.keep(Kept(2, Stimulus(x_deg=1.0), "b"), reading(0, 0, trouble="silent"), "then")
    assert [json.loads(line)["event"] for line in synced] == ["begin", "point", "point"]
    assert json.loads(synced[1])["rates"] == {"a": 12.0, "b": 3.0}
    assert json.loads(synced[2])["rates"] is None, "not known is not 0"
    assert json.loads(synced[2])["kind"] == "bar"
    csv = (tmp_path / "m" / "handmap.csv").read_text().splitlines()
    assert len(csv) == 5
    assert csv[1].endswith(",a,12.0,12.0,")
    assert csv[3].endswith(",a,,,")
    points.take_back(2, "later")
    assert len((tmp_path / "m" / "handmap.csv").read_text().splitlines()) == 3
    assert FieldPlace(fields=str(tmp_path / "m" / "fields.json")).read() == points.fields()
    points.take_back(1, "later")
    assert not (tmp_path / "m" / "fields.json").exists()
    points.close()
    with pytest.raises(SettingsError, match="there is a hand map in this folder already"):
        Points(tmp_path / "m", ("a", "b"), BOUNDS, {})


def test_a_disk_that_is_full_is_told_and_the_points_wait_for_room(tmp_path, monkeypatch):
    points = Points(tmp_path / "m", ("a",), BOUNDS, {})
    sync = os.fsync

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    points.keep(Kept(1, Stimulus(), ""), reading(1), "now")
    assert "POINTS NOT WRITTEN: No space left" in points.trouble
    with pytest.raises(SettingsError, match="kept points could not be written") as caught:
        points.close()
    assert '"number": 1' in str(caught.value)
    monkeypatch.setattr(os, "fsync", sync)
    points.close()
    assert '"number": 1' in (tmp_path / "m" / "handmap.jsonl").read_text()


def test_fields_follow_from_points_and_place_covers_them():
    corners = [(2.0, -1.0), (4.0, -1.0), (3.0, -3.0)]
    all_of = [Kept(n, Stimulus(x_deg=x, y_deg=y), "") for n, (x, y) in enumerate(corners)]
    own = Kept(4, Stimulus("grating", x_deg=-5.0, y_deg=5.0, size_deg=3.0), "b")
    found = hand_map([*all_of, own], ("a", "b"), BOUNDS)
    assert FieldMap.model_validate_json(found.text()) == found
    assert found.estimator == "hand"
    a, b = found.fields
    assert (a.n, a.x_deg, a.y_deg, a.p, a.reliability) == (3, 3.0, -2.0, None, None)
    assert (b.n, b.x_deg, b.y_deg, b.is_usable) == (1, -5.0, 5.0, True)
    assert found.place(["a"]) == Placement(x_deg=3.0, y_deg=-2.0, size_deg=2.5)
    assert found.place(["b"]) == Placement(x_deg=-5.0, y_deg=5.0, size_deg=3.0)
    with pytest.raises(SettingsError, match="no receptive field"):
        hand_map([own], ("a", "b"), BOUNDS).place(["a"])


# --- the terminal ----------------------------------------------------------------------------------


def printed(one: Reading, n: int, height: int = 40) -> str:
    console = Console(width=150, height=height, record=True, file=io.StringIO())
    sites = tuple(f"s{number}" for number in range(n))
    console.print(table(Hand(), one, sites, ["SIMULATED: x"], "r", (150, height)))
    return console.export_text()


def test_the_table_says_no_data_where_there_is_none_and_never_zero():
    text = printed(reading(12.34, 0.0), 2)
    assert "12.3" in text
    assert "none yet" in text, "a site that never fired may be misnamed"
    assert "spikes/s of the last 0.50 s, up to 0.06 s ago; recorder last heard 0.0 s ago" in text
    assert "SIMULATED: x" in text
    text = printed(reading(1.0, 1.0, trouble="nothing has come for 3.1 s"), 2)
    assert text.count("no data") == 2
    assert "NO DATA: nothing has come for 3.1 s" in text
    assert "0.0 " not in text.replace("0.0 s ago", "").replace("+0.00", "")
    many = printed(reading(*[1.0] * 96), 96, height=24)
    assert all(f"s{number} " in many for number in range(96))
    most = printed(reading(*range(1, 401)), 400, height=24)
    assert "of 400 sites: the highest" in most
    assert "s399 " in most
    assert "s100 " not in most


def test_a_stimulus_in_words():
    one = Stimulus("grating", 3.0, -2.0, polarity=-1, flicker_hz=4.0, motion="drifts")
    assert in_words(one) == (
        "grating at +3.00°, -2.00°, 2.00°, 1.00 cycles/°, turned 0°, contrast 100 %, drifts at 4 Hz"
    )
    assert in_words(one._replace(is_shown=False)).startswith("HIDDEN (grating at +3.00°")


# --- recorders -------------------------------------------------------------------------------------


class Metronome:
    """An SDK in real time: `a` fires at 50/s to the sample, `b` never; `stopped` is silence."""

    stopped = threading.Event()

    def __init__(self) -> None:
        self._began_s, self._told = time.perf_counter(), 0

    def read(self, timeout_s: float) -> list[Spike | Heard]:
        if self.stopped.wait(timeout_s):
            return []
        start, self._told = self._told, int((time.perf_counter() - self._began_s) * 30_000)
        first = -(-start // 600) * 600
        spikes = [Spike(sample, "a") for sample in range(first, self._told, 600)]
        return [*spikes, Heard(self._told)]

    def close(self) -> None:
        pass


def test_a_recorder_that_streams_gives_its_rates_without_a_word():
    settings = PythonStream.Settings(
        source=f"{__name__}:Metronome", sites=("a", "b"), silence_s=0.2
    )
    rates, wait = LiveRates(), threading.Event()
    Metronome.stopped.clear()

    def until(condition, deadline_s=30.0) -> Reading:
        began_s = time.perf_counter()
        while time.perf_counter() < began_s + deadline_s:
            rates.take(recorder.fresh(), time.perf_counter(), hidden=False)
            if condition(found := rates.reading()):
                return found
            wait.wait(0.02)
        pytest.fail(f"never: {rates.reading()}")

    with contextlib.closing(PythonStream(settings, SESSION)) as recorder:
        assert isinstance(recorder, LiveAcquisition)
        found = until(lambda one: one.rates is not None)
        a, b = found.rates * found.window_s
        assert abs(a - 50 * found.window_s) <= 1, "one spike every 600 samples, no less, no more"
        assert b == 0
        assert found.has_fired.tolist() == [True, False]
        Metronome.stopped.set()
        silent = until(lambda one: "has been silent" in one.trouble)
        assert silent.rates is None


@pytest.mark.parametrize("kind", ["open-ephys-events", "open-ephys-zmq"])
def test_an_emulated_recorder_s_spikes_are_counted_between_trials(kind):
    """Through its sockets, 40 and 10 spikes/s: of the time that is told of, none is missing or twice."""
    population = {"name": "gabor_energy", "options": {"n_sites": 3}}
    options = {"neurons": {"name": "simulated", "options": {"subject": population}}}
    settings = emulators.loaded(kind).Settings(**options, any_port=True)
    emulator, stop = emulators.made(kind, settings), threading.Event()
    began = emulator._sample_at(time.perf_counter())
    for number in range(1, 1500):
        sample = began + number * 750
        emulator._later(EmulatedSpike(sample, 0), jitters=True)
        if number % 4 == 0:
            emulator._later(EmulatedSpike(sample + 3, 1), jitters=True)
    running = threading.Thread(target=emulator.run, args=(stop,))
    running.start()
    choice = PluginChoice.model_validate(emulator.announcement()["acquisition"])
    try:
        with contextlib.closing(
            plugins.create("stimloop.acquisitions", choice, SESSION)
        ) as recorder:
            told_s, counts, until_s = 0.0, np.zeros(3), time.perf_counter() + 30
            while told_s < 1.5 and time.perf_counter() < until_s:
                fresh = recorder.fresh()
                told_s, counts = told_s + fresh.duration_s, counts + fresh.counts
                stop.wait(0.02)
    finally:
        stop.set()
        running.join()
        emulator.close()
    assert told_s >= 1.5, fresh
    assert abs(counts[0] - 40 * told_s) <= 2
    assert abs(counts[1] - 10 * told_s) <= 2
    assert counts[2] == 0


def test_simulated_rates_are_those_of_the_whole_screen_a_latency_ago():
    """Expected counts, no noise: 40 spikes/s from 100 ms after the screen changed."""

    class Subject:
        site_ids = ("a", "b")

        def rates(self, images):
            raise AssertionError

        def rates_on_screen(self, images, places):
            return np.array([[40.0, 8.0] if image.max() > 128 else [2.0, 8.0] for image in images])

    settings = SimulatedAcquisition.Settings(noise="none", latency_ms=100)
    recorder = SimulatedAcquisition(settings, SESSION, Subject())
    assert isinstance(recorder, LiveAcquisition)
    now_s = 0.0
    recorder._now_s = lambda: now_s
    assert recorder.fresh().fault
    total, place = np.zeros(2), Placement(size_deg=20)
    gray, light = np.full((4, 4, 3), 128, np.uint8), np.full((4, 4, 3), 255, np.uint8)
    for tick in range(21):
        now_s = tick * 0.05
        recorder.see(light if tick >= 10 else gray, place)
        fresh = recorder.fresh()
        assert fresh.age_s == 0
        total += fresh.counts
    np.testing.assert_allclose(total, [0.6 * 2 + 0.4 * 40, 8.0])
    now_s = 3.0
    assert recorder.fresh().duration_s == 0, "nobody knows what the screen was"
    assert recorder.fresh().age_s == pytest.approx(2.0)


REFUSED = [
    ({"acquisition": {"name": "python_callable", "options": {"function": "os.path:join",
                                                              "sites": ["a"]}}},
     "counts around trials only"),
    ({"acquisition": {"name": "simulated", "options": {"subject": {"name": "gabor_energy"}}}},
     "no fields on the screen"),
    ({"display": {"name": "headless"}}, "needs a window"),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "why"), REFUSED)
def test_a_rig_that_cannot_be_mapped_by_hand_is_refused_and_let_go(tmp_path, parts, why):
    rig = {
        "spool": tmp_path / "spool",
        "display": {"name": "psychopy"},
        "acquisition": {
            "name": "simulated",
            "options": {"subject": {"name": "placed",
                                    "options": {"population": {"name": "gabor_energy"}}}},
        },
    }  # fmt: skip
    settings = RigSettings.model_validate({**rig, **parts})
    for _ in range(2):  # the second: nothing of the first holds the rig
        with pytest.raises(SettingsError, match=why):
            HandMap(settings, tmp_path / "out", [], Console(quiet=True))
    assert not (tmp_path / "out").exists()


def test_photographs_that_are_none_are_refused_before_anything_opens(tmp_path: Path):
    (tmp_path / "rig.toml").write_text(
        '[display]\nname = "headless"\n[acquisition]\nname = "simulated"\n'
    )
    (tmp_path / "broken.png").write_bytes(b"no image")
    options = ["handmap", "--config", str(tmp_path / "rig.toml"), "--photographs"]
    for folder, why in ((tmp_path / "none", "no photographs"), (tmp_path, "cannot be read")):
        done = CliRunner().invoke(app, [*options, str(folder)])
        assert why in str(done.exception)
