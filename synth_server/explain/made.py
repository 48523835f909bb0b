"""Images made for a site: by the encoder for this page, or by a session that showed them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from encoders.natural import NaturalStatistics, natural_statistics
from encoders.progress import Progress
from protocols.documents import EventKind, RigAttached
from protocols.vocabulary import BlockResponses, Images, Role, Stimulus
from synth_server.explain.documents import MadeImage
from synth_server.explain.subject import Subject
from synth_server.readers.log.rig_record import simulated_parts
from synth_server.session.log import SessionLog
from synth_server.synthesis.ascent import synthesize
from synth_server.synthesis.objectives import WeightedSites
from synth_server.synthesis.recipes import Recipe, recipe_of

N_DIVERSE, DIVERSITY = 3, 1.0
"""Images, and what their likeness costs, in SDs of the site's response to photographs."""
MADE_ROLES = frozenset({Role.STRETCH, Role.ONE_HOT_POPULATION, Role.EVOLVED})
NATURAL_ROLES = frozenset({Role.NATURAL, Role.BEST_NATURAL, Role.REFERENCE})
MOST = 5


class Made(NamedTuple):
    """A site's made images `(n, h, w, 3)`, and a line each."""

    images: Images
    about: tuple[MadeImage, ...]


def synthesised(
    subject: Subject, sites: Sequence[str], natural: NaturalStatistics | None, progress: Progress
) -> dict[str, Made]:
    """Suppress, stretch and diverse images of every site; scores are z-scores over photographs."""
    known = natural or natural_statistics(
        subject.recording.images, subject.predicted, subject.site_ids
    )
    size_px = subject.recording.images.shape[1]
    moments = (known.mean, known.rms_contrast)
    one = recipe_of("stimloop", size_px, moments=moments)
    several = recipe_of("stimloop", size_px, moments=moments, changes={"diversity": DIVERSITY})
    kinds = (("suppress", -1.0, one, [0]), ("stretch", 1.0, one, [0]),
             ("diverse", 1.0, several, list(range(N_DIVERSE))))  # fmt: skip
    found: dict[str, list[tuple[Images, list[MadeImage]]]] = {site: [] for site in sites}
    for number, (kind, sign, recipe, seeds) in enumerate(kinds):
        images, rates = _climbed(subject, sites, known, sign, recipe, seeds, kind, number, progress)
        for row, site in enumerate(sites):
            own = slice(row * len(seeds), (row + 1) * len(seeds))
            column = subject.site_ids.index(site)
            lines = [MadeImage(kind=kind, predicted=float(r)) for r in rates[own, column]]
            found[site].append((images[own], lines))
    return {
        site: Made(
            np.concatenate([images for images, _ in parts]),
            tuple(line for _, lines in parts for line in lines),
        )
        for site, parts in found.items()
    }


