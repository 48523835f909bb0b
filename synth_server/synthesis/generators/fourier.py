"""Fourier space: coloured images from few numbers, with natural spectrum and contrast.

After the preconditioned Fourier parametrisation of feature visualisation (Olah, Mordvintsev &
Schubert 2017): amplitudes fall as 1/f, as in natural images, and colours mix opponent axes
(luminance, red–green, yellow–blue) of unequal strength. Some things differ, for gradient-free
search in a few dozen generations:

- Frequencies are few: all up to `DENSE_CYCLES`, then a log-polar sample, each standing for its
  surroundings (its amplitude grows with the spacing, so every octave keeps its natural energy).
  Colour is coarser than luminance, as it is to the eye.
- The image repeats (`tiles`): a V4 receptive field covers a part of it, and numbers spent on the
  rest would be lost on the neuron.
- One gene tilts the spectrum, so that a neuron tuned to fine texture is found as soon as one tuned
  to large shapes.
- Coefficients are sparse, as those of natural images: code · |code|^(sparseness - 1).
- Every image is brought to the same RMS contrast: an image cannot win by contrast alone.
- A code's length therefore draws nothing, and a mutation's angle shrinks as codes grow.

The defaults were chosen on simulated V4-like populations of seeds ≥ 100.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from protocols.digests import document_digest
from protocols.settings import Frozen
from protocols.vocabulary import Codes, Images
from synth_server.synthesis.generators.pixels import check_codes

DENSE_CYCLES = 4
"""Beyond this, in cycles/image, frequencies are spaced by a quarter of themselves."""
N_MEAN = 3
"""The first genes are the mean of each opponent axis; the next tilts the spectrum."""
OPPONENT_TO_RGB = ((1.0, 1.0, 3**-0.5), (1.0, -1.0, 3**-0.5), (1.0, 0.0, -2 * 3**-0.5))
"""Columns: luminance, red–green, yellow–blue; orthogonal, of squared length 3, 2, 2."""
COLOUR_MEAN_PART = 0.4
"""Range of an image's mean colour, as a part of that of its mean luminance."""
AXIS_POWER = (1.0, 2 / 3, 2 / 3)
"""Mean square over R, G, B of each axis at unit amplitude."""


