"""Mean, standard error and best of the scores of a generation's images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.settings import Frozen


class Scores(Frozen):
    """Mean, standard error and best of the objective over a generation's images."""

    n: int
    mean: float | None
    sem: float | None
    best: float | None


def scores(values: NDArray[np.float64]) -> Scores:
    """Mean, SEM (sample SD / √n) and best of `(n,)` values; None where they are undefined."""
    n = len(values)
    return Scores(
        n=n,
        mean=float(values.mean()) if n else None,
        sem=float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else None,
        best=float(values.max()) if n else None,
    )
