"""The report of small sessions: what it says is what the log says, and it needs no other file."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from protocols.documents import EventKind, SessionSettings, SessionStarted, ThreadSettings
from protocols.errors import DataError
from protocols.experiments.evolve import EvolveSettings
from protocols.experiments.guide import GuideSettings
from protocols.experiments.rounds import LearningSettings
from protocols.experiments.stretch import StretchSettings
from protocols.vocabulary import Block, BlockResponses, Outcome, RecorderClock, Role, Timing
from synth_server.cli import app
from synth_server.readers.evolution.categories import category_of, category_responses
from synth_server.readers.figures.categories import draw_categories
from synth_server.readers.log.evolved_thread import EvolvedThread
from synth_server.report.methods import methods_of
from synth_server.report.page import write_report
from synth_server.report.quality import quality_of
from synth_server.session.build import new_session
from synth_server.synthesis.photographs import load_photographs
from tests.playing import attach, play
from tests.unit.readers.results.test_results import session as evolutions


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    log = evolutions(folder)
    return write_report(log, folder / "out", None), (folder / "out" / "report.html").read_text()


def test_the_page_needs_no_other_file(report):
    _, page = report
    sources = re.findall(r'src="([^"]{1,30})', page)
    assert len(sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in page
    assert "{{" not in page


def test_every_figure_is_there_as_png_and_svg(report):
    made, page = report
    titles = [figure.title for figure in made.figures]
    assert titles == ["All evolutions", "Evolution site-00", "Evolution site-01"]
    for figure in made.figures:
        with Image.open(figure.file.with_name(f"{figure.file.name}.png")) as drawn:
            assert 0.01 < (np.asarray(drawn.convert("L")) < 128).mean() < 0.9
        svg = figure.file.with_name(f"{figure.file.name}.svg")
        assert "<svg" in svg.read_text("utf-8")[:500]
        assert svg.relative_to(made.page.parent).as_posix() in page


def test_its_numbers_are_those_of_the_log(report):
    made, page = report
    assert f"{made.quality.n_presentations:,}" in page
    assert made.summary.session_digest in page
    gain = made.summary.evolution[0].in_test.gain
    assert f"{gain.value:.2f}" in page


def test_methods_are_written_from_the_settings(report):
    _, page = report
    for said in (
        "site-00, site-01: images were evolved over 4 generations",
        "genetic algorithm",
        "6",
        "6 natural reference images (embedded)",
        "shown together, 3 times each",
        "from 70 ms (included) to 170 ms (excluded)",
        "seed 5",
        "2000 bootstrap resamples",
    ):
        assert said in page, said


def started(*threads, **changes):
    values = {"log_version": 2, "wire_version": 4, "equipment": {}, "versions": {"torch": "9"}}
    settings = SessionSettings(session_id="s", seed=7, threads=threads)
    return SessionStarted.model_validate(
        values | {"settings": settings, "device": "cpu"} | changes, strict=False
    )


def test_threads_that_differ_in_timing_say_whose_it_is():
    def thread(name, on_ms):
        return ThreadSettings(
            name=name,
            protocol="own",
            settings={"depth": 3, "timing": Timing(on_ms=on_ms).model_dump()},
        )

    said = methods_of(started(thread("a", 100), thread("b", 50)))
    assert said[0].startswith("a: the laboratory's protocol own")
    timings = [paragraph for paragraph in said if paragraph.startswith("Timing")]
    assert [t.split(":")[0] for t in timings] == ["Timing (a)", "Timing (b)"]
    assert "on for 50 ms" in timings[1]


def test_a_thread_without_timing_does_not_hide_that_of_the_next():
    untimed = ThreadSettings(name="a", protocol="own", settings={"depth": 3})
    timed = ThreadSettings(name="b", protocol="own", settings={"timing": Timing().model_dump()})
    said = methods_of(started(untimed, timed))
    assert [p.split(":")[0] for p in said if p.startswith("Timing")] == ["Timing"]


@pytest.mark.parametrize(
    ("learning", "said"),
    [
        ({}, "the 5 stretch images for every site that did best in the rounds"),
        ({"test": "new"}, "5 stretch images for every site climbed from the best in the same way"),
        ({"rounds": 1, "n_images": 2}, "climbed from the best in the same way"),
    ],
)
def test_methods_tell_where_the_images_of_a_test_come_from(learning, said):
    settings = StretchSettings(learning=LearningSettings(**learning)).model_dump(mode="json")
    thread = ThreadSettings(name="s", protocol="stretch", settings=settings)
    assert said in " ".join(methods_of(started(thread)))
    del settings["learning"]["test"]
    old = ThreadSettings(name="s", protocol="stretch", settings=settings)
    assert "climbed from the best in the same way" in " ".join(methods_of(started(old)))


@pytest.mark.parametrize(
    ("guide", "said"),
    [
        ({"every": 4}, "fitted to the evolution's own counts every 4 generations, from 200 images"),
        ({"encoder": "v4.encoder"}, "given (v4.encoder), guided 50% of a generation"),
    ],
)
def test_methods_tell_that_an_evolution_was_guided(guide, said):
    settings = EvolveSettings(guide=GuideSettings(**guide)).model_dump(mode="json")
    thread = ThreadSettings(name="e", protocol="evolve", settings=settings)
    assert said in " ".join(methods_of(started(thread)))


def mapped(tmp_path, n_blocks=None, **changes):
    settings = {"n_images": 4, "image_size_px": 16, "repetitions": 2, "images_per_block": 4}
    thread = ThreadSettings(name="map", protocol="map_responses", settings=settings | changes)
    made = new_session(
        SessionSettings(session_id="m", seed=1, threads=(thread,)), tmp_path / "m.sqlite"
    )
    attach(made)
    play(made, n_blocks)
    made.log.close()
    return tmp_path / "m.sqlite"


def test_a_mapping_has_a_report(tmp_path):
    made = write_report(mapped(tmp_path), tmp_path / "out", None)
    assert [figure.title for figure in made.figures] == ["Responses to natural images"]
    assert "4 natural images (embedded) at 16 px were shown twice each" in made.page.read_text()


def test_a_session_without_responses_has_none(tmp_path):
    with pytest.raises(DataError, match="nothing has been measured"):
        write_report(mapped(tmp_path, n_blocks=0), tmp_path / "out", None)


def test_the_command(tmp_path):
    log = mapped(tmp_path)
    done = CliRunner().invoke(app, ["report", str(log), "--backbone", "none"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "report" / "report.html").is_file()


# --- data quality -------------------------------------------------------------------------------


def answered(images, *presentations, clock=None, order=None):
    block = Block.of(images, roles=Role.NATURAL, order=order).at(0, "t")
    shown = tuple(
        cue.presentation(onset_s=0.0, **what)
        for cue, what in zip(block.cues(), presentations, strict=True)
    )
    answer = BlockResponses(block_index=0, site_ids=("x",), presentations=shown, clock=clock)
    return [
        SimpleNamespace(kind=EventKind.BLOCK_PROPOSED, document=block.document()),
        SimpleNamespace(kind=EventKind.RESPONSES_RECEIVED, document=answer.model_dump(mode="json")),
    ]


GOOD = {"outcome": Outcome.COMPLETED, "spike_counts": (1.0,), "onset_clock": "recorder"}


def test_faults_are_named_and_worth_a_look(images):
    lost = {"outcome": Outcome.ABORTED, "fault": "missing_word"}
    clock = RecorderClock(offset_s=2.0, drift_ppm=5.0, residual_s=0.003, n_words=3)
    note = SimpleNamespace(
        kind=EventKind.CONTROL, document={"command": "annotate", "text": "moved the probe"}
    )
    found = quality_of([*answered(images, GOOD, GOOD, GOOD, lost, clock=clock), note], ["drift"])
    assert found.outcomes == {"completed": 3, "aborted": 1}
    assert found.faults == {"missing_word": 1}
    assert found.n_unmeasured == 1
    assert found.notes == ("moved the probe",)
    assert found.clock is not None
    assert found.clock.drift_ppm == 5.0
    said = " ".join(found.warnings)
    for part in ("25 % of the presentations failed", "missing_word (1)", "3.0 ms (RMS)", "drift"):
        assert part in said


def test_a_good_session_calls_for_no_look(images):
    found = quality_of(answered(images, *[GOOD] * 4))
    assert found.warnings == ()
    assert found.clock is None


# --- categories ---------------------------------------------------------------------------------


def test_folders_are_categories(tmp_path):
    for name, gray in (("faces/1.png", 200), ("faces/2.png", 100), ("places/1.png", 20)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (gray, gray, gray)).save(tmp_path / name)
    found = load_photographs(tmp_path, None, 8)
    assert found.names == ("faces/1.png", "faces/2.png", "places/1.png")
    assert [category_of(name) for name in found.names] == ["faces", "faces", "places"]
    assert category_of("7.png") == ""


def thread_of(labels, counts):
    images = np.arange(len(labels) * 12, dtype=np.uint8).reshape(len(labels), 2, 2, 3)
    block = Block.of(images, roles=Role.NATURAL, labels=labels).at(0, "t")
    shown = tuple(
        cue.presentation(onset_s=0, outcome=Outcome.COMPLETED, spike_counts=(count,))
        for cue, count in zip(block.cues(), counts, strict=True)
    )
    thread = EvolvedThread("t", "map_responses", None)
    thread.add(
        block.document(), BlockResponses(block_index=0, site_ids=("x",), presentations=shown)
    )
    return thread


def test_categories_have_means_over_their_images(tmp_path):
    found = category_responses(thread_of(["a/1", "a/2", "b/1"], [1.0, 3.0, 7.0]))
    assert [(each.category, each.n_images, each.mean, each.sem) for each in found] == [
        ("a", 2, 2.0, 1.0),
        ("b", 1, 7.0, None),
    ]
    draw_categories(found, tmp_path / "c", formats=("png", "svg"))
    assert "b (1)" in (tmp_path / "c.svg").read_text("utf-8")


def test_without_folders_there_are_no_categories():
    assert category_responses(thread_of(["1", "2", "3"], [1.0, 3.0, 7.0])) == ()
