"""Tables of layers: published numbers, and the truth by gradients."""

import pytest
import torch
from torch import nn

from encoders.backbones import load_backbone
from encoders.backbones.catalogue import architecture, catalogue
from encoders.backbones.efficientnet_lite import efficientnet_lite0
from protocols import plugins
from protocols.errors import PluginError, SettingsError


def fields(name: str, **options) -> dict[str, int | None]:
    return {row.name: row.receptive_field_px for row in catalogue(name, **options).layers}


def test_vgg16_has_138_million_parameters_and_the_known_memory():
    table = catalogue("torchvision:vgg16")
    assert table.parameters == 138_357_544
    assert sum(row.parameters for row in table.layers) == table.parameters
    assert table.layer("features.0").shape == (64, 224, 224)
    assert table.layer("features.0").memory_mb == pytest.approx(224 * 224 * 64 * 4 / 1e6)
    last = table.layer("features.30")
    assert (last.shape, last.stride, last.receptive_field_px) == ((512, 7, 7), 32, 212)
    assert table.layer("classifier.0").parameters == 102_764_544
    assert table.layer("classifier.6").receptive_field_px is None


def test_resnet50_sees_as_published_and_as_torchvision_built_it():
    table = catalogue("resnet50")
    layers = [table.layer(f"layer{n}") for n in (1, 2, 3, 4)]
    assert [row.receptive_field_px for row in layers] == [35, 91, 267, 427]
    published = [row.published_field_px or row.receptive_field_px for row in layers]
    assert published == [35, 99, 291, 483]
    assert "He et al" in table.note


def test_inception_v3_sees_as_published():
    found = fields("inception_v3", input_px=299)
    assert found["Conv2d_1a_3x3"] == 3
    last = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")
    mixed = [found[f"Mixed_{name}"] for name in last]
    assert mixed == [63, 95, 127, 159, 351, 543, 735, 927, 1055, 1183, 1311]
    assert fields("inception_v3", input_px=299, depth=3)["Mixed_6b.branch7x7_2.conv"] > 159


def test_lite_tables_agree_with_their_own_walk():
    table = catalogue("efficientnet_lite0")
    for layer in efficientnet_lite0.architecture().catalogue():
        row = table.layer(layer.name)
        assert (row.channels, row.stride, row.receptive_field_px) == layer[1:]
    assert sum(row.parameters for row in table.layers) == table.parameters == 4_652_008


@pytest.mark.parametrize(
    ("name", "layer"),
    [("resnet50", "layer1"), ("mobilenet_v2", "features.4"), ("convnext_tiny", "features.1")],
)
def test_no_gradient_comes_from_outside_the_receptive_field(name, layer):
    row = catalogue(name).layer(layer)
    backbone = load_backbone(name, layer, weights="random", device="cpu")
    pixels = torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    pixels.requires_grad_()
    features = backbone(pixels)
    assert features.shape[1] == row.channels
    middle = features.shape[2] // 2
    features[0, :, middle, middle].sum().backward()
    assert pixels.grad is not None
    touched = pixels.grad.abs().sum(dim=(0, 1, 2)).nonzero()
    assert row.receptive_field_px is not None
    width = int(touched.max() - touched.min()) + 1
    assert 0.8 * row.receptive_field_px <= width <= row.receptive_field_px


@pytest.mark.parametrize("name", ["vit_b_16", "swin_t", "densenet121", "googlenet", "alexnet"])
def test_other_families_have_tables_too(name):
    table = catalogue(name)
    assert len(table.layers) >= 8
    assert table.layers[-1].shape == (1000,)


def test_squeeze_and_excitation_sees_the_whole_image():
    assert fields("efficientnet_b0")["features.2"] is None


def test_layers_of_a_table_can_be_loaded():
    for row in catalogue("squeezenet1_1").layers[::3]:
        backbone = load_backbone("squeezenet1_1", row.name, weights="random", device="cpu")
        shape = backbone(torch.zeros(1, 3, 224, 224)).shape[1:]
        assert tuple(shape) == row.shape


def test_nothing_is_drawn_from_torchs_own_stream():
    state = torch.random.get_rng_state()
    catalogue("alexnet")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(weight.is_meta for weight in architecture("alexnet").parameters())


def test_unknown_names_and_images_too_small_are_refused():
    with pytest.raises(SettingsError, match="no backbone 'nonesuch'"):
        catalogue("nonesuch")
    with pytest.raises(SettingsError, match="cannot be walked through"):
        catalogue("inception_v3", input_px=16)
    with pytest.raises(SettingsError, match="no layer 'x'"):
        catalogue("alexnet").layer("x")


def test_a_labs_backbone_may_tell_its_architecture(monkeypatch):
    class Factory:
        pass

    monkeypatch.setattr(plugins, "names", lambda group: ("ours",))
    monkeypatch.setattr(plugins, "load", lambda group, name: Factory())
    with pytest.raises(PluginError, match="architecture"):
        catalogue("ours")
    Factory.architecture = lambda self: nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.ReLU())
    row = catalogue("ours", depth=1).layer("0")
    assert (row.channels, row.stride, row.receptive_field_px, row.parameters) == (8, 2, 5, 608)
