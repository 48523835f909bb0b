"""One gain, by one estimator, wherever a session is spoken of; other ratios say what they divide by."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from protocols.documents import SessionSettings, ThreadSettings
from protocols.experiments.evolve import EvolveSettings
from synth_server.commands.dry_run import _tell_gains
from synth_server.readers.evolution.results_document import Results, results_of
from synth_server.readers.log.session_record import read_record
from synth_server.readers.summary.session_list import listed_sessions
from synth_server.readers.summary.session_summary import evolution_gains, summarize
from synth_server.report.methods import methods_of
from synth_server.report.quality import Quality, quality_of
from synth_server.report.tables import evolution_table, headline
from synth_server.session.log import SessionLog
from tests.unit.readers.logged import logged


def test_an_evolution_ends_with_its_test() -> None:
    assert EvolveSettings().test_repetitions == 10
    assert EvolveSettings(test_repetitions=0).test_repetitions == 0
    assert EvolveSettings(n_references=0).test_repetitions == 0, "nothing to compare with"
    written_out = EvolveSettings(n_references=0).model_dump(mode="json")
    assert EvolveSettings.model_validate(written_out).test_repetitions == 0
    with pytest.raises(ValueError, match="a test needs natural images"):
        EvolveSettings(n_references=0, test_repetitions=10)


@pytest.fixture(params=[0, 3], ids=["from the generations", "in the test"])
def session(
    request: pytest.FixtureRequest, evolve_settings: SessionSettings, tmp_path: Path
) -> Path:
    threads = tuple(
        ThreadSettings(
            name=thread.name,
            protocol="evolve",
            settings={
                **thread.settings,
                "n_references": 6,
                "test_repetitions": request.param,
                "n_test_images": 3,
                "n_test_natural": 2,
            },
        )
        for thread in evolve_settings.threads
    )
    path = tmp_path / "session.sqlite"
    logged(evolve_settings.model_copy(update={"threads": threads}), path)
    return path


def results_at(path: Path) -> Results:
    """As `synth-server results` has them, features left out."""
    log = SessionLog(path)
    try:
        return results_of(read_record(path), log.array, None, None)
    finally:
        log.close()


def quality_at(path: Path) -> Quality:
    log = SessionLog(path)
    try:
        return quality_of(log.events())
    finally:
        log.close()


def test_every_reader_tells_the_same_gain(session: Path) -> None:
    record = read_record(session)
    summary = summarize(record)
    results = results_at(session)
    gain = results.median_gain.value
    assert gain is not None
    assert gain == pytest.approx(
        np.median([gain for gain in evolution_gains(summary) if gain is not None])
    )
    (listed,) = listed_sessions([session])
    assert listed.gain is not None
    assert listed.gain.median == pytest.approx(gain)
    told = io.StringIO()
    _tell_gains(Console(file=told, width=200), summary)
    assert f"median gain × {gain:.2f}" in told.getvalue()
    assert "best of 6" in told.getvalue()
    number = headline(summary, results, quality_at(session))[0]
    assert (number.name, number.value) == ("gain", f"× {gain:.2f}")
    assert "best of 6" in number.note


def test_counts_have_their_rates_beside_them(session: Path) -> None:
    table = evolution_table(results_at(session))
    for row in table.rows:
        cells = dict(zip(table.head, row, strict=True))
        evolved = float(re.findall(r"[\d.]+", cells["evolved"])[0])
        assert float(row[2]) == pytest.approx(evolved / 0.1, abs=0.1)
        assert cells["best of"] == "6"


def test_methods_are_sentences_without_settings(session: Path) -> None:
    start = read_record(session).started
    said = methods_of(start)[0]
    assert "genetic algorithm of XDREAM" in said
    assert "the count at site-00 and the count at site-01" in said
    for dump in (";", "_seed", "{", "preset", "None", "mean_of_sites"):
        assert dump not in said.replace("stimloop", ""), dump
