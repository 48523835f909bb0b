"""A guided evolution: what an encoder proposes, and what the counts make of it."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.errors import DataError, SettingsError
from protocols.experiments.guide import Answers, Guide, GuideSettings, adopting
from protocols.settings import PluginChoice
from synth_server.synthesis.objectives import SiteObjective, SiteSettings
from synth_server.synthesis.optimizers.sphere_ascent import SphereAscent, SphereAscentSettings

DIM, POPULATION = 40, 12
WANTED = np.random.default_rng(1).standard_normal(DIM)
CHOICE = PluginChoice(name="site", options={"site": "a"})
AIM = (CHOICE, SiteObjective(SiteSettings(site="a")))
SITES = ("a",)


class FakeEncoder:
    site_ids = SITES


def toward(direction):
    """A `Guidance` that goes a part of the way to where `direction` points."""

    def guidance(encoder, objective, codes, seeds):
        assert len(set(seeds)) == len(codes)
        length = np.linalg.norm(codes, axis=1, keepdims=True)
        moved = codes + 0.4 * length * direction / np.linalg.norm(direction)
        return np.asarray(moved * length / np.linalg.norm(moved, axis=1, keepdims=True), np.float32)

    return guidance


def guide_of(guidance, fit=None, encoder=FakeEncoder(), **changes):
    settings = GuideSettings(**changes)
    return Guide(settings, fit, encoder, guidance, AIM, np.random.default_rng(5))


def evolved(guidance, n_generations=25, noise=3.0):
    """The mean true fitness of the last generation, and the guide."""
    random = np.random.default_rng(2)
    sample = lambda n, r: r.standard_normal((n, DIM), dtype=np.float32)  # noqa: E731
    settings = SphereAscentSettings(population=POPULATION, n_generations=n_generations)
    optimizer = SphereAscent(settings, sample, np.random.default_rng(3))
    guide = guide_of(guidance) if guidance else None
    fitness = np.zeros(POPULATION)
    for _ in range(n_generations):
        codes, guided = optimizer.ask(), (False,) * POPULATION
        if guide:
            codes, guided = guide.proposed(optimizer, codes)
        fitness = codes @ WANTED / np.linalg.norm(codes, axis=1)
        counted = fitness + noise * random.standard_normal(POPULATION)
        optimizer.tell(codes, counted)
        if guide:
            guide.learn([], SITES, counted, guided)
    return float(fitness.mean()), guide


def test_a_right_encoder_leads_and_a_wrong_one_does_little_harm():
    alone, _ = evolved(None)
    led, guide = evolved(toward(WANTED))
    misled, other = evolved(toward(-WANTED))
    assert led > alone + 0.5
    assert guide.n_guided == GuideSettings().share
    assert misled > 0.5 * alone
    assert other.n_guided == GuideSettings().probe


def test_guided_codes_come_last_as_long_as_the_others_and_the_optimizer_learns_of_them():
    optimizer = SphereAscent(
        SphereAscentSettings(population=POPULATION),
        lambda n, r: r.standard_normal((n, DIM), dtype=np.float32),
        np.random.default_rng(3),
    )
    asked = optimizer.ask()
    codes, guided = guide_of(toward(WANTED), share=0.25).proposed(optimizer, asked)
    assert guided == (False,) * 9 + (True,) * 3
    assert np.array_equal(codes[:9], asked[:9])
    assert np.linalg.norm(codes, axis=1) == pytest.approx(np.linalg.norm(asked, axis=1))
    assert (codes[9:] @ WANTED > asked[9:] @ WANTED).all()
    with pytest.raises(DataError, match="not the codes asked for"):
        optimizer.tell(asked, np.zeros(POPULATION))
    optimizer.tell(codes, np.zeros(POPULATION))


def test_while_it_does_not_pay_few_codes_are_guided_until_it_does():
    guide = guide_of(toward(WANTED), window=2, probe=1)
    marks = (False, True)
    guide.learn([], SITES, np.array([3.0, 1.0]), marks)
    assert guide.n_guided == 1
    guide.learn([], SITES, np.array([np.nan, 9.0]), marks)
    assert guide.n_guided == 1, "without a comparison nothing is known"
    guide.learn([], SITES, np.array([1.0, 9.0]), marks)
    assert guide.n_guided == 0.5


def test_it_is_fitted_when_there_is_enough_and_not_more_often_than_asked():
    fits = []

    def fit(images, responses, site_ids):
        fits.append((len(images), responses))
        return FakeEncoder()

    guide = guide_of(toward(WANTED), fit, None, least_images=5, every=2)
    asked = np.ones((2, DIM), np.float32)
    natural = np.zeros((1, 4, 4, 3), np.uint8)
    for number in range(1, 7):
        new = np.full((2, 4, 4, 3), number, np.uint8)
        new[1, 0] = 9
        shown = [(new, np.full((2, 1), number)), (natural, np.full((1, 1), float(number)))]
        guide.learn(shown, SITES, np.zeros(2), (False, False))
        if number == 1:
            codes, guided = guide.proposed(SphereAscent, asked)
            assert codes is asked
            assert not any(guided)
    assert [n for n, _ in fits] == [5, 9, 13]
    assert fits[0][1][0, 2, 0] == 1.5, (
        "an image that comes again is one, with the mean of its answers"
    )


def test_an_encoder_that_cannot_be_asked_is_not_asked():
    def without_b(images, responses, site_ids):
        return FakeEncoder()

    def none_at_all(images, responses, site_ids):
        raise DataError("no site can be fitted")

    of_b = PluginChoice(name="site", options={"site": "b"})
    for fit, aim in ((without_b, of_b), (none_at_all, CHOICE)):
        guide = guide_of(toward(WANTED), fit, None, least_images=2, every=1)
        guide.aim(aim, SiteObjective(SiteSettings(**aim.options)))
        images = np.arange(2 * 48, dtype=np.uint8).reshape(2, 4, 4, 3)
        guide.learn([(images, np.ones((2, 2)))], ("a", "b"), np.zeros(2), (False, False))
        asked = np.ones((2, DIM), np.float32)
        assert guide.proposed(SphereAscent, asked)[0] is asked


def test_with_another_aim_it_is_open_again_whether_it_pays():
    guide = guide_of(toward(WANTED))
    guide.learn([], SITES, np.array([3.0, 1.0]), (False, True))
    assert guide.n_guided == GuideSettings().probe
    guide.aim(*AIM)
    assert guide.n_guided == GuideSettings().share


def test_answers_are_means_of_what_was_measured():
    answers, image = Answers(), np.ones((1, 4, 4, 3), np.uint8)
    for row in ([2.0, np.nan], [4.0, np.nan]):
        answers.add(image, np.array([row]))
    assert len(answers) == 1
    assert np.array_equal(answers.means, [[3.0, np.nan]], equal_nan=True)


def test_an_optimizer_that_adopts_nothing_is_refused():
    with pytest.raises(SettingsError, match="cannot be guided"):
        adopting(object())
