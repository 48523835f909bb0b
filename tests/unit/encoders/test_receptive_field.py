"""Receptive fields: a blob that was put somewhere is found there, in both units."""

import numpy as np
import pytest

from encoders.receptive_field import mask_field
from protocols.errors import DataError


def blob(h: int, w: int, y: float, x: float, sd: float) -> np.ndarray:
    rows, columns = np.mgrid[:h, :w] + 0.5
    return np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sd**2))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_gaussian_mask_is_found_on_a_map_that_is_not_square(sign):
    field = mask_field(sign * blob(12, 20, 4, 15, 1.5), "s", (120, 200), px_per_deg=20)
    assert (field.x_px, field.y_px) == (pytest.approx(150, abs=2), pytest.approx(40, abs=2))
    assert field.diameter_px == pytest.approx(2.355 * 15, rel=0.1)
    assert field.diameter_deg == pytest.approx(field.diameter_px / 20)
    assert (field.x_deg, field.y_deg) == (pytest.approx(2.5, abs=0.1), pytest.approx(1, abs=0.1))


def test_weak_noise_does_not_draw_the_centre_to_the_middle():
    noise = 0.2 * np.random.default_rng(0).random((12, 12))
    field = mask_field(blob(12, 12, 2, 2, 1) + noise, "s", (120, 120))
    assert field.x_px == pytest.approx(20, abs=4)
    assert field.diameter_deg is None


def test_a_mask_of_zeros_has_no_field_and_a_map_of_one_place_is_the_image():
    assert np.isnan(mask_field(np.zeros((4, 4)), "s", (40, 40)).x_px)
    field = mask_field(np.ones((1, 1)), "s", (40, 40))
    assert (field.x_px, field.y_px) == (20, 20)
    with pytest.raises(DataError, match="positive"):
        mask_field(np.ones((1, 1)), "s", (40, 40), px_per_deg=0)
