"""The table of presentations says what was logged, row by row, as CSV and as Parquet."""

from __future__ import annotations

import csv
import sqlite3
import sys

import numpy as np
import pytest

from protocols.errors import InstallationError, LogError, SettingsError
from protocols.vocabulary import Outcome
from synth_server.readers.export.presentations_file import write_presentations
from synth_server.readers.log.logged_session import read_session
from synth_server.readers.log.presentations import COLUMNS, presentation_table
from synth_server.session.log import SessionLog
from tests.playing import RIG, SITES
from tests.unit.readers.logged import RECORDER_OFFSET_S, RIG_OFFSET_S, logged

KEPT_S = 0.3
"""After an onset spike times are kept for so long; a rig answers no earlier."""


def table_of(path):
    log = SessionLog(path)
    try:
        return presentation_table(read_session(log))
    finally:
        log.close()


@pytest.fixture
def session(evolve_settings, tmp_path):
    """A log, and the responses in it."""
    path = tmp_path / "session.sqlite"
    return path, logged(evolve_settings, path)


def test_every_showing_has_its_row(session):
    path, answered = session
    table = table_of(path)
    shown = [(block, each) for block in answered for each in block.presentations]
    assert len(table) == len(shown) == table.counts.shape[0]
    assert list(table.columns) == list(COLUMNS)
    assert table.site_ids == SITES
    for row, (block, each) in enumerate(shown):
        told = {name: column[row] for name, column in table.columns.items()}
        assert told["block_index"] == block.block_index
        assert told["image_sha256"] == each.stimulus_id
        assert told["outcome"] == each.outcome
        assert (told["repetition"], told["attempt"]) == (each.repetition, each.attempt)
        assert (told["onset_s"], told["onset_clock"]) == (each.onset_s, each.onset_clock)
        where = (told["x_deg"], told["y_deg"], told["size_deg"], told["place_from"])
        assert where == (2.0, -1.0, 4.0, "display")
        assert told["has_times"] == (each.times is not None)
        assert (told["shown_ms"] == each.shown_ms) or not each.shown_ms
        assert (told["word"], told["fault"]) == (each.word, each.fault or "none")
        if each.outcome is Outcome.COMPLETED:
            np.testing.assert_array_equal(table.counts[row], each.spike_counts)
        else:
            assert np.isnan(table.counts[row]).all()


def test_what_the_block_says_of_an_image_is_in_its_row(session):
    path, _ = session
    table = table_of(path)
    log = SessionLog(path)
    blocks = {e.document["index"]: e.document for e in log.events() if "stimuli" in e.document}
    log.close()
    seen = []
    for block in blocks.values():
        seen += [s["id"] for s in block["stimuli"] if s["id"] not in seen]
    for row in range(len(table)):
        told = {name: column[row] for name, column in table.columns.items()}
        block = blocks[told["block_index"]]
        stimulus = next(s for s in block["stimuli"] if s["id"] == told["image_sha256"])
        assert (told["role"], told["label"]) == (stimulus["role"], stimulus["label"])
        assert (told["thread"], told["generation"]) == (block["thread"], block["generation"])
        assert seen[told["image_index"]] == told["image_sha256"]


def test_times_go_up_and_both_clocks_agree(session):
    path, _ = session
    columns = table_of(path).columns
    assert (np.diff(columns["session_s"]) > 0.29).all()
    on_recorder = columns["onset_clock"] == "recorder"
    assert on_recorder.any()
    assert not on_recorder.all()
    on_rig_s = columns["onset_s"] - np.where(on_recorder, RECORDER_OFFSET_S, 0.0)
    np.testing.assert_allclose(columns["session_s"], on_rig_s - RIG_OFFSET_S - KEPT_S, atol=1e-6)


def test_csv_reads_back(session, tmp_path):
    path, _ = session
    table = table_of(path)
    out = tmp_path / "out.csv"
    write_presentations(table, out)
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*COLUMNS, *(f"count_{site}" for site in SITES)]
    assert [row["image_sha256"] for row in rows] == table.columns["image_sha256"].tolist()
    assert [float(row["onset_s"]) for row in rows] == table.columns["onset_s"].tolist()
    counts = [[float(row[f"count_{site}"] or "nan") for site in SITES] for row in rows]
    np.testing.assert_array_equal(counts, table.counts)
    assert {row["fault"] for row in rows} == {"", "missing_word"}
    assert {row["shown_ms"] for row in rows} == {"", "100.0"}
    assert {row["simulated"] for row in rows} == {""}


def test_each_row_of_a_simulated_session_says_so(evolve_settings, tmp_path):
    path, out = tmp_path / "session.sqlite", tmp_path / "out.csv"
    rig = RIG.model_copy(update={"simulated": ("display: headless", "acquisition: simulated")})
    logged(evolve_settings, path, n_blocks=1, rig=rig)
    write_presentations(table_of(path), out)
    with out.open(encoding="utf-8", newline="") as file:
        said = {row["simulated"] for row in csv.DictReader(file)}
    assert said == {"SIMULATED: display: headless, acquisition: simulated"}


def test_parquet_reads_back(session, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path, _ = session
    table = table_of(path)
    write_presentations(table, tmp_path / "out.parquet")
    read = parquet.read_table(tmp_path / "out.parquet")
    assert read.column_names == [*COLUMNS, *(f"count_{site}" for site in SITES)]
    assert read["word"].to_pylist() == table.columns["word"].tolist()
    counts = np.array([read[f"count_{site}"].to_pylist() for site in SITES], dtype=float).T
    np.testing.assert_array_equal(counts, table.counts)
    assert set(read["fault"].to_pylist()) == {None, "missing_word"}


def test_without_pyarrow_it_says_what_to_install(session, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InstallationError, match=r"stimloop\[nwb\]"):
        write_presentations(table_of(session[0]), tmp_path / "out.parquet")
    write_presentations(table_of(session[0]), tmp_path / "out.csv")


def test_a_file_that_is_there_stays_unless_told(session, tmp_path):
    table, out = table_of(session[0]), tmp_path / "out.csv"
    out.write_text("precious")
    with pytest.raises(SettingsError, match="--force"):
        write_presentations(table, out)
    assert out.read_text() == "precious"
    write_presentations(table, out, force=True)
    assert out.read_text().startswith("session_s,")
    with pytest.raises(SettingsError, match="ends with"):
        write_presentations(table, tmp_path / "out.xlsx")
    assert sorted(each.suffix for each in tmp_path.iterdir() if "unfinished" in each.name) == []


@pytest.mark.parametrize("state", ["running", "aborted", "never answered"])
def test_a_session_cut_short_is_told_as_far_as_it_went(evolve_settings, tmp_path, state):
    path = tmp_path / "session.sqlite"
    n_blocks = 0 if state == "never answered" else 2
    answered = logged(
        evolve_settings, path, n_blocks=n_blocks, end="abort" if state == "aborted" else ""
    )
    table = table_of(path)
    assert len(table) == sum(len(block.presentations) for block in answered)


def test_a_log_that_was_altered_or_cut_is_refused(session):
    path, _ = session
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 3, len(whole) - 40_000):
        path.write_bytes(whole[:length])
        with pytest.raises(LogError) as caught:
            table_of(path)
        assert str(path) in str(caught.value)
    path.write_bytes(whole)
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM events WHERE seq = 3")
    with pytest.raises(LogError, match="does not follow"):
        table_of(path)
