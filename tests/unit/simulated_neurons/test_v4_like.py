"""V4-like sites: always the same neurons, in the range of real ones, one image at a time."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from protocols.errors import DataError, InstallationError
from protocols.interfaces import SimulatedPopulation
from protocols.plugins import create
from protocols.settings import PluginChoice
from simulated_neurons import photographs
from simulated_neurons.photographs import PHOTOGRAPHS, natural_patches
from simulated_neurons.v4_like import V4LikePopulation, V4LikeSettings


@pytest.fixture(scope="module")
def population() -> V4LikePopulation:
    return V4LikePopulation(V4LikeSettings())


@pytest.fixture(scope="module")
def patches() -> np.ndarray:
    return natural_patches(112)


@pytest.fixture(scope="module")
def natural(population, patches) -> np.ndarray:
    return population.rates(patches)


def test_it_is_a_plug_in_with_named_sites():
    made = create("stimloop.subjects", PluginChoice(name="v4_like", options={"n_sites": 2}))
    assert isinstance(made, SimulatedPopulation)
    assert made.site_ids == ("site-00", "site-01")


def test_natural_images_drive_it_as_they_drive_v4(natural):
    np.testing.assert_allclose(np.median(natural, axis=0), 7, atol=0.3)
    assert np.all(natural >= 2)
    assert np.all((natural.max(axis=0) > 27) & (natural.max(axis=0) < 65))


def test_plain_gray_drives_no_site_as_most_images_do():
    """Of 30 sites nine answered gray above their typical rate."""
    gray = np.full((1, 112, 112, 3), 128, np.uint8)
    assert V4LikePopulation(V4LikeSettings(n_sites=30)).rates(gray).max() < 7


def test_sites_differ(natural):
    correlations = np.corrcoef(natural.T)[np.triu_indices(10, 1)]
    assert np.abs(correlations).mean() < 0.4
    assert correlations.max() < 0.95


def test_a_rate_depends_on_its_image_alone(population, patches, natural):
    shuffled = np.random.default_rng(0).permutation(12)
    assert np.array_equal(population.rates(patches[shuffled]), natural[shuffled])
    assert np.array_equal(population.rates(patches[7:8]), natural[7:8])
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert np.array_equal(population.rates(patches[:3]), natural[:3])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_rates_are_multiples_of_a_thousandth(natural):
    assert np.array_equal(np.round(natural, 3), natural)
    assert natural.dtype == np.float64


def test_the_same_settings_are_the_same_neurons(population, patches, natural):
    again = V4LikePopulation(V4LikeSettings())
    assert np.array_equal(again.rates(patches[:4]), natural[:4])
    fewer = V4LikePopulation(V4LikeSettings(n_sites=3))
    assert np.array_equal(fewer.rates(patches[:4]), natural[:4, :3])
    other = V4LikePopulation(V4LikeSettings(seed=1))
    assert np.abs(other.rates(patches[:4]) - natural[:4]).max() > 1


def test_there_is_room_above_natural_images(population, patches, natural):
    """Ascending the drive from the best patch passes it by far, and stays below the ceiling."""
    site = 0
    best = patches[natural[:, site].argmax()]
    pixels = torch.tensor(best).permute(2, 0, 1)[None].float().div(255).requires_grad_(True)
    optimizer = torch.optim.Adam([pixels], lr=0.03)
    for _ in range(15):
        optimizer.zero_grad()
        features = population._backbone(pixels.clamp(0, 1))
        (-population._drive(features)[0, site]).backward()
        optimizer.step()
    image = pixels.detach().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
    rate = population.rates(image)[0, site]
    assert natural[:, site].max() + 10 < rate < 80


def test_its_sites_are_no_mask_times_mixture(population, patches, natural):
    """Scaling the features does not scale the drive: the normalisation pool divides."""
    with torch.no_grad():
        features = population._features(patches[0])
        z = (features - population._mean) / population._std
        doubled = population._drive(2 * z * population._std + population._mean)
        drive = population._drive(features)
    assert torch.all(doubled > drive)
    assert torch.all(doubled < 4 * drive)
    assert torch.any((doubled / drive - 2).abs() > 0.3)


@pytest.mark.parametrize("size", [64, 128, 256])
def test_images_of_any_size_are_seen_at_its_own(population, natural, size):
    rates = population.rates(natural_patches(size))
    assert np.corrcoef(rates.ravel(), natural.ravel())[0, 1] > 0.8


def test_wrong_images_and_settings_are_refused(population):
    with pytest.raises(DataError, match="wrong shape or type"):
        population.rates(np.zeros((1, 112, 112, 3)))
    with pytest.raises(DataError, match="square"):
        population.rates(np.zeros((1, 112, 64, 3), dtype=np.uint8))
    with pytest.raises(ValidationError, match="must hold"):
        V4LikeSettings(typical_rate=50)


def test_natural_patches_are_five_a_photograph():
    patches = natural_patches(32)
    assert patches.shape == (5 * len(PHOTOGRAPHS), 32, 32, 3)
    assert patches.dtype == np.uint8
    assert patches.reshape(len(patches), -1).std(axis=1).min() > 2


def test_missing_photographs_are_named(monkeypatch):
    monkeypatch.setattr(photographs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InstallationError, match="stimloop\\[server\\]"):
        natural_patches(32)
