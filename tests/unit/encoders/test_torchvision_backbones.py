"""Torchvision's networks: cut at a graph node; weights from a file, the cache, or a clear error."""

import urllib.error

import numpy as np
import pytest
import torch
import torchvision

from encoders.backbones import load_backbone
from protocols.errors import InstallationError, SettingsError

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
NETWORK, STATE_DICT_NAME = "squeezenet1_1", "squeezenet1_1-b8a52dc0.pth"


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    return tmp_path / "checkpoints"


def unreachable(*args, **kwargs):
    raise urllib.error.URLError("no route to host")


def own_state_dict():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return torchvision.models.squeezenet1_1(weights=None).state_dict()


@pytest.mark.parametrize("name", ["torchvision:alexnet", "alexnet"])
def test_alexnet_is_cut_at_a_node(name):
    backbone = load_backbone(name, "features.5", weights="random", device="cpu")
    assert backbone.name == "torchvision:alexnet"
    assert backbone.features(IMAGES).shape == (2, 192, 3, 3)
    weights = sum(weight.numel() for weight in backbone.parameters())
    assert weights == 64 * 3 * 121 + 64 + 192 * 64 * 25 + 192


def test_a_node_equals_the_network_run_up_to_there(tmp_path):
    network = torchvision.models.mobilenet_v2(weights=None).eval()
    path = tmp_path / "mine.pth"
    torch.save(network.state_dict(), path)
    backbone = load_backbone("mobilenet_v2", "features.3", weights=str(path), device="cpu")
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network.features[:4](backbone.preprocessing(pixels))
    torch.testing.assert_close(backbone(pixels), expected)


def test_preprocessing_comes_from_the_weights():
    backbone = load_backbone("vgg11", "features.0", weights="random", device="cpu")
    assert backbone.preprocessing.mean == (0.485, 0.456, 0.406)
    assert backbone.preprocessing.std == (0.229, 0.224, 0.225)


def test_weights_from_a_file(tmp_path):
    path = tmp_path / "mine.pth"
    torch.save(own_state_dict(), path)
    backbone = load_backbone(NETWORK, "features.0", weights=str(path), device="cpu")
    weight = dict(backbone.named_parameters())["network.graph.features.0.weight"]
    assert torch.equal(weight, own_state_dict()["features.0.weight"])
    with pytest.raises(SettingsError, match="another network"):
        load_backbone("squeezenet1_0", "features.0", weights=str(path))


def test_weights_from_the_cache(empty_cache):
    empty_cache.mkdir()
    torch.save(own_state_dict(), empty_cache / STATE_DICT_NAME)
    for weights in ("default", "IMAGENET1K_V1"):
        backbone = load_backbone(NETWORK, "features.0", weights=weights, device="cpu")
        weight = dict(backbone.named_parameters())["network.graph.features.0.weight"]
        assert torch.equal(weight, own_state_dict()["features.0.weight"])


def test_weights_that_cannot_be_had_name_all_four_ways(empty_cache):
    with pytest.raises(InstallationError) as raised:
        load_backbone(NETWORK, "features.0")
    text = str(raised.value)
    for way in ("package index", "cache", "weights = '/path/to/weights.pth'", "download"):
        assert way in text
    assert str(empty_cache / STATE_DICT_NAME) in text
    assert "no route to host" in text


def test_unknown_layers_and_weights_list_the_known_ones():
    with pytest.raises(SettingsError, match=r"features\.0, .*features\.12"):
        load_backbone("alexnet", "conv9", weights="random")
    with pytest.raises(SettingsError, match="default, random, IMAGENET1K_V1, or a file"):
        load_backbone("alexnet", "features.0", weights="IMAGENET9")
