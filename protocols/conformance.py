"""Does a plug-in keep its promises? Checks for our tests and for a lab's own; free of pytest.

Each check raises `PluginError` with one clear sentence at the first breach, and returns None if all
is well::

    check_optimizer(lambda sample, random: MyOptimizer(MyOptimizer.Settings(), sample, random))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from protocols.errors import SettingsError
from protocols.interfaces import ImageGenerator, InvertibleGenerator, Objective, SimulatedPopulation
from protocols.optimizer_checks import SEED, check_optimizer
from protocols.promises import refused, require, unmutated
from protocols.recorder_checks import check_recorder
from protocols.rig_interfaces import Acquisition, Display, Trigger
from protocols.seeds import random_stream
from protocols.vocabulary import Block, Images, Placement, Role, check_images

__all__ = [
    "check_acquisition",
    "check_display",
    "check_generator",
    "check_objective",
    "check_objective_refuses",
    "check_optimizer",
    "check_population",
    "check_recorder",
    "check_trigger",
]


def check_generator(generator: ImageGenerator, *, max_difference: int = 0) -> None:
    """Check an `ImageGenerator`.

    Args:
        generator: The generator.
        max_difference: Gray levels by which a code's image may differ between batches; 0 unless
            its arithmetic depends on the batch size (matrix products on some processors).
    """
    codes = generator.sample_codes(3, random_stream(SEED, "codes"))
    require(
        codes.shape == (3, generator.code_dim) and codes.dtype == np.float32,
        "sample_codes(3, random) must return (3, code_dim) float32",
        got=f"{codes.shape} {codes.dtype}, code_dim {generator.code_dim}",
    )
    again = generator.sample_codes(3, random_stream(SEED, "codes"))
    require(np.array_equal(codes, again), "sample_codes must depend on its random stream alone")
    with unmutated("calling the generator", codes):
        images = generator(codes)
    check_images(images, where="generator(codes)")
    size = generator.image_size_px
    require(
        images.shape == (3, size, size, 3),
        "generator(codes) must return (n, image_size_px, image_size_px, 3)",
        got=images.shape,
    )
    require(np.array_equal(images, generator(codes)), "the same codes must give the same images")
    alone = np.concatenate([generator(codes[i : i + 1]) for i in range(3)])
    difference = int(np.abs(images.astype(np.int16) - alone).max())
    require(
        difference <= max_difference,
        "a code's image must not depend on the other codes of its batch",
        got=f"{difference} gray levels between alone and in a batch of 3",
    )
    require(
        len(generator.digest) == 64 and set(generator.digest) <= set("0123456789abcdef"),
        "digest must be a sha256 in lower-case hex",
        got=generator.digest,
    )
    if isinstance(generator, InvertibleGenerator):
        _check_inversion(generator, images)


def check_objective(objective: Objective, site_ids: Sequence[str]) -> None:
    """Check an `Objective` that works on the recorded `site_ids`."""
    objective.sites(site_ids)
    responses = random_stream(SEED, "responses").uniform(0, 20, (5, len(site_ids)))
    responses[2] = np.nan
    with unmutated("calling the objective", responses):
        fitness = objective(responses, site_ids)
    require(
        fitness.shape == (5,) and fitness.dtype == np.float64,
        "an objective must return one float64 a row",
        got=f"{fitness.shape} {fitness.dtype} for 5 rows",
    )
    measured = np.arange(5) != 2
    require(bool(np.isnan(fitness[2])), "a row of NaN must score NaN", got=fitness[2])
    require(bool(np.isfinite(fitness[measured]).all()), "a measured row must score a number")
    rows = [objective(responses[i : i + 1], site_ids)[0] for i in range(5)]
    require(
        np.allclose(fitness, rows, equal_nan=True), "a row's score must not depend on other rows"
    )
    backwards = np.arange(len(site_ids))[::-1]
    reordered = objective(responses[:, backwards], [site_ids[i] for i in backwards])
    require(
        np.allclose(fitness, reordered, equal_nan=True),
        "sites must be found by name, not by place",
    )


def _check_inversion(generator: InvertibleGenerator, images: Images) -> None:
    with unmutated("invert", images):
        codes = generator.invert(images)
    require(
        codes.shape == (len(images), generator.code_dim)
        and codes.dtype == np.float32
        and bool(np.isfinite(codes).all()),
        "invert(images) must return (n, code_dim) float32, finite",
        got=f"{codes.shape} {codes.dtype}, code_dim {generator.code_dim}",
    )
    alone = np.concatenate([generator.invert(image[None]) for image in images])
    require(
        np.allclose(codes, alone, rtol=1e-3, atol=1e-3),
        "the code of an image must not depend on the other images, nor on chance",
    )
    wanted = images.astype(np.float64)
    drawn = generator(codes).astype(np.float64)
    own, others = np.square(drawn - wanted), np.square(drawn - np.roll(wanted, 1, axis=0))
    require(
        bool((own.mean((1, 2, 3)) < others.mean((1, 2, 3))).all()),
        "the image of an inverted code must be nearer to its image than to another",
    )


def check_objective_refuses(objective: Objective, site_ids: Sequence[str]) -> None:
    """Check that `objective`, which needs a site not in `site_ids`, says so."""
    try:
        objective.sites(site_ids)
    except SettingsError as error:
        require(
            all(site in str(error) for site in site_ids),
            "the error about a missing site must list the recorded sites",
            got=str(error),
        )
        return
    require(False, "sites must raise SettingsError for a site that is not recorded")


def check_population(population: SimulatedPopulation, images: Images) -> None:
    """Check a `SimulatedPopulation` on `images` `(n, h, w, 3) uint8`, n ≥ 2."""
    with unmutated("rates(images)", images):
        rates = population.rates(images)
    n_sites = len(population.site_ids)
    require(
        rates.shape == (len(images), n_sites) and rates.dtype == np.float64,
        "rates(images) must return (n, n_sites) float64",
        got=f"{rates.shape} {rates.dtype} for {len(images)} images, {n_sites} sites",
    )
    require(len(set(population.site_ids)) == n_sites, "site ids must differ")
    require(
        bool((np.isfinite(rates) & (rates >= 0)).all()), "rates must be finite and not negative"
    )
    require(
        np.array_equal(rates, population.rates(images)), "the same images must give the same rates"
    )
    require(
        np.allclose(rates[1:2], population.rates(images[1:2]), rtol=1e-4, atol=1e-4),
        "an image's rates must not depend on the other images",
    )


def check_acquisition(acquisition: Acquisition, block: Block) -> None:
    """Check an `Acquisition` by showing it `block`, every image once more than it is ordered."""
    n_sites = len(acquisition.site_ids)
    require(n_sites >= 1, "an acquisition must record at least one site")
    require(len(set(acquisition.site_ids)) == n_sites, "site ids must differ")
    require(
        acquisition.trouble() == "", "a recorder to check must stream", got=acquisition.trouble()
    )
    acquisition.stage(block)
    window_s = block.timing.count_window_s
    for place, cue in enumerate(block.cues()):
        acquisition.mark(cue, onset_s=float(place), word=place + 1)
        measurement = acquisition.spike_counts(cue, window_s)
        require(
            measurement.counts.shape == (n_sites,),
            "spike_counts must return one count a site",
            got=f"{measurement.counts.shape} for {n_sites} sites",
        )
        require(
            bool((np.isfinite(measurement.counts) & (measurement.counts >= 0)).all()),
            "spike counts must be finite and not negative",
            got=measurement.counts,
        )


def check_display(display: Display, images: Images, *, on_s: float = 0.02) -> None:
    """Check a `Display` by showing `images` `(n, h, w, 3) uint8` for `on_s` seconds each.

    They are shown at the display's own place, and the first one a second time, half as large.
    """
    require(display.clock in ("rig", "virtual"), "clock must be 'rig' or 'virtual'")
    described = display.describe()
    require(
        described.why_not(described.place) == "",
        "describe().place must lie on the screen",
        got=described.why_not(described.place),
    )
    small = described.place.model_copy(update={"size_deg": described.place.size_deg / 2})
    places = [None] * len(images) + [small]
    images = np.concatenate([images, images[:1]])
    block = _control_block(images, places)
    with unmutated("staging images", images):
        display.stage(images, places)
    last_onset_s = -np.inf
    for cue in block.cues():
        heard: list[float] = []
        flip = display.show(cue, on_s, heard.append)
        require(
            heard == [flip.onset_s],
            "show must call at_onset once, with the onset that it returns",
            got=f"at_onset{heard}, returned {flip.onset_s}",
        )
        require(flip.onset_s > last_onset_s, "onsets must advance", got=flip.onset_s)
        require(flip.dropped_frames >= 0, "dropped_frames must not be negative")
        require(flip.shown_s >= 0, "shown_s must not be negative", got=flip.shown_s)
        last_onset_s = flip.onset_s
        require(display.blank(on_s), "a gap in which fixation is held must return True")
    flip = display.show(next(block.cues()), on_s, lambda _: None, lambda: False)
    require(not flip.held, "an image whose fixation is broken must be reported as not held")
    _check_gap(display, on_s)
    for visible in (False, True):
        display.spot(visible)
        display.blank(on_s)
    require(display.wish() == "", "nobody asked for anything", got=display.wish())
    display.message("conformance")
    display.message("")
    if described.bounds_deg is not None:
        far = described.place.model_copy(update={"x_deg": described.bounds_deg[2]})
        with refused("a place off the screen must be refused"):
            display.stage(images[:1], [far])


def _check_gap(display: Display, duration_s: float) -> None:
    """`blank` asks for fixation up to its end, and ends at the first break."""
    asked: list[bool] = []

    def held() -> bool:
        asked.append(True)
        return len(asked) < 2

    began_s = display.now_s()
    require(not display.blank(100 * duration_s, held), "a broken gap must return False")
    require(len(asked) == 2, "a gap must end at the first break", got=f"asked {len(asked)} times")
    require(
        display.now_s() - began_s < 100 * duration_s,
        "a gap must end at the first break",
        got=f"{display.now_s() - began_s:.3f} s",
    )
    asked.clear()
    require(not display.blank(0, lambda: False), "fixation must be asked for at a gap's end")


def check_trigger(
    trigger: Trigger,
    block: Block,
    words: Sequence[int] = (1, 2, 85, 170, 255),
    arrived: Callable[[int], Sequence[int]] | None = None,
) -> None:
    """Check a `Trigger` by sending `words` at the onsets of `block`, and close it.

    Args:
        trigger: The trigger.
        block: A block with at least one image.
        words: Words that its lines can carry.
        arrived: Waits for n words at the far end of the lines and returns those that came; without
            it, only what happens at this end is checked.
    """
    cues = list(block.cues())
    with unmutated("staging a block", block.images):
        trigger.stage(block)
    trigger.clear()
    for place, word in enumerate(words):
        trigger.send(word, cues[place % len(cues)])
        if arrived is not None:
            seen = list(arrived(place + 1))
            require(
                seen == list(words[: place + 1]),
                "each word must arrive once, as it was sent, before the lines are cleared",
                got=f"sent {list(words[: place + 1])}, arrived {seen}",
            )
        trigger.clear()
    trigger.clear()
    trigger.close()
    if arrived is not None:
        seen = list(arrived(len(words)))
        require(
            seen == list(words),
            "clearing and closing must put no word on the lines",
            got=f"sent {list(words)}, arrived {seen}",
        )


def _control_block(images: Images, places: Sequence[Placement | None]) -> Block:
    return Block.of(images, roles=Role.CONTROL, places=places).at(0, "conformance")