def _climbed(
    subject: Subject,
    sites: Sequence[str],
    natural: NaturalStatistics,
    sign: float,
    recipe: Recipe,
    seeds: list[int],
    kind: str,
    number: int,
    progress: Progress,
) -> tuple[Images, np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    objectives = {
        site: WeightedSites(
            WeightedSites.Settings(
                weights={site: sign}, mean=natural.predicted_mean, sd=natural.predicted_sd
            )
        )
        for site in sites
    }
    made = synthesize(
        subject.encoder,
        objectives,
        *recipe,
        seeds,
        progress=lambda done, total: progress(number * total + done, 3 * total, kind),
    )
    return made.images, made.predicted


def of_session(path: Path, subject: Subject, sites: Sequence[str]) -> dict[str, Made]:
    """What a session made for the sites and showed, `MOST` of each, with measured rates.

    The best by every other showing, valued by the rest: the best of many noisy means is high by luck. Where
    every image was shown once, the last ones, which no response chose.
    """
    shape = subject.recording.images.shape[1:]
    log = SessionLog(path)
    try:
        shown = _Shown(log, subject.site_ids)
        found = {}
        for site in sites:
            column = subject.site_ids.index(site)
            own = [each for each in shown.made.values() if site in each.targets and each.rates]
            chosen = [(each, log.array(each.pixels)) for each in chosen_of(own, column)]
            chosen = [(each, image) for each, image in chosen if image.shape == shape]
            if not chosen:
                continue
            images = np.stack([image for _, image in chosen])
            predicted = subject.encoder.predict(images)[:, column]
            lines = [
                MadeImage(kind=each.role, predicted=float(p), measured=each.valued(column))
                for (each, _), p in zip(chosen, predicted, strict=True)
            ]
            found[site] = Made(images, tuple(lines))
        return found
    finally:
        log.close()


def photographs_of(path: Path) -> frozenset[str]:
    """Hashes of the images that a session showed and that no one made: what 'photographs' means on a page."""
    log = SessionLog(path)
    try:
        natural: set[str] = set()
        for event in log.events(EventKind.BLOCK_PROPOSED):
            for each in event.document["stimuli"]:
                if each["role"] in NATURAL_ROLES:
                    natural.add(Stimulus.model_validate(each).image)
        return frozenset(natural)
    finally:
        log.close()


def is_simulated(path: Path) -> bool:
    """Whether a part of the session's rig was not real."""
    log = SessionLog(path)
    try:
        attached = log.events(EventKind.RIG_ATTACHED)
        return bool(simulated_parts(RigAttached.model_validate(e.document) for e in attached))
    finally:
        log.close()


class ShownImage(NamedTuple):
    """An image that was made for sites, and what it drew."""

    id: str
    pixels: str
    role: str
    targets: set[str]
    rates: list[list[float]]
    """Of each showing, in the order of the encoder's sites."""

    def chosen_by(self, column: int) -> float:
        """Mean of the first, third … showing."""
        return float(np.mean([row[column] for row in self.rates[::2]]))

    def valued(self, column: int) -> float:
        """Mean of the other showings; of the only one, if there is one."""
        return float(np.mean([row[column] for row in self.rates[1::2] or self.rates]))


def chosen_of(own: Sequence[ShownImage], column: int) -> Sequence[ShownImage]:
    """Of a site's images, in the order in which they came, those that a page shows."""
    often = [each for each in own if len(each.rates) > 1]
    if not often:
        return own[-MOST:]
    return sorted(often, key=lambda each: (-each.chosen_by(column), each.id))[:MOST]


class _Shown:
    """The made images of a log that was recorded from all sites of the encoder."""

    def __init__(self, log: SessionLog, site_ids: Sequence[str]) -> None:
        self.made: dict[str, ShownImage] = {}
        self._site_ids = site_ids
        windows: dict[int, float] = {}
        for event in log.events(EventKind.BLOCK_PROPOSED, EventKind.RESPONSES_RECEIVED):
            if event.kind is EventKind.BLOCK_PROPOSED:
                timing = event.document["timing"]
                window_ms = timing["count_stop_ms"] - timing["count_start_ms"]
                windows[event.document["index"]] = window_ms / 1000
                for each in event.document["stimuli"]:
                    self._propose(Stimulus.model_validate(each))
            else:
                responses = BlockResponses.model_validate(event.document)
                self._count(responses, windows[responses.block_index])

    def _propose(self, each: Stimulus) -> None:
        if each.role in MADE_ROLES:
            new = ShownImage(each.id, each.image, each.role, set(), [])
            self.made.setdefault(each.id, new).targets.update(each.targets)

    def _count(self, responses: BlockResponses, window_s: float) -> None:
        columns = [responses.site_ids.index(s) for s in self._site_ids if s in responses.site_ids]
        if len(columns) < len(self._site_ids):
            return
        for shown in responses.completed():
            if shown.stimulus_id in self.made:
                counts = shown.spike_counts or ()
                row = [counts[column] / window_s for column in columns]
                self.made[shown.stimulus_id].rates.append(row)
