import numpy as np
import pytest

from protocols.errors import SettingsError
from protocols.seeds import random_stream
from protocols.settings import validated
from synth_server.synthesis.optimizers.recombination import signed_log_weights
from synth_server.synthesis.optimizers.sphere import directions
from synth_server.synthesis.optimizers.sphere_ascent import SphereAscent, SphereAscentSettings

DIM = 128
TARGET = directions(random_stream(9, "target").standard_normal(DIM))


def sample(n, random):
    return random.standard_normal((n, DIM), dtype=np.float32)


def made(seed=0, **options):
    return SphereAscent(
        SphereAscentSettings(**options), sample, random_stream(seed, "sphere ascent")
    )


def likeness(codes):
    return np.asarray(directions(codes) @ TARGET, np.float64)


def evolved(optimizer, n_generations, noise=0.0, seed=0):
    """Mean true likeness of the last population; what is told is noisy."""
    random = random_stream(seed, "noise")
    for _ in range(n_generations):
        codes = optimizer.ask()
        scores = likeness(codes)
        optimizer.tell(codes, scores + noise * random.standard_normal(len(scores)))
    return scores.mean()


@pytest.mark.parametrize(("noise", "least"), [(0.0, 0.93), (0.1, 0.6)])
def test_the_whole_last_population_is_good_with_noise_too(noise, least):
    assert evolved(made(), 75, noise) > least


def test_noise_alone_leads_nowhere():
    ends = [evolved(made(seed), 75, noise=1e6, seed=seed) for seed in range(4)]
    assert abs(np.mean(ends)) < 0.15


def test_bad_codes_are_half_of_what_is_learned():
    """Told only which are bad among equals, the mean still moves away from them."""
    optimizer = made()
    optimizer.tell(optimizer.ask(), np.arange(40.0))
    before, codes = optimizer._mean, optimizer.ask()
    fitness = np.zeros(40)
    fitness[:8] = -1
    optimizer.tell(codes, fitness)
    away = optimizer._mean - before
    assert away @ (codes[8:].mean(axis=0) - codes[:8].mean(axis=0)) > 0


def test_the_step_is_the_signed_sum_of_ranks():
    optimizer = made(learning_rate=0.5)
    optimizer.tell(optimizer.ask(), np.arange(40.0))
    mean, codes = optimizer._mean, optimizer.ask()
    optimizer.tell(codes, np.arange(40.0)[::-1].copy())
    x = directions(codes)
    along = x @ mean
    steps = (x - np.outer(along, mean)) * (np.arccos(along) / np.sqrt(1 - along**2))[:, None]
    step = 0.5 * signed_log_weights(40) @ steps
    length = np.linalg.norm(step)
    expected = np.cos(length) * mean + np.sin(length) * step / length
    assert optimizer._mean == pytest.approx(expected, abs=1e-6)


def test_ranks_count_and_not_sizes():
    asked = []
    for stretch in (lambda f: f, lambda f: np.exp(9 * f)):
        optimizer = made()
        for _ in range(3):
            codes = optimizer.ask()
            optimizer.tell(codes, stretch(likeness(codes)))
        asked.append(optimizer.ask())
    assert np.array_equal(*asked)


def test_fewer_measured_move_the_mean_less():
    moved = []
    for n in (40, 10):
        optimizer = made()
        optimizer.tell(optimizer.ask(), np.arange(40.0))
        before, codes = optimizer._mean, optimizer.ask()
        fitness = likeness(codes)
        fitness[n:] = np.nan
        optimizer.tell(codes, fitness)
        moved.append(np.arccos(optimizer._mean @ before))
    assert moved[1] < 0.7 * moved[0]


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_to_rank_are_asked_again(n):
    optimizer = made()
    codes = optimizer.ask()
    fitness = np.full(40, np.nan)
    fitness[:n] = 1.0
    optimizer.tell(codes, fitness)
    assert np.array_equal(optimizer.ask(), codes)


def test_the_angle_falls_in_equal_ratios_and_stays():
    optimizer = made(first_deg=60, last_deg=6, n_generations=11)
    degrees = []
    for _ in range(14):
        degrees.append(np.rad2deg(optimizer.angle_rad()))
        optimizer.tell(optimizer.ask(), np.arange(40.0))
    assert degrees[0] == pytest.approx(60)
    assert np.diff(np.log(degrees[:11])) == pytest.approx(np.full(10, np.log(0.1) / 10))
    assert degrees[10:] == pytest.approx([6] * 4)


def test_all_codes_have_the_norm():
    optimizer = made(norm=3.0)
    for _ in range(3):
        codes = optimizer.ask()
        assert np.linalg.norm(codes, axis=1) == pytest.approx(3, rel=1e-5)
        optimizer.tell(codes, likeness(codes))


@pytest.mark.parametrize("options", [{"last_deg": 0}, {"first_deg": 91}, {"population": 1}])
def test_wrong_settings_are_refused(options):
    with pytest.raises(SettingsError):
        validated(SphereAscentSettings, options, where="test")


@pytest.mark.parametrize("n", [2, 3, 30, 41])
def test_signed_weights_balance(n):
    weights = signed_log_weights(n)
    assert weights[weights > 0].sum() == pytest.approx(1)
    assert weights[weights < 0].sum() == pytest.approx(-1)
    assert (np.diff(weights) < 0).all()
