"""Textures to find receptive fields with: made from a seed, in a round patch with a soft edge.

Six kinds in turn, from coarse to fine and from plain to curved, so that a site that answers to few
patterns meets one of them. All are centred on gray, at high contrast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.seeds import random_stream
from protocols.vocabulary import Images

GRAY = 128
Floats = NDArray[np.float64]
Spectrum = Callable[[Floats, Floats], Floats]
"""(cycles per degree across, up) → amplitude."""


def _pink(across: Floats, up: Floats) -> Floats:
    return np.asarray(1 / np.maximum(np.hypot(across, up), 0.25))


def _blobs(across: Floats, up: Floats) -> Floats:
    return np.asarray(np.exp(-((np.hypot(across, up) - 0.8) ** 2) / (2 * 0.25**2)))


def _fine(across: Floats, up: Floats) -> Floats:
    return np.asarray(np.exp(-((np.hypot(across, up) - 3.0) ** 2) / (2 * 0.8**2)))


def _bars(orientation: float) -> Spectrum:
    def spectrum(across: Floats, up: Floats) -> Floats:
        along = across * np.cos(orientation) + up * np.sin(orientation)
        beside = -across * np.sin(orientation) + up * np.cos(orientation)
        return np.asarray(
            np.exp(-((np.abs(along) - 1.5) ** 2) / (2 * 0.4**2) - beside**2 / (2 * 0.3**2))
        )

    return spectrum


def _crossed(across: Floats, up: Floats) -> Floats:
    return np.asarray(_bars(np.pi / 4)(across, up) + _bars(3 * np.pi / 4)(across, up))


SPECTRA: Sequence[Spectrum] = (_pink, _bars(0.0), _blobs, _bars(np.pi / 2), _fine, _crossed)


def textures(n: int, size_px: int, patch_deg: float, edge_deg: float, seed: int) -> Images:
    """`(n, size_px, size_px, 3) uint8`: patches on gray 128.

    Args:
        n: How many; kinds in turn, each of its own random phases.
        size_px: Width and height.
        patch_deg: The same in degrees, and the patch's diameter: patterns have sizes in degrees.
        edge_deg: Over which the patch fades to gray, half a cosine within the diameter.
        seed: Of the phases and colours.
    """
    opacity = _opacity(size_px, patch_deg, edge_deg)[:, :, None]
    frequency = np.fft.fftfreq(size_px, patch_deg / size_px).astype(np.float64)
    made = []
    for number in range(n):
        random = random_stream(seed, "texture", number)
        amplitude = SPECTRA[number % len(SPECTRA)](frequency[None, :], frequency[:, None])
        pattern = np.stack([_noise(amplitude, random) for _ in range(2)], axis=2)
        tint = 0.35 * random.standard_normal(3)
        contrast = np.tanh(1.5 * pattern[..., :1]) + tint * np.tanh(pattern[..., 1:])
        made.append(np.rint(GRAY + 100 * opacity * np.clip(contrast, -1.2, 1.2)))
    return np.stack(made).astype(np.uint8)


def blank(size_px: int) -> Images:
    """`(1, size_px, size_px, 3) uint8`: plain gray."""
    return np.full((1, size_px, size_px, 3), GRAY, np.uint8)


def _noise(amplitude: Floats, random: np.random.Generator) -> Floats:
    """`(size, size)` of this amplitude spectrum, mean 0, SD 1."""
    spectrum = np.fft.fft2(random.standard_normal(amplitude.shape)) * amplitude
    spectrum[0, 0] = 0
    drawn = np.fft.ifft2(spectrum).real
    scaled: Floats = drawn / max(float(drawn.std()), 1e-9)
    return scaled


def _opacity(size_px: int, patch_deg: float, edge_deg: float) -> Floats:
    """`(size_px, size_px)` 0..1."""
    across = ((np.arange(size_px) + 0.5) / size_px - 0.5) * patch_deg
    inside = patch_deg / 2 - np.hypot(across[:, None], across)
    edge = min(edge_deg, patch_deg / 2)
    if edge <= 0:
        return np.asarray(inside >= 0, np.float64)
    return np.asarray((1 - np.cos(np.pi * np.clip(inside / edge, 0, 1))) / 2, np.float64)
