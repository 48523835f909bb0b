"""The CMA family: parameters as published, and what each promises beyond the contract."""

import numpy as np
import pytest

from protocols.errors import SettingsError
from protocols.seeds import random_stream
from protocols.settings import validated
from synth_server.synthesis.optimizers.cholesky_cma import CholeskyCMA, ScaledUpdates
from synth_server.synthesis.optimizers.diagonal_cma import DiagonalCMA
from synth_server.synthesis.optimizers.recombination import log_weights, n_selected
from synth_server.synthesis.optimizers.sphere import (
    directions,
    spread,
    steps_to,
    typical_norm,
    walked,
    with_ceiling,
)
from synth_server.synthesis.optimizers.sphere_cma import SphereCMA

DIM = 32
FAMILY = (SphereCMA, CholeskyCMA, DiagonalCMA)


def sample(n, random):
    return random.standard_normal((n, DIM), dtype=np.float32)


def made(kind, seed=0, sampler=sample, **options):
    return kind(kind.Settings(**options), sampler, random_stream(seed, "optimizer"))


def climbed(optimizer, n_generations, score):
    """Mean fitness of each generation."""
    means = []
    for _ in range(n_generations):
        codes = optimizer.ask()
        fitness = score(codes.astype(np.float64))
        means.append(fitness.mean())
        optimizer.tell(codes, fitness)
    return means


def along_first_axis(codes):
    """Cosine with the first axis: norm does not help."""
    return codes[:, 0] / np.linalg.norm(codes, axis=1)


@pytest.mark.parametrize("kind", FAMILY)
def test_it_climbs(kind):
    means = climbed(made(kind), 75, along_first_axis)
    assert means[-1] > 0.6
    assert abs(means[0]) < 0.15


@pytest.mark.parametrize("kind", FAMILY)
def test_the_first_population_is_what_was_sampled(kind):
    chosen = np.linspace(1, 2, 10 * DIM, dtype=np.float32).reshape(10, DIM)
    asked = made(kind, sampler=lambda n, random: np.resize(chosen, (n, DIM)), population=10).ask()
    assert directions(asked) == pytest.approx(directions(chosen), abs=1e-5)


@pytest.mark.parametrize("kind", FAMILY)
def test_the_second_population_lies_around_the_best_of_the_first(kind):
    optimizer = made(kind, population=40)
    first = optimizer.ask()
    optimizer.tell(first, np.arange(40.0)[::-1].copy())
    second = np.mean([optimizer.ask()], axis=(0, 1))
    best = log_weights(20) @ first[:20]
    assert directions(second) @ directions(best) > 0.3


@pytest.mark.parametrize("kind", [CholeskyCMA, DiagonalCMA])
def test_a_ceiling_holds_the_norm_that_grows_without(kind):
    def growing(codes):
        return codes.sum(axis=1)

    for ceiling, grows in ((None, True), (8.0, False)):
        optimizer = made(kind, max_norm=ceiling)
        climbed(optimizer, 30, growing)
        assert bool(np.linalg.norm(optimizer.ask(), axis=1).max() > 8.001) is grows


def test_published_angles():
    degrees = []
    for schedule in ("exp", "inv"):
        optimizer = made(SphereCMA, schedule=schedule)
        for _ in range(75):
            degrees.append(np.rad2deg(optimizer.angle_rad()))
            optimizer._generation += 1
    exponential, inverse = degrees[:75], degrees[75:]
    assert exponential[0] == pytest.approx(50)
    assert exponential[-1] == pytest.approx(7.33)
    assert exponential[1] / exponential[0] == pytest.approx(exponential[-1] / exponential[-2])
    assert inverse[0] == pytest.approx(15 + 1 / 0.0146)
    assert inverse[74] == pytest.approx(15 + 1 / (0.0017 * 74 + 0.0146))


def test_annealing_ends_at_the_planned_generation_and_stays():
    optimizer = made(SphereCMA, n_generations=10)
    optimizer._generation = 500
    assert np.rad2deg(optimizer.angle_rad()) == pytest.approx(7.33)


def test_candidates_lie_on_the_sphere_at_the_angle():
    optimizer = SphereCMA(
        SphereCMA.Settings(norm=5.0),
        lambda n, random: random.standard_normal((n, 4096), dtype=np.float32),
        random_stream(0, "optimizer"),
    )
    optimizer.tell(optimizer.ask(), np.arange(40.0))
    angle, mean = np.rad2deg(optimizer.angle_rad()), optimizer._mean
    codes = optimizer.ask()
    assert np.linalg.norm(codes, axis=1) == pytest.approx(5.0, rel=1e-5)
    assert np.rad2deg(np.arccos(directions(codes) @ mean)) == pytest.approx(angle, rel=0.06)


