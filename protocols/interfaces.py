"""What each part must do to take part; conformance checks stand in `protocols.conformance`.

A plug-in registers a class (or function) under an entry-point group of `protocols.plugins`. Each is
called with its own frozen `Settings` first, then with what its group is given; see `plugins.GROUPS`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.fields import EstimateSettings, FieldMap, FieldShowings
from protocols.settings import Frozen, PluginChoice
from protocols.vocabulary import Block, BlockResponses, Codes, Images, Rates

if TYPE_CHECKING:
    from protocols.image_changes import ImageParts, Perturbation
    from protocols.steering import Steering

Plan: TypeAlias = Generator[Block, BlockResponses, None]
"""An experiment: yields blocks, is sent the responses to each.

It must be a deterministic function of settings, seed and responses, which bring what people told it: a
live session, a dry run, a replay and a recovery are the same plan, driven by a rig, by simulated neurons
or by the log.
"""


class SessionInfo(Frozen):
    """What a rig's plug-ins may know of the session that they serve."""

    session_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    seed: int = Field(ge=0)


class PhotographSet(NamedTuple):
    """Natural images with a name each: `(n, size, size, 3) uint8`."""

    images: Images
    names: tuple[str, ...]


# --- on the server -----------------------------------------------------------------------------


@runtime_checkable
class Encoder(Protocol):
    """Predicts rates from images."""

    @property
    def site_ids(self) -> tuple[str, ...]: ...

    def predict(self, images: Images) -> Rates:
        """`(n, h, w, 3) uint8` → `(n, n_sites)` spikes/s."""
        ...


@runtime_checkable
class ImageGenerator(Protocol):
    """Draws an image for every code."""

    @property
    def code_dim(self) -> int: ...

    @property
    def image_size_px(self) -> int: ...

    @property
    def digest(self) -> str:
        """Sha256 of everything that decides what is drawn: settings and weights."""
        ...

    def sample_codes(self, n: int, random: np.random.Generator) -> Codes:
        """`(n, code_dim)` codes from the prior on which this generator draws its best."""
        ...

    def __call__(self, codes: Codes) -> Images:
        """`(n, code_dim) float32` → `(n, size, size, 3) uint8`; a row's image depends on no other row."""
        ...


CodeSampler: TypeAlias = Callable[[int, np.random.Generator], Codes]
"""`(n, random)` → `(n, code_dim) float32`: where an optimizer's first codes come from."""


@runtime_checkable
class InvertibleGenerator(ImageGenerator, Protocol):
    """An `ImageGenerator` that knows codes for given images: an evolution can start from those."""

    def invert(self, images: Images) -> Codes:
        """`(n, size, size, 3) uint8` → `(n, code_dim) float32`, whose images resemble the given ones.

        A row depends on no other row, nor on chance.
        """
        ...


class Inversion(Protocol):
    """Finds codes; made before the first block, so that a generator without any is told then."""

    def __call__(self, images: Images, /) -> Codes:
        """`(n, size, size, 3) uint8` → `(n, code_dim) float32`, whose images resemble the given ones."""
        ...


@runtime_checkable
class Optimizer(Protocol):
    """Proposes codes, learns from their fitness. Calls alternate: ask, tell, ask, tell …"""

    def ask(self) -> Codes:
        """The next population, `(population, code_dim) float32`."""
        ...

    def tell(self, codes: Codes, fitness: NDArray[np.float64]) -> None:
        """`fitness` `(population,)`, higher is better, NaN where not measured.

        The arguments are never mutated, and permuting them together changes nothing.
        """
        ...


@runtime_checkable
class AdoptingOptimizer(Optimizer, Protocol):
    """An `Optimizer` that learns from codes that others proposed: ask, adopt, tell, ask …"""

    def adopt(self, codes: Codes) -> None:
        """`codes` `(population, code_dim) float32` are measured in place of those just asked for.

        Some of the rows may be what `ask` returned; all of them are told then.
        """
        ...


@runtime_checkable
class Objective(Protocol):
    """Scores responses: measured counts in an evolution, predicted rates in gradient ascent."""

    def sites(self, recorded: Sequence[str]) -> Sequence[str]:
        """Which of the recorded sites this drives; `SettingsError` if one is not recorded."""
        ...

    def __call__(self, responses: Rates, site_ids: Sequence[str]) -> NDArray[np.float64]:
        """`(n, n_sites)` → `(n,)`, higher is better; a NaN row scores NaN."""
        ...


class EncoderFit(Protocol):
    """Fits encoders to responses; made before the first block, so that wrong settings are told then."""

    def __call__(
        self,
        images: Images,
        responses: NDArray[np.float64],
        site_ids: Sequence[str],
        emphasis: NDArray[np.float64] | None = None,
        /,
    ) -> Encoder:
        """An encoder of the sites that can be fitted; a site that never varies is left out.

        Args:
            images: `(n_images, h, w, 3) uint8`.
            responses: `(n_sites, n_images, n_repetitions)` spikes/s, NaN where not measured.
            site_ids: A name for each site.
            emphasis: `(n_sites, n_images)`, above 0: what the weight of an image at a site is
                multiplied by; None for 1.

        Raises:
            DataError: If no site can be fitted.
        """
        ...


class SyntheticImages(NamedTuple):
    """Images made by an encoder, and where each came from."""

    images: Images
    """`(n, size, size, 3) uint8`."""
    targets: tuple[str, ...]
    """The name of each image's objective."""
    seeds: tuple[int, ...]
    predicted: Rates
    """`(n, n_sites)` spikes/s, sites in the encoder's order."""


