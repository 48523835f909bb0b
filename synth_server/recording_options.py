"""The options by which commands are told of a recording, and the recording that they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from protocols.command_line import stderr

ImagesOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder or zip of images (sorted by number), or .npy (n, h, w, 3) uint8; not needed if "
        "the responses come with their images (--session, our own .nwb)."
    ),
]
ResponsesOption = Annotated[
    Path | None,
    typer.Option(
        help=".npy, .npz, .mat, .csv, .parquet, .h5, .nc or .nwb: an array (axes by name or by "
        "length), a table (image, site, repetition, count), or spike times with a table of "
        "presentations."
    ),
]
SessionOption = Annotated[
    Path | None,
    typer.Option("--session", help="session.sqlite of a session of ours, instead of the above."),
]
AxesOption = Annotated[
    str,
    typer.Option(
        help="The array's axes in their order, such as repeats,images,sites; needed where lengths "
        "leave it open."
    ),
]
ArrayOption = Annotated[
    str, typer.Option(help="Which array, variable, column or table holds the responses.")
]
SiteNamesOption = Annotated[
    str,
    typer.Option(help="Names of the sites, separated by commas; or a text file, a name a line."),
]
WindowOption = Annotated[
    str,
    typer.Option(
        help="START,STOP after onset, in which spikes are counted; for .nwb with spike times or "
        "histograms. By default 70,170."
    ),
]


@dataclass(frozen=True)
class RecordingOptions:
    """What the command line says about a recording."""

    images: Path | None
    responses: Path | None
    session: Path | None
    size_px: int
    axes: str = ""
    array: str = ""
    site_names: str = ""
    window_ms: str = ""

    def read(self, sites: Sequence[str] = ()) -> Any:
        """The `Recording` with the chosen sites, or all that can be fitted.

        Says on standard error what was understood.

        Raises:
            SettingsError: If options are missing or contradict each other.
            DataError: If files don't hold what they should.
        """
        from synth_server.recordings.axes import words_of_axes
        from synth_server.recordings.measured import Wanted
        from synth_server.recordings.reading import read_recording, told_left_out

        file = self._file()
        wanted = Wanted(
            axes=words_of_axes(self.axes),
            array=self.array,
            site_names=_names(self.site_names),
            window_s=_window(self.window_ms),
        )
        found = read_recording(self._photographs(), file, wanted, sites)
        stderr.print(f"recording  {found.line}", highlight=False, markup=False, soft_wrap=True)
        if found.left_out:
            said = told_left_out(found.left_out)
            stderr.print(said, style="yellow", highlight=False, markup=False, soft_wrap=True)
        return found.recording

    def _file(self) -> Path:
        from protocols.errors import SettingsError

        given = self.session or self.responses
        if given is None or (self.session and self.responses):
            raise SettingsError(
                "a recording is one file",
                expected="--responses FILE (with --images), or --session session.sqlite",
                got="both" if given else "neither",
            )
        if self.session is not None and self.images is not None:
            raise SettingsError(
                "a session has its own images",
                expected="--session alone, or --images with --responses",
                got="--session and --images",
            )
        return given

    def _photographs(self) -> Any:
        import numpy as np

        from protocols.interfaces import PhotographSet
        from protocols.vocabulary import check_images
        from synth_server.recordings.array_files import numpy_file
        from synth_server.synthesis.photographs import load_photographs

        if self.images is None:
            return None
        if self.images.suffix.lower() != ".npy":
            return load_photographs(self.images, None, self.size_px)
        pixels = np.asarray(next(iter(numpy_file(self.images).values())).values)
        check_images(pixels, where=f"--images {self.images}")
        return PhotographSet(pixels, tuple(str(i) for i in range(len(pixels))))


def _names(text: str) -> tuple[str, ...]:
    from protocols.errors import DataError
    from protocols.text_files import read_text

    if text and Path(text).is_file():
        lines = read_text(Path(text)).split("\n")
        return tuple(line.strip() for line in lines if line.strip())
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if len(set(names)) < len(names):
        raise DataError("two sites have the same name", where="--site-names", got=text[:200])
    return names


def _window(text: str) -> tuple[float, float] | None:
    from protocols.errors import SettingsError

    if not text:
        return None
    try:
        start, stop = (float(part) / 1000 for part in text.split(","))
    except ValueError:
        start, stop = 0.0, 0.0
    if not start < stop:
        raise SettingsError(
            "this is no window",
            where="--window-ms",
            expected="START,STOP, such as 70,170",
            got=text,
        )
    return start, stop
