"""A running session is steered: what is wished is logged, goes into the plans, and comes out again."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from protocols.documents import EventKind, SessionSettings, ThreadSettings
from protocols.errors import Refusal
from protocols.vocabulary import Placement
from protocols.wire import messages as msg
from synth_server.control_socket import request
from synth_server.endpoint import Endpoint
from synth_server.ports import Ports
from synth_server.readers.log.logged_session import read_session
from synth_server.readers.log.session_record import read_record
from synth_server.session.build import new_session
from synth_server.session.log import SessionLog
from synth_server.session.recovery import resumed_session, verify_replay
from synth_server.session.session import Session
from tests.playing import RIG, attach, made_up_responses, play

PLACE = Placement(x_deg=3, y_deg=1, size_deg=2)


def evolution(name: str, n_generations: int = 3, **settings: object) -> ThreadSettings:
    return ThreadSettings(
        name=name,
        protocol="evolve",
        settings={
            "n_generations": n_generations,
            "n_references": 2,
            "test_repetitions": 1,
            "n_test_images": 2,
            "n_test_natural": 1,
            "generator": {"name": "pixels", "options": {"size_px": 16}},
            "optimizer": {"name": "genetic", "options": {"preset": "xdream", "population": 4}},
            **settings,
        },
    )


MAPPING = ThreadSettings(
    name="map",
    protocol="map_responses",
    settings={"n_images": 4, "image_size_px": 16, "repetitions": 3, "images_per_block": 4},
)
WISHES: dict[int, msg.Body] = {
    1: msg.DropSite(site="site-00", thread="a"),
    2: msg.Place(thread="b", place=PLACE),
    3: msg.AddThread(thread=MAPPING),
    4: msg.Retarget(thread="a", sites=("site-00",)),
    6: msg.Finish(thread="map"),
    7: msg.Finish(thread="b"),
}
"""By the number of blocks answered."""


def settings() -> SessionSettings:
    return SessionSettings(session_id="s", seed=5, threads=(evolution("a"), evolution("b", 9)))


def do(session: Session, wish: msg.Body) -> None:
    if isinstance(wish, msg.AddThread):
        session.add_thread(wish.thread)
    elif isinstance(wish, msg.Finish | msg.DropSite | msg.Retarget | msg.Place):
        session.steer(wish)


def to_the_end(session: Session, wished: int = -1) -> None:
    """Wishes that were done are not done again."""
    while not session.is_over:
        if session.n_answered in WISHES and session.n_answered > wished:
            do(session, WISHES[session.n_answered])
        wished = session.n_answered
        play(session, 1)


def as_killed(path: Path, copy: Path) -> Path:
    """The log as a server leaves it that is killed now."""
    with sqlite3.connect(path) as now, sqlite3.connect(copy) as then:
        now.backup(then)
    now.close()
    then.close()
    return copy


@pytest.fixture(scope="module")
def steered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, list[tuple[Path, int]]]:
    """The log of a whole session, its digest, and logs as kills around every amendment leave them.

    With each of these: after how many answered blocks wishes are still to be done.
    """
    folder = tmp_path_factory.mktemp("steered")
    path = folder / "s.sqlite"
    session = new_session(settings(), path)
    attach(session)
    kills = []
    while not session.is_over:
        n = session.n_answered
        if n in WISHES:
            if not kills:
                kills.append((as_killed(path, folder / f"before-{n}.sqlite"), n - 1))
            do(session, WISHES[n])
            kills.append((as_killed(path, folder / f"after-{n}.sqlite"), n))
        block = session.block(n)
        assert block is not None
        responses = made_up_responses(block)
        session.record(responses)
        if n in WISHES:
            kills.append((as_killed(path, folder / f"recorded-{n}.sqlite"), n))
        session.learn(responses)
        session.advance()
    session.log.close()
    return path, session.digest, kills


def test_a_session_that_is_killed_around_amendments_comes_to_the_same_end(steered):
    _, digest, kills = steered
    assert len(kills) == 2 * len(WISHES) + 1
    for path, wished in kills:
        session = resumed_session(path)
        to_the_end(session, wished)
        session.log.close()
        assert session.digest == digest, path.name


def test_replay_verifies_amendments(steered):
    path, _, _ = steered
    report = verify_replay(path)
    assert report.end == "finished"


def test_what_was_wished_is_what_was_shown(steered):
    path, _, _ = steered
    log = SessionLog(path)
    blocks = [event.document for event in log.events(EventKind.BLOCK_PROPOSED)]
    amended = [event.document for event in log.events(EventKind.AMENDED)]
    log.close()
    assert [each["amendment"]["kind"] for each in amended] == [
        "drop_site", "place", "add_thread", "retarget", "finish", "finish",
    ]  # fmt: skip
    of = {name: [b for b in blocks if b["thread"] == name] for name in ("a", "b", "map")}
    assert [b["label"] for b in of["a"]] == [*(f"generation {n}" for n in range(3)), "test"]
    assert of["b"][-1]["label"] == "test"
    assert len(of["b"]) < 10
    assert len(of["map"]) == 1, "of three, since it was finished"
    place = next(each for each in amended if each["amendment"]["kind"] == "place")
    placed = [b["index"] for b in of["b"] if b["stimuli"][0].get("place")]
    assert placed == [b["index"] for b in of["b"] if b["index"] >= place["from_block"]]
    assert place["from_block"] > 0
    drop, _, added, retarget, _, finish = amended
    follows = [b["index"] for b in of["a"] if b["index"] >= drop["from_block"]]
    assert follows[0] == of["a"][2]["index"]
    assert retarget["from_block"] > of["a"][2]["index"]
    assert added["from_block"] <= of["map"][0]["index"]
    assert finish["from_block"] <= of["b"][-1]["index"]


def test_readers_follow_amendments(steered):
    path, _, _ = steered
    record = read_record(path)
    assert list(record.threads) == ["a", "b", "map"]
    assert record.threads["a"].sites == ("site-00",)
    assert record.threads["a"].measured == [0, 1, 2]
    log = SessionLog(path)
    session = read_session(log)
    log.close()
    objectives = [
        block.thread.settings["objective"]["options"]["sites"]
        for block in session.blocks
        if block.document["thread"] == "a"
    ]
    assert objectives == [None, None, ["site-01"], ["site-00"]]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = new_session(settings(), tmp_path / "session.sqlite")
    attach(session)
    yield session
    session.log.close()


TARGETS = {"name": "site", "options": {"site": "site-00"}}
REFUSED: dict[str, tuple[msg.Body, str]] = {
    "no such thread": (msg.Finish(thread="c"), "no such thread"),
    "no such site": (msg.DropSite(site="site-07"), "records no such site"),
    "no such target": (msg.Retarget(thread="a", sites=("x",)), "records no such site"),
    "which thread": (msg.Retarget(sites=("site-00",)), "which thread"),
    "off the screen": (
        msg.Place(thread="a", place=Placement(x_deg=90, size_deg=4)),
        "place_off_screen",
    ),
    "no fields": (
        msg.Place(thread="a", place={"fields": "nowhere.json"}),
        "fields cannot be read",
    ),
    "name taken": (msg.AddThread(thread=MAPPING.model_copy(update={"name": "a"})), "of this name"),
    "unknown protocol": (
        msg.AddThread(thread=ThreadSettings(name="c", protocol="none")),
        "settings_refused",
    ),
    "no such images": (
        msg.AddThread(thread=evolution("c", references="/nowhere")),
        "settings_refused",
    ),
    "site not recorded": (
        msg.AddThread(
            thread=evolution("c", objective={"name": "site", "options": {"site": "site-07"}})
        ),
        "unknown_site",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_and_leaves_no_trace(session, name):
    wish, said = REFUSED[name]
    before = session.log.last_seq
    with pytest.raises(Refusal, match=said):
        do(session, wish)
    assert session.log.last_seq == before
    assert list(session.threads) == ["a", "b"]
    play(session, 2)
    session.add_thread(evolution("c", 1, objective=TARGETS))
    play(session)
    assert session.state == "finished"


def test_the_only_target_stays(session):
    session.steer(msg.DropSite(site="site-00"))
    with pytest.raises(Refusal, match="cannot be dropped"):
        session.steer(msg.DropSite(site="site-01", thread="a"))


def test_a_wish_repeated_is_logged_once(session):
    wishes = (*WISHES.values(), msg.Finish(thread="a"))
    for wish in wishes[:4]:
        do(session, wish)
    n = session.log.last_seq
    for wish in wishes[1:4]:
        do(session, wish)
    assert session.log.last_seq == n


def test_nothing_is_steered_once_a_session_stops(session):
    session.control("stop")
    with pytest.raises(Refusal, match="session_over"):
        session.steer(msg.Finish())
    with pytest.raises(Refusal, match="session_over"):
        session.add_thread(MAPPING)


def test_a_protocol_that_cannot_is_told_so(tmp_path):
    session = new_session(
        SessionSettings(session_id="s", seed=1, threads=(MAPPING,)), tmp_path / "s.sqlite"
    )
    attach(session)
    with pytest.raises(Refusal, match="cannot take other targets"):
        session.steer(msg.Retarget(sites=("site-00",)))
    session.log.close()


def test_before_a_rig_came_sites_are_not_known_but_a_test_can_be_asked_for(tmp_path):
    session = new_session(settings(), tmp_path / "s.sqlite")
    with pytest.raises(Refusal, match="no rig has attached"):
        session.steer(msg.DropSite(site="site-00"))
    session.steer(msg.Place(thread="a", place=Placement(x_deg=90, size_deg=4)))
    with pytest.raises(Refusal, match="place_off_screen"):
        attach(session, rig=RIG)
    session.steer(msg.Place(thread="a", place=PLACE))
    session.steer(msg.Finish())
    attach(session)
    play(session)
    assert session.state == "finished"
    assert session.n_answered == 4, "a generation and a test each"
    session.log.close()


def test_steering_by_the_control_socket(tmp_path):
    session = new_session(settings(), tmp_path / "s.sqlite")
    attach(session)
    endpoint = Endpoint({"s": session}, ports=Ports(0, 0, 0))
    server = threading.Thread(target=endpoint.run)
    server.start()
    ask: Callable[[msg.Body], object] = lambda body: request(body, endpoint.addresses.control)  # noqa: E731
    try:
        ask(msg.Finish(thread="b"))
        ask(msg.AddThread(thread=MAPPING))
        with pytest.raises(Refusal, match="unknown_thread"):
            ask(msg.Finish(thread="c"))
        with pytest.raises(Refusal, match="of this name"):
            ask(msg.AddThread(thread=MAPPING.model_copy(update={"name": "a"})))
    finally:
        endpoint.close()
        server.join()
    log = SessionLog(tmp_path / "s.sqlite")
    kinds = [event.document["amendment"]["kind"] for event in log.events(EventKind.AMENDED)]
    log.close()
    assert kinds == ["finish", "add_thread"]
