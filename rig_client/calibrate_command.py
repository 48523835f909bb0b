"""`rig-client calibrate`: geometry, gamma, photodiode."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from protocols.command_line import stderr

if TYPE_CHECKING:
    from rig_client.settings import RigSettings

app = typer.Typer(
    no_args_is_help=True,
    help="Measure the screen: how large a degree is, how bright a level, when light comes.\n\n"
    "Each prints the lines for rig.toml. See docs/how-to/calibrate-the-display.md.",
)
Config = Annotated[Path, typer.Option(help="rig.toml, with the display psychopy.")]


@app.command()
def geometry(
    config: Config,
    distance_cm: Annotated[float, typer.Option(min=1, max=1000, help="From eye to screen.")],
    measured_cm: Annotated[
        float | None, typer.Option(help="The bar's length; asked for while it is shown if missing.")
    ] = None,
) -> None:
    """Show a bar; measure it with a ruler; get the screen's width, and degrees in pixels."""
    from rig_client.calibration.geometry import ruler, screen_width_cm, size_table
    from rig_client.display.geometry import Geometry
    from rig_client.display.window import screen_width_px

    display = _display(_settings(config))
    try:
        screen_px = screen_width_px(display.window)
        bar = ruler(display.geometry.window_px)
        _hold(display, bar.image)
        if measured_cm is None:
            measured_cm = typer.prompt("Length of the bar on the screen, cm", type=float)
        width_cm = screen_width_cm(bar.length_px, measured_cm, screen_px)
        found = Geometry(display.geometry.window_px, screen_px / width_cm, distance_cm)
    finally:
        display.close()
    table = Table("degrees", "pixels", "cm", box=None)
    for angle, pixels, centimetres in size_table(found):
        table.add_row(f"{angle:g}", f"{pixels:.1f}", f"{centimetres:.2f}")
    Console().print(table)
    _print(f"width_cm = {width_cm:.2f}", f"distance_cm = {distance_cm:g}")


@app.command()
def gamma(
    config: Config,
    out: Annotated[Path, typer.Option(help="The table, for the option gamma_table.")] = Path(
        "gamma.txt"
    ),
    readings: Annotated[
        Path | None,
        typer.Option(help="CSV: level, cd/m². Without, patches are shown and readings asked for."),
    ] = None,
    rows: Annotated[int, typer.Option(min=256, max=65536, help="Levels of the card.")] = 256,
) -> None:
    """Show gray levels, take luminance readings, write the table that makes the screen linear."""
    from rig_client.calibration.gamma import (
        POOR_FIT,
        fit_gamma,
        linearising_table,
        read_readings,
        write_table,
    )

    levels, luminances = read_readings(readings) if readings else _readings(config)
    found = fit_gamma(levels, luminances)
    write_table(linearising_table(found, rows), out)
    stderr.print(
        f"gamma {found.exponent:.3f}; {found.darkest_cd_m2:.2f} to {found.brightest_cd_m2:.2f} cd/m²; "
        f"gray 128 of the linear screen: {found.background_cd_m2:.2f} cd/m²; "
        f"worst reading {100 * found.worst:.1f} % of the range off",
        highlight=False,
    )
    if found.worst > POOR_FIT:
        stderr.print("[yellow]one exponent fits badly: check the meter, warm the screen up[/]")
    _print(f'gamma_table = "{out}"')


@app.command()
def photodiode(
    config: Config,
    site: Annotated[str, typer.Option(help="The photodiode's site in the recorder.")],
    flashes: Annotated[int, typer.Option(min=5, max=10_000)] = 100,
) -> None:
    """Flash the patch; measure the delay from trial word to light, on the recorder's clock."""
    from protocols.interfaces import SessionInfo
    from rig_client.apparatus import apparatus_of
    from rig_client.calibration.photodiode import STEP_S, measure_latency

    settings = _settings(config)
    apparatus = apparatus_of(settings, SessionInfo(session_id="calibration", seed=0))
    try:
        found = measure_latency(apparatus, site, word_bits=settings.word_bits, n=flashes)
    finally:
        apparatus.close()
    stderr.print(
        f"light comes {1000 * found.median_s:.1f} ms after the word (median of "
        f"{len(found.delays_s)} of {found.n_flashes} flashes, to {1000 * STEP_S:g} ms); the middle "
        f"95 % span {1000 * found.jitter_s:.1f} ms",
        highlight=False,
    )
    stderr.print(
        "Add it to count_start_ms and count_stop_ms of the session's timing, if counts are to be "
        "relative to light.",
        highlight=False,
    )


def _settings(config: Path) -> RigSettings:
    from rig_client.settings import read_settings

    return read_settings(config)


def _display(settings: RigSettings) -> Any:
    """The window of rig.toml."""
    from protocols import plugins
    from protocols.interfaces import SessionInfo
    from rig_client.apparatus import check_has_window

    check_has_window(settings, "there is no screen to calibrate")
    session = SessionInfo(session_id="calibration", seed=0)
    return plugins.create("stimloop.displays", settings.display, session)


def _hold(display: Any, image: Any) -> None:
    """Show an image `(1, h, w, 3) uint8` in the window's middle, and leave it there."""
    from PIL import Image
    from psychopy import visual

    stimulus = visual.ImageStim(
        display.window, image=Image.fromarray(image[0]), units="pix", autoLog=False
    )
    stimulus.draw()
    display.window.flip()


def _readings(config: Path) -> tuple[list[float], list[float]]:
    import numpy as np

    from rig_client.calibration.gamma import LEVELS

    display = _display(_settings(config))
    try:
        width, height = display.geometry.window_px
        found = []
        for level in LEVELS:
            _hold(display, np.full((1, height, width, 3), level, np.uint8))
            found.append(typer.prompt(f"Level {level}: luminance, cd/m²", type=float))
    finally:
        display.close()
    return [float(level) for level in LEVELS], found


def _print(*lines: str) -> None:
    sys.stdout.write("\n# rig.toml, [display.options]\n" + "".join(f"{line}\n" for line in lines))
