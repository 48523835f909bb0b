"""Whole sessions through a real window: the same to the last bit, whatever happens at the rig."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from protocols.documents import EventKind
from rig_client.display.virtual_screen import VirtualScreen
from tests.end_to_end.experimenter import Experimenter, experimenter
from tests.end_to_end.processes import (
    Lab,
    Process,
    Recipe,
    check_finished,
    eventually,
    synth_server,
)

RECIPE = Recipe(seed=9, generations=3, drop_rate=0.0)
"""A headless display drops frames by lot; this screen has none to drop."""
DISPLAY = {
    "name": "psychopy",
    "options": {
        "full_screen": False,
        "window_px": [320, 240],
        "check_refresh": False,
        "photodiode": "top_right",
        "width_cm": 32,
        "size_deg": 2,
        "aperture_deg": 2,
        "aperture_edge_deg": 0.5,
    },
}


@pytest.fixture
def screen(screen: str) -> Iterator[str]:
    """A screen of this test's own, so that the only window on it is the rig's."""
    if not shutil.which("Xvfb"):
        yield screen
        return
    with VirtualScreen((1280, 1024)):
        yield os.environ["DISPLAY"]


def rig_with_window(lab: Lab, **options: Any) -> Process:
    """Paced: sixty frames a second, so that there is time to press a key within a block."""
    return lab.rig(display={**DISPLAY, "options": {**DISPLAY["options"], **options}})


def in_a_block(lab: Lab, person: Experimenter, n_blocks: int, *alive: Process) -> None:
    """Wait until the rig has shown a trial of the block after `n_blocks`."""
    eventually(
        lambda: lab.count(EventKind.RESPONSES_RECEIVED) >= n_blocks and lab.trials_shown() > 0,
        f"a trial of block {n_blocks}",
        alive=alive,
    )
    assert person.window()


def test_a_session_through_the_window_is_the_session_without(
    screen: str, new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    lab = new_lab(RECIPE)
    server = lab.serve()
    rig = rig_with_window(lab, paced=False)
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    check_finished(lab, undisturbed(RECIPE))


@pytest.mark.slow
def test_a_window_closed_by_the_user_stops_the_rig_and_nothing_is_lost(
    screen: str, new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    lab = new_lab(RECIPE)
    server = lab.serve()
    with experimenter(screen) as person:
        for n_blocks in (0, 2):
            rig = rig_with_window(lab)
            in_a_block(lab, person, n_blocks, server, rig)
            person.close_window()
            assert rig.ended() == 1, rig.output
            assert (
                rig.output.count("error: the window was closed; nothing is lost")
                == n_blocks // 2 + 1
            )
            assert "start the rig client again" in rig.output
            assert "Traceback" not in rig.output
            assert lab.trials_shown() > 0, "it was within a block"
    rig = rig_with_window(lab, paced=False)
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    check_finished(lab, undisturbed(RECIPE))


@pytest.mark.slow
def test_without_a_server_the_screen_is_gray_and_says_why(
    screen: str, new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    """Seen from outside: what X says is on the screen."""
    lab = new_lab(RECIPE)
    server = lab.serve()
    rig = rig_with_window(lab, photodiode="none")
    with experimenter(screen) as person:
        in_a_block(lab, person, 1, server, rig)
        server.kill9()
        eventually(lambda: "no answer from tcp://" in rig.output, "the message", alive=[rig])
        seen = eventually(lambda: _gray_with_text(person.picture()), "the text", alive=[rig])
        assert seen
    server = lab.serve()
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    check_finished(lab, undisturbed(RECIPE))


def _gray_with_text(picture: np.ndarray) -> bool:
    """Three quarters background, all of it without colour, and some of it white."""
    is_gray = (picture == 128).all(axis=2)
    is_white = (picture > 200).all(axis=2)
    without_colour = (np.ptp(picture.astype(int), axis=2) <= 2).all()
    return bool(is_gray.mean() > 0.75 and is_white.sum() > 100 and without_colour)


@pytest.mark.slow
def test_one_key_pauses_and_it_takes_two_to_quit(
    screen: str, new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    lab = new_lab(RECIPE)
    server = lab.serve()
    rig = rig_with_window(lab)
    with experimenter(screen) as person:
        in_a_block(lab, person, 1, server, rig)
        person.press("q")
        for n_pauses, then in enumerate(("p", "q"), start=1):
            person.press("Escape")
            eventually(
                lambda n=n_pauses: rig.output.count("paused at the rig: ") == n,
                "the pause",
                alive=[server, rig],
            )
            shown = lab.trials_shown()
            person.press(then)
            if then == "p":
                eventually(lambda n=shown: lab.trials_shown() != n, "more trials", alive=[rig])
    assert rig.ended() == 1, rig.output
    assert "error: stopped at the keyboard; nothing is lost" in rig.output
    rig = rig_with_window(lab, paced=False)
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    check_finished(lab, undisturbed(RECIPE))


DRY_RUN = ("--seed", "4", "--generations", "2", "--population", "8", "--sites", "2", "--json",
           "--subject", "gabor_energy", "--generator", "pixels")  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A dry run without a window."""
    folder = tmp_path_factory.mktemp("plain")
    return synth_server("dry-run", *DRY_RUN, "--out", "plain", folder=folder)


@pytest.mark.parametrize("has_screen", [True, pytest.param(False, marks=pytest.mark.thorough)])
def test_a_dry_run_through_the_window_has_the_digest_of_one_without(
    screen: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, has_screen: bool, plain: Any
) -> None:
    """Without a screen, it makes one in memory; with Xvfb, that is."""
    if not has_screen:
        if shutil.which("Xvfb") is None:
            pytest.skip("no Xvfb here")
        monkeypatch.delenv("DISPLAY")
    seen = synth_server(
        "dry-run", *DRY_RUN, "--display", "psychopy", "--out", "seen", folder=tmp_path
    )
    assert seen.returncode == plain.returncode == 0, seen.stderr
    digests = [json.loads(done.stdout)["session_digest"] for done in (seen, plain)]
    assert digests[0] == digests[1]
    assert '"psychopy"' in (tmp_path / "seen" / "rig.toml").read_text()


def test_an_unknown_display_is_refused_before_anything_begins(tmp_path: Any) -> None:
    done = synth_server("dry-run", "--display", "cinema", "--out", "x", folder=tmp_path)
    assert done.returncode == 1
    assert "no plug-in 'cinema' in group stimloop.displays" in done.stderr
    assert "psychopy" in done.stderr
    assert not (tmp_path / "x" / "session.sqlite").exists()
