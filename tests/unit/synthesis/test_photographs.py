import io
import zipfile

import numpy as np
import pytest
from PIL import Image

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
