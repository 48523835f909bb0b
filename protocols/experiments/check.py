"""Does an encoder of another day still predict its sites? Asked before images are made by it.

A few natural images are shown a few times. A target whose answers the encoder does not predict any more
is left out: an electrode that moved records another cell, and images made for the old one are lost time.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Sequence

import numpy as np
from pydantic import Field

from protocols.experiments.passes import StimulusSet, passes
from protocols.experiments.site_choice import correlation
from protocols.interfaces import Apparatus, Encoder, PhotographSet
from protocols.settings import Frozen
from protocols.vocabulary import Block, BlockResponses, Role, SiteId, Timing

logger = logging.getLogger(__name__)
LABEL = "check"


class CheckSettings(Frozen):
    """Natural images that an encoder is checked by."""

    n_images: int = Field(default=40, ge=3, le=10_000, description="drawn from the natural images")
    repetitions: int = Field(default=3, ge=1, le=1000, description="showings of each")
    least_r: float = Field(
        default=0.3, ge=-1, le=1, description="a target below it is left out, before synthesis"
    )
    images_per_block: int = Field(default=50, ge=1, le=1000)


class Checked(Frozen):
    """What a check found.

    Attributes:
        r: Target → correlation over images of predicted rates with mean counts; none where it cannot be
            said (a site that never varied).
        kept: Targets that images are made for.
    """

    r: dict[SiteId, float | None]
    kept: tuple[SiteId, ...]
    least_r: float
    n_images: int
    repetitions: int


def checked(
    settings: CheckSettings,
    encoder: Encoder,
    targets: Sequence[str],
    photographs: PhotographSet,
    timing: Timing,
    apparatus: Apparatus,
) -> Generator[Block, BlockResponses, tuple[str, ...]]:
    """The targets that the encoder still predicts; `check.json` among the products says of all."""
    n = min(settings.n_images, len(photographs.images))
    drawn = apparatus.random_stream("check images").permutation(len(photographs.images))[:n]
    rows = sorted(drawn.tolist())
    names = [photographs.names[row] for row in rows]
    steering = apparatus.steering
    measured = yield from passes(
        StimulusSet.of(photographs.images[rows], Role.NATURAL, names),
        settings.repetitions,
        settings.images_per_block,
        apparatus.random_stream("check order"),
        timing,
        label=f"{LABEL}, repetition",
        enough=lambda n_passes: steering.finishing and n_passes >= 1,
    )
    predicted = np.asarray(encoder.predict(photographs.images[rows]), np.float64)
    found: dict[str, float | None] = {}
    for site in targets:
        if site not in measured.site_ids:
            continue
        column = measured.means[:, measured.site_ids.index(site)]
        r = correlation(predicted[:, encoder.site_ids.index(site)], column)
        found[site] = r if np.isfinite(r) else None
    kept = tuple(site for site, r in found.items() if r is not None and r >= settings.least_r)
    result = Checked(
        r=found,
        kept=kept,
        least_r=settings.least_r,
        n_images=len(rows),
        repetitions=settings.repetitions,
    )
    apparatus.publish(f"{LABEL}.json", json.dumps(result.model_dump(mode="json"), indent=2) + "\n")
    _tell(result)
    return kept


def _tell(result: Checked) -> None:
    said = {site: "–" if r is None else f"{r:.2f}" for site, r in result.r.items()}
    lost = [f"{site} (r {said[site]})" for site in result.r if site not in result.kept]
    if lost:
        logger.warning(
            "check: the encoder does not predict %s any more (below %g over %d images): no images are "
            "made for %s",
            ", ".join(lost),
            result.least_r,
            result.n_images,
            "it" if len(lost) == 1 else "them",
        )
    logger.info("check: %d of %d targets are predicted", len(result.kept), len(result.r))
