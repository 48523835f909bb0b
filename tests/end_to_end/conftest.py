"""Every test its own laboratory, and none leaves a process behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.processes import Lab, Recipe


@pytest.fixture
def new_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Makes laboratories in folders of this test; at the end, their processes are gone."""
    labs: list[Lab] = []

    def make(recipe: Recipe = Recipe(), name: str = "lab", **settings: Any) -> Lab:
        labs.append(Lab(tmp_path / name, recipe, **settings))
        return labs[-1]

    yield make
    for lab in labs:
        lab.clean_up()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Recipe], str]:
    """The digest of a recipe's session when nothing happens to it; run once for each recipe.

    On a virtual clock: what a session is does not depend on how long it takes.
    """
    known: dict[Recipe, str] = {}

    def digest(recipe: Recipe) -> str:
        recipe = replace(recipe, real_clock=False)
        if recipe not in known:
            lab = Lab(tmp_path_factory.mktemp("undisturbed"), recipe)
            try:
                known[recipe] = lab.run_to_end()
            finally:
                lab.clean_up()
        return known[recipe]

    return digest
