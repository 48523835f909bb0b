"""Days are joined by images and names, and sites that are others today are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from protocols.documents import SessionSettings, ThreadSettings
from protocols.errors import DataError, SettingsError
from synth_server.commands.recording_options import RecordingOptions
from synth_server.recordings.days import compared, joined_days
from synth_server.session.build import new_session
from tests.playing import SITES, attach, play

N_SITES = 60


def two_days(seed: int, n_images: int = 60, n_showings: int = 6):
    """Two days of sites of which 30 % are swapped, with gains of 0.5 to 2, Fano 1.5; who is swapped."""
    random = np.random.default_rng(seed)
    sites = tuple(f"s{i}" for i in range(N_SITES))
    images = tuple(f"i{i}" for i in range(n_images))
    tuning = random.standard_normal((2, N_SITES, n_images))
    swapped = random.random(N_SITES) < 0.3
    tuning[1, ~swapped] = tuning[0, ~swapped]
    level = random.uniform(8, 30, (N_SITES, 1))
    gain = 2.0 ** random.uniform(-1, 1, (N_SITES, 1))

    def day(tuned, factor):
        spikes = 0.1 * factor * np.maximum(level * (1 + 0.5 * tuned), 0.5)
        counts = random.negative_binomial(
            np.repeat(spikes[..., None] / 0.5, n_showings, axis=2), 1 / 1.5
        )
        return sites, images, counts / 0.1

    return day(tuning[0], 1.0), day(tuning[1], gain), swapped, gain[:, 0]


def test_swapped_sites_are_found_and_others_kept():
    found = lost = n_swapped = n_same = 0
    errors = []
    for seed in range(3):
        before, now, swapped, gain = two_days(seed)
        day = compared(Path("monday"), before, now)
        found += int((~day.same & swapped).sum())
        lost += int((~day.same & ~swapped).sum())
        n_swapped, n_same = n_swapped + int(swapped.sum()), n_same + int((~swapped).sum())
        kept = day.same & ~swapped
        errors.append(np.abs(np.log(day.gain[kept] / gain[kept])))
    assert found >= 0.9 * n_swapped
    assert lost <= 0.05 * n_same
    assert np.median(np.concatenate(errors)) < 0.1


def test_a_site_that_was_never_shown_an_image_twice_is_not_taken_for_the_same():
    before, now, _, _ = two_days(0, n_showings=1)
    assert not compared(Path("monday"), before, now).same.any()


def test_too_few_shared_images_are_refused():
    (sites, images, counts), now, _, _ = two_days(0)
    others = tuple(f"x{name}" if n >= 19 else name for n, name in enumerate(images))
    with pytest.raises(DataError, match="too few images in common"):
        compared(Path("monday"), (sites, others, counts), now)


def session(path: Path, **settings: object) -> Path:
    thread = ThreadSettings(
        name="map",
        protocol="map_responses",
        settings={"n_images": 24, "image_size_px": 16, "repetitions": 2, **settings},
    )
    made = new_session(SessionSettings(session_id="s", seed=1, threads=(thread,)), path)
    attach(made)
    play(made)
    made.log.close()
    return path


def test_two_sessions_are_one_recording(tmp_path):
    paths = [session(tmp_path / "a.sqlite"), session(tmp_path / "b.sqlite", n_images=30)]
    days = joined_days(paths)
    assert days.site_ids == SITES
    assert days.images.shape == (30, 16, 16, 3)
    assert days.responses.shape == (2, 30, 4)
    n_counts = np.sort(np.isfinite(days.responses).sum(axis=2), axis=1)
    assert n_counts.tolist() == [[2] * 6 + [4] * 24] * 2
    assert "24 images shared; 2 sites joined, gains 1.00–1.00" in days.lines[0]


def test_a_fit_takes_several_sessions(tmp_path):
    paths = [session(tmp_path / "a.sqlite"), session(tmp_path / "b.sqlite", n_images=30)]
    recording = RecordingOptions(None, None, paths, 16).read()
    assert recording.n_images == 30
    assert recording.site_ids == SITES
    with pytest.raises(SettingsError, match="their own images and sites"):
        RecordingOptions(None, None, paths, 16, site_names="a,b").read()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"timing": {"count_start_ms": 50.0, "count_stop_ms": 150.0}}, "count window"),
        ({"image_size_px": 20}, "size of images"),
    ],
)
def test_days_that_are_not_alike_are_refused(tmp_path, settings, said):
    paths = [session(tmp_path / "a.sqlite", **settings), session(tmp_path / "b.sqlite")]
    with pytest.raises(DataError, match=said):
        joined_days(paths)
    with pytest.raises(DataError, match="another window today"):
        joined_days(paths[1:], today_s=(0.05, 0.15))
    assert joined_days(paths[1:], today_s=(0.07, 0.17)).days == ()
    if "timing" in settings:
        assert joined_days(paths, mixed=True).responses.shape[2] == 4


def test_a_session_given_twice_is_refused(tmp_path):
    path = session(tmp_path / "a.sqlite")
    with pytest.raises(DataError, match="given twice"):
        joined_days([path, path])
