"""Image spaces: the parameters that gradient ascent moves, and the images that they stand for.

Where an image is written in decides which of many equally driving images is found (Olah, Mordvintsev
& Schubert 2017, "The enemy of feature visualization"):

- `PixelSpace`: one number a pixel. No prior; high frequencies come for free.
- `FourierSpace`: the full spectrum, each frequency in units of its natural amplitude, on opponent
  colour axes in units of their natural contrast: a step moves an image as nature varies.
- `GeneratorSpace`: the codes of any differentiable generator, a learned prior among them.
"""

from __future__ import annotations

from math import log
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import interpolate

from protocols.seeds import derived_seed, random_stream
from protocols.settings import Frozen
from protocols.vocabulary import Codes
from synth_server.synthesis.generators.fourier import AXIS_POWER, OPPONENT_TO_RGB

NATURAL_MEAN = 0.44
"""Median over 300 ImageNet photographs (112 px) of the mean over pixels and channels, in 0..1."""
NATURAL_MEANS = (0.11, 0.7)
"""Between these are the means of 96 % of the 1,200 photographs of a published V4 recording (112 px)."""
NATURAL_RMS_CONTRAST = 0.22
"""Of the same photographs, median standard deviation over pixels and channels, in 0..1."""
NATURAL_OPPONENT_CONTRAST = (1.0, 0.18, 0.26)
"""Of the same: luminance, red–green, yellow–blue along `OPPONENT_TO_RGB`, luminance being 1."""
SEED_RANGE = 2**63 - 1
NEVER_REACHED = 1e-4
"""A sigmoid stays this far from 0 and 1."""


class ImageSpace(Protocol):
    """A parametrisation of square images. Rows never depend on each other."""

    @property
    def size_px(self) -> int:
        """Side of the image."""
        ...

    def initial(self, n: int, generator: torch.Generator) -> Tensor:
        """Random starting points, `(n, …)` float32, on the CPU."""
        ...

    def images(self, parameters: Tensor) -> Tensor:
        """`(n, …)` → `(n, 3, size_px, size_px)` RGB; differentiable.

        Values beyond 0..1 are left to the constraints, which clip.
        """
        ...

    def project_(self, parameters: Tensor) -> None:
        """Bring parameters back, in place, to where this space ends."""
        ...


@runtime_checkable
class DifferentiableGenerator(Protocol):
    """An `ImageGenerator` that can be climbed: `FourierGenerator`, `DeePSiMGenerator` …"""

    @property
    def code_dim(self) -> int:
        """Numbers in a code."""
        ...

    @property
    def image_size_px(self) -> int:
        """Side of the square image."""
        ...

    @property
    def digest(self) -> str:
        """Sha256 of everything that decides what is drawn."""
        ...

    def sample_codes(self, n: int, random: np.random.Generator) -> Codes:
        """`(n, code_dim)` from the generator's prior."""
        ...

    def decode(self, codes: Tensor) -> Tensor:
        """`(n, code_dim)` on any device → `(n, 3, size, size)` in 0..1, on the same."""
        ...


class PixelSpaceSettings(Frozen):
    """Settings of the pixel space; its defaults are those of Bashivan, Kar & DiCarlo (2019)."""

    size_px: int = Field(default=112, ge=8, le=2048, description="side of the square image")
    colour: bool = Field(default=False, description="three numbers a pixel, or one")
    initial_amplitude: float = Field(
        default=0.5, ge=0, le=1, description="largest value of the initial noise, in -1..1"
    )


class FourierSpaceSettings(Frozen):
    """Settings of the Fourier space."""

    size_px: int = Field(default=112, ge=8, le=2048, description="side of the square image")
    colour: bool = Field(default=True, description="opponent colours, or luminance alone")
    colour_strength: float = Field(
        default=1.0, ge=0, le=10, description="colour contrast over that of natural images"
    )
    falloff: float = Field(
        default=1.2, ge=0, le=4, description="amplitude ∝ frequency^-falloff; photographs: 1.2"
    )
    contrast: float = Field(
        default=NATURAL_RMS_CONTRAST, gt=0, le=1, description="RMS of a start, before squashing"
    )
    mean: float = Field(default=NATURAL_MEAN, gt=0, lt=1, description="around which it starts")
    squash: bool = Field(
        default=True,
        description="a sigmoid keeps values in 0..1; without, they are left to be clipped: better "
        "where constraints set mean and contrast anyway, since nothing saturates",
    )


