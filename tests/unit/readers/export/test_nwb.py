"""NWB files: valid, without findings of the inspector that archives run, and true to the log."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from typer.testing import CliRunner

from encoders.backbones.one_thread import one_thread
from protocols.documents import EventKind, SessionSettings, ThreadSettings
from protocols.errors import InstallationError, LogCorrupted, LogError, SettingsError
from protocols.settings import read_toml, validated
from protocols.vocabulary import Placement
from synth_server.cli import app
from synth_server.readers.export.nwb import export_nwb
from synth_server.readers.export.nwb_subject import SUBJECT_TEMPLATE, SubjectSettings
from synth_server.session.build import new_session
from synth_server.session.log import SessionLog
from tests.encoder_files import CLIMB, FIT
from tests.playing import RIG, SITES, attach
from tests.unit.readers.logged import TICK_HZ, Player, logged

pynwb = pytest.importorskip("pynwb")
nwbinspector = pytest.importorskip("nwbinspector")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:hdmf")

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "export-to-nwb.md"
SEVERE = {"ERROR", "PYNWB_VALIDATION", "CRITICAL", "BEST_PRACTICE_VIOLATION"}
TAPS = {"n_images": 24, "image_size_px": 32, "n_seeds": 2, "comparison": {"repetitions": 1}}


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """The template that is printed, as it is."""
    path = tmp_path_factory.mktemp("subject") / "subject.toml"
    path.write_text(SUBJECT_TEMPLATE, "utf-8")
    return read_toml(SubjectSettings, path)


@pytest.fixture(scope="module")
def stretch_log(tmp_path_factory):
    options = {
        **TAPS,
        "mapping": {"repetitions": 2, "images_per_block": 24},
        "fit": {"name": "two_stage", "options": FIT},
        "synthesis": {"name": "stimloop", "options": CLIMB},
        "learning": {
            "rounds": 1,
            "n_images": 2,
            "from_scratch": {"name": "quick", "options": {"n_steps": 2}},
            "from_best": {"name": "short", "options": {"n_steps": 2}},
        },
    }
    thread = ThreadSettings(name="stretch", protocol="stretch", settings=options)
    path = tmp_path_factory.mktemp("stretch") / "session.sqlite"
    with one_thread():
        logged(SessionSettings(session_id="s", seed=3, threads=(thread,)), path)
    return path


@pytest.fixture
def evolve_log(evolve_settings, tmp_path):
    path = tmp_path / "session.sqlite"
    logged(evolve_settings, path)
    return path


def read(path):
    io = pynwb.NWBHDF5IO(str(path), "r")
    return io, io.read()


def check(path):
    """Valid, and nothing found that an archive minds."""
    assert pynwb.validate(path=str(path)) == []
    config = nwbinspector.load_config("dandi")
    found = nwbinspector.inspect_nwbfile(nwbfile_path=path, config=config)
    assert [each for each in found if each.importance.name in SEVERE] == []


@pytest.mark.parametrize("separate_at_most", [10_000, 0], ids=["images apart", "images stacked"])
def test_an_evolution_passes(evolve_log, tmp_path, subject, separate_at_most):
    out = tmp_path / "out.nwb"
    export_nwb(evolve_log, out, subject, separate_at_most=separate_at_most)
    check(out)


def test_a_stretch_session_passes(stretch_log, tmp_path, subject):
    out = tmp_path / "out.nwb"
    export_nwb(stretch_log, out, subject)
    check(out)
    io, nwbfile = read(out)
    roles = set(nwbfile.intervals["presentations"].to_dataframe()["role"])
    io.close()
    assert {"natural", "stretch", "best_natural"} <= roles


@pytest.mark.parametrize(("n_blocks", "end"), [(2, "abort"), (1, ""), (0, "abort")])
def test_a_session_cut_short_passes(evolve_settings, tmp_path, subject, n_blocks, end):
    path, out = tmp_path / "session.sqlite", tmp_path / "out.nwb"
    answered = logged(evolve_settings, path, n_blocks=n_blocks, end=end)
    assert export_nwb(path, out, subject).state == ("aborted" if end else "running")
    check(out)
    io, nwbfile = read(out)
    intervals = nwbfile.intervals or {}
    n_rows = len(intervals["presentations"]) if "presentations" in intervals else 0
    io.close()
    assert n_rows == sum(len(block.presentations) for block in answered)


def test_it_holds_what_was_logged(evolve_settings, tmp_path, subject):
    path, out = tmp_path / "session.sqlite", tmp_path / "out.nwb"
    answered = logged(evolve_settings, path)
    export_nwb(path, out, subject)
    shown = [each for block in answered for each in block.presentations]
    io, nwbfile = read(out)
    table = nwbfile.intervals["presentations"].to_dataframe()
    assert table["image_sha256"].tolist() == [each.stimulus_id for each in shown]
    assert table["outcome"].tolist() == [each.outcome.value for each in shown]
    assert table["word"].tolist() == [each.word for each in shown]
    assert table["fault"].tolist() == [each.fault or "none" for each in shown]
    counts = [each.spike_counts or (np.nan,) * len(SITES) for each in shown]
    np.testing.assert_array_equal(np.stack(table["spike_counts"]), counts)
    assert table["has_times"].tolist() == [int(each.times is not None) for each in shown]
    assert table["shown_ms"].fillna(0).tolist() == [each.shown_ms for each in shown]
    sites = nwbfile.processing["ecephys"]["sites"].to_dataframe()
    assert sites["site_id"].tolist() == list(SITES)
    assert nwbfile.electrodes["location"][:].tolist() == ["V4"] * len(SITES)
    assert nwbfile.trials["n_presentations"][:].sum() == len(shown)
    configuration = json.loads(nwbfile.scratch["session_configuration"].data)
    assert configuration["settings"]["threads"][0]["settings"]["n_generations"] == 3
    notes = nwbfile.processing["misc"]["session_events"].to_dataframe()
    assert "annotate: the animal is awake" in notes["text"].tolist()
    clocks = nwbfile.processing["ecephys"]["clocks"].to_dataframe()
    assert set(clocks["recorder_offset_s"]) == {7.0}
    io.close()


@pytest.mark.parametrize("separate_at_most", [10_000, 0], ids=["images apart", "images stacked"])
def test_pixels_and_codes_are_those_of_the_log(evolve_log, tmp_path, subject, separate_at_most):
    out = tmp_path / "out.nwb"
    export_nwb(evolve_log, out, subject, separate_at_most=separate_at_most)
    io, nwbfile = read(out)
    misc = nwbfile.processing["misc"]
    log = SessionLog(evolve_log)
    ids = misc["images"]["sha256"][:].tolist()
    if separate_at_most:
        series = nwbfile.stimulus["presented_images"]
        ordered = series.indexed_images.order_of_images
        pixels = [ordered[place].data[...] for place in range(len(ids))]
    else:
        series = nwbfile.stimulus["presented_images"]
        stack = misc["pixels_16x16"]
        assert stack["image_index"][:].tolist() == list(range(len(ids)))
        pixels = list(stack["pixels"][:])
    for image_id, found in zip(ids, pixels, strict=True):
        np.testing.assert_array_equal(found, log.array(image_id))
    presentations = nwbfile.intervals["presentations"]
    assert series.data[:].tolist() == presentations["image_index"][:].tolist()
    np.testing.assert_allclose(series.timestamps[:], presentations["start_time"][:])
    blocks = [e.document for e in log.events(EventKind.BLOCK_PROPOSED)]
    of_thread = [log.array(b["codes_digest"]) for b in blocks if b["thread"] == "site-01"]
    codes = misc["codes_site-01"]
    np.testing.assert_array_equal(codes["code"][:], np.concatenate(of_thread))
    row = len(of_thread[0])  # the first of the second generation
    second = [b for b in blocks if b["thread"] == "site-01"][1]
    assert ids[codes["image_index"][row]] == second["stimuli"][0]["id"]
    log.close()
    io.close()


def test_scores_are_the_objectives(evolve_log, tmp_path, subject):
    """The objective of thread site-01 is that site's mean count."""
    export_nwb(evolve_log, tmp_path / "out.nwb", subject)
    io, nwbfile = read(tmp_path / "out.nwb")
    scores = nwbfile.processing["misc"]["scores"].to_dataframe()
    shown = nwbfile.intervals["presentations"].to_dataframe()
    io.close()
    for _, row in scores[scores["thread"] == "site-01"].iterrows():
        same = shown[
            (shown["block_index"] == row["block_index"])
            & (shown["image_index"] == row["image_index"])
            & (shown["outcome"] == "completed")
        ]
        assert row["n_counted"] == len(same)
        assert row["score"] == pytest.approx(np.stack(same["spike_counts"])[:, 1].mean())


