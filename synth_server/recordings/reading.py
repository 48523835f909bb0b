"""One reader of responses, whatever file they lie in; and what it understood, in one line."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoders.recording import Recording
from protocols.errors import DataError
from protocols.interfaces import PhotographSet
from protocols.text_files import decoded
from synth_server.recordings.array_files import hdf5_file, numpy_file
from synth_server.recordings.containers import measured_in
from synth_server.recordings.csv_files import read_csv, read_parquet
from synth_server.recordings.matching import matched
from synth_server.recordings.matlab_files import matlab_file
from synth_server.recordings.measured import Measured, Wanted
from synth_server.recordings.missing_codes import check_no_codes
from synth_server.recordings.packed import unpacked
from synth_server.recordings.tables import measured_table

FORMATS = (
    ".npy, .npz, .mat, .csv, .tsv, .parquet, .h5, .nc, .nwb, or a session log (session.sqlite)"
)
SPREADSHEET = "save the sheet as CSV: image, site, repetition, count; or a column for each site"
NAMED = 6
"""Sites named in a message."""


class Read(NamedTuple):
    """A recording, and what was understood, in words.

    Attributes:
        recording: Of all sites that can be fitted.
        line: Sites, images, repetitions, what is missing, how axes and names were read.
        left_out: Sites that can't be fitted → why.
    """

    recording: Recording
    line: str
    left_out: dict[str, str]


def read_responses(path: Path, wanted: Wanted) -> Measured:
    """Responses in a file of any known format; what it is is told by its content.

    Raises:
        DataError: If the file is missing, of no known format, or can be read in several ways.
        InstallationError: If a library is missing.
    """
    _check_file(path)
    with unpacked(path) as inside:
        return _read(inside, wanted)


def _read(path: Path, wanted: Wanted) -> Measured:
    match _kind(path):
        case "npy" | "npz":
            return measured_in(numpy_file(path), str(path), wanted)
        case "mat":
            return measured_in(matlab_file(path), str(path), wanted)
        case "hdf5":
            return measured_in(hdf5_file(path), str(path), wanted)
        case "nwb":
            from synth_server.recordings.nwb_files import measured_nwb

            return measured_nwb(path, wanted)
        case "session":
            from synth_server.readers.log.recounted import recounted
            from synth_server.recordings.session_log import measured_session

            with recounted(path, wanted.window_s) as log:
                return measured_session(log).named(wanted.site_names)
        case "parquet":
            return measured_table(read_parquet(path), str(path), wanted)
        case _:
            return measured_table(read_csv(path), str(path), wanted)


def read_recording(
    images: PhotographSet | None, responses: Path, wanted: Wanted, sites: Sequence[str] = ()
) -> Read:
    """Images and the responses to them.

    Args:
        images: Beside the responses; None if the file has its own.
        responses: A file that `read_responses` reads.
        wanted: What the user says about it.
        sites: Which to keep; none: all that can be fitted.

    Raises:
        DataError: If the two don't fit, or a chosen site can't be fitted.
    """
    names = None if images is None else images.names
    found = read_responses(responses, replace(wanted, image_names=names))
    images = images or found.images
    if images is None:
        raise DataError(
            "the file holds responses, but no images",
            where=str(responses),
            expected="--images FOLDER or ZIP",
        )
    pixels, values, notes = _aligned(images, found, str(responses))
    if below := check_no_codes(values, str(responses)):
        notes.append(below)
    shaped = values[:, :, 0] if values.shape[2] == 1 else values
    recording = Recording.of(pixels, shaped, found.site_ids)
    left_out: dict[str, str] = {}
    if sites:
        recording = recording.of_sites(sites)
    else:
        left_out = recording.unusable_sites()
        usable = [site for site in recording.site_ids if site not in left_out]
        if usable and left_out:
            recording = recording.of_sites(usable)
    n_given = len(pixels)
    return Read(recording, _line(recording, n_given, found, notes), left_out)


def _aligned(
    images: PhotographSet, found: Measured, where: str
) -> tuple[NDArray[np.uint8], NDArray[np.float64], list[str]]:
    """Images that were measured, and `(n_sites, n_images, n_repeats)`; what it took, in words."""
    if not found.image_names:
        if len(found.values) != len(images.images):
            raise DataError(
                f"there are {len(images.images)} images, but responses to {len(found.values)}",
                where=where,
                remedy="give the images that were shown, in the order of the responses, or a table "
                "with a column of image names",
            )
        return images.images, found.values.transpose(1, 0, 2), ["images in the order of the rows"]
    column, fit = matched(found.image_names, images.names, where)
    notes = [] if column == "image_sha256" else [f"images {fit.how} ({column})"]
    rows = fit.places
    if (n_blank := int((rows < 0).sum())) > 0:
        notes.append(f"{n_blank} rows left out: no image (blank)")
    shown = np.unique(rows[rows >= 0])
    if len(shown) < len(images.images):
        notes.append(f"{len(images.images) - len(shown)} images left out: never shown")
    gathered = _gathered(found.values, rows, shown)
    return images.images[shown], gathered.transpose(1, 0, 2), notes


def _gathered(
    values: NDArray[np.float64], rows: NDArray[np.int64], shown: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Rows of one image as its repetitions: `(n_shown, n_sites, n_repetitions)`."""
    of_image = [values[rows == image] for image in shown]
    most = max(len(each) for each in of_image) * values.shape[2]
    gathered = np.full((len(shown), values.shape[1], most), np.nan)
    for place, each in enumerate(of_image):
        flat = each.transpose(1, 0, 2).reshape(values.shape[1], -1)
        gathered[place, :, : flat.shape[1]] = flat
    return gathered


