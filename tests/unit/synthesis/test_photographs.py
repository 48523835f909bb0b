import io
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from protocols.errors import DataError, SettingsError
from synth_server.synthesis.photographs import EMBEDDED_CROPS, MAX_EMBEDDED, load_photographs


def png(level, size=(20, 12)):
    buffer = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    for number in (10, 2, 1):
        (tmp_path / f"im{number}.png").write_bytes(png(number))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".im0.png").write_bytes(b"hidden")
    return tmp_path


def test_embedded_photographs_are_many_varied_and_the_same_every_time():
    pytest.importorskip("skimage")
    first = load_photographs("embedded", None, 64)
    assert len(EMBEDDED_CROPS) >= 24
    assert first.images.shape == (len(EMBEDDED_CROPS), 64, 64, 3)
    assert len(set(first.names)) == len(first.names)
    assert len(np.unique(first.images.reshape(len(first.images), -1), axis=0)) == len(first.images)
    assert first.images.std(axis=(1, 2)).mean(axis=1).min() > 5
    assert np.array_equal(first.images[:3], load_photographs("embedded", 3, 64).images)


def test_embedded_photographs_beyond_those_chosen_by_hand_are_drawn_the_same_every_time():
    pytest.importorskip("skimage")
    some, more = (load_photographs("embedded", n, 32) for n in (60, 90))
    assert np.array_equal(some.images, more.images[:60])
    assert some.names == more.names[:60]
    assert np.array_equal(
        some.images[: len(EMBEDDED_CROPS)], load_photographs("embedded", None, 32).images
    )
    assert len(np.unique(more.images.reshape(90, -1), axis=0)) == 90
    assert len(set(more.names)) == 90


def test_embedded_has_an_end():
    with pytest.raises(SettingsError, match=f"at most {MAX_EMBEDDED}"):
        load_photographs("embedded", MAX_EMBEDDED + 1, 64)


def test_none_asked_none_given():
    assert load_photographs("embedded", 0, 64).images.shape == (0, 64, 64, 3)


def test_a_folder_is_sorted_by_number(folder):
    loaded = load_photographs(str(folder), None, 8)
    assert loaded.names == ("im1.png", "im2.png", "im10.png")
    assert loaded.images[:, 0, 0, 0].tolist() == [1, 2, 10]


def test_a_zip_is_sorted_by_number_and_sheds_rubbish(tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("set/im10.png", "set/im9.png", "__MACOSX/im1.png", "set/readme.md"):
            archive.writestr(name, png(9))
    assert load_photographs(path, 2, 8).names == ("set/im9.png", "set/im10.png")


def test_the_central_square_is_cut(tmp_path):
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 200
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert (load_photographs(tmp_path, 1, 10).images == 200).all()


def test_transparent_parts_become_gray(tmp_path):
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (load_photographs(tmp_path, 1, 8).images == 128).all()


def test_missing_source(tmp_path):
    with pytest.raises(SettingsError, match="not there"):
        load_photographs(tmp_path / "nowhere", 1, 8)


def test_no_images(tmp_path):
    with pytest.raises(SettingsError, match="no photographs"):
        load_photographs(tmp_path, 1, 8)


def test_too_few(folder):
    with pytest.raises(SettingsError, match="at most 3"):
        load_photographs(folder, 4, 8)


def test_a_truncated_image_is_named(folder):
    (folder / "im2.png").write_bytes(png(2, (400, 400))[:-60])
    with pytest.raises(DataError, match=r"im2\.png"):
        load_photographs(folder, None, 8)


@pytest.mark.parametrize("keep", [10, 100, 150])
def test_a_truncated_zip_is_refused(tmp_path, keep):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("im1.png", png(1))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="zip of photographs"):
        load_photographs(path, None, 8)


def test_deep_pictures_are_refused(tmp_path):
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match="8 bits"):
        load_photographs(tmp_path, 1, 8)


def _tiff(path, pixels, **options):
    import tifffile

    tifffile.imwrite(path, pixels, **options)


@pytest.mark.parametrize("name", ["rgb12.tif", "gray12.tiff", "float.tif", "rgb16.png"])
def test_deep_pixels_are_refused_with_the_scaling_to_choose(tmp_path, name):
    """12-bit values in 16 bits come out nearly black if only the high byte is kept."""
    values = np.random.default_rng(0).integers(0, 4096, (16, 16, 3)).astype(np.uint16)
    if name == "rgb16.png":
        (tmp_path / name).write_bytes(_png_16(values))
    elif name.startswith("rgb"):
        _tiff(tmp_path / name, values, photometric="rgb")
    else:
        _tiff(tmp_path / name, values[..., 0].astype("f4" if "float" in name else "u2"))
    with pytest.raises(DataError, match="more than 8 bits") as refused:
        load_photographs(tmp_path, None, 8)
    assert name in refused.value.where
    assert "value / 4095 * 255" in refused.value.remedy


def _png_16(values):
    """A PNG of 16 bits a channel, by the format's definition."""
    import struct
    import zlib

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind, content):
        framed = kind + content
        return struct.pack(">I", len(content)) + framed + struct.pack(">I", zlib.crc32(framed))

    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_pages_are_never_left_out(tmp_path):
    _tiff(tmp_path / "stack.tif", np.zeros((3, 8, 8, 3), np.uint8), photometric="rgb")
    with pytest.raises(DataError, match="has 3 pages"):
        load_photographs(tmp_path, None, 8)
    (tmp_path / "stack.tif").unlink()
    frames = [Image.new("RGB", (8, 8), (level, 0, 0)) for level in (10, 250)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="has 2 pages"):
        load_photographs(tmp_path, None, 8)