def test_the_five_lines_of_the_docs_read_it(evolve_log, tmp_path, subject, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    assert sum(bool(line.strip()) for line in code.splitlines()) == 5
    monkeypatch.chdir(tmp_path)
    export_nwb(evolve_log, tmp_path / "session.nwb", subject)
    names = {}
    exec(compile(code, PAGE.name, "exec"), names)
    table = names["presentations"]
    assert {"generation", "role", "image_sha256", "spike_counts"} <= set(table.columns)
    assert len(table) == 60


def test_without_a_subject_it_is_still_a_file(evolve_log, tmp_path):
    export_nwb(evolve_log, tmp_path / "out.nwb")
    assert pynwb.validate(path=str(tmp_path / "out.nwb")) == []


# --- spike times, gaze, places ------------------------------------------------------------------


@pytest.fixture
def played(evolve_settings, tmp_path):
    """The file of a session, opened; its player, who knows the truth; the responses."""
    first, second = evolve_settings.threads
    moved = second.model_copy(update={"place": Placement(x_deg=3, size_deg=2)})
    settings = evolve_settings.model_copy(update={"threads": (first, moved)})
    player, path = Player(), tmp_path / "session.sqlite"
    answered = logged(settings, path, player=player)
    export_nwb(path, tmp_path / "out.nwb")
    io, nwbfile = read(tmp_path / "out.nwb")
    yield nwbfile, player, answered
    io.close()


def test_units_hold_each_spike_that_was_observed_once(played):
    """Kept spans are 400 ms and onsets 300 ms apart: neighbours share spikes."""
    nwbfile, player, _ = played
    units, table = nwbfile.units, nwbfile.intervals["presentations"].to_dataframe()
    told = table[table["onset_clock"] == "recorder"]
    offset_s = (told["start_time"] - told["onset_s"]).to_numpy()
    np.testing.assert_allclose(offset_s, offset_s[0], atol=1e-9)
    assert (np.diff(told["start_time"]) < 0.4).any()
    for site, train in enumerate(player.train):
        observed_s = units["obs_intervals"][site]
        assert (observed_s[:, 1] > observed_s[:, 0]).all()
        assert (observed_s[1:, 0] > observed_s[:-1, 1]).all(), "joined spans are one"
        truth_s = train / TICK_HZ + offset_s[0]
        within = [(truth_s > a - 1e-7) & (truth_s < b - 1e-7) for a, b in observed_s]
        np.testing.assert_allclose(
            units["spike_times"][site], truth_s[np.any(within, axis=0)], atol=1e-7
        )
        assert units["site_id"][site] == SITES[site]
        assert units["electrodes"][site]["site_id"].tolist() == [SITES[site]]


def test_units_give_the_counts_that_were_reported(played):
    nwbfile, _, _ = played
    table = nwbfile.intervals["presentations"].to_dataframe()
    completed = table[table["outcome"] == "completed"]
    assert len(completed) > 40
    half_tick_s = 0.5 / TICK_HZ
    for site in range(len(SITES)):
        spikes_s = nwbfile.units["spike_times"][site]
        for _, row in completed.iterrows():
            start_s = row["start_time"] + row["count_start_s"] - half_tick_s
            stop_s = row["start_time"] + row["count_stop_s"] - half_tick_s
            counted = ((spikes_s >= start_s) & (spikes_s < stop_s)).sum()
            assert counted == row["spike_counts"][site]


def test_gaze_is_on_the_axis_of_the_onsets(played):
    nwbfile, _, answered = played
    gaze = nwbfile.processing["behavior"]["EyeTracking"]["gaze"]
    table = nwbfile.intervals["presentations"].to_dataframe()
    told = table[table["onset_clock"] == "rig"]
    session_minus_rig_s = float((told["start_time"] - told["onset_s"]).iloc[0])
    traces = [block.gaze_samples() for block in answered]
    starts = [block.gaze.start_s for block in answered]
    times_s = np.concatenate(
        [t[:, 0].astype(np.float64) + s for t, s in zip(traces, starts, strict=True)]
    )
    samples = np.concatenate(traces)[times_s + session_minus_rig_s >= 0]
    times_s = times_s[times_s + session_minus_rig_s >= 0] + session_minus_rig_s
    np.testing.assert_allclose(gaze.timestamps[:], times_s, atol=1e-4)
    valid = samples[:, 3] > 0
    assert np.isnan(gaze.data[:][~valid]).all()
    np.testing.assert_allclose(gaze.data[:][valid], samples[valid, 1:3])
    assert gaze.unit == "degrees"


def test_every_presentation_has_its_place(played):
    nwbfile, _, _ = played
    table = nwbfile.intervals["presentations"].to_dataframe()
    first, second = table[table["thread"] == SITES[0]], table[table["thread"] == SITES[1]]
    assert set(zip(first["x_deg"], first["y_deg"], first["size_deg"], strict=True)) == {(2, -1, 4)}
    assert set(first["place_from"]) == {"display"}
    assert set(zip(second["x_deg"], second["y_deg"], second["size_deg"], strict=True)) == {
        (3, 0, 2)
    }
    assert set(second["place_from"]) == {"block"}
    assert (first["stimulus_id"] == first["image_sha256"]).all()
    assert (second["stimulus_id"] != second["image_sha256"]).all()
    references = [set(t[t["role"] == "reference"]["image_sha256"]) for t in (first, second)]
    assert references[0] == references[1], "one image, twice shown, once in the file"


def test_the_display_is_a_device_and_rig_events_are_a_table(played):
    nwbfile, _, answered = played
    described = nwbfile.devices["display"].description
    for part in ("psychopy", "57 cm", "60.00 Hz", "4° wide at (2°, -1°)", "Gamma table"):
        assert part in described
    events = nwbfile.processing["misc"]["rig_events"].to_dataframe()
    told = [event for block in answered for event in block.events]
    assert events["kind"].tolist() == [event.kind for event in told]
    assert events["ml"].tolist() == [event.ml for event in told]
    assert np.isfinite(events["session_s"]).all()


def test_recorders_that_only_count_have_no_units(evolve_settings, tmp_path, subject):
    path, out = tmp_path / "session.sqlite", tmp_path / "out.nwb"
    logged(evolve_settings, path, player=Player(with_times=False))
    export_nwb(path, out, subject)
    check(out)
    io, nwbfile = read(out)
    assert nwbfile.units is None
    assert "behavior" not in nwbfile.processing
    io.close()


def test_where_the_display_changed_within_a_block_places_are_not_known(evolve_settings, tmp_path):
    path, out = tmp_path / "session.sqlite", tmp_path / "out.nwb"
    player = Player()
    with mock.patch("synth_server.session.log.time", player):
        session = new_session(evolve_settings, path)
        attach(session)
        other = RIG.display.model_copy(update={"place": Placement(size_deg=6)})
        for number in range(3):
            if number == 1:
                moved = RIG.model_copy(update={"display": other})
                attach(session, rig=moved, accept_display_change=True)
            responses = player.responses(session.block(number))
            session.record(responses)
            session.learn(responses)
            session.advance()
        session.log.close()
    export_nwb(path, out)
    io, nwbfile = read(out)
    table = nwbfile.intervals["presentations"].to_dataframe()
    assert [set(table[table["block_index"] == n]["place_from"]) for n in range(3)] == [
        {"display"},
        {"unknown"},
        {"display"},
    ]
    assert table[table["block_index"] == 1]["size_deg"].isna().all()
    assert set(table[table["block_index"] == 2]["size_deg"]) == {6}
    assert "6° wide" in nwbfile.devices["display_2"].description
    io.close()


@pytest.mark.parametrize("simulated", [True, False])
def test_a_simulated_session_says_so(evolve_settings, tmp_path, subject, simulated):
    path, out = tmp_path / "session.sqlite", tmp_path / "out.nwb"
    parts = ("acquisition: simulated",) if simulated else ()
    logged(evolve_settings, path, rig=RIG.model_copy(update={"simulated": parts}))
    export_nwb(path, out, subject)
    check(out)
    io, nwbfile = read(out)
    assert nwbfile.session_description.startswith("SIMULATED: acquisition") == simulated
    assert ("SIMULATED" in nwbfile.keywords[:].tolist()) == simulated
    assert ("SIMULATED" in nwbfile.devices["rig"].description) == simulated
    column = set(nwbfile.intervals["presentations"]["simulated"][:])
    io.close()
    assert column == {"SIMULATED: acquisition: simulated" if simulated else "none"}


def test_without_a_subject_it_ends_with_what_an_archive_will_want(evolve_log, tmp_path):
    done = CliRunner().invoke(app, ["export-nwb", str(evolve_log), str(tmp_path / "a.nwb")])
    assert done.exit_code == 0, done.output
    last = " ".join(done.stderr.split())
    for part in ("subject_id", "species", "sex", "age or date_of_birth", "--subject-template"):
        assert part in last[last.index("An archive will still want") :]


def test_without_pynwb_it_says_what_to_install(evolve_log, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(InstallationError, match=r"stimloop\[nwb\]"):
        export_nwb(evolve_log, tmp_path / "out.nwb")


def test_a_file_that_is_there_stays_unless_told(evolve_log, tmp_path):
    out = tmp_path / "out.nwb"
    out.write_text("precious")
    with pytest.raises(SettingsError, match="--force"):
        export_nwb(evolve_log, out)
    assert out.read_text() == "precious"
    export_nwb(evolve_log, out, force=True)
    assert out.stat().st_size > 1000


def test_of_an_altered_image_no_file_is_left(evolve_log, tmp_path):
    with sqlite3.connect(evolve_log) as db:
        db.execute(
            "UPDATE arrays SET data = zeroblob(length(data)) WHERE digest = "
            "(SELECT digest FROM arrays WHERE dtype = 'uint8' LIMIT 1)"
        )
    out = tmp_path / "out.nwb"
    with pytest.raises(LogCorrupted, match="altered"):
        export_nwb(evolve_log, out)
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".nwb"] == []


def test_of_a_log_that_was_cut_no_file_is_left(evolve_log, tmp_path):
    whole = evolve_log.read_bytes()
    evolve_log.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LogError):
        export_nwb(evolve_log, tmp_path / "out.nwb")
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".nwb"] == []


