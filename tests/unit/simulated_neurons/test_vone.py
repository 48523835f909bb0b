"""V1 sites: their gratings are those of their tuning, and an evolution finds them."""

import numpy as np
import pytest

from protocols.conformance import check_population
from protocols.errors import DataError
from simulated_neurons.vone import VOnePopulation, VOneSettings

SIZE_PX, IMAGE_DEG = 64, 2.0
POPULATION = VOnePopulation(VOneSettings(n_sites=12))


def grating(orientation_deg: float, cpd: float, phase: float, size_px: int = SIZE_PX) -> np.ndarray:
    """Bars at `orientation_deg` from horizontal: they vary across."""
    at = (np.arange(size_px) + 0.5) / size_px * IMAGE_DEG
    angle = np.deg2rad(orientation_deg)
    across = at[:, None] * np.cos(angle) + at[None, :] * np.sin(angle)
    values = 127.5 + 100 * np.cos(2 * np.pi * cpd * across + phase)
    return np.repeat(values[..., None], 3, axis=2).round().astype(np.uint8)


def preferred(site: int) -> tuple[float, float]:
    """Orientation and frequency of the grating (best phase) that the site answers most."""
    orientations = np.arange(0, 180, 6)
    tuning = POPULATION.tuning[site]
    frequencies = tuning.frequency_cpd * 2.0 ** np.arange(-1.5, 1.6, 0.25)
    best, found = -1.0, (0.0, 0.0)
    for orientation in orientations:
        for cpd in frequencies:
            images = np.stack([grating(orientation, cpd, p) for p in np.arange(0, 2 * np.pi, 0.8)])
            rate = POPULATION.rates(images)[:, site].max()
            if rate > best:
                best, found = rate, (float(orientation), float(cpd))
    return found


TUNED = [i for i, site in enumerate(POPULATION.tuning) if site.across_cycles > 0.35]


@pytest.mark.parametrize("site", TUNED[:4])
def test_gratings_of_their_tuning_are_the_best(site):
    orientation, cpd = preferred(site)
    tuning = POPULATION.tuning[site]
    off = abs(orientation - tuning.orientation_deg)
    assert min(off, 180 - off) <= 20
    assert abs(np.log2(cpd / tuning.frequency_cpd)) <= 1.0


def test_phase_matters_to_simple_cells_alone():
    for site, tuning in enumerate(POPULATION.tuning):
        images = np.stack(
            [
                grating(tuning.orientation_deg, tuning.frequency_cpd, phase)
                for phase in np.arange(0, 2 * np.pi, np.pi / 8)
            ]
        )
        rates = POPULATION.rates(images)[:, site]
        depth = (rates.max() - rates.min()) / (rates.max() + rates.min())
        assert depth < 0.5 if tuning.is_complex else depth > 0.5


def test_it_keeps_what_a_population_promises():
    images = np.random.default_rng(0).integers(0, 256, (5, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    check_population(POPULATION, images)
    more = VOnePopulation(VOneSettings(n_sites=20))
    assert np.array_equal(more.rates(images)[:, :12], POPULATION.rates(images))
    gray = np.full((1, SIZE_PX, SIZE_PX, 3), 128, np.uint8)
    assert POPULATION.rates(gray) == pytest.approx(2, abs=0.2)
    with pytest.raises(DataError, match="square"):
        POPULATION.rates(images[:, :, :32])


def test_an_evolution_finds_orientation_and_frequency():
    """Of a complex cell: the power of the evolved image within its field lies where the site's does."""
    from synth_server.synthesis.generators.fourier import FourierGenerator, FourierSettings
    from synth_server.synthesis.optimizers.sphere_ascent import SphereAscent

    generator = FourierGenerator(FourierSettings(size_px=SIZE_PX))
    site = next(
        i
        for i in TUNED
        if POPULATION.tuning[i].is_complex and POPULATION.tuning[i].frequency_cpd < 5
    )
    tuning = POPULATION.tuning[site]
    optimizer = SphereAscent(
        SphereAscent.Settings(population=30), generator.sample_codes, np.random.default_rng(0)
    )
    for _ in range(60):
        codes = optimizer.ask()
        images = generator(codes)
        rates = POPULATION.rates(images)[:, site]
        optimizer.tell(codes, rates)
    orientation, cpd = strongest(images[rates.argmax()], tuning.right, tuning.down)
    off = abs(orientation - tuning.orientation_deg)
    assert rates.max() > 30
    assert min(off, 180 - off) <= 25
    assert abs(np.log2(cpd / tuning.frequency_cpd)) <= 1.0


def test_an_encoders_mask_and_tuning_are_those_of_the_sites():
    """Fitted to natural images alone: where its masks lie, and which gratings it predicts to be best."""
    from encoders.features import Tap
    from encoders.fitting import FitSettings, fit
    from encoders.masks import estimated_fields
    from encoders.recording import Recording
    from encoders.two_stage import Penalties
    from synth_server.synthesis.photographs import load_photographs

    sites = [i for i in TUNED if POPULATION.tuning[i].frequency_cpd < 5]
    images = load_photographs("embedded", 320, SIZE_PX).images
    settings = FitSettings(
        taps=(Tap(layer="blocks.1", input_px=SIZE_PX),),
        penalties=(Penalties(spatial=0.3, mixing=0.3, smoothness=1.0),),
    )
    encoder = fit(Recording.of(images, POPULATION.rates(images)[:, sites].T), settings).encoder
    fields = estimated_fields(encoder, (SIZE_PX, SIZE_PX))
    orientations, frequencies = np.arange(0, 180, 15), 0.75 * 2.0 ** np.arange(0, 3.6, 0.5)
    phases = (0.0, np.pi / 2, np.pi, 3 * np.pi / 2)
    shown = [grating(o, cpd, p) for o in orientations for cpd in frequencies for p in phases]
    rates = encoder.predict(np.stack(shown))
    rates = rates.reshape(len(orientations), len(frequencies), len(phases), len(sites)).mean(axis=2)
    assert len(sites) >= 4
    for column, site in enumerate(sites):
        tuning = POPULATION.tuning[site]
        row, place = np.unravel_index(rates[..., column].argmax(), rates.shape[:2])
        off = abs(orientations[row] - tuning.orientation_deg)
        assert min(off, 180 - off) <= 25
        assert abs(np.log2(frequencies[place] / tuning.frequency_cpd)) <= 1.25
        right, down = fields[column].x_px / SIZE_PX, fields[column].y_px / SIZE_PX
        assert np.hypot(right - tuning.right, down - tuning.down) < 0.1


def strongest(image: np.ndarray, right: float, down: float) -> tuple[float, float]:
    """Orientation of the bars and cycles a degree of the strongest component around a place."""
    at = (np.arange(SIZE_PX) + 0.5) / SIZE_PX
    window = np.exp(-((at[:, None] - down) ** 2 + (at[None, :] - right) ** 2) / (2 * 0.15**2))
    values = image.mean(axis=2) - image.mean()
    power = np.abs(np.fft.fft2(values * window, s=(256, 256))) ** 2
    cycles = np.fft.fftfreq(256, 1 / SIZE_PX) / IMAGE_DEG
    power[np.hypot(cycles[:, None], cycles[None, :]) < 0.75] = 0
    row, column = np.unravel_index(power.argmax(), power.shape)
    angle = np.rad2deg(np.arctan2(cycles[column], cycles[row])) % 180
    return float(angle), float(np.hypot(cycles[row], cycles[column]))
