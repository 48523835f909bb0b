"""Evolved against natural images: what is known is found, and luck is no gain."""

from __future__ import annotations

import numpy as np
import pytest

from synth_server.readers.evolution.gains import (
    FINAL_GENERATIONS,
    compare_in_generations,
    compare_in_test,
)
from synth_server.readers.statistics import bootstrap, significance
from tests.unit.readers.stories import Story, image_id, noisy


def test_without_noise_the_gain_is_exact():
    story = Story()
    story.generation(0, {"e0": [12]}, {"a": [10], "b": [4]})
    story.generation(1, {"e1": [14]}, {"a": [10], "b": [4]})
    story.test({"e1": [21] * 4, "e2": [19] * 4}, {"a": [10] * 4}, {"b": [4] * 4})
    found = compare_in_test(story.thread, seed=1)
    assert found is not None
    assert found.gain.value == pytest.approx(2.0)
    assert (found.evolved.value, found.best_natural.value) == (20.0, 10.0)
    assert found.other_natural.value == 4.0
    assert found.best_natural_names == ("a",)
    assert (found.n_evolved, found.n_natural, found.n_other_natural) == (2, 2, 1)
    assert (found.n_evolved_showings, found.n_best_natural_showings) == (8, 4)
    assert (found.best_natural.low, found.best_natural.high) == (10.0, 10.0)
    assert found.gain.low == pytest.approx(1.9)
    assert found.gain.high == pytest.approx(2.1)
    assert found.score_difference.value == 10.0
    assert found.gain_over_highest == pytest.approx(2.0)
    assert found.sites[0].gain == found.gain


def test_luck_is_no_gain(monkeypatch):
    """All images drive the site alike: whichever is chosen as the best is scored at its true rate."""
    for module in (bootstrap, significance):
        monkeypatch.setattr(module, "N_RESAMPLES", 10)
    monkeypatch.setattr(significance, "N_PERMUTATIONS", 9)
    best, gains, naive = [], [], []
    for seed in range(150):
        random = np.random.default_rng(seed)
        alike = {f"n{i}": 6.0 for i in range(15)}
        story = Story()
        for number in range(4):
            story.generation(number, {f"e{number}": [6]}, noisy(random, alike, 1))
        evolved = noisy(random, {f"e{i}": 6.0 for i in range(10)}, 10)
        story.test(evolved, {}, noisy(random, alike, 10))
        found = compare_in_test(story.thread, seed)
        assert found is not None
        best.append(found.best_natural.value)
        gains.append(found.gain.value)
        naive.append(found.gain_over_highest)
    assert np.mean(best) == pytest.approx(6.0, abs=0.2)
    assert np.median(gains) == pytest.approx(1.0, abs=0.05)
    assert np.mean(naive) < 0.85


def test_intervals_hold_what_is_true():
    """Of 60 tests with a true gain of 1.5, nearly all intervals hold it."""
    held = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        story = Story()
        rates = {"a": 10.0, "b": 5.0, "c": 4.0}
        story.generation(0, {"e": [9]}, noisy(random, rates, 20))
        evolved = {f"e{i}": float(random.normal(15, 1)) for i in range(10)}
        story.test(noisy(random, evolved, 20), noisy(random, {"a": 10.0}, 20), {})
        found = compare_in_test(story.thread, seed)
        assert found is not None
        assert found.gain.low is not None
        assert found.gain.high is not None
        held += found.gain.low <= 1.5 <= found.gain.high
    assert 52 <= held <= 60


def test_a_lucky_start_chooses_nothing():
    """Photographs that came into the test by luck are not taken for the best on that luck again."""
    story = Story()
    story.start({"lucky": [40, 40], "good": [9, 9]})
    story.generation(0, {"e": [9]}, {"r": [3]})
    story.test({"e": [20] * 6}, {"lucky": [5] * 6, "good": [10] * 6}, {"r": [3] * 6})
    found = compare_in_test(story.thread, seed=1)
    assert found is not None
    assert found.best_natural_names == ("good",)
    assert found.gain.value == pytest.approx(2.0)


def test_each_half_chooses_for_the_other():
    story = Story()
    story.test({"e": [12] * 4}, {"x": [10, 2, 10, 2], "y": [3, 9, 3, 9]}, {})
    found = compare_in_test(story.thread, seed=1)
    assert found is not None
    assert set(found.best_natural_ids) == {image_id("x"), image_id("y")}
    assert found.best_natural.value == pytest.approx((2 + 3) / 2)
    assert found.n_best_natural_showings == 4


def test_a_single_showing_needs_earlier_ones():
    story = Story()
    story.test({"e": [12]}, {"x": [10], "y": [3]}, {})
    found = compare_in_test(story.thread, seed=1)
    assert found is not None
    assert found.gain.value is None
    assert found.best_natural_ids == ()
    assert found.evolved.value == 12.0
    story = Story()
    story.generation(0, {"e": [5]}, {"x": [2], "y": [3]})
    story.test({"e": [12]}, {"x": [10], "y": [4]}, {})
    known = compare_in_test(story.thread, seed=1)
    assert known is not None
    assert known.best_natural_names == ("y",)
    assert known.gain.value == pytest.approx(3.0)


def test_generations_stand_in_for_a_test():
    """The best reference is chosen in the first half, and scored in the second."""
    story = Story()
    for number in range(12):
        early = number < 6
        story.generation(
            number, {f"e{number}": [float(number)]}, {"x": [5 if early else 2], "y": [4]}
        )
    assert compare_in_test(story.thread, seed=1) is None
    found = compare_in_generations(story.thread, seed=1)
    assert found is not None
    assert found.best_natural_names == ("x",)
    assert found.best_natural.value == 2.0
    assert found.n_evolved == FINAL_GENERATIONS
    assert found.evolved.value == np.mean([7, 8, 9, 10, 11])
    assert found.gain_over_highest == pytest.approx(9 / 4)
    assert found.measured_in == "generations"


@pytest.mark.parametrize("n_generations", [0, 1])
def test_one_generation_says_nothing(n_generations):
    story = Story()
    for number in range(n_generations):
        story.generation(number, {"e": [3]}, {"x": [2]})
    assert compare_in_generations(story.thread, seed=1) is None


def test_no_references_no_comparison():
    story = Story()
    for number in range(4):
        story.generation(number, {f"e{number}": [3]}, {})
    assert compare_in_generations(story.thread, seed=1) is None


def test_the_best_is_what_the_objective_wants():
    """Who suppresses a site competes with the natural image that suppresses it most."""
    story = Story("suppress")
    story.generation(0, {"e": [5]}, {"loud": [9], "quiet": [2]})
    story.test({"e": [1] * 4}, {"quiet": [2] * 4}, {"loud": [9] * 4})
    found = compare_in_test(story.thread, seed=1)
    assert found is not None
    assert found.best_natural_names == ("quiet",)
    assert found.gain.value == pytest.approx(0.5)
    assert found.score_difference.value == pytest.approx(1.0)
    assert found.effect_size.value is None  # nothing varies


def test_the_same_log_has_the_same_intervals():
    random = np.random.default_rng(0)
    story = Story()
    story.test(noisy(random, {"e": 20.0, "f": 18.0}, 8), noisy(random, {"x": 9.0}, 8), {})
    assert compare_in_test(story.thread, seed=1) == compare_in_test(story.thread, seed=1)
    assert compare_in_test(story.thread, seed=1) != compare_in_test(story.thread, seed=2)
