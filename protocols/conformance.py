"""Does a plug-in keep its promises? Checks for our tests and for a lab's own; free of pytest.

Each check raises `PluginError` with one clear sentence at the first breach, and returns None if all
is well::

    check_optimizer(lambda sample, random: MyOptimizer(MyOptimizer.Settings(), sample, random))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.errors import PluginError, SettingsError, StimloopError
from protocols.interfaces import (
    Acquisition,
    Display,
    ImageGenerator,
    InvertibleGenerator,
    Objective,
    Optimizer,
    SimulatedPopulation,
)
from protocols.seeds import random_stream
from protocols.vocabulary import Block, Codes, Images, Role, check_images

CodeSampler: TypeAlias = Callable[[int, np.random.Generator], Codes]
MakeOptimizer: TypeAlias = Callable[[CodeSampler, np.random.Generator], Optimizer]

SEED = 20_190_502
CODE_DIM = 24
N_GENERATIONS = 6


def check_generator(generator: ImageGenerator, *, max_difference: int = 0) -> None:
    """Check an `ImageGenerator`.

    Args:
        generator: The generator.
        max_difference: Gray levels by which a code's image may differ between batches; 0 unless
            its arithmetic depends on the batch size (matrix products on some processors).
    """
    codes = generator.sample_codes(3, random_stream(SEED, "codes"))
    _require(
        codes.shape == (3, generator.code_dim) and codes.dtype == np.float32,
        "sample_codes(3, random) must return (3, code_dim) float32",
        got=f"{codes.shape} {codes.dtype}, code_dim {generator.code_dim}",
    )
    again = generator.sample_codes(3, random_stream(SEED, "codes"))
    _require(np.array_equal(codes, again), "sample_codes must depend on its random stream alone")
    with _unmutated("calling the generator", codes):
        images = generator(codes)
    check_images(images, where="generator(codes)")
    size = generator.image_size_px
    _require(
        images.shape == (3, size, size, 3),
        "generator(codes) must return (n, image_size_px, image_size_px, 3)",
        got=images.shape,
    )
    _require(np.array_equal(images, generator(codes)), "the same codes must give the same images")
    alone = np.concatenate([generator(codes[i : i + 1]) for i in range(3)])
    difference = int(np.abs(images.astype(np.int16) - alone).max())
    _require(
        difference <= max_difference,
        "a code's image must not depend on the other codes of its batch",
        got=f"{difference} gray levels between alone and in a batch of 3",
    )
    _require(
        len(generator.digest) == 64 and set(generator.digest) <= set("0123456789abcdef"),
        "digest must be a sha256 in lower-case hex",
        got=generator.digest,
    )
    if isinstance(generator, InvertibleGenerator):
        _check_inversion(generator, images)


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


def check_objective(objective: Objective, site_ids: Sequence[str]) -> None:
    """Check an `Objective` that works on the recorded `site_ids`."""
    objective.sites(site_ids)
    responses = random_stream(SEED, "responses").uniform(0, 20, (5, len(site_ids)))
    responses[2] = np.nan
    with _unmutated("calling the objective", responses):
        fitness = objective(responses, site_ids)
    _require(
        fitness.shape == (5,) and fitness.dtype == np.float64,
        "an objective must return one float64 a row",
        got=f"{fitness.shape} {fitness.dtype} for 5 rows",
    )
    measured = np.arange(5) != 2
    _require(bool(np.isnan(fitness[2])), "a row of NaN must score NaN", got=fitness[2])
    _require(bool(np.isfinite(fitness[measured]).all()), "a measured row must score a number")
    rows = [objective(responses[i : i + 1], site_ids)[0] for i in range(5)]
    _require(
        np.allclose(fitness, rows, equal_nan=True), "a row's score must not depend on other rows"
    )
    backwards = np.arange(len(site_ids))[::-1]
    reordered = objective(responses[:, backwards], [site_ids[i] for i in backwards])
    _require(
        np.allclose(fitness, reordered, equal_nan=True),
        "sites must be found by name, not by place",
    )


def _check_inversion(generator: InvertibleGenerator, images: Images) -> None:
    with _unmutated("invert", images):
        codes = generator.invert(images)
    _require(
        codes.shape == (len(images), generator.code_dim)
        and codes.dtype == np.float32
        and bool(np.isfinite(codes).all()),
        "invert(images) must return (n, code_dim) float32, finite",
        got=f"{codes.shape} {codes.dtype}, code_dim {generator.code_dim}",
    )
    alone = np.concatenate([generator.invert(image[None]) for image in images])
    _require(
        np.allclose(codes, alone, rtol=1e-3, atol=1e-3),
        "the code of an image must not depend on the other images, nor on chance",
    )
    wanted = images.astype(np.float64)
    drawn = generator(codes).astype(np.float64)
    own, others = np.square(drawn - wanted), np.square(drawn - np.roll(wanted, 1, axis=0))
    _require(
        bool((own.mean((1, 2, 3)) < others.mean((1, 2, 3))).all()),
        "the image of an inverted code must be nearer to its image than to another",
    )


def check_objective_refuses(objective: Objective, site_ids: Sequence[str]) -> None:
    """Check that `objective`, which needs a site not in `site_ids`, says so."""
    try:
        objective.sites(site_ids)
    except SettingsError as error:
        _require(
            all(site in str(error) for site in site_ids),
            "the error about a missing site must list the recorded sites",
            got=str(error),
        )
        return
    _require(False, "sites must raise SettingsError for a site that is not recorded")


def check_population(population: SimulatedPopulation, images: Images) -> None:
    """Check a `SimulatedPopulation` on `images` `(n, h, w, 3) uint8`, n ≥ 2."""
    with _unmutated("rates(images)", images):
        rates = population.rates(images)
    n_sites = len(population.site_ids)
    _require(
        rates.shape == (len(images), n_sites) and rates.dtype == np.float64,
        "rates(images) must return (n, n_sites) float64",
        got=f"{rates.shape} {rates.dtype} for {len(images)} images, {n_sites} sites",
    )
    _require(len(set(population.site_ids)) == n_sites, "site ids must differ")
    _require(
        bool((np.isfinite(rates) & (rates >= 0)).all()), "rates must be finite and not negative"
    )
    _require(
        np.array_equal(rates, population.rates(images)), "the same images must give the same rates"
    )
    _require(
        np.allclose(rates[1:2], population.rates(images[1:2]), rtol=1e-4, atol=1e-4),
        "an image's rates must not depend on the other images",
    )


def check_acquisition(acquisition: Acquisition, block: Block) -> None:
    """Check an `Acquisition` by showing it `block`, every image once more than it is ordered."""
    n_sites = len(acquisition.site_ids)
    _require(n_sites >= 1, "an acquisition must record at least one site")
    _require(len(set(acquisition.site_ids)) == n_sites, "site ids must differ")
    acquisition.stage(block)
    window_s = block.timing.count_window_s
    for place, cue in enumerate(block.cues()):
        acquisition.mark(cue, onset_s=float(place))
        measurement = acquisition.spike_counts(cue, window_s)
        _require(
            measurement.counts.shape == (n_sites,),
            "spike_counts must return one count a site",
            got=f"{measurement.counts.shape} for {n_sites} sites",
        )
        _require(
            bool((np.isfinite(measurement.counts) & (measurement.counts >= 0)).all()),
            "spike counts must be finite and not negative",
            got=measurement.counts,
        )


def check_display(display: Display, images: Images, *, on_s: float = 0.02) -> None:
    """Check a `Display` by showing `images` `(n, h, w, 3) uint8` for `on_s` seconds each."""
    _require(display.clock in ("rig", "virtual"), "clock must be 'rig' or 'virtual'")
    block = _control_block(images)
    with _unmutated("staging images", images):
        display.stage(images)
    last_onset_s = -np.inf
    for cue in block.cues():
        heard: list[float] = []
        flip = display.show(cue, on_s, heard.append)
        _require(
            heard == [flip.onset_s],
            "show must call at_onset once, with the onset that it returns",
            got=f"at_onset{heard}, returned {flip.onset_s}",
        )
        _require(flip.onset_s > last_onset_s, "onsets must advance", got=flip.onset_s)
        _require(flip.dropped_frames >= 0, "dropped_frames must not be negative")
        last_onset_s = flip.onset_s
        display.blank(on_s)
    display.message("conformance")
    display.message("")


# --- optimizers --------------------------------------------------------------------------------


def _sample(n: int, random: np.random.Generator) -> Codes:
    return random.standard_normal((n, CODE_DIM), dtype=np.float32)


def _fresh(make_optimizer: MakeOptimizer) -> Optimizer:
    return make_optimizer(_sample, random_stream(SEED, "optimizer"))


def _fitness(codes: Codes) -> NDArray[np.float64]:
    return np.asarray(-np.square(codes.astype(np.float64) - 1).mean(axis=1), np.float64)


def _check_turns(optimizer: Optimizer) -> None:
    codes = _sample(2, random_stream(SEED, "turns"))
    with _refused("tell() before ask() must be refused"):
        optimizer.tell(codes, _fitness(codes))
    asked = optimizer.ask()
    with _refused("ask() twice in a row must be refused"):
        optimizer.ask()
    with _refused("a fitness of the wrong length must be refused"):
        optimizer.tell(asked, _fitness(asked)[:-1])
    optimizer.tell(asked, _fitness(asked))
    with _refused("tell() twice in a row must be refused"):
        optimizer.tell(asked, _fitness(asked))


def _check_asks(make_optimizer: MakeOptimizer) -> None:
    optimizer = _fresh(make_optimizer)
    for _ in range(N_GENERATIONS):
        codes = optimizer.ask()
        _require(
            codes.ndim == 2 and codes.shape[1] == CODE_DIM and codes.dtype == np.float32,
            "ask() must return (population, code_dim) float32",
            got=f"{codes.shape} {codes.dtype}",
        )
        _require(bool(np.isfinite(codes).all()), "ask() must return finite codes")
        fitness = _fitness(codes)
        with _unmutated("tell()", codes, fitness):
            optimizer.tell(codes, fitness)


def _check_refill(make_optimizer: MakeOptimizer) -> None:
    first, second = _fresh(make_optimizer), _fresh(make_optimizer)
    for generation in range(N_GENERATIONS):
        codes = first.ask()
        _require(
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
        _require(
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
        _require(
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
        with _unmutated("tell()", codes, fitness):
            optimizer.tell(codes, fitness)
        after = optimizer.ask()
        _require(
            after.shape == codes.shape,
            "the size of the population must not depend on gaps",
            got=f"{after.shape} after {codes.shape}",
        )
        _require(bool(np.isfinite(after).all()), "unmeasured codes (NaN fitness) must be tolerated")
        optimizer.tell(after, _fitness(after))


def _with_gaps(fitness: NDArray[np.float64], n_measured: int) -> NDArray[np.float64]:
    """The first `n_measured` of `fitness`, rounded so that some are equal; NaN for the others."""
    some = np.full(len(fitness), np.nan)
    some[:n_measured] = np.round(fitness, 1)[:n_measured]
    return some


def _check_constant_fitness(optimizer: Optimizer) -> None:
    for _ in range(3):
        codes = optimizer.ask()
        _require(bool(np.isfinite(codes).all()), "a constant fitness must not lead to codes of NaN")
        optimizer.tell(codes, np.zeros(len(codes)))


def _check_start(make_optimizer: MakeOptimizer) -> None:
    """An evolution can start from chosen codes: they come from the sampler, and are shown."""
    chosen = 3 + _sample(64, random_stream(SEED, "chosen"))
    asked: list[int] = []

    def sampler(n: int, random: np.random.Generator) -> Codes:
        del random
        asked.append(n)
        return chosen[np.arange(n) % len(chosen)]

    codes = make_optimizer(sampler, random_stream(SEED, "optimizer")).ask()
    _require(
        len(codes) in asked,
        "the first population must be drawn by the sampler, so that an evolution can start from "
        "chosen codes",
        got=f"{len(codes)} codes asked, sampler called for {asked}",
    )
    expected = chosen[np.arange(len(codes)) % len(chosen)]
    cosines = (codes * expected).sum(axis=1) / (
        np.linalg.norm(codes, axis=1) * np.linalg.norm(expected, axis=1)
    )
    _require(
        bool((cosines > 1 - 1e-4).all()),
        "the first population must be what the sampler drew, but for the norm",
        got=f"a cosine of {cosines.min():.3f}",
    )


# --- shared ------------------------------------------------------------------------------------


def _control_block(images: Images) -> Block:
    return Block.of(images, roles=Role.CONTROL).at(0, "conformance")


def _require(kept: bool, promise: str, *, got: object = "") -> None:
    if not kept:
        raise PluginError(promise, where="conformance check", got=got)


@contextmanager
def _refused(promise: str) -> Iterator[None]:
    try:
        yield
    except StimloopError:
        return
    except Exception as error:
        raise PluginError(
            promise,
            where="conformance check",
            expected="an error from protocols.errors",
            got=f"{type(error).__name__}: {error}",
        ) from error
    raise PluginError(promise, where="conformance check", got="no error")


@contextmanager
def _unmutated(action: str, *arrays: NDArray[np.generic]) -> Iterator[None]:
    before = [array.copy() for array in arrays]
    yield
    for array, copy in zip(arrays, before, strict=True):
        _require(array.tobytes() == copy.tobytes(), f"{action} must not change its arguments")