def test_print_colours_are_refused(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    with pytest.raises(DataError, match="colours of another kind"):
        load_photographs(tmp_path, None, 8)


def test_another_profile_is_brought_to_srgb(tmp_path):
    """Display P3's red, as an sRGB screen can show it: the reds of the two differ."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Image.new("RGB", (8, 8), (200, 30, 60))
    picture.save(tmp_path / "a.png", icc_profile=srgb)
    assert load_photographs(tmp_path, 1, 8).images[0, 0, 0].tolist() == [200, 30, 60]
    picture.save(tmp_path / "a.png", icc_profile=_with_swapped_primaries(srgb))
    assert load_photographs(tmp_path, 1, 8).images[0, 0, 0].tolist() == pytest.approx(
        [30, 200, 60], abs=3
    )
    picture.save(tmp_path / "a.png", icc_profile=b"nonsense")
    with pytest.raises(DataError, match="colour profile"):
        load_photographs(tmp_path, 1, 8)


def _with_swapped_primaries(profile):
    """The same profile under another name, its red and green primaries exchanged."""
    changed = profile.replace(b"rXYZ", b"?XYZ").replace(b"gXYZ", b"rXYZ").replace(b"?XYZ", b"gXYZ")
    return changed.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be")).replace(
        b"sRGB", b"test"
    )


def test_what_is_not_read_is_named(folder, caplog):
    (folder / "scene4.jp2").write_bytes(b"x")
    (folder / "Thumbs.db").write_bytes(b"x")
    with caplog.at_level("WARNING"):
        load_photographs(folder, None, 8)
    assert "2 files are no images that can be read: notes.txt, scene4.jp2" in caplog.text


def test_links_are_followed_once_and_broken_ones_are_named(tmp_path: Path) -> None:
    folder, outside = tmp_path / "set", tmp_path / "outside"
    for place, name in ((folder, "im1.png"), (outside, "im2.png")):
        place.mkdir()
        Image.new("RGB", (8, 8), (9, 9, 9)).save(place / name)
    (folder / "more").symlink_to(outside)
    (folder / "self").symlink_to(folder)
    assert load_photographs(folder, None, 8).names == ("im1.png", "more/im2.png")
    (folder / "im3.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match="cannot be read") as refused:
        load_photographs(folder, None, 8)
    assert "im3.png" in refused.value.where


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (Image.new("RGB", (16, 8)), "not square: only the central square is used: x.png"),
        (Image.new("RGB", (4, 4)), "smaller than 8 px: enlarged: x.png"),
        (Image.new("RGBA", (8, 8), (0, 0, 0, 99)), "partly transparent: shown on mid-gray: x.png"),
        (Image.new("RGBA", (8, 8), (0, 0, 0, 255)), ""),
        (Image.new("L", (8, 8)), ""),
    ],
)
def test_what_is_lost_of_an_image_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, picture: Image.Image, says: str
) -> None:
    picture.save(tmp_path / "x.png")
    load_photographs(tmp_path, None, 8)
    assert says in caplog.text
    assert bool(caplog.text) == bool(says)


def test_a_zip_with_two_files_of_one_name_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "PNG")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            archive.writestr("im1.png", content.getvalue())
    with pytest.raises(DataError, match="several files of one name"):
        load_photographs(tmp_path / "set.zip", None, 8)


def test_what_is_no_set_says_what_would_be(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    (tmp_path / "set.tar.gz").write_bytes(b"\x1f\x8b")
    for name, says in (("one.png", "name its folder"), ("set.tar.gz", "pack the images as .zip")):
        with pytest.raises(SettingsError, match="no set of photographs") as refused:
            load_photographs(tmp_path / name, None, 8)
        assert says in refused.value.remedy


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
def test_an_animation_is_refused_in_every_format(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (9, 200)]
    frames[0].save(tmp_path / f"x{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="2 pages"):
        load_photographs(tmp_path, None, 8)


def _linear_gray_profile():
    """The least that ICC.1 asks of a gray profile: white point, tone curve (gamma 1), name, copyright."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    curve = b"curv\0\0\0\0" + struct.pack(">I", 0)
    text = b"desc\0\0\0\0" + struct.pack(">I", 7) + b"linear\0" + bytes(4 + 4 + 2 + 1 + 67)
    parts = {b"wtpt": white, b"kTRC": curve, b"desc": text, b"cprt": b"text\0\0\0\0none\0"}
    table, body, start = struct.pack(">I", len(parts)), b"", 128 + 4 + 12 * len(parts)
    for tag, content in parts.items():
        padded = content + bytes(-len(content) % 4)
        table += tag + struct.pack(">II", start + len(body), len(content))
        body += padded
    illuminant = struct.pack(">3i", 63190, 65536, 54061)
    head = struct.pack(
        ">I4sI4s4s4s", start + len(body), b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ "
    )
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + illuminant
    return head.ljust(128, b"\0") + table + body


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_gray_profile_is_brought_to_srgb(tmp_path, mode):
    """Linear light 64/255 is 137 in sRGB; taken as it stands it would be shown far too dark."""
    gray = Image.new(mode, (8, 8), 64 if mode == "L" else (64, 255))
    gray.save(tmp_path / "a.png", icc_profile=_linear_gray_profile())
    assert abs(int(load_photographs(tmp_path, None, 8).images[0, 0, 0, 0]) - 137) <= 1


def test_a_palette_with_a_profile_is_brought_to_srgb(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Image.new("RGB", (8, 8), (200, 10, 10)).quantize(4)
    picture.save(tmp_path / "a.png", icc_profile=_with_swapped_primaries(srgb))
    red, green, _ = load_photographs(tmp_path, None, 8).images[0, 0, 0]
    assert green > 150 > 120 > red
