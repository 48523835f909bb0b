"""`report.html`: a session on one page, self-contained, with its figures beside it as PNG and SVG."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from protocols.digests import canonical_json
from protocols.errors import DataError
from synth_server.readers.evolution.network_features import FeatureSettings
from synth_server.readers.evolution.results_document import Results
from synth_server.readers.evolution.stability import warnings as drift_warnings
from synth_server.readers.log.rig_record import SIMULATED, stamp
from synth_server.readers.log.session_record import EvolutionRecord, read_record
from synth_server.readers.results.folder import write_result_set
from synth_server.readers.summary.session_summary import Summary, summarize
from synth_server.readers.summary.sites import read_sites
from synth_server.report.explained import explained_figures, variants_of
from synth_server.report.figures import (
    Figure,
    control_figures,
    evolution_figures,
    field_figures,
    learning_figures,
    mapping_figures,
    mask_figures,
    time_course_figures,
)
from synth_server.report.methods import methods_of
from synth_server.report.quality import Quality, quality_of
from synth_server.report.site_table import site_table
from synth_server.report.tables import (
    Table,
    clock_table,
    control_tables,
    evolution_table,
    field_tables,
    headline,
    learning_tables,
    outcome_table,
    rig_table,
)
from synth_server.session.log import SessionLog

REPORT, FIGURES, RESULTS = "report.html", "figures", "results"
VARIANTS, EXPLAINED = "variants", "explained"


class Report(NamedTuple):
    """What was written."""

    page: Path
    summary: Summary
    quality: Quality
    figures: tuple[Figure, ...]


def write_report(
    log_path: Path,
    folder: Path,
    features: FeatureSettings | None,
    *,
    counted_again: tuple[float, float] | None = None,
    explained: bool = False,
) -> Report:
    """Write `report.html` and its figures, `results/` for evolutions, and `summary.json`.

    Args:
        log_path: A session's log, finished or not.
        folder: Made if it is not there; files of an earlier call are written anew.
        features: Where evolved and natural images are compared; None: in pixels only.
        counted_again: The window in s, if the log is a copy with counts in another than the session's.
        explained: Whether the page has a row for each site of the session's encoders; some seconds a site.

    Raises:
        LogError: If there is no log, or it is damaged.
        DataError: If nothing has been measured.
    """
    record = read_record(log_path)
    summary = summarize(record)
    if not summary.blocks:
        raise DataError(
            "nothing has been measured in this session yet",
            where=str(log_path),
            expected="a block with responses",
            remedy="wait for the first block's responses",
        )
    (folder / FIGURES).mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(summary.model_dump_json(indent=2) + "\n", "utf-8")
    evolved = any(thread.measured for thread in record.threads.values())
    results = (
        write_result_set(log_path, folder / RESULTS, features, record=record) if evolved else None
    )
    sites = read_sites(log_path)
    fields = sites.fields
    of_variants, paired = variants_of(record.started.settings, log_path, folder / VARIANTS)
    figures = (
        *field_figures(fields, folder / FIGURES, simulated=bool(summary.simulated)),
        *time_course_figures(sites, folder / FIGURES, simulated=bool(summary.simulated)),
        *_figures(record, summary, results, log_path, folder),
        *paired,
        *(explained_figures(log_path, folder / EXPLAINED) if explained else ()),
    )
    quality = _quality(record, log_path)
    page = folder / REPORT
    tables = [
        *site_table(sites.lines),
        *field_tables(fields),
        *([evolution_table(results)] if results else []),
        *control_tables(summary.control),
        *learning_tables(summary.learning),
        *of_variants,
    ]
    about = _about(record, summary) + _counted(counted_again)
    page.write_text(
        _page(record, summary, results, quality, figures, tables, folder, about), "utf-8"
    )
    return Report(page, summary, quality, figures)


def _figures(
    record: EvolutionRecord,
    summary: Summary,
    results: Results | None,
    log_path: Path,
    folder: Path,
) -> Iterable[Figure]:
    own = folder / FIGURES
    if results is not None:
        yield from evolution_figures(results, folder / RESULTS)
    yield from control_figures(summary.control, record, log_path, own)
    yield from learning_figures(summary, record, log_path, own)
    yield from mapping_figures(record, log_path, own)
    if summary.control:
        sizes = [thread.settings.get("image_size_px") for thread in record.started.settings.threads]
        size_px = next(size for size in sizes if size)
        yield from mask_figures(log_path, own, size_px, simulated=bool(record.at_rig.simulated))


def _quality(record: EvolutionRecord, log_path: Path) -> Quality:
    drifting = [line for thread in record.threads.values() for line in drift_warnings(thread)]
    log = SessionLog(log_path)
    try:
        return quality_of(log.events(), drifting)
    finally:
        log.close()


def _page(
    record: EvolutionRecord,
    summary: Summary,
    results: Results | None,
    quality: Quality,
    figures: Sequence[Figure],
    tables: Sequence[Table],
    folder: Path,
    about: str,
) -> str:
    templates = Environment(
        loader=PackageLoader("synth_server.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return templates.get_template(REPORT).render(
        title=summary.session_id,
        simulated=stamp(summary.simulated),
        simulated_word=SIMULATED,
        about=about,
        numbers=headline(summary, results, quality),
        results=tables,
        figures=[_embedded(figure, folder) for figure in figures],
        methods=methods_of(record.started, record.at_rig, record.shown),
        warnings=quality.warnings,
        quality=[outcome_table(quality), *rig_table(quality), *clock_table(quality)],
        notes=quality.notes,
        provenance=_provenance(record, summary),
    )


def _about(record: EvolutionRecord, summary: Summary) -> str:
    began = datetime.fromtimestamp(summary.started_unix_s, UTC)
    protocols = dict.fromkeys(thread.protocol.replace("_", " ") for thread in summary.threads)
    parts = [
        f"{began:%d %B %Y, %H:%M} UTC",
        f"{summary.duration_s / 60:.1f} minutes",
        ", ".join(protocols),
        summary.state,
    ]
    if record.rig is not None:
        parts.append(f"rig {record.rig.rig_id}, {len(record.rig.site_ids)} sites")
    return " · ".join(parts)


def _counted(window_s: tuple[float, float] | None) -> str:
    if window_s is None:
        return ""
    start, stop = (1000 * edge for edge in window_s)
    return f" · counted again in {start:g}–{stop:g} ms, which is not the session's own window"


def _embedded(figure: Figure, folder: Path) -> dict[str, Any]:
    png, svg = (figure.file.with_name(f"{figure.file.name}.{kind}") for kind in ("png", "svg"))
    data = base64.b64encode(png.read_bytes()).decode()
    return {
        "name": figure.file.name,
        "title": figure.title,
        "caption": figure.caption,
        "data": f"data:image/png;base64,{data}",
        "png": png.relative_to(folder).as_posix(),
        "svg": svg.relative_to(folder).as_posix() if svg.is_file() else "",
    }


def _provenance(record: EvolutionRecord, summary: Summary) -> list[tuple[str, str]]:
    start = record.started
    rows = [
        ("session digest", summary.session_digest or "not ended"),
        ("seed", str(summary.seed)),
        ("log, wire version", f"{start.log_version}, {start.wire_version}"),
        ("device", start.device),
    ]
    if record.rig is not None:
        rows.append(("rig", f"{record.rig.rig_id}: {record.rig.software}"))
        rows.append(("rig.toml", canonical_json(record.rig.rig.settings).decode()))
    rows += [(f"version of {name}", number) for name, number in start.versions.items()]
    return rows + [(name, digest) for name, digest in start.equipment.items()]
