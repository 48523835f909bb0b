"""Category selectivity: responses to natural images by the folder that they came from.

An image is named by its path within the set: `faces/07.png` is of the category `faces`.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath

import numpy as np

from protocols.settings import Frozen
from protocols.vocabulary import Role
from synth_server.readers.log.evolved_thread import EvolvedThread

LEAST_CATEGORIES, LEAST_IMAGES = 2, 2


class CategoryResponse(Frozen):
    """A site's mean count over the images of a category.

    Attributes:
        sem: Standard error over images; None for a single one.
    """

    site: str
    category: str
    n_images: int
    mean: float
    sem: float | None


def category_of(label: str) -> str:
    """The folder of an image's name; empty if it has none."""
    folder = PurePosixPath(label).parent.name
    return "" if folder == "." else folder


def category_responses(thread: EvolvedThread) -> tuple[CategoryResponse, ...]:
    """Of references and mapped images; nothing unless they are of two categories or more."""
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for role in (Role.REFERENCE, Role.NATURAL):
        ids, means = thread.mean_counts(role)
        for stimulus_id, counts in zip(ids, means, strict=True):
            found[category_of(thread.labels[stimulus_id])].append(counts)
    named = {name: np.array(rows) for name, rows in found.items() if name}
    if len(named) < LEAST_CATEGORIES or max(map(len, named.values())) < LEAST_IMAGES:
        return ()
    sites = thread.sites or thread.site_ids
    return tuple(
        CategoryResponse(
            site=site,
            category=name,
            n_images=len(rows),
            mean=float(rows[:, column].mean()),
            sem=float(rows[:, column].std(ddof=1) / np.sqrt(len(rows))) if len(rows) > 1 else None,
        )
        for column, site in enumerate(thread.site_ids)
        if site in sites
        for name, rows in sorted(named.items())
    )
