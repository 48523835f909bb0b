"""Features: computed once, kept, and computed again if what was kept is damaged."""

import numpy as np
import pytest
import torch

from encoders.features import FeatureExtractor, FeatureStore, Tap
from protocols.errors import DataError


def noise_images(n: int, size_px: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size_px, size_px, 3), dtype=np.uint8)


@pytest.fixture
def tap() -> Tap:
    return Tap(layer="blocks.1", input_px=None, weights="random")


@pytest.fixture
def computed(monkeypatch) -> list[int]:
    """Sizes of the image sets that went through a network."""
    calls: list[int] = []
    whole = FeatureExtractor.features

    def counted(self, images, **options):
        calls.append(len(images))
        return whole(self, images, **options)

    monkeypatch.setattr(FeatureExtractor, "features", counted)
    return calls


def test_features_are_those_of_the_backbone(tap):
    store = FeatureStore(device="cpu")
    images = noise_images(10)
    features = store.features(tap, images)
    assert features.shape == (10, 24, 8, 8)
    expected = store.extractor(tap).backbone.features(images)
    torch.testing.assert_close(features, expected)


def test_memory_and_disk_spare_the_network(tap, computed, tmp_path):
    store = FeatureStore(tmp_path, device="cpu")
    first = store.features(tap, noise_images(3))
    assert torch.equal(store.features(tap, noise_images(3)), first)
    assert torch.equal(store.features(tap, noise_images(3)[[2, 0]]), first[[2, 0]])
    again = FeatureStore(tmp_path, device="cpu").features(tap, noise_images(3))
    assert torch.equal(again, first)
    assert computed == [3]


def test_only_new_images_are_computed(tap, computed, tmp_path):
    FeatureStore(tmp_path, device="cpu").features(tap, noise_images(3))
    more = np.concatenate([noise_images(3)[1:], noise_images(2, seed=1), noise_images(1, seed=1)])
    features = FeatureStore(tmp_path, device="cpu").features(tap, more)
    assert torch.equal(features[2], features[4])
    assert computed == [3, 2]


@pytest.mark.parametrize("change", [{"grayscale": True}, {"seed": 1}, {"layer": "blocks.0"}])
def test_another_tap_or_another_image_is_another_key(tap, computed, tmp_path, change):
    store = FeatureStore(tmp_path, device="cpu")
    store.features(tap, noise_images(3))
    store.features(tap, noise_images(3, seed=1))
    store.features(tap.model_copy(update=change), noise_images(3))
    assert computed == [3, 3, 3]


def test_damaged_files_are_computed_again(tap, computed, tmp_path):
    first = FeatureStore(tmp_path, device="cpu").features(tap, noise_images(2))
    (file,) = tmp_path.glob("*/*")
    whole = file.read_bytes()
    size = len(whole)
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    for damaged in (whole[:-100], whole[:5], b"", flipped):
        file.write_bytes(damaged)
        assert torch.equal(
            FeatureStore(tmp_path, device="cpu").features(tap, noise_images(2)), first
        )
        assert file.stat().st_size == size
    assert computed == [2] * 5
    assert len(list(tmp_path.glob("*/*"))) == 1


def test_grayscale_sees_luma_only(tap):
    gray = FeatureExtractor(tap.model_copy(update={"grayscale": True}), device="cpu")
    color = FeatureExtractor(tap, device="cpu")
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    luma = (pixels * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(gray(pixels), color(luma.expand(-1, 3, -1, -1)))


def test_a_layer_without_space_is_one_place():
    extractor = FeatureExtractor(Tap(layer="classifier", weights="random"), device="cpu")
    assert extractor.features(noise_images(2)).shape == (2, 1000, 1, 1)


def test_progress_counts_images(tap):
    told: list[tuple[int, int]] = []
    store = FeatureStore(device="cpu")
    store.features(
        tap, noise_images(10), progress=lambda done, total, what: told.append((done, total))
    )
    assert told == sorted(told)
    assert told[0] == (8, 10)
    assert told[-1] == (10, 10)


def test_wrong_images_are_refused(tap):
    with pytest.raises(DataError):
        FeatureStore(device="cpu").features(tap, np.zeros((2, 8, 8), np.uint8))
