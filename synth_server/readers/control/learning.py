"""Gains round by round of an encoder that is fitted again to responses to its own images."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from protocols.settings import Frozen
from synth_server.readers.control.gains import ControlSummary
from synth_server.readers.log.synthesised_images import ControlRecord, ControlThread, ShownImage

PREDICTED = re.compile(r"predicted (-?[0-9.]+) spikes/s")
SCRATCH = "from scratch"


class RoundAtSite(Frozen):
    """A round's images for one site; counts are mean spikes in the count window.

    Attributes:
        measured: Mean over the round's images.
        from_best: Of those that climbed from the best so far.
        from_scratch: Of those that explored.
        predicted: What the encoder expected, before it was shown wrong.
        gain: `measured` ÷ the best natural image, as the test measured it; None before the test.
    """

    site: str
    n_images: int
    measured: float | None
    from_best: float | None
    from_scratch: float | None
    predicted: float | None
    gain: float | None


class RoundSummary(Frozen):
    """One round.

    Attributes:
        n_presentations: Completed ones of the thread, up to the end of the round.
        median_gain: Over sites.
    """

    round: int
    n_presentations: int
    median_gain: float | None
    sites: tuple[RoundAtSite, ...]


class LearningSummary(Frozen):
    """All rounds of a thread, and the test's gain after them.

    Attributes:
        n_presentations: Completed ones before the test.
        test_gain: Median over sites; None before the test.
    """

    thread: str
    rounds: tuple[RoundSummary, ...]
    n_presentations: int
    test_gain: float | None


def learned(record: ControlRecord, tests: Sequence[ControlSummary]) -> tuple[LearningSummary, ...]:
    """One for each thread that had rounds."""
    tested = {each.thread: each for each in tests}
    return tuple(
        _of_thread(thread, tested.get(name))
        for name, thread in record.threads.items()
        if thread.rounds
    )


def _of_thread(thread: ControlThread, test: ControlSummary | None) -> LearningSummary:
    natural = {each.site: each.best_natural.value for each in test.sites} if test else {}
    rounds = tuple(_of_round(thread, number, natural) for number in sorted(thread.rounds))
    return LearningSummary(
        thread=thread.name,
        rounds=rounds,
        n_presentations=rounds[-1].n_presentations,
        test_gain=test.median_gain.value if test else None,
    )


def _of_round(thread: ControlThread, number: int, natural: dict[str, float | None]) -> RoundSummary:
    shown = thread.rounds[number]
    images = list(shown.images.values())
    aimed = {target for image in images for target in image.targets}
    sites = tuple(
        _at_site(thread, [image for image in images if site in image.targets], site, natural)
        for site in thread.site_ids
        if site in aimed
    )
    gains = [site.gain for site in sites if site.gain is not None]
    return RoundSummary(
        round=number,
        n_presentations=shown.n_presentations,
        median_gain=float(np.median(gains)) if gains else None,
        sites=sites,
    )


def _at_site(
    thread: ControlThread,
    images: Sequence[ShownImage],
    site: str,
    natural: dict[str, float | None],
) -> RoundAtSite:
    column = thread.site_ids.index(site)
    far = [image for image in images if SCRATCH in image.label]
    near = [image for image in images if SCRATCH not in image.label]
    rates = [float(found[1]) for image in images if (found := PREDICTED.search(image.label))]
    measured, best = _mean(images, column), natural.get(site)
    return RoundAtSite(
        site=site,
        n_images=len(images),
        measured=measured,
        from_best=_mean(near, column),
        from_scratch=_mean(far, column),
        predicted=float(np.mean(rates)) * thread.window_s if rates else None,
        gain=measured / best if measured is not None and best else None,
    )


def _mean(images: Sequence[ShownImage], column: int) -> float | None:
    """Over images, each the mean of its counts."""
    means = [float(np.concatenate(image.counts)[:, column].mean()) for image in images]
    return float(np.mean(means)) if means else None
