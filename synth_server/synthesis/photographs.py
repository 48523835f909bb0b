"""Natural reference images: from a folder, from a zip, or those that come with scikit-image.

`embedded` needs no download: it cuts square crops out of photographs that ship inside
scikit-image's wheel. Licences, as `skimage.data` states them:

=====================  ==================================================================
astronaut.png          NASA Great Images; public domain
brick.png              CC0Textures; CC0
camera.png             Lav Varshney; CC0
chelsea.png            Stefan van der Walt; CC0
coffee.png             Rachel Michetti, courtesy of Pikolo Espresso Bar; CC0
coins.png              Brooklyn Museum; no known copyright restrictions
grass.png              linolafett; CC0
gravel.png             CC0Textures; CC0
hubble_deep_field.jpg  NASA, HubbleSite; public domain
retina.jpg             Mikael Häggström; CC0
rocket.jpg             SpaceX; public domain
=====================  ==================================================================

The first twenty crops are the most varied. Beyond the crops chosen by hand, further ones are drawn
at random: any place, any scale, mirrored or not, always the same ones. They overlap, and come from
few photographs: enough to rehearse a fit that needs hundreds of images, not to publish one.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from protocols.errors import DataError, InstallationError, SettingsError, StimloopError
from protocols.interfaces import PhotographSet
from protocols.seeds import random_stream
from synth_server.synthesis.pixels_of_files import Changed, check_whole, in_srgb

logger = logging.getLogger(__name__)
EMBEDDED = "embedded"
MAX_EMBEDDED = 5000
"""With those drawn at random; more would hardly be different."""
LEAST_SIDE_PX = 80
"""Of a crop drawn at random, in the photograph's pixels."""
LEAST_CONTRAST = 15
"""Of a crop drawn at random: standard deviation over pixels and channels, of 255."""
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif"})

SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini"})
NAMED = 6
"""Files in a message."""
UNREADABLE = (
    zipfile.BadZipFile,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    zlib.error,
)
"""What reading a damaged, locked or vanished zip raises."""


class Crop(NamedTuple):
    """A square cut out of a photograph, in its pixels; (0, 0) is its top left corner."""

    name: str
    file: str
    left: int
    top: int
    side: int


EMBEDDED_CROPS = (
    Crop("astronaut", "astronaut.png", 0, 0, 512),
    Crop("cat face", "chelsea.png", 80, 0, 300),
    Crop("coffee cup", "coffee.png", 140, 0, 400),
    Crop("rocket", "rocket.jpg", 107, 0, 427),
    Crop("cameraman", "camera.png", 0, 0, 512),
    Crop("coins", "coins.png", 0, 0, 303),
    Crop("grass", "grass.png", 0, 0, 256),
    Crop("gravel", "gravel.png", 0, 0, 256),
    Crop("brick wall", "brick.png", 0, 0, 512),
    Crop("galaxies", "hubble_deep_field.jpg", 64, 0, 872),
    Crop("retina", "retina.jpg", 205, 205, 1000),
    Crop("smile", "astronaut.png", 144, 16, 160),
    Crop("cat eye", "chelsea.png", 120, 60, 110),
    Crop("spoon", "coffee.png", 320, 170, 160),
    Crop("launch tower", "rocket.jpg", 420, 60, 220),
    Crop("camera and tripod", "camera.png", 230, 90, 220),
    Crop("two coins", "coins.png", 150, 150, 120),
    Crop("helmet", "astronaut.png", 320, 330, 182),
    Crop("galaxy", "hubble_deep_field.jpg", 640, 420, 200),
    Crop("wood grain", "coffee.png", 0, 200, 190),
    Crop("brick joints", "brick.png", 280, 260, 200),
    Crop("cat nose", "chelsea.png", 210, 150, 130),
    Crop("flag", "astronaut.png", 0, 0, 120),
    Crop("optic disc", "retina.jpg", 20, 500, 420),
    Crop("stones", "gravel.png", 300, 300, 120),
    Crop("leaves", "grass.png", 180, 10, 130),
    Crop("launch lights", "rocket.jpg", 130, 250, 177),
    Crop("skyline", "camera.png", 372, 120, 140),
    Crop("mission patch", "astronaut.png", 110, 300, 130),
    Crop("largest coin", "coins.png", 300, 140, 84),
    Crop("cup handle", "coffee.png", 190, 180, 140),
    Crop("shuttle", "astronaut.png", 340, 0, 170),
)


