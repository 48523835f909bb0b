"""Products: kept whole, found again, made anew when damaged, broken off when the session ends."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from synth_server.session.encoders import SessionEncoder
from synth_server.session.products import (
    PROGRESS,
    Interrupted,
    Products,
    digest_file,
    products_folder,
    read_progress,
    save_arrays,
)
from tests.encoder_files import write_small_encoder


class Maker:
    """Writes a file, and counts how often."""

    def __init__(self, content: bytes = b"weights") -> None:
        self.n = 0
        self._content = content

    def __call__(self, path):
        self.n += 1
        path.write_bytes(self._content)


def test_a_product_is_made_once(tmp_path):
    make = Maker()
    first = Products(tmp_path / "p").file("encoder", make)
    again = Products(tmp_path / "p")
    assert again.file("encoder", make) == first
    assert make.n == 1
    assert again.found == ["encoder"]
    assert first.path.read_bytes() == b"weights"


@pytest.mark.parametrize(
    "damage", ["truncated", "altered", "gone", "digest gone", "digest nonsense"]
)
def test_a_damaged_product_is_made_anew(tmp_path, damage):
    make, products = Maker(), Products(tmp_path)
    first = products.file("encoder", make)
    match damage:
        case "truncated":
            first.path.write_bytes(b"wei")
        case "altered":
            first.path.write_bytes(b"weighty")
        case "gone":
            first.path.unlink()
        case "digest gone":
            digest_file(first.path).unlink()
        case "digest nonsense":
            digest_file(first.path).write_bytes(b"\xff\xfe")
    assert Products(tmp_path).file("encoder", make) == first
    assert make.n == 2


def test_what_was_broken_off_leaves_nothing_that_looks_whole(tmp_path):
    def broken(path):
        path.write_bytes(b"half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        Products(tmp_path).file("encoder", broken)
    make = Maker()
    assert Products(tmp_path).file("encoder", make).path.read_bytes() == b"weights"
    assert make.n == 1


def test_what_cannot_be_kept_is_used_all_the_same(tmp_path, caplog):
    (tmp_path / "p").write_text("a file where the folder should be")
    products = Products(tmp_path / "p")
    assert products.file("encoder", Maker()).path.read_bytes() == b"weights"
    assert "cannot be kept for a restart" in caplog.text
    with products.telling("fitting") as tell:
        tell(1, 2, "")


def test_who_may_only_read_leaves_the_folder_as_it_is(tmp_path):
    make = Maker()
    Products(tmp_path).file("kept", make)
    before = sorted(path.name for path in tmp_path.iterdir())
    reader = Products(tmp_path, writable=False)
    assert reader.file("kept", make).path.parent == tmp_path
    assert reader.file("new", make).path.read_bytes() == b"weights"
    with reader.telling("fitting") as tell:
        tell(1, 2, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert reader.found == ["kept"]


def test_progress_is_told_while_it_lasts(tmp_path):
    with Products(tmp_path).telling("fitting"):
        found = read_progress(tmp_path)
    assert found is not None
    assert (found.what, found.done, found.total) == ("fitting", 0, 1)
    assert read_progress(tmp_path) is None


@pytest.mark.parametrize("content", ["", "[1]", json.dumps({"what": 1})])
def test_progress_that_cannot_be_read_is_none(tmp_path, content):
    (tmp_path / PROGRESS).write_text(content)
    assert read_progress(tmp_path) is None


def test_the_end_of_the_session_breaks_it_off(tmp_path):
    told: list[int] = []
    products = Products(tmp_path, interrupted=lambda: len(told) == 3)

    def work():
        with products.telling("fitting") as tell:
            for step in range(100):
                told.append(step)
                tell(step, 100, "")

    with pytest.raises(Interrupted, match="fitting was broken off"):
        work()
    assert len(told) == 3
    assert read_progress(tmp_path) is None


def test_products_lie_beside_the_log(tmp_path):
    assert products_folder(tmp_path / "a.sqlite") == tmp_path / "a.products"


def test_arrays_come_back_whatever_their_order_in_memory(tmp_path):
    rates = np.arange(12.0).reshape(3, 4)
    transposed = np.asfortranarray(rates)
    save_arrays(tmp_path / "a.safetensors", plain=rates, transposed=transposed, view=rates.T)
    found = load_file(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(found["transposed"], rates)
    np.testing.assert_array_equal(found["view"], rates.T)


def test_a_session_predicts_what_its_encoder_predicts(tmp_path):
    """Of an encoder whose rates lie transposed in memory."""
    encoder = SessionEncoder.of(write_small_encoder(tmp_path / "e.safetensors"), Products())
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(encoder.predict(images), encoder.model.predict(images))
