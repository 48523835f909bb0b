"""Responses to natural images by their similarity to evolved images (Ponce et al. 2019).

Each natural image's similarity to the evolved images, in the features of a network that neither drew
the images nor stands behind the neurons, is correlated with the mean count that it drew. As a control,
the same with the similarity of the pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.seeds import random_stream
from protocols.settings import Frozen
from protocols.vocabulary import Images, Role
from synth_server.readers.log.evolved_thread import NATURAL_ROLES, START, EvolvedThread
from synth_server.readers.statistics.bootstrap import N_RESAMPLES, Estimate, Floats
from synth_server.readers.statistics.resemblance import resemblances, sampled_correlation
from synth_server.readers.statistics.significance import correlation_p

FeaturesOf: TypeAlias = Callable[[Images], Floats]
"""`(n, h, w, 3) uint8` → `(n, d)`."""
ImageOf: TypeAlias = Callable[[str], NDArray[np.uint8]]
"""An image by its id, `(h, w, 3)`."""
Measure = Literal["features", "pixels"]
NaturalSet = Literal["references", "start"]
MIN_IMAGES = 5


class NaturalImage(Frozen):
    """A natural image, the mean count that it drew, and how similar the evolved images are to it."""

    id: str
    name: str
    natural_set: NaturalSet
    n_showings: int
    mean_count: float
    in_features: float | None
    in_pixels: float | None


class Correlation(Frozen):
    """Of similarity with mean counts, over the images of a set.

    Attributes:
        natural_set: Images that steered nothing, or the photographs of a warm start: an evolution
            begins from the best of these and so resembles them by construction.
        p: Permutation test of Pearson's r.
    """

    measure: Measure
    natural_set: NaturalSet
    n_images: int
    pearson: Estimate
    spearman: Estimate
    p: float | None


class Similarity(Frozen):
    """Similarity of natural to evolved images, against responses.

    Attributes:
        evolved_in: Which evolved images: those of the test, or of the last generation.
    """

    evolved_in: Literal["test", "last generation"]
    n_evolved: int
    images: tuple[NaturalImage, ...]
    correlations: tuple[Correlation, ...]


def similarity(
    thread: EvolvedThread, image_of: ImageOf, features_of: FeaturesOf | None, seed: int
) -> Similarity | None:
    """Of one thread; `features_of` None compares pixels only. None for fewer than `MIN_IMAGES`."""
    tested = dict.fromkeys(each.id for each in thread.tested if each.role is Role.EVOLVED)
    evolved = list(tested) or last_generation_ids(thread)
    natural = _natural(thread)
    if not evolved or len(natural) < MIN_IMAGES:
        return None
    theirs = np.stack([image_of(stimulus_id) for stimulus_id in natural])
    ours = np.stack([image_of(stimulus_id) for stimulus_id in evolved])
    resemblance: dict[Measure, Floats] = {"pixels": resemblances(_pixels(theirs), _pixels(ours))}
    if features_of is not None:
        resemblance["features"] = resemblances(features_of(theirs), features_of(ours))
    in_features = resemblance.get("features", np.full(len(theirs), np.nan))
    images = tuple(
        image.model_copy(update={"in_features": _known(f), "in_pixels": _known(p)})
        for image, f, p in zip(natural.values(), in_features, resemblance["pixels"], strict=True)
    )
    return Similarity(
        evolved_in="test" if tested else "last generation",
        n_evolved=len(evolved),
        images=images,
        correlations=tuple(
            _correlation(measure, natural_set, images, values, thread.name, seed)
            for measure, values in sorted(resemblance.items())
            for natural_set in ("references", "start")
            if sum(image.natural_set == natural_set for image in images) >= MIN_IMAGES
        ),
    )


def last_generation_ids(thread: EvolvedThread) -> list[str]:
    """Ids of the last generation's images, the highest score first, each once."""
    if not thread.measured:
        return []
    last = thread.generations[thread.measured[-1]]
    order = np.argsort(-last.evolved, kind="stable")
    return list(dict.fromkeys(last.evolved_ids[int(place)] for place in order))


def _natural(thread: EvolvedThread) -> dict[str, NaturalImage]:
    """Every natural image, with its mean count over the driven sites and all its showings."""
    columns = [thread.site_ids.index(site) for site in thread.sites]
    counts: dict[str, list[Floats]] = {}
    started = {each.id for each in thread.natural if each.phase == START}
    for each in thread.natural:
        if each.role in NATURAL_ROLES:
            counts.setdefault(each.id, []).append(each.counts[:, columns].mean(axis=1))
    return {
        stimulus_id: NaturalImage(
            id=stimulus_id,
            name=thread.labels[stimulus_id],
            natural_set="start" if stimulus_id in started else "references",
            n_showings=len(shown := np.concatenate(blocks)),
            mean_count=float(shown.mean()),
            in_features=None,
            in_pixels=None,
        )
        for stimulus_id, blocks in counts.items()
    }


def _correlation(
    measure: Measure,
    natural_set: NaturalSet,
    images: Sequence[NaturalImage],
    values: Floats,
    thread: str,
    seed: int,
) -> Correlation:
    chosen = [i for i, image in enumerate(images) if image.natural_set == natural_set]
    similar = values[chosen]
    counts = np.array([images[i].mean_count for i in chosen])
    random = random_stream(seed, "report", thread, "similarity", measure, natural_set)
    drawn = random.integers(len(chosen), size=(N_RESAMPLES, len(chosen)))
    return Correlation(
        measure=measure,
        natural_set=natural_set,
        n_images=len(chosen),
        pearson=sampled_correlation(similar, counts, drawn),
        spearman=sampled_correlation(similar, counts, drawn, of_ranks=True),
        p=correlation_p(similar, counts, random),
    )


def _pixels(images: Images) -> Floats:
    return images.reshape(len(images), -1).astype(np.float64)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
