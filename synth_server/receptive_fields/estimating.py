"""From showings to `fields.json`: significance first, then a fit where there is something to fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from protocols.fields import EstimateSettings, FieldMap, FieldShowings, Interval, SiteField
from protocols.seeds import random_stream
from synth_server.receptive_fields.fitting import Conditions, Fitted, fitted
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
    known = Conditions.of(shown, places)
    resamples = _resamples(shown, places, chosen.n_bootstrap if intervals else 0)
    fields = []
    for site, name in enumerate(shown.site_ids):
        tell(site, len(shown.site_ids), "fitting fields")
        tested = {
            "site": name,
            "n": n,
            "p": round(float(p[site]), 6),
            "reliability": _rounded(float(reliability[site])),
        }
        if p[site] >= chosen.alpha:
            fields.append(SiteField.model_validate(tested))
            continue
        best = _best(known, site, templates, found[:, site].astype(np.float64))
        estimate = _described(best, places, window_s[1] - window_s[0])
        spread = _intervals(best, resamples, site)
        fields.append(SiteField.model_validate({**tested, **estimate, **spread}))
    return FieldMap(**common, fields=tuple(fields))


def _best(known: Conditions, site: int, templates: Templates, score: Floats) -> Fitted:
    """Climbing from the best template, and from the best one that lies elsewhere."""
    size = np.abs(score)
    first = int(size.argmax())
    centres = templates.fields[:, :2]
    away = np.hypot(*(centres - centres[first]).T) > known.places.step_deg
    starts = [first]
    if away.any():
        starts.append(int(np.where(away, size, -1).argmax()))
    tried = [fitted(known, site, _start(templates, each)) for each in starts]
    return min(tried, key=lambda each: each.loss)


def _start(templates: Templates, number: int) -> tuple[float, float, float]:
    x, y, log_sigma = templates.fields[number].tolist()
    return x, y, log_sigma


def _described(best: Fitted, places: Places, window_s: float) -> dict[str, object]:
    left, bottom, right, top = places.bounds_deg
    margin = EDGE * places.step_deg
    inside = left + margin < best.x_deg < right - margin
    inside = inside and bottom + margin < best.y_deg < top - margin
    return {
        "x_deg": _rounded(best.x_deg),
        "y_deg": _rounded(best.y_deg),
        "sigma_deg": _rounded(best.sigma_deg),
        "amplitude": _rounded(best.amplitude / window_s),
        "baseline": _rounded(best.baseline / window_s),
        "gains": tuple(_rounded(gain) for gain in best.gains),
        "at_edge": not inside,
    }


def _resamples(shown: FieldShowings, places: Places, n: int) -> list[Conditions]:
    """Showings drawn anew within each place, and gray ones among themselves."""
    random = random_stream(0, "fields", "bootstrap")
    patches, blanks = np.flatnonzero(~shown.is_blank), np.flatnonzero(shown.is_blank)
    pools = [patches[places.of_row == place] for place in range(len(places))]
    pools += [blanks] if len(blanks) else []
    made = []
    for _ in range(n):
        drawn = np.concatenate([random.choice(pool, len(pool)) for pool in pools])
        weights = np.bincount(drawn, minlength=len(shown.texture)).astype(np.float64)
        made.append(Conditions.of(shown, places, weights))
    return made


def _intervals(best: Fitted, resamples: list[Conditions], site: int) -> dict[str, Interval]:
    if not resamples:
        return {}
    start = (best.x_deg, best.y_deg, float(np.log(best.sigma_deg)))
    again = [fitted(known, site, start) for known in resamples]
    values = np.array([(each.x_deg, each.y_deg, each.sigma_deg) for each in again])
    low, high = np.percentile(values, (2.5, 97.5), axis=0)
    names = ("x_interval", "y_interval", "sigma_interval")
    return {
        name: (_rounded(float(a)) or 0.0, _rounded(float(b)) or 0.0)
        for name, a, b in zip(names, low, high, strict=True)
    }


def _rounded(value: float) -> float | None:
    return round(value, DECIMALS) if np.isfinite(value) else None
