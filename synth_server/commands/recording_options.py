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
DaysOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--session",
        help="session.sqlite of a session of ours, instead of the above. Repeat it, the last day last, "
        "to join days: they need 20 images in common, and a site that is another one today is left out.",
    ),
]
MixedOption = Annotated[
    bool,
    typer.Option(
        "--mixed", help="Join days whose count windows, places or sizes of images differ."
    ),
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
        "--window-ms",
        "--window",
        help="START,STOP in ms after onset, in which spikes are counted. Of a session: anew, from "
        "its kept spike times; default: as it counted. Of .nwb with spike times or histograms: "
        "default 70,170.",
    ),
]

SizeOption = Annotated[
    int, typer.Option(min=16, help="Images of a zip or folder are brought to this size.")
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace results that are there.")
]


@dataclass(frozen=True)
class RecordingOptions:
    """What the command line says about a recording."""

    images: Path | None
    responses: Path | None
    session: Path | Sequence[Path] | None
    size_px: int
    axes: str = ""
    array: str = ""
    site_names: str = ""
    window_ms: str = ""
    mixed: bool = False

    def read(self, sites: Sequence[str] = ()) -> Any:
        """The `Recording` with the chosen sites, or all that can be fitted.

        Says on standard error what was understood.

        Raises:
            SettingsError: If options are missing or contradict each other.
            DataError: If files don't hold what they should.
        """
        from synth_server.readers.log.recounted import parsed_window
        from synth_server.recordings.axes import words_of_axes
        from synth_server.recordings.measured import Wanted
        from synth_server.recordings.reading import read_recording, told_left_out

        if len(self._sessions) > 1:
            return self._days(sites)
        file = self._file()
        wanted = Wanted(
            axes=words_of_axes(self.axes),
            array=self.array,
            site_names=_names(self.site_names),
            window_s=parsed_window(self.window_ms, "--window-ms"),
        )
        found = read_recording(self._photographs(), file, wanted, sites)
        stderr.print(f"recording  {found.line}", highlight=False, markup=False, soft_wrap=True)
        if found.left_out:
            said = told_left_out(found.left_out)
            stderr.print(said, style="yellow", highlight=False, markup=False, soft_wrap=True)
        return found.recording

    @property
    def _sessions(self) -> tuple[Path, ...]:
        if self.session is None:
            return ()
        return (self.session,) if isinstance(self.session, Path) else tuple(self.session)

    def _days(self, sites: Sequence[str]) -> Any:
        """The sessions of several days, joined."""
        from encoders.recording import Recording
        from protocols.errors import SettingsError
        from synth_server.readers.log.recounted import parsed_window
        from synth_server.recordings.days import joined_days
        from synth_server.recordings.reading import told_left_out

        others = (self.images, self.responses, self.axes, self.array, self.site_names)
        if any(others):
            raise SettingsError(
                "several sessions have their own images and sites",
                expected="--session A --session B alone, with --mixed if need be",
            )
        window_s = parsed_window(self.window_ms, "--window-ms")
        days = joined_days(self._sessions, mixed=self.mixed, window_s=window_s)
        for line in days.lines:
            stderr.print(f"day  {line}", highlight=False, markup=False, soft_wrap=True)
        recording = Recording.of(days.images, days.responses, days.site_ids)
        left_out = {} if sites else recording.unusable_sites()
        kept = sites or [site for site in recording.site_ids if site not in left_out]
        if left_out:
            said = told_left_out(left_out)
            stderr.print(said, style="yellow", highlight=False, markup=False, soft_wrap=True)
        stderr.print(
            f"recording  {len(kept)} sites; {recording.n_images} images of {len(self._sessions)} days",
            highlight=False,
        )
        return recording.of_sites(kept) if kept else recording

    def _file(self) -> Path:
        from protocols.errors import SettingsError

        session = self._sessions[0] if self._sessions else None
        given = session or self.responses
        if given is None or (session and self.responses):
            raise SettingsError(
                "a recording is one file",
                expected="--responses FILE (with --images), or --session session.sqlite",
                got="both" if given else "neither",
            )
        if session is not None and self.images is not None:
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


def parts(names: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(part.strip() for part in names.split(",") if part.strip())


def _names(text: str) -> tuple[str, ...]:
    from protocols.errors import DataError
    from protocols.text_files import read_text

    if text and Path(text).is_file():
        lines = read_text(Path(text)).split("\n")
        return tuple(line.strip() for line in lines if line.strip())
    names = parts(text)
    if len(set(names)) < len(names):
        raise DataError("two sites have the same name", where="--site-names", got=text[:200])
    return names
