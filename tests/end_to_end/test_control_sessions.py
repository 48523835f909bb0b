"""Map, fit, synthesise and test, by server and rig as processes; small networks that were never trained."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from protocols.documents import EventKind
from protocols.vocabulary import Role
from synth_server.readers.summary.session_summary import Summary
from synth_server.session.products import products_folder, read_progress
from tests.encoder_files import CLIMB, FIT
from tests.end_to_end.processes import (
    Lab,
    Process,
    Recipe,
    blocks_and_responses,
    check_finished,
    ended,
    eventually,
    synth_server,
)

SMALL = (
    "n_images=20",
    "image_size_px=32",
    "n_seeds=2",
    "mapping.repetitions=2",
    "comparison.repetitions=2",
    "comparison.best_natural=1",
    "synthesis.options={ n_steps = 3, n_candidates = 2, refinement = { n_steps = 1 } }",
    "learning.rounds=2",
    "learning.n_images=2",
    "learning.from_scratch.options.n_steps=3",
    "learning.from_best.options.n_steps=2",
    "fit.options.max_sweeps=2",
    "fit.options.penalties=[{ spatial = 0.1, mixing = 0.1, smoothness = 1.0 }]",
    "fit.options.taps=[{ backbone = 'efficientnet_lite0', layer = 'blocks.0', input_px = 32, "
    "weights = 'random' }]",
)


def dry_run(folder: Path, protocol: str, seed: int = 7) -> subprocess.CompletedProcess[str]:
    options = [part for change in SMALL for part in ("--set", change)]
    options += ["--subject", "gabor_energy", "--sites", "2", "--seed", str(seed), "--json"]
    return synth_server(
        "dry-run", "--protocol", protocol, *options, "--out", folder, folder=folder.parent
    )


@pytest.fixture(scope="module")
def stretched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One stretch for all tests that only look at it: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("stretch") / "run"
    done = dry_run(folder, "stretch")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def check_left(folder: Path, stdout: str, aim: str) -> None:
    summary = Summary.model_validate_json(stdout)
    assert summary.state == "finished"
    (control,) = summary.control
    assert control.aim == aim
    assert [site.site for site in control.sites] == ["site-00", "site-01"]
    for site in control.sites:
        assert site.n_images == 2
        for estimate in (site.synthesised, site.best_natural, site.noise, site.others):
            assert estimate.value is not None
    left = {path.name for path in folder.iterdir()}
    assert {"summary.json", f"{aim}.png", "responses.png", "session.products"} <= left
    assert "learning.png" in left
    (learning,) = summary.learning
    assert [each.round for each in learning.rounds] == [1, 2]
    assert [each.n_presentations for each in learning.rounds] == [48, 56]
    assert all(site.n_images == 2 for each in learning.rounds for site in each.sites)
    assert learning.test_gain == control.median_gain.value
    said = (folder / "server.log").read_text("utf-8")
    assert "fitting …" in said
    assert "synthesising 2 images: done" in said


def test_stretch_leaves_gains_and_verifies(stretched: tuple[Path, str], tmp_path: Path) -> None:
    folder, stdout = stretched
    check_left(folder, stdout, "stretch")
    verified = synth_server("replay", folder / "session.sqlite", "--verify", folder=tmp_path)
    assert verified.returncode == 0, verified.stderr
    assert "was taken from" in verified.stdout


@pytest.mark.thorough
def test_one_hot_population_leaves_gains(tmp_path: Path) -> None:
    done = dry_run(tmp_path / "run", "one-hot-population")
    assert done.returncode == 0, done.stderr
    check_left(tmp_path / "run", done.stdout, "one_hot_population")


@pytest.mark.thorough
def test_one_seed_one_session_another_seed_another(
    stretched: tuple[Path, str], tmp_path: Path
) -> None:
    digest = Summary.model_validate_json(stretched[1]).session_digest
    for seed, is_same in ((7, True), (8, False)):
        done = dry_run(tmp_path / str(seed), "stretch", seed)
        assert done.returncode == 0, done.stderr
        found = Summary.model_validate_json(done.stdout).session_digest
        assert (found == digest) is is_same


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--protocol", "one-hot-population", "--sites", "1"), "nobody to be told apart from"),
        (("--protocol", "stretch", "--set", "n_seeds"), "no setting with a value"),
        (("--protocol", "evolve", "--images", "x.zip"), "protocols that need an encoder"),
        (("--protocol", "stretch", "--images", "x.zip"), "the photographs are not there"),
        (("--protocol", "stretch", "--set", "n_sites=3"), "n_sites"),
    ],
)
def test_what_cannot_be_run_is_said(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    done = synth_server(
        "dry-run", *options, "--subject", "gabor_energy", "--out", "x", folder=tmp_path
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@dataclass(frozen=True)
class StretchRecipe(Recipe):
    """Four blocks of mapping, two for each round, six of test."""

    n_mapping: int = 4
    n_rounds: int = 0
    n_test: int = 6
    n_steps: int = 3

    @property
    def n_blocks(self) -> int:
        return self.n_mapping + 2 * self.n_rounds + self.n_test

    def session(self) -> dict[str, Any]:
        settings = {
            "n_images": 20,
            "image_size_px": 32,
            "n_seeds": 2,
            "mapping": {"repetitions": 2, "images_per_block": 10},
            "fit": {"name": "two_stage", "options": FIT},
            "synthesis": {"name": "stimloop", "options": {**CLIMB, "n_steps": self.n_steps}},
            "learning": {
                "rounds": self.n_rounds,
                "n_images": 2,
                "repetitions": 2,
                "from_scratch": {"name": "quick", "options": {"n_steps": self.n_steps}},
                "from_best": {"name": "short", "options": {"n_steps": self.n_steps}},
            },
            "comparison": {
                "repetitions": self.n_test,
                "best_natural": 1,
                "contrast_gain": 1,
                "images_per_block": 20,
            },
            "timing": super().session()["threads"][0]["settings"]["timing"],
        }
        thread = {"name": "t", "protocol": "stretch", "settings": settings}
        return {"session_id": self.session_id, "seed": self.seed, "threads": [thread]}


@pytest.mark.thorough
def test_a_server_that_is_killed_in_the_test_goes_on_with_the_same_images(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    """Nothing is fitted or synthesised twice, and the session comes out as if nothing had been."""
    recipe = StretchRecipe()
    lab = new_lab(recipe)
    server = lab.serve()
    rig = lab.rig()
    eventually(
        lambda: lab.count(EventKind.RESPONSES_RECEIVED) > recipe.n_mapping,
        "the test began",
        alive=[server, rig],
    )
    server.kill9()
    folder = products_folder(lab.log)
    kept = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len([name for name in kept if name.endswith(".safetensors")]) == 2
    server = lab.serve()
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    check_finished(lab, undisturbed(recipe))
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == kept
    assert server.output.count("synthesising 4 images …") == 1
    aims = [
        stimulus.targets
        for stimulus in blocks_and_responses(lab.log)[-1][0].stimuli
        if stimulus.role is Role.STRETCH
    ]
    assert sorted(aims) == [("site-00",)] * 2 + [("site-01",)] * 2


def test_a_server_that_is_killed_within_a_round_goes_on_with_the_same_images(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    """What was fitted and made in the rounds before is there; the log is as if nothing had been."""
    recipe = StretchRecipe(n_rounds=3)
    lab = new_lab(recipe)
    server, rig = lab.serve(), lab.rig()
    eventually(
        lambda: lab.count(EventKind.RESPONSES_RECEIVED) > recipe.n_mapping + 2,
        "the second round began",
        alive=[server, rig],
    )
    server.kill9()
    kept = {path.name for path in products_folder(lab.log).iterdir()}
    assert len([name for name in kept if name.startswith("encoder-")]) >= 2
    server = lab.serve()
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    check_finished(lab, undisturbed(recipe))


def synthesising(lab: Lab, server: Process, rig: Process) -> None:
    """Returns once the server has begun to synthesise."""

    def begun() -> bool:
        progress = read_progress(products_folder(lab.log))
        return progress is not None and progress.what.startswith("synthesising")

    eventually(begun, "the server synthesises", alive=[server, rig])


def test_a_long_synthesis_can_be_aborted(new_lab: Callable[..., Lab]) -> None:
    """A hundred thousand steps would take hours."""
    lab = new_lab(StretchRecipe(n_steps=100_000))
    server = lab.serve()
    rig = lab.rig()
    synthesising(lab, server, rig)
    said = lab.control("status")
    assert "running" in said.stdout, "it answers while it computes"
    lab.control("abort")
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    assert ended(lab.log).state == "aborted"


def test_a_server_is_stopped_within_a_long_synthesis_and_another_can_be_reached(
    new_lab: Callable[..., Lab],
) -> None:
    lab = new_lab(StretchRecipe(n_steps=100_000))
    server = lab.serve()
    rig = lab.rig()
    synthesising(lab, server, rig)
    assert server.stop() == 0, server.output
    server = lab.serve()
    synthesising(lab, server, rig)
    lab.control("stop")
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    assert ended(lab.log).state == "stopped"
