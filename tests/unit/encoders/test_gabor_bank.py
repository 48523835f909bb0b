"""The published distributions of V1's filters, and what its cells answer to gratings."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from encoders.backbones import gabor_bank as bank
from encoders.backbones.vonenet_architecture import PX_PER_DEG, SIMPLE_CELLS, VOneBlock
from protocols.seeds import random_stream

N = 40_000


@pytest.fixture(scope="module")
def gabors() -> bank.Gabors:
    return bank.drawn_gabors(N, random_stream(0, "many filters"))


def test_orientations_and_frequencies_are_as_de_valois_counted_them(gabors):
    degrees = (np.rad2deg(gabors.orientation_rad) + 22.5) % 180 - 22.5
    counts, _ = np.histogram(degrees, [-22.5, 22.5, 67.5, 112.5, 157.5])
    assert counts / N == pytest.approx(np.array([66, 49, 77, 54]) / 246, abs=0.01)
    edges = [0.5, 0.7, 1, 1.4, 2, 2.8, 4, 5.6]
    counts, _ = np.histogram(gabors.frequency_cpd, edges)
    assert counts.sum() == N
    assert counts / N == pytest.approx(np.array([4, 4, 8, 25, 32, 26, 28]) / 127, abs=0.01)


def test_sizes_are_as_ringach_counted_them(gabors):
    edges = np.logspace(-1, 0.2, 6)
    counts, *_ = np.histogram2d(gabors.across_cycles, gabors.along_cycles, [edges, edges])
    expected = np.array(
        [[2, 0, 1, 0, 0], [8, 9, 4, 1, 0], [1, 2, 19, 17, 3], [0, 0, 1, 7, 4], [0, 0, 0, 0, 0]]
    )
    assert counts.sum() == N
    assert np.abs(counts / N - expected / 79).max() < 0.01


def test_finer_filters_have_more_cycles(gabors):
    """Spearman's rho of a Gaussian copula: 6/π · asin(r/2)."""
    rho = spearmanr(gabors.frequency_cpd, gabors.across_cycles).statistic
    assert rho == pytest.approx(6 / np.pi * np.arcsin(0.75 / 2), abs=0.015)
    assert abs(spearmanr(gabors.frequency_cpd, gabors.phase_rad).statistic) < 0.02


def one(angle_deg: float, phase_rad: float = 0.0) -> np.ndarray:
    values = (4.0, np.deg2rad(angle_deg), phase_rad, 0.6, 0.8)
    each = bank.Gabors(*(np.array([value]) for value in values))
    return bank.kernels(each, side_px=49, px_per_deg=32.0)[0]


@pytest.mark.parametrize(("angle", "down", "right"), [(0, 4, 0), (90, 0, 4), (45, 2.83, 2.83)])
def test_a_kernel_has_its_frequency_across_its_bars(angle, down, right):
    power = np.abs(np.fft.fft2(one(angle), (320, 320)))[:160, :160]
    peak = np.unravel_index(power.argmax(), power.shape)
    assert np.array(peak) * 32.0 / 320 == pytest.approx([down, right], abs=0.2)


def test_a_kernel_has_its_height_and_symmetry():
    across_px, along_px = 0.6 * 8, 0.8 * 8
    even, odd = one(30), one(30, np.pi / 2)
    assert even[24, 24] == pytest.approx(1 / (2 * np.pi * across_px * along_px), rel=1e-5)
    assert even == pytest.approx(even[::-1, ::-1], abs=1e-7)
    assert odd == pytest.approx(-odd[::-1, ::-1], abs=1e-7)


def test_a_filter_sees_one_colour_and_all_are_seen():
    banks = bank.drawn_bank(300, random_stream(0, "bank"), side_px=25, px_per_deg=28)
    for filters in banks:
        seen = np.abs(filters).sum(axis=(2, 3)) > 0
        assert (seen.sum(axis=1) == 1).all()
        assert (seen.sum(axis=0) > 70).all()


def test_complex_cells_ignore_the_phase_of_their_grating_and_simple_cells_do_not():
    block = VOneBlock()
    block.draw_filters(3)
    gabors = bank.drawn_gabors(512, random_stream(3, "gabor bank"))
    fine = (gabors.across_cycles > 0.45) & (gabors.frequency_cpd > 2.5)
    is_complex = np.arange(512) >= SIMPLE_CELLS
    groups = [np.flatnonzero(fine & chosen)[:8] for chosen in (~is_complex, is_complex)]
    simple, complex_ = ([modulation(block, cell, gabors) for cell in group] for group in groups)
    assert len(simple) == len(complex_) == 8
    assert min(simple) > 0.95
    assert max(complex_) < 0.15


def modulation(block: VOneBlock, cell: int, gabors: bank.Gabors) -> float:
    """(max − min) / (max + min) over the phases of the cell's best grating."""
    frequency = gabors.frequency_cpd[cell] / PX_PER_DEG
    angle = gabors.orientation_rad[cell]
    down, right = np.mgrid[:49, :49]
    phase = np.linspace(0, 2 * np.pi, 12, endpoint=False)[:, None, None]
    across = down * np.cos(angle) + right * np.sin(angle)
    gratings = torch.tensor(np.cos(2 * np.pi * frequency * across + phase), dtype=torch.float32)
    with torch.no_grad():
        rates = block(gratings[:, None].expand(-1, 3, -1, -1))[:, cell, 6, 6]
    return float((rates.max() - rates.min()) / (rates.max() + rates.min()))
