"""Stretch and one-hot population, driven by hand: an apparatus that makes up encoders and images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from protocols import plugins
from protocols.digests import image_id
from protocols.errors import DataError, SettingsError
from protocols.experiments.comparison import best_natural, contrast_enhanced, distinct
from protocols.experiments.one_hot_population import one_hot_population
from protocols.experiments.stretch import stretch
from protocols.interfaces import PhotographSet, SyntheticImages
from protocols.seeds import random_stream
from protocols.steering import Steering
from protocols.vocabulary import BlockResponses, Outcome, Role

SITES = ("left", "right")
SIZE = 16
WINDOW_S = 0.1


def rates_of(images: np.ndarray) -> np.ndarray:
    """`(n, 2)` spikes/s: the brightness of either half."""
    values = images.astype(float)
    half = images.shape[2] // 2
    return np.stack(
        [values[:, :, :half].mean((1, 2, 3)), values[:, :, half:].mean((1, 2, 3))], axis=1
    )


class BrightnessEncoder:
    site_ids = SITES

    def predict(self, images):
        return rates_of(images) + np.array([100.0, 0.0])


class MadeUpApparatus:
    """Gives photographs of noise, and remembers what it was asked."""

    def __init__(self, seed: int = 0, n_images: int = 9) -> None:
        self.seed = seed
        self.fitted: list[tuple[Any, ...]] = []
        self.objectives: dict[str, Any] = {}
        self.required: list[str] = []
        self.sites: tuple[str, ...] = SITES
        self.steering = Steering()
        self.published: dict[str, str] = {}
        pixels = np.random.default_rng(4).integers(0, 256, (n_images, SIZE, SIZE, 3))
        dark = np.linspace(0.2, 0.9, n_images)[:, None, None, None]
        self.natural = PhotographSet(
            (pixels * dark).astype(np.uint8), tuple(f"photograph {i}" for i in range(n_images))
        )

    def photographs(self, source, n, size_px):
        return self.natural

    def objective(self, choice):
        self.required.append(choice.options.get("site"))
        return plugins.create("stimloop.objectives", choice)

    def publish(self, name, text):
        self.published[name] = text

    def random_stream(self, purpose):
        return random_stream(self.seed, purpose)

    def encoder(self, file):
        return BrightnessEncoder()

    def encoder_fit(self, choice):
        def fit(images, responses, site_ids, emphasis=None):
            self.fitted.append((images, responses, site_ids, emphasis))
            encoder = BrightnessEncoder()
            encoder.site_ids = self.sites
            return encoder

        return fit

    def synthesis(self, choice, natural):
        assert natural.shape[1:] == (SIZE, SIZE, 3)
        return self

    def __call__(self, encoder, objectives, seeds):
        self.objectives = dict(objectives)
        n = len(objectives) * len(seeds)
        images = np.stack([np.full((SIZE, SIZE, 3), 60 + i, np.uint8) for i in range(n)])
        targets = tuple(name for name in objectives for _ in seeds)
        return SyntheticImages(images, targets, tuple(seeds) * len(objectives), rates_of(images))

    def starting_images(self, seeds):
        return np.stack([np.full((SIZE, SIZE, 3), 10 + i, np.uint8) for i in range(len(seeds))])


def answers(block, missing=frozenset()):
    """Counts that follow `rates_of`, exactly."""
    counts = rates_of(block.images) * WINDOW_S
    shown = []
    for cue in block.cues():
        done = cue.stimulus_id not in missing
        shown.append(
            cue.presentation(
                onset_s=0,
                outcome=Outcome.COMPLETED if done else Outcome.FIXATION_BREAK,
                spike_counts=tuple(counts[cue.stimulus_index]) if done else None,
            )
        )
    return BlockResponses(block_index=0, site_ids=SITES, presentations=tuple(shown))


def played(plan, missing=frozenset()):
    """All blocks of a plan."""
    blocks = [next(plan).at(0, "t")]
    while True:
        try:
            blocks.append(plan.send(answers(blocks[-1], missing)).at(0, "t"))
        except StopIteration:
            return blocks


def run(experiment, apparatus, missing=frozenset(), **settings):
    chosen = {
        "n_seeds": 2,
        "mapping": {"repetitions": 2, "images_per_block": 4},
        "learning": {"rounds": 0},
        "comparison": {"repetitions": 3, "images_per_block": 7, "best_natural": 2},
        **settings,
    }
    blocks = played(experiment(experiment.Settings(**chosen), apparatus), missing)
    return (
        [block for block in blocks if block.label.startswith("mapping")],
        [block for block in blocks if block.label.startswith("test")],
    )


def stimuli(blocks):
    """Id → stimulus, over all blocks."""
    return {each.id: each for block in blocks for each in block.stimuli}


def test_every_natural_image_is_mapped_and_the_fit_gets_spikes_per_second():
    apparatus = MadeUpApparatus()
    never = image_id(apparatus.natural.images[3])
    mapping, _ = run(stretch, apparatus, {never})
    shown = [name for block in mapping for name in block.stimulus_ids]
    assert len(shown) == 18
    assert all(each.role is Role.NATURAL for block in mapping for each in block.stimuli)
    ((images, responses, site_ids, _),) = apparatus.fitted
    assert site_ids == SITES
    assert responses.shape == (2, 9, 2)
    known = np.arange(9) != 3
    expected = rates_of(images).T[:, known]
    assert responses[:, known].mean(axis=2) == pytest.approx(expected)
    assert np.isnan(responses[:, 3]).all()


def test_the_best_natural_images_are_those_of_the_mapping_and_are_shown_again():
    apparatus = MadeUpApparatus()
    _, test = run(stretch, apparatus)
    by_role = {role: [s for s in stimuli(test).values() if s.role is role] for role in Role}
    rates = rates_of(apparatus.natural.images)
    for column, site in enumerate(SITES):
        best = {apparatus.natural.names[i] for i in np.argsort(-rates[:, column])[:2]}
        assert {s.label for s in by_role[Role.BEST_NATURAL] if site in s.targets} == best
    assert [s.targets for s in by_role[Role.STRETCH]].count(("left",)) == 2
    assert len(by_role[Role.STRETCH]) == 4
    assert {s.targets for s in by_role[Role.NOISE]} == {SITES}
    assert len(by_role[Role.NOISE]) == 2
    assert {s.label for s in by_role[Role.CONTRAST_ENHANCED]} == {
        f"contrast × 1.5: {s.label}" for s in by_role[Role.BEST_NATURAL]
    }


def test_an_image_that_is_best_for_two_sites_is_shown_once_for_both():
    _, test = run(stretch, MadeUpApparatus())
    shared = [s for s in stimuli(test).values() if s.role is Role.BEST_NATURAL]
    assert any(s.targets == SITES for s in shared)
    for start in range(0, len(test), 2):
        ids = [name for block in test[start : start + 2] for name in block.stimulus_ids]
        assert len(ids) == len(set(ids)) == len(stimuli(test))


def test_the_test_shows_every_image_as_often_as_asked_in_an_order_of_its_own():
    _, test = run(stretch, MadeUpApparatus())
    shown = [name for block in test for name in block.stimulus_ids]
    assert {shown.count(name) for name in shown} == {3}
    n = len(stimuli(test))
    assert len({tuple(shown[start : start + n]) for start in (0, n, 2 * n)}) == 3


def test_controls_can_be_left_out():
    comparison = {"repetitions": 1, "contrast_gain": 1, "noise": False}
    _, test = run(stretch, MadeUpApparatus(), comparison=comparison)
    roles = {s.role for s in stimuli(test).values()}
    assert roles == {Role.STRETCH, Role.BEST_NATURAL}


def test_one_seed_one_session_another_seed_another():
    digests = [
        [b.digest for part in run(stretch, MadeUpApparatus(seed)) for b in part]
        for seed in (1, 1, 2)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_only_the_targets_asked_for():
    apparatus = MadeUpApparatus()
    _, test = run(stretch, apparatus, targets=("right",))
    assert set(apparatus.objectives) == {"right"}
    assert {s.targets for s in stimuli(test).values()} == {("right",)}


def test_sites_that_could_not_be_fitted_are_no_targets():
    apparatus = MadeUpApparatus()
    apparatus.sites = ("right",)
    run(stretch, apparatus)
    assert set(apparatus.objectives) == {"right"}
    with pytest.raises(DataError, match="no site that images can be made for"):
        run(stretch, apparatus, targets=("left",))
    with pytest.raises(DataError, match="no site that images can be made for"):
        run(one_hot_population, apparatus)


def test_a_target_that_no_rig_records_is_known_before_the_first_block():
    apparatus = MadeUpApparatus()
    settings = stretch.Settings(targets=("right", "nowhere"))
    next(stretch(settings, apparatus))
    assert apparatus.required == ["right", "nowhere"]


def test_one_hot_images_are_judged_by_z_scores_over_the_natural_images():
    apparatus = MadeUpApparatus()
    _, test = run(one_hot_population, apparatus, temperature=2.0)
    rates = rates_of(apparatus.natural.images)
    for site in SITES:
        options = apparatus.objectives[site].options
        assert options["site"] == site
        assert options["temperature"] == 2.0
        assert options["mean"]["left"] == pytest.approx(rates[:, 0].mean() + 100), "as predicted"
        assert options["sd"]["right"] == pytest.approx(rates[:, 1].std())
    z = (rates - rates.mean(axis=0)) / rates.std(axis=0)
    best = {apparatus.natural.names[i] for i in np.argsort(-(z[:, 0] - z[:, 1]))[:2]}
    found = {
        s.label
        for s in stimuli(test).values()
        if s.role is Role.BEST_NATURAL and "left" in s.targets
    }
    assert found == best, "as measured"
    assert Role.ONE_HOT_POPULATION in {s.role for s in stimuli(test).values()}


def test_with_an_encoder_the_mapping_only_chooses_images():
    apparatus = MadeUpApparatus()
    mapping, _ = run(stretch, apparatus, encoder="an encoder")
    assert mapping
    assert not apparatus.fitted


def test_with_candidates_too_nothing_is_mapped():
    apparatus = MadeUpApparatus()
    candidates = {
        "left": ("photograph 2", "photograph 4", "photograph 5"),
        "right": ("photograph 1",),
    }
    mapping, test = run(stretch, apparatus, encoder="an encoder", candidates=candidates)
    assert not mapping
    found = {s.label: s.targets for s in stimuli(test).values() if s.role is Role.BEST_NATURAL}
    assert found == {
        "photograph 2": ("left",),
        "photograph 4": ("left",),
        "photograph 1": ("right",),
    }


@pytest.mark.parametrize(
    "candidates", [{"left": ("photograph 2",)}, dict.fromkeys(SITES, ("none",))]
)
def test_candidates_must_name_natural_images_of_every_target(candidates):
    with pytest.raises(SettingsError, match="candidates lack natural images"):
        run(stretch, MadeUpApparatus(), encoder="an encoder", candidates=candidates)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"candidates": {"left": ("photograph 2",)}}, "candidates need an encoder"),
        ({"encoder": "x", "candidates": {"left": ()}}, "at least one image"),
        ({"targets": ("left", "left")}, "named twice"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        stretch.Settings(**settings)


def test_contrast_is_raised_and_the_mean_kept(random):
    image = random.normal(120, 25, (32, 32, 3)).clip(0, 255).astype(np.uint8)
    raised = contrast_enhanced(image, 1.5)
    assert raised.std() / image.std() == pytest.approx(1.5, rel=0.02)
    assert raised.mean() == pytest.approx(image.mean(), abs=1)


def test_contrast_that_cannot_be_had_is_approached():
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = 200
    assert image.std() < contrast_enhanced(image, 5.0).std() <= 127.5
    flat = np.full((8, 8, 3), 77, np.uint8)
    assert np.array_equal(contrast_enhanced(flat, 1.5), flat)


def test_unmeasured_images_are_never_the_best():
    scores = {"a": np.array([1.0, np.nan, 3.0, 2.0]), "b": np.full(4, np.nan)}
    assert best_natural(scores, 3) == {"a": (2, 3, 0), "b": ()}


def test_an_image_that_comes_twice_is_one(images):
    twice = PhotographSet(images[[0, 1, 0, 2]], ("a", "b", "c", "d"))
    assert distinct(twice).names == ("a", "b", "d")
