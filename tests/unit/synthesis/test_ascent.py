"""Ascent on a toy encoder whose best image is known: Gabor filters, simple and complex."""

import numpy as np
import pytest
import torch

from protocols.errors import DataError, SettingsError
from synth_server.synthesis.ascent import improve, synthesize
from synth_server.synthesis.ascent_settings import AscentSettings, RefinementSettings
from synth_server.synthesis.constraints import (
    ApertureSettings,
    Constraints,
    ConstraintSettings,
    NaturalDistance,
    PenaltySettings,
    TransformSettings,
    aperture_mask,
    starting_images,
)
from synth_server.synthesis.diversity import similarity
from synth_server.synthesis.generators.fourier import FourierGenerator, FourierSettings
from synth_server.synthesis.image_space import (
    FourierSpace,
    FourierSpaceSettings,
    GeneratorSpace,
    PixelSpace,
    PixelSpaceSettings,
    image_stream,
)
from synth_server.synthesis.objectives import (
    OneHotPopulation,
    OneHotPopulationSettings,
    SiteObjective,
    SiteSettings,
    Suppress,
    TargetPattern,
    TargetPatternSettings,
)
from synth_server.synthesis.recipes import RECIPES, fourier_recipe, npc_recipe, recipe_of

SIZE = 32
SITES = tuple(f"s{i}" for i in range(6))
MATCHED = ConstraintSettings(mean=0.5, rms_contrast=0.12)
GRAY = FourierSpace(FourierSpaceSettings(size_px=SIZE, colour=False, squash=False))
SHORT = AscentSettings(n_steps=100, learning_rate=0.2, constraints=MATCHED)


class GaborEncoder:
    """Even sites are simple (linear, about 20 spikes/s), odd ones complex (energy)."""

    site_ids = SITES

    def __init__(self):
        y, x = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
        filters = []
        for site in range(len(SITES)):
            angle, cycles = np.pi * site / len(SITES), 4 + site % 3
            across = x * np.cos(angle) + y * np.sin(angle)
            window = np.exp(-(x**2 + y**2) / (2 * 0.2**2))
            for phase in (0, np.pi / 2):
                gabor = window * np.cos(2 * np.pi * cycles * across + phase)
                gabor -= gabor.mean()
                filters.append(gabor / np.linalg.norm(gabor))
        self.filters = torch.tensor(np.array(filters), dtype=torch.float32).reshape(-1, SIZE**2)

    device = torch.device("cpu")

    def rates(self, pixels):
        luminance = pixels.mean(1).flatten(1)
        luminance = luminance - luminance.mean(1, keepdim=True)
        even, odd = (luminance @ self.filters.T).unflatten(1, (-1, 2)).unbind(2)
        complex_site = torch.arange(len(SITES)) % 2 == 1
        return 20 + 10 * torch.where(complex_site, even.square() + odd.square(), even)

    def predict(self, images):
        pixels = torch.from_numpy(images / np.float32(255)).permute(0, 3, 1, 2)
        with torch.no_grad():
            return self.rates(pixels).double().numpy()

    def best_image(self, site):
        """The closed form, for a simple site at fixed mean and contrast: its filter."""
        return self.filters[2 * site].reshape(SIZE, SIZE).numpy()


ENCODER = GaborEncoder()


def site(name):
    return SiteObjective(SiteSettings(site=name))


def natural_looking(n, seed=9):
    starts = GRAY.initial(n, torch.Generator().manual_seed(seed))
    return Constraints(MATCHED, SIZE).levels(GRAY.images(starts)).numpy()


@pytest.fixture(scope="module")
def random_rates():
    return ENCODER.predict(natural_looking(2000))


@pytest.fixture(scope="module")
def stretched():
    return synthesize(ENCODER, {name: site(name) for name in SITES}, GRAY, SHORT, [0, 1])


def test_what_comes_back_is_in_order(stretched):
    assert stretched.images.shape == (12, SIZE, SIZE, 3)
    assert stretched.images.dtype == np.uint8
    assert stretched.targets == tuple(np.repeat(SITES, 2))
    assert stretched.seeds.tolist() == [0, 1] * 6
    assert np.array_equal(stretched.predicted, ENCODER.predict(stretched.images))
    columns = [SITES.index(target) for target in stretched.targets]
    assert np.array_equal(stretched.scores, stretched.predicted[np.arange(12), columns])
    assert not stretched.restarts.any()


def test_ascent_beats_two_thousand_random_images(stretched, random_rates):
    for target, score in zip(stretched.targets, stretched.scores, strict=True):
        assert score > 1.15 * random_rates[:, SITES.index(target)].max()


