"""What is kept of the images that an encoder was fitted to."""

import numpy as np
import pytest

from encoders.natural import natural_means, natural_moments, natural_statistics
from protocols.errors import DataError


@pytest.fixture
def natural():
    random = np.random.default_rng(3)
    low = random.integers(0, 120, size=(9, 1, 1, 1))
    return (low + random.integers(0, 100, size=(9, 16, 16, 3))).astype(np.uint8)


def test_moments_are_medians_over_images(natural):
    values = natural.astype(float).reshape(9, -1) / 255
    expected = np.median(values.mean(axis=1)), np.median(values.std(axis=1))
    assert natural_moments(natural) == pytest.approx(expected)


def test_each_site_has_its_own_scale_and_a_flat_one_can_still_be_compared(natural):
    rates = np.linspace(0, 8, 9)[:, None] * [1.0, 3.0, 0.0] + [2.0, 0.0, 7.0]
    found = natural_statistics(natural, rates, ("a", "b", "flat"))
    assert found.n_images == 9
    assert found.predicted_mean == pytest.approx({"a": 6.0, "b": 12.0, "flat": 7.0})
    assert found.predicted_max == pytest.approx({"a": 10.0, "b": 24.0, "flat": 7.0})
    assert found.predicted_sd["b"] == pytest.approx(3 * found.predicted_sd["a"])
    assert 0 < found.predicted_sd["flat"] < 0.01 * found.predicted_sd["b"]


def test_images_of_another_type_are_refused(natural):
    with pytest.raises(DataError):
        natural_moments(natural / 255)


def test_natural_means_are_those_of_nearly_all_images_and_allow_their_contrast(natural):
    means = natural.reshape(9, -1).mean(axis=1) / 255
    least, largest = natural_means(natural)
    assert means.min() < least < np.median(means) < largest < means.max()
    stark = np.zeros((40, 16, 16, 3), np.uint8)
    stark[:, 8:] = 255
    stark[0] = 3
    stark[1] = 252
    assert natural_means(stark) == pytest.approx((0.5, 0.5), abs=0.2)
