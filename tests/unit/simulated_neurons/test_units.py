"""Units of a network: the network's own numbers at a channel's place, scaled to rates of neurons."""

import numpy as np
import pytest
import torch

from encoders.backbones import load_backbone
from encoders.backbones.preprocessing import pixels_of
from protocols.errors import SettingsError
from protocols.settings import validated
from simulated_neurons.photographs import natural_patches
from simulated_neurons.units import NetworkUnits, UnitsSettings

LAYER = {"layer": "blocks.2", "input_px": 32}


@pytest.fixture(scope="module")
def units() -> NetworkUnits:
    return NetworkUnits(UnitsSettings(n_sites=3, **LAYER))


def test_a_rate_is_the_channels_output_at_the_centre(units):
    patches = natural_patches(32)
    rates = units.rates(patches)
    network = load_backbone("efficientnet_lite1", "blocks.2", device="cpu", input_px=32)
    with torch.no_grad():
        maps = network(pixels_of(patches, torch.device("cpu"))).clamp_min(0).numpy()
    middle = maps[:, list(units.channels), maps.shape[2] // 2, maps.shape[3] // 2]
    expected = 28 * middle / np.percentile(middle, 98, axis=0)
    np.testing.assert_allclose(rates, expected, atol=0.01)
    assert (rates >= 0).all()
    assert rates.max() > 28


def test_more_sites_leave_the_first_as_they_were_and_a_seed_gives_others(units):
    more = NetworkUnits(UnitsSettings(n_sites=5, **LAYER))
    assert more.channels[:3] == units.channels
    assert NetworkUnits(UnitsSettings(n_sites=3, seed=1, **LAYER)).channels != units.channels


def test_channels_can_be_named(units):
    named = UnitsSettings(n_sites=1, channels=units.channels[1:2], **LAYER)
    patches = natural_patches(32)[:3]
    assert np.array_equal(NetworkUnits(named).rates(patches), units.rates(patches)[:, 1:2])


def test_what_is_no_neuron_is_refused():
    with pytest.raises(SettingsError, match="no such channel"):
        NetworkUnits(UnitsSettings(n_sites=1, channels=(9999,), **LAYER))
    with pytest.raises(SettingsError, match="2 channels are named"):
        validated(UnitsSettings, {"n_sites": 1, "channels": [1, 2]}, where="test")
    with pytest.raises(SettingsError, match="too few units"):
        NetworkUnits(UnitsSettings(n_sites=512, **LAYER))
