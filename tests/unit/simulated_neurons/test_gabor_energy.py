"""Gabor sites: the image said to be best is best, whatever is tried."""

import subprocess
import sys
import time

import numpy as np
import pytest

from protocols.errors import DataError
from simulated_neurons.gabor_energy import GaborEnergyPopulation, GaborEnergySettings

SIZE, CONTRAST = 48, 0.06


@pytest.fixture(scope="module")
def population() -> GaborEnergyPopulation:
    return GaborEnergyPopulation(GaborEnergySettings(n_sites=4))


def rms(images: np.ndarray) -> np.ndarray:
    return np.sqrt(((images / 127.5 - 1) ** 2).mean(axis=(-3, -2, -1)))


def at_contrast(patterns: np.ndarray) -> np.ndarray:
    """Any patterns `(n, size, size, 3)` as images of RMS contrast `CONTRAST`."""
    scale = CONTRAST / np.sqrt((patterns**2).mean(axis=(1, 2, 3), keepdims=True))
    pixels = np.rint(127.5 * (1 + patterns * scale))
    assert pixels.min() >= 0
    assert pixels.max() <= 255
    return pixels.astype(np.uint8)


def best(population, site, **options):
    return population.best_image(site, SIZE, rms_contrast=CONTRAST, **options)


@pytest.mark.parametrize("site", range(4))
def test_the_best_image_beats_random_ones_of_its_contrast(population, site):
    random = np.random.default_rng(site)
    noise = random.standard_normal((1000, SIZE, SIZE, 3))
    coarse = random.standard_normal((1000, 6, 6, 3)).repeat(8, axis=1).repeat(8, axis=2)
    rates = population.rates(at_contrast(np.concatenate([noise, coarse])))[:, site]
    image = best(population, site)
    assert rms(image) == pytest.approx(CONTRAST, rel=0.02)
    assert population.rates(image[None])[0, site] > 1.1 * rates.max()


@pytest.mark.parametrize("site", range(4))
def test_the_best_image_beats_everything_near_it(population, site):
    image = best(population, site)
    pattern = image / 127.5 - 1
    random = np.random.default_rng(site)
    noise = random.standard_normal((1000, SIZE, SIZE, 3))
    noise *= np.sqrt((pattern**2).mean() / (noise**2).mean(axis=(1, 2, 3), keepdims=True))
    amounts = random.uniform(0.15, 1, size=(1000, 1, 1, 1))
    near = at_contrast(pattern + amounts * noise)
    moved = np.stack([np.roll(image, (d, r), (0, 1)) for d, r in ((3, 0), (0, 3), (-3, 3))])
    turned = np.stack([np.rot90(image), image[::-1], image[:, ::-1]])
    coloured = at_contrast(pattern[None] * np.array([1, 0.5, 0.2]))
    others = [best(population, other)[None] for other in range(4) if other != site]
    rates = population.rates(np.concatenate([near, moved, turned, coloured, *others]))[:, site]
    assert population.rates(image[None])[0, site] > rates.max()


def test_all_phases_are_equally_good(population):
    phases = np.linspace(0, 2 * np.pi, 9)[:-1]
    rates = population.rates(np.stack([best(population, 0, phase=p) for p in phases]))[:, 0]
    assert np.ptp(rates) < 0.02 * rates.mean()


def test_the_rate_of_the_best_image_is_the_closed_form(population):
    rate = population.rates(best(population, 2)[None])[0, 2]
    assert rate == pytest.approx(2 + 78 * CONTRAST**2 / (0.05**2 + CONTRAST**2), rel=0.01)


def test_rates_rise_with_contrast_and_a_blank_screen_gives_the_least(population):
    images = [population.best_image(1, SIZE, rms_contrast=c) for c in (0.01, 0.03, 0.06)]
    rates = population.rates(np.stack(images))[:, 1]
    assert np.all(np.diff(rates) > 0)
    blank = np.full((1, SIZE, SIZE, 3), 128, dtype=np.uint8)
    assert population.rates(blank) == pytest.approx(np.full((1, 4), 2.0), abs=0.01)


def test_rates_do_not_hang_on_size_batch_or_other_sites(population):
    images = np.stack([best(population, site) for site in range(4)])
    rates = population.rates(images)
    assert np.array_equal(np.concatenate([population.rates(one[None]) for one in images]), rates)
    larger = population.best_image(0, 2 * SIZE, rms_contrast=CONTRAST)
    assert population.rates(larger[None])[0, 0] == pytest.approx(rates[0, 0], rel=0.01)
    more = GaborEnergyPopulation(GaborEnergySettings(n_sites=6))
    assert np.array_equal(more.rates(images)[:, :4], rates)
    other = GaborEnergyPopulation(GaborEnergySettings(n_sites=4, seed=1))
    assert not np.allclose(other.rates(images), rates)


def test_site_names_and_shapes(population):
    assert population.site_ids == ("site-00", "site-01", "site-02", "site-03")
    rates = population.rates(np.zeros((5, 32, 32, 3), dtype=np.uint8))
    assert rates.shape == (5, 4)
    assert rates.dtype == np.float64


def test_impossible_requests_are_refused(population):
    with pytest.raises(DataError, match="does not fit"):
        population.best_image(0, SIZE, rms_contrast=0.9)
    with pytest.raises(DataError, match="square"):
        population.rates(np.zeros((1, 8, 9, 3), dtype=np.uint8))
    with pytest.raises(DataError, match="wrong shape or type"):
        population.rates(np.zeros((1, 8, 8), dtype=np.uint8))


def test_a_rig_with_gabor_sites_starts_fast_and_without_torch():
    program = (
        "import sys\n"
        "from protocols.interfaces import SessionInfo\n"
        "from simulated_neurons.acquisition import *\n"
        "settings = SimulatedAcquisitionSettings(subject={'name': 'gabor_energy'})\n"
        "SimulatedAcquisition(settings, SessionInfo(session_id='s', seed=1))\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'scipy', 'encoders', 'zmq')))\n"
    )
    start = time.perf_counter()
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert time.perf_counter() - start < 5
