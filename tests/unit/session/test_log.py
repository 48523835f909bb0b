import shutil
import sqlite3

import numpy as np
import pytest

from protocols.documents import EventKind
from protocols.errors import LogCorrupted, LogError, ReplayMismatch
from synth_server.session.build import new_session
from synth_server.session.log import SessionLog, verify_chain
from synth_server.session.recovery import verify_replay
from tests.playing import attach, play


@pytest.fixture(scope="module")
def finished(tmp_path_factory, request):
    from tests.conftest import evolve_settings

    path = tmp_path_factory.mktemp("log") / "session.sqlite"
    session = new_session(evolve_settings.__wrapped__(), path)
    attach(session)
    play(session)
    session.log.close()
    return path


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copy(finished, tmp_path / "session.sqlite")


def _alter(path, statement, *values):
    with sqlite3.connect(path) as db:
        assert db.execute(statement, values).rowcount == 1
    db.close()


def test_a_finished_log_is_one_file(finished):
    beside = {path.name for path in finished.parent.iterdir()} - {"session.sqlite"}
    assert beside <= {".session.sqlite.lock"}


def test_a_log_verifies(finished):
    report = verify_replay(finished)
    assert report.end == "finished"
    assert report.n_blocks == 6
    assert report.images_within_tolerance == 0


@pytest.mark.parametrize("column", ["t_mono_ns", "t_wall_ns"])
def test_an_altered_time_is_found(copied, column):
    _alter(copied, f"UPDATE events SET {column} = {column} + 1 WHERE seq = 3")
    with pytest.raises(LogCorrupted, match="event 3 "):
        verify_replay(copied)


def test_an_altered_count_is_found(copied):
    log = SessionLog(copied)
    event = next(log.events(EventKind.RESPONSES_RECEIVED))
    log.close()
    _alter(
        copied,
        "UPDATE events SET json = replace(json, '\"attempt\":0,', '\"attempt\":1,') WHERE seq = ?",
        event.seq,
    )
    with pytest.raises(LogCorrupted, match=f"event {event.seq} "):
        verify_replay(copied)


def test_an_altered_count_is_found_even_with_a_forged_hash(copied):
    """Whoever recomputes one hash breaks the chain at the next event."""
    _alter(copied, "UPDATE events SET hash = prev_hash WHERE seq = 3")
    with pytest.raises(LogCorrupted, match="event 3 "):
        verify_replay(copied)


def test_a_removed_event_is_found(copied):
    _alter(copied, "DELETE FROM events WHERE seq = 4")
    with pytest.raises(LogCorrupted, match="event 5 does not follow event 3"):
        verify_replay(copied)


def test_an_altered_pixel_is_found_and_the_block_named(copied):
    log = SessionLog(copied)
    event = next(log.events(EventKind.BLOCK_PROPOSED))
    digest = event.document["stimuli"][2]["id"]
    data = bytearray(log.array(digest).tobytes())
    log.close()
    data[17] ^= 1
    _alter(copied, "UPDATE arrays SET data = ? WHERE digest = ?", bytes(data), digest)
    with pytest.raises(LogCorrupted, match=f"event {event.seq} "):
        verify_replay(copied)


def test_a_lost_image_is_found_and_the_block_named(copied):
    log = SessionLog(copied)
    event = next(log.events(EventKind.BLOCK_PROPOSED))
    log.close()
    digest = event.document["stimuli"][0]["id"]
    _alter(copied, "DELETE FROM arrays WHERE digest = ?", digest)
    with pytest.raises(LogCorrupted, match=f"event {event.seq} "):
        verify_replay(copied)


def test_settings_that_lead_elsewhere_are_found(evolve_settings, tmp_path, monkeypatch):
    """A plan that proposes something else than it did is named with the event."""
    path = tmp_path / "session.sqlite"
    session = new_session(evolve_settings, path)
    attach(session)
    play(session)
    session.log.close()
    from synth_server.synthesis.optimizers.genetic import GeneticAlgorithm

    ask = GeneticAlgorithm.ask
    monkeypatch.setattr(GeneticAlgorithm, "ask", lambda self: ask(self) + np.float32(1e-3))
    with pytest.raises(ReplayMismatch, match=r"event \d+ \(block_proposed, generation 0\)"):
        verify_replay(path)


def test_what_is_no_log_is_refused(tmp_path):
    path = tmp_path / "x.sqlite"
    with pytest.raises(LogError, match="no session log here"):
        SessionLog(path)
    path.write_bytes(b"SQLite? No." * 100)
    with pytest.raises(LogCorrupted, match="no session log"):
        SessionLog(path)


def test_a_truncated_log_is_refused_and_nothing_hangs(copied):
    data = copied.read_bytes()
    for fraction in (0.1, 0.5, 0.9):
        copied.write_bytes(data[: int(len(data) * fraction)])
        with pytest.raises(LogError):
            verify_replay(copied)


def test_a_full_disk_loses_nothing(evolve_settings, tmp_path):
    whole = new_session(evolve_settings, tmp_path / "whole.sqlite")
    attach(whole)
    play(whole)
    whole.log.close()
    session = new_session(evolve_settings, tmp_path / "full.sqlite")
    attach(session)
    play(session, 1)
    session.log._db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(LogError, match="full"):
        play(session)
    assert session.block(session.n_proposed) is None
    session.log._db.execute("PRAGMA max_page_count = 1000000")
    session.advance()
    play(session)
    assert session.digest == whole.digest
    assert verify_chain(session.log) == session.log.last_seq + 1
    session.log.close()
