"""Sessions recorded once must come out the same for ever: plans, optimizers, generators, log."""

from __future__ import annotations

import shutil

import pytest

from synth_server.readers.log.session_record import read_record
from synth_server.readers.summary.session_summary import summarize
from synth_server.session.build import new_session
from synth_server.session.recovery import resumed_session, verify_replay
from tests.golden.record import FOLDER, GENERATORS, settings
from tests.playing import attach, play

DIGESTS = {
    "pixels": "034d14fe9d4339f79064c21f6fdf03802f0f502fa0e39491b6b329e91ada0523",
    "fourier": "3b7772ba4af37ea3125fb13f785a6959bf10b7c8b4508214f77fb54b2e64458d",
}


@pytest.fixture(params=sorted(GENERATORS))
def generator(request):
    return request.param


@pytest.fixture
def path(generator, tmp_path):
    return shutil.copy(FOLDER / f"{generator}.sqlite", tmp_path / "session.sqlite")


def test_it_replays(path):
    report = verify_replay(path)
    assert report.end == "finished"
    assert report.n_blocks == 6


def test_its_summary_is_as_it_was(path, generator):
    assert summarize(read_record(path)).session_digest == DIGESTS[generator]


def test_it_can_still_be_resumed(path):
    session = resumed_session(path)
    assert session.has_ended
    session.log.close()


def test_the_same_seed_still_gives_the_same_session(tmp_path):
    """In pixel space all is exact; in Fourier space another machine may round a pixel otherwise."""
    session = new_session(settings("pixels"), tmp_path / "again.sqlite")
    attach(session)
    play(session)
    session.log.close()
    assert session.digest == DIGESTS["pixels"]
