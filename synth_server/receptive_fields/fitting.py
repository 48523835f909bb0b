"""Gaussian receptive fields, fitted to counts by maximum likelihood, many at once.

    expected count = baseline + amplitude · scale(patch size) · gain(texture) · covered(place; x, y, σ)

with Poisson likelihood, by Fisher scoring (McCullagh & Nelder 1989, Generalized Linear Models, 2.5) with
Levenberg's and Marquardt's damping. Gains and σ have weak log-normal priors, which decide only where
the counts do not: gains around 1 (SD 0.7 in log), σ around 0.9° (SD 0.8). The scale is 1 for the largest
patches; smaller ones may drive a site more than their part of its field says, because they leave its
surround alone (Cavanaugh, Bair & Movshon 2002, J Neurophysiol 88:2530), or less (SD 0.7).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from synth_server.receptive_fields.conditions import Conditions
from synth_server.receptive_fields.coverage import SIGMA_RANGE_DEG
from synth_server.receptive_fields.places import Floats, Ints, Places

GAIN_SD, SCALE_SD, SIGMA_MEDIAN_DEG, SIGMA_SD = 0.7, 0.7, 0.9, 0.8
FLOOR = 0.02
"""Expected counts are not below this part of the mean count: log 0 is infinite."""
MOST_STEPS, LEAST_GAIN = 100, 1e-7
"""A fit ends when a step gains less than this part of its log likelihood's scale."""
DAMPING, MOST_DAMPING = 1e-2, 1e8
GAIN_RANGE = (-2.0, 2.0)
"""Of log gains and log scales."""
X, Y, SIGMA, BASELINE, AMPLITUDE, SCALES = range(6)
"""Columns of parameters; then log scales of the smaller patches, then log gains."""


class Fields(NamedTuple):
    """Fitted fields, `(n,)` each; counts are those of one showing."""

    x_deg: Floats
    y_deg: Floats
    sigma_deg: Floats
    baseline: Floats
    amplitude: Floats
    gains: Floats
    """`(n, n_textures)`, of mean 1."""
    loss: Floats


class Problem(NamedTuple):
    """Counts of each field to be fitted; see `Conditions`.

    Attributes:
        showings: `(n, n_places, n_textures)`
        total: `(n, n_places, n_textures)`
        n_blank: `(n,)`
        blank: `(n,)`
        floor: `(n,)` lowest expected count.
    """

    showings: Floats
    total: Floats
    n_blank: Floats
    blank: Floats
    floor: Floats

    def of(self, rows: NDArray[np.int64]) -> Problem:
        """Some of them."""
        return Problem(*(part[rows] for part in self))


def fitted(known: Conditions, resample: Ints, site: Ints, starts: Floats) -> Fields:
    """Fields of sites, each climbing from a start of its own.

    Args:
        known: Counts.
        resample: `(n,)` row of `known` for each fit.
        site: `(n,)` column of `known` for each fit.
        starts: `(n, 3)` x, y, log σ.
    """
    numbers, columns = resample, site
    total = known.total[numbers, :, :, columns]
    blank, n_blank = known.blank[numbers, columns], known.n_blank[numbers]
    showings = known.showings[numbers]
    mean = (total.sum(axis=(1, 2)) + blank) / (showings.sum(axis=(1, 2)) + n_blank)
    problem = Problem(showings, total, n_blank, blank, np.maximum(FLOOR * mean, 1e-4))
    low, high = _bounds(known.places, problem)
    values = np.clip(_first(known.places, problem, starts), low, high)
    values, loss = _climbed(known.places, problem, values, low, high)
    gains = np.exp(values[:, -known.showings.shape[2] :])
    mean_gain = gains.mean(axis=1)
    return Fields(
        values[:, X],
        values[:, Y],
        np.exp(values[:, SIGMA]),
        values[:, BASELINE],
        values[:, AMPLITUDE] * mean_gain,
        gains / mean_gain[:, None],
        loss,
    )