def test_ascent_finds_the_best_gabor(stretched):
    for row, target in enumerate(stretched.targets):
        index = SITES.index(target)
        if index % 2 == 0:
            image = stretched.images[row].mean(axis=2)
            best = ENCODER.best_image(index)
            assert np.corrcoef(image.ravel(), best.ravel())[0, 1] > 0.95


def test_constraints_hold_on_what_comes_back(stretched):
    values = stretched.images.reshape(12, -1) / 255
    assert values.mean(axis=1) == pytest.approx(0.5, rel=0.01)
    assert values.std(axis=1) == pytest.approx(0.12, rel=0.01)


def test_suppression_goes_below_all_random_images(random_rates):
    found = synthesize(ENCODER, {"low": Suppress(SiteSettings(site="s0"))}, GRAY, SHORT, [0])
    assert found.predicted[0, 0] < random_rates[:, 0].min()
    assert found.scores[0] == -found.predicted[0, 0]


def test_one_hot_singles_its_site_out(random_rates):
    scales = {
        "mean": dict(zip(SITES, random_rates.mean(axis=0).tolist(), strict=True)),
        "sd": dict(zip(SITES, random_rates.std(axis=0).tolist(), strict=True)),
    }
    settings = OneHotPopulationSettings(site="s2", temperature=2, **scales)
    one_hot = OneHotPopulation(settings)
    found = synthesize(ENCODER, {"s2": one_hot}, GRAY, SHORT, [0, 1])
    assert found.scores.min() > one_hot(random_rates, SITES).max()
    assert np.exp(found.scores).min() > 0.9


def test_a_pattern_is_reached():
    pattern = dict(zip(SITES, (25.0, 24.0, 18.0, 22.0, 30.0, 21.0), strict=True))
    target = TargetPattern(TargetPatternSettings(pattern=pattern))
    found = synthesize(ENCODER, {"pattern": target}, GRAY, SHORT, [0])
    assert found.predicted[0] == pytest.approx(list(pattern.values()), abs=1)


def test_an_image_is_the_same_alone_and_in_any_batch(stretched):
    alone = synthesize(ENCODER, {"s3": site("s3")}, GRAY, SHORT, [1])
    small = SHORT.model_copy(update={"batch_size": 5})
    in_fives = synthesize(ENCODER, {name: site(name) for name in SITES}, GRAY, small, [0, 1])
    for images, others in ((alone.images[0], stretched.images[7]), (in_fives, stretched)):
        images, others = getattr(images, "images", images), getattr(others, "images", others)
        assert np.abs(images.astype(int) - others).max() <= 1


def test_so_it_is_with_transformations():
    recipe = fourier_recipe(SIZE)
    settings = recipe.settings.model_copy(update={"n_steps": 30})
    together = synthesize(ENCODER, {n: site(n) for n in SITES}, recipe.space, settings, [3, 4])
    alone = synthesize(ENCODER, {"s5": site("s5")}, recipe.space, settings, [4])
    assert np.abs(together.images[-1].astype(int) - alone.images[0]).max() <= 1
    assert not np.array_equal(together.images[-2], together.images[-1])


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_climb(name):
    space, settings = RECIPES[name](SIZE)
    gentle = {"n_steps": 60, "penalties": PenaltySettings()}
    if name == "npc":  # 19 px are much of this small image
        gentle["transforms"] = TransformSettings(jitter_px=1)
    settings = settings.model_copy(update=gentle)
    found = synthesize(ENCODER, {"s0": site("s0")}, space, settings, [0])
    start = ENCODER.predict(starting_images(space, settings.constraints, [0]))
    assert found.scores[0] > start[0, 0] + 20


def test_a_recipe_takes_natural_moments_and_then_the_settings_that_were_asked_for():
    asked = {"n_steps": 7, "constraints": {"rms_contrast": 0.1}}
    settings = recipe_of("stimloop", SIZE, moments=(0.31, 0.17), changes=asked).settings
    assert (settings.n_steps, settings.constraints.mean) == (7, 0.31)
    assert settings.constraints.rms_contrast == 0.1
    assert recipe_of("npc", SIZE, moments=(0.31, 0.17)).settings.constraints.mean is None
    within = recipe_of("short", SIZE, moments=(0.31, 0.17), means=(0.1, 0.6)).settings.constraints
    assert (within.mean, within.mean_within, within.rms_contrast) == (None, (0.1, 0.6), 0.17)
    fixed = recipe_of("short", SIZE, changes={"constraints": {"mean": 0.4}}).settings.constraints
    assert (fixed.mean, fixed.mean_within) == (0.4, None)
    free = recipe_of("fourier", SIZE, changes={"constraints": {"mean_within": [0.2, 0.3]}})
    assert free.settings.constraints.mean is None
    with pytest.raises(SettingsError, match="no such recipe"):
        recipe_of("lucid", SIZE)
    with pytest.raises(SettingsError, match="n_stepz"):
        recipe_of("npc", SIZE, changes={"n_stepz": 3})


