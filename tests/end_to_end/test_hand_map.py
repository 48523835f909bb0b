"""A hand map in a real window: the mouse moves by X, a simulated subject sees the screen."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from protocols.errors import SpoolError
from protocols.fields import FieldPlace
from rig_client.handmap.session import HandMap
from rig_client.lock import check_no_hand_map
from rig_client.settings import RigSettings
from rig_client.spool import Spool
from tests.end_to_end.experimenter import Experimenter, experimenter

FIELDS_DEG = [[4.0, -2.5, 0.6], [-5.0, 3.0, 0.6]]
PATIENCE = 3000
"""Frames of a time that passes as fast as they can be drawn."""


def rig(folder: Path) -> RigSettings:
    subject = {
        "name": "placed",
        "options": {
            "population": {"name": "gabor_energy"},
            "n_sites": 2,
            "fields_deg": FIELDS_DEG,
        },
    }
    return RigSettings.model_validate(
        {
            "spool": folder / "spool",
            "display": {
                "name": "psychopy",
                "options": {
                    "full_screen": False,
                    "window_px": [640, 480],
                    "check_refresh": False,
                    "paced": False,
                    "width_cm": 40,
                    "fixation_spot_deg": 0.3,
                },
            },
            "acquisition": {"name": "simulated", "options": {"subject": subject}},
        }
    )


@pytest.fixture
def hand_map(screen: str, tmp_path: Path) -> Iterator[HandMap]:
    made = HandMap(rig(tmp_path), tmp_path / "map", [], Console(quiet=True))
    yield made
    made.close()


def until(hand_map: HandMap, condition: Callable[[], bool]) -> None:
    for _ in range(PATIENCE):
        hand_map.step()
        if condition():
            return
    pytest.fail(f"never within {PATIENCE} frames; {hand_map.hand}, {hand_map.reading()}")


def pixel_of(hand_map: HandMap, x_deg: float, y_deg: float) -> tuple[int, int]:
    x, y = hand_map.display.geometry.point_px((x_deg, y_deg))
    return int(x), int(y)


def own_window(hand_map: HandMap) -> tuple[str, int]:
    """Its screen and its number there: other tests' windows may have its title."""
    from pyglet.libs.x11 import xlib

    window = hand_map.display.window.winHandle
    return xlib.XDisplayString(window._x_display).decode(), window._window


def rates_with_bar_at(hand_map: HandMap, person: Experimenter, x_deg: float, y_deg: float) -> Any:
    """Mean over two seconds, once all that is counted is of the bar there."""
    person.move(*pixel_of(hand_map, x_deg, y_deg))
    until(hand_map, lambda: abs(hand_map.hand.stimulus.x_deg - x_deg) < 0.05)
    found, until_s = [], hand_map.display.now_s() + 3.0

    def is_over() -> bool:
        now_s = hand_map.display.now_s()
        if now_s > until_s - 2.0:
            found.append(hand_map.reading().rates)
        return now_s >= until_s

    until(hand_map, is_over)
    return np.mean(found, axis=0)


def test_the_mouse_finds_the_fields_of_simulated_sites_and_a_click_keeps_them(
    screen: str, hand_map: HandMap, tmp_path: Path
) -> None:
    first, second = (field[:2] for field in FIELDS_DEG)
    hand_map.step()  # the window is there
    with experimenter(*own_window(hand_map)) as person:
        person.press("f")  # it reverses: some moment of it is to any cell's liking
        person.click(320, 240, button=5)
        until(hand_map, lambda: hand_map.hand.stimulus.flicker_hz == 1.0)
        until(hand_map, lambda: hand_map.hand.stimulus.size_deg < 1.9)
        at_first = rates_with_bar_at(hand_map, person, *first)
        picture = person.picture()
        save_if_asked(picture)
        left, right, top, bottom = edges(picture)
        person.click(*pixel_of(hand_map, *first))
        at_second = rates_with_bar_at(hand_map, person, *second)
        away = rates_with_bar_at(hand_map, person, 4.0, 5.0)
        person.press("space")
        until(hand_map, lambda: hand_map.reading().baseline is not None)
        person.press("q")
        until(hand_map, lambda: hand_map.hand.is_over)
    x, y = hand_map.display.geometry.point_px(first)
    assert abs((left + right) / 2 - x) <= 1
    assert abs((top + bottom) / 2 - y) <= 1, "the bar is where the pointer is, y upwards"
    assert at_first[0] > 2 * max(at_second[0], away[0])
    assert at_second[1] > 5 * max(at_first[1], away[1])
    baseline = hand_map.reading().baseline
    assert baseline is not None
    assert (baseline < 10).all()
    check_files(hand_map, tmp_path / "map")


def edges(picture: np.ndarray) -> tuple[int, int, int, int]:
    """Left, right, top and bottom of what is not background, beside the fixation spot."""
    off = (picture != 128).any(axis=2)
    off[230:250, 310:330] = False
    rows, columns = np.flatnonzero(off.any(axis=1)), np.flatnonzero(off.any(axis=0))
    return columns[0], columns[-1] + 1, rows[0], rows[-1] + 1


def save_if_asked(picture: np.ndarray) -> None:
    """`STIMLOOP_PICTURE=FILE` keeps what was seen, for docs/images/hand-map.png."""
    if path := os.environ.get("STIMLOOP_PICTURE"):
        Image.fromarray(np.ascontiguousarray(picture)).save(path)


def check_files(hand_map: HandMap, folder: Path) -> None:
    """The point is there, with the rates of all sites; a thread can be placed by it."""
    begin, point = (json.loads(line) for line in (folder / "handmap.jsonl").open())
    assert begin["site_ids"] == list(hand_map.site_ids)
    assert set(begin["simulated"]) == {"psychopy", "simulated"}
    assert point["trouble"] == ""
    assert point["rates"].keys() == set(hand_map.site_ids)
    x, y, _ = FIELDS_DEG[0]
    assert (point["x_deg"], point["y_deg"]) == pytest.approx((x, y), abs=0.05)
    rows = list(csv.DictReader((folder / "handmap.csv").open()))
    assert [row["site"] for row in rows] == list(hand_map.site_ids)
    place = FieldPlace(fields=str(folder / "fields.json")).read().place()
    assert (place.x_deg, place.y_deg) == pytest.approx((x, y), abs=0.05)
    assert place.size_deg == 2.0, "the bar's length, in steps of half a degree"


def test_nothing_else_uses_the_rig_meanwhile(hand_map: HandMap, tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="another hand map is running"):
        HandMap(rig(tmp_path), tmp_path / "other", [], Console(quiet=True))
    with pytest.raises(SpoolError, match="a hand map is running"):
        check_no_hand_map(tmp_path / "spool")
    hand_map.close()
    check_no_hand_map(tmp_path / "spool")
    with (
        contextlib.closing(Spool(tmp_path / "spool", "monday")),
        pytest.raises(SpoolError, match="serves session monday"),
    ):
        HandMap(rig(tmp_path), tmp_path / "other", [], Console(quiet=True))
    assert not (tmp_path / "other").exists()
