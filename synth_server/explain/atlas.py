"""A map of photographs with the sites' responses on it (after Carter et al. 2019, Distill).

Features of photographs at the layer that the bundled generator inverts are laid out in the plane, neighbours
near each other (t-SNE; van der Maaten & Hinton 2008). The plane is cut into cells of about equally many
photographs; the mean of each cell's codes is drawn back by that generator. On the cells lie every site's
mean measured and predicted responses; images of a session are points.
"""

from __future__ import annotations

import importlib.util
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial.distance import cdist
from torch import Tensor
from torch.nn import functional

from encoders.features import FeatureStore, Tap
from encoders.progress import Progress, silent
from protocols.errors import DataError, InstallationError
from protocols.seeds import random_stream
from protocols.settings import Frozen
from protocols.vocabulary import Images
from synth_server.synthesis.generators.decoder import BACKBONE, IMAGE_SIZE_PX, LAYER
from synth_server.synthesis.recipes import learned_prior

Floats = NDArray[np.float64]
TAP = Tap(backbone=BACKBONE, layer=LAYER, input_px=IMAGE_SIZE_PX)
POOLED = 2
"""Rows and columns that a feature map is averaged to: what, and roughly where."""
N_COMPONENTS = 30
PERPLEXITY = 30.0
N_NEIGHBOURS = 3
LEAST_IMAGES = 40
IMAGES_A_CELL = 8
MOST_CELLS = 20
"""A side."""
IMAGES_AT_ONCE = 256


class Cell(Frozen):
    """A cell of the map; rows run down, columns to the right."""

    row: int
    column: int
    n_images: int
    measured: dict[str, float | None] = Field(description="site → mean measured response")
    predicted: dict[str, float | None] = Field(description="site → mean predicted response")


class Point(Frozen):
    """An image of a session on the map, 0..1 from left and from top."""

    site: str
    kind: str
    x: float
    y: float


class Atlas(Frozen):
    """What `atlas.json` holds."""

    n_images: int
    side: int
    cells: tuple[Cell, ...]
    points: tuple[Point, ...]
    n_held_out: int = Field(description="photographs that took no part in the layout")
    lands_top1: float = Field(
        description="share of them whose own cell's drawn image is nearest to them in features"
    )
    lands_chance: float = Field(description="the same for a cell drawn by chance")
    lands_mean_rank: float = Field(
        description="of their own cell among all, 0 the nearest, 1 the furthest; 0.5 by chance"
    )


class Drawn(NamedTuple):
    """The map and its pictures."""

    atlas: Atlas
    pictures: dict[tuple[int, int], NDArray[np.uint8]]
    """`(128, 128, 3)` of each cell that holds photographs."""


class _Layout(NamedTuple):
    """Where images lie, and how new ones are placed."""

    positions: Floats
    """`(n, 2)`, each coordinate uniform in 0..1."""
    looks: Floats
    """`(n, d)`, z-scored."""
    mean: Floats
    scale: Floats

    def place(self, features: Floats) -> Floats:
        """New images among their nearest neighbours, `(m, 2)`."""
        z = (features - self.mean) / self.scale
        found = np.empty((len(z), 2))
        # a few at a time: all distances of a large map at once would not fit into memory
        for start in range(0, len(z), IMAGES_AT_ONCE):
            some = slice(start, start + IMAGES_AT_ONCE)
            distance = cdist(z[some], self.looks, "sqeuclidean")
            nearest = np.argsort(distance, axis=1, kind="stable")[:, :N_NEIGHBOURS]
            found[some] = np.median(self.positions[nearest], axis=1)
        return found


