"""A network's units as an encoder: named, differentiable, and accepted where a file is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from encoders.backbones.one_thread import one_thread
from encoders.checkpoint import encoder_digest, load_encoder, read_checkpoint
from encoders.encoder import DifferentiableEncoder
from encoders.features import FeatureStore, Tap
from encoders.units import tap_of, units_encoder
from encoders.units_name import names_units
from protocols.errors import SettingsError

NAME = "units:efficientnet_lite0:random/blocks.2@48"
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)


def test_channels_and_central_neurons_of_a_layer():
    encoder = units_encoder(NAME, device="cpu")
    assert isinstance(encoder, DifferentiableEncoder)
    assert encoder.site_ids[:2] == ("channel-0", "channel-1")
    assert encoder.site_ids[40:] == tuple(f"neuron-{i}" for i in range(40))
    tap = Tap(layer="blocks.2", input_px=48, weights="random")
    features = FeatureStore(device="cpu").features(tap, IMAGES)
    predicted = encoder.predict(IMAGES)
    np.testing.assert_allclose(predicted[:, :40], features.mean((2, 3)), rtol=1e-5)
    np.testing.assert_array_equal(predicted[:, 40:], features[:, :, 3, 3])
    np.testing.assert_allclose(
        encoder.predict(IMAGES, FeatureStore(device="cpu")), predicted, rtol=1e-6
    )


def test_the_gradient_reaches_the_pixels():
    encoder = units_encoder(NAME, device="cpu")
    pixels = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (gradient,) = torch.autograd.grad(encoder.rates(pixels)[0, 45], pixels)
    assert float(gradient.abs().sum()) > 0
    assert not any(weight.requires_grad for weight in encoder.parameters())


def test_logits_go_by_the_names_of_their_classes():
    pytest.importorskip("torchvision")
    encoder = units_encoder("units:efficientnet_lite0:random/classifier@32", device="cpu")
    assert (encoder.site_ids[1], encoder.site_ids[340]) == ("goldfish", "zebra")
    assert len(set(encoder.site_ids)) == 1000
    with one_thread():
        assert encoder.predict(IMAGES).shape == (3, 1000)


def test_names_of_units():
    assert tap_of("units:resnet50:/w/robust.pt/layer3@224") == Tap(
        backbone="resnet50", weights="/w/robust.pt", layer="layer3", input_px=224
    )
    assert tap_of("units:efficientnet_lite0/head").input_px is None
    assert names_units(Path("units:efficientnet_lite0/head"))
    assert not names_units(Path("folder/units.safetensors"))


@pytest.mark.parametrize(
    "name",
    [
        "units:",
        "units:efficientnet_lite0",
        "units:efficientnet_lite0/blocks.3@big",
        "units:efficientnet_lite0/blocks.3@8",
        "units:nonesuch/blocks.3@112",
        "units:efficientnet_lite0/conv9@112",
    ],
)
def test_wrong_names_say_what_is_expected(name):
    with pytest.raises(SettingsError):
        load_encoder(Path(name), device="cpu")


def test_they_load_where_a_file_loads_and_have_a_digest():
    loaded = load_encoder(Path(NAME), device="cpu")
    about, tensors = read_checkpoint(Path(NAME))
    assert (about, tensors) == (loaded.about, {})
    assert about.site_ids == loaded.encoder.site_ids
    assert about.provenance.natural is None
    other = NAME.replace("blocks.2", "blocks.1")
    assert len(encoder_digest(Path(NAME))) == 64
    assert encoder_digest(Path(NAME)) != encoder_digest(Path(other))