def _climbed(
    places: Places, problem: Problem, values: Floats, low: Floats, high: Floats
) -> tuple[Floats, Floats]:
    """Parameters and losses at the end; fits that have ended are computed no more."""
    values = values.copy()
    loss, gradient, curvature = _expanded(places, problem, values)
    damping = np.full(len(values), DAMPING)
    open_ = np.arange(len(values))
    for _ in range(MOST_STEPS):
        step = _step(values, gradient, curvature, damping, low, high, open_)
        tried = np.clip(values[open_] + step, low[open_], high[open_])
        at = _expanded(places, problem.of(open_), tried)
        gained = loss[open_] - at[0]
        better = gained > 0
        rows = open_[better]
        values[rows], loss[rows] = tried[better], at[0][better]
        gradient[rows], curvature[rows] = at[1][better], at[2][better]
        damping[open_] *= np.where(better, 0.2, 8.0)
        np.maximum(damping, 1e-9, out=damping)
        small = better & (gained < LEAST_GAIN * (1 + np.abs(loss[open_])))
        open_ = open_[~small & (damping[open_] < MOST_DAMPING)]
        if not len(open_):
            break
    return values, loss


def _step(
    values: Floats,
    gradient: Floats,
    curvature: Floats,
    damping: Floats,
    low: Floats,
    high: Floats,
    rows: NDArray[np.int64],
) -> Floats:
    """`(len(rows), n_parameters)`; what is at a bound and pushes beyond it stays."""
    now, slope = values[rows], gradient[rows]
    held = ((now <= low[rows]) & (slope > 0)) | ((now >= high[rows]) & (slope < 0))
    free = ~held
    matrix: Floats = np.where(free[:, :, None] & free[:, None, :], curvature[rows], 0.0)
    number = np.arange(now.shape[1])
    damped = matrix[:, number, number] * (1 + damping[rows, None])
    matrix[:, number, number] = damped + np.where(held, 1.0, 1e-9 + 1e-3 * damping[rows, None])
    return -np.linalg.solve(matrix, (slope * free)[:, :, None])[:, :, 0].astype(np.float64)


def _expanded(places: Places, problem: Problem, values: Floats) -> tuple[Floats, Floats, Floats]:
    """Loss `(n,)`, gradient `(n, p)` and Fisher information `(n, p, p)`, priors among them."""
    smaller = places.smaller
    first_gain = SCALES + len(smaller)
    log_scales, logs = values[:, SCALES:first_gain], values[:, first_gain:]
    part, by_place = places.covered(values[:, X], values[:, Y], values[:, SIGMA])
    scale = np.exp(log_scales @ smaller)
    part, slopes = part * scale, np.stack(by_place, axis=1) * scale[:, None]
    baseline, amplitude = values[:, BASELINE], values[:, AMPLITUDE, None]
    gain, floor = np.exp(logs), problem.floor
    raw = baseline[:, None, None] + (amplitude[:, :, None] * part[:, :, None]) * gain[:, None]
    mean = np.maximum(raw, floor[:, None, None])
    gray = np.maximum(baseline, floor)
    off_sigma = (values[:, SIGMA] - np.log(SIGMA_MEDIAN_DEG)) / SIGMA_SD
    loss = (problem.showings * mean - problem.total * np.log(mean)).sum(axis=(1, 2))
    loss += problem.n_blank * gray - problem.blank * np.log(gray)
    loss += (logs**2).sum(axis=1) / (2 * GAIN_SD**2) + off_sigma**2 / 2
    loss += (log_scales**2).sum(axis=1) / (2 * SCALE_SD**2)

    above = raw > floor[:, None, None]
    residual = np.where(above, problem.showings - problem.total / mean, 0.0)
    weight = np.where(above, problem.showings / mean, 0.0)
    at_place = np.einsum("npt,nt->np", residual, gain)
    blank_weight = problem.n_blank / gray
    # Slopes of the expectation, each times the texture's gain.
    by_scale = amplitude[:, :, None] * part[:, None] * smaller
    shared = np.concatenate([amplitude[:, :, None] * slopes, part[:, None], by_scale], axis=1)
    of_shared = [X, Y, SIGMA, AMPLITUDE, *range(SCALES, first_gain)]
    gradient = np.empty_like(values)
    gradient[:, of_shared] = np.einsum("nip,np->ni", shared, at_place)
    gradient[:, SIGMA] += off_sigma / SIGMA_SD
    gradient[:, SCALES:first_gain] += log_scales / SCALE_SD**2
    gradient[:, BASELINE] = residual.sum(axis=(1, 2)) + problem.n_blank - problem.blank / gray
    by_texture = amplitude * gain * np.einsum("npt,np->nt", residual, part)
    gradient[:, first_gain:] = by_texture + logs / GAIN_SD**2

    once = np.einsum("npt,nt->np", weight, gain)
    twice = np.einsum("npt,nt->np", weight, gain**2)
    by_gain = amplitude * gain
    information = np.zeros((*values.shape, values.shape[1]))
    both = np.einsum("nip,njp->nij", shared * twice[:, None], shared)
    information[:, np.array(of_shared)[:, None], of_shared] = both
    with_baseline = np.einsum("nip,np->ni", shared, once)
    information[:, of_shared, BASELINE] = with_baseline
    information[:, BASELINE, of_shared] = with_baseline
    information[:, BASELINE, BASELINE] = weight.sum(axis=(1, 2)) + blank_weight
    covered = weight * part[:, :, None]
    cross = by_gain[:, None] * gain[:, None] * np.einsum("nip,npt->nit", shared, covered)
    for place, column in enumerate(of_shared):
        information[:, column, first_gain:] = cross[:, place]
        information[:, first_gain:, column] = cross[:, place]
    with_gray = by_gain * covered.sum(axis=1)
    information[:, BASELINE, first_gain:] = with_gray
    information[:, first_gain:, BASELINE] = with_gray
    textures = np.arange(first_gain, values.shape[1])
    own = by_gain**2 * np.einsum("npt,np->nt", covered, part)
    information[:, textures, textures] = own + 1 / GAIN_SD**2
    information[:, SIGMA, SIGMA] += 1 / SIGMA_SD**2
    scales = np.arange(SCALES, first_gain)
    information[:, scales, scales] += 1 / SCALE_SD**2
    return loss, gradient, information


