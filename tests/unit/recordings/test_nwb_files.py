"""NWB files: our own exports, and small files laid out as two public data sets are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile
from pynwb.base import ImageReferences, Images
from pynwb.epoch import TimeIntervals
from pynwb.image import IndexSeries, RGBImage
from pynwb.misc import Units

from protocols.documents import SessionSettings, ThreadSettings
from protocols.errors import DataError
from protocols.vocabulary import Placement
from synth_server.readers.export.nwb import export_nwb
from synth_server.recordings.measured import Wanted
from synth_server.recordings.places import at_main_place
from synth_server.recordings.reading import Read, read_recording
from tests.unit.readers.logged import logged
from tests.unit.recordings.conftest import N_IMAGES, N_REPEATS, N_SITES, Known

WINDOW_S = (0.05, 0.25)


def written(path: Path, fill: Callable[[NWBFile], None]) -> Path:
    file = NWBFile("a session", "id", datetime(2024, 1, 1, tzinfo=UTC))
    fill(file)
    with NWBHDF5IO(str(path), "w") as io:
        io.write(file)
    return path


def read(known: Known, path: Path, **said: object) -> Read:
    return read_recording(known.images, path, Wanted(**said))  # type: ignore[arg-type]


def showings(known: Known) -> tuple[np.ndarray, np.ndarray, list[list[float]]]:
    """Image of each showing, its onset, and each unit's spike times: so many in the window, and
    further ones just before and after it."""
    image = np.random.default_rng(2).permutation(np.repeat(np.arange(N_IMAGES), N_REPEATS))
    onset = 10.0 + 0.5 * np.arange(len(image))
    seen = np.zeros(N_IMAGES, dtype=int)
    spikes: list[list[float]] = [[] for _ in range(N_SITES)]
    for place, t in zip(image, onset, strict=True):
        for unit in range(N_SITES):
            n = int(known.trials[place, unit, seen[place]])
            spikes[unit] += [t + 0.049, *(t + np.linspace(0.05, 0.249, n)), t + 0.2501]
        seen[place] += 1
    return image, onset, spikes


def allen(known: Known, file: NWBFile, *, blank: bool = True) -> None:
    """Allen Brain Observatory, Neuropixels: intervals/natural_scenes_presentations, frame, Units."""
    image, onset, spikes = showings(known)
    scenes = TimeIntervals("natural_scenes_presentations", "presentations of natural scenes")
    for name in ("stimulus_name", "stimulus_block", "frame"):
        scenes.add_column(name, name)
    for place, t in zip(image, onset, strict=True):
        scenes.add_interval(t, t + 0.25, stimulus_name="natural_scenes", stimulus_block=4.0,
                            frame=float(place))  # fmt: skip
    if blank:
        scenes.add_interval(99.0, 99.25, stimulus_name="natural_scenes", stimulus_block=4.0,
                            frame=-1.0)  # fmt: skip
    movie = TimeIntervals("natural_movie_one_presentations", "presentations of frames")
    for name in ("stimulus_name", "frame"):
        movie.add_column(name, name)
    for place in range(40):
        movie.add_interval(200.0 + place, 200.03 + place, stimulus_name="natural_movie_one",
                           frame=float(place))  # fmt: skip
    file.add_time_intervals(scenes)
    file.add_time_intervals(movie)
    file.add_unit_column("quality", "quality")
    for number, times in enumerate(spikes):
        file.add_unit(spike_times=times, quality="good", id=950_000_000 + number)


def test_spike_times_in_the_layout_of_the_allen_institute(known: Known, out: Path) -> None:
    path = written(out / "allen.nwb", lambda file: allen(known, file))
    found = read(known, path, window_s=WINDOW_S)
    assert found.recording.site_ids == ("950000000", "950000001", "950000002")
    assert found.recording.means == pytest.approx(known.means / 0.2)
    assert found.recording.repetitions.tolist() == [[N_REPEATS] * N_SITES] * N_IMAGES
    for said in ("50–250 ms", "1 rows left out", "spikes/s", "by place, counted from 0 (frame)"):
        assert said in found.line, found.line


def test_the_window_is_told_where_nobody_chose_it(known: Known, out: Path) -> None:
    path = written(out / "allen.nwb", lambda file: allen(known, file))
    found = read(known, path)
    assert "70–170 ms after start_time (by default; --window-ms" in found.line
    assert not np.allclose(found.recording.means, known.means / 0.2)


def test_a_table_of_presentations_is_chosen_by_name(known: Known, out: Path) -> None:
    def twice(file: NWBFile) -> None:
        allen(known, file)
        again = TimeIntervals("second_presentations", "the same once more")
        again.add_column("frame", "frame")
        for place in range(N_IMAGES):
            again.add_interval(300.0 + place, 300.2 + place, frame=place)
        file.add_time_intervals(again)

    path = written(out / "two.nwb", twice)
    with pytest.raises(DataError, match="several tables name images") as refused:
        read(known, path, window_s=WINDOW_S)
    assert "natural_scenes_presentations" in refused.value.got
    found = read(known, path, window_s=WINDOW_S, array="natural_scenes_presentations")
    assert found.recording.means == pytest.approx(known.means / 0.2)


def test_trials_in_the_layout_of_the_dicarlo_laboratory(known: Known, out: Path) -> None:
    """One trial a showing: stimulus_presented and stimulus_filename, broken fixations marked."""

    def trials(file: NWBFile) -> None:
        image, onset, spikes = showings(known)
        columns = ("stimulus_presented", "stimulus_filename", "fixation_correct", "trial_index")
        for name in columns:
            file.add_trial_column(name, name)
        for place, t in zip(image, onset, strict=True):
            file.add_trial(start_time=t, stop_time=t + 0.1, stimulus_presented=np.uint32(place),
                           stimulus_filename=known.images.names[place], fixation_correct=True,
                           trial_index=0)  # fmt: skip
        file.add_trial(start_time=90.0, stop_time=90.1, stimulus_presented=np.uint32(0),
                       stimulus_filename=known.images.names[0], fixation_correct=False,
                       trial_index=1)  # fmt: skip
        file.add_unit_column("unit_name", "name")
        for number, times in enumerate(spikes):
            file.add_unit(spike_times=times, unit_name=f"A-00{number}")

    found = read(known, written(out / "dicarlo.nwb", trials), window_s=WINDOW_S)
    assert found.recording.site_ids == ("A-000", "A-001", "A-002")
    assert found.recording.means == pytest.approx(known.means / 0.2)
    assert "1 rows left out: fixation_correct" in found.line


def histogram(known: Known, file: NWBFile, names: tuple[str, ...] = ("psth",)) -> None:
    """(images, repetitions, time bins, channels), the bins told in the description."""
    counts = np.zeros((N_IMAGES, N_REPEATS, 30, N_SITES))
    counts[:, :, 7:17] = known.trials.transpose(0, 2, 1)[:, :, None]
    counts[:, :, 17:] = 50.0
    for name in names:
        file.add_scratch(
            counts, name=name, description="uint8, [start_time_ms, stop_time_ms, tb_ms]: [0 300 10]"
        )


def test_a_histogram_in_the_layout_of_brain_scores_data(known: Known, out: Path) -> None:
    path = written(out / "psth.nwb", lambda file: histogram(known, file))
    found = read(known, path)
    assert found.recording.means == pytest.approx(known.means)
    assert "mean of the bins from 70 to 170 ms" in found.line
    with pytest.raises(DataError, match="not made of whole bins"):
        read(known, path, window_s=(0.075, 0.17))
    two = written(out / "two.nwb", lambda file: histogram(known, file, ("psth", "psth_z")))
    with pytest.raises(DataError, match="several histograms"):
        read(known, two)
    assert read(known, two, array="psth").recording.means == pytest.approx(known.means)


def test_a_vector_of_responses_in_each_row(known: Known, out: Path) -> None:
    def matrix(file: NWBFile) -> None:
        image, onset, _ = showings(known)
        table = TimeIntervals("image_presentations", "a row a showing")
        table.add_column("image_name", "file")
        table.add_column("spike_counts", "over units")
        seen = np.zeros(N_IMAGES, dtype=int)
        for place, t in zip(image, onset, strict=True):
            table.add_interval(t, t + 0.1, image_name=known.images.names[place],
                               spike_counts=known.trials[place, :, seen[place]])  # fmt: skip
            seen[place] += 1
        file.add_time_intervals(table)

    found = read(known, written(out / "matrix.nwb", matrix))
    assert found.recording.means == pytest.approx(known.means)


def test_what_was_not_observed_is_missing(known: Known, out: Path) -> None:
    def partly(file: NWBFile) -> None:
        image, onset, spikes = showings(known)
        file.add_trial_column("image", "file")
        for place, t in zip(image, onset, strict=True):
            file.add_trial(start_time=t, stop_time=t + 0.1, image=known.images.names[place])
        half = onset[len(onset) // 2] - 0.1
        units = Units("units", description="observed for a while")
        for unit, times in enumerate(spikes):
            units.add_unit(spike_times=times, obs_intervals=[(0.0, 100.0 if unit else half)])
        file.units = units
        file.add_invalid_time_interval(onset[-1] - 0.1, onset[-1] + 0.1)

    found = read(known, written(out / "partly.nwb", partly), window_s=WINDOW_S)
    recording = found.recording
    total = N_IMAGES * N_REPEATS
    assert recording.repetitions.sum(axis=0).tolist() == [total // 2, total - 1, total - 1]
    assert "1 presentations left out: in invalid_times" in found.line


def test_a_file_without_responses_lists_what_it_holds(known: Known, out: Path) -> None:
    def eye(file: NWBFile) -> None:
        file.add_trial(start_time=0.0, stop_time=1.0)

    with pytest.raises(DataError, match="no table says which image") as refused:
        read(known, written(out / "eye.nwb", eye))
    assert "trials (start_time, stop_time)" in refused.value.got


@pytest.fixture
def session(out: Path) -> tuple[Path, list[Any]]:
    settings = {"n_images": 12, "image_size_px": 16, "repetitions": 3}
    thread = ThreadSettings(name="map", protocol="map_responses", settings=settings)
    chosen = SessionSettings(session_id="s", seed=3, threads=(thread,))
    return out / "session.sqlite", logged(chosen, out / "session.sqlite")


def test_our_own_session_as_log_and_as_nwb(session: tuple[Path, list[Any]], out: Path) -> None:
    log, answered = session
    window_s = 0.1
    counts: dict[str, list[tuple[float, ...]]] = {}
    for responses in answered:
        for shown in responses.completed():
            counts.setdefault(shown.stimulus_id, []).append(shown.spike_counts)
    expected = np.array([np.mean(each, axis=0) / window_s for each in counts.values()])
    export_nwb(log, out / "s.nwb")
    for path in (log, out / "s.nwb"):
        found = read_recording(None, path, Wanted())
        recording = found.recording
        assert recording.n_images == 12
        assert (recording.repetitions == 3).all()
        assert np.sort(recording.means, axis=0) == pytest.approx(np.sort(expected, axis=0))
        assert "left out that were not completed" in found.line
        assert "count window 70–170 ms" in found.line
    one, other = (read_recording(None, p, Wanted()).recording for p in (log, out / "s.nwb"))
    assert one.digest == other.digest


def test_an_image_at_another_place_is_no_repetition() -> None:
    fields = {name: np.zeros(5) for name in Placement.model_fields}
    fields["x_deg"] = np.array([1.0, 1.0, 4.0, 1.0, np.nan])
    kept, said = at_main_place(fields)
    assert kept.tolist() == [True, True, False, True, False]
    assert said == "2 presentations left out: shown at 2 other places"
    assert at_main_place({"outcome": np.array(["completed"])})[0].tolist() == [True]


def trials_of(known: Known, file: NWBFile, columns: dict[str, float], more: bool = False) -> None:
    """A row a trial that begins 0.3 s before its image; columns: name → s after the image's onset."""
    image, onset, spikes = showings(known)
    for name in (*columns, "external_image_file", "response_value"):
        file.add_trial_column(name, name)
    rows = [(known.images.names[place], t) for place, t in zip(image, onset, strict=True)]
    for name, t in rows + [(known.images.names[0], 5000.0), (known.images.names[0], np.nan)] * more:
        start = 5000.0 if np.isnan(t) else t - 0.3
        moments = {column: t + after for column, after in columns.items()}
        path = f"C:\\Stimuli\\{name}"
        file.add_trial(start, start + 1, external_image_file=path, response_value=31.0, **moments)
    for times in spikes:
        file.add_unit(spike_times=times)
    file.add_unit(spike_times=[])


