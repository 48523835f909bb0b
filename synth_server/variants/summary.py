"""From a record of variants to sensitivities and to what is left of responses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.seeds import random_stream
from synth_server.variants.documents import (
    Interval,
    PartLeft,
    Sensitivity,
    SiteVariants,
    Variants,
)
from synth_server.variants.reading import Shown, VariantRecord

N_RESAMPLES = 10_000
LEAST_FOR_INTERVAL = 3
PARTS = ("kept", "removed", "disc", "patch")
Floats = NDArray[np.float64]


def summarised(record: VariantRecord) -> Variants:
    """All sites that variants were made for."""
    aimed = {site for each in record.variants for site in each.sites}
    sites = [site for site in record.site_ids if site in aimed]
    each_site = tuple(_site(record, site) for site in sites)
    return Variants(
        session=record.path.name,
        n_bases=len(record.bases),
        sites=each_site,
        over_sites=_over_sites([site.sensitivity for site in each_site]),
        parts_over_sites=_parts_over_sites([site.parts for site in each_site]),
    )


def interval(values: Sequence[float]) -> Interval:
    """Mean, and a 95 % bootstrap interval; what was not measured is left out."""
    known = np.array([value for value in values if np.isfinite(value)])
    if not len(known):
        return Interval(mean=None, low=None, high=None)
    if len(known) < LEAST_FOR_INTERVAL:
        return Interval(mean=float(known.mean()), low=None, high=None)
    random = random_stream(0, "variants", "bootstrap")
    draws = known[random.integers(0, len(known), (N_RESAMPLES, len(known)))].mean(axis=1)
    low, high = np.percentile(draws, _percentiles(len(known)))
    return Interval(mean=float(known.mean()), low=float(low), high=float(high))


def _percentiles(n: int) -> tuple[float, float]:
    """Between which 95 % lie, of resamples of `n` values.

    Those of few values spread too little, since each draws the spread of the sample itself: the levels are
    moved outwards as Student's t is wider than the normal distribution (Hesterberg 2015, Am Stat 69:371,
    section 5.3, "expanded percentile interval").
    """
    from scipy.stats import norm, t

    low = 100 * float(norm.cdf(-np.sqrt(n / (n - 1)) * t.ppf(0.975, n - 1)))
    return low, 100 - low


def _site(record: VariantRecord, site: str) -> SiteVariants:
    sd, kind = record.sd(site)
    of_kind = {each.variant.kind for each in record.variants}
    radii = sorted({e.variant.amount for e in record.variants if e.variant.kind == "drive"})
    shares = sorted({e.variant.amount for e in record.variants if e.variant.kind in PARTS})
    return SiteVariants(
        site=site,
        sd=sd if np.isfinite(sd) else None,
        sd_is=kind,
        sensitivity=tuple(_sensitivity(record, site, radius, sd) for radius in radii),
        parts=tuple(
            _part(record, site, share, part)
            for share in shares
            for part in PARTS
            if part in of_kind
        ),
    )


def _sensitivity(record: VariantRecord, site: str, radius: float, sd: float) -> Sensitivity:
    def at(kind: str, own: bool) -> dict[tuple[tuple[str, int], str], Shown]:
        return {
            (each.base, target): each
            for each in record.variants
            if each.variant.kind == kind and each.variant.amount == radius
            for target in each.sites
            if (target == site) is own
        }

    drive, suppress = at("drive", True), at("suppress", True)
    pairs = [(drive[key], suppress[key]) for key in drive if key in suppress]
    signed = [_difference(record, site, *pair) / 2 for pair in pairs]
    away = [
        abs(record.mean(each.id, site) - _base(record, each, site))
        for pair in pairs
        for each in pair
    ]
    random = [
        record.mean(each.id, site) - _base(record, each, site)
        for each in at("random", True).values()
    ]
    other_drive, other_suppress = at("drive", False), at("suppress", False)
    by_base: dict[tuple[str, int], list[float]] = {}
    for key, each in other_drive.items():
        if key in other_suppress:
            value = _difference(record, site, each, other_suppress[key]) / 2
            by_base.setdefault(key[0], []).append(value)
    predicted = [
        (up.variant.predicted - down.variant.predicted) / 2 / up.variant.sd
        for up, down in pairs
        if up.variant.predicted is not None and down.variant.predicted is not None and up.variant.sd
    ]
    return Sensitivity(
        radius_levels=radius,
        n_bases=len(pairs),
        signed=interval([value / sd for value in signed]),
        predicted=float(np.mean(predicted)) if predicted else None,
        naive=_known(float(np.nanmean(away)) / sd) if away else None,
        random=interval([value / sd for value in random]),
        others=interval([float(np.mean(values)) / sd for values in by_base.values()]),
    )


def _part(record: VariantRecord, site: str, share: float, kind: str) -> PartLeft:
    chosen = [
        each
        for each in record.variants
        if site in each.sites and each.variant.kind == kind and each.variant.amount == share
    ]
    # the share of the summed response: a ratio for each base would blow up where a base draws little
    whole = np.array([_base(record, each, site) for each in chosen])
    left = np.array([record.mean(each.id, site) for each in chosen])
    predicted = [each.variant.predicted for each in chosen if each.variant.predicted is not None]
    before = [each.variant.before for each in chosen if each.variant.before is not None]
    return PartLeft(
        share=share,
        kind=kind,
        n_bases=len(chosen),
        left=_ratio(left, whole),
        predicted=sum(predicted) / sum(before) if before and sum(before) > 0 else None,
    )


def _ratio(left: Floats, whole: Floats) -> Interval:
    known = np.isfinite(left) & np.isfinite(whole)
    left, whole = left[known], whole[known]
    if not len(left) or whole.sum() <= 0:
        return Interval(mean=None, low=None, high=None)
    mean = float(left.sum() / whole.sum())
    if len(left) < LEAST_FOR_INTERVAL:
        return Interval(mean=mean, low=None, high=None)
    rows = random_stream(0, "variants", "bootstrap").integers(
        0, len(left), (N_RESAMPLES, len(left))
    )
    sums = whole[rows].sum(axis=1)
    draws = left[rows].sum(axis=1)[sums > 0] / sums[sums > 0]
    low, high = np.percentile(draws, _percentiles(len(left)))
    return Interval(mean=mean, low=float(low), high=float(high))


def _over_sites(each: Sequence[Sequence[Sensitivity]]) -> tuple[Sensitivity, ...]:
    found = []
    for radius in sorted({one.radius_levels for site in each for one in site}):
        rows = [one for site in each for one in site if one.radius_levels == radius]
        naive = [row.naive for row in rows if row.naive is not None]
        predicted = [row.predicted for row in rows if row.predicted is not None]
        found.append(
            Sensitivity(
                radius_levels=radius,
                n_bases=max(row.n_bases for row in rows),
                signed=interval(_means([row.signed for row in rows])),
                predicted=float(np.mean(predicted)) if predicted else None,
                naive=float(np.mean(naive)) if naive else None,
                random=interval(_means([row.random for row in rows])),
                others=interval(_means([row.others for row in rows])),
            )
        )
    return tuple(found)


def _parts_over_sites(each: Sequence[Sequence[PartLeft]]) -> tuple[PartLeft, ...]:
    found = []
    keys = dict.fromkeys((part.share, part.kind) for site in each for part in site)
    for share, kind in keys:
        rows = [p for site in each for p in site if (p.share, p.kind) == (share, kind)]
        predicted = [row.predicted for row in rows if row.predicted is not None]
        found.append(
            PartLeft(
                share=share,
                kind=kind,
                n_bases=max(row.n_bases for row in rows),
                left=interval(_means([row.left for row in rows])),
                predicted=float(np.mean(predicted)) if predicted else None,
            )
        )
    return tuple(found)


def _means(intervals: Sequence[Interval]) -> list[float]:
    return [each.mean for each in intervals if each.mean is not None]


def _difference(record: VariantRecord, site: str, up: Shown, down: Shown) -> float:
    return record.mean(up.id, site) - record.mean(down.id, site)


def _base(record: VariantRecord, each: Shown, site: str) -> float:
    base = record.bases.get(each.base)
    return float("nan") if base is None else record.mean(base.id, site)


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
