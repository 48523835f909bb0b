"""The genetic algorithm under any population, dimension, fitness and gaps."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.seeds import random_stream
from synth_server.synthesis.optimizers.genetic import GeneticAlgorithm, GeneticSettings

POPULATION = 6
FITNESS = st.one_of(st.just(np.nan), st.floats(-1e6, 1e6), st.sampled_from([0.0, -0.0, 3.0]))
GENERATIONS = st.lists(
    st.lists(FITNESS, min_size=POPULATION, max_size=POPULATION), min_size=1, max_size=4
)
fast = settings(max_examples=60, deadline=None)


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


@fast
@given(GENERATIONS, st.integers(0, 2**32))
def test_any_order_of_telling_leads_to_the_same_codes(generations, seed):
    straight = _drive(_genetic(), generations)
    shuffled = _drive(_genetic(), generations, random_stream(seed, "shuffle"))
    assert sorted(map(bytes, straight)) == sorted(map(bytes, shuffled))


@fast
@given(GENERATIONS)
def test_codes_stay_finite_and_keep_their_shape(generations):
    codes = _drive(_genetic(), generations)
    assert codes.shape == (POPULATION, 5)
    assert codes.dtype == np.float32
    assert np.isfinite(codes).all()


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
