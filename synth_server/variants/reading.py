"""Bases and their variants out of a session's log, with what was measured."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.documents import EventKind
from protocols.errors import DataError
from protocols.experiments.variants import Variant, base_number
from protocols.vocabulary import BlockResponses, Role
from synth_server.session.log import SessionLog

LEAST_NATURAL = 20
"""Photographs whose measured responses give a site's standard deviation; with fewer, the predicted one."""
BLOCKS = ("perturbations", "reduction")
"""How the blocks of the plans are called."""


class Shown(NamedTuple):
    """A variant that was shown, for one site (or, of no site, for all)."""

    variant: Variant
    sites: tuple[str, ...]
    image: str
    """Its id."""


class VariantRecord(NamedTuple):
    """Of one session.

    Attributes:
        site_ids: The recorded sites, in the order of the columns.
        rates: Image id → `(n_showings, n_sites)` spikes/s, in the blocks that show variants.
        bases: Number → image id.
        variants: All that were shown.
        natural_sd: `(n_sites,)` measured over the photographs of a mapping; NaN without one.
    """

    path: Path
    site_ids: tuple[str, ...]
    rates: dict[str, NDArray[np.float64]]
    bases: dict[int, str]
    variants: tuple[Shown, ...]
    natural_sd: NDArray[np.float64]

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
    log = SessionLog(path)
    window_s: dict[int, float] = {}
    labels: dict[int, str] = {}
    bases: dict[int, str] = {}
    variants: dict[str, Shown] = {}
    natural: set[str] = set()
    rates: dict[str, list[list[float]]] = defaultdict(list)
    mapped: dict[str, list[list[float]]] = defaultdict(list)
    site_ids: tuple[str, ...] = ()
    try:
        for event in log.events(EventKind.BLOCK_PROPOSED, EventKind.RESPONSES_RECEIVED):
            document = event.document
            if event.kind is EventKind.BLOCK_PROPOSED:
                timing = document["timing"]
                index = document["index"]
                labels[index] = document["label"]
                window_s[index] = (timing["count_stop_ms"] - timing["count_start_ms"]) / 1000
                for each in document["stimuli"]:
                    variant = Variant.of_label(each["label"])
                    if variant is not None and each["role"] == Role.CONTROL:
                        sites = tuple(each.get("targets", ()))
                        variants.setdefault(each["id"], Shown(variant, sites, each["id"]))
                    elif (number := base_number(each["label"])) is not None:
                        bases.setdefault(number, each["id"])
                    if each["role"] == Role.NATURAL:
                        natural.add(each["id"])
                continue
            responses = BlockResponses.model_validate(document)
            site_ids, index = responses.site_ids, responses.block_index
            here = rates if labels[index].startswith(BLOCKS) else mapped
            for shown in responses.completed():
                counts = shown.spike_counts or ()
                here[shown.stimulus_id].append([count / window_s[index] for count in counts])
    finally:
        log.close()
    if not variants or not rates:
        raise DataError(
            "the session shows no variants of images, or none was counted yet",
            where=str(path),
            expected="a session of the protocols perturb or reduction",
        )
    means = [np.mean(rows, axis=0) for key, rows in mapped.items() if key in natural]
    enough = len(means) >= LEAST_NATURAL
    sd = np.std(means, axis=0) if enough else np.full(len(site_ids), np.nan)
    found = {key: np.array(rows) for key, rows in rates.items()}
    return VariantRecord(path, site_ids, found, bases, tuple(variants.values()), np.asarray(sd))