def load_photographs(source: str | Path, n: int | None, size_px: int) -> PhotographSet:
    """The first `n` photographs of `source`, cut square and resized (Lanczos, anti-aliased).

    Args:
        source: `"embedded"`, a folder (with the folders in it: categories), or a zip file. Members
            are sorted by the numbers in their names ("im2" before "im10"); images are cut to their
            central square.
        n: How many; None for all, of `"embedded"` those that were chosen by hand.
        size_px: Side of the result.

    Returns:
        `(n, size_px, size_px, 3) uint8` and a name each.

    Raises:
        SettingsError: If the source is missing, holds no images, or fewer than `n`.
        DataError: If the zip or one of the images cannot be read.
    """
    if str(source) == EMBEDDED:
        loaded = _embedded(n)
    elif Path(source).is_dir():
        loaded = _from_folder(Path(source), n)
    elif Path(source).is_file() and _is_zip(Path(source)):
        loaded = _from_zip(Path(source), n)
    elif Path(source).is_file():
        raise SettingsError(
            "this is no set of photographs",
            where=str(Path(source).absolute()),
            expected="a folder or a zip of images, also if there is only one",
            got=f"a single image, {Path(source).name}"
            if Path(source).suffix.lower() in IMAGE_SUFFIXES
            else Path(source).name,
            remedy="name its folder"
            if Path(source).suffix.lower() in IMAGE_SUFFIXES
            else "unpack it "
            "into a folder, or pack the images as .zip; an array of images is read by fit and "
            "evaluate as .npy (n, h, w, 3) uint8",
        )
    else:
        raise SettingsError(
            "the photographs are not there",
            where=str(Path(source).absolute()),
            expected=f"{EMBEDDED!r}, a folder of images, or a zip of images",
            remedy="check the path; a relative one is looked for where the program was started",
        )
    named = []
    changed = Changed(str(source), size_px)
    for name, picture in loaded:
        if str(source) != EMBEDDED:
            changed.look_at(name, picture)
        named.append((name, _resized(picture, size_px)))
    changed.tell()
    images = np.array([image for _, image in named], np.uint8).reshape(-1, size_px, size_px, 3)
    return PhotographSet(images, tuple(name for name, _ in named))


def _embedded(n: int | None) -> Iterator[tuple[str, Image.Image]]:
    count = len(EMBEDDED_CROPS) if n is None else _how_many(n, MAX_EMBEDDED, EMBEDDED)
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise InstallationError(
            "the embedded photographs come with scikit-image, which is not installed",
            remedy="pip install 'stimloop[server]', or name a folder of photographs",
        )
    folder = Path(spec.origin).parent / "data"
    files = list(dict.fromkeys(crop.file for crop in EMBEDDED_CROPS))
    pictures = {file: _from_file(folder / file) for file in files}
    for number in range(count):
        if number < len(EMBEDDED_CROPS):
            crop = EMBEDDED_CROPS[number]
            yield crop.name, _cut(pictures[crop.file], crop)
        else:
            file = files[number % len(files)]
            yield f"{Path(file).stem} {number}", _drawn(number, file, pictures[file])


def _drawn(number: int, file: str, picture: Image.Image) -> Image.Image:
    """Crop `number` of those beyond `EMBEDDED_CROPS`: log-uniform side, and not a blank sky."""
    random = random_stream(0, "embedded photographs", number)
    largest = min(picture.size) - 1  # the whole was chosen by hand
    while True:
        side = round(largest * (LEAST_SIDE_PX / largest) ** random.uniform())
        left, top = (int(random.integers(0, length - side + 1)) for length in picture.size)
        cut = _cut(picture, Crop("", file, left, top, side))
        if np.asarray(cut).std() >= LEAST_CONTRAST:
            return ImageOps.mirror(cut) if random.integers(2) else cut


def _cut(picture: Image.Image, crop: Crop) -> Image.Image:
    return picture.crop((crop.left, crop.top, crop.left + crop.side, crop.top + crop.side))


def _from_folder(folder: Path, n: int | None) -> Iterator[tuple[str, Image.Image]]:
    names = _image_names(list(_files_below(folder)), str(folder))
    for name in names[: _how_many(n, len(names), str(folder))]:
        yield name, _from_file(folder / name)


