"""The pixels of a hand-held stimulus, on the background; made here, so that they are known."""

from __future__ import annotations

from math import ceil, cos, hypot, radians, sin
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rig_client.display.geometry import Geometry
from rig_client.handmap.state import Stimulus

Floats = NDArray[np.float32]
N_PHASES = 16
"""Pictures of a grating in one cycle of its drift."""
LARGEST_PX = 2048


class Look(NamedTuple):
    """One of the pictures that a stimulus is made of.

    Attributes:
        sign: 1, or −1 while its contrast is reversed.
        phase: Of a grating, 0..1 of a cycle.
    """

    sign: int = 1
    phase: float = 0.0


def look_at(stimulus: Stimulus, time_s: float) -> Look:
    """Which of its pictures is shown at a time."""
    if not stimulus.flicker_hz:
        return Look()
    cycle = (time_s * stimulus.flicker_hz) % 1.0
    if stimulus.kind == "grating" and stimulus.motion == "drifts":
        return Look(1, int(cycle * N_PHASES) / N_PHASES)
    return Look(1 if cycle < 0.5 else -1)


def picture(
    stimulus: Stimulus,
    look: Look,
    geometry: Geometry,
    background: int,
    photographs: list[NDArray[np.uint8]],
) -> NDArray[np.uint8]:
    """`(height, width, 3) uint8`, 0 at the top, its centre in the middle.

    A degree has as many pixels as at the screen's centre, as in all images.

    Args:
        stimulus: What.
        look: Which moment of its flicker.
        geometry: Of the window.
        background: Gray level, 0 to 255.
        photographs: To choose from; `(height, width, 3)` each.
    """
    sign = stimulus.polarity * look.sign * stimulus.contrast
    if stimulus.kind == "photograph":
        return _photograph(stimulus, sign, geometry, background, photographs)
    length = min(geometry.length_px(stimulus.size_deg), LARGEST_PX)
    angle = radians(stimulus.orientation_deg)
    if stimulus.kind == "grating":
        x, y = _plane(ceil(length), ceil(length))
        inside = np.clip(length / 2 - np.hypot(x, y) + 0.5, 0, 1)
        across = -x * sin(angle) + y * cos(angle)
        cycles = across / geometry.length_px(1.0) * stimulus.frequency_cpd - look.phase
        wave = np.sin(2 * np.pi * cycles) * inside
        return _gray(background + sign * min(background, 255 - background) * wave)
    width = geometry.length_px(stimulus.width_deg)
    columns = ceil(abs(length * cos(angle)) + abs(width * sin(angle))) + 1
    rows = ceil(abs(length * sin(angle)) + abs(width * cos(angle))) + 1
    x, y = _plane(columns, rows)
    along = np.abs(x * cos(angle) + y * sin(angle))
    across = np.abs(-x * sin(angle) + y * cos(angle))
    inside = np.clip(length / 2 - along + 0.5, 0, 1) * np.clip(width / 2 - across + 0.5, 0, 1)
    room = 255 - background if sign > 0 else background
    return _gray(background + sign * room * inside)


def _plane(columns: int, rows: int) -> tuple[Floats, Floats]:
    """x to the right and y up, in pixels from the middle: `(1, columns)` and `(rows, 1)`."""
    x = np.arange(columns, dtype=np.float32) - (columns - 1) / 2
    y = (rows - 1) / 2 - np.arange(rows, dtype=np.float32)
    return x[None, :], y[:, None]


def _gray(levels: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.repeat(np.rint(levels).clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def _photograph(
    stimulus: Stimulus,
    sign: float,
    geometry: Geometry,
    background: int,
    photographs: list[NDArray[np.uint8]],
) -> NDArray[np.uint8]:
    image = photographs[stimulus.photograph % len(photographs)]
    height, width = image.shape[:2]
    long_px = min(geometry.length_px(stimulus.size_deg), LARGEST_PX / hypot(1, 1))
    scale = long_px / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    scaled = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    levels = background + sign * (np.asarray(scaled, np.float32) - background)
    shown = Image.fromarray(np.rint(levels).clip(0, 255).astype(np.uint8))
    turned = shown.rotate(
        stimulus.orientation_deg,
        Image.Resampling.BICUBIC,
        expand=True,
        fillcolor=(background,) * 3,
    )
    return np.asarray(turned)
