"""What a lab installs: the five packages, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGES = {"protocols", "encoders", "simulated_neurons", "synth_server", "rig_client"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", out, PROJECT]
    subprocess.run(command, check=True)
    with zipfile.ZipFile(next(out.glob("stimloop-*.whl"))) as archive:
        yield archive


def _folders(wheel):
    return {name.split("/")[0] for name in wheel.namelist()}


def test_it_holds_the_five_packages_and_nothing_else(wheel):
    assert {name for name in _folders(wheel) if not name.endswith(".dist-info")} == PACKAGES


def test_every_module_is_in_it(wheel):
    modules = {
        str(path.relative_to(PROJECT))
        for package in PACKAGES
        for path in (PROJECT / package).rglob("*.py")
    }
    assert modules <= set(wheel.namelist())


def test_the_monitors_page_is_in_it(wheel):
    folder = PROJECT / "synth_server" / "monitor" / "static"
    files = {str(path.relative_to(PROJECT)) for path in folder.iterdir()}
    assert "synth_server/monitor/static/index.html" in files <= set(wheel.namelist())


def test_types_and_licence_travel_along(wheel):
    names = wheel.namelist()
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert any(name.endswith("LICENSE") for name in names)


def test_it_is_small_and_holds_no_data(wheel):
    assert sum(entry.file_size for entry in wheel.infolist()) < 30e6
    assert not [n for n in wheel.namelist() if n.endswith((".npy", ".zip", ".pt", ".pth", ".pkl"))]


def test_both_commands_and_all_plug_in_groups_are_declared(wheel):
    declared = wheel.read(
        next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    ).decode()
    from protocols.plugins import GROUPS

    for section in ("console_scripts", *GROUPS):
        assert f"[{section}]" in declared
    assert "synth-server = synth_server.cli:main" in declared
    assert "rig-client = rig_client.cli:main" in declared
