"""From an encoder and a recording to `explain.html`, a figure a site, and `explain.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.attribution import N_STEPS, integrated_gradients
from encoders.backbones import pixels_of
from encoders.checkpoint import Loaded
from encoders.progress import Progress, silent
from encoders.recording import Recording
from encoders.validation import SiteScore, correlations
from protocols.digests import image_id
from protocols.names import file_names
from protocols.vocabulary import Images, Rates
from synth_server.explain.atlas import atlas_of, check_enough
from synth_server.explain.atlas_figure import draw_atlas
from synth_server.explain.channels import heaviest_channels
from synth_server.explain.documents import (
    RANKS,
    Alike,
    Driven,
    Explanation,
    RankedImage,
    SiteExplanation,
)
from synth_server.explain.figure import draw_site
from synth_server.explain.made import (
    Made,
    is_simulated,
    of_session,
    photographs_of,
    synthesised,
)
from synth_server.explain.page import ATLAS, write_page
from synth_server.explain.subject import LEAST_SCORED, Subject, chosen_sites, subject_of

N_DRIVEN, N_ALIKE = 3, 3
IMAGES_AT_ONCE = 8
WEAK = 0.3
"""A noise-corrected r (or r, where trials are not known) below this is drawn gray."""


class ExplainSettings(NamedTuple):
    """What the page shall hold."""

    sites: tuple[str, ...] = ()
    synthesis: bool = True
    session: Path | None = None
    n_steps: int = N_STEPS
    seed: int = 0
    atlas: bool = False
    atlas_photographs: Images | None = None
    """Of the map; those of the recording if not given, which alone have measured responses."""


def explain(
    loaded: Loaded,
    encoder_digest: str,
    recorded: Recording,
    folder: Path,
    settings: ExplainSettings | None = None,
    progress: Progress = silent,
) -> Explanation:
    """Write the page, its figures and its numbers to `folder`.

    Args:
        loaded: The encoder, and what its file says.
        encoder_digest: Sha256 that stands for it.
        recorded: Images and responses, of its sites at least.
        folder: Made if it is not there; files of an earlier call are written anew.
        settings: What it shall hold.
        progress: Told of sites, and of steps of a synthesis.

    Raises:
        DataError: If encoder, recording and sites do not fit together.
    """
    settings = settings or ExplainSettings()
    simulated = False
    if settings.session is not None:
        simulated = is_simulated(settings.session)
        recorded = _photographs_alone(recorded, settings.session)
    if settings.atlas:
        more = settings.atlas_photographs
        check_enough(recorded.n_images + (0 if more is None else len(more)))
    subject = subject_of(loaded, recorded, settings.seed)
    sites = chosen_sites(settings.sites, subject.site_ids)
    made: Mapping[str, Made] = {}
    if settings.session is not None:
        made = of_session(settings.session, subject, sites)
    if settings.synthesis and (missing := [site for site in sites if site not in made]):
        natural = loaded.about.provenance.natural
        made = {**made, **synthesised(subject, missing, natural, progress)}
    (folder / "sites").mkdir(parents=True, exist_ok=True)
    found = []
    for number, (site, name) in enumerate(file_names(sites).items()):
        progress(number, len(sites), f"site {site}")
        file = folder / "sites" / f"{name}.png"
        found.append(_explained(subject, site, made.get(site), settings, file, simulated))
    document = Explanation(
        encoder=encoder_digest,
        recording=recorded.digest,
        n_images=recorded.n_images,
        scored_on=subject.scored_on,
        values_are_of=(
            "images chosen on one half of the trials, valued on the other"
            if subject.valued is not None
            else "chosen and valued on the same means: extremes are too extreme"
        ),
        n_steps=settings.n_steps,
        simulated=simulated,
        sites=tuple(found),
    )
    (folder / "explain.json").write_text(document.model_dump_json(indent=2) + "\n", "utf-8")
    if settings.atlas:
        _write_atlas(subject, made, settings, folder, progress, simulated)
    write_page(document, folder, with_atlas=settings.atlas)
    return document


def _write_atlas(
    subject: Subject,
    made: Mapping[str, Made],
    settings: ExplainSettings,
    folder: Path,
    progress: Progress,
    simulated: bool,
) -> None:
    photographs, measured = subject.recording.images, subject.recording.means
    predicted = subject.predicted
    if settings.atlas_photographs is not None:
        more = settings.atlas_photographs
        predicted = np.concatenate([predicted, _predicted(subject, more, progress)])
        measured = np.concatenate([measured, np.full((len(more), measured.shape[1]), np.nan)])
        photographs = np.concatenate([photographs, more])
    points = {
        site: (each.images, tuple(line.kind for line in each.about)) for site, each in made.items()
    }
    drawn = atlas_of(photographs, measured, predicted, subject.site_ids, points, progress)
    (folder / "atlas.json").write_text(drawn.atlas.model_dump_json(indent=2) + "\n", "utf-8")
    draw_atlas(drawn, subject.site_ids, folder / ATLAS, simulated=simulated)


def _photographs_alone(recorded: Recording, session: Path) -> Recording:
    """Without what the session made: an evolved image is no photograph, however well it drives a site."""
    natural = photographs_of(session)
    rows = np.flatnonzero([image_id(image) in natural for image in recorded.images])
    return recorded if len(rows) < LEAST_SCORED else recorded.of_images(rows)


def _predicted(subject: Subject, images: Images, progress: Progress) -> Rates:
    """`(n, n_sites)`, each network asked once for all its layers: there may be thousands of images."""
    encoder, found = subject.encoder, []
    with torch.no_grad():
        for start in range(0, len(images), IMAGES_AT_ONCE):
            pixels = pixels_of(images[start : start + IMAGES_AT_ONCE], encoder.device)
            found.append(encoder.rates(pixels).double().cpu().numpy())
            progress(start, len(images), "predicting")
    return np.concatenate(found)


def _explained(
    subject: Subject,
    site: str,
    made: Made | None,
    settings: ExplainSettings,
    file: Path,
    simulated: bool,
) -> SiteExplanation:
    column = subject.site_ids.index(site)
    score, field = subject.scores.sites[column], subject.fields[column]
    driven = _driven(subject, column)
    images = subject.recording.images[[each.image for each in driven]]
    maps = integrated_gradients(
        subject.encoder, images, [site] * len(driven), n_steps=settings.n_steps
    )
    found = SiteExplanation(
        site=site,
        r=score.r,
        reliability=score.reliability,
        r_noise_corrected=score.r_noise_corrected,
        is_weak=_is_weak(score),
        field_x_px=_finite(field.x_px),
        field_y_px=_finite(field.y_px),
        field_diameter_px=_finite(field.diameter_px),
        ranked=_ranked(subject, column),
        driven=driven,
        made=() if made is None else made.about,
        channels=heaviest_channels(subject, site),
        alike=_alike(subject, column),
        figure=f"{file.parent.name}/{file.name}",
    )
    draw_site(found, subject, maps, made, file, simulated=simulated)
    return found


def _is_weak(score: SiteScore) -> bool:
    r = score.r if score.r_noise_corrected is None else score.r_noise_corrected
    return r is None or r < WEAK


def _ranked(subject: Subject, column: int) -> tuple[RankedImage, ...]:
    """Images at the minimum, the quartiles and the maximum of one half, valued by the other."""
    chosen_by = subject.chosen_by[:, column]
    known = np.flatnonzero(np.isfinite(chosen_by))
    order = known[np.argsort(chosen_by[known], kind="stable")]
    places = [round(share * (len(order) - 1)) for share in (0, 0.25, 0.5, 0.75, 1)]
    valued = subject.valued
    return tuple(
        RankedImage(
            rank=rank,
            image=int(image),
            chosen_by=float(chosen_by[image]),
            measured=None if valued is None else _finite(float(valued[image, column])),
            predicted=float(subject.predicted[image, column]),
        )
        for rank, image in zip(RANKS, order[places], strict=True)
    )


def _driven(subject: Subject, column: int) -> tuple[Driven, ...]:
    chosen_by = subject.chosen_by[:, column]
    order = np.argsort(np.where(np.isfinite(chosen_by), -chosen_by, np.inf), kind="stable")
    valued = subject.recording.means if subject.valued is None else subject.valued
    found = []
    for image in order[:N_DRIVEN].tolist():
        measured = float(valued[image, column])
        if not np.isfinite(measured):
            measured = float(subject.recording.means[image, column])
        predicted = float(subject.predicted[image, column])
        found.append(Driven(image=image, measured=measured, predicted=predicted))
    return tuple(found)


def _alike(subject: Subject, column: int) -> tuple[Alike, ...]:
    """Sites whose mean responses go with this one's, most alike first."""
    means = subject.recording.means
    own = np.repeat(means[:, column : column + 1], means.shape[1], axis=1)
    r = _pairwise(own, means)
    others = [place for place in np.argsort(-r, kind="stable").tolist() if place != column]
    return tuple(
        Alike(site=subject.site_ids[place], r=float(r[place]))
        for place in others[:N_ALIKE]
        if np.isfinite(r[place])
    )


def _pairwise(own: NDArray[np.float64], means: NDArray[np.float64]) -> NDArray[np.float64]:
    r = correlations(own, means)
    return np.where(np.isfinite(r), r, -np.inf)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