def test_the_recipe_of_the_study_is_as_published():
    recipe = npc_recipe()
    assert recipe.space.size_px == 299
    settings = recipe.settings
    assert (settings.n_steps, settings.learning_rate, settings.cosine_decay) == (200, 0.01, False)
    assert settings.transforms.jitter_px == 19
    assert settings.penalties.total_variation == 500
    assert settings.normalise_gradient


@pytest.mark.parametrize(
    "space",
    [
        PixelSpace(PixelSpaceSettings(size_px=SIZE)),
        FourierSpace(FourierSpaceSettings(size_px=SIZE)),
        GeneratorSpace(FourierGenerator(FourierSettings(size_px=SIZE, tiles=1))),
    ],
    ids=["pixels", "colour", "generator"],
)
def test_every_space_can_be_climbed(space, random_rates):
    found = synthesize(ENCODER, {"s1": site("s1")}, space, SHORT, [0])
    assert found.scores[0] > random_rates[:, 1].max()


def test_total_variation_smooths():
    space = PixelSpace(PixelSpaceSettings(size_px=SIZE))
    rough = synthesize(ENCODER, {"s0": site("s0")}, space, SHORT, [0])
    penalised = SHORT.model_copy(update={"penalties": PenaltySettings(total_variation=5e3)})
    smooth = synthesize(ENCODER, {"s0": site("s0")}, space, penalised, [0])

    def roughness(found):
        return (np.diff(found.images[0].astype(float), axis=1) ** 2).mean()

    assert roughness(smooth) < 0.8 * roughness(rough)


def test_distance_from_natural_images_is_kept_small():
    natural = NaturalDistance(natural_looking(60))
    space = PixelSpace(PixelSpaceSettings(size_px=SIZE))
    pulled = SHORT.model_copy(update={"penalties": PenaltySettings(unnaturalness=3)})

    def distance(settings):
        found = synthesize(ENCODER, {"s0": site("s0")}, space, settings, [0], natural=natural)
        pixels = torch.from_numpy(found.images / np.float32(255)).permute(0, 3, 1, 2)
        return natural(pixels).item()

    assert distance(pulled) < 0.5 * distance(SHORT)
    with pytest.raises(SettingsError, match="needs natural images"):
        synthesize(ENCODER, {"s0": site("s0")}, space, pulled, [0])


def test_diverse_images_differ_more():
    diverse = SHORT.model_copy(update={"diversity": 20.0, "batch_size": 2})
    seeds = [0, 1, 2]

    def alike(settings):
        found = synthesize(ENCODER, {"s0": site("s0")}, GRAY, settings, seeds)
        pixels = torch.from_numpy(found.images / np.float32(255)).permute(0, 3, 1, 2)
        return similarity(pixels).mean().item()

    assert alike(diverse) < alike(SHORT) - 0.1


class Fragile(GaborEncoder):
    """Breaks down (NaN, or no gradient) while the images of one seed are at their start."""

    def __init__(self, broken, times):
        super().__init__()
        self.broken, self.times = broken, times

    def rates(self, pixels):
        rates = super().rates(pixels)
        if pixels.requires_grad and self.times:
            self.times -= 1
            row = torch.arange(len(pixels))[:, None] == 1
            lost = 0.0 if self.broken == "flat" else float("nan") * pixels[1].sum()
            rates = torch.where(row, torch.zeros_like(rates) + lost, rates)
        return rates


@pytest.mark.parametrize("broken", ["nan", "flat"])
def test_a_lost_image_starts_anew_and_disturbs_no_other(broken, stretched):
    found = synthesize(Fragile(broken, 3), {"s0": site("s0")}, GRAY, SHORT, [0, 1])
    assert found.restarts.tolist() == [0, 2]
    assert np.abs(found.images[0].astype(int) - stretched.images[0]).max() <= 1
    assert found.scores[1] > 0.95 * stretched.scores[1]


def test_a_hopeless_image_is_reported_and_finite():
    found = synthesize(Fragile("nan", 1000), {"s0": site("s0")}, GRAY, SHORT, [0, 1])
    assert found.restarts.tolist() == [0, SHORT.max_restarts]
    assert np.isfinite(found.predicted).all()
    assert (
        np.array_equal(found.images[1], starting_images(GRAY, MATCHED, [1])[0])
        or found.scores[1] > ENCODER.predict(starting_images(GRAY, MATCHED, [1]))[0, 0]
    )