def _bounds(places: Places, problem: Problem) -> tuple[Floats, Floats]:
    """`(n, p)` each: centres a step around the grid at most, rates above the floor."""
    left, bottom, right, top = places.bounds_deg
    margin = places.step_deg
    sigma_low, sigma_high = np.log(SIGMA_RANGE_DEG)
    n, _, n_textures = problem.showings.shape
    n_logs = len(places.smaller) + n_textures
    low = [left - margin, bottom - margin, sigma_low, 0.0, -np.inf]
    high = [right + margin, top + margin, sigma_high, np.inf, np.inf]
    lowest = np.tile([*low, *[GAIN_RANGE[0]] * n_logs], (n, 1))
    lowest[:, BASELINE] = problem.floor
    return lowest, np.tile([*high, *[GAIN_RANGE[1]] * n_logs], (n, 1))


def _first(places: Places, problem: Problem, starts: Floats) -> Floats:
    """`(n, p)`: baseline and amplitude by least squares, scales and gains of 1."""
    part = places.covered(*starts.T)[0]
    covered = np.concatenate([part, np.zeros((len(part), 1))], axis=1)
    weight = np.concatenate(
        [problem.showings.sum(axis=2), np.maximum(problem.n_blank, 1e-9)[:, None]], axis=1
    )
    spikes = np.concatenate([problem.total.sum(axis=2), problem.blank[:, None]], axis=1)
    all_ = weight.sum(axis=1)
    mean_part = (weight * covered).sum(axis=1) / all_
    mean_rate = spikes.sum(axis=1) / all_
    off = covered - mean_part[:, None]
    spread = (weight * off**2).sum(axis=1)
    together = (spikes * off).sum(axis=1)
    amplitude = np.divide(together, spread, out=np.zeros(len(part)), where=spread > 0)
    baseline = np.maximum(mean_rate - amplitude * mean_part, 2 * problem.floor)
    logs = np.zeros((len(part), len(places.smaller) + problem.showings.shape[2]))
    return np.column_stack([starts, baseline, amplitude, logs])
