"""Does an optimizer keep its promises? See `protocols.conformance`, which offers this check."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.interfaces import Optimizer
from protocols.promises import refused, require, unmutated
from protocols.seeds import random_stream
from protocols.vocabulary import Codes

CodeSampler: TypeAlias = Callable[[int, np.random.Generator], Codes]
MakeOptimizer: TypeAlias = Callable[[CodeSampler, np.random.Generator], Optimizer]

SEED = 20_190_502
CODE_DIM = 24
N_GENERATIONS = 6


def check_optimizer(make_optimizer: MakeOptimizer) -> None:
    """Check an `Optimizer`.

    Args:
        make_optimizer: Called with (sampler of initial codes, random stream), returns a fresh
            optimizer each time.
    """
    _check_turns(_fresh(make_optimizer))
    _check_asks(make_optimizer)
    _check_refill(make_optimizer)
    _check_unmeasured(_fresh(make_optimizer))
    for n_measured in (-1, 3, 2, 1):
        _check_gaps(_fresh(make_optimizer), n_measured)
        _check_permutation(make_optimizer, n_measured)
    _check_constant_fitness(_fresh(make_optimizer))
    _check_start(make_optimizer)


def _sample(n: int, random: np.random.Generator) -> Codes:
    return random.standard_normal((n, CODE_DIM), dtype=np.float32)


def _fresh(make_optimizer: MakeOptimizer) -> Optimizer:
    return make_optimizer(_sample, random_stream(SEED, "optimizer"))


def _fitness(codes: Codes) -> NDArray[np.float64]:
    return np.asarray(-np.square(codes.astype(np.float64) - 1).mean(axis=1), np.float64)


def _check_turns(optimizer: Optimizer) -> None:
    codes = _sample(2, random_stream(SEED, "turns"))
    with refused("tell() before ask() must be refused"):
        optimizer.tell(codes, _fitness(codes))
    asked = optimizer.ask()
    with refused("ask() twice in a row must be refused"):
        optimizer.ask()
    with refused("a fitness of the wrong length must be refused"):
        optimizer.tell(asked, _fitness(asked)[:-1])
    optimizer.tell(asked, _fitness(asked))
    with refused("tell() twice in a row must be refused"):
        optimizer.tell(asked, _fitness(asked))


def _check_asks(make_optimizer: MakeOptimizer) -> None:
    optimizer = _fresh(make_optimizer)
    for _ in range(N_GENERATIONS):
        codes = optimizer.ask()
        require(
            codes.ndim == 2 and codes.shape[1] == CODE_DIM and codes.dtype == np.float32,
            "ask() must return (population, code_dim) float32",
            got=f"{codes.shape} {codes.dtype}",
        )
        require(bool(np.isfinite(codes).all()), "ask() must return finite codes")
        fitness = _fitness(codes)
        with unmutated("tell()", codes, fitness):
            optimizer.tell(codes, fitness)


def _check_refill(make_optimizer: MakeOptimizer) -> None:
    first, second = _fresh(make_optimizer), _fresh(make_optimizer)
    for generation in range(N_GENERATIONS):
        codes = first.ask()
        require(
            np.array_equal(codes, second.ask()),
            "with the same seed and the same tells, the same codes must be asked (recovery)",
            got=f"other codes in generation {generation}",
        )
        first.tell(codes, _fitness(codes))
        second.tell(codes.copy(), _fitness(codes))


def _check_permutation(make_optimizer: MakeOptimizer, n_measured: int) -> None:
    first, second = _fresh(make_optimizer), _fresh(make_optimizer)
    shuffle = random_stream(SEED, "permutation")
    for generation in range(N_GENERATIONS):
        codes = first.ask()
        second.ask()
        fitness = _with_gaps(_fitness(codes), n_measured)
        order = shuffle.permutation(len(codes))
        first.tell(codes, fitness)
        second.tell(codes[order], fitness[order])
        require(
            _same_rows(first, second),
            "permuting codes and fitness together must change nothing",
            got=f"other codes after generation {generation}",
        )


def _same_rows(first: Optimizer, second: Optimizer) -> bool:
    """Ask both, compare, and tell both nothing, so that their turns are complete."""
    codes, others = first.ask(), second.ask()
    nothing = np.full(len(codes), np.nan)
    first.tell(codes, nothing)
    second.tell(others, nothing)
    return np.array_equal(codes, others)


def _check_unmeasured(optimizer: Optimizer) -> None:
    """A generation without any measurement, at the start and later, teaches nothing."""
    for told in range(3):
        codes = optimizer.ask()
        optimizer.tell(codes, np.full(len(codes), np.nan))
        again = optimizer.ask()
        require(
            bool(np.isfinite(again).all()) and again.shape == codes.shape,
            "a generation without any measurement must be survived",
            got=f"after {told} measured generations: {again.shape}, {codes.shape} before",
        )
        optimizer.tell(again, _fitness(again))


def _check_gaps(optimizer: Optimizer, n_measured: int) -> None:
    """A few codes measured (-1: all but one) in every generation."""
    for _ in range(N_GENERATIONS):
        codes = optimizer.ask()
        fitness = _with_gaps(_fitness(codes), n_measured)
        with unmutated("tell()", codes, fitness):
            optimizer.tell(codes, fitness)
        after = optimizer.ask()
        require(
            after.shape == codes.shape,
            "the size of the population must not depend on gaps",
            got=f"{after.shape} after {codes.shape}",
        )
        require(bool(np.isfinite(after).all()), "unmeasured codes (NaN fitness) must be tolerated")
        optimizer.tell(after, _fitness(after))


def _with_gaps(fitness: NDArray[np.float64], n_measured: int) -> NDArray[np.float64]:
    """The first `n_measured` of `fitness`, rounded so that some are equal; NaN for the others."""
    some = np.full(len(fitness), np.nan)
    some[:n_measured] = np.round(fitness, 1)[:n_measured]
    return some


def _check_constant_fitness(optimizer: Optimizer) -> None:
    for _ in range(3):
        codes = optimizer.ask()
        require(bool(np.isfinite(codes).all()), "a constant fitness must not lead to codes of NaN")
        optimizer.tell(codes, np.zeros(len(codes)))


def _check_start(make_optimizer: MakeOptimizer) -> None:
    """An evolution can start from chosen codes: they come from the sampler, and are shown."""
    chosen = 3 + _sample(64, random_stream(SEED, "chosen"))
    asked: list[int] = []

    def sampler(n: int, random: np.random.Generator) -> Codes:
        del random
        asked.append(n)
        return np.asarray(chosen[np.arange(n) % len(chosen)], np.float32)

    codes = make_optimizer(sampler, random_stream(SEED, "optimizer")).ask()
    require(
        len(codes) in asked,
        "the first population must be drawn by the sampler, so that an evolution can start from "
        "chosen codes",
        got=f"{len(codes)} codes asked, sampler called for {asked}",
    )
    expected = chosen[np.arange(len(codes)) % len(chosen)]
    cosines = (codes * expected).sum(axis=1) / (
        np.linalg.norm(codes, axis=1) * np.linalg.norm(expected, axis=1)
    )
    require(
        bool((cosines > 1 - 1e-4).all()),
        "the first population must be what the sampler drew, but for the norm",
        got=f"a cosine of {cosines.min():.3f}",
    )