class WrongGradient(GaborEncoder):
    """Right rates, and the gradient of something else."""

    def rates(self, pixels):
        rates = super().rates(pixels)
        other = super().rates(pixels.roll(4, dims=3))
        return rates.detach() + other - other.detach()


def test_a_wrong_gradient_is_noticed():
    with pytest.raises(DataError, match="gradient is not that of its rates"):
        synthesize(WrongGradient(), {"s0": site("s0")}, GRAY, SHORT, [0, 1])


def test_progress_counts_every_image_and_step():
    told = []
    settings = SHORT.model_copy(update={"n_steps": 3, "batch_size": 2})
    synthesize(
        ENCODER, {"s0": site("s0")}, GRAY, settings, [0, 1, 2], progress=lambda *t: told.append(t)
    )
    assert told == [(2, 9), (4, 9), (6, 9), (7, 9), (8, 9), (9, 9)]


@pytest.mark.parametrize(
    ("objectives", "seeds"), [({}, [0]), ({"a": "s0"}, []), ({"a": "s0"}, [1, 1])]
)
def test_nothing_to_do_is_refused(objectives, seeds):
    chosen = {name: site(of) for name, of in objectives.items()}
    with pytest.raises(SettingsError, match="nothing to synthesise"):
        synthesize(ENCODER, chosen, GRAY, SHORT, seeds)


def test_unknown_sites_are_refused_at_once():
    with pytest.raises(SettingsError, match="not recorded"):
        synthesize(ENCODER, {"x": site("x")}, GRAY, SHORT, [0])


def test_of_several_starts_each_target_has_the_one_that_scores_highest_for_it():
    settings = SHORT.model_copy(update={"n_steps": 1, "learning_rate": 1e-9, "n_candidates": 12})
    wanted = {name: site(name) for name in SITES[:3]}
    found = synthesize(ENCODER, wanted, GRAY, settings, [5])
    one = settings.model_copy(update={"n_candidates": 1})
    drawn = GRAY.initial(12, image_stream(5, "candidates"))
    constraints = Constraints(settings.constraints, GRAY.size_px)
    rates = ENCODER.predict(constraints.levels(GRAY.images(drawn)).numpy())
    for column, score in enumerate(found.scores):
        assert score == pytest.approx(rates[:, column].max(), rel=0.02)
    assert (found.scores > synthesize(ENCODER, wanted, GRAY, one, [5]).scores).all()


COARSE = GeneratorSpace(
    FourierGenerator(FourierSettings(size_px=SIZE, tiles=1, max_cycles=4, colour=0))
)
"""Few waves: what the sites of 5 and 6 cycles an image prefer cannot be drawn."""


def climbed_on(n_steps, learning_rate=0.02, **changes):
    refinement = RefinementSettings(n_steps=n_steps, learning_rate=learning_rate)
    settings = SHORT.model_copy(update={"n_steps": 20, "refinement": refinement, **changes})
    wanted = {name: site(name) for name in SITES[1:3]}
    told = []
    found = synthesize(
        ENCODER, wanted, COARSE, settings, [4, 5], progress=lambda *at: told.append(at)
    )
    return found, told


def test_refinement_finds_what_the_first_space_cannot_draw():
    rough, fine = climbed_on(0)[0], climbed_on(60)[0]
    assert (fine.scores > 1.2 * rough.scores).all()
    values = fine.images.reshape(4, -1) / 255
    assert values.mean(axis=1) == pytest.approx(0.5, rel=0.01)
    assert values.std(axis=1) == pytest.approx(0.12, rel=0.01)


def test_refinement_begins_with_the_best_image_so_far():
    rough, same = climbed_on(0)[0], climbed_on(1, 1e-6)[0]
    assert np.abs(same.images.astype(int) - rough.images).max() <= 1
    assert same.scores == pytest.approx(rough.scores, rel=0.001)


def test_images_that_were_lost_before_the_refinement_are_reported():
    settings = SHORT.model_copy(update={"refinement": RefinementSettings(n_steps=5)})
    found = synthesize(Fragile("nan", 3), {"s0": site("s0")}, GRAY, settings, [0, 1])
    assert found.restarts.tolist() == [0, 2]


