"""`rig-client handmap`: the mouse moves a stimulus over the screen, all sites' rates live."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protocols.command_line import stderr

if TYPE_CHECKING:
    from protocols.fields import FieldMap

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


def handmap(
    config: Annotated[Path, typer.Option(help="This rig's settings.")] = Path("rig.toml"),
    out: Annotated[
        Path | None,
        typer.Option(
            help="A new folder for the kept points; not given: handmap-DATE-TIME.",
            show_default=False,
        ),
    ] = None,
    photographs: Annotated[
        Path | None,
        typer.Option(help="A folder of photographs for key 3; without, bar and grating only."),
    ] = None,
) -> None:
    """Find receptive fields by hand: move a bar, a grating or a photograph, watch all sites' rates.

    In the rig's window, the [bold]mouse[/] moves it and the [bold]wheel[/] sizes it. Shift (or the
    right button) + wheel turns it; Ctrl + wheel makes a bar narrower, a grating finer.

    A [bold]click[/] keeps the point, Backspace takes it back. Space hides the stimulus: hide it for
    two seconds to measure the baseline. Tab chooses the site that the next click is for.

    1 bar, 2 grating, 3 photograph (N the next one); arrows turn it, and make it finer or coarser;
    X light or dark; \\[ ] contrast; F flicker; D drift; R juice; Q ends.

    Rates are spikes/s of the last half second. [bold]no data[/] means that they are not known: the
    recorder is silent or has lost something. "none yet": this site never fired; is its name right?

    Points, with the rates of all sites, are in the folder at once: handmap.jsonl, handmap.csv; and
    fields.json, by which a session places its images: place = { fields = "…/fields.json" }.

    It needs no server, display "psychopy", and a recorder that streams. It does not run beside
    rig-client run.
    """
    from rig_client.handmap.session import HandMap
    from rig_client.settings import read_settings

    settings = read_settings(config)
    folder = out or Path(f"handmap-{datetime.now():%Y%m%d-%H%M%S}")
    pictures = _photographs(photographs) if photographs else []
    hand_map = HandMap(settings, folder, pictures, stderr)
    try:
        stderr.print(f"points go to {folder}; all keys: rig-client handmap --help", highlight=False)
        hand_map.run()
    finally:
        n_kept, found = len(hand_map.points.kept), hand_map.points.fields()
        hand_map.close()
        stderr.print(f"{n_kept} points kept in {folder}", highlight=False)
        if n_kept:
            _print_place(folder / "fields.json", found)


def _print_place(path: Path, found: FieldMap) -> None:
    """What belongs into session.toml."""
    place = found.place()
    name = path.resolve().as_posix()
    sys.stdout.write(
        "\n# session.toml, in a [[threads]]: the place that covers all kept points\n"
        f'place = {{ fields = "{name}" }}\n'
        "# or, the same in numbers, such as for a server on another computer:\n"
        f"# place = {{ x_deg = {place.x_deg:g}, y_deg = {place.y_deg:g}, "
        f"size_deg = {place.size_deg:g} }}\n"
    )


def _photographs(folder: Path) -> list[Any]:
    """All images of a folder, by name, `(height, width, 3) uint8`.

    Raises:
        SettingsError: If there are none, or one cannot be read.
    """
    import numpy as np
    from PIL import Image, ImageOps

    from protocols.errors import SettingsError

    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise SettingsError(
            "there are no photographs",
            where=f"--photographs {folder}",
            expected="a folder with PNG, JPEG, BMP, TIFF or WebP files",
            got="none of them" if folder.is_dir() else "no such folder",
        )
    found = []
    for path in paths:
        try:
            with Image.open(path) as image:
                upright = ImageOps.exif_transpose(image).convert("RGB")
                upright.thumbnail((1024, 1024))
                found.append(np.asarray(upright, np.uint8))
        except (OSError, ValueError, SyntaxError) as error:
            raise SettingsError(
                "a photograph cannot be read", where=str(path), got=error, remedy="remove it"
            ) from None
    return found
