"""Showings, sorted by place: what all steps of the estimate start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from protocols.fields import FieldShowings
from synth_server.receptive_fields.coverage import coverage

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Places:
    """Where patches were shown, each place and patch size once.

    Attributes:
        x_deg: `(n_places,)` centres.
        y_deg: `(n_places,)`
        patch_deg: `(n_places,)` diameters.
        edge_deg: Width of the patches' soft edge.
        of_row: `(n,)` place of each showing of a patch.
        group: `(n,)` number of its texture and patch size: within one, places can be exchanged.
    """

    x_deg: Floats
    y_deg: Floats
    patch_deg: Floats
    edge_deg: float
    of_row: Ints
    group: Ints

    @classmethod
    def of(cls, shown: FieldShowings, edge_deg: float) -> Self:
        """Those of all showings but gray ones."""
        rows = ~shown.is_blank
        places = np.stack([shown.x_deg, shown.y_deg, shown.patch_deg], axis=1)[rows]
        distinct, of_row = np.unique(places, axis=0, return_inverse=True)
        kinds = np.stack([shown.patch_deg, shown.texture], axis=1)[rows]
        _, group = np.unique(kinds, axis=0, return_inverse=True)
        x, y, patch = distinct.T
        return cls(x, y, patch, edge_deg, of_row.reshape(-1), group.reshape(-1))

    def __len__(self) -> int:
        return len(self.x_deg)

    @property
    def smaller(self) -> NDArray[np.bool_]:
        """`(n_sizes - 1, n_places)`: which places have a patch of each size but the largest."""
        sizes = np.unique(self.patch_deg)[:-1]
        return np.asarray(self.patch_deg == sizes[:, None])

    @property
    def bounds_deg(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top of the outermost centres."""
        x, y = self.x_deg, self.y_deg
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())

    @property
    def step_deg(self) -> float:
        """Between neighbours of the widest grid."""
        widest = self.patch_deg == self.patch_deg.max()
        steps = np.diff(np.unique(self.x_deg[widest]))
        return float(steps.max()) if len(steps) else float(self.patch_deg.max())

    def covered(
        self, x_deg: Floats, y_deg: Floats, log_sigma: Floats
    ) -> tuple[Floats, tuple[Floats, Floats, Floats]]:
        """`(n_fields, n_places)` covered part of fields, and its derivatives by x, y and log σ.

        Args:
            x_deg: `(n_fields,)` centres; likewise `y_deg` and `log_sigma`.
        """
        dx, dy = x_deg[:, None] - self.x_deg, y_deg[:, None] - self.y_deg
        distance = np.maximum(np.hypot(dx, dy), 1e-6)
        part, by_d, by_s = np.zeros((3, len(x_deg), len(self)))
        for diameter in np.unique(self.patch_deg):
            rows = self.patch_deg == diameter
            found = coverage(float(diameter), self.edge_deg)(distance[:, rows], log_sigma)
            part[:, rows], by_d[:, rows], by_s[:, rows] = found
        return part, (by_d * dx / distance, by_d * dy / distance, by_s)
