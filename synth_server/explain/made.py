"""Images made for a site: by the encoder for this page, or by a session that showed them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from encoders.natural import NaturalStatistics, natural_statistics
from encoders.progress import Progress
from protocols.documents import EventKind
from protocols.vocabulary import BlockResponses, Images, Role
from synth_server.explain.documents import MadeImage
from synth_server.explain.subject import Subject
from synth_server.session.log import SessionLog
from synth_server.synthesis.ascent import synthesize
from synth_server.synthesis.objectives import WeightedSites
from synth_server.synthesis.recipes import Recipe, recipe_of

N_DIVERSE, DIVERSITY = 3, 1.0
"""Images, and what their likeness costs, in SDs of the site's response to photographs."""
MADE_ROLES = frozenset({Role.STRETCH, Role.ONE_HOT_POPULATION, Role.EVOLVED})
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
    """What a session made for the sites and showed, the best `MOST` of each, with measured rates."""
    log = SessionLog(path)
    try:
        roles, aims, counted = _shown(log, subject.site_ids)
        found = {}
        for site in sites:
            column = subject.site_ids.index(site)
            own = [key for key, targets in aims.items() if site in targets and key in counted]
            rates = {key: float(np.mean([row[column] for row in counted[key]])) for key in own}
            best = sorted(own, key=lambda key: (-rates[key], key))[:MOST]
            shape = subject.recording.images.shape[1:]
            best = [key for key in best if log.array(key).shape == shape]
            if not best:
                continue
            images = np.stack([log.array(key) for key in best])
            predicted = subject.encoder.predict(images)[:, column]
            found[site] = Made(
                images,
                tuple(
                    MadeImage(kind=roles[key], predicted=float(p), measured=rates[key])
                    for key, p in zip(best, predicted, strict=True)
                ),
            )
        return found
    finally:
        log.close()


def _shown(
    log: SessionLog, site_ids: Sequence[str]
) -> tuple[dict[str, str], dict[str, set[str]], dict[str, list[list[float]]]]:
    roles: dict[str, str] = {}
    aims: dict[str, set[str]] = {}
    windows: dict[int, float] = {}
    counted: dict[str, list[list[float]]] = {}
    for event in log.events(EventKind.BLOCK_PROPOSED, EventKind.RESPONSES_RECEIVED):
        document = event.document
        if event.kind is EventKind.BLOCK_PROPOSED:
            timing = document["timing"]
            windows[document["index"]] = (timing["count_stop_ms"] - timing["count_start_ms"]) / 1000
            for each in document["stimuli"]:
                if each["role"] in MADE_ROLES:
                    roles[each["id"]] = each["role"]
                    aims.setdefault(each["id"], set()).update(each.get("targets", ()))
            continue
        responses = BlockResponses.model_validate(document)
        columns = [responses.site_ids.index(s) for s in site_ids if s in responses.site_ids]
        if len(columns) < len(site_ids):
            continue
        for shown in responses.completed():
            if shown.stimulus_id in roles:
                counts = shown.spike_counts or ()
                window_s = windows[responses.block_index]
                row = [counts[column] / window_s for column in columns]
                counted.setdefault(shown.stimulus_id, []).append(row)
    return roles, aims, counted
