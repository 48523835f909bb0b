"""An evolution that starts from photographs and ends with a test, by server and rig as processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocols.documents import EventKind
from protocols.vocabulary import Role
from synth_server.readers.summary.session_summary import Summary
from synth_server.session.products import products_folder
from tests.end_to_end.processes import (
    Lab,
    Recipe,
    blocks_and_responses,
    check_finished,
    eventually,
    synth_server,
)

START = {"n_images": 10, "repetitions": 1, "images_per_block": 5, "best": 3}


def test_a_dry_run_starts_from_photographs_and_tests(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    changes = (
        "generator={ name = 'pixels', options = { size_px = 16, grid = 4 } }",
        "start={ n_images = 8, repetitions = 1, best = 2 }",
        "normalisation={ baseline = 'blank', scale = 'mean' }",
        "test_repetitions=3",
        "n_references=6",
    )
    options = [part for change in changes for part in ("--set", change)]
    options += ["--subject", "gabor_energy", "--sites", "1", "--generations", "11"]
    options += ["--population", "8", "--json"]
    done = synth_server("dry-run", *options, "--out", folder, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = Summary.model_validate_json(done.stdout)
    labels = [block.label for block in summary.blocks if block.thread == "site-00"]
    assert labels == ["start", *(f"generation {n}" for n in range(11)), "test"]
    (stable,) = summary.stability
    assert (stable.thread, len(stable.gain)) == ("site-00", 11)
    assert stable.final_gain is not None
    verified = synth_server("replay", folder / "session.sqlite", "--verify", folder=tmp_path)
    assert verified.returncode == 0, verified.stderr
    assert "codes-" in verified.stdout


@dataclass(frozen=True)
class EvolveRecipe(Recipe):
    """Each thread: two blocks of start, the generations, a test."""

    @property
    def n_blocks(self) -> int:
        return len(self.threads) * (2 + self.generations + 1)

    def session(self) -> dict[str, Any]:
        document = super().session()
        for thread in document["threads"]:
            thread["settings"] |= {"start": START, "test_repetitions": 6, "n_test_natural": 1}
        return document


def test_killed_in_the_start_and_in_the_test_it_comes_out_the_same(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    recipe = EvolveRecipe()
    lab = new_lab(recipe)
    server = lab.serve()
    rig = lab.rig()
    for answered in (1, recipe.n_blocks - 1):
        eventually(
            lambda n=answered: lab.count(EventKind.RESPONSES_RECEIVED) >= n,
            f"{answered} blocks answered",
            alive=[server, rig],
        )
        server.kill9()
        server = lab.serve()
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    check_finished(lab, undisturbed(recipe))
    assert len(list(products_folder(lab.log).glob("codes-*.safetensors"))) == 2
    tests = [block for block, _ in blocks_and_responses(lab.log) if block.label == "test"]
    assert [block.thread for block in tests] == list(recipe.threads)
    assert all(block.indices(Role.BEST_NATURAL) for block in tests)
