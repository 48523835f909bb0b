"""Map receptive fields: patches of texture at the places of a grid, then of a finer one.

Coarse patches find where the sites look, fine ones around their median centre say it exactly. Every
place is shown once before any is shown again, textures in turn, plain gray among them.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from protocols.experiments.experiment import experiment
from protocols.experiments.textures import blank, textures
from protocols.fields import (
    BLANK_LABEL,
    TEXTURE_LABEL,
    EstimateSettings,
    FieldMap,
    FieldShowings,
)
from protocols.interfaces import Apparatus, FieldEstimation, Plan
from protocols.settings import Frozen
from protocols.steering import Steering
from protocols.vocabulary import (
    Block,
    BlockResponses,
    Images,
    Placement,
    Role,
    SiteId,
    Timing,
)

CENTRE_STEP_DEG = 0.1
"""The fine grid's centre is a multiple of it."""
LEAST_IMPROVED = 1e-9


class CoarseGrid(Frozen):
    """Where the sites look is not known: few places over a wide area."""

    n_across: int = Field(default=9, ge=3, le=51, description="places across, and up")
    step_deg: float = Field(default=2, gt=0, le=20, description="between neighbours")
    patch_deg: float = Field(default=4, gt=0, le=40, description="diameter of a patch")
    showings: int = Field(default=10, ge=1, le=1000, description="of each place")
    most_showings: int = Field(default=20, ge=1, le=1000, description="if few sites have a field")

    @property
    def reach_deg(self) -> float:
        """From the grid's centre to the outermost places'."""
        return (self.n_across - 1) / 2 * self.step_deg

    @model_validator(mode="after")
    def _more_is_not_less(self) -> Self:
        if self.most_showings < self.showings:
            raise ValueError("most_showings must not be below showings")
        return self


class FineGrid(CoarseGrid):
    """Around the median centre; without any showings there is none."""

    n_across: int = Field(default=7, ge=3, le=51, description="places across, and up")
    step_deg: float = Field(default=1, gt=0, le=20, description="between neighbours")
    patch_deg: float = Field(default=2, gt=0, le=40, description="diameter of a patch")
    showings: int = Field(default=10, ge=0, le=1000, description="of each place; 0: no fine grid")


class MapFieldsSettings(Frozen):
    """Settings of a mapping of receptive fields.

    Attributes:
        centre_deg: Of the coarse grid, right and above of the screen's centre.
        enough: Of the sites; if fewer have a field, a grid is shown `most_showings` times.
        sites: Whose fields decide where the fine grid lies; not given: all.
    """

    centre_deg: tuple[float, float] = (0.0, 0.0)
    coarse: CoarseGrid = CoarseGrid()
    fine: FineGrid = FineGrid()
    enough: float = Field(default=0.6, ge=0, le=1, description="part of the sites with a field")
    sites: tuple[SiteId, ...] | None = Field(default=None, min_length=1)
    n_textures: int = Field(default=6, ge=1, le=100, description="shown in turn")
    texture_seed: int = Field(default=0, ge=0)
    soft_edge_deg: float = Field(default=0.5, ge=0, le=20, description="of a patch")
    image_size_px: int = Field(default=128, ge=16, le=1024)
    blanks: float = Field(default=0.1, ge=0, le=1, description="showings of gray, per patch")
    estimate: EstimateSettings = EstimateSettings()
    timing: Timing = Timing()


class Patches(NamedTuple):
    """One grid's places and images."""

    label: str
    places: tuple[Placement, ...]
    images: Images
    """`(n_textures + 1, h, w, 3)`: the textures, then gray."""


@experiment(MapFieldsSettings, steers=("finish",))
def map_fields(settings: MapFieldsSettings, apparatus: Apparatus) -> Plan:
    """Coarse grid, fine grid, both together in `fields.json`.

    Told to finish, it shows no further block, and the fields are those of what was shown.
    """
    estimation = apparatus.fields(
        settings.estimate, settings.timing.count_window_s, settings.soft_edge_deg
    )
    order = apparatus.random_stream("presentation order")
    shown: list[FieldShowings] = []
    coarse = _patches("coarse", settings, settings.coarse, settings.centre_deg)
    told = apparatus.steering
    found = yield from _grid(settings, settings.coarse, coarse, shown, estimation, order, told)
    centre = found.centre_deg(settings.sites or ())
    if settings.fine.showings and centre is not None and not told.finishing:
        fine = _patches("fine", settings, settings.fine, _within(settings, centre))
        yield from _grid(settings, settings.fine, fine, shown, estimation, order, told)
    estimation.publish(estimation(FieldShowings.all_of(shown), intervals=True))


