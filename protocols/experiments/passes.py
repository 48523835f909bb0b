"""Passes: a set of images shown again and again, each pass in a new random order, cut into blocks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.digests import image_id
from protocols.vocabulary import Block, BlockResponses, Images, Role, Timing

LABEL_LENGTH = 200


class StimulusSet(NamedTuple):
    """Images, all different, with what a block says of each."""

    images: Images
    """`(n, h, w, 3) uint8`."""
    roles: tuple[Role, ...]
    labels: tuple[str, ...]
    targets: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, images: Images, role: Role, labels: Sequence[str]) -> StimulusSet:
        """Images of one role that aim at no site."""
        n = len(images)
        return cls(images, (role,) * n, tuple(labels), ((),) * n)


class Measured(NamedTuple):
    """What sites answered to a set of images."""

    site_ids: tuple[str, ...]
    counts: NDArray[np.float64]
    """`(n_sites, n_images, n_passes)` spikes in the count window, NaN where not measured."""

    @property
    def means(self) -> NDArray[np.float64]:
        """`(n_images, n_sites)` mean counts; NaN where an image was never measured."""
        known = np.isfinite(self.counts)
        n = known.sum(axis=2)
        total = np.where(known, self.counts, 0.0).sum(axis=2)
        means: NDArray[np.float64] = np.where(n > 0, total / np.maximum(n, 1), np.nan).T
        return means


Passes: TypeAlias = Generator[Block, BlockResponses, Measured]
"""Yields blocks, is sent the responses, returns what was measured in all of them."""


def never(_n_passes: int) -> bool:
    """Show all passes."""
    return False


def anybody(_targets: Sequence[str]) -> bool:
    """Show all images, whoever they were made for."""
    return True


def passes(
    stimuli: StimulusSet,
    repetitions: int,
    images_per_block: int,
    shuffle: np.random.Generator,
    timing: Timing,
    *,
    label: str = "repetition",
    numbered: bool = True,
    enough: Callable[[int], bool] = never,
    wanted: Callable[[Sequence[str]], bool] = anybody,
) -> Passes:
    """Show every image once before any is shown again.

    A session that is cut short has still seen all images about equally often. Blocks are called
    `label`, with the pass and the images where they are `numbered`.

    Args:
        stimuli: What is shown.
        repetitions: Passes.
        images_per_block: At most.
        shuffle: Draws the orders.
        timing: Of the blocks.
        label: Of the blocks.
        numbered: Whether blocks are told apart by their labels.
        enough: Asked after each block with the number of whole passes: whether to show no more.
        wanted: Asked before each pass with an image's targets: whether it is still shown.
    """
    ids = [image_id(image) for image in stimuli.images]
    found: list[list[tuple[NDArray[np.int64], BlockResponses]]] = []
    for repetition in range(repetitions):
        order = shuffle.permutation(len(ids))
        order = order[[wanted(stimuli.targets[i]) for i in order]]
        if not len(order) and found:
            break
        found.append([])
        for start in range(0, len(order), images_per_block):
            chosen = order[start : start + images_per_block]
            place = f" {repetition}, images {start}–{start + len(chosen) - 1}"
            responses = yield Block.of(
                stimuli.images[chosen],
                roles=[stimuli.roles[i] for i in chosen],
                labels=[stimuli.labels[i][-LABEL_LENGTH:] for i in chosen],
                targets=[stimuli.targets[i] for i in chosen],
                label=label + place if numbered else label,
                timing=timing,
            )
            found[-1].append((chosen, responses))
            if enough(repetition + (start + images_per_block >= len(order))):
                return _measured(ids, found)
    return _measured(ids, found)


def _measured(
    ids: Sequence[str], found: Sequence[Sequence[tuple[NDArray[np.int64], BlockResponses]]]
) -> Measured:
    site_ids = found[0][0][1].site_ids
    counts = np.full((len(site_ids), len(ids), len(found)), np.nan)
    for number, blocks in enumerate(found):
        for chosen, responses in blocks:
            means = responses.mean_by_stimulus([ids[i] for i in chosen])
            counts[:, chosen, number] = means.T
    return Measured(site_ids, counts)
