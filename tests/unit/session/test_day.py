"""A day and the next: fields, windows, mapping, sites, stretch, evolution, report; then yesterday's log."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from encoders.backbones.one_thread import one_thread
from protocols.digests import array_digest
from protocols.documents import EventKind, SessionSettings, ThreadSettings
from protocols.fields import FieldMap, FieldPlace
from protocols.spike_times import packed, packed_counts
from protocols.vocabulary import Block, BlockResponses, Outcome, Placement, Role
from protocols.wire import messages as msg
from synth_server.readers.log.session_record import read_record
from synth_server.readers.summary.session_summary import summarize
from synth_server.readers.time_courses.psth_and_latency import read_course, time_courses
from synth_server.report.methods import methods_of
from synth_server.report.quality import quality_of
from synth_server.session.build import new_session
from synth_server.session.log import SessionLog
from synth_server.session.products import products_folder
from synth_server.session.recovery import resumed_session, verify_replay
from synth_server.session.session import Session
from tests.encoder_files import FIT
from tests.playing import RIG, attach

SITES = ("near", "beside", "flat")
CENTRES = np.array([(-3.0, 2.0), (-2.0, 1.0)])
SIGMA_DEG, BASE_HZ, LATENCY_MS = 1.0, 5.0, 60
KEPT_S, WINDOW_S, TICK_HZ = (-0.1, 0.3), (0.07, 0.17), 1000.0
HERE = RIG.model_copy(update={"tick_hz": TICK_HZ})
NATURAL = {"n_images": 24, "image_size_px": 32}


def brightness_in_fields(image: np.ndarray, place: Placement) -> np.ndarray:
    """How much brighter than gray an image is, within the fields of the sites that have one: `(2,)`."""
    bright = np.maximum(image.mean(axis=2) - 128, 0) / 128
    steps = (np.arange(len(image)) + 0.5) / len(image) - 0.5
    x_deg = place.x_deg + place.size_deg * steps[None, :]
    y_deg = place.y_deg - place.size_deg * steps[:, None]
    area = (place.size_deg / len(image)) ** 2 / (2 * np.pi * SIGMA_DEG**2)
    weights = [
        np.exp(-((x_deg - x) ** 2 + (y_deg - y) ** 2) / 2 / SIGMA_DEG**2) for x, y in CENTRES
    ]
    return np.array([(bright * weight).sum() * area for weight in weights])


def animal(block: Block) -> BlockResponses:
    """Spikes of three sites, the last of which sees nothing; the same for a block, whenever it comes."""
    random = np.random.default_rng((7, block.index))
    at_rest = HERE.display.place if HERE.display else Placement(size_deg=4)
    driven = [
        brightness_in_fields(image, one.place or at_rest)
        for image, one in zip(block.images, block.stimuli, strict=True)
    ]
    shown, arrays = [], {}
    for cue in block.cues():
        rates = np.append(400 * driven[cue.stimulus_index], 10.0)
        ticks = [
            np.concatenate(
                [
                    random.integers(-100, 300, random.poisson(BASE_HZ * 0.4)),
                    random.integers(LATENCY_MS, 180, random.poisson(rate * 0.12)),
                ]
            )
            for rate in rates
        ]
        times = packed(ticks, KEPT_S, TICK_HZ)
        arrays[array_digest(times)] = times
        counts = packed_counts(times, len(SITES), WINDOW_S, TICK_HZ)
        shown.append(
            cue.presentation(
                onset_s=0.2 * len(shown),
                outcome=Outcome.COMPLETED,
                spike_counts=tuple(float(n) for n in counts),
                times=array_digest(times),
            )
        )
    return BlockResponses(
        block_index=block.index,
        site_ids=SITES,
        presentations=tuple(shown),
        tick_hz=TICK_HZ,
        arrays=arrays,
    )


def show(session: Session, while_: Callable[[], bool] = lambda: True) -> None:
    """Show blocks for as long as that holds, or all."""
    while not session.is_over and while_():
        block = session.block(session.n_answered)
        assert block is not None
        responses = animal(block)
        session.record(responses)
        session.learn(responses)
        session.advance()


def begun(path: Path, *threads: ThreadSettings) -> Session:
    session = new_session(SessionSettings(session_id=path.stem, seed=3, threads=threads), path)
    attach(session, SITES, rig=HERE)
    return session


def thread(name: str, protocol: str, place: FieldPlace | None = None, **settings) -> ThreadSettings:
    return ThreadSettings(name=name, protocol=protocol, place=place, settings=settings)


def killed(path: Path, folder: Path) -> Path:
    """Log and products as a server leaves them that is killed now."""
    folder.mkdir()
    copy = folder / path.name
    now, then = sqlite3.connect(path), sqlite3.connect(copy)
    now.backup(then)
    now.close()
    then.close()
    shutil.copytree(products_folder(path), products_folder(copy))
    return copy


def stretch(name: str, place: FieldPlace, **settings) -> ThreadSettings:
    known = {
        **NATURAL,
        "n_seeds": 1,
        "mapping": {"repetitions": 4, "images_per_block": 24},
        "fit": {"name": "two_stage", "options": FIT},
        "synthesis": {"name": "quick", "options": {"n_steps": 2}},
        "learning": {"rounds": 0},
        "comparison": {"repetitions": 2, "best_natural": 1},
    }
    return thread(name, "stretch", place, **{**known, **settings})


LEARNING = {
    "rounds": 1,
    "n_images": 2,
    "repetitions": 1,
    "from_scratch": {"name": "quick", "options": {"n_steps": 2}},
    "from_best": {"name": "short", "options": {"n_steps": 2}},
}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """The log of the first day; a log killed after its last amendment; the day's digest."""
    folder = tmp_path_factory.mktemp("day")
    path = folder / "monday.sqlite"
    coarse = {"n_across": 5, "showings": 6, "most_showings": 6}
    mapping = thread(
        "fields",
        "map_fields",
        coarse=coarse,
        fine={"showings": 0},
        image_size_px=16,
        estimate={"n_permutations": 400, "n_bootstrap": 3},
    )
    waiting = thread("waiting", "map_responses", n_images=2, image_size_px=32, repetitions=50)
    with one_thread():
        session = begun(path, mapping, waiting)
        show(session, lambda: "fields" in session.conductor.live)
        fields = products_folder(path) / "fields.json"
        place = FieldPlace(fields=str(fields))

        session.add_thread(
            thread("map", "map_responses", place, **NATURAL, repetitions=6, images_per_block=24)
        )
        session.steer(msg.Finish(thread="waiting"))
        show(session, lambda: session.conductor.live != ("map",) or not _tested(session, "map", 4))
        course, timing = read_course(path)
        found = time_courses(course, timing)
        assert found.best is not None
        latency = {site.site: site.latency_ms for site in found.sites}
        assert abs((latency["near"] or 0) - LATENCY_MS) <= 20

        best = {"best": 1, "least_reliability": 0.3}
        session.add_thread(stretch("stretch", place=place, targets=best, learning=LEARNING))
        session.add_thread(evolution("evolve", 100))
        show(session, lambda: not _tested(session, "evolve", 1))
        session.steer(msg.Place(thread="evolve", place=place))
        show(session, lambda: "stretch" in session.conductor.live)
        session.steer(msg.Finish())
        copy = killed(path, folder / "killed")
        show(session)
        session.log.close()
    return path, copy, session.digest


