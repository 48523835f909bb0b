"""Pause, resume, stop, abort and annotate, from the command line, while a session runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from protocols.documents import Control, EventKind, SessionEnded
from protocols.errors import Refusal
from protocols.vocabulary import BlockResponses
from synth_server.control_socket import ask
from synth_server.session.recovery import verify_replay
from tests.end_to_end.processes import (
    DEADLINE_S,
    PROGRESS,
    Lab,
    Recipe,
    ServerHere,
    blocks_and_responses,
    check_finished,
    ended,
    eventually,
    opened,
)
from tests.end_to_end.proxies import Direction, Frames, Proxy

RECIPE = Recipe(seed=61, generations=8)
LONG_BLOCKS = Recipe(seed=62, generations=3, image_ms=50, repetitions=4)
"""A block takes more than three seconds: longer than the rig goes without asking how things are."""


class Witness:
    """A network that notes what the server says to the rig, and changes nothing."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def __call__(self, direction: Direction, frames: Frames) -> Sequence[tuple[float, Frames]]:
        if direction == "to the rig":
            header = json.loads(frames[0])
            self.heard.append((header["kind"], header["body"].get("state", "")))
        return [(0.0, frames)]


def commands(lab: Lab) -> list[tuple[str, str]]:
    """What was pressed, as the log has it."""
    with opened(lab.log) as log:
        found = [Control.model_validate(e.document) for e in log.events(EventKind.CONTROL)]
    return [(control.command, control.text) for control in found]


