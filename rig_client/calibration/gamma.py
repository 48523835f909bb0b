"""A screen's brightness: fits luminance readings, and makes the table that linearises it.

Model: `L(v) = L_min + (L_max − L_min) · v^γ`, v the level in 0..1 (Brainard, Pelli & Robson 2002,
Display characterization). The readings themselves say how well that holds.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError
from protocols.text_files import read_text

LEVELS = (0, 32, 64, 96, 128, 160, 192, 224, 255)
LEAST_READINGS = 5
GAMMAS = np.linspace(0.2, 5.0, 4801)
POOR_FIT = 0.02
"""Largest deviation, of the range, that the model may leave."""


class Gamma(NamedTuple):
    """A fitted screen.

    Attributes:
        exponent: γ.
        darkest_cd_m2: Luminance of level 0.
        brightest_cd_m2: Of level 255.
        worst: Largest deviation of a reading, as a part of the range.
    """

    exponent: float
    darkest_cd_m2: float
    brightest_cd_m2: float
    worst: float

    @property
    def background_cd_m2(self) -> float:
        """Luminance of the gray 128 once the screen is linear."""
        return self.darkest_cd_m2 + (self.brightest_cd_m2 - self.darkest_cd_m2) * 128 / 255


def fit_gamma(levels: Sequence[float], luminances_cd_m2: Sequence[float]) -> Gamma:
    """The exponent that fits readings best, in the least-squares sense.

    Args:
        levels: Gray levels, 0..255; at least five, the darkest at most 32, the brightest at least 224.
        luminances_cd_m2: A reading each.

    Raises:
        DataError: If they are too few, span too little, or do not rise.
    """
    v, readings = np.asarray(levels, np.float64) / 255, np.asarray(luminances_cd_m2, np.float64)
    _check(v, readings)
    order = np.argsort(v)
    v, readings = v[order], readings[order]
    best = min(GAMMAS, key=lambda gamma: _fitted(v**gamma, readings)[2])
    offset, gain, _ = _fitted(v**best, readings)
    worst = float(np.abs(offset + gain * v**best - readings).max() / np.ptp(readings))
    return Gamma(float(best), offset, offset + gain, worst)


def linearising_table(gamma: Gamma, n_levels: int = 256) -> NDArray[np.float64]:
    """`(n_levels, 3)` in 0..1: what the graphics card must be given for luminance linear in level."""
    return np.repeat(np.linspace(0, 1, n_levels)[:, None] ** (1 / gamma.exponent), 3, axis=1)


def write_table(table: NDArray[np.float64], path: Path) -> None:
    """As the display option `gamma_table` wants it."""
    np.savetxt(path, table, fmt="%.6f", header="red green blue")


def read_readings(path: Path) -> tuple[list[float], list[float]]:
    """Levels and luminances from a CSV file of two columns; a line of names may stand first.

    Raises:
        DataError: If it is none.
    """
    try:
        text = read_text(path)
        delimiter = next((d for d in (";", "\t") if d in text), ",")
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
        if rows and not _is_number(rows[0][0]):
            rows = rows[1:]
        return [_number(row[0]) for row in rows], [_number(row[1]) for row in rows]
    except (OSError, ValueError, IndexError) as error:
        raise DataError(
            "the readings cannot be read",
            where=str(path),
            expected="two columns: level (0 to 255), luminance in cd/m²",
            got=error,
        ) from None


def _fitted(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """Offset, gain and squared error of the line through `y` over `x`."""
    gain, offset = np.polyfit(x, y, 1)
    return float(offset), float(gain), float(((offset + gain * x - y) ** 2).sum())


def _check(v: NDArray[np.float64], readings: NDArray[np.float64]) -> None:
    wrong = ""
    if len(v) != len(readings) or len(v) < LEAST_READINGS:
        wrong = f"{len(v)} levels, {len(readings)} readings"
    elif not (np.isfinite(readings).all() and (readings >= 0).all()):
        wrong = "a reading that is negative or no number"
    elif v.min() < 0 or v.max() > 1 or v.min() > 32 / 255 or v.max() < 224 / 255:
        wrong = f"levels from {255 * v.min():g} to {255 * v.max():g}"
    elif readings[v.argmax()] <= readings[v.argmin()]:
        wrong = "the brightest level is not brighter than the darkest"
    if wrong:
        raise DataError(
            "these readings do not tell a screen's gamma",
            expected=f"{LEAST_READINGS} or more levels from at most 32 to at least 224, with "
            "luminances that rise",
            got=wrong,
            remedy="measure in the dark, the meter on the patch, after the screen has warmed up",
        )


def _number(text: str) -> float:
    """Decimal commas are read, too: only where cells are not separated by commas can there be any."""
    return float(text.replace(",", "."))


def _is_number(text: str) -> bool:
    try:
        _number(text)
    except ValueError:
        return False
    return True
