"""A Gaussian receptive field, fitted to counts by maximum likelihood.

    expected count = baseline + amplitude · gain(texture) · covered(place; x, y, σ)

with Poisson likelihood, by L-BFGS-B with the exact gradient. Gains and σ have weak log-normal priors,
which decide only where the counts do not: gains around 1 (SD 0.7 in log), σ around 0.9° (SD 0.8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from scipy.optimize import minimize

from protocols.fields import FieldShowings
from synth_server.receptive_fields.coverage import SIGMA_RANGE_DEG
from synth_server.receptive_fields.places import Floats, Ints, Places

GAIN_SD, SIGMA_MEDIAN_DEG, SIGMA_SD = 0.7, 0.9, 0.8
FLOOR = 0.02
"""Expected counts are not below this part of the mean count: log 0 is infinite."""


class Fitted(NamedTuple):
    """A field; counts are those of one showing."""

    x_deg: float
    y_deg: float
    sigma_deg: float
    baseline: float
    amplitude: float
    gains: tuple[float, ...]
    loss: float


@dataclass(frozen=True)
class Conditions:
    """Counts summed by place and texture, which is all that the likelihood needs.

    Attributes:
        place: `(n,)` of each condition.
        texture: `(n,)`
        showings: `(n,)` how often it was shown.
        total: `(n, n_sites)` spikes in all its showings.
        n_blank: Showings of gray.
        blank: `(n_sites,)` spikes in all of these.
    """

    places: Places
    place: Ints
    texture: Ints
    showings: Floats
    total: Floats
    n_blank: int
    blank: Floats
    n_textures: int

    @classmethod
    def of(cls, shown: FieldShowings, places: Places, weights: Floats | None = None) -> Self:
        """Of all showings; `weights` `(n,)`: how often each counts in a bootstrap resample."""
        times = np.ones(len(shown.texture)) if weights is None else weights
        patch, is_blank = ~shown.is_blank, shown.is_blank
        n_textures = int(shown.texture.max()) + 1
        key = places.of_row * n_textures + shown.texture[patch]
        distinct, row = np.unique(key, return_inverse=True)
        showings = np.bincount(row, times[patch], len(distinct)).astype(np.float64)
        total = np.zeros((len(distinct), shown.counts.shape[1]))
        np.add.at(total, row, shown.counts[patch] * times[patch, None])
        blank = (shown.counts[is_blank] * times[is_blank, None]).sum(axis=0)
        return cls(
            places,
            distinct // n_textures,
            distinct % n_textures,
            showings,
            total,
            int(times[is_blank].sum()),
            blank,
            n_textures,
        )


def fitted(known: Conditions, site: int, start: tuple[float, float, float]) -> Fitted:
    """The field of one site (its column), climbing from (x, y, log σ)."""
    left, bottom, right, top = known.places.bounds_deg
    margin = known.places.step_deg
    low, high = np.log(SIGMA_RANGE_DEG)
    total, blank = known.total[:, site], float(known.blank[site])
    n_all = known.showings.sum() + known.n_blank
    floor = max(FLOOR * (total.sum() + blank) / n_all, 1e-4)

    def loss(values: Floats) -> tuple[float, Floats]:
        x, y, log_sigma, baseline, amplitude = values[:5]
        logs = values[5:]
        gain = np.exp(logs)[known.texture]
        part, (by_x, by_y, by_s) = known.places.covered(x, y, log_sigma)
        drive = amplitude * gain
        raw = baseline + drive * part[known.place]
        mean = np.maximum(raw, floor)
        at_gray = max(baseline, floor)
        off_sigma = (log_sigma - np.log(SIGMA_MEDIAN_DEG)) / SIGMA_SD
        value = float((known.showings * mean - total * np.log(mean)).sum())
        value += known.n_blank * at_gray - blank * np.log(at_gray)
        value += float((logs**2).sum()) / (2 * GAIN_SD**2) + off_sigma**2 / 2
        slope = np.where(raw > floor, known.showings - total / mean, 0.0)
        at_place = np.bincount(known.place, slope * drive, len(known.places))
        of_gain = slope * drive * part[known.place]
        gray = known.n_blank - blank / at_gray if baseline > floor else 0.0
        gradient = np.concatenate(
            [
                [
                    at_place @ by_x,
                    at_place @ by_y,
                    at_place @ by_s + off_sigma / SIGMA_SD,
                    slope.sum() + gray,
                    slope @ (gain * part[known.place]),
                ],
                np.bincount(known.texture, of_gain, known.n_textures) + logs / GAIN_SD**2,
            ]
        )
        return value, gradient

    x, y, log_sigma = start
    found = minimize(
        loss,
        _first(known, total, blank, (x, y, log_sigma), floor),
        jac=True,
        method="L-BFGS-B",
        bounds=[
            (left - margin, right + margin),
            (bottom - margin, top + margin),
            (low, high),
            (floor, None),
            (None, None),
            *[(-2.0, 2.0)] * known.n_textures,
        ],
        options={"maxiter": 200},
    )
    x, y, log_sigma, baseline, amplitude = (float(value) for value in found.x[:5])
    gains = np.exp(found.x[5:])
    mean = float(gains.mean())
    return Fitted(
        x,
        y,
        float(np.exp(log_sigma)),
        baseline,
        amplitude * mean,
        tuple((gains / mean).tolist()),
        float(found.fun),
    )


def _first(
    known: Conditions, total: Floats, blank: float, start: tuple[float, float, float], floor: float
) -> Floats:
    """Baseline and amplitude by least squares, gains of 1."""
    part = known.places.covered(*start)[0][known.place]
    covered = np.append(part, 0.0)
    weight = np.append(known.showings, max(known.n_blank, 1e-9))
    rate = np.append(total / np.maximum(known.showings, 1e-9), blank / max(known.n_blank, 1))
    mean_part = np.average(covered, weights=weight)
    mean_rate = np.average(rate, weights=weight)
    spread = np.average((covered - mean_part) ** 2, weights=weight)
    together = np.average((covered - mean_part) * (rate - mean_rate), weights=weight)
    amplitude = together / spread if spread > 0 else 0.0
    baseline = max(mean_rate - amplitude * mean_part, 2 * floor)
    return np.array([*start, baseline, amplitude, *np.zeros(known.n_textures)])
