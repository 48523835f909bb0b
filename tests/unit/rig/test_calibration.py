"""Calibration: known screens and known delays are found again."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tomli_w
from typer.testing import CliRunner

from protocols.errors import DataError, RecorderGap
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Measurement
from rig_client.apparatus import Apparatus
from rig_client.calibration.gamma import (
    LEVELS,
    fit_gamma,
    linearising_table,
    read_readings,
    write_table,
)
from rig_client.calibration.geometry import ruler, screen_width_cm, size_table
from rig_client.calibration.photodiode import STEP_S, measure_latency
from rig_client.cli import app
from rig_client.display.geometry import Geometry
from rig_client.display.headless import HeadlessDisplay
from rig_client.display.window import read_gamma_table
from rig_client.fixation import NoFixation
from rig_client.reward import NoReward
from rig_client.triggers.none import NoTrigger

SESSION = SessionInfo(session_id="s", seed=0)


def readings(gamma, dark=0.4, bright=120.0):
    return [dark + (bright - dark) * (level / 255) ** gamma for level in LEVELS]


# --- gamma --------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.23])
def test_a_known_screen_is_found_and_made_linear(gamma, tmp_path):
    found = fit_gamma(LEVELS, readings(gamma))
    assert found.exponent == pytest.approx(gamma, abs=2e-3)
    assert found.darkest_cd_m2 == pytest.approx(0.4, abs=0.05)
    assert found.worst < 1e-3
    write_table(linearising_table(found), tmp_path / "gamma.txt")
    table = read_gamma_table(tmp_path / "gamma.txt")
    assert table.shape == (3, 256)
    light = table[0] ** gamma
    np.testing.assert_allclose(light, np.linspace(0, 1, 256), atol=2e-3)


def test_order_does_not_matter_and_noise_shows():
    levels, values = LEVELS[::-1], np.array(readings(2.2))[::-1]
    assert fit_gamma(levels, values).exponent == pytest.approx(2.2, abs=2e-3)
    values[4] += 12
    assert 0.04 < fit_gamma(levels, values).worst < 0.1


@pytest.mark.parametrize(
    ("levels", "luminances", "got"),
    [
        ((0, 128, 255), (1, 2, 3), "3 levels"),
        ((0, 64, 128, 192, 255), (9, 8, 7, 6, 5), "not brighter"),
        ((0, 64, 128, 192, 255), (0, 1, float("nan"), 6, 9), "no number"),
        ((64, 96, 128, 192, 255), (0, 1, 4, 6, 9), "from 64"),
    ],
)
def test_readings_that_say_nothing_are_refused(levels, luminances, got):
    with pytest.raises(DataError, match="do not tell") as refused:
        fit_gamma(levels, luminances)
    assert got in refused.value.got


def test_the_gamma_command_reads_a_file(tmp_path):
    rows = zip(LEVELS, readings(2.4), strict=True)
    text = "level,luminance\n" + "".join(f"{level},{value}\n" for level, value in rows)
    (tmp_path / "readings.csv").write_text(text)
    (tmp_path / "rig.toml").write_text("")
    options = ["--config", tmp_path / "rig.toml", "--readings", tmp_path / "readings.csv"]
    out = ["--out", tmp_path / "gamma.txt", "--rows", "1024"]
    done = CliRunner().invoke(app, ["calibrate", "gamma", *map(str, [*options, *out])])
    assert done.exit_code == 0, done.output
    assert "gamma_table" in done.output
    assert read_gamma_table(tmp_path / "gamma.txt").shape == (3, 1024)
    assert read_readings(tmp_path / "readings.csv")[0] == list(LEVELS)


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "r.csv").write_text("0,1\nlevel\n")
    with pytest.raises(DataError, match=r"cannot be read"):
        read_readings(tmp_path / "r.csv")


# --- geometry -----------------------------------------------------------------------------------


def test_a_ruler_on_the_bar_gives_the_screens_width():
    bar = ruler((1920, 1080))
    white = np.flatnonzero((bar.image[0, bar.image.shape[1] // 2] == 255).all(axis=1))
    assert white[-1] - white[0] + 1 == bar.length_px == 960
    assert screen_width_cm(bar.length_px, 26.0, 1920) == 52.0
    with pytest.raises(DataError, match="believable"):
        screen_width_cm(bar.length_px, 0.0, 1920)


def test_sizes_are_those_of_the_display():
    geometry = Geometry.of_screen((1920, 1080), 1920, 52.0, 57.0)
    for angle, pixels, centimetres in size_table(geometry):
        assert pixels == geometry.length_px(angle)
        assert centimetres == pytest.approx(2 * 57 * np.tan(np.deg2rad(angle / 2)))


def test_the_geometry_command_shows_the_bar_and_prints_the_settings(screen, tmp_path):
    options = {"full_screen": False, "window_px": [640, 480], "check_refresh": False}
    display = {"name": "psychopy", "options": options | {"paced": False}}
    rig = {"display": display, "acquisition": {"name": "simulated"}}
    (tmp_path / "rig.toml").write_text(tomli_w.dumps(rig))
    done = CliRunner().invoke(
        app,
        [
            *("calibrate", "geometry", "--config", str(tmp_path / "rig.toml")),
            *("--distance-cm", "60", "--measured-cm", "13"),
        ],
    )
    assert done.exit_code == 0, done.output
    assert "width_cm = 52.00" in done.output  # 320 px of 1280 are 13 cm
    assert "distance_cm = 60" in done.output


# --- photodiode ---------------------------------------------------------------------------------


class Diode:
    """A recorder whose site sees light `delay_s` after each word, or does not."""

    site_ids = ("A-001", "photodiode")

    def __init__(self, delays_s):
        self.delays_s = delays_s
        self.words = []

    def stage(self, block):
        pass

    def mark(self, cue, onset_s, word):
        self.words.append(word)

    tick_hz = 0.0

    def spike_counts(self, cue, window_s, kept_s=None):
        delay_s = self.delays_s[cue.repetition % len(self.delays_s)]
        if delay_s is None:
            raise RecorderGap("no word")
        seen = window_s[0] <= delay_s < window_s[1]
        return Measurement(np.array([5.0, float(seen)]))

    def trouble(self):
        return ""

    def close(self):
        pass


def rig(recorder):
    display = HeadlessDisplay(HeadlessDisplay.Settings(), SESSION)
    none = SimpleNamespace(Settings=None)
    return Apparatus(
        display,
        recorder,
        NoFixation(none, SESSION),
        NoTrigger(none, SESSION),
        NoReward(none, SESSION),
    )


def test_a_known_delay_is_found():
    recorder = Diode([0.0125, 0.0125, 0.0143, None])
    found = measure_latency(rig(recorder), "photodiode", n=40)
    assert found.median_s == pytest.approx(0.0125, abs=STEP_S)
    assert (len(found.delays_s), found.n_flashes) == (30, 40)
    assert found.jitter_s == pytest.approx(0.0018, abs=STEP_S)
    assert recorder.words == list(range(1, 41))


def test_light_before_the_word_is_seen_too():
    found = measure_latency(rig(Diode([-0.004])), "photodiode", n=5)
    assert found.median_s == pytest.approx(-0.004, abs=STEP_S)


def test_a_diode_that_sees_nothing_is_an_error():
    with pytest.raises(DataError, match="did not see the flashes"):
        measure_latency(rig(Diode([0.5])), "photodiode", n=10)


def test_an_unknown_site_is_an_error():
    with pytest.raises(DataError, match="no such site") as refused:
        measure_latency(rig(Diode([0.01])), "diode")
    assert "A-001, photodiode" in refused.value.expected


def test_the_command_sends_words_of_the_rigs_width(monkeypatch, tmp_path):
    recorder = Diode([0.012])
    monkeypatch.setattr(
        "rig_client.apparatus.apparatus_of", lambda settings, session: rig(recorder)
    )
    config = tmp_path / "rig.toml"
    parts = {"display": {"name": "headless"}, "acquisition": {"name": "simulated"}}
    config.write_text(tomli_w.dumps({"word_bits": 3, **parts}))
    options = ["--config", str(config), "--site", "photodiode", "--flashes", "20"]
    done = CliRunner().invoke(app, ["calibrate", "photodiode", *options])
    assert done.exit_code == 0, done.output
    assert "12.0 ms after the word" in done.output
    assert recorder.words == [*range(1, 8), *range(1, 8), *range(1, 7)]