def _line(recording: Recording, n_given: int, found: Measured, notes: Sequence[str]) -> str:
    measured = recording.repetitions
    least, most = int(measured.min()), int(measured.max())
    times = f"{most}" if least == most else f"{least}–{most}"
    parts = [
        f"{len(recording.site_ids)} sites ({_some(recording.site_ids)})",
        f"{recording.n_images} images",
        f"{times} repetition{'s' * (most != 1)} of each",
    ]
    if (n_equal := n_given - recording.n_images) > 0:
        parts.append(f"{n_equal} equal images taken as repetitions")
    if (n_missing := int((measured == 0).sum())) > 0:
        parts.append(f"{n_missing} of {measured.size} responses missing")
    parts.append(found.unit or "values as in the file")
    return "; ".join((*parts, *notes, *found.notes))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")


def told_left_out(left_out: dict[str, str]) -> str:
    """Sites that are left out, grouped by why, for people."""
    groups: dict[str, list[str]] = {}
    for site, why in left_out.items():
        groups.setdefault(why, []).append(site)
    said = [f"{_some(sites)} ({why})" for why, sites in groups.items()]
    return f"{len(left_out)} sites left out: {'; '.join(said[:NAMED])}"


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise DataError(
            "the responses are a folder" if path.is_dir() else "the responses are not there",
            where=str(path),
            expected=FORMATS,
            remedy="check the path",
        )


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(600)
    if not head:
        raise _refused(path, "an empty file", "copy it again")
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(b"PK"):
        return _kind_of_zip(path)
    if head.startswith(b"SQLite format 3\0"):
        return "session"
    if head.startswith((b"PAR1", b"ARROW1")):
        return "parquet"
    if b"\x89HDF\r\n\x1a\n" in (head[:8], head[512:520]):
        return "nwb" if path.suffix.lower() == ".nwb" or _is_nwb(path) else "hdf5"
    if head.startswith(b"MATLAB 5.0") or path.suffix.lower() == ".mat":
        return "mat"
    return _kind_of_rest(path, head)


def _is_nwb(path: Path) -> bool:
    """Whether the HDF5 file says that it is NWB, whatever it is called."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return "nwb_version" in file.attrs
    except OSError:
        return False


def _kind_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise DataError("the file is damaged", where=str(path), got=error) from None
    if any(name.endswith(".npy") for name in names):
        return "npz"
    if any(name.startswith("xl/") for name in names):
        raise _refused(path, "an Excel workbook", SPREADSHEET)
    remedy = "unpack it, and name the file that holds the responses; images are given as --images"
    raise _refused(path, f"a zip of {', '.join(names[:3])} …", remedy)


def _kind_of_rest(path: Path, head: bytes) -> str:
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise _refused(path, "an Excel workbook", SPREADSHEET)
    if head[:1] == b"\x80" or path.suffix.lower() in (".pkl", ".pickle"):
        remedy = "where you made it, save numbers: np.save(path, np.asarray(counts, dtype=float))"
        raise _refused(path, "a pickle, which could run any program when it is opened", remedy)
    if head.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] in (b"{", b"[", b"<") or head.startswith(b"%PDF"):
        raise _refused(path, f"a file that begins with {head[:8]!r}", SPREADSHEET)
    try:
        is_text = "\0" not in decoded(head)
    except UnicodeDecodeError:
        is_text = False
    if not is_text:
        raise _refused(path, f"a file that begins with {head[:8]!r}", "save it as one of these")
    return "table"


def _refused(path: Path, got: str, remedy: str) -> DataError:
    return DataError(
        "this file holds no responses that can be read",
        where=str(path),
        expected=FORMATS,
        got=got,
        remedy=remedy,
    )
