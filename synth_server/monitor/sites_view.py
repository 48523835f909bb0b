"""The sites of a session for the page: table, receptive fields, time courses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from protocols.errors import SettingsError
from protocols.fields import FieldMap, SiteField
from protocols.rig_description import Edges
from protocols.settings import Frozen
from protocols.vocabulary import Placement
from synth_server.readers.summary.sites import SiteLine, read_sites
from synth_server.readers.time_courses.psth_and_latency import BIN_MS, Course

RASTER_ROWS = 60
"""Showings in a raster, spread over the session."""


class MappedFields(Frozen):
    """Receptive fields of one thread.

    Attributes:
        grid_deg: Left, bottom, right, top of the outermost patches' centres.
        place: That covers all usable fields; None if there is none.
        n_sites: Sites that were tested.
        fields: Those of sites that have one.
    """

    thread: str
    grid_deg: Edges
    place: Placement | None
    n_sites: int
    fields: tuple[SiteField, ...]


class SitesDocument(Frozen):
    """All sites at a glance.

    Attributes:
        n_answered: Blocks behind it.
        lines: A row a site.
        mapped: A mapping of fields each.
        times_ms: `(n_bins,)` middles of the bins, after onset; empty if no spike times were kept.
        roles: What images were shown for.
        count_window_ms: In which the first block's spikes were counted.
    """

    n_answered: int
    lines: tuple[SiteLine, ...]
    mapped: tuple[MappedFields, ...] = ()
    times_ms: tuple[float, ...] = ()
    roles: tuple[str, ...] = ()
    count_window_ms: tuple[float, float] | None = None


class CourseDocument(Frozen):
    """One site's time course.

    Attributes:
        psth: A row a role, as in `SitesDocument.roles`: mean spikes/s by bin.
        raster: Showing → times of its bins with a spike, ms after onset.
    """

    site: str
    psth: tuple[tuple[float, ...], ...]
    raster: tuple[tuple[float, ...], ...]


class SitesView:
    """What is known of a session's sites after some number of blocks.

    Args:
        path: The session's log.
        n_answered: Blocks that have responses.
    """

    def __init__(self, path: Path, n_answered: int) -> None:
        found = read_sites(path)
        self._course = found.course
        timing = found.timing
        self.document = SitesDocument(
            n_answered=n_answered,
            lines=found.lines,
            mapped=_mapped(found.fields),
            times_ms=tuple(_middles(found.course)) if found.course else (),
            roles=_roles(found.course),
            count_window_ms=(timing.count_start_ms, timing.count_stop_ms) if timing else None,
        )

    def course(self, site: str) -> CourseDocument:
        """PSTH by role and raster of one site; empty if no times were kept, or there is no such site."""
        course = self._course
        if course is None or site not in course.site_ids:
            return CourseDocument(site=site, psth=(), raster=())
        number = course.site_ids.index(site)
        roles = np.array(course.role)
        psth = [course.psth(roles == role)[number] for role in self.document.roles]
        n = len(course.stimulus)
        shown = np.unique(np.linspace(0, n - 1, min(n, RASTER_ROWS)).astype(int))
        middles = np.array(_middles(course))
        raster = [middles[course.binned[row, number] > 0] for row in shown]
        return CourseDocument(
            site=site,
            psth=tuple(tuple(round(float(rate), 2) for rate in row) for row in psth),
            raster=tuple(tuple(float(time) for time in row) for row in raster),
        )


def _middles(course: Course) -> list[float]:
    middles: list[float] = (course.edges_ms[:-1] + BIN_MS / 2).tolist()
    return middles


def _roles(course: Course | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(course.role)) if course else ()


def _mapped(fields: Mapping[str, FieldMap]) -> tuple[MappedFields, ...]:
    return tuple(
        MappedFields(
            thread=thread,
            grid_deg=found.grid_deg,
            place=_place(found),
            n_sites=len(found.fields),
            fields=found.significant,
        )
        for thread, found in fields.items()
    )


def _place(found: FieldMap) -> Placement | None:
    try:
        return found.place()
    except SettingsError:
        return None