class FourierSettings(Frozen):
    """Settings of the Fourier generator."""

    size_px: int = Field(default=128, ge=16, le=2048, description="side of the square image")
    tiles: int = Field(default=2, ge=1, le=16, description="how often the image repeats, each way")
    max_cycles: float = Field(default=32.0, ge=1, description="luminance band, cycles/image")
    max_colour_cycles: float = Field(default=4.0, ge=1, description="colour band, cycles/image")
    falloff: float = Field(default=1.0, ge=0, le=4, description="amplitude ∝ frequency^-falloff")
    colour: float = Field(default=0.5, ge=0, le=2, description="colour amplitude over luminance")
    tilt: float = Field(
        default=1.0, ge=0, le=3, description="furthest that one gene tilts the falloff either way"
    )
    sparseness: float = Field(default=2.0, ge=1, le=4, description="1: Gaussian coefficients")
    contrast: float = Field(
        default=0.3, gt=0, le=2, description="RMS over pixels and channels, before squashing, 0..1"
    )
    mean_range: float = Field(
        default=0.25, ge=0, le=1, description="furthest mean from mid-gray, before squashing"
    )

    @model_validator(mode="after")
    def _a_tile_holds_a_cycle(self) -> Self:
        least = min(self.max_cycles, self.max_colour_cycles, self.size_px // 2 - 1)
        if self.tiles > least:
            raise ValueError(
                f"tiles = {self.tiles} needs as many cycles/image in every band, got {least:g}"
            )
        return self


class Band(NamedTuple):
    """One opponent axis: one of each ± pair of frequencies, their amplitudes, octaves `(n,)`."""

    fx: Tensor
    fy: Tensor
    amplitude: Tensor
    octave: Tensor
    """log2 of frequency ÷ `DENSE_CYCLES`."""


class FourierGenerator:
    """Draws images from their Fourier coefficients on three opponent axes.

    A code holds three means and the spectrum's tilt, then for each axis the real and then the
    imaginary parts.
    """

    Settings = FourierSettings

    def __init__(self, settings: FourierSettings) -> None:
        self._settings = settings
        luminance = _band(settings.max_cycles, settings, 1.0)
        colour = _band(settings.max_colour_cycles, settings, settings.colour)
        self._bands = (luminance, colour, colour)
        self._mean_range = [
            settings.mean_range * part for part in (1.0, COLOUR_MEAN_PART, COLOUR_MEAN_PART)
        ]

    @property
    def code_dim(self) -> int:
        """Three means, a tilt, and two numbers a frequency."""
        return N_MEAN + 1 + 2 * sum(len(band.fx) for band in self._bands)

    @property
    def image_size_px(self) -> int:
        """Side of the square image."""
        return self._settings.size_px

    @property
    def digest(self) -> str:
        """Sha256 of the name and the settings, which are all there is."""
        return document_digest({"generator": "fourier", **self._settings.model_dump(mode="json")})

    def sample_codes(self, n: int, random: np.random.Generator) -> Codes:
        """`(n, code_dim)` from N(0, 1)."""
        return random.standard_normal((n, self.code_dim), dtype=np.float32)

    def decode(self, codes: Tensor) -> Tensor:
        """`(n, code_dim)` → `(n, 3, size, size)` RGB in 0..1; differentiable."""
        size = self._settings.size_px
        coefficients = self._coefficients(codes)
        spectrum = codes.new_zeros((len(codes), 3, size, size // 2 + 1), dtype=torch.complex64)
        for axis, (band, values) in enumerate(zip(self._bands, coefficients, strict=True)):
            spectrum[:, axis, band.fy % size, band.fx] = values
            on_edge = band.fx == 0
            spectrum[:, axis, -band.fy[on_edge] % size, 0] = values[:, on_edge].conj()
        planes = torch.fft.irfft2(spectrum, s=(size, size), norm="forward")
        gain = self._settings.contrast / _rms(coefficients)
        means = torch.tanh(codes[:, :N_MEAN]) * codes.new_tensor(self._mean_range)
        opponent = planes * gain[:, None, None, None] + means[:, :, None, None]
        return torch.sigmoid(4 * self._mixed(opponent))

    def __call__(self, codes: Codes) -> Images:
        """`(n, code_dim) float32` → `(n, size, size, 3) uint8`."""
        check_codes(codes, self.code_dim)
        with torch.inference_mode():
            levels = (self.decode(torch.from_numpy(np.array(codes))) * 255).round()
        return np.ascontiguousarray(levels.to(torch.uint8).permute(0, 2, 3, 1).numpy())

    def _coefficients(self, codes: Tensor) -> list[Tensor]:
        """Each axis's complex coefficients `(n, n_frequencies)`."""
        found, start = [], N_MEAN + 1
        tilt = self._settings.tilt * torch.tanh(codes[:, N_MEAN : N_MEAN + 1])
        for band in self._bands:
            width = len(band.fx)
            real = codes[:, start : start + width]
            imaginary = codes[:, start + width : start + 2 * width]
            genes = torch.complex(self._sparse(real), self._sparse(imaginary))
            octave, amplitude = band.octave.to(codes.device), band.amplitude.to(codes.device)
            found.append(genes * amplitude * torch.exp2(tilt * octave))
            start += 2 * width
        return found

    def _sparse(self, genes: Tensor) -> Tensor:
        return genes * genes.abs() ** (self._settings.sparseness - 1)

    def _mixed(self, opponent: Tensor) -> Tensor:
        """Opponent axes to R, G, B, sum by sum: a matrix product may round otherwise in a batch."""
        luminance, red_green, yellow_blue = opponent.unbind(1)
        rows = [r[0] * luminance + r[1] * red_green + r[2] * yellow_blue for r in OPPONENT_TO_RGB]
        return torch.stack(rows, dim=1)


def _band(max_cycles: float, settings: FourierSettings, strength: float) -> Band:
    """The frequencies up to `max_cycles` (and below Nyquist) of one half plane, without the mean."""
    limit = min(max_cycles, settings.size_px // 2 - 1) / settings.tiles
    spacing = _dense(min(limit, DENSE_CYCLES)) | _log_polar(limit)
    fx, fy = np.array(sorted(spacing)).T
    spaces = np.array([spacing[x, y] for x, y in zip(fx.tolist(), fy.tolist(), strict=True)])
    frequency = np.hypot(fx, fy)
    return Band(
        torch.from_numpy(fx * settings.tiles),
        torch.from_numpy(fy * settings.tiles),
        torch.from_numpy(strength * spaces * frequency**-settings.falloff).float(),
        torch.from_numpy(np.log2(frequency / DENSE_CYCLES)).float(),
    )


def _dense(limit: float) -> dict[tuple[int, int], float]:
    """Every frequency `(fx, fy)` up to `limit`, and its distance from the next: 1."""
    reach = range(-int(limit), int(limit) + 1)
    half_plane = [(x, y) for x in reach for y in reach if x > 0 or (x == 0 and y > 0)]
    return {(x, y): 1.0 for x, y in half_plane if np.hypot(x, y) <= limit}


def _log_polar(limit: float) -> dict[tuple[int, int], float]:
    """Rings beyond the dense part, a quarter apart, staggered; with the distance between rings."""
    found: dict[tuple[int, int], float] = {}
    n_angles = round(np.pi * DENSE_CYCLES)
    radius, ring = DENSE_CYCLES + 0.5, 0
    while radius <= limit:
        angles = np.pi * ((np.arange(n_angles) + 0.25 + 0.5 * (ring % 2)) / n_angles - 0.5)
        points = np.rint(radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(int)
        for x, y in points.tolist():
            found.setdefault((x, y if x else abs(y)), radius / DENSE_CYCLES)
        radius, ring = radius * (1 + 1 / DENSE_CYCLES), ring + 1
    return found


def _rms(coefficients: list[Tensor]) -> Tensor:
    """RMS `(n,)` over pixels and channels, by Parseval: a ± pair of modulus |z| has power 2 |z|²."""
    powers = [
        weight * 2 * (values.real.square() + values.imag.square()).sum(dim=1)
        for weight, values in zip(AXIS_POWER, coefficients, strict=True)
    ]
    return (torch.stack(powers).sum(dim=0) + 1e-12).sqrt()
