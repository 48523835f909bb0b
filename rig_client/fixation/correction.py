"""Correction of an eye tracker's gaze: an affine map, changed at the rig and undone again."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rig_client.fixation.tracker import Gaze, Point

logger = logging.getLogger(__name__)

Affine: TypeAlias = NDArray[np.float64]
"""`(2, 3)`: corrected = matrix @ (x, y, 1), in degrees."""
UNCHANGED: Affine = np.eye(2, 3)
WORST_CONDITION = 1e3
"""Of the looked-at places of a calibration; beyond, they lie on a line or in one point."""


class Correction:
    """What is added to, and how it is stretched, what the tracker says.

    Args:
        path: Keeps it for a rig that is restarted; None: it is not kept.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._maps: list[Affine] = [UNCHANGED, *_kept(path)]

    @property
    def can_be_undone(self) -> bool:
        """Whether anything was changed."""
        return len(self._maps) > 1

    def __call__(self, gaze: Gaze) -> Gaze:
        """The sample, corrected."""
        x_deg, y_deg = self._maps[-1] @ (gaze.x_deg, gaze.y_deg, 1.0)
        return gaze._replace(x_deg=float(x_deg), y_deg=float(y_deg))

    def shift(self, offset_deg: Point) -> None:
        """Add to what is there."""
        moved = self._maps[-1].copy()
        moved[:, 2] += offset_deg
        self._add(moved)

    def replace(self, fitted: Affine) -> None:
        """In place of what is there."""
        self._add(fitted)

    def undo(self) -> None:
        """Back to before the last change; nothing happens if there was none."""
        if self.can_be_undone:
            self._maps.pop()
            self._keep()

    def _add(self, changed: Affine) -> None:
        self._maps.append(changed)
        self._keep()

    def _keep(self) -> None:
        """What cannot be written is used nevertheless, in this run."""
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            written = self._path.with_suffix(".new")
            written.write_text(json.dumps([one.tolist() for one in self._maps[1:]]), "utf-8")
            written.replace(self._path)
        except OSError as error:
            logger.error("the correction of gaze is not kept: %s", error)


def _kept(path: Path | None) -> list[Affine]:
    """What an earlier run of this session has kept."""
    if path is None or not path.exists():
        return []
    try:
        maps = [np.array(one, np.float64) for one in json.loads(path.read_text("utf-8"))]
        if any(one.shape != (2, 3) or not np.isfinite(one).all() for one in maps):
            raise ValueError("no affine maps")
    except (OSError, ValueError) as error:
        logger.error("the correction of gaze in %s cannot be used: %s", path, error)
        return []
    if maps:
        logger.warning("gaze is corrected as before; U undoes the last correction (%s)", path)
    return maps


def fitted(looked_at: Sequence[Point], points: Sequence[Point]) -> tuple[Affine, float] | None:
    """The affine map of least squares from what a tracker said to the points that were shown.

    Args:
        looked_at: What the tracker said, degrees, uncorrected.
        points: What was shown, degrees.

    Returns:
        The map, and the root mean square distance that it leaves, in degrees (with the degrees of
        freedom that the fit has taken accounted for); None if the places don't determine it.
    """
    raw = np.column_stack([np.asarray(looked_at, np.float64), np.ones(len(looked_at))])
    shown = np.asarray(points, np.float64)
    if len(raw) < 4 or np.linalg.cond(raw[:, :2] - raw[:, :2].mean(axis=0)) > WORST_CONDITION:
        return None
    solution, *_ = np.linalg.lstsq(raw, shown, rcond=None)
    left = shown - raw @ solution
    rms_deg = float(np.sqrt((left**2).sum() / (len(raw) - 3)))
    correction: Affine = solution.T.astype(np.float64)
    return correction, rms_deg
