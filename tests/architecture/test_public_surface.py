"""Names that labs may rely on; a change here is a change for them, and belongs into the CHANGELOG."""

from __future__ import annotations

import importlib

import pytest

SURFACE = {
    "protocols.plugins": {"GROUPS", "create", "load", "names"},
    "protocols.vocabulary": {
        "Block", "BlockResponses", "Cue", "Outcome", "Presentation", "RecorderClock", "Role",
        "Stimulus", "Timing",
    },
    "protocols.digests": {"array_digest", "image_id"},
    "protocols.interfaces": {
        "Apparatus", "Encoder", "ImageGenerator", "Objective", "Optimizer", "PhotographSet",
        "Plan", "SessionInfo", "SimulatedPopulation",
    },
    "protocols.rig_interfaces": {
        "Acquisition", "ClockedAcquisition", "Display", "Fixation", "Flip", "Measurement",
        "Reward", "Trigger",
    },
    "protocols.experiments": {"Experiment", "experiment"},
    "protocols.conformance": {
        "check_acquisition", "check_display", "check_generator", "check_objective",
        "check_optimizer", "check_population", "check_recorder", "check_trigger",
    },
    "protocols.wire": {"WIRE_VERSION"},
    "protocols.wire.encoder_client": {"EncoderClient", "SynthesizedImages"},
}  # fmt: skip


@pytest.mark.parametrize("module", sorted(SURFACE))
def test_names_are_there(module):
    assert SURFACE[module] <= set(vars(importlib.import_module(module)))


@pytest.mark.parametrize(
    "module", ["protocols.experiments", "protocols.wire", "encoders.backbones"]
)
def test_curated_names_exist(module):
    loaded = importlib.import_module(module)
    assert loaded.__all__ == sorted(loaded.__all__)
    assert all(hasattr(loaded, name) for name in loaded.__all__)


def test_every_error_stands_in_the_tree():
    from protocols import errors

    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert {name for name in defined if name not in (errors.__doc__ or "")} == set()
