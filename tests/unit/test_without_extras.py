"""Where a library is missing, each command says which extra brings it; never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from protocols.errors import InstallationError
from protocols.installation import EXTRAS, missing_extra

CORE_ONLY = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {modules!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from {package}.cli import main
sys.argv = ["command", *{arguments!r}]
main()
"""
MODULES = {module for modules in EXTRAS.values() for module in modules.split()}
COMMANDS = [
    ("synth_server", ["dry-run", "--out", "x"], "server"),
    ("synth_server", ["dry-run", "--protocol", "stretch", "--out", "x"], "server"),
    ("synth_server", ["report", "s.sqlite"], "server"),
    ("synth_server", ["results", "s.sqlite"], "server"),
    (
        "synth_server",
        ["fit", "--images", "i", "--responses", "r", "--out", "e.safetensors"],
        "server",
    ),
    ("synth_server", ["evaluate", "e", "--images", "i", "--responses", "r"], "server"),
    ("synth_server", ["synthesize", "e", "--out", "x"], "server"),
    ("synth_server", ["backbones"], "server"),
    ("synth_server", ["export-nwb", "s.sqlite", "s.nwb"], "nwb"),
    ("synth_server", ["monitor"], "monitor"),
    ("synth_server", ["campaign", "c.toml"], "campaign"),
    ("synth_server", ["host-encoders", "a=b"], "server"),
    ("rig_client", ["emulate", "lsl"], "server"),
]
"""What each is asked to do could not be done anyway: the files are not there."""


@pytest.mark.parametrize(("package", "arguments", "extra"), COMMANDS)
def test_a_command_of_which_a_library_is_missing(
    tmp_path: Path, package: str, arguments: list[str], extra: str
) -> None:
    program = CORE_ONLY.format(modules=MODULES, package=package, arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 1, done.stderr
    assert "error:" in done.stderr
    told = f"pip install 'stimloop[{extra}]'" in done.stderr
    assert told or "not there" in done.stderr or "missing" in done.stderr, done.stderr


def test_a_module_that_no_extra_brings_is_a_mistake_of_ours() -> None:
    assert missing_extra(ModuleNotFoundError("x", name="synth_server.nothing")) is None
    found = missing_extra(ModuleNotFoundError("x", name="torch.nn"))
    assert isinstance(found, InstallationError)
    assert found.remedy == "pip install 'stimloop[server]'"
