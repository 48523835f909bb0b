"""Optimizers under any fitness and gaps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import plugins
from protocols.seeds import random_stream
from protocols.settings import PluginChoice
from synth_server.synthesis.optimizers.genetic import GeneticAlgorithm, GeneticSettings

POPULATION = 6
FITNESS = st.one_of(st.just(np.nan), st.floats(-1e6, 1e6), st.sampled_from([0.0, -0.0, 3.0]))
GENERATIONS = st.lists(
    st.lists(FITNESS, min_size=POPULATION, max_size=POPULATION), min_size=1, max_size=4
)
fast = settings(max_examples=60, deadline=None)
every_optimizer = pytest.mark.parametrize("name", plugins.names("stimloop.optimizers"))


def _made(name, code_dim=5):
    choice = PluginChoice(name=name, options={"population": POPULATION})
    return plugins.create(
        "stimloop.optimizers",
        choice,
        lambda n, random: random.standard_normal((n, code_dim), dtype=np.float32),
        random_stream(1, name),
    )


def _genetic(code_dim=5, **options):
    return GeneticAlgorithm(
        GeneticSettings(**({"population": POPULATION, "n_conserve": 2} | options)),
        lambda n, random: random.standard_normal((n, code_dim), dtype=np.float32),
        random_stream(1, "genetic"),
    )


def _drive(optimizer, generations, shuffle=None):
    for fitness in generations:
        codes, told = optimizer.ask(), np.array(fitness)
        by_bytes = sorted(range(POPULATION), key=lambda i: codes[i].tobytes())
        codes = codes[by_bytes]
        order = np.arange(POPULATION) if shuffle is None else shuffle.permutation(POPULATION)
        optimizer.tell(codes[order], told[order])
    return optimizer.ask()


@every_optimizer
@fast
@given(GENERATIONS, st.integers(0, 2**32))
def test_any_order_of_telling_leads_to_the_same_codes(name, generations, seed):
    straight = _drive(_made(name), generations)
    shuffled = _drive(_made(name), generations, random_stream(seed, "shuffle"))
    assert sorted(map(bytes, straight)) == sorted(map(bytes, shuffled))


@every_optimizer
@fast
@given(GENERATIONS)
def test_codes_stay_finite_and_keep_their_shape(name, generations):
    codes = _drive(_made(name), generations)
    assert codes.shape == (POPULATION, 5)
    assert codes.dtype == np.float32
    assert np.isfinite(codes).all()


@every_optimizer
@fast
@given(GENERATIONS)
def test_what_was_told_alone_decides(name, generations):
    """Two optimizers of one seed agree as long as they are told the same."""
    first, second = _made(name), _made(name)
    assert np.array_equal(_drive(first, generations), _drive(second, generations))


@pytest.mark.parametrize("name", ["sphere_ascent", "sphere_cma", "cholesky_cma"])
@fast
@given(st.floats(0.1, 100), st.floats(-100, 100))
def test_only_ranks_count(name, scale, offset):
    fitness = np.array([0.0, 1.0, 4.0, 2.0, 8.0, 3.0])
    plain, rescaled = _made(name), _made(name)
    for _ in range(3):
        codes = plain.ask()
        plain.tell(codes, fitness)
        rescaled.tell(rescaled.ask(), fitness * scale + offset)
    assert np.array_equal(plain.ask(), rescaled.ask())


@fast
@given(st.lists(FITNESS, min_size=POPULATION, max_size=POPULATION))
def test_unmeasured_and_best_codes_are_asked_again(fitness):
    optimizer, told = _genetic(), np.array(fitness)
    codes = optimizer.ask()
    optimizer.tell(codes, told)
    after = {row.tobytes() for row in optimizer.ask()}
    unmeasured = np.isnan(told)
    assert {row.tobytes() for row in codes[unmeasured]} <= after
    if not unmeasured.all():
        assert any(row.tobytes() in after for row in codes[told == np.nanmax(told)])


@fast
@given(st.floats(0.1, 100), st.floats(-100, 100))
def test_rescaling_the_fitness_changes_nothing(scale, offset):
    fitness = np.array([0.0, 1.0, 4.0, 2.0, 8.0, 3.0])
    plain, rescaled = _genetic(mutation_rate=0.0), _genetic(mutation_rate=0.0)
    plain.tell(plain.ask(), fitness)
    rescaled.tell(rescaled.ask(), fitness * scale + offset)
    assert np.array_equal(plain.ask(), rescaled.ask())
