"""What is known of each site: how strongly, how reliably, how soon it answers, and where it looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from protocols.errors import DataError
from protocols.fields import FieldMap, SiteField
from protocols.settings import Frozen
from protocols.vocabulary import Timing
from synth_server.readers.fields.mapped_fields import mapped_fields
from synth_server.readers.time_courses.psth_and_latency import (
    Course,
    SiteCourse,
    read_course,
    time_courses,
)


class SiteLine(Frozen):
    """One site; what is not known is null.

    Attributes:
        site: Its name.
        rate: Spikes/s in the count window.
        baseline: Spikes/s from 20 ms before to 40 ms after onset.
        snr: See `SiteCourse`.
        latency_ms: See `SiteCourse`.
        reliability: Split-half, of the count window, over images with at least 4 repetitions; where
            there are too few of these, that of the map of its field.
        best_window_ms: The count window that repeats best, `[start, stop)`.
        best_reliability: Its reliability on the repetitions that did not choose it.
        x_deg: Centre of its field, right and above of the screen's centre.
        y_deg: See there.
        sigma_deg: Standard deviation of its field.
        at_edge: The field's centre is at the edge of what was mapped.
        remark: Why it has no field that images can be placed by.
    """

    site: str
    rate: float | None = None
    baseline: float | None = None
    snr: float | None = None
    latency_ms: float | None = None
    reliability: float | None = None
    best_window_ms: tuple[float, float] | None = None
    best_reliability: float | None = None
    x_deg: float | None = None
    y_deg: float | None = None
    sigma_deg: float | None = None
    at_edge: bool = False
    remark: str = ""


class Sites(NamedTuple):
    """What is known of a session's sites.

    Attributes:
        lines: One a site, as the recorder orders them.
        course: Spikes around onsets; None if no spike times were kept.
        timing: Of the first block; None likewise.
        fields: By thread.
    """

    lines: tuple[SiteLine, ...]
    course: Course | None
    timing: Timing | None
    fields: Mapping[str, FieldMap]


def read_sites(log_path: Path) -> Sites:
    """From a session's log, finished or not; of sites without spike times only the fields are known.

    Raises:
        LogError: If the log cannot be read.
    """
    fields = mapped_fields(log_path)
    try:
        course, timing = read_course(log_path)
    except DataError:
        return Sites(site_lines((), fields), None, None, fields)
    return Sites(site_lines(time_courses(course, timing).sites, fields), course, timing, fields)


def site_lines(
    courses: Sequence[SiteCourse], fields: Mapping[str, FieldMap]
) -> tuple[SiteLine, ...]:
    """Time courses and fields of the same sites; of several mappings the last one counts."""
    timed = {each.site: each for each in courses}
    mapped = {each.site: each for found in fields.values() for each in found.fields}
    return tuple(
        SiteLine.model_validate(
            {"site": name, **_mapped(mapped.get(name)), **_timed(timed.get(name))}
        )
        for name in dict.fromkeys([*timed, *mapped])
    )


def _timed(course: SiteCourse | None) -> dict[str, object]:
    if course is None:
        return {}
    best = course.best
    known = {
        **course.model_dump(include={"rate", "baseline", "snr", "latency_ms", "reliability"}),
        "best_window_ms": None if best is None else (best.start_ms, best.stop_ms),
        "best_reliability": None if best is None else best.reliability,
    }
    return {name: value for name, value in known.items() if value is not None}


def _mapped(field: SiteField | None) -> dict[str, object]:
    if field is None:
        return {}
    known = field.model_dump(include={"x_deg", "y_deg", "sigma_deg", "at_edge", "reliability"})
    return {**known, "remark": "" if field.is_usable else field.why_not}
