"""Numbers that stand for "not measured", such as −1 among counts: nobody may average them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError

CODES = (-1, -9, -99, -999, -9999)


def check_no_codes(values: NDArray[np.float64], where: str) -> str:
    """Refuse responses that hold a code for a missing one; a word about values below zero otherwise.

    A code is the only negative value among whole numbers that are 0 or more.

    Raises:
        DataError: If there is one.
    """
    known = values[np.isfinite(values)]
    negative = np.unique(known[known < 0])
    if not len(negative):
        return ""
    if len(negative) == 1 and negative[0] in CODES and (known % 1 == 0).all():
        raise DataError(
            f"{int((known < 0).sum())} responses are {negative[0]:g}, which stands for 'not measured'",
            where=where,
            expected="an empty cell or NaN where nothing was measured",
            got=f"{negative[0]:g} among whole numbers from 0 to {known.max():g}",
            remedy="replace it; or, if a baseline was subtracted, save rates in spikes/s",
        )
    return f"{int((known < 0).sum())} responses below 0, down to {negative[0]:g}"
