"""What the page is given: compared with the log, and with what the reports say."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from protocols.digests import array_digest
from protocols.documents import EventKind, SessionSettings
from protocols.errors import DataError, LogError
from protocols.vocabulary import BlockResponses, Placement
from protocols.wire.messages import SessionStatus
from synth_server.monitor.documents import Link
from synth_server.monitor.link import ServerLink
from synth_server.monitor.pictures import THUMBNAIL_PX, png
from synth_server.monitor.watcher import Watcher
from synth_server.readers.log.session_record import read_record
from synth_server.readers.summary.session_summary import summarize
from synth_server.session.build import new_session
from synth_server.session.log import SessionLog
from synth_server.session.session import Session
from tests.control_log import THREAD, write_control_log
from tests.playing import RIG, SITES, attach, play
from tests.unit.readers.logged import RECORDER_OFFSET_S, logged


@pytest.fixture
def session(tmp_path: Path, evolve_settings: SessionSettings) -> Iterator[Session]:
    """Two evolutions, three of six blocks answered, paused."""
    session = new_session(evolve_settings, tmp_path / "session.sqlite")
    attach(session)
    session.advance()
    play(session, 3)
    session.control("annotate", "drowsy")
    session.control("pause")
    yield session
    session.log.close()


@pytest.fixture
def watcher(session: Session) -> Watcher:
    watcher = Watcher(session.log.path, ServerLink("tcp://127.0.0.1:1", "test", None))
    watcher.look()
    return watcher


@pytest.fixture
def control(tmp_path: Path) -> Watcher:
    write_control_log(tmp_path / "control.sqlite")
    watcher = Watcher(tmp_path / "control.sqlite", ServerLink("tcp://127.0.0.1:1", "by-hand", None))
    watcher.look()
    return watcher


def responses_of(path: Path, index: int) -> BlockResponses:
    log = SessionLog(path)
    try:
        events = log.events(EventKind.RESPONSES_RECEIVED)
        return next(
            each
            for each in (BlockResponses.model_validate(event.document) for event in events)
            if each.block_index == index
        )
    finally:
        log.close()


# --- the session at a glance --------------------------------------------------------------------


def test_the_overview_says_where_the_session_is(watcher: Watcher, session: Session) -> None:
    overview = watcher.overview
    assert (overview.session_id, overview.seed, overview.state) == ("test", 5, "paused")
    assert (overview.n_answered, overview.n_proposed) == (3, session.n_proposed)
    assert overview.n_sites == 2
    assert overview.on_screen is not None
    assert (overview.on_screen.index, overview.on_screen.answered) == (3, False)
    assert overview.last_event is not None
    assert (overview.last_event.seq, overview.last_event.kind) == (session.log.last_seq, "control")
    assert [(note.command, note.text) for note in overview.notes] == [
        ("annotate", "drowsy"),
        ("pause", ""),
    ]
    assert overview.ended_unix_s is None
    assert overview.link == Link(state="looking")
    assert overview.disk is not None
    assert overview.disk.log_bytes > 0
    assert overview.health.completed == overview.health.presentations > 0


def test_its_state_is_the_sessions_through_all_commands(watcher: Watcher, session: Session) -> None:
    for command, state in (
        ("resume", "running"),
        ("pause", "paused"),
        ("resume", "running"),
        ("stop", "stopping"),
        ("abort", "aborted"),
    ):
        session.control(command)
        watcher.look()
        assert watcher.overview.state == session.state == state


def test_news_are_told_by_a_revision_and_only_news(watcher: Watcher, session: Session) -> None:
    before = watcher.revision
    watcher.look()
    assert watcher.revision == before
    line = {each.name: each.revision for each in watcher.overview.threads}
    session.control("resume")
    play(session, 1)
    watcher.look()
    assert watcher.revision > before
    changed = {each.name for each in watcher.overview.threads if each.revision > line[each.name]}
    assert changed == {SITES[1]}


def test_a_session_that_ended_asks_nobody(watcher: Watcher, session: Session) -> None:
    session.control("resume")
    play(session)
    assert session.has_ended
    watcher.look()
    overview = watcher.overview
    assert (overview.state, overview.link.state) == ("finished", "over")
    assert overview.on_screen is None
    assert overview.ended_unix_s is not None


def test_a_log_that_cannot_be_read_is_said_and_tried_again(
    watcher: Watcher, session: Session
) -> None:
    session.log.close()
    away = watcher.path.rename(watcher.path.with_name("away"))
    watcher.look()
    assert "no session log" in watcher.overview.problem
    assert watcher.overview.n_answered == 3
    away.rename(watcher.path)
    watcher.look()
    assert watcher.overview.problem == ""


def test_a_monitor_that_comes_late_knows_the_same(watcher: Watcher, session: Session) -> None:
    session.control("resume")
    play(session)
    watcher.look()
    late = Watcher(session.log.path, ServerLink("tcp://127.0.0.1:1", "test", None))
    late.look()
    assert late.overview == watcher.overview
    for name in SITES:
        assert late.thread(name) == watcher.thread(name)


# --- a thread -----------------------------------------------------------------------------------


def test_generations_are_those_of_the_summary(watcher: Watcher) -> None:
    summary = summarize(read_record(watcher.path))
    for thread in summary.threads:
        found = watcher.thread(thread.thread)
        assert found.phase == "evolution"
        assert found.unit == "spikes"
        assert [each.generation for each in found.generations] == [
            each.generation for each in thread.generations
        ]
        for ours, theirs in zip(found.generations, thread.generations, strict=True):
            assert (ours.evolved, ours.reference) == (theirs.evolved, theirs.reference)
        assert found.stability == tuple(s for s in summary.stability if s.thread == thread.thread)
    assert [len(watcher.thread(name).generations) for name in SITES] == [2, 1]


def test_the_best_image_of_a_generation_has_the_highest_count(watcher: Watcher) -> None:
    found = watcher.thread(SITES[0])
    for generation in found.generations:
        block = watcher.block(generation.block)
        evolved = {each.id: each.count for each in block.images if each.role == "evolved"}
        assert generation.best_id is not None
        assert evolved[generation.best_id] == max(evolved.values(), key=lambda count: count or 0)
        assert generation.evolved.best == pytest.approx(evolved[generation.best_id], abs=1e-3)


def test_the_heat_map_has_every_sites_mean_over_evolved_images_and_over_references(
    watcher: Watcher,
) -> None:
    heat = watcher.thread(SITES[1]).heat
    assert heat.sites == (SITES[1], SITES[0])
    assert heat.columns == ("0",)
    block = watcher.block(1)
    for role, table in (("evolved", heat.counts), ("reference", heat.reference)):
        for site, row in zip(heat.sites, table, strict=True):
            at = [each.count for each in watcher.block(1, site).images if each.role == role]
            assert row == (pytest.approx(np.mean(at), abs=2e-3),)
    assert block.at == SITES[1]


def test_an_unknown_thread_is_refused(watcher: Watcher) -> None:
    for ask in (watcher.thread, watcher.distributions):
        with pytest.raises(DataError, match="no such thread"):
            ask("nobody")


def test_an_evolution_has_no_distributions(watcher: Watcher) -> None:
    with pytest.raises(DataError, match="no synthesised image"):
        watcher.distributions(SITES[0])


# --- a block ------------------------------------------------------------------------------------


def test_a_blocks_counts_are_means_over_its_showings(watcher: Watcher) -> None:
    responses = responses_of(watcher.path, 0)
    for site in ("", SITES[1]):
        column = responses.site_ids.index(site or SITES[0])
        block = watcher.block(0, site)
        assert block.at == (site or SITES[0])
        means = responses.mean_by_stimulus([each.id for each in block.images])[:, column]
        assert [each.count for each in block.images] == pytest.approx(means, abs=1e-3)
        assert {each.n for each in block.images} == {1}


def test_the_block_on_screen_has_images_and_no_counts(watcher: Watcher) -> None:
    block = watcher.block(3)
    assert not block.block.answered
    assert {each.count for each in block.images} == {None}
    assert len(block.images) == block.block.n_images == 8


@pytest.mark.parametrize(("index", "site"), [(-1, ""), (99, ""), (0, "nobody")])
def test_unknown_blocks_and_sites_are_refused(watcher: Watcher, index: int, site: str) -> None:
    with pytest.raises(DataError):
        watcher.block(index, site)


# --- images -------------------------------------------------------------------------------------


def test_an_image_is_the_logged_one_bit_for_bit(watcher: Watcher) -> None:
    for each in watcher.block(0).images:
        with Image.open(io.BytesIO(png(watcher.path, each.id))) as image:
            assert array_digest(np.asarray(image)) == each.id


def test_large_images_are_made_small(tmp_path: Path, evolve_settings: SessionSettings) -> None:
    session = new_session(evolve_settings, tmp_path / "session.sqlite")
    large = np.zeros((3 * THUMBNAIL_PX, THUMBNAIL_PX, 3), np.uint8)
    session.log.append(
        EventKind.CONTROL, {"command": "annotate", "text": ""}, {array_digest(large): large}
    )
    with Image.open(io.BytesIO(png(session.log.path, array_digest(large)))) as image:
        assert image.size == (THUMBNAIL_PX // 3, THUMBNAIL_PX)
    session.log.close()


def test_codes_are_no_image_and_nothing_is_none(watcher: Watcher) -> None:
    log = SessionLog(watcher.path)
    proposed = next(log.events(EventKind.BLOCK_PROPOSED))
    log.close()
    with pytest.raises(DataError, match="no image"):
        png(watcher.path, proposed.document["codes_digest"])
    with pytest.raises(LogError):
        png(watcher.path, "0" * 64)


# --- images that an encoder made ------------------------------------------------------------------


def kinds(watcher: Watcher, site: str) -> dict[str, Any]:
    (target,) = (each for each in watcher.distributions(THREAD).targets if each.site == site)
    return {kind.role: sorted(kind.counts) for kind in target.kinds}


def test_distributions_hold_every_image_at_every_target(control: Watcher) -> None:
    for site in ("a", "b"):
        assert kinds(control, site) == {
            "made for it": [9, 9],
            "best natural": [5],
            "made for others": [1, 1],
            "natural": [0, 1, 2, 3, 4, 5],
        }
    found = control.distributions(THREAD)
    assert found.summary.aim == "stretch"
    assert found.summary.median_gain.value == pytest.approx(9 / 5)
    assert control.thread(THREAD).phase == "control"
    assert control.thread(THREAD).generations == ()


def test_counts_of_a_test_are_those_at_each_images_target(control: Watcher) -> None:
    block = control.block(2)
    assert block.at == "each image's target"
    assert [each.count for each in block.images] == [5, 5, 9, 9, 9, 9]
    assert [each.count for each in control.block(2, "a").images] == [5, 2, 9, 9, 1, 1]
    assert control.block(0).at == "mean of all sites"


def test_the_heat_map_of_a_test_has_a_column_a_block(control: Watcher) -> None:
    heat = control.thread(THREAD).heat
    assert heat.columns == (
        "mapping, repetition 0",
        "mapping, repetition 1",
        "test, repetition 0",
        "test, repetition 1",
    )
    assert heat.counts[0] == pytest.approx((2.5, 2.5, 27 / 6, 27 / 6))
    assert heat.reference == ((None,) * 4, (None,) * 4)


# --- the rig --------------------------------------------------------------------------------------


@pytest.fixture
def at_rig(tmp_path: Path, evolve_settings: SessionSettings) -> Watcher:
    """A session with gaze, juice, rests, and a simulated recorder; its second thread has a place."""
    first, second = evolve_settings.threads
    moved = second.model_copy(update={"place": Placement(x_deg=3, size_deg=2)})
    settings = evolve_settings.model_copy(update={"threads": (first, moved)})
    rig = RIG.model_copy(update={"simulated": ("acquisition: simulated",)})
    logged(settings, tmp_path / "session.sqlite", rig=rig, n_blocks=4)
    watcher = Watcher(tmp_path / "session.sqlite", ServerLink("tcp://127.0.0.1:1", "test", None))
    watcher.look()
    return watcher


def test_the_overview_tells_what_happened_at_the_rig(at_rig: Watcher) -> None:
    overview = at_rig.overview
    assert overview.simulated == "SIMULATED: acquisition: simulated"
    assert overview.at_rig == summarize(read_record(at_rig.path)).at_rig
    assert (overview.at_rig.rests, overview.at_rig.misses, overview.at_rig.free_rewards) == (
        4,
        4,
        4,
    )
    assert overview.at_rig.ml == pytest.approx(1.2)
    told = [note.command for note in overview.notes if note.at_rig]
    assert told == ["rest", "rest_over", "calibration", "recorder_warning"] * 4
    rest, over = [note.unix_s for note in overview.notes if note.at_rig][:2]
    assert over - rest == pytest.approx(0.1, abs=1e-3)


def test_what_the_rig_says_comes_with_the_servers_status(monkeypatch: pytest.MonkeyPatch) -> None:
    status = SessionStatus(
        session_id="test",
        state="running",
        rig_id="rig",
        rig_says="resting: 10 misses in a row",
        blocks_proposed=1,
        blocks_answered=0,
        last_event=3,
    )
    monkeypatch.setattr("synth_server.monitor.link.ask", lambda *_: (status,))
    link = ServerLink("tcp://127.0.0.1:1", "test", None)
    link.look()
    assert link.link == Link(
        state="connected", rig_id="rig", rig_says="resting: 10 misses in a row"
    )


@pytest.mark.parametrize(("index", "centre", "size"), [(0, (2.0, -1.0), 4.0), (1, (3.0, 0.0), 2.0)])
def test_gaze_is_that_of_the_shown_images(
    at_rig: Watcher, index: int, centre: tuple[float, float], size: float
) -> None:
    """Computed again, sample by sample, from the log."""
    log = SessionLog(at_rig.path)
    events = list(log.events(EventKind.RESPONSES_RECEIVED))
    responses = log.responses(events[index])
    log.close()
    samples = responses.gaze_samples()
    assert samples is not None
    assert responses.gaze is not None
    wanted = []
    n_samples = 0
    for shown in responses.presentations:
        onset_s = shown.onset_s - (RECORDER_OFFSET_S if shown.onset_clock == "recorder" else 0)
        for t, x, y, valid in samples.tolist():
            if onset_s <= t + responses.gaze.start_s < onset_s + 0.1:
                n_samples += 1
                wanted += [(x, y)] if valid else []
    found = at_rig.gaze(index)
    assert found.n_samples == n_samples
    np.testing.assert_allclose(found.points, wanted, atol=0.006)
    assert found.share_valid == pytest.approx(len(wanted) / n_samples)
    off = np.abs(np.array(wanted) - centre)
    assert found.share_on_image == pytest.approx((off <= size / 2).all(axis=1).mean())
    (image,) = found.images
    assert (image.place.x_deg, image.place.y_deg, image.place.size_deg) == (*centre, size)
    assert png(at_rig.path, image.image).startswith(b"\x89PNG")


def test_a_block_without_gaze_has_none(watcher: Watcher) -> None:
    assert watcher.gaze(0).points == ()
    assert watcher.gaze(3).points == (), "not answered yet"
    with pytest.raises(DataError):
        watcher.gaze(99)


def test_images_of_a_placed_thread_are_found_by_their_pixels(at_rig: Watcher) -> None:
    for index in (0, 1):
        for image in at_rig.block(index).images:
            assert png(at_rig.path, image.image).startswith(b"\x89PNG")
            assert (image.place is None) == (index == 0)
    for thread in at_rig.overview.threads:
        for generation in at_rig.thread(thread.name).generations:
            assert generation.best_image is not None
            assert png(at_rig.path, generation.best_image).startswith(b"\x89PNG")
