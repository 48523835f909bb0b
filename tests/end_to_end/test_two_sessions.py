"""Two sessions on one server do not know of each other; a rig serves the one that it names."""

from __future__ import annotations

import json
from collections.abc import Callable

from protocols.documents import EventKind
from tests.end_to_end.processes import Lab, Process, Recipe, check_finished, eventually

ONE = Recipe(session_id="one", seed=51, generations=5)
TWO = Recipe(session_id="two", seed=52, generations=4, threads=("site-01",), image_ms=3)


def served_together(one: Lab, two: Lab) -> Process:
    """One server for the sessions of both; its address is known to both."""
    announcement = one.folder / "server.json"
    files = [one.folder / "session.toml", two.folder / "session.toml"]
    options = ["--announce", announcement, "--exit-when-over"]
    for lab in (one, two):
        options += ["--log", lab.log]
    for name in ("work", "control", "events"):
        options += [f"--{name}-port", "0"]
    server = Process("server", "synth_server.cli", ["serve", *files, *options], one.folder)
    one.processes.append(server)
    eventually(announcement.exists, "the server announced itself", alive=[server])
    one.addresses = two.addresses = json.loads(announcement.read_text("utf-8"))
    return server


def test_each_session_is_what_it_is_alone(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    one, two = new_lab(ONE, "one"), new_lab(TWO, "two")
    server = served_together(one, two)
    rigs = [one.rig(session_id="one"), two.rig(session_id="two")]
    for rig in rigs:
        assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    check_finished(one, undisturbed(ONE))
    check_finished(two, undisturbed(TWO))
    assert undisturbed(ONE) != undisturbed(TWO)


def test_who_may_serve_which_session(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    """A rig that names none, or one that is not there, is told the names; a second rig is refused."""
    one, two = new_lab(ONE, "one"), new_lab(TWO, "two")
    server = served_together(one, two)

    for asked, said in (("", "which session?"), ("three", "does not serve that session")):
        lost = one.rig("lost-rig", session_id=asked)
        assert lost.ended() == 1
        assert "refused: unknown_session" in lost.output
        assert said in lost.output
        assert "expected: one, two" in lost.output
        assert "rig.toml: session_id" in lost.output

    first = one.rig(session_id="one")
    eventually(lambda: one.count(EventKind.RIG_ATTACHED), "the rig attached", alive=[first, server])
    second = one.rig("second-rig", session_id="one", rig_id="another", spool="another-spool")
    assert second.ended() == 1
    assert "another rig serves this session" in second.output
    assert "expected: rig" in second.output
    assert "got: another" in second.output

    other = two.rig(session_id="two", rig_id="another")
    for rig in (first, other):
        assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    check_finished(one, undisturbed(ONE))
    check_finished(two, undisturbed(TWO))
    assert one.count(EventKind.RIG_ATTACHED) == 1


def test_commands_are_for_the_session_that_they_name(new_lab: Callable[..., Lab]) -> None:
    one, two = new_lab(ONE, "one"), new_lab(TWO, "two")
    server = served_together(one, two)
    everything = one.control("status")
    assert [line.split()[0] for line in everything.stdout.splitlines()] == ["one", "two"]
    unnamed = one.control("stop")
    assert unnamed.returncode == 1
    assert "one, two" in unnamed.stderr
    for name in ("one", "two"):
        assert one.control("abort", "--session", name).returncode == 0
        states = [line.split()[1] for line in one.control("status").stdout.splitlines()]
        assert states == (["aborted", "running"] if name == "one" else ["aborted", "aborted"])
    assert server.stop() == 0, server.output
