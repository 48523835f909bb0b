"""Compare networks with a recording: three measures, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encoders.backbones.choice import NetworkChoice
from encoders.geometry import debiased_cka, dissimilarities, gram, rsa, standardised
from encoders.predictivity import reliability_of
from encoders.progress import Progress, silent
from encoders.recording import Recording, split_images
from encoders.validation import halves
from protocols.errors import DataError
from protocols.seeds import random_stream
from synth_server.compare.documents import (
    CHOSEN_BY,
    MEASURES,
    Band,
    BestLayer,
    Comparison,
    LayerScore,
    NetworkScore,
)
from synth_server.compare.layer_scores import CompareSettings, Sites, layer_score
from synth_server.compare.networks import (
    Layer,
    check_loadable,
    layers_of,
    patterns,
)

N_HALVINGS = 20
"""Of the trials, for the ceilings."""
LEAST_FOR_RSA = 5
"""Sites: over two of them every correlation of two patterns is 1 or −1."""
LEAST_IMAGES = 20
"""Ten for the choice of a layer, ten for its score."""


def compare(
    recording: Recording,
    networks: Sequence[NetworkChoice],
    settings: CompareSettings | None = None,
    *,
    layers: Sequence[str] = (),
    progress: Progress = silent,
) -> Comparison:
    """All layers of all networks against all sites of `recording`.

    Args:
        recording: Images and responses; single trials give ceilings and noise-corrected figures.
        networks: What is compared with it.
        settings: How.
        layers: Only these, of networks that have them; all if none is given.
        progress: Told of images, then of layers.

    Raises:
        DataError: If too few images or sites are left.
        SettingsError, InstallationError: If a network or layer is not there, before work begins.
    """
    settings = settings or CompareSettings()
    size_px = recording.images.shape[1]
    chosen = {network: layers_of(network, size_px, layers) for network in networks}
    for network, its_layers in chosen.items():
        check_loadable(network, its_layers[-1].name)
    usable, left_out = _usable(recording)
    sites = _sites(usable, settings)
    scored = [
        _network(network, its_layers, sites, settings, progress)
        for network, its_layers in chosen.items()
    ]
    reliability = None if sites.reliability is None else float(np.nanmedian(sites.reliability))
    return Comparison(
        n_images=usable.n_images,
        n_sites=len(usable.site_ids),
        site_ids=usable.site_ids,
        left_out=left_out,
        n_images_left_out=recording.n_images - usable.n_images,
        recording=recording.digest,
        image_size_px=(recording.images.shape[1], recording.images.shape[2]),
        readout=settings.readout,
        n_splits=settings.n_splits,
        seed=settings.seed,
        measures=MEASURES,
        reliability=reliability,
        ceilings=_ceilings(usable, settings.seed),
        networks=tuple(scored),
    )


def _usable(recording: Recording) -> tuple[Recording, dict[str, str]]:
    """Sites that vary, and the images that all of those were measured for."""
    reasons = recording.unusable_sites()
    kept = [site for site in recording.site_ids if site not in reasons]
    if len(kept) < 2:
        raise DataError(
            "too few sites to compare",
            where="responses",
            expected="at least 2 that vary",
            got="; ".join(f"site {site}: {why}" for site, why in reasons.items())[:300]
            or f"{len(kept)} site",
        )
    of_sites = recording.of_sites(kept)
    whole = np.flatnonzero(np.isfinite(of_sites.means).all(axis=1))
    if len(whole) < LEAST_IMAGES:
        raise DataError(
            "too few images that all sites were measured for",
            where="responses",
            expected=f"at least {LEAST_IMAGES}",
            got=len(whole),
            remedy="leave out the sites with gaps",
        )
    return of_sites.of_images(whole), reasons


def _sites(recording: Recording, settings: CompareSettings) -> Sites:
    z = standardised(recording.means)
    random = random_stream(settings.seed, "compare", "halves of the images")
    first, second = split_images(len(z), len(z) // 2, random, recording.copies)
    return Sites(
        recording,
        gram(z),
        dissimilarities(z) if z.shape[1] >= LEAST_FOR_RSA else None,
        reliability_of(recording, random_stream(settings.seed, "reliability")),
        (np.sort(first), np.sort(second)),
    )


def _ceilings(recording: Recording, seed: int) -> dict[str, Band]:
    """One half of each image's trials against the other half; none without repetitions."""
    if recording.trials is None:
        return {}
    random = random_stream(seed, "compare", "halves of the trials")
    found: dict[str, list[float]] = {"cka": [], "rsa": [], "rsa_pearson": []}
    for _ in range(N_HALVINGS):
        first, second = halves(recording.trials, random)
        whole = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
        if np.count_nonzero(whole) < LEAST_IMAGES:
            return {}
        a, b = standardised(first[whole]), standardised(second[whole])
        found["cka"].append(debiased_cka(gram(a), gram(b)))
        if a.shape[1] >= LEAST_FOR_RSA:
            rdms = dissimilarities(a), dissimilarities(b)
            found["rsa"].append(rsa(*rdms))
            found["rsa_pearson"].append(rsa(*rdms, "pearson"))
    bands = {name: Band.of(values) for name, values in found.items()}
    return {name: band for name, band in bands.items() if band is not None}


def _network(
    choice: NetworkChoice,
    layers: Sequence[Layer],
    sites: Sites,
    settings: CompareSettings,
    progress: Progress,
) -> NetworkScore:
    scores: list[LayerScore] = []
    on_halves: list[dict[str, tuple[float, float]]] = []
    steps = patterns(choice, layers, sites.recording.images, progress)
    for number, (layer, found) in enumerate(steps):
        progress(number, len(layers), f"{choice.label} {layer.name}")
        if isinstance(found, str):
            scores.append(LayerScore(layer=layer.name, depth=layer.depth, n_units=None, note=found))
            on_halves.append({})
            continue
        score, parts = layer_score(choice, layer, found, sites, settings)
        scores.append(score)
        on_halves.append(parts)
    return NetworkScore(
        network=choice.name,
        weights=choice.weights,
        label=choice.label,
        layers=tuple(scores),
        best=_best(scores, on_halves),
    )


def _best(
    scores: Sequence[LayerScore], on_halves: Sequence[dict[str, tuple[float, float]]]
) -> dict[str, BestLayer]:
    """By each measure, the layer that is best on the first half of the images, scored on the second."""
    best = {}
    for measure in CHOSEN_BY:
        known = [
            (parts[measure], score.layer)
            for score, parts in zip(scores, on_halves, strict=True)
            if measure in parts and np.isfinite(parts[measure][0])
        ]
        if known:
            (chosen_on, scored), layer = max(known, key=lambda each: each[0][0])
            best[measure] = BestLayer(
                layer=layer,
                chosen_on=chosen_on,
                scored=scored if np.isfinite(scored) else None,
            )
    return best
