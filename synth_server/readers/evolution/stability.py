"""Stability of the recording, from the reference images, which are the same in every block.

Two things can go wrong at a site, and they look different:

- its *gain* changes: all references draw more, or fewer, spikes than they did;
- its *selectivity* changes: other references are preferred (the electrode sees another neuron).

The gain of a block is the ratio of two sums over the references that were measured in it: their
counts in the block, and their means over the session. Its standard error is that of a ratio
estimator (Cochran 1977, Sampling Techniques, eq. 6.13), so it knows the noise of the counts without
a model of it. Selectivity is the correlation, over references, of the last blocks with the first.
A noisy site correlates with itself no better than its reliability; the correlation is divided by it
(Spearman 1904).

Counts of one showing are too noisy for a verdict: warnings compare the last `WINDOW` blocks with the
first. Pure functions of counts; for finished logs and for whoever looks on alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from protocols.experiments.normalisation import mean_of_measured
from protocols.settings import Frozen
from protocols.vocabulary import Role
from synth_server.readers.log.evolved_thread import EvolvedThread
from synth_server.readers.statistics.bootstrap import Floats

WINDOW = 5
"""Blocks that are averaged for a verdict."""
GAIN_CHANGE = 0.3
"""A gain beyond 1 ± this is worth a warning,"""
GAIN_SEMS = 3.0
"""if it is as many standard errors away from 1."""
LEAST_CORRELATION = 0.5
"""A correlation (divided by reliability) below this is worth a warning,"""
FISHER_Z = 2.33
"""if chance would bring one this low in 1 % of unchanged sites (Fisher's z)."""
LEAST_RELIABILITY = 0.3
"""Of the first blocks; below it, the references do not tell this site's images apart."""
LEAST_REFERENCES = 6


class SiteStability(Frozen):
    """One site of one thread, over its blocks.

    Attributes:
        generations: Those whose references were measured; the lists below have one entry for each.
        gain: The block's, relative to the session's mean; None where it cannot be said.
        gain_sem: Its standard error.
        correlation: Of the last `WINDOW` blocks up to this one with the first `WINDOW` blocks, over
            references; None until the two are different blocks.
        final_gain: The last `WINDOW` blocks over the first.
        final_gain_sem: Its standard error.
        selectivity: The last correlation, divided by the reliability of the first blocks, at most 1.
        warning: What has changed, in words; empty if nothing has.
    """

    thread: str
    site: str
    n_references: int
    generations: tuple[int, ...]
    gain: tuple[float | None, ...]
    gain_sem: tuple[float | None, ...]
    correlation: tuple[float | None, ...]
    final_gain: float | None
    final_gain_sem: float | None
    selectivity: float | None
    warning: str


class Ratio(NamedTuple):
    """A ratio of sums and its standard error; None where it cannot be said."""

    value: float | None
    sem: float | None


class Verdict(NamedTuple):
    """The last blocks against the first; see `SiteStability`."""

    gain: Ratio
    selectivity: float | None
    warning: str


def stabilities(thread: EvolvedThread) -> tuple[SiteStability, ...]:
    """How stable the sites are that the thread's objective drives; none without references."""
    generations, by_site = _driven(thread)
    return tuple(
        site_stability(thread.name, site, generations, counts) for site, counts in by_site.items()
    )


def warnings(thread: EvolvedThread) -> tuple[str, ...]:
    """What has changed at the driven sites so far, in words; quicker than `stabilities`."""
    _, by_site = _driven(thread)
    found = {site: judge(counts).warning for site, counts in by_site.items()}
    return tuple(f"{thread.name}, {site}: {said}" for site, said in found.items() if said)


def _driven(thread: EvolvedThread) -> tuple[tuple[int, ...], dict[str, Floats]]:
    """Generations, and the counts `(n_generations, n_references)` of each driven site."""
    generations, counts = reference_counts(thread)
    if not generations:
        return (), {}
    column = {site: number for number, site in enumerate(thread.site_ids)}
    return generations, {site: counts[:, :, column[site]] for site in thread.sites}


def reference_counts(thread: EvolvedThread) -> tuple[tuple[int, ...], Floats]:
    """Generations whose references were measured; `(n_generations, n_references, n_sites)`.

    Mean counts in each generation's block, NaN where an image was not measured in it.
    """
    shown = [
        (each.phase, each.id, each.counts.mean(axis=0))
        for each in thread.natural
        if each.role is Role.REFERENCE and isinstance(each.phase, int)
    ]
    blocks = {number: row for row, number in enumerate(sorted({phase for phase, _, _ in shown}))}
    images = {name: row for row, name in enumerate(dict.fromkeys(name for _, name, _ in shown))}
    counts = np.full((len(blocks), len(images), len(thread.site_ids)), np.nan)
    for phase, name, mean in shown:
        counts[blocks[phase], images[name]] = mean
    return tuple(blocks), counts


def site_stability(
    thread: str, site: str, generations: tuple[int, ...], counts: Floats
) -> SiteStability:
    """From the counts `(n_blocks, n_references)` of one site, NaN where not measured."""
    gains = [gain(block, mean_of_measured(counts)) for block in counts]
    verdict = judge(counts)
    return SiteStability(
        thread=thread,
        site=site,
        n_references=counts.shape[1],
        generations=generations,
        gain=tuple(each.value for each in gains),
        gain_sem=tuple(each.sem for each in gains),
        correlation=tuple(_correlations(counts)),
        final_gain=verdict.gain.value,
        final_gain_sem=verdict.gain.sem,
        selectivity=verdict.selectivity,
        warning=verdict.warning,
    )


def judge(counts: Floats) -> Verdict:
    """The last blocks against the first, of `(n_blocks, n_references)` counts of one site."""
    if len(counts) < 2 * WINDOW:
        return Verdict(Ratio(None, None), None, "")
    first, last = mean_of_measured(counts[:WINDOW]), mean_of_measured(counts[-WINDOW:])
    change, reliable = gain(last, first), reliability(counts[:WINDOW])
    r, n = correlation(first, last)
    selectivity = None if r is None or reliable is None else min(r / reliable, 1.0)
    return Verdict(change, selectivity, _warning(change, r, reliable, n))


def gain(counts: Floats, expected: Floats) -> Ratio:
    """`Σ counts / Σ expected` over the references `(n_references,)` that both know."""
    known = np.isfinite(counts) & np.isfinite(expected)
    n, total = int(known.sum()), float(expected[known].sum())
    if n == 0 or total <= 0:
        return Ratio(None, None)
    value = float(counts[known].sum()) / total
    if n < 2:
        return Ratio(value, None)
    residuals = counts[known] - value * expected[known]
    sem = np.sqrt(n / (n - 1) * np.square(residuals).sum()) / total
    return Ratio(value, float(sem))


def correlation(a: Floats, b: Floats) -> tuple[float | None, int]:
    """Pearson's, over the references that both know, and how many these are."""
    known = np.isfinite(a) & np.isfinite(b)
    n = int(known.sum())
    if n < LEAST_REFERENCES or np.ptp(a[known]) == 0:
        return None, n
    if np.ptp(b[known]) == 0:
        return 0.0, n
    return float(np.corrcoef(a[known], b[known])[0, 1]), n


def reliability(counts: Floats) -> float | None:
    """Part of the variance over references of their mean counts that is not noise.

    Of `(n_blocks, n_references)`; None where it is below `LEAST_RELIABILITY` or cannot be said.
    """
    n = np.isfinite(counts).sum(axis=0)
    repeated = counts[:, n >= 2]
    if repeated.shape[1] < LEAST_REFERENCES:
        return None
    means = mean_of_measured(repeated)
    squares = np.nansum(np.square(repeated - means), axis=0)
    n = n[n >= 2]
    noise = float((squares / (n - 1) / n).mean())
    total = float(means.var(ddof=1))
    found = 1 - noise / total if total > 0 else 0.0
    return found if found >= LEAST_RELIABILITY else None


def _correlations(counts: Floats) -> list[float | None]:
    first = mean_of_measured(counts[:WINDOW])
    found: list[float | None] = []
    for end in range(1, len(counts) + 1):
        recent = mean_of_measured(counts[max(0, end - WINDOW) : end])
        found.append(correlation(first, recent)[0] if end >= 2 * WINDOW else None)
    return found


def _warning(final: Ratio, r: float | None, reliable: float | None, n: int) -> str:
    said = []
    if final.value is not None and final.sem is not None:
        change = abs(final.value - 1)
        if change > GAIN_CHANGE and change > GAIN_SEMS * final.sem:
            said.append(
                f"references draw {final.value:.2f} ± {final.sem:.2f} times the spikes of the "
                "first blocks"
            )
    if r is not None and reliable is not None and r / reliable < LEAST_CORRELATION:
        expected, found = np.arctanh(np.clip([reliable, r], -0.999, 0.999))
        if found < expected - FISHER_Z / np.sqrt(n - 3):
            said.append(
                f"references are preferred otherwise than in the first blocks (correlation "
                f"{r:.2f}, expected {reliable:.2f})"
            )
    return "; ".join(said)
