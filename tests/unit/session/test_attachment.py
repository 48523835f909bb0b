"""What is refused when a rig attaches, before an image is shown."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.documents import RigAttached, ThreadSettings
from protocols.errors import Refusal
from protocols.rig_description import DisplayDescription, RigDescription
from protocols.vocabulary import Block, Placement, Role, Timing
from synth_server.session.attachment import check_can_show, check_same_rig

SCREEN = DisplayDescription(
    name="screen",
    size_px=(800, 600),
    distance_cm=57,
    place=Placement(size_deg=4),
    refresh_hz=60,
    bounds_deg=(-20, -15, 20, 15),
    patch_deg=(16, -15, 20, -11),
)


def attached(**rig) -> RigAttached:
    described = RigDescription(**({"display": SCREEN} | rig))
    return RigAttached(rig_id="r", site_ids=("a",), software="", rig=described)


def thread(x_deg: float, y_deg: float) -> ThreadSettings:
    place = Placement(x_deg=x_deg, y_deg=y_deg, size_deg=4)
    return ThreadSettings(name="t", protocol="p", place=place)


@pytest.mark.parametrize(
    ("rig", "x_deg", "y_deg", "told"),
    [
        (attached(), 19, 0, "off the screen"),
        (attached(), 0, -14, "off the screen"),
        (attached(), 17, -12, "photodiode"),
        (attached(display=None), 0, 0, "knows nothing of"),
    ],
)
def test_a_place_where_nothing_can_be_shown_is_refused(rig, x_deg, y_deg, told):
    with pytest.raises(Refusal, match=f"thread t.*{told}"):
        check_can_show(rig, [thread(x_deg, y_deg)], [])


def test_a_place_on_the_screen_is_not_and_without_one_no_screen_is_needed():
    check_can_show(attached(), [thread(-10, 5)], [])
    check_can_show(attached(display=None), [ThreadSettings(name="t", protocol="p")], [])


def test_a_recorder_that_only_counts_is_refused_where_times_are_required():
    images = np.zeros((1, 2, 2, 3), np.uint8)
    block = Block.of(images, roles=Role.NATURAL, timing=Timing(require_times=True)).at(0, "t")
    with pytest.raises(Refusal, match="require_times"):
        check_can_show(attached(), [], [block])
    check_can_show(attached(tick_hz=30_000), [], [block])


def test_another_display_is_refused_and_a_refresh_rate_measured_anew_is_not():
    def with_display(**change):
        return attached(display=SCREEN.model_copy(update=change))

    check_same_rig(attached(), with_display(refresh_hz=60.4))
    for change in ({"distance_cm": 40}, {"refresh_hz": 75}, {"place": Placement(size_deg=8)}):
        with pytest.raises(Refusal, match=next(iter(change))):
            check_same_rig(attached(), with_display(**change))
    with pytest.raises(Refusal, match="simulated"):
        check_same_rig(attached(), attached(simulated=("acquisition: simulated",)))