class GeneratorSpaceSettings(Frozen):
    """Settings of a generator's code space."""

    max_rms: float | None = Field(
        default=None, gt=0, description="longest code, RMS over its numbers; no limit if not given"
    )
    size_px: int | None = Field(
        default=None, ge=8, le=2048, description="images are resized to it; not given: as drawn"
    )


class PixelSpace:
    """Pixel values x in -1..1, `(n, 1 or 3, size, size)`; the image is (1 + x) / 2."""

    def __init__(self, settings: PixelSpaceSettings) -> None:
        self._settings = settings

    @property
    def size_px(self) -> int:
        """Side of the image."""
        return self._settings.size_px

    def initial(self, n: int, generator: torch.Generator) -> Tensor:
        """Uniform noise, each image scaled to a largest |x| of `initial_amplitude`."""
        size = self._settings.size_px
        shape = (n, 3 if self._settings.colour else 1, size, size)
        noise = 2 * torch.rand(shape, generator=generator) - 1
        return noise * self._settings.initial_amplitude / noise.abs().amax((1, 2, 3), keepdim=True)

    def images(self, parameters: Tensor) -> Tensor:
        """`(n, 1 or 3, size, size)` → `(n, 3, size, size)` in 0..1."""
        return (0.5 + 0.5 * parameters).expand(-1, 3, -1, -1)

    def project_(self, parameters: Tensor) -> None:
        """Clip to -1..1."""
        parameters.clamp_(-1, 1)


class FourierSpace:
    """Fourier coefficients in units of their natural amplitude.

    `(n, 1 or 3, size, size // 2 + 1, 2)`: opponent axis, vertical and horizontal frequency, real and
    imaginary part. The image is `sigmoid(4 x + logit(mean))`, whose slope at mid-gray is 1, or, if
    not squashed, `mean + x`.
    """

    def __init__(self, settings: FourierSpaceSettings) -> None:
        self._settings = settings
        self._n_axes = 3 if settings.colour else 1
        strength = torch.tensor(NATURAL_OPPONENT_CONTRAST[: self._n_axes])
        strength[1:] *= settings.colour_strength
        self._mixing = torch.tensor(OPPONENT_TO_RGB)[:, : self._n_axes] * strength
        power = (torch.tensor(AXIS_POWER)[: self._n_axes] * strength.square()).sum()
        self._amplitude = settings.contrast * _amplitude(settings) / power.sqrt()

    @property
    def size_px(self) -> int:
        """Side of the image."""
        return self._settings.size_px

    def initial(self, n: int, generator: torch.Generator) -> Tensor:
        """From N(0, 1): noise of natural spectrum, contrast and colour."""
        shape = (n, self._n_axes, *self._amplitude.shape, 2)
        return torch.randn(shape, generator=generator)

    def images(self, parameters: Tensor) -> Tensor:
        """`(n, axes, size, size // 2 + 1, 2)` → `(n, 3, size, size)`, in 0..1 if squashed."""
        size, mean, squash = self._settings.size_px, self._settings.mean, self._settings.squash
        spectrum = torch.view_as_complex(parameters) * self._amplitude.to(parameters.device)
        planes = torch.fft.irfft2(spectrum, s=(size, size), norm="forward")
        mixed = torch.stack([_weighted(planes, row) for row in self._mixing.tolist()], dim=1)
        return torch.sigmoid(4 * mixed + log(mean / (1 - mean))) if squash else mean + mixed

    def parameters(self, images: Tensor) -> Tensor:
        """`(n, 3, size, size)` → `(n, axes, size, size // 2 + 1, 2)`: what `images` are written as.

        What is not in this space is left out: colour, if it has luminance alone; 0 and 1, if squashed.
        """
        mean, squash = self._settings.mean, self._settings.squash
        mixed = (
            (images.logit(NEVER_REACHED) - log(mean / (1 - mean))) / 4 if squash else images - mean
        )
        axes = torch.linalg.pinv(self._mixing).tolist()
        planes = torch.stack([_weighted(mixed, row) for row in axes], dim=1)
        spectrum = torch.fft.rfft2(planes, norm="forward") / self._amplitude.to(images.device)
        return torch.view_as_real(spectrum).contiguous()

    def project_(self, parameters: Tensor) -> None:
        """This space has no end."""


