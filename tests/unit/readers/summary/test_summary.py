"""The summary, from a session whose counts are known."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.vocabulary import Role
from synth_server.readers.figures.dry_run import draw_evolution
from synth_server.readers.log.session_record import read_record
from synth_server.readers.statistics.scores import scores
from synth_server.readers.summary.session_summary import FINAL_GENERATIONS, summarize
from synth_server.session.build import new_session
from tests.playing import attach, made_up_responses, play


@pytest.fixture
def path(evolve_settings, tmp_path):
    session = new_session(evolve_settings, tmp_path / "session.sqlite")
    attach(session)
    play(session)
    session.log.close()
    return tmp_path / "session.sqlite"


def test_the_figures_are_those_of_the_responses(evolve_settings, tmp_path):
    session = new_session(evolve_settings, tmp_path / "session.sqlite")
    attach(session)
    evolved, reference = [], {}
    while session.n_answered < session.n_proposed:
        block = session.block(session.n_answered)
        means = made_up_responses(block).mean_by_stimulus(block.stimulus_ids)
        if block.thread == "site-01":
            evolved.append(means[list(block.indices(Role.EVOLVED)), 1])
            for index in block.indices(Role.REFERENCE):
                reference[block.stimuli[index].label] = means[index, 1]
        play(session, 1)
    session.log.close()

    summary = summarize(read_record(tmp_path / "session.sqlite"))
    thread = next(t for t in summary.threads if t.thread == "site-01")
    assert [g.evolved.mean for g in thread.generations] == pytest.approx(
        [values.mean() for values in evolved]
    )
    assert thread.generations[0].evolved.sem == pytest.approx(
        evolved[0].std(ddof=1) / np.sqrt(len(evolved[0]))
    )
    assert thread.generations[-1].evolved.best == pytest.approx(evolved[-1].max())
    gain = next(s for s in summary.sites if s.thread == "site-01")
    assert (gain.site, gain.best_reference_name) == (
        "site-01",
        max(reference, key=reference.get),
    )
    last = np.concatenate(evolved[-FINAL_GENERATIONS:])
    assert gain.over_best_reference == pytest.approx(last.mean() / max(reference.values()))
    assert summary.presentations.completed == 2 * 3 * 8
    assert summary.session_digest == session.digest


def test_a_session_under_way_has_a_summary_too(evolve_settings, tmp_path):
    session = new_session(evolve_settings, tmp_path / "session.sqlite")
    attach(session)
    play(session, 3)
    summary = summarize(read_record(tmp_path / "session.sqlite"))
    session.log.close()
    assert summary.state == "running"
    assert len(summary.blocks) == 3


def test_scores_of_nothing_and_of_one():
    assert scores(np.empty(0)).mean is None
    assert (scores(np.array([2.0])).mean, scores(np.array([2.0])).sem) == (2.0, None)


def test_the_figure_is_drawn(path, tmp_path):
    record = read_record(path)
    draw_evolution(record, summarize(record), path, tmp_path / "e.png")
    from PIL import Image

    with Image.open(tmp_path / "e.png") as drawn:
        pixels = np.asarray(drawn.convert("L"))
    assert pixels.shape[1] > 1000
    assert 0.02 < (pixels < 128).mean() < 0.9
