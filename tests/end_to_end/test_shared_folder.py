"""A whole session through XDREAM's shared folder, with an emulated rig behind it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tomli_w

from tests.end_to_end.processes import (
    Lab,
    Process,
    Recipe,
    check_finished,
    eventually,
    what_was_counted,
)

RECIPE = Recipe(
    seed=8,
    threads=("site-00",),
    generations=3,
    population=4,
    real_clock=False,
    break_rate=0,
    drop_rate=0,
)
"""The other rig shows each image as often as it is told to, once and for all."""


@pytest.mark.slow
@pytest.mark.parametrize("written", ["mat", "h5"])
def test_a_session_through_the_folder_is_the_same_session(
    written: str, new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    pytest.importorskip("h5py" if written == "h5" else "scipy")
    lab = new_lab(RECIPE)
    timing = lab.recipe.session()["threads"][0]["settings"]["timing"]
    settings = {
        "folder": "shared",
        "neurons": lab.recipe.rig("")["acquisition"],
        "session_id": RECIPE.session_id,
        "seed": RECIPE.seed,
        "repetitions": RECIPE.repetitions,
        "format": written,
        "timing": timing,
    }
    (lab.folder / "emulator.toml").write_text(tomli_w.dumps(settings), "utf-8")
    arguments = ["emulate", "shared-folder", "--config", "emulator.toml"]
    arguments += ["--announce", "emulator.json"]
    emulator = Process("emulator", "rig_client.cli", arguments, lab.folder)
    lab.processes.append(emulator)
    announced = (lab.folder / "emulator.json").exists
    eventually(announced, "the emulator announced itself", alive=[emulator])
    options = {"folder": "shared", "sites": ["site-00", "site-01"]}
    lab.rig_overrides = {"acquisition": {"name": "shared_folder", "options": options}}
    digest = lab.run_to_end()
    assert emulator.stop() == 0, emulator.output
    check_finished(lab, digest)
    reference = Lab(lab.folder.parent / "reference", RECIPE)
    try:
        assert reference.run_to_end() == undisturbed(RECIPE)
    finally:
        reference.clean_up()
    assert what_was_counted(lab) == what_was_counted(reference), "counts alone: no spike times"
    assert len(list((lab.folder / "shared").glob(f"block*.{written}"))) == RECIPE.n_blocks
