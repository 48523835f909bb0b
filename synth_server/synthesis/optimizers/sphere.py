"""Codes of one norm: a sphere, its tangents, and a ceiling on norms.

What a generator draws depends on a code's direction; its norm sets contrast and, far from the norms
that the generator knows, artefacts. Gradient-free optimizers let the norm grow without limit (Wang &
Ponce 2022, Fig. 6), so theirs keeps it constant. Where a norm is not given, it is that of codes from
the generator's own prior.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TINY = 1e-12
N_GENERATIONS = 75
"""Over which a schedule runs where nobody says how many there are (Wang & Ponce 2022)."""


def typical_norm(codes: NDArray[np.floating]) -> float:
    """Root mean square of the norms of `codes` `(n, code_dim)`; 1 if all are zero."""
    squares = np.square(np.asarray(codes, np.float64)).sum(axis=1)
    return float(np.sqrt(squares.mean())) or 1.0


def directions(codes: NDArray[np.floating]) -> Floats:
    """`(…, code_dim)` at norm 1; zero stays zero."""
    values = np.asarray(codes, np.float64)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), TINY))


def tangents(vectors: Floats, at: Floats) -> Floats:
    """What of `vectors` `(n, code_dim)` is perpendicular to the direction `at` `(code_dim,)`."""
    return np.asarray(vectors - np.outer(vectors @ at, at), np.float64)


def walked(start: Floats, steps: Floats) -> Floats:
    """Ends of great circles that leave the direction `start` `(code_dim,)` along tangents.

    The exponential map of the unit sphere: `cos|t| · start + sin|t| · t / |t|`.

    Args:
        start: A direction.
        steps: `(…, code_dim)`, perpendicular to `start`; their norms are angles in radians.
    """
    angles = np.linalg.norm(steps, axis=-1, keepdims=True)
    ends = np.cos(angles) * start + np.sinc(angles / np.pi) * steps
    return directions(ends)


def steps_to(ends: Floats, start: Floats) -> Floats:
    """The tangents at `start` that lead to the directions `ends` `(n, code_dim)`: undoes `walked`."""
    along = ends @ start
    across = tangents(ends, start)
    lengths = np.linalg.norm(across, axis=1)
    return np.asarray(across * (np.arctan2(lengths, along) / np.maximum(lengths, TINY))[:, None])


def with_ceiling(codes: Floats, ceiling: float | None) -> Floats:
    """`codes` `(n, code_dim)`, those above the norm `ceiling` shrunk to it; None: as they are."""
    if ceiling is None:
        return codes
    norms = np.linalg.norm(codes, axis=1, keepdims=True)
    return np.asarray(codes * np.minimum(1.0, ceiling / np.maximum(norms, TINY)), np.float64)


def spread(codes: NDArray[np.floating]) -> float:
    """Standard deviation of a gene over `codes` `(n, code_dim)`, RMS over genes.

    1 if it is zero, as for a single code.
    """
    values = np.asarray(codes, np.float64)
    return float(np.sqrt(values.var(axis=0, ddof=min(1, len(values) - 1)).mean())) or 1.0
