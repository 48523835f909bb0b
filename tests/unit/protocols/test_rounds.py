"""Rounds between mapping and test, driven by hand; and what a noisy count is worth."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.digests import image_id
from protocols.experiments.one_hot_population import one_hot_population
from protocols.experiments.rounds import LEAST_ERROR, LearningSettings, round_of, shrunk
from protocols.experiments.stretch import stretch
from protocols.interfaces import SyntheticImages
from protocols.vocabulary import Role
from tests.unit.protocols.test_control_plans import (
    SITES,
    SIZE,
    MadeUpApparatus,
    played,
    rates_of,
    stimuli,
)

SETTINGS = {
    "n_seeds": 2,
    "mapping": {"repetitions": 2, "images_per_block": 4},
    "learning": {"rounds": 3, "n_images": 4, "repetitions": 2, "explore": 0.25, "emphasis": 5.0},
    "comparison": {"repetitions": 3, "images_per_block": 7, "best_natural": 2},
}


class LearningApparatus(MadeUpApparatus):
    """Images that climb from others are these, a little brighter where the target looks."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.starts: list[dict[str, np.ndarray]] = []
        self.n_made = 0

    def __call__(self, encoder, objectives, seeds):
        made = super().__call__(encoder, objectives, seeds)
        self.n_made += 1
        images = made.images + np.uint8(40 * self.n_made % 100)
        return made._replace(images=images, predicted=rates_of(images))

    def improved(self, encoder, objectives, starts, seeds):
        self.starts.append({name: images.copy() for name, images in starts.items()})
        parts = []
        for name in objectives:
            half = slice(0, SIZE // 2) if name == "left" else slice(SIZE // 2, SIZE)
            images = starts[name].astype(int)
            images[:, :, half] += 3 + np.arange(len(seeds))[:, None, None, None]
            parts.append(images.clip(0, 255).astype(np.uint8))
        images = np.concatenate(parts)
        targets = tuple(name for name in objectives for _ in seeds)
        return SyntheticImages(images, targets, tuple(seeds) * len(objectives), rates_of(images))


def blocks_of(apparatus, experiment=stretch, missing=frozenset(), **changes):
    settings = experiment.Settings(**{**SETTINGS, **changes})
    return played(experiment(settings, apparatus), missing)


def of_round(blocks, number):
    return [block for block in blocks if round_of(block.label) == number]


@pytest.fixture(scope="module")
def learned():
    apparatus = LearningApparatus()
    return apparatus, blocks_of(apparatus)


def test_rounds_lie_between_mapping_and_test(learned):
    _, blocks = learned
    order = [block.label.split(",")[0] for block in blocks]
    assert list(dict.fromkeys(order)) == ["mapping", "round 1", "round 2", "round 3", "test"]
    for number in (1, 2, 3):
        shown = of_round(blocks, number)
        names = [name for block in shown for name in block.stimulus_ids]
        made = stimuli(shown)
        assert {names.count(name) for name in names} == {2}
        assert {each.role for each in made.values()} == {Role.STRETCH}
        assert {t for each in made.values() for t in each.targets} == set(SITES)
        assert all("predicted" in each.label for each in made.values())
        assert any("from scratch" in each.label for each in made.values())
        assert any("from the best" in each.label for each in made.values())


def test_each_fit_gets_all_images_and_counts_so_far(learned):
    apparatus, blocks = learned
    assert len(apparatus.fitted) == 4
    n_images = [len(images) for images, *_ in apparatus.fitted]
    assert n_images == sorted(set(n_images)), "every round adds images"
    images, responses, site_ids, emphasis = apparatus.fitted[-1]
    shown = [b for b in blocks if b.label.startswith(("mapping", "round"))]
    assert {image_id(image) for image in images} == set(stimuli(shown))
    expected = rates_of(images).T
    assert np.nanmean(responses, axis=2) == pytest.approx(expected)
    assert site_ids == SITES
    targets = {key: each.targets for key, each in stimuli(shown).items()}
    for row, site in enumerate(SITES):
        own = np.array([site in targets[image_id(image)] for image in images])
        assert own.any()
        assert np.array_equal(emphasis[row], np.where(own, 5.0, 1.0))


def test_images_climb_from_the_best_so_far(learned):
    apparatus, _ = learned
    rates = rates_of(apparatus.natural.images)
    for column, site in enumerate(SITES):
        best = apparatus.natural.images[np.argmax(rates[:, column])]
        assert np.array_equal(apparatus.starts[0][site][0], best)
        highest = [rates_of(starts[site]).max(axis=0)[column] for starts in apparatus.starts]
        assert highest == sorted(highest), "what was reached is where the next round begins"
        assert highest[-1] > highest[0]


def of_test(blocks):
    """The made images of the test, and those of the rounds, by id."""
    test = stimuli([b for b in blocks if b.label.startswith("test")])
    made = {each.id: each for each in test.values() if each.role is Role.STRETCH}
    return made, stimuli([b for b in blocks if round_of(b.label)])


def test_the_test_shows_the_images_of_the_rounds_that_did_best(learned):
    apparatus, blocks = learned
    made, earlier = of_test(blocks)
    assert set(made) <= set(earlier)
    assert len(apparatus.starts) == 3, "nothing new was made for it"
    images = {id_: b.images[i] for b in blocks for i, id_ in enumerate(b.stimulus_ids)}
    for column, target in enumerate(SITES[:2]):
        own = [id_ for id_, each in earlier.items() if each.targets == (target,)]
        shown = [id_ for id_, each in made.items() if each.targets == (target,)]
        true = {id_: rates_of(images[id_][None])[0, column] for id_ in own}
        assert len(shown) == 2
        assert min(true[id_] for id_ in shown) >= np.median(list(true.values()))


@pytest.mark.parametrize("changes", [{"test": "new"}, {"rounds": 1, "n_images": 1, "explore": 0}])
def test_new_images_are_tested_where_asked_for_or_where_too_few_were_made(changes):
    apparatus = LearningApparatus()
    blocks = blocks_of(apparatus, learning={**SETTINGS["learning"], **changes})
    made, earlier = of_test(blocks)
    assert len(apparatus.starts) == (2 if "rounds" in changes else 4)
    assert [each.targets for each in made.values()].count(("left",)) == 2
    assert not set(made) & set(earlier)


def test_an_image_without_counts_is_no_obstacle():
    apparatus = LearningApparatus()
    rates = rates_of(apparatus.natural.images)
    best = int(np.argmax(rates[:, 0]))
    blocks = blocks_of(apparatus, missing={image_id(apparatus.natural.images[best])})
    assert of_round(blocks, 3)


def test_a_plan_is_a_function_of_its_seed_and_counts():
    digests = [[block.digest for block in blocks_of(LearningApparatus(seed))] for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_one_hot_population_learns_too():
    apparatus = LearningApparatus()
    blocks = blocks_of(apparatus, one_hot_population)
    roles = {each.role for each in stimuli(of_round(blocks, 2)).values()}
    assert roles == {Role.ONE_HOT_POPULATION}
    assert len(apparatus.fitted) == 4


@pytest.mark.parametrize("changes", [{"learning": {"rounds": 0}}, {"encoder": "an encoder"}])
def test_no_rounds_if_none_are_asked_for_or_there_is_nothing_to_teach(changes):
    apparatus = LearningApparatus()
    blocks = blocks_of(apparatus, **changes)
    assert not [block for block in blocks if round_of(block.label)]
    assert not apparatus.starts


@pytest.mark.parametrize(
    ("label", "number"),
    [
        ("round 12, repetition 0, images 0–9", 12),
        ("mapping, repetition 1", None),
        ("round table, repetition 1", None),
        ("", None),
    ],
)
def test_a_block_says_of_which_round_it_is(label, number):
    assert round_of(label) == number


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="less than or equal to 1"):
        LearningSettings(explore=1.5)


def test_counts_are_trusted_as_far_as_noise_allows(random):
    """The guess is nearer to the truth than either the counts or the predictions alone."""
    n = 4000
    predicted = random.uniform(5, 40, n)
    truth = (predicted + random.normal(0, 4, n)).clip(1)
    counts = random.poisson(truth[:, None], (n, 2)).astype(float)
    guess = shrunk(counts, predicted, np.zeros(n, bool))
    errors = [np.mean((x - truth) ** 2) for x in (guess, counts.mean(axis=1), predicted)]
    assert errors[0] < 0.8 * min(errors[1:])


def test_the_best_of_many_noisy_counts_is_not_believed(random):
    """All images are alike: the highest of 1000 single counts is luck."""
    counts = random.poisson(20.0, (1000, 1)).astype(float)
    guess = shrunk(counts, np.full(1000, 20.0), np.zeros(1000, bool))
    assert counts.max() > 34
    assert guess.max() < 20 + (1 + LEAST_ERROR) * 4


def test_what_was_not_measured_is_what_was_predicted():
    counts = np.array([[4.0, np.nan], [np.nan, np.nan], [9.0, 11.0]])
    guess = shrunk(counts, np.array([6.0, 7.0, 8.0]), np.zeros(3, bool))
    assert guess[1] == 7
    assert 4 < guess[0] < 6
    assert 8 < guess[2] < 10
    nothing = shrunk(np.full((2, 1), np.nan), np.array([1.0, 2.0]), np.zeros(2, bool))
    assert nothing.tolist() == [1.0, 2.0]