class Synthesis(Protocol):
    """Makes images that an encoder predicts to do what objectives ask."""

    def __call__(
        self, encoder: Encoder, objectives: Mapping[str, PluginChoice], seeds: Sequence[int]
    ) -> SyntheticImages:
        """One image for each objective and seed; objectives in order, seeds within each."""
        ...

    def improved(
        self,
        encoder: Encoder,
        objectives: Mapping[str, PluginChoice],
        starts: Mapping[str, Images],
        seeds: Sequence[int],
    ) -> SyntheticImages:
        """Images that climb from given ones.

        Args:
            encoder: Predicts rates.
            objectives: Target → what its images maximise.
            starts: Target → `(len(seeds), size, size, 3) uint8`, one for each image.
            seeds: Of what is random about an image's way.
        """
        ...

    def starting_images(self, seeds: Sequence[int]) -> Images:
        """The first start that each seed draws: a random image of the same mean and contrast."""
        ...


class Guidance(Protocol):
    """Improves codes by an encoder; made before the first block, so that errors are told then."""

    def __call__(
        self, encoder: Encoder, objective: PluginChoice, codes: Codes, seeds: Sequence[int]
    ) -> Codes:
        """Codes `(n, code_dim) float32`, as long as before, that the encoder predicts to do better.

        Args:
            encoder: Predicts rates.
            objective: What is maximised.
            codes: `(n, code_dim) float32`, of the generator.
            seeds: `(n,)`, all different: of what is random about a code's way.
        """
        ...


class FieldEstimation(Protocol):
    """Estimates receptive fields; made before the first block, so that wrong settings are told then."""

    def __call__(self, shown: FieldShowings, *, intervals: bool) -> FieldMap:
        """Of all sites; `intervals`: with bootstrap intervals, which take longer."""
        ...

    def publish(self, found: FieldMap) -> None:
        """Leave the result among the session's products, for other threads and sessions."""
        ...


class LoggedPopulation(NamedTuple):
    """The last generation of an earlier evolution."""

    thread: str
    codes: Codes
    """`(population, code_dim)`."""
    generator_digest: str


class Apparatus(Protocol):
    """What the server puts at a plan's disposal; one for each thread."""

    @property
    def steering(self) -> Steering:
        """What people told the thread while it ran."""
        ...

    def generator(self, choice: PluginChoice) -> ImageGenerator: ...

    def optimizer(
        self,
        choice: PluginChoice,
        generator: ImageGenerator,
        sample_codes: CodeSampler | None = None,
    ) -> Optimizer:
        """The chosen optimizer; its first codes come from `sample_codes`, or else from the prior."""
        ...

    def inversion(self, generator: ImageGenerator) -> Inversion:
        """How codes for given images are found; `SettingsError` if the generator has no way."""
        ...

    def objective(self, choice: PluginChoice) -> Objective: ...

    def photographs(self, source: str, n: int | None, size_px: int) -> PhotographSet:
        """The first `n` (None: all) photographs of `source`, at `size_px`."""
        ...

    def logged_blocks(self, session: str) -> Iterator[Block]:
        """The blocks of an earlier session's log, images included, in order."""
        ...

    def logged_population(self, session: str, thread: str) -> LoggedPopulation:
        """The last answered generation of an earlier session's evolution; "": the thread's namesake."""
        ...

    def encoder(self, file: str) -> Encoder:
        """The encoder in a file of `synth-server fit`."""
        ...

    def encoder_fit(self, choice: PluginChoice) -> EncoderFit:
        """The chosen way to fit encoders."""
        ...

    def encoder_of_sessions(
        self,
        choice: PluginChoice,
        sessions: Sequence[str],
        window_s: tuple[float, float] | None,
    ) -> Encoder:
        """An encoder fitted to the logs of earlier days, joined; see `synth-server fit`.

        `window_s` is that in which spikes are counted today; None: days may differ.
        """
        ...

    def synthesis(self, choice: PluginChoice, natural: Images) -> Synthesis:
        """The chosen recipe, for images of the size of `natural`, and of their mean and contrast."""
        ...

    def guidance(self, generator: ImageGenerator, n_steps: int) -> Guidance:
        """How an encoder improves codes; `SettingsError` if the generator cannot be climbed."""
        ...

    def fields(
        self, settings: EstimateSettings, window_s: tuple[float, float], edge_deg: float
    ) -> FieldEstimation:
        """How receptive fields are estimated from counts in this window, to soft-edged patches."""
        ...

    def perturbation(self, n_steps: int) -> Perturbation:
        """Small changes, found by climbs of so many steps."""
        ...

    def image_parts(self) -> ImageParts:
        """Parts of images by attribution."""
        ...

    def publish(self, name: str, text: str) -> None:
        """Leave a text among the session's products, for people and other programs.

        The first thread's is called `name`; another's has its name in it: `check-THREAD.json`.
        """
        ...

    def random_stream(self, purpose: str) -> np.random.Generator:
        """The thread's own random stream for `purpose`."""
        ...


@runtime_checkable
class SimulatedPopulation(Protocol):
    """Ground truth: images to true rates."""

    @property
    def site_ids(self) -> tuple[str, ...]: ...

    def rates(self, images: Images) -> Rates:
        """`(n, h, w, 3) uint8` → `(n, n_sites)` spikes/s; a row depends on no other row."""
        ...
