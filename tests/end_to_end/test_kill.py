"""kill -9 at any moment, of the server, of the rig or of both: the session comes out the same.

What was killed is started again as a person would start it: the server with `--resume LOG` (or
anew, if there is no log yet), the rig with the very same command.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from protocols.documents import EventKind
from synth_server.session.recovery import verify_replay
from tests.end_to_end.processes import (
    PROGRESS,
    Lab,
    Process,
    Recipe,
    busy,
    check_finished,
    eventually,
    opened,
)
from tests.thorough import times

N_KILLS = times(20, 7)
RECIPE = Recipe(seed=5, generations=10)
SHORT = Recipe(seed=6, generations=3)
N_PROGRESS = 2 * RECIPE.n_blocks - 8
"""The last moment to kill at; what comes after the last block has tests of its own."""


def progress(lab: Lab) -> int:
    """Blocks proposed plus blocks answered: restarts do not count."""
    return lab.count(*PROGRESS)


def moments(dice: random.Random, n: int = N_KILLS) -> list[int]:
    """`n` different values of `progress`, all over the session."""
    return sorted(dice.sample(range(1, N_PROGRESS), n))


def finish(lab: Lab, server: Process, rig: Process, digest: str) -> None:
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    check_finished(lab, digest)


@pytest.mark.slow
def test_server_killed_at_many_moments(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    dice = random.Random(1)
    lab = new_lab(RECIPE)
    server = lab.serve()
    rig = lab.rig()
    for moment in moments(dice):
        eventually(lambda n=moment: progress(lab) >= n, f"event {moment}", alive=[server, rig])
        busy(dice.choice([0, 0, dice.uniform(0, 0.04)]))
        server.kill9()
        server = lab.serve()
    finish(lab, server, rig, undisturbed(RECIPE))
    assert lab.count(EventKind.SERVER_RESUMED) == N_KILLS


@pytest.mark.slow
def test_rig_killed_at_many_moments(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    """Two thirds of the kills wait until a random number of the block's trials are in the journal."""
    dice = random.Random(2)
    lab = new_lab(RECIPE)
    server = lab.serve()
    rig = lab.rig()
    within_blocks = 0
    for place, moment in enumerate(moments(dice)):
        eventually(lambda n=moment: progress(lab) >= n, f"event {moment}", alive=[server, rig])
        if place % 3:
            trials, until = dice.randint(1, 5), min(moment + 4, N_PROGRESS)
            eventually(
                lambda n=trials, p=until: lab.trials_shown() >= n or progress(lab) >= p,
                f"{trials} trials shown",
                alive=[server, rig],
            )
        busy(dice.uniform(0, 0.01))
        rig.kill9()
        within_blocks += lab.trials_shown() > 0
        rig = lab.rig()
    finish(lab, server, rig, undisturbed(RECIPE))
    assert within_blocks > 0, "no kill landed within a block: this test tests less than it says"


@pytest.mark.thorough
def test_both_killed_at_once(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    """The power fails; the rig comes back first."""
    dice = random.Random(3)
    lab = new_lab(RECIPE)
    server = lab.serve()
    rig = lab.rig()
    for moment in moments(dice, 3):
        eventually(lambda n=moment: progress(lab) >= n, f"event {moment}", alive=[server, rig])
        busy(dice.uniform(0, 0.04))
        for process in dice.sample([server, rig], 2):
            process.kill9()
        rig = lab.rig()
        server = lab.serve()
    finish(lab, server, rig, undisturbed(RECIPE))


def test_server_killed_while_it_starts(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    """Before there is a log, while it is made, and before the server can be reached."""
    dice = random.Random(4)
    lab = new_lab(SHORT)
    unfinished = lab.log.with_name(lab.log.name + ".new")
    for _ in range(3):
        server = lab.launch_server()
        busy(dice.uniform(0, 0.3))
        server.kill9()
    for _ in range(4):
        server = lab.launch_server()
        eventually(
            lambda: unfinished.exists() or lab.log.exists(),
            "a log",
            alive=[server],
            tick_s=0.0002,
        )
        busy(dice.uniform(0, 0.008))
        server.kill9()
    server = lab.launch_server()
    eventually(lab.log.exists, "the log", alive=[server])
    server.kill9()
    server = lab.serve()
    finish(lab, server, lab.rig(), undisturbed(SHORT))


@pytest.mark.parametrize("content", [b"SQLite format 3\0", b"?" * 4096])
def test_what_an_unfinished_start_leaves_is_no_obstacle(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str], content: bytes
) -> None:
    """The half-made log of a start that was cut short, whatever the disk kept of it."""
    lab = new_lab(SHORT)
    for suffix in (".new", ".new-journal", ".new-wal", ".new-shm"):
        lab.log.with_name(lab.log.name + suffix).write_bytes(content)
    for suffix in (".lock", ".new.lock"):
        lab.log.with_name(lab.log.name + suffix).touch()
    assert lab.run_to_end() == undisturbed(SHORT)
    check_finished(lab, undisturbed(SHORT))


def test_server_killed_once_the_session_has_ended(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    """Its last event is written, the rig may or may not know; both can be started again."""
    lab = new_lab(SHORT, server_options=())
    server, rig = lab.serve(), lab.rig()
    eventually(lambda: lab.count(EventKind.SESSION_ENDED), "the end", alive=[rig])
    server.kill9()
    before = lab.count()
    server = lab.serve()
    again = lab.rig("rig-again")
    assert rig.ended() == 0, rig.output
    assert again.ended() == 0, again.output
    assert "session session finished: 0 blocks" in again.output
    assert server.stop() == 0, server.output
    check_finished(lab, undisturbed(SHORT))
    assert lab.count() == before, "an ended session's log grows no more"


def test_rig_killed_once_the_session_has_ended(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    lab = new_lab(SHORT, server_options=())
    server, rig = lab.serve(), lab.rig()
    eventually(lambda: lab.count(EventKind.SESSION_ENDED), "the end", alive=[rig, server])
    rig.kill9()
    rig = lab.rig()
    assert rig.ended() == 0, rig.output
    assert server.stop() == 0, server.output
    check_finished(lab, undisturbed(SHORT))


def test_a_server_killed_when_it_has_answered_goes_on_with_the_amendment(
    new_lab: Callable[..., Lab],
) -> None:
    """The command's answer says that it is on the disk: whatever happens then, it holds."""
    lab = new_lab(Recipe(seed=7, generations=60))
    server = lab.serve()
    rig = lab.rig()
    eventually(lambda: progress(lab) >= 5, "blocks are answered", alive=[server, rig])
    refused = lab.control("drop-site", "site-07")
    assert refused.returncode != 0
    assert "records no such site" in refused.stderr
    for command in (["retarget", "site-00", "--thread", "site-01"], ["finish"]):
        done = lab.control(*command)
        assert done.returncode == 0, done.stderr
        server.kill9()
        server = lab.serve()
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    with opened(lab.log) as log:
        amended = [event.document["amendment"]["kind"] for event in log.events(EventKind.AMENDED)]
        n_blocks = len(list(log.events(EventKind.BLOCK_PROPOSED)))
    assert amended == ["retarget", "finish", "finish"]
    assert n_blocks < 2 * 60
    assert verify_replay(lab.log).end == "finished"
