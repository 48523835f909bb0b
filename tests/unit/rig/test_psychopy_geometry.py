"""Degrees and pixels. The figures were worked out by hand, from the definition of an angle."""

from __future__ import annotations

from math import atan, degrees, radians, tan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig_client.display.geometry import Box, Geometry, photodiode_box

SCREEN = Geometry.of_screen((1920, 1080), screen_width_px=1920, width_cm=48.0, distance_cm=60.0)
"""40 pixels a centimetre."""


def test_a_length_is_measured_around_the_centre():
    assert SCREEN.px_per_cm == 40
    # 10°: 2 · 60 cm · tan 5° = 10.4986 cm
    assert SCREEN.length_px(10) == pytest.approx(419.945, abs=1e-3)
    assert SCREEN.angle_deg(419.945) == pytest.approx(10, abs=1e-4)


def test_at_57_cm_a_degree_is_a_centimetre():
    screen = Geometry.of_screen((1000, 1000), 1000, width_cm=10, distance_cm=57.29)
    assert screen.length_px(1) == pytest.approx(100, rel=1e-3)


def test_right_is_right_and_up_is_up():
    x, y = SCREEN.point_px((5, 3))
    assert x == pytest.approx(960 + 60 * tan(radians(5)) * 40)
    assert y == pytest.approx(540 - 60 * tan(radians(3)) * 40)
    assert SCREEN.point_px((0, 0)) == (960, 540)


@given(st.floats(-40, 40), st.floats(-40, 40))
def test_points_come_back(x, y):
    assert SCREEN.point_deg(SCREEN.point_px((x, y))) == pytest.approx((x, y), abs=1e-9)


def test_a_window_on_a_larger_screen_has_the_pixels_of_the_screen():
    small = Geometry.of_screen((800, 600), screen_width_px=1920, width_cm=48, distance_cm=60)
    assert small.length_px(3) == SCREEN.length_px(3)
    assert small.point_px((0, 0)) == (400, 300)


@pytest.mark.parametrize(
    ("size", "box"),
    [((256, 256), (832, 412, 256, 256)), ((255, 101), (832, 490, 255, 101))],
)
def test_an_image_lies_on_whole_pixels(size, box):
    assert SCREEN.box((0, 0), size) == box


@pytest.mark.parametrize("centre", [(-24, 0), (24, 0), (0, 14), (0, -14)])
def test_an_image_beyond_the_window_is_not_contained(centre):
    assert not SCREEN.contains(SCREEN.box(centre, (256, 256)))


def test_an_image_as_large_as_the_window_fits():
    box = SCREEN.box((0, 0), (1920, 1080))
    assert box == (0, 0, 1920, 1080)
    assert SCREEN.contains(box)


def test_the_edges_of_a_box_in_degrees():
    """40 px a centimetre, 60 cm away: 240 px beside the centre is 6 cm, atan(0.1)."""
    edges = SCREEN.edges_deg(Box(960 - 240, 540, 480, 240))
    angle = degrees(atan(0.1))
    assert edges == pytest.approx((-angle, -angle, angle, 0))


@pytest.mark.parametrize(
    ("corner", "box"),
    [
        ("top_left", (0, 0, 60, 60)),
        ("top_right", (740, 0, 60, 60)),
        ("bottom_left", (0, 540, 60, 60)),
        ("bottom_right", (740, 540, 60, 60)),
    ],
)
def test_the_patch_is_in_its_corner(corner, box):
    assert photodiode_box(corner, 60, (800, 600)) == box


def test_neighbours_do_not_overlap():
    box = Box(10, 10, 5, 5)
    assert not box.overlaps(Box(15, 10, 5, 5))
    assert not box.overlaps(Box(10, 5, 5, 5))
    assert box.overlaps(Box(14, 14, 5, 5))


def test_a_disc_can_pass_a_corner_that_its_square_covers():
    corner = Box(0, 0, 10, 10)
    assert not corner.reaches((20, 20), 14.1)
    assert corner.reaches((20, 20), 14.2)
