"""From showings to `fields.json`: significance first, then a fit where there is something to fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from protocols.fields import EstimateSettings, FieldMap, FieldShowings, Interval, SiteField
from protocols.seeds import random_stream
from synth_server.receptive_fields.conditions import Conditions
from synth_server.receptive_fields.fitting import Fields, fitted
from synth_server.receptive_fields.places import Floats, Places
from synth_server.receptive_fields.significance import (
    Templates,
    map_reliability,
    permutation_p,
    residuals,
    scores,
)

EDGE = 0.25
"""Part of a step within which of the outermost places a centre counts as at the edge."""
DECIMALS = 3
AT_ONCE = 50
"""Resamples in memory together."""
Tell = Callable[[int, int, str], None]


def estimate_fields(
    shown: FieldShowings,
    window_s: tuple[float, float],
    edge_deg: float,
    settings: EstimateSettings | None = None,
    *,
    intervals: bool = True,
    tell: Tell = lambda _done, _total, _what: None,
) -> FieldMap:
    """Fields of all sites; the same showings give the same fields.

    Args:
        shown: Completed showings of patches and of gray.
        window_s: In which spikes were counted, after onset.
        edge_deg: Width of the patches' soft edge.
        settings: Defaults if not given.
        intervals: Whether to compute bootstrap intervals.
        tell: Told of (sites done, sites, what).
    """
    chosen = settings or EstimateSettings()
    places = Places.of(shown, edge_deg)
    n = int((~shown.is_blank).sum())
    common = {"alpha": chosen.alpha, "count_window_s": window_s, "grid_deg": places.bounds_deg}
    showings = np.bincount(places.of_row, minlength=len(places))
    if np.median(showings) < chosen.least_showings:
        nothing = tuple(SiteField(site=site, n=n) for site in shown.site_ids)
        return FieldMap(**common, fields=nothing)
    left = residuals(shown.counts[~shown.is_blank], places)
    templates = Templates.over(places)
    tell(0, len(shown.site_ids), "testing")
    p = permutation_p(
        left, places, templates, chosen.n_permutations, random_stream(0, "fields", "permutations")
    )
    reliability = map_reliability(left, places, random_stream(0, "fields", "halves"))
    found = scores(left, places, templates)
    tell(0, len(shown.site_ids), "fitting fields")
    sites = np.flatnonzero(p < chosen.alpha)
    best = _best(Conditions.of(shown, places), sites, templates, found[:, sites])
    again = _resampled(shown, places, best, sites, chosen.n_bootstrap if intervals else 0, tell)
    row_of = {site: row for row, site in enumerate(sites.tolist())}
    fields = []
    for site, name in enumerate(shown.site_ids):
        known: dict[str, object] = {
            "site": name,
            "n": n,
            "p": round(float(p[site]), 6),
            "reliability": _rounded(float(reliability[site])),
        }
        if (row := row_of.get(site)) is not None:
            known |= _described(best, row, places, window_s[1] - window_s[0])
            known |= _intervals(again[row]) if len(again) else {}
        fields.append(SiteField.model_validate(known))
    return FieldMap(**common, fields=tuple(fields))


def _best(
    known: Conditions, sites: NDArray[np.int64], templates: Templates, score: NDArray[np.float32]
) -> Fields:
    """Climbing from the best template, and from the best one that lies elsewhere."""
    size = np.abs(score.astype(np.float64))
    first = size.argmax(axis=0)
    centres = templates.fields[:, :2]
    apart = np.hypot(*(centres[:, None] - centres[first]).transpose(2, 0, 1))
    second = np.where(apart > known.places.step_deg, size, -1).argmax(axis=0)
    zeros = np.zeros(len(sites), np.int64)
    tried = [fitted(known, zeros, sites, templates.fields[each]) for each in (first, second)]
    other = tried[1].loss < tried[0].loss
    return Fields(
        *(
            np.where(other.reshape(-1, *[1] * (one.ndim - 1)), two, one)
            for one, two in zip(*tried, strict=True)
        )
    )


def _described(best: Fields, row: int, places: Places, window_s: float) -> dict[str, object]:
    left, bottom, right, top = places.bounds_deg
    margin = EDGE * places.step_deg
    x, y = float(best.x_deg[row]), float(best.y_deg[row])
    inside = left + margin < x < right - margin and bottom + margin < y < top - margin
    return {
        "x_deg": _rounded(x),
        "y_deg": _rounded(y),
        "sigma_deg": _rounded(float(best.sigma_deg[row])),
        "amplitude": _rounded(float(best.amplitude[row]) / window_s),
        "baseline": _rounded(float(best.baseline[row]) / window_s),
        "gains": tuple(_rounded(float(gain)) for gain in best.gains[row]),
        "at_edge": not inside,
    }


def _resampled(
    shown: FieldShowings,
    places: Places,
    best: Fields,
    sites: NDArray[np.int64],
    n: int,
    tell: Tell,
) -> Floats:
    """`(n_sites, n, 3)` x, y and σ fitted to showings drawn anew within each place, gray among itself."""
    if not n:
        return np.zeros((0, n, 3))
    random = random_stream(0, "fields", "bootstrap")
    patches, blanks = np.flatnonzero(~shown.is_blank), np.flatnonzero(shown.is_blank)
    pools = [patches[places.of_row == place] for place in range(len(places))]
    pools += [blanks] if len(blanks) else []
    found = np.empty((len(sites), n, 3))
    starts = np.stack([best.x_deg, best.y_deg, np.log(best.sigma_deg)], axis=1)
    for first in range(0, n, AT_ONCE):
        some = range(first, min(n, first + AT_ONCE))
        drawn = [np.concatenate([random.choice(pool, len(pool)) for pool in pools]) for _ in some]
        weights = np.stack([np.bincount(rows, minlength=len(shown.texture)) for rows in drawn])
        known = Conditions.of(shown, places, weights.astype(np.float64))
        for row, site in enumerate(sites):
            resample = np.arange(len(some))
            again = fitted(
                known, resample, np.full(len(some), site), np.tile(starts[row], (len(some), 1))
            )
            found[row, first : some.stop] = np.stack(again[:3], axis=1)
            tell(first * len(sites) + row * len(some), n * len(sites), "intervals of fields")
    return found


def _intervals(again: Floats) -> dict[str, Interval]:
    """95 % intervals of `(n, 3)` x, y and σ."""
    low, high = np.percentile(again, (2.5, 97.5), axis=0)
    names = ("x_interval", "y_interval", "sigma_interval")
    return {
        name: (_rounded(float(a)) or 0.0, _rounded(float(b)) or 0.0)
        for name, a, b in zip(names, low, high, strict=True)
    }


def _rounded(value: float) -> float | None:
    return round(value, DECIMALS) if np.isfinite(value) else None
