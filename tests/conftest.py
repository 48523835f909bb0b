"""What all tests share: small images, tiny plans, and where the laboratory's data lie."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from protocols.documents import SessionSettings, ThreadSettings
from rig_client.display.virtual_screen import VirtualScreen
from tests.thorough import IS_THOROUGH

settings.register_profile("stimloop", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("stimloop")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `STIMLOOP_THOROUGH`, the longest tests are left out, and counted as deselected."""
    if IS_THOROUGH:
        return
    left_out = [item for item in items if item.get_closest_marker("thorough")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]


@pytest.fixture
def data_folder() -> Path:
    """Recordings and photographs that are not part of the project."""
    folder = Path(os.environ.get("STIMLOOP_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}; set STIMLOOP_DATA to run this test")
    return folder


@pytest.fixture(scope="session")
def screen() -> Iterator[str]:
    """A screen in memory for all tests that open windows; it ends with this process, not before."""
    _load_triton()
    if importlib.util.find_spec("psychopy") is None:
        pytest.skip("no PsychoPy here: pip install 'stimloop[rig]' with Python 3.11 or 3.12")
    if shutil.which("Xvfb"):
        yield VirtualScreen((1280, 1024)).start()
    elif os.environ.get("DISPLAY"):
        yield os.environ["DISPLAY"]
    else:
        pytest.skip("neither a screen nor Xvfb here: sudo apt-get install xvfb libgl1-mesa-dri")


def _load_triton() -> None:
    """Before a window: with Mesa's LLVM in the process, loading that of triton (which the first
    `torch.optim` does) is a segmentation fault. Rig and server are processes of their own."""
    if importlib.util.find_spec("torch") is not None:
        importlib.import_module("torch._dynamo")


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def images(random: np.random.Generator) -> np.ndarray:
    """Four small images, all different."""
    return random.integers(0, 256, (4, 8, 6, 3), dtype=np.uint8)


@pytest.fixture
def evolve_settings() -> SessionSettings:
    """Two short evolutions that need no torch."""
    threads = tuple(
        ThreadSettings(
            name=site,
            protocol="evolve",
            settings={
                "n_generations": 3,
                "n_references": 2,
                "test_repetitions": 0,
                "generator": {"name": "pixels", "options": {"size_px": 16}},
                "optimizer": {"name": "genetic", "options": {"preset": "xdream", "population": 6}},
                "objective": {"name": "site", "options": {"site": site}},
            },
        )
        for site in ("site-00", "site-01")
    )
    return SessionSettings(session_id="test", seed=5, threads=threads)