def test_the_image_comes_later_than_its_trial(known: Known, out: Path) -> None:
    """Human single units (dandiset 000004) say stim_on_time; answers of the subject are no sites."""
    moments = {"stim_on_time": 0.0, "stim_off_time": 0.2, "fixation_onset": -0.2}
    path = written(out / "human.nwb", lambda file: trials_of(known, file, moments, more=True))
    path.rename(out / "human.h5")
    found = read(known, out / "human.h5", window_s=WINDOW_S)
    assert found.recording.means == pytest.approx(known.means / 0.2)
    assert found.left_out == {"3": "always answers 0"}
    assert "after stim_on_time" in found.line
    assert "1 presentations left out: no stim_on_time" in found.line
    assert "1 presentations left out: after the last spike of all units" in found.line
    two = {"stim_on_time": 0.0, "image_onset": 0.1}
    path = written(out / "two.nwb", lambda file: trials_of(known, file, two))
    with pytest.raises(DataError, match="several columns may be the onset"):
        read(known, path, window_s=WINDOW_S)


def test_a_series_of_indices_into_images(known: Known, out: Path) -> None:
    def series(file: NWBFile) -> None:
        image, onset, spikes = showings(known)
        held = [RGBImage(name=n, data=i) for i, n in zip(*known.images[:2], strict=True)]
        order = ImageReferences(name="order_of_images", data=held)
        scenes = Images(name="scenes", description="d", images=held, order_of_images=order)
        file.add_stimulus_template(scenes)
        numbers = np.asarray(image, dtype=np.uint32)
        file.add_stimulus(
            IndexSeries(
                name="shown", data=numbers, unit="N/A", indexed_images=scenes, timestamps=onset
            )
        )
        for times in spikes:
            file.add_unit(spike_times=times)

    path = written(out / "series.nwb", series)
    found = read(known, path, window_s=WINDOW_S).recording
    assert found.means == pytest.approx(known.means / 0.2)
