"""Robust weights: which layers they reach, and that a checkpoint knows them from the pretrained ones."""

from pathlib import Path

import numpy as np
import pytest
import torch

from encoders.backbones import load_backbone, robust
from encoders.candidates import candidate_taps
from encoders.features import FeatureExtractor, Tap
from encoders.fitting import LAYERS
from protocols.errors import InstallationError, SettingsError

NETWORKS = tuple(f"efficientnet_lite{number}" for number in range(3))


def noise_images(n: int, size_px: int = 48) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size_px, size_px, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_the_beginnings_of_one_network(name):
    deep, shallow, pretrained = (
        load_backbone(name, layer, weights=weights, device="cpu")
        for layer, weights in (
            ("blocks.4", "robust"),
            ("blocks.2", "robust"),
            ("blocks.2", "default"),
        )
    )
    assert shallow.is_chain
    assert deep.weights_digest == shallow.weights_digest != pretrained.weights_digest
    images = noise_images(2)
    cut = deep.network[: len(shallow.network)]
    with torch.no_grad():
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
        assert torch.equal(cut(deep.prepared(pixels)), shallow(pixels))
    assert shallow.features(images).shape == pretrained.features(images).shape


@pytest.mark.parametrize("name", NETWORKS)
def test_a_layer_beyond_them_is_refused_with_the_last_that_there_is(name):
    with pytest.raises(SettingsError, match=r"robust weights.*end before blocks\.5") as caught:
        load_backbone(name, "blocks.5", weights="robust", device="cpu")
    assert caught.value.expected.startswith("a layer up to blocks.4.")
    with pytest.raises(SettingsError, match=r"has no layer 'blocks\.9'"):
        load_backbone(name, "blocks.9", weights="robust", device="cpu")


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_an_installation_without_them_says_what_to_do(tmp_path, monkeypatch, damage):
    folder = tmp_path / "robust_weights"
    folder.mkdir()
    if damage == "truncated":
        whole = Path(robust.__file__).parent / "robust_weights" / "efficientnet_lite0.safetensors"
        (folder / whole.name).write_bytes(whole.read_bytes()[:1000])
    monkeypatch.setattr(robust, "files", lambda _: tmp_path)
    with pytest.raises(InstallationError, match="missing or damaged") as caught:
        load_backbone("efficientnet_lite0", "blocks.2", weights="robust", device="cpu")
    assert "install stimloop anew" in str(caught.value)


def test_networks_without_such_weights_say_so():
    with pytest.raises(SettingsError, match="no such weights file"):
        load_backbone("cornet_s", "V4", weights="robust", device="cpu")


def test_encoders_are_fitted_with_them_unless_told_otherwise():
    assert {tap.weights for tap in LAYERS} == {"robust"}
    assert {tap.weights for tap in candidate_taps("efficientnet_lite1")} == {"robust"}
    assert {tap.weights for tap in candidate_taps("efficientnet_lite1", "default")} == {"default"}
    assert {tap.weights for tap in candidate_taps("cornet_s")} == {"default"}


def test_a_label_names_weights_that_are_not_the_default():
    assert Tap().label == "efficientnet_lite0 blocks.3 at 112 px"
    assert Tap(weights="robust").label == "efficientnet_lite0 (robust) blocks.3 at 112 px"
    assert "/" not in Tap(weights="/a/b/mine.pth").label


def test_an_extractor_of_another_weight_has_another_digest():
    taps = [Tap(layer="blocks.2", weights=weights) for weights in ("robust", "default")]
    robust, pretrained = (FeatureExtractor(tap, device="cpu") for tap in taps)
    assert robust.digest != pretrained.digest
