"""Whose turn it is: an optimizer is asked, then told, then asked again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError, StimloopError
from protocols.vocabulary import Codes


class Turns:
    """Guards the order ask, tell, ask, tell …, and that what is told answers what was asked."""

    def __init__(self) -> None:
        self._asked: Codes | None = None

    def ask(self, codes: Codes) -> Codes:
        """Note that `codes` `(population, code_dim)` are out for measurement; returns a copy.

        Raises:
            StimloopError: If the previous population has not been told.
        """
        if self._asked is not None:
            raise StimloopError(
                "ask() was called twice in a row",
                expected="ask, tell, ask, tell …",
                remedy="tell the fitness of the last population (NaN where not measured) first",
            )
        self._asked = np.array(codes, dtype=np.float32)
        return self._asked.copy()

    def adopt(self, codes: Codes) -> None:
        """Note that `codes` `(population, code_dim)` are measured in place of what was asked.

        Raises:
            StimloopError: If nothing was asked.
            DataError: If the shape or type does not fit, or a number is not finite.
        """
        if self._asked is None:
            raise StimloopError(
                "adopt() was called before ask()", expected="ask, adopt, tell, ask …"
            )
        _check_shapes(codes, np.zeros(len(codes)), self._asked.shape)
        if not np.isfinite(codes).all():
            raise DataError("an adopted code is not finite", where="adopt(codes)")
        self._asked = np.array(codes, dtype=np.float32)

    def tell(self, codes: Codes, fitness: NDArray[np.float64]) -> NDArray[np.intp]:
        """Note that `codes` were measured.

        Returns:
            The canonical order of the rows: best first, NaN last, equals by the bytes of their
            code. In that order the same measurements are the same arrays, however they were told.

        Raises:
            StimloopError: If nothing was asked.
            DataError: If the shapes do not fit, a fitness is infinite, or the codes are others
                than those that were asked for.
        """
        if self._asked is None:
            raise StimloopError(
                "tell() was called before ask()",
                expected="ask, tell, ask, tell …",
                remedy="ask for a population, measure it, then tell its fitness once",
            )
        _check_shapes(codes, fitness, self._asked.shape)
        rows, asked_rows = _row_bytes(codes), _row_bytes(self._asked)
        if sorted(rows) != sorted(asked_rows):
            raise DataError(
                "the codes told are not the codes asked for",
                where="tell(codes, …)",
                expected="the rows of the last ask(), in any order",
                got=f"{len(set(rows) - set(asked_rows))} unknown rows of {len(rows)}",
            )
        self._asked = None
        worst_last = np.where(np.isnan(fitness), -np.inf, fitness)
        return np.array(sorted(range(len(rows)), key=lambda i: (-worst_last[i], rows[i])), np.intp)


def _check_shapes(codes: Codes, fitness: NDArray[np.float64], asked: tuple[int, ...]) -> None:
    if codes.shape != asked or codes.dtype != np.float32:
        raise DataError(
            "the codes told have the wrong shape or type",
            where="tell(codes, …)",
            expected=f"{asked} float32",
            got=f"{codes.shape} {codes.dtype}",
        )
    if fitness.shape != asked[:1]:
        raise DataError(
            "one fitness a code is needed",
            where="tell(…, fitness)",
            expected=asked[:1],
            got=fitness.shape,
        )
    if np.isinf(fitness).any():
        raise DataError(
            "a fitness is infinite",
            where="tell(…, fitness)",
            expected="finite numbers, or NaN where a code was not measured",
            got=f"{int(np.isinf(fitness).sum())} infinite of {len(fitness)}",
        )


def _row_bytes(codes: Codes) -> list[bytes]:
    return [row.tobytes() for row in codes]
