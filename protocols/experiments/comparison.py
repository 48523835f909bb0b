"""What synthesised images are shown among, and compared with.

The controls of Bashivan, Kar & DiCarlo (2019): the natural images that did best, the same at a raised
contrast, and the images made for other sites; and besides, the noise that synthesis began from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.digests import image_id
from protocols.experiments.passes import StimulusSet
from protocols.interfaces import PhotographSet, SyntheticImages
from protocols.vocabulary import Images, Role

CONTRAST_PASSES = 40
CONTRAST_TOLERANCE = 0.01
"""Of RMS contrast, relative."""


class Stimuli:
    """Collects stimuli; an image that is wanted for several sites is one stimulus of all of them."""

    def __init__(self) -> None:
        self._images: dict[str, NDArray[np.uint8]] = {}
        self._roles: dict[str, Role] = {}
        self._labels: dict[str, str] = {}
        self._targets: dict[str, tuple[str, ...]] = {}

    def add(
        self, image: NDArray[np.uint8], role: Role, label: str, targets: Sequence[str] = ()
    ) -> None:
        """Add an image `(h, w, 3) uint8`; one that is there already only gains targets.

        What is there in another role stays what it was: an image of highest contrast cannot be
        enhanced, and is its own control.
        """
        key = image_id(image)
        if self._roles.setdefault(key, role) is not role:
            return
        self._images[key] = image
        self._labels.setdefault(key, label)
        known = self._targets.get(key, ())
        self._targets[key] = (*known, *(site for site in targets if site not in known))

    def __len__(self) -> int:
        """How many different images."""
        return len(self._images)

    def all(self) -> StimulusSet:
        """All of them, in the order in which they came."""
        return StimulusSet(
            np.stack(list(self._images.values())),
            tuple(self._roles[key] for key in self._images),
            tuple(self._labels[key] for key in self._images),
            tuple(self._targets[key] for key in self._images),
        )


def best_natural(scores: Mapping[str, NDArray[np.float64]], k: int) -> dict[str, tuple[int, ...]]:
    """Site → the `k` images with the highest scores `(n_images,)`; those without a score never."""
    chosen = {}
    for site, values in scores.items():
        order = np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable")
        chosen[site] = tuple(int(i) for i in order[:k] if not np.isnan(values[i]))
    return chosen


def compared(
    made: SyntheticImages,
    site_ids: Sequence[str],
    role: Role,
    natural: PhotographSet,
    best: Mapping[str, Sequence[int]],
    contrast_gain: float,
    noise: Images,
) -> StimulusSet:
    """The synthesised images and everything that they are compared with.

    Args:
        made: One image for each target and seed.
        site_ids: The columns of its predictions.
        role: Why they were made.
        natural: The natural images.
        best: Target → which of them did best.
        contrast_gain: What the RMS contrast of those is multiplied by; 1 leaves them out.
        noise: `(n_seeds, h, w, 3)`: where the images of these seeds began; may be empty.
    """
    stimuli, columns = Stimuli(), list(site_ids)
    predicted = np.asarray(made.predicted)
    for row, (target, seed) in enumerate(zip(made.targets, made.seeds, strict=True)):
        rate = predicted[row, columns.index(target)]
        label = f"{target}, seed {seed}, predicted {rate:.1f} spikes/s"
        stimuli.add(made.images[row], role, label, (target,))
    for target, chosen in best.items():
        for i in chosen:
            stimuli.add(natural.images[i], Role.BEST_NATURAL, natural.names[i], (target,))
    for target, chosen in best.items() if contrast_gain > 1 else ():
        for i in chosen:
            stimuli.add(
                contrast_enhanced(natural.images[i], contrast_gain),
                Role.CONTRAST_ENHANCED,
                f"contrast × {contrast_gain:g}: {natural.names[i]}",
                (target,),
            )
    for image, seed in zip(noise, dict.fromkeys(made.seeds), strict=False):
        stimuli.add(image, Role.NOISE, f"noise, seed {seed}", tuple(best))
    return stimuli.all()


def contrast_enhanced(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """`image` `(h, w, 3)` with `factor` times the RMS contrast, and the same mean.

    RMS contrast is the standard deviation over pixels and channels. What clipping takes away, a
    larger gain gives back, as far as that goes: an image in two tones has no more contrast to gain.
    """
    pixels = image.astype(np.float64)
    mean, rms = pixels.mean(), pixels.std()
    wanted, gain, offset = factor * rms, factor, mean
    result = pixels
    for _ in range(CONTRAST_PASSES if rms > 0 else 0):
        result = np.clip(offset + gain * (pixels - mean), 0, 255)
        missing = mean - result.mean()
        if abs(result.std() / wanted - 1) < CONTRAST_TOLERANCE and abs(missing) < 0.5:
            break
        gain *= min(wanted / result.std(), 2.0)
        offset += missing
    return np.rint(result).astype(np.uint8)


def distinct(natural: PhotographSet) -> PhotographSet:
    """The same without images that were there before."""
    first: dict[str, int] = {}
    for row, image in enumerate(natural.images):
        first.setdefault(image_id(image), row)
    rows = list(first.values())
    return PhotographSet(natural.images[rows], tuple(natural.names[row] for row in rows))
