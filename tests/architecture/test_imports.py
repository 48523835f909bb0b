"""Who may import whom, and what a command loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


def test_import_contracts_hold():
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [command, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert " kept, 0 broken" in done.stdout


@pytest.mark.parametrize("module", ["synth_server.cli", "rig_client.cli"])
@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["dry-run", "--help"]])
def test_help_loads_neither_torch_nor_psychopy(module, arguments):
    script = f"""
import sys
sys.argv = ["command", *{arguments!r}]
import {module} as cli
try:
    cli.main()
except SystemExit:
    pass
heavy = {{"torch", "torchvision", "psychopy", "scipy", "matplotlib", "zmq", "fastapi"}} & set(sys.modules)
print("HEAVY", sorted(heavy))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip().endswith("HEAVY []")


def test_a_rig_without_torch_can_run(tmp_path):
    """The rig's own modules, and a simulated subject that needs no torch, import where there is none."""
    script = """
import sys
sys.modules["torch"] = None
import rig_client.client, rig_client.display.headless, rig_client.fixation
import simulated_neurons.acquisition, simulated_neurons.gabor_energy
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)


def test_the_default_encoders_do_without_torchvision():
    """It takes as long to import as torch, in every process that loads an encoder."""
    script = """
import sys
sys.modules["torchvision"] = None
import encoders.checkpoint, encoders.fitting, synth_server.synthesis.ascent
from encoders.features import FeatureExtractor, Tap
FeatureExtractor(Tap(layer="blocks.0", input_px=32, weights="random"), device="cpu")
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=PROJECT)