def _files_below(folder: Path) -> Iterator[str]:
    """All that is no folder, also below links to folders; each folder once."""
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = sorted(folders) if real not in seen else []
        if real not in seen:
            seen.add(real)
            yield from (Path(place, name).relative_to(folder).as_posix() for name in files)


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip" or zipfile.is_zipfile(path)


def _from_zip(path: Path, n: int | None) -> Iterator[tuple[str, Image.Image]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info.filename for info in archive.infolist() if not info.is_dir()]
            _check_once(members, str(path))
            names = _image_names(members, str(path))
            for name in names[: _how_many(n, len(names), str(path))]:
                yield name, _opened(archive.read(name), f"{path}: {name}")
    except UNREADABLE as error:
        raise DataError(
            "the zip of photographs cannot be read",
            where=str(path),
            expected="a complete zip file without a password",
            got=error,
            remedy="copy it again, or unpack it and name the folder",
        ) from None


def _check_once(members: list[str], where: str) -> None:
    if len(set(members)) < len(members):
        twice = [name for name, n in Counter(members).items() if n > 1]
        raise DataError(
            "the zip holds several files of one name, of which only the last can be read",
            where=where,
            got=", ".join(twice[:NAMED]),
            remedy="write the zip anew",
        )


def _from_file(path: Path) -> Image.Image:
    try:
        return _opened(path.read_bytes(), str(path))
    except OSError as error:
        raise DataError("a photograph cannot be read", where=str(path), got=error) from None


def _image_names(names: list[str], where: str) -> list[str]:
    """Those that are images, sorted; what is left unread is named in the program's output."""
    seen = sorted((name for name in names if not _is_hidden(name)), key=_natural_order)
    wanted = [name for name in seen if Path(name).suffix.lower() in IMAGE_SUFFIXES]
    images = set(wanted)
    if left := [name for name in seen if name not in images]:
        said = ", ".join(left[:NAMED]) + (f" and {len(left) - NAMED} more" * (len(left) > NAMED))
        logger.warning("%s: %d files are no images that can be read: %s", where, len(left), said)
    return wanted


def _is_hidden(name: str) -> bool:
    path = Path(name)
    return path.name.casefold() in SYSTEM_FILES or any(
        part.startswith((".", "__MACOSX")) for part in path.parts
    )


def _natural_order(name: str) -> tuple[list[tuple[int, int, str]], str]:
    parts = re.findall(r"\d+|\D+", name.casefold())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts], name


def _how_many(n: int | None, available: int, where: str) -> int:
    if not available:
        raise SettingsError(
            "there are no photographs",
            where=where,
            expected=f"files that end in {', '.join(sorted(IMAGE_SUFFIXES))}",
            remedy="check the path",
        )
    if n is not None and not 0 <= n <= available:
        raise SettingsError(
            "there are not that many photographs",
            where=where,
            expected=f"at most {available}",
            got=n,
            remedy="ask for fewer, or name a source that holds more",
        )
    return available if n is None else n


def _opened(content: bytes, where: str) -> Image.Image:
    """Decode an image file, upright and in sRGB."""
    try:
        with Image.open(io.BytesIO(content)) as encoded:
            check_whole(encoded, where)
            picture = in_srgb(ImageOps.exif_transpose(encoded), where)
    except StimloopError:
        raise
    except Exception as error:  # Pillow's decoders raise what they please
        raise DataError(
            "a photograph cannot be read",
            where=where,
            expected="a complete image file",
            got=error,
            remedy="copy it again, or remove it from the set",
        ) from None
    return picture


def _on_gray(picture: Image.Image) -> Image.Image:
    """RGB; transparent parts become mid-gray."""
    if picture.has_transparency_data:
        ground = Image.new("RGBA", picture.size, (128, 128, 128, 255))
        picture = Image.alpha_composite(ground, picture.convert("RGBA"))
    return picture.convert("RGB")


def _resized(picture: Image.Image, size_px: int) -> NDArray[np.uint8]:
    """The central square of `picture`, as `(size_px, size_px, 3) uint8`."""
    picture = _on_gray(picture)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.resize(
        (size_px, size_px), Image.Resampling.LANCZOS, (left, top, left + side, top + side)
    )
    return np.asarray(square, np.uint8)