def _tested(session: Session, name: str, n_blocks: int) -> bool:
    """Whether so many blocks of a thread were answered."""
    blocks = [session.block(index) for index in range(session.n_answered)]
    return sum(block is not None and block.thread == name for block in blocks) >= n_blocks


def evolution(name: str, n_generations: int, **settings) -> ThreadSettings:
    known = {
        "n_generations": n_generations,
        "n_references": 2,
        "test_repetitions": 2,
        "n_test_images": 2,
        "n_test_natural": 1,
        "generator": {"name": "pixels", "options": {"size_px": 16}},
        "optimizer": {"name": "genetic", "options": {"preset": "xdream", "population": 4}},
        "objective": {"name": "site", "options": {"site": "near"}},
    }
    return thread(name, "evolve", **{**known, **settings})


def blocks_of(path: Path, name: str) -> list[dict]:
    log = SessionLog(path)
    found = [event.document for event in log.events(EventKind.BLOCK_PROPOSED)]
    log.close()
    return [block for block in found if block["thread"] == name]


def made_for(blocks: list[dict]) -> set[str]:
    stimuli = [one for block in blocks for one in block["stimuli"]]
    return {site for one in stimuli if one["role"] == Role.STRETCH for site in one["targets"]}


def test_fields_are_where_they_are(day):
    path, _, _ = day
    text = (products_folder(path) / "fields.json").read_text()
    found = {field.site: field for field in FieldMap.model_validate(json.loads(text)).significant}
    assert set(found) == {"near", "beside"}
    for site, (x, y) in zip(SITES, CENTRES, strict=False):
        assert np.hypot(found[site].x_deg - x, found[site].y_deg - y) < 0.8