def test_refinement_is_part_of_the_progress():
    _, told = climbed_on(30)
    assert told[-1] == (4 * 50, 4 * 50)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_refined_behind_an_aperture_an_image_keeps_its_edge():
    aperture = ApertureSettings(diameter=0.7, edge=0.2)
    constraints = MATCHED.model_copy(update={"aperture": aperture})
    mask = aperture_mask(aperture, SIZE).numpy()
    rough = climbed_on(0, constraints=constraints)[0].images[..., 0] / 255 - aperture.background
    fine = (
        climbed_on(1, 1e-6, constraints=constraints)[0].images[..., 0] / 255 - aperture.background
    )
    assert (np.abs(fine[:, mask == 0]) < 0.003).all()
    edge = (mask > 0.3) & (mask < 0.7)
    for one, other in zip(rough, fine, strict=True):
        assert np.polyfit(one[edge], other[edge], 1)[0] == pytest.approx(1, abs=0.05)


def test_our_recipe_refines_in_short_steps():
    ours = recipe_of("stimloop", SIZE).settings
    assert ours.refinement.n_steps > 0
    assert ours.refinement.learning_rate < ours.learning_rate
    assert recipe_of("fourier", SIZE).settings.refinement.n_steps == 0
    assert recipe_of("npc", SIZE).settings.refinement.n_steps == 0


def test_our_recipe_climbs_in_the_bundled_generator():
    space = recipe_of("stimloop", SIZE).space
    assert isinstance(space, GeneratorSpace)
    assert space.size_px == SIZE
    (code,) = space.initial(1, image_stream(3))
    drawn = space.images(code[None])
    assert drawn.shape == (1, 3, SIZE, SIZE)
    assert 0 <= drawn.min() < drawn.max() <= 1


def many(**how):
    objectives = {name: SiteObjective(SiteSettings(site=name)) for name in SITES[:3]}
    settings = SHORT.model_copy(update={"n_steps": 12, "batch_size": 2, "n_candidates": 4})
    return synthesize(GaborEncoder(), objectives, GRAY, settings, [3, 1, 4], **how)


def test_images_do_not_depend_on_how_many_batches_climb_at_a_time():
    told = []
    one, three = many(), many(workers=3, progress=lambda done, total: told.append((done, total)))
    assert np.array_equal(one.images, three.images)
    assert np.array_equal(one.predicted, three.predicted)
    assert told[-1] == (9 * 12, 9 * 12)
    assert sorted(told) == told


def test_an_error_in_one_of_several_batches_is_told():
    def stop(done, total):
        raise KeyboardInterrupt if done > 20 else ValueError("told to end")

    with pytest.raises(ValueError, match="told to end"):
        many(workers=2, progress=stop)


def started(random, n=2):
    return {name: random.integers(60, 200, (n, SIZE, SIZE, 3)).astype(np.uint8) for name in SITES}


def test_images_improve_from_where_they_start(random):
    encoder, starts = GaborEncoder(), started(random)
    objectives = {name: SiteObjective(SiteSettings(site=name)) for name in SITES}
    settings = fourier_recipe(SIZE, colour=False).settings
    near = settings.model_copy(update={"n_steps": 4, "learning_rate": 0.05})
    far = settings.model_copy(update={"n_steps": 40, "learning_rate": 0.5})
    found = [improve(encoder, objectives, how, starts, [5, 6]) for how in (near, far)]
    matched = Constraints(settings.constraints, SIZE)
    for row, (target, seed) in enumerate(zip(found[0].targets, found[0].seeds, strict=True)):
        first = torch.from_numpy(starts[target][seed - 5] / np.float32(255)).permute(2, 0, 1)
        first = matched.levels(first[None]).numpy()
        before = encoder.predict(first)[0, SITES.index(target)]
        scores = [each.scores[row] for each in found]
        assert before < scores[0] < scores[1]
        moved = [np.abs(each.images[row].astype(int) - first[0]).mean() for each in found]
        assert moved[0] < moved[1]


def test_improved_images_do_not_depend_on_workers_nor_on_other_targets(random):
    encoder, starts = GaborEncoder(), started(random)
    settings = fourier_recipe(SIZE).settings.model_copy(update={"n_steps": 5, "batch_size": 2})
    objectives = {name: SiteObjective(SiteSettings(site=name)) for name in SITES}
    all_of_them = improve(encoder, objectives, settings, starts, [5, 6], workers=3)
    own = {SITES[2]: objectives[SITES[2]]}
    alone = improve(encoder, own, settings, starts, [5, 6])
    assert np.array_equal(alone.images, all_of_them.images[4:6])


def test_an_image_without_a_start_is_told(random):
    starts = started(random, n=1)
    objectives = {SITES[0]: SiteObjective(SiteSettings(site=SITES[0]))}
    with pytest.raises(SettingsError, match="a start of its own"):
        improve(GaborEncoder(), objectives, SHORT, starts, [5, 6])
