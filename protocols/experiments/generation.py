"""One generation, shown: its images, the natural references among them, and gray if it is asked for."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.interfaces import PhotographSet
from protocols.vocabulary import Block, BlockResponses, Codes, Images, Role, Timing

GRAY = 128
GUIDED = "guided"
"""Label of an image whose code an encoder proposed."""


class Counted(NamedTuple):
    """Mean counts of a generation's block; NaN where not measured."""

    site_ids: tuple[str, ...]
    evolved: NDArray[np.float64]
    """`(population, n_sites)`"""
    references: NDArray[np.float64]
    """`(n_references, n_sites)`"""
    blank: NDArray[np.float64]
    """`(n_sites,)`: to gray; NaN if it is not shown."""


class Company(NamedTuple):
    """What a generation is shown among, and how."""

    references: PhotographSet
    n_blanks: int
    """Showings of gray."""
    repetitions: int
    """Showings of everything else."""
    max_reshows: int
    """Blocks of what was not measured."""
    timing: Timing
    shuffle: np.random.Generator


def shown(
    number: int,
    codes: Codes,
    images: Images,
    among: Company,
    guided: Sequence[bool] | None = None,
) -> Generator[Block, BlockResponses, Counted]:
    """Show a generation in random order; then, if asked for, what of it was not measured.

    `guided`: codes that an encoder proposed; their images are labelled so.
    """
    labels = [GUIDED if each else "" for each in guided or (False,) * len(codes)]
    block = _block(number, codes, images, among, labels)
    responses = yield block
    n, n_references = len(codes), len(among.references.images)
    means = responses.mean_by_stimulus(block.stimulus_ids)
    evolved = means[:n]
    yield from _missing_shown_again(number, codes, images, evolved, among)
    blank = means[n + n_references] if among.n_blanks else np.full(means.shape[1], np.nan)
    return Counted(responses.site_ids, evolved, means[n : n + n_references], blank)


def _block(
    number: int, codes: Codes, images: Images, among: Company, evolved: Sequence[str]
) -> Block:
    """Every image `repetitions` times, gray `n_blanks` times."""
    references = among.references
    pictures = np.concatenate([images, references.images])
    order = np.repeat(np.arange(len(pictures)), among.repetitions)
    roles = [Role.EVOLVED] * len(images) + [Role.REFERENCE] * len(references.images)
    labels = [*evolved, *references.names]
    if among.n_blanks:
        order = np.append(order, np.full(among.n_blanks, len(pictures)))
        pictures = np.concatenate([pictures, np.full_like(images[:1], GRAY)])
        roles, labels = [*roles, Role.CONTROL], [*labels, "gray"]
    return Block.of(
        pictures,
        roles=roles,
        labels=labels,
        order=among.shuffle.permutation(order),
        label=f"generation {number}",
        generation=number,
        codes=codes,
        timing=among.timing,
    )


def _missing_shown_again(
    number: int, codes: Codes, images: Images, counts: NDArray[np.float64], among: Company
) -> Generator[Block, BlockResponses, None]:
    """Blocks of the images without counts; what they measure is put into `counts`."""
    for again in range(among.max_reshows):
        missing = np.flatnonzero(np.isnan(counts).all(axis=1))
        if not len(missing):
            return
        block = Block.of(
            images[missing],
            roles=Role.EVOLVED,
            label=f"generation {number}, shown again {again + 1}",
            generation=number,
            codes=codes[missing],
            timing=among.timing,
        )
        responses = yield block
        counts[missing] = responses.mean_by_stimulus(block.stimulus_ids)