def test_the_day_was_as_it_was_told(day):
    path, _, _ = day
    mapped = blocks_of(path, "map")
    assert len(mapped) == 6
    places = {(one["place"]["x_deg"], one["place"]["y_deg"]) for one in mapped[0]["stimuli"]}
    ((x, y),) = places
    assert np.hypot(x + 2.5, y - 1.5) < 1
    assert made_for(blocks_of(path, "stretch")) < {"near", "beside"}
    evolved = blocks_of(path, "evolve")
    assert evolved[-1]["label"] == "test"
    assert 2 < len(evolved) < 100
    assert "place" not in evolved[0]["stimuli"][0]
    assert evolved[-1]["stimuli"][0]["place"]["x_deg"] == x
    assert len(blocks_of(path, "waiting")) < 50


def test_killed_after_its_last_amendment_the_day_ends_the_same(day):
    _, copy, digest = day
    with one_thread():
        session = resumed_session(copy)
        show(session)
        session.log.close()
        assert session.digest == digest
        assert verify_replay(copy).end == "finished"


def test_the_day_is_reported(day):
    """All that a report says, but for its figures: these take longer than the day."""
    path, _, _ = day
    record = read_record(path)
    log = SessionLog(path)
    notes = "\n".join(quality_of(log.events()).notes)
    log.close()
    for said in ("thread evolve: told to finish", "thread stretch: thread added", "evolve: images"):
        assert said in notes
    methods = "\n".join(methods_of(record.started, record.at_rig, record.shown))
    for name in ("fields", "map", "stretch", "evolve"):
        assert name in methods
    summary = summarize(record)
    assert "evolve" in {each.thread for each in summary.threads}
    assert "stretch" in {each.thread for each in summary.control}
    assert "stretch" in {each.thread for each in summary.learning}


def test_the_next_day_begins_with_yesterdays_log(day, tmp_path):
    path, _, _ = day
    tuesday = tmp_path / "tuesday.sqlite"
    fields = FieldPlace(fields=str(products_folder(path) / "fields.json"))
    check = {"n_images": 12, "repetitions": 3}
    mapping = {"repetitions": 1, "images_per_block": 24}
    again = {"sessions": [str(path)], "check": check, "mapping": mapping}
    with one_thread():
        session = begun(
            tuesday,
            stretch("stretch", place=fields, **again),
            evolution("evolve", 1, continued={"session": str(path)}),
        )
        show(session)
        session.log.close()
    said = json.loads((products_folder(tuesday) / "check.json").read_text())
    assert "flat" in said["r"]
    assert "flat" not in said["kept"]
    assert said["kept"]
    blocks = blocks_of(tuesday, "stretch")
    phases = list(dict.fromkeys(block["label"].split(",")[0] for block in blocks))
    assert phases == ["check", "mapping", "test"]
    assert made_for(blocks) == set(said["kept"])
    last = blocks_of(path, "evolve")[-2]
    first = blocks_of(tuesday, "evolve")[0]
    assert first["codes_digest"] == last["codes_digest"]
    pixels = {one.get("pixels") or one["id"] for one in first["stimuli"][:4]}
    assert pixels == {one.get("pixels") or one["id"] for one in last["stimuli"][:4]}
