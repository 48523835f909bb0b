"""Twelve photographs with names, and what three sites answered to them, four times each."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from protocols.interfaces import PhotographSet
from synth_server.synthesis.photographs import load_photographs

N_IMAGES, N_SITES, N_REPEATS = 12, 3, 4


class Known(NamedTuple):
    """The truth that every file has to give back.

    Attributes:
        trials: `(n_images, n_sites, n_repeats)`.
    """

    images: PhotographSet
    trials: np.ndarray

    @property
    def means(self) -> np.ndarray:
        return np.asarray(np.nanmean(self.trials, axis=2))


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    folder = tmp_path_factory.mktemp("photographs")
    for place, image in enumerate(load_photographs("embedded", N_IMAGES, 32).images):
        Image.fromarray(image).save(folder / f"scene{place + 1:02d}.png")
    trials = np.random.default_rng(4).poisson(6, (N_IMAGES, N_SITES, N_REPEATS)).astype(float)
    return Known(load_photographs(folder, None, 32), trials)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path
