"""Methods say what was shown; one image at two places is two stimuli; what was simulated is said."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from protocols.documents import EventKind, SessionSettings, ThreadSettings
from protocols.errors import LogError
from protocols.vocabulary import Block, BlockResponses, Outcome, Placement, Role, Timing
from synth_server.readers.log.evolved_thread import EvolvedThread
from synth_server.readers.log.session_record import read_record
from synth_server.readers.log.shown_times import Shown
from synth_server.readers.log.synthesised_images import ControlThread
from synth_server.readers.results.folder import write_result_set
from synth_server.readers.summary.session_summary import summarize
from synth_server.report.page import write_report
from synth_server.report.rig_and_timing import timing_paragraph
from synth_server.session.log import SessionLog
from synth_server.session.recovery import LoggedImages
from tests.playing import RIG
from tests.unit.readers.logged import logged

LEFT, RIGHT = Placement(x_deg=-3, size_deg=2), Placement(x_deg=3, size_deg=2)
SIMULATED_RIG = RIG.model_copy(update={"simulated": ("acquisition: simulated",)})


def shown(timing: Timing, on_screen_ms: float, apart_ms: float) -> Shown:
    """Four images in trials, as a display that knows its flips reports them."""
    images = np.arange(4 * 12, dtype=np.uint8).reshape(4, 2, 2, 3)
    block = Block.of(images, roles=Role.NATURAL, timing=timing).at(0, "t")
    presentations = tuple(
        cue.presentation(
            onset_s=apart_ms / 1000 * place + 5 * cue.trial,
            outcome=Outcome.COMPLETED,
            spike_counts=(1.0,),
            shown_ms=on_screen_ms,
        )
        for place, cue in enumerate(block.cues())
    )
    found = Shown()
    found.add(
        block.document(),
        BlockResponses(block_index=0, site_ids=("a",), presentations=presentations),
        RIG.display,
    )
    return found


def test_ten_milliseconds_at_60_hz_are_told_as_they_were_shown() -> None:
    timing = Timing(on_ms=10, off_ms=0, presentations_per_trial=2)
    said = timing_paragraph(timing, "", shown(timing, 16.667, 33.333), 1000 / 60)
    assert "on the screen for 16.7 ms (1 frame of 16.67 ms)" in said
    assert "planned were 10 ms" in said
    assert "33.3 ms (2 frames of 16.67 ms) from onset to onset; planned were 10 ms" in said
    assert "4° wide at (2°, -1°)" in said


def test_what_went_as_planned_is_told_once() -> None:
    timing = Timing(on_ms=100, off_ms=100, presentations_per_trial=4)
    said = timing_paragraph(timing, " (a)", shown(timing, 100.1, 200.2), 1000 / 59.94)
    assert said.startswith("Timing (a): an image was on the screen for 100.1 ms (6 frames of")
    assert "planned were" not in said


def test_a_display_that_does_not_know_is_not_taken_to_have_kept_the_plan() -> None:
    timing = Timing(on_ms=50)
    said = timing_paragraph(timing, "", shown(timing, 0, 200), 0)
    assert "by plan an image was on for 50 ms; the display did not tell" in said


# --- places -------------------------------------------------------------------------------------


def at_two_places() -> tuple[Block, BlockResponses]:
    """One image at the left, where it draws 2 spikes, and at the right, where it draws 8."""
    image = np.full((2, 2, 2, 3), 7, np.uint8)
    block = Block.of(image, roles=Role.NATURAL, labels=["cat", "cat"], places=[LEFT, RIGHT]).at(
        0, "t"
    )
    presentations = tuple(
        cue.presentation(onset_s=0.0, outcome=Outcome.COMPLETED, spike_counts=(count,))
        for cue, count in zip(block.cues(), (2.0, 8.0), strict=True)
    )
    return block, BlockResponses(block_index=0, site_ids=("a",), presentations=presentations)


def test_one_image_at_two_places_is_two_stimuli_with_two_names() -> None:
    block, responses = at_two_places()
    thread = EvolvedThread("t", "map_responses", None)
    thread.add(block.document(), responses)
    ids, means = thread.mean_counts(Role.NATURAL)
    assert len(set(ids)) == 2
    assert means[:, 0].tolist() == [2.0, 8.0]
    assert [thread.labels[each] for each in ids] == [
        "cat, 2° wide at (-3°, 0°)",
        "cat, 2° wide at (3°, 0°)",
    ]


def test_control_images_are_counted_by_place_as_well() -> None:
    block, responses = at_two_places()
    thread = ControlThread("t", 1.0)
    thread.add(block.document(), responses)
    images = thread.images(Role.NATURAL)
    assert sorted(float(image.counts[0].mean()) for image in images) == [2.0, 8.0]
    assert len({image.image for image in images}) == 1


def placed(settings: SessionSettings) -> SessionSettings:
    """The same threads, the second of them at a place of its own."""
    first, second = settings.threads
    moved = ThreadSettings(
        name=second.name, protocol=second.protocol, settings=second.settings, place=RIGHT
    )
    return SessionSettings(session_id="test", seed=5, threads=(first, moved))


def test_every_reader_finds_the_pixels_of_placed_images(
    evolve_settings: SessionSettings, tmp_path: Path
) -> None:
    path = tmp_path / "session.sqlite"
    logged(placed(evolve_settings), path)
    made = write_report(path, tmp_path / "report", None)
    assert "2° wide at (3°, 0°)" in made.page.read_text("utf-8")
    log = SessionLog(path)
    generator = LoggedImages(SimpleNamespace(), log)
    for event in log.events(EventKind.BLOCK_PROPOSED):
        block = log.block(event)
        assert block.codes is not None
        np.testing.assert_array_equal(generator(block.codes), block.images[: len(block.codes)])
    log.close()


# --- simulated ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def settings() -> SessionSettings:
    options: dict[str, Any] = {
        "n_generations": 3,
        "n_references": 2,
        "generator": {"name": "pixels", "options": {"size_px": 16}},
        "optimizer": {"name": "genetic", "options": {"preset": "xdream", "population": 6}},
        "objective": {"name": "site", "options": {"site": "site-00"}},
    }
    thread = ThreadSettings(name="t", protocol="evolve", settings=options)
    return SessionSettings(session_id="s", seed=5, threads=(thread,))


@pytest.mark.parametrize("simulated", [True, False])
def test_page_figures_tables_and_numbers_say_what_was_simulated(
    settings: SessionSettings, tmp_path: Path, simulated: bool
) -> None:
    path = tmp_path / "session.sqlite"
    logged(settings, path, rig=SIMULATED_RIG if simulated else RIG)
    made = write_report(path, tmp_path / "report", None)
    folder = made.page.parent
    said = "SIMULATED"
    assert (said in made.page.read_text("utf-8")) == simulated
    figures = list(folder.rglob("*.svg"))
    assert len(figures) >= 2
    for figure in figures:
        assert (said in figure.read_text("utf-8")) == simulated, figure
    tables = list(folder.rglob("*.csv"))
    assert tables
    for table in tables:
        lines = table.read_text("utf-8").splitlines()
        assert all((said in line) == simulated for line in lines[1:]), table
    parts = ("acquisition: simulated",) if simulated else ()
    assert summarize(read_record(path)).simulated == made.summary.simulated == parts
    assert write_result_set(path, tmp_path / "results", None).simulated == parts


def test_the_report_tells_of_juice_rests_and_calibrations(
    settings: SessionSettings, tmp_path: Path
) -> None:
    path = tmp_path / "session.sqlite"
    n_blocks = len(logged(settings, path))
    made = write_report(path, tmp_path / "report", None)
    assert made.quality.at_rig == made.summary.at_rig
    text = re.sub(r"<[^>]+>", " ", made.page.read_text("utf-8"))
    assert made.summary.at_rig.rests == made.summary.at_rig.misses == n_blocks
    assert f"{2 * n_blocks} ({n_blocks} free)" in text
    assert f"{0.3 * n_blocks:.2f}" in text
    assert "9 points, mean error 0.4°" in text
    assert f"site-01 is silent ({n_blocks} times)" in made.quality.warnings
    assert "open_ephys_events, with spike times in steps of 33.33 µs" in text
    assert "Fixation was watched by eyelink" in text


def test_a_log_of_another_version_is_refused(settings: SessionSettings, tmp_path: Path) -> None:
    path = tmp_path / "session.sqlite"
    logged(settings, path, n_blocks=1)
    record = read_record(path)
    first = SimpleNamespace(
        kind=EventKind.SESSION_STARTED,
        t_wall_ns=0,
        document={**record.started.model_dump(mode="json"), "log_version": 1},
    )
    with pytest.raises(LogError, match="another version"):
        record.feed(first)  # type: ignore[arg-type]
