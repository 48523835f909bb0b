"""Bases and their variants out of a session's log, with what was measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.documents import Event, EventKind, RigAttached
from protocols.errors import DataError
from protocols.experiments.variants import Variant, base_number
from protocols.vocabulary import BlockResponses, Role, Stimulus
from synth_server.readers.log.rig_record import simulated_parts
from synth_server.session.log import SessionLog

LEAST_NATURAL = 20
"""Photographs whose measured responses give a site's standard deviation; with fewer, the predicted one."""
BLOCKS = ("perturbations", "reduction")
"""How the blocks of the plans are called."""


class Shown(NamedTuple):
    """A variant that was shown, for one site; or of no site, for all.

    Attributes:
        variant: What it is; without predictions where they are another site's.
        sites: That it was made for.
        id: By which its showings are known.
        pixels: By which the log knows the image.
        thread: The plan that showed it: base 0 of one plan is not base 0 of another.
    """

    variant: Variant
    sites: tuple[str, ...]
    id: str
    pixels: str
    thread: str

    @property
    def base(self) -> tuple[str, int]:
        """By which `VariantRecord.bases` knows its base."""
        return self.thread, self.variant.base


class Base(NamedTuple):
    """A base's id, and that of its pixels."""

    id: str
    pixels: str


class VariantRecord(NamedTuple):
    """Of one session.

    Attributes:
        site_ids: The recorded sites, in the order of the columns.
        rates: Image id → `(n_showings, n_sites)` spikes/s, in the blocks that show variants.
        bases: Thread and number → the image.
        variants: All that were shown.
        natural_sd: `(n_sites,)` measured over the photographs of a mapping; NaN without one.
        simulated: Whether a part of the rig was not real.
    """

    path: Path
    site_ids: tuple[str, ...]
    rates: dict[str, NDArray[np.float64]]
    bases: dict[tuple[str, int], Base]
    variants: tuple[Shown, ...]
    natural_sd: NDArray[np.float64]
    simulated: bool = False

    def mean(self, image: str, site: str) -> float:
        """Mean rate; NaN if it was never counted."""
        rows = self.rates.get(image)
        return float("nan") if rows is None else float(rows[:, self.site_ids.index(site)].mean())

    def sd(self, site: str) -> tuple[float, str]:
        """A site's standard deviation over photographs, spikes/s, and whether it was measured."""
        measured = float(self.natural_sd[self.site_ids.index(site)])
        if np.isfinite(measured) and measured > 0:
            return measured, "measured"
        known = [
            each.variant.sd
            for each in self.variants
            if site in each.sites and each.variant.sd is not None
        ]
        return (known[0], "predicted") if known else (float("nan"), "unknown")


def read_variants(path: Path) -> VariantRecord:
    """All variants that a session has shown so far.

    Raises:
        DataError: If it shows none.
        LogError: If it is no log.
    """
    found = Reader()
    log = SessionLog(path)
    try:
        for event in log.events(
            EventKind.RIG_ATTACHED, EventKind.BLOCK_PROPOSED, EventKind.RESPONSES_RECEIVED
        ):
            found.feed(event)
    finally:
        log.close()
    if not found.variants or not found.rates:
        raise DataError(
            "the session shows no variants of images, or none was counted yet",
            where=str(path),
            expected="a session of the protocols perturb or reduction",
        )
    return VariantRecord(
        path,
        found.site_ids,
        {key: np.array(rows) for key, rows in found.rates.items()},
        found.bases,
        tuple(each for shown in found.variants.values() for each in shown),
        sd_over_photographs(found),
        bool(simulated_parts(found.attached)),
    )


class Reader:
    """Everything that the events so far say about variants."""

    def __init__(self) -> None:
        self.attached: list[RigAttached] = []
        self.bases: dict[tuple[str, int], Base] = {}
        self.variants: dict[tuple[str, str], list[Shown]] = {}
        self.natural: set[str] = set()
        self.rates: dict[str, list[list[float]]] = defaultdict(list)
        self.mapped: dict[str, list[list[float]]] = defaultdict(list)
        self.site_ids: tuple[str, ...] = ()
        self._blocks: dict[int, tuple[float, bool]] = {}
        """Index → count window, s, and whether it shows variants."""

    def feed(self, event: Event) -> None:
        """Take in the next event of the log."""
        if event.kind is EventKind.RIG_ATTACHED:
            self.attached.append(RigAttached.model_validate(event.document))
        elif event.kind is EventKind.BLOCK_PROPOSED:
            self._block(event.document)
        else:
            responses = BlockResponses.model_validate(event.document)
            self.site_ids = responses.site_ids
            window_s, shows_variants = self._blocks.pop(responses.block_index)
            here = self.rates if shows_variants else self.mapped
            for shown in responses.completed():
                counts = shown.spike_counts or ()
                here[shown.stimulus_id].append([count / window_s for count in counts])

    def _block(self, document: Mapping[str, Any]) -> None:
        timing, thread = document["timing"], document["thread"]
        window_s = (timing["count_stop_ms"] - timing["count_start_ms"]) / 1000
        self._blocks[document["index"]] = (window_s, document["label"].startswith(BLOCKS))
        for each in (Stimulus.model_validate(stimulus) for stimulus in document["stimuli"]):
            variant = Variant.of_label(each.label)
            if variant is not None and each.role is Role.CONTROL:
                shown = of_sites(variant, each, thread)
                self.variants.setdefault((thread, each.id), shown)
            elif (number := base_number(each.label)) is not None:
                self.bases.setdefault((thread, number), Base(each.id, each.image))
            if each.role is Role.NATURAL:
                self.natural.add(each.id)


def of_sites(variant: Variant, stimulus: Stimulus, thread: str) -> list[Shown]:
    """A stimulus of that label; predictions in it are of the first site that the image was made for."""
    own, rest = stimulus.targets[:1], stimulus.targets[1:]
    if variant.predicted is None or not rest:
        return [Shown(variant, stimulus.targets, stimulus.id, stimulus.image, thread)]
    unknown = variant._replace(predicted=None, before=None, sd=None)
    return [
        Shown(variant, own, stimulus.id, stimulus.image, thread),
        Shown(unknown, rest, stimulus.id, stimulus.image, thread),
    ]


def sd_over_photographs(found: Reader) -> NDArray[np.float64]:
    """`(n_sites,)`: SD of true mean rates; the noise that is left in means of some showings is taken off.

    Else a site would seem the less sensitive the less often its photographs were shown.
    """
    rows = [np.array(rows) for key, rows in found.mapped.items() if key in found.natural]
    if len(rows) < LEAST_NATURAL:
        return np.full(len(found.site_ids), np.nan)
    variance = np.var([each.mean(axis=0) for each in rows], axis=0, ddof=1)
    noise = [each.var(axis=0, ddof=1) / len(each) for each in rows if len(each) > 1]
    if noise:
        variance = variance - np.mean(noise, axis=0)
    return np.asarray(np.where(variance > 0, np.sqrt(np.abs(variance)), np.nan))
