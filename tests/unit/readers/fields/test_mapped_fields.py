"""Fields of a logged session: from its products or anew, in the report, the figure and NWB."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from protocols.documents import SessionSettings, ThreadSettings
from protocols.fields import FieldMap
from protocols.vocabulary import BlockResponses, Outcome
from synth_server.readers.export.nwb_fields import receptive_fields
from synth_server.readers.fields.mapped_fields import fields_csv, mapped_fields
from synth_server.readers.figures.receptive_fields import draw_fields
from synth_server.report.tables import field_tables
from synth_server.session.build import new_session
from synth_server.session.products import products_folder
from synth_server.session.recovery import verify_replay
from tests.playing import attach

SITES = ("a", "flat")


def answer(session, random):
    block = session.block(session.n_answered)
    shown = []
    for cue in block.cues():
        stimulus = block.stimuli[cue.stimulus_index]
        far = np.hypot(stimulus.place.x_deg - 2, stimulus.place.y_deg + 2)
        drive = 6 * np.exp(-(far**2) / 8) * stimulus.label.startswith("texture")
        counts = tuple(float(each) for each in random.poisson((0.5 + drive, 0.5)))
        shown.append(cue.presentation(onset_s=0, outcome=Outcome.COMPLETED, spike_counts=counts))
    responses = BlockResponses(block_index=block.index, site_ids=SITES, presentations=tuple(shown))
    session.record(responses)
    session.learn(responses)
    session.advance()


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    settings = {
        "coarse": {"n_across": 5, "step_deg": 3, "showings": 5, "most_showings": 5},
        "fine": {"showings": 0},
        "image_size_px": 16,
        "estimate": {"n_permutations": 200, "n_bootstrap": 2, "alpha": 0.01},
    }
    thread = ThreadSettings(name="fields", protocol="map_fields", settings=settings)
    path = tmp_path_factory.mktemp("s") / "session.sqlite"
    session = new_session(SessionSettings(session_id="s", seed=0, threads=(thread,)), path)
    attach(session, SITES)
    random = np.random.default_rng(0)
    while not session.is_over:
        answer(session, random)
    session.log.close()
    return path


def test_products_log_and_replay_agree(log):
    found = mapped_fields(log)["fields"]
    published = (products_folder(log) / "fields.json").read_text()
    assert published == found.text()
    assert (products_folder(log) / "fields.csv").read_text() == fields_csv(found)
    assert found.fields[0].x_deg == pytest.approx(2, abs=1)
    assert found.fields[0].y_deg == pytest.approx(-2, abs=1)
    assert found.fields[1].x_deg is None
    assert verify_replay(log).n_blocks == 5
    shutil.rmtree(products_folder(log))
    assert mapped_fields(log)["fields"] == found


def test_table_csv_figure_and_nwb_say_the_same(log, tmp_path):
    found = mapped_fields(log)
    (table,) = field_tables(found)
    assert table.rows[0][0] == "a"
    assert table.rows[1][-1].startswith("no field (p = ")
    lines = fields_csv(found["fields"]).splitlines()
    assert lines[0].startswith("site,n,p,reliability,x_deg")
    assert lines[2].startswith("flat,125,")
    draw_fields(found["fields"], tmp_path / "fields")
    assert (tmp_path / "fields.png").stat().st_size > 5000
    pytest.importorskip("pynwb")
    rows = receptive_fields(found)
    assert rows["site_id"].data == ["a", "flat"]
    assert rows["x_deg"].data[0] == found["fields"].fields[0].x_deg
    assert np.isnan(rows["x_deg"].data[1])
    assert receptive_fields({}) is None


def test_a_session_without_a_mapping_has_no_fields(tmp_path):
    thread = ThreadSettings(name="t", protocol="map_responses", settings={"n_images": 2})
    path = tmp_path / "session.sqlite"
    new_session(SessionSettings(session_id="s", seed=0, threads=(thread,)), path).log.close()
    assert mapped_fields(path) == {}
    empty = FieldMap(alpha=0.01, count_window_s=(0, 0.1), grid_deg=(-1, -1, 1, 1), fields=())
    draw_fields(empty, tmp_path / "none")
