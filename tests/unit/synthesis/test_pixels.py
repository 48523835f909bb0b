import subprocess
import sys

import numpy as np
import pytest

from protocols.errors import DataError
from protocols.seeds import random_stream
from synth_server.synthesis.generators.pixels import (
    PixelGenerator,
    PixelSettings,
    interpolation_matrix,
)


def test_zeros_are_mid_gray_and_ones_are_brighter():
    generator = PixelGenerator(PixelSettings(size_px=32, grid=4, contrast=0.25))
    assert (generator(np.zeros((1, 48), np.float32)) == 128).all()
    assert (generator(np.ones((1, 48), np.float32)) == 191).all()


def test_genes_run_by_row_column_channel():
    generator = PixelGenerator(PixelSettings(size_px=16, grid=2))
    code = np.zeros((1, 12), np.float32)
    code[0, 3] = 2
    red_top_right = generator(code)[0, 0, -1]
    assert red_top_right.tolist() == [230, 128, 128]


def test_interpolation_is_exact_for_lines_and_constants():
    matrix = interpolation_matrix(8, 64)
    assert matrix.sum(axis=1) == pytest.approx(1)
    line = matrix @ np.arange(8.0)
    inside = slice(4, 60)
    assert np.diff(line[inside]) == pytest.approx(1 / 8)


def test_an_image_is_the_same_in_any_batch():
    generator = PixelGenerator(PixelSettings())
    codes = generator.sample_codes(9, random_stream(0, "codes"))
    assert np.array_equal(generator(codes)[4:5], generator(codes[4:5]))


def test_wrong_codes_are_refused():
    with pytest.raises(DataError, match="wrong shape"):
        PixelGenerator(PixelSettings())(np.zeros((1, 768), np.float64))


def test_it_starts_without_torch():
    program = (
        "import sys, synth_server.synthesis.generators.pixels, "
        "synth_server.synthesis.optimizers.genetic, synth_server.synthesis.objectives, "
        "synth_server.synthesis.photographs; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_an_image_that_it_drew_is_inverted_to_its_code():
    generator = PixelGenerator(PixelSettings(size_px=64, grid=8, contrast=0.15))
    codes = np.clip(generator.sample_codes(3, random_stream(0, "codes")), -3, 3)
    images = generator(codes)
    found = generator.invert(images)
    assert found == pytest.approx(codes, abs=0.05)
    assert np.abs(generator(found).astype(int) - images).max() <= 1


def test_images_of_another_size_are_not_inverted():
    with pytest.raises(DataError, match="another size"):
        PixelGenerator(PixelSettings(size_px=16)).invert(np.zeros((1, 8, 8, 3), np.uint8))
