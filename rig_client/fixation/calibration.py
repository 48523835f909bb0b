"""Calibration at the rig: points on the screen, gaze at each, a reward for each accepted one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import hypot
from typing import NamedTuple, Protocol, runtime_checkable

from protocols.rig_description import DisplayDescription
from protocols.rig_interfaces import Display
from protocols.vocabulary import Placement
from rig_client.fixation.tracker import Gaze, Point

POLL_S = 1 / 60
MARGIN_DEG = 0.5
"""A point and what surrounds it, so much to each side, must lie on the screen, off the patch."""
REACTION_S = 0.15
"""Gaze before this, after a point has come on, is still at the one before."""


@runtime_checkable
class PointingDisplay(Display, Protocol):
    """A `Display` that can show a point to look at."""

    def point(self, point_deg: Point | None) -> None:
        """In place of the spot, from the next frame on; None: the spot again."""
        ...


class Steadiness(NamedTuple):
    """When gaze counts as looking at a point.

    Attributes:
        hold_s: How long it must be steady.
        spread_deg: How far its samples may lie from their mean meanwhile.
        patience_s: How long a point is shown at most.
    """

    hold_s: float
    spread_deg: float
    patience_s: float


def points_around(centre_deg: Point, reach_deg: Point, n: int) -> list[Point]:
    """The centre, then the middles of the edges; with 9, the corners too, `reach_deg` away."""
    edges = [(1, 0), (0, 1), (-1, 0), (0, -1)]
    corners = [(1, 1), (-1, -1), (-1, 1), (1, -1)]
    steps = [(0, 0), *edges, *(corners if n == 9 else [])]
    (x, y), (reach_x, reach_y) = centre_deg, reach_deg
    return [(x + i * reach_x, y + j * reach_y) for i, j in steps]


def lies_on(described: DisplayDescription, point_deg: Point) -> bool:
    """Whether a point can be shown on a screen; on an unknown one, any can."""
    x, y = point_deg
    return not described.why_not(Placement(x_deg=x, y_deg=y, size_deg=2 * MARGIN_DEG))


def looked_at(
    display: PointingDisplay,
    point_deg: Point,
    gaze: Callable[[], Gaze | None],
    steady: Steadiness,
    interrupted: Callable[[], bool],
) -> Point | None:
    """Show a point until gaze is steady; returns where the tracker says it is.

    Args:
        display: Shows the point.
        point_deg: Where.
        gaze: The tracker's sample, uncorrected; None without a valid one.
        steady: What is waited for.
        interrupted: Asked in every frame.

    Returns:
        Degrees, the mean of the steady samples; None if it was interrupted, or took too long.
    """
    display.point(point_deg)
    display.blank(REACTION_S)
    began_s = display.now_s()
    recent: deque[tuple[float, Gaze]] = deque()
    while (now_s := display.now_s()) < began_s + steady.patience_s:
        if interrupted():
            return None
        sample = gaze()
        if sample is None:
            recent.clear()
        else:
            recent.append((now_s, sample))
            place = mean_place([one for _, one in recent])
            if spread([one for _, one in recent], place) > steady.spread_deg:
                recent.popleft()
            elif now_s - recent[0][0] >= steady.hold_s:
                return place
        display.blank(POLL_S)
    return None


def mean_place(samples: list[Gaze]) -> Point:
    """The mean of at least one sample, degrees."""
    n = len(samples)
    return sum(one.x_deg for one in samples) / n, sum(one.y_deg for one in samples) / n


def spread(samples: list[Gaze], centre_deg: Point) -> float:
    """The largest distance of a sample from a place, degrees."""
    return max(hypot(one.x_deg - centre_deg[0], one.y_deg - centre_deg[1]) for one in samples)