def test_norm_is_the_priors_unless_given():
    assert np.linalg.norm(made(SphereCMA).ask()[0]) == pytest.approx(DIM**0.5, rel=0.1)
    assert np.linalg.norm(made(SphereCMA, norm=300.0).ask()[0]) == pytest.approx(300)


def test_factor_and_inverse_are_the_published_updates():
    """Against the same updates on matrices, as published."""
    optimizer = made(CholeskyCMA, update_every=1, population=8)
    target = np.linspace(0.2, 3, DIM)
    climbed(optimizer, 4, lambda codes: -np.square(target * (codes - 2)).sum(axis=1))
    a, inverse = _matrix(optimizer._factor), _matrix(optimizer._inverse)
    pc = optimizer._pc.copy()
    optimizer._update_factor()
    c1, v = 2 / (DIM + 2**0.5) ** 2, pc @ inverse
    stretch = np.sqrt(1 + v @ v * c1 / (1 - c1))
    expected = np.sqrt(1 - c1) * a + np.sqrt(1 - c1) / (v @ v) * (stretch - 1) * np.outer(v, pc)
    assert _matrix(optimizer._factor) == pytest.approx(expected, abs=1e-12)
    undone = _matrix(optimizer._factor) @ _matrix(optimizer._inverse)
    assert undone == pytest.approx(np.eye(DIM), abs=1e-9)
    assert a != pytest.approx(np.eye(DIM), abs=1e-4)


def _matrix(updates: ScaledUpdates):
    return updates.after(np.eye(DIM))


def test_numpys_global_stream_is_left_alone_and_does_not_matter():
    asked = []
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        optimizer = made(DiagonalCMA)
        climbed(optimizer, 5, along_first_axis)
        asked.append(optimizer.ask())
        assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    assert np.array_equal(*asked)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("max_norm", [None, 30.0])
def test_the_package_is_told_its_own_codes_in_its_own_order(max_norm):
    """Told otherwise, it warns that its mirrored pair is none: from 300 numbers on it has one."""

    def sample_many(n, random):
        return random.standard_normal((n, 400), dtype=np.float32)

    optimizer = made(DiagonalCMA, sampler=sample_many, max_norm=max_norm)
    shuffle = random_stream(0, "shuffle")
    for _ in range(8):
        codes = optimizer.ask()
        order = shuffle.permutation(len(codes))
        optimizer.tell(codes[order], along_first_axis(codes)[order])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (SphereCMA, {"selected": 1.1}),
        (SphereCMA, {"schedule": "log"}),
        (SphereCMA, {"norm": 0.0}),
        (CholeskyCMA, {"step_size": 0}),
        (DiagonalCMA, {"population": 3}),
    ],
)
def test_wrong_settings_are_refused(kind, options):
    with pytest.raises(SettingsError):
        validated(kind.Settings, options, where="test")


# --- norms and weights -------------------------------------------------------------------------


def test_steps_undo_walks():
    random = random_stream(3, "sphere")
    start = directions(random.standard_normal(DIM))
    ends = directions(random.standard_normal((5, DIM)))
    steps = steps_to(ends, start)
    assert steps @ start == pytest.approx(np.zeros(5), abs=1e-12)
    assert walked(start, steps) == pytest.approx(ends)
    assert np.linalg.norm(steps, axis=1) == pytest.approx(np.arccos(ends @ start))


def test_staying_is_a_walk():
    start = directions(np.ones(DIM))
    assert walked(start, np.zeros((2, DIM))) == pytest.approx(np.stack([start, start]))
    assert steps_to(start[None], start) == pytest.approx(np.zeros((1, DIM)), abs=1e-12)


def test_norms():
    codes = np.array([[3.0, 4.0], [0.0, 0.0]])
    assert typical_norm(codes) == pytest.approx(12.5**0.5)
    assert typical_norm(codes[1:]) == 1.0
    assert np.array_equal(directions(codes), [[0.6, 0.8], [0, 0]])
    assert with_ceiling(codes, 1.0) == pytest.approx(directions(codes))
    assert with_ceiling(codes, 6.0) is not None
    assert np.array_equal(with_ceiling(codes, 6.0), codes)


def test_spread_is_the_standard_deviation_and_never_zero():
    codes = random_stream(0, "spread").standard_normal((400, 50)) * 3 + 7
    assert spread(codes) == pytest.approx(3, rel=0.05)
    assert spread(codes[:1]) == 1.0
    assert spread(np.ones((5, 3))) == 1.0


def test_log_weights():
    weights = log_weights(20)
    assert weights.sum() == pytest.approx(1)
    assert (np.diff(weights) < 0).all()
    assert weights[0] / weights[1] == pytest.approx(np.log(20.5) / np.log(20.5 / 2))


@pytest.mark.parametrize(("measured", "expected"), [(40, 20), (20, 10), (1, 1), (3, 2)])
def test_the_same_share_of_what_was_measured_recombines(measured, expected):
    assert n_selected(measured, 0.5) == expected
