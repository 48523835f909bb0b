"""`synth-server windows`: when sites answer, and which count window repeats best."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from protocols.command_line import stderr

if TYPE_CHECKING:
    from synth_server.readers.time_courses.psth_and_latency import CountWindow, TimeCourses


def windows(
    session: Annotated[
        Path, typer.Argument(help="A session log, session.sqlite; it may still be under way.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder; default: `windows`, beside the log.")
    ] = None,
) -> None:
    """Look at the time course of the sites: latency, signal to noise, the best count window.

    From the spike times that the log keeps. A window is chosen on half of the repetitions of each
    image, and its split-half reliability told for the other half. windows.json and windows.png go
    to the folder. Needs at least 4 repetitions of images to choose a window.
    """
    from synth_server.readers.figures.time_courses import draw_time_courses
    from synth_server.readers.log.rig_record import stamp
    from synth_server.readers.log.session_record import read_record
    from synth_server.readers.time_courses.psth_and_latency import read_course, time_courses

    folder = out if out is not None else session.parent / "windows"
    with stderr.status("reading spike times …"):
        course, timing = read_course(session)
        found = time_courses(course, timing)
        simulated = read_record(session).at_rig.simulated
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "windows.json").write_text(found.model_dump_json(indent=2) + "\n", "utf-8")
        draw_time_courses(course, found, folder / "windows", simulated=bool(simulated))
    if mark := stamp(simulated):
        stderr.print(mark, style="yellow", highlight=False, markup=False)
    _tell(found, Console())
    stderr.print(f"figure  {folder / 'windows.png'}", highlight=False)


def _tell(found: TimeCourses, console: Console) -> None:
    table = Table("site", "baseline sp/s", "rate sp/s", "SNR", "latency ms", "reliability", "best")
    for site in found.sites:
        table.add_row(
            site.site,
            f"{site.baseline:.1f}",
            f"{site.rate:.1f}",
            _number(site.snr),
            "–" if site.latency_ms is None else f"{site.latency_ms:g}",
            _number(site.reliability),
            _window(site.best),
        )
    console.print(table)
    start, stop = found.count_window_ms
    console.print(f"counted in {start:g}–{stop:g} ms; best for all sites: {_window(found.best)}")
    if found.best is None:
        console.print("no window can be chosen: fewer than 3 images have 4 repetitions")
    if found.n_left_out:
        console.print(f"{found.n_left_out} presentations left out: a shorter span was kept of them")


def _window(best: CountWindow | None) -> str:
    if best is None:
        return "–"
    return f"{best.start_ms:g}–{best.stop_ms:g} ms ({_number(best.reliability)} on the other half)"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def register(app: typer.Typer) -> None:
    """Add the command to `synth-server`."""
    app.command()(windows)