def atlas_of(
    photographs: Images,
    measured: Floats,
    predicted: Floats,
    site_ids: tuple[str, ...],
    made: dict[str, tuple[Images, tuple[str, ...]]] | None = None,
    progress: Progress = silent,
) -> Drawn:
    """Lay out photographs, draw the cells, put responses and made images on them.

    Args:
        photographs: `(n, h, h, 3) uint8`.
        measured: `(n, n_sites)`, NaN where not measured.
        predicted: `(n, n_sites)`.
        site_ids: Of the columns.
        made: Site → images made for it `(m, h, h, 3)`, and a word each.
        progress: Told of steps.

    Raises:
        DataError: If there are too few photographs.
        InstallationError: If scikit-learn is not installed.
    """
    n = len(photographs)
    check_enough(n)
    maps = _maps(photographs, progress)
    features = _looks(maps)
    order = random_stream(0, "atlas", "held out").permutation(n)
    held_out, known = np.sort(order[: n // 10]), np.sort(order[n // 10 :])
    layout = _laid_out(features[known])
    side = int(np.clip(np.sqrt(len(known) / IMAGES_A_CELL), 3, MOST_CELLS))
    places = np.empty((n, 2))
    places[known] = layout.positions
    places[held_out] = layout.place(features[held_out])
    cells = np.minimum((places * side).astype(int), side - 1)
    generator = learned_prior()
    progress(0, 2, "cells")
    codes = generator.codes_of(maps).astype(np.float64)
    length = np.sqrt((codes**2).mean())
    drawn: dict[tuple[int, int], NDArray[np.uint8]] = {}
    rows = []
    for row in range(side):
        for column in range(side):
            within = (cells[:, 1] == row) & (cells[:, 0] == column)
            own = np.flatnonzero(within & np.isin(np.arange(n), known))
            rows.append(_cell(row, column, within, len(own), measured, predicted, site_ids))
            if len(own):
                # a mean is shorter than what it is a mean of, and would be drawn flat
                mean = codes[own].mean(axis=0)
                mean *= length / max(np.sqrt((mean**2).mean()), 1e-9)
                drawn[row, column] = generator(mean[None].astype(np.float32))[0]
    progress(1, 2, "cells")
    top1, rank = _landing(features, cells, held_out, drawn, layout)
    points = [
        Point(site=site, kind=kind, x=float(x), y=float(y))
        for site, (images, kinds) in (made or {}).items()
        for kind, (x, y) in zip(kinds, layout.place(_looks(_maps(images))), strict=True)
    ]
    atlas = Atlas(
        n_images=n,
        side=side,
        cells=tuple(rows),
        points=tuple(points),
        n_held_out=len(held_out),
        lands_top1=top1,
        lands_chance=1 / len(drawn),
        lands_mean_rank=rank,
    )
    return Drawn(atlas, drawn)


def check_enough(n: int) -> None:
    """Raise `DataError` if a map needs more photographs, `InstallationError` if it needs scikit-learn."""
    if n < LEAST_IMAGES:
        raise DataError(
            "too few photographs for a map",
            where="--atlas",
            expected=f"at least {LEAST_IMAGES}",
            got=n,
            remedy="add some: --atlas-images FOLDER",
        )
    if importlib.util.find_spec("sklearn") is None:
        raise InstallationError(
            "a map needs scikit-learn", got="it is not installed", remedy="pip install scikit-learn"
        )


def _maps(images: Images, progress: Progress = silent) -> Tensor:
    """`(n, c, h, w)`: features as the generator inverts them."""
    return FeatureStore().features(TAP, images, progress=progress)


def _looks(maps: Tensor) -> Floats:
    """`(n, d)`: features, averaged to a few places."""
    pooled = functional.adaptive_avg_pool2d(maps, POOLED)
    found: Floats = pooled.flatten(1).double().numpy()
    return found


def _laid_out(features: Floats) -> _Layout:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    mean, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-9)
    z = (features - mean) / scale
    reduced: Any = PCA(min(N_COMPONENTS, len(z) - 1), svd_solver="full").fit_transform(z)
    perplexity = min(PERPLEXITY, (len(z) - 1) / 4)
    plane = TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(reduced)
    ranks = np.argsort(np.argsort(plane, axis=0, kind="stable"), axis=0, kind="stable")
    return _Layout((ranks + 0.5) / len(z), z, mean, scale)


def _cell(
    row: int,
    column: int,
    within: NDArray[np.bool_],
    n_images: int,
    measured: Floats,
    predicted: Floats,
    site_ids: tuple[str, ...],
) -> Cell:
    def means(values: Floats) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for site, own in zip(site_ids, values[within].T, strict=True):
            known = own[np.isfinite(own)]
            found[site] = float(known.mean()) if len(known) else None
        return found

    return Cell(
        row=row,
        column=column,
        n_images=n_images,
        measured=means(measured),
        predicted=means(predicted),
    )


def _landing(
    features: Floats,
    cells: NDArray[np.int64],
    held_out: NDArray[np.int64],
    drawn: dict[tuple[int, int], NDArray[np.uint8]],
    layout: _Layout,
) -> tuple[float, float]:
    """How often a held-out photograph's own cell looks most like it; its mean rank in 0..1."""
    keys = list(drawn)
    looks = (_looks(_maps(np.stack(list(drawn.values())))) - layout.mean) / layout.scale
    z = (features - layout.mean) / layout.scale
    hits, ranks = [], []
    for image in held_out.tolist():
        own = (int(cells[image, 1]), int(cells[image, 0]))
        if own not in drawn:
            hits.append(False)
            ranks.append(1.0)
            continue
        distance = ((looks - z[image]) ** 2).sum(axis=1)
        rank = int((distance < distance[keys.index(own)]).sum())
        hits.append(rank == 0)
        ranks.append(rank / max(1, len(keys) - 1))
    return float(np.mean(hits)), float(np.mean(ranks))