def test_the_commands_from_template_to_file(evolve_log, tmp_path):
    template = CliRunner().invoke(app, ["export-nwb", "--subject-template"])
    assert template.stdout == SUBJECT_TEMPLATE
    (tmp_path / "subject.toml").write_text(template.stdout, "utf-8")
    options = ["--subject", str(tmp_path / "subject.toml")]
    for command, name, more in (("export-nwb", "a.nwb", options), ("export-csv", "a.csv", [])):
        done = CliRunner().invoke(app, [command, str(evolve_log), str(tmp_path / name), *more])
        assert done.exit_code == 0, done.output
        assert (tmp_path / name).stat().st_size > 1000
    io, nwbfile = read(tmp_path / "a.nwb")
    assert nwbfile.subject.species == "Macaca mulatta"
    io.close()


GOOD = {"subject_id": "M01", "species": "Macaca mulatta", "sex": "F", "age": "P7Y"}


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("subject_id", "a/b", "without slashes"),
        ("species", "macaque", "Macaca mulatta"),
        ("sex", "male", "'M', 'F'"),
        ("age", "7 years", "P7Y"),
        ("age", "P", "P7Y"),
        ("age", None, "date_of_birth"),
        ("weight", "7.3", "7.3 kg"),
        ("experimenter", ["Ada Lovelace"], "Last, First"),
    ],
)
def test_what_is_wrong_with_a_subject_is_said(name, value, hint):
    with pytest.raises(SettingsError, match=hint):
        validated(SubjectSettings, {**GOOD, name: value}, where="subject.toml")


@pytest.mark.parametrize("age", ["P7Y", "P90D", "P7Y3M", "P1D/P3D", "P90Y/", "PT12H", "P2.5Y"])
def test_ages_that_archives_take(age):
    assert validated(SubjectSettings, {**GOOD, "age": age}, where="").age == age


@pytest.mark.parametrize("rig_id", ["lab:rig 2", "a/b:c", "Ringo's Rig №3"])
def test_a_rig_may_be_called_anything(evolve_settings, tmp_path, subject, rig_id):
    """NWB forbids `/` and `:` in the names of objects; a session is not lost for that."""
    with mock.patch(
        "tests.unit.readers.logged.attach",
        lambda session, rig: attach(session, rig_id=rig_id, rig=rig),
    ):
        logged(evolve_settings, tmp_path / "session.sqlite", n_blocks=2, end="abort")
    export_nwb(tmp_path / "session.sqlite", tmp_path / "out.nwb", subject)
    check(tmp_path / "out.nwb")
