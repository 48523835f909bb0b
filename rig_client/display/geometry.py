"""Degrees of visual angle, centimetres and pixels of a flat screen that faces the subject."""

from __future__ import annotations

from math import atan, degrees, radians, tan
from typing import NamedTuple

Point = tuple[float, float]


class Box(NamedTuple):
    """A rectangle of whole pixels; the origin is the window's top left corner, y points down."""

    left: int
    top: int
    width: int
    height: int

    @property
    def centre(self) -> Point:
        """Its centre, in the same coordinates."""
        return self.left + self.width / 2, self.top + self.height / 2

    def overlaps(self, other: Box) -> bool:
        """Whether the two share a pixel."""
        return (
            self.left < other.left + other.width
            and other.left < self.left + self.width
            and self.top < other.top + other.height
            and other.top < self.top + self.height
        )

    def reaches(self, centre: Point, radius_px: float) -> bool:
        """Whether a disc shares a pixel with it."""
        x = min(max(centre[0], self.left), self.left + self.width)
        y = min(max(centre[1], self.top), self.top + self.height)
        return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius_px**2


class Geometry(NamedTuple):
    """A flat screen, looked at along its normal through its centre.

    Attributes:
        window_px: Width and height of the window, whose centre is straight ahead.
        px_per_cm: Pixels of the screen in a centimetre; they are square.
        distance_cm: From the eye to the screen.
    """

    window_px: tuple[int, int]
    px_per_cm: float
    distance_cm: float

    @classmethod
    def of_screen(
        cls, window_px: tuple[int, int], screen_width_px: int, width_cm: float, distance_cm: float
    ) -> Geometry:
        """Of a window on a screen that is `screen_width_px` and `width_cm` wide."""
        return cls(window_px, screen_width_px / width_cm, distance_cm)

    def length_px(self, angle_deg: float) -> float:
        """Length, in pixels, of what subtends `angle_deg` around the centre of the screen."""
        return 2 * self.distance_cm * tan(radians(angle_deg / 2)) * self.px_per_cm

    def angle_deg(self, length_px: float) -> float:
        """The angle that `length_px` subtends around the centre of the screen."""
        return degrees(2 * atan(length_px / self.px_per_cm / self.distance_cm / 2))

    def point_px(self, point_deg: Point) -> Point:
        """Window pixels of a point in degrees: x right, y up, from straight ahead, each on its axis."""
        x, y = (self.distance_cm * tan(radians(angle)) * self.px_per_cm for angle in point_deg)
        return self.window_px[0] / 2 + x, self.window_px[1] / 2 - y

    def point_deg(self, point_px: Point) -> Point:
        """The inverse of `point_px`."""
        x = (point_px[0] - self.window_px[0] / 2) / self.px_per_cm
        y = (self.window_px[1] / 2 - point_px[1]) / self.px_per_cm
        return degrees(atan(x / self.distance_cm)), degrees(atan(y / self.distance_cm))

    def box(self, centre_deg: Point, size_px: tuple[int, int]) -> Box:
        """Whole pixels for an image of `size_px`, as near to `centre_deg` as they can be."""
        x, y = self.point_px(centre_deg)
        width, height = size_px
        return Box(round(x - width / 2), round(y - height / 2), width, height)

    def contains(self, box: Box) -> bool:
        """Whether all of a box lies in the window."""
        width, height = self.window_px
        return (
            box.left >= 0
            and box.top >= 0
            and box.left + box.width <= width
            and box.top + box.height <= height
        )

    def edges_deg(self, box: Box) -> tuple[float, float, float, float]:
        """Left, bottom, right and top of a box, in degrees from straight ahead."""
        left, top = self.point_deg((box.left, box.top))
        right, bottom = self.point_deg((box.left + box.width, box.top + box.height))
        return left, bottom, right, top


def photodiode_box(corner: str, size_px: int, window_px: tuple[int, int]) -> Box:
    """The patch in a corner of the window: `top_left`, `bottom_right` …."""
    vertical, horizontal = corner.split("_")
    left = 0 if horizontal == "left" else window_px[0] - size_px
    top = 0 if vertical == "top" else window_px[1] - size_px
    return Box(left, top, size_px, size_px)