def told(lab: Lab, *command: str, state: str) -> None:
    """Give a command; the answer says what has become of the session."""
    done = lab.control(*command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == ["session", state]


def pressed(lab: Lab, command: str, *, state: str) -> None:
    """The same from this process: a session goes on while a command line starts."""
    (line,) = ask(command, lab.addresses["control"])
    assert line.state == state


def test_pause_and_resume(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    """Once the rig says that it is paused, it is handed nothing, however often it asks."""
    lab = new_lab(RECIPE)
    server = lab.serve()
    witness = Witness()
    proxy = Proxy(lab.addresses["work"], witness)
    proxy.start()
    try:
        rig = lab.rig(server=proxy.address)
        eventually(lambda: lab.count(*PROGRESS) >= 8, "a few blocks", alive=[server, rig])
        pressed(lab, "pause", state="paused")
        eventually(lambda: "client: paused" in rig.output, "the rig says so", alive=[server, rig])
        since = len(witness.heard)
        eventually(
            lambda: witness.heard[since:].count(("not_yet", "paused")) >= 2,
            "the rig asks again and again",
            alive=[server, rig],
        )
        assert "block" not in [kind for kind, _ in witness.heard[since:]]
        told(lab, "pause", state="paused")
        told(lab, "annotate", "the monkey yawns", state="paused")
        told(lab, "resume", state="running")
        assert rig.ended() == 0, rig.output
    finally:
        proxy.close()
    assert server.ended() == 0, server.output
    check_finished(lab, undisturbed(RECIPE))
    assert commands(lab) == [("pause", ""), ("annotate", "the monkey yawns"), ("resume", "")]


def test_a_pause_outlives_the_server(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    lab = new_lab(RECIPE)
    server, rig = lab.serve(), lab.rig()
    eventually(lambda: lab.count(*PROGRESS) >= 8, "a few blocks", alive=[server, rig])
    pressed(lab, "pause", state="paused")
    server.kill9()
    server = lab.serve()
    (line,) = ask("status", lab.addresses["control"])
    assert line.state == "paused"
    told(lab, "resume", state="running")
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    check_finished(lab, undisturbed(RECIPE))


def test_stop_shows_what_is_proposed_and_ends(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(RECIPE)
    server, rig = lab.serve(), lab.rig()
    eventually(lambda: lab.count(*PROGRESS) >= 8, "a few blocks", alive=[server, rig])
    pressed(lab, "stop", state="stopping")
    proposed = lab.count(EventKind.BLOCK_PROPOSED)
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    end = ended(lab.log)
    assert end.state == "stopped"
    assert end.n_blocks == len(blocks_and_responses(lab.log)) == proposed < RECIPE.n_blocks
    assert verify_replay(lab.log).end == "stopped"
    assert list(lab.spool.iterdir()) == []


@pytest.mark.slow
def test_a_rig_that_dies_as_the_session_is_aborted_hands_in_what_it_showed(
    new_lab: Callable[..., Lab],
) -> None:
    lab = new_lab(LONG_BLOCKS)
    server, rig = lab.serve(), lab.rig()
    eventually(lambda: lab.trials_shown() >= 2, "a few trials", alive=[server, rig])
    pressed(lab, "abort", state="aborted")
    shown = lab.trials_shown()
    rig.kill9()
    rig = lab.rig()
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    with opened(lab.log) as log:
        (event,) = log.events(EventKind.RESPONSES_RECEIVED)
    assert len(BlockResponses.model_validate(event.document).presentations) >= shown
    assert list(lab.spool.iterdir()) == []
    assert verify_replay(lab.log).end == "aborted"


@pytest.mark.slow
@pytest.mark.parametrize("threads", [("site-00",), ("site-00", "site-01")])
def test_abort_within_a_block(new_lab: Callable[..., Lab], threads: tuple[str, ...]) -> None:
    """The rig reports what it has shown, though with two threads it has its next block already."""
    recipe = replace(LONG_BLOCKS, threads=threads)
    lab = new_lab(recipe)
    server, rig = lab.serve(), lab.rig()
    eventually(lambda: lab.trials_shown() >= 2, "a few trials", alive=[server, rig])
    pressed(lab, "abort", state="aborted")
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    with opened(lab.log) as log:
        answers = [
            BlockResponses.model_validate(event.document)
            for event in log.events(EventKind.RESPONSES_RECEIVED)
        ]
        proposed = [log.block(event) for event in log.events(EventKind.BLOCK_PROPOSED)]
        end = [SessionEnded.model_validate(e.document) for e in log.events(EventKind.SESSION_ENDED)]
    assert [answer.block_index for answer in answers] == [0]
    counted = list(answers[0].completed())
    assert 0 < len(counted) < len(proposed[0].order)
    assert [e.state for e in end] == ["aborted"]
    assert commands(lab) == [("abort", "")]
    assert verify_replay(lab.log).end == "aborted"
    assert list(lab.spool.iterdir()) == []
    assert "aborted" in rig.output


def test_an_ended_session_takes_no_commands(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(Recipe(seed=63, generations=1, real_clock=False), server_options=())
    server, rig = lab.serve(), lab.rig()
    assert rig.ended() == 0, rig.output
    before = lab.count()
    for command in ("pause", "resume", "stop", "annotate"):
        with pytest.raises(Refusal, match="the session is over"):
            ask(command, lab.addresses["control"], text="too late")
    done = lab.control("abort")
    assert done.returncode == 1
    assert "the session is over" in done.stderr
    told(lab, "status", state="finished")
    assert lab.count() == before
    assert server.stop() == 0, server.output


def test_nobody_answers(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(RECIPE)
    server = lab.serve()
    server.kill9()
    done = lab.control("status")
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert lab.addresses["control"] in done.stderr


def test_commands_are_answered_while_the_server_computes(
    new_lab: Callable[..., Lab],
    undisturbed: Callable[[Recipe], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The computing ends when this test says so: after the answers."""
    computing, may_end = threading.Event(), threading.Event()
    lab = new_lab(RECIPE)
    with ServerHere(lab) as server:
        learn = server.session.learn

        def slow(responses: BlockResponses) -> None:
            if responses.block_index == 3:
                computing.set()
                assert may_end.wait(DEADLINE_S)
            learn(responses)

        monkeypatch.setattr(server.session, "learn", slow)
        rig = lab.rig()
        assert computing.wait(DEADLINE_S), rig.output
        try:
            for command in ("status", "pause", "annotate", "resume", "status"):
                (line,) = ask(command, lab.addresses["control"], text="still there")
                assert line.blocks_answered == 4
                assert line.state == ("paused" if command in ("pause", "annotate") else "running")
        finally:
            may_end.set()
        assert rig.ended() == 0, rig.output
        server.ended()
    check_finished(lab, undisturbed(RECIPE))
    assert commands(lab) == [("pause", ""), ("annotate", "still there"), ("resume", "")]