def free_fourier_space(size_px: int, *, colour: bool = True) -> FourierSpace:
    """Not squashed, amplitude ∝ 1 / frequency: for images whose constraints bring them to 0..1."""
    settings = FourierSpaceSettings(size_px=size_px, colour=colour, squash=False, falloff=1.0)
    return FourierSpace(settings)


class GeneratorSpace:
    """The codes of a generator, `(n, code_dim)`; starts are drawn from its prior."""

    def __init__(
        self, generator: DifferentiableGenerator, settings: GeneratorSpaceSettings | None = None
    ) -> None:
        self._generator = generator
        self._settings = settings or GeneratorSpaceSettings()

    @property
    def size_px(self) -> int:
        """Side of the image."""
        return self._settings.size_px or self._generator.image_size_px

    @property
    def digest(self) -> str:
        """The generator's."""
        return self._generator.digest

    def initial(self, n: int, generator: torch.Generator) -> Tensor:
        """Codes from the generator's prior, seeded by one number drawn from `generator`."""
        seed = int(torch.randint(SEED_RANGE, (), generator=generator))
        codes = torch.from_numpy(self._generator.sample_codes(n, random_stream(seed, "codes")))
        self.project_(codes)
        return codes

    def images(self, parameters: Tensor) -> Tensor:
        """`(n, code_dim)` → `(n, 3, size, size)` in 0..1."""
        images = self._generator.decode(parameters)
        if self.size_px == images.shape[-1]:
            return images
        size = (self.size_px, self.size_px)
        return interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)

    def project_(self, parameters: Tensor) -> None:
        """Shorten codes that have left the ball of `max_rms`."""
        if self._settings.max_rms is None:
            return
        rms = parameters.square().mean(dim=1, keepdim=True).sqrt()
        parameters.mul_((self._settings.max_rms / rms.clamp_min(1e-12)).clamp_max(1))


def seeded_start(space: ImageSpace, seed: int, attempt: int = 0) -> Tensor:
    """Where the image of `seed` starts, `(1, …)`: the same for every target."""
    return space.initial(1, image_stream(seed, "start", attempt))


def image_stream(seed: int, *path: str | int) -> torch.Generator:
    """The random stream that `path` names, of the images of `seed`; all targets share it."""
    return torch.Generator().manual_seed(derived_seed(seed, "synthesis", *path) % SEED_RANGE)


def _amplitude(settings: FourierSpaceSettings) -> Tensor:
    """`(size, size // 2 + 1)`: ∝ frequency^-falloff, such that N(0, 1) draws unit RMS on one axis.

    The mean has the amplitude of one cycle an image. A frequency of modulus a, real and imaginary
    part N(0, 1), stands for its mirror image too and so has power 4 a². On the two columns where
    both are given (horizontal frequency 0 and Nyquist) only their even part counts, a² each: √2
    makes up for it.
    """
    size = settings.size_px
    fy, fx = torch.fft.fftfreq(size, 1 / size), torch.fft.rfftfreq(size, 1 / size)
    cycles = torch.hypot(fy[:, None], fx[None, :])
    amplitude = cycles.clamp_min(1) ** -settings.falloff
    both_given = (fx == 0) | (fx == size / 2)
    power = amplitude.square() * torch.where(both_given, 2.0, 4.0)
    power[0, 0] = 0
    return amplitude * torch.where(both_given, 2**0.5, 1.0) / power.sum().sqrt()


def _weighted(planes: Tensor, weights: list[float]) -> Tensor:
    """A weighted sum over axes, term by term: a matrix product may round otherwise in a batch."""
    total = planes[:, 0] * weights[0]
    for axis, weight in enumerate(weights[1:], start=1):
        total = total + planes[:, axis] * weight
    return total