def _grid(
    settings: MapFieldsSettings,
    grid: CoarseGrid,
    patches: Patches,
    shown: list[FieldShowings],
    estimation: FieldEstimation,
    order: np.random.Generator,
    told: Steering,
) -> Generator[Block, BlockResponses, FieldMap]:
    """Showings of every place; more, if too few sites have a field. What came goes into `shown`."""
    phase = order.permutation(len(patches.places))
    own: list[FieldShowings] = []
    for number in range(grid.showings):
        yield from _pass(number, settings, patches, phase, own, order)
        if told.finishing:
            break
    shown += own
    found = estimation(FieldShowings.all_of(shown), intervals=False)
    wants_more = grid.most_showings > grid.showings and not _enough(settings, found)
    if wants_more and not told.finishing:
        more: list[FieldShowings] = []
        for number in range(grid.showings, grid.most_showings):
            yield from _pass(number, settings, patches, phase, more, order)
            if told.finishing:
                break
        shown += more
        found = estimation(FieldShowings.all_of(shown), intervals=False)
    return found


def _enough(settings: MapFieldsSettings, found: FieldMap) -> bool:
    asked = settings.sites or tuple(field.site for field in found.fields)
    n = sum(field.site in asked for field in found.significant)
    return n >= settings.enough * len(asked) - LEAST_IMPROVED


def _pass(
    number: int,
    settings: MapFieldsSettings,
    patches: Patches,
    phase: NDArray[np.int64],
    own: list[FieldShowings],
    order: np.random.Generator,
) -> Plan:
    """Every place once, each with the texture whose turn it is there, and gray."""
    n, n_blanks = len(patches.places), round(settings.blanks * len(patches.places))
    turns = [int(turn) for turn in (phase + number) % settings.n_textures]
    gray = [len(patches.images) - 1] * min(n_blanks, 1)
    middle = patches.places[n // 2]
    block = Block.of(
        patches.images[[*turns, *gray]],
        roles=Role.CONTROL,
        labels=[f"{TEXTURE_LABEL}{turn}" for turn in turns] + [BLANK_LABEL] * len(gray),
        places=[*patches.places, *[middle] * len(gray)],
        order=order.permutation([*range(n), *[n] * n_blanks]),
        label=f"{patches.label} grid, showing {number}",
        timing=settings.timing,
    )
    responses = yield block
    own.append(FieldShowings.of(block.stimuli, responses))


def _patches(
    label: str, settings: MapFieldsSettings, grid: CoarseGrid, centre_deg: tuple[float, float]
) -> Patches:
    steps = (np.arange(grid.n_across) - (grid.n_across - 1) / 2) * grid.step_deg
    places = tuple(
        Placement(
            x_deg=round(centre_deg[0] + float(x), 4),
            y_deg=round(centre_deg[1] + float(y), 4),
            size_deg=grid.patch_deg,
        )
        for y in steps[::-1]
        for x in steps
    )
    size = settings.image_size_px
    drawn = textures(
        settings.n_textures, size, grid.patch_deg, settings.soft_edge_deg, settings.texture_seed
    )
    return Patches(label, places, np.concatenate([drawn, blank(size)]))


def _within(settings: MapFieldsSettings, centre: tuple[float, float]) -> tuple[float, float]:
    """The fine grid's centre: so that its patches stay on what coarse ones covered, rounded."""
    coarse, fine = settings.coarse, settings.fine
    room = coarse.reach_deg + coarse.patch_deg / 2 - fine.reach_deg - fine.patch_deg / 2
    room = max(room, 0.0)
    x, y = (
        round(float(np.clip(at, middle - room, middle + room)) / CENTRE_STEP_DEG) * CENTRE_STEP_DEG
        for at, middle in zip(centre, settings.centre_deg, strict=True)
    )
    return round(x, 4), round(y, 4)
