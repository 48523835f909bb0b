"""A recorder that records simulated neurons."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols import plugins
from protocols.errors import PluginError, RecorderGap, RigError, SettingsError
from protocols.interfaces import SessionInfo, SimulatedPopulation
from protocols.live_interfaces import Fresh
from protocols.placed_population import PlacedPopulation
from protocols.rig_interfaces import Display, Measurement
from protocols.seeds import random_stream
from protocols.settings import Frozen, PluginChoice
from protocols.vocabulary import Block, Cue, Placement
from simulated_neurons.spiking import (
    TICK_HZ,
    WITHOUT_SPIKES,
    Drive,
    Noise,
    drawn_counts,
    drawn_ticks,
    drift_gain,
    latencies,
)
from simulated_neurons.watching import Watching

Ms = Annotated[float, Field(ge=0, le=1000)]
Latencies: TypeAlias = Ms | tuple[Ms, Ms]
"""Of all sites; or low and high, of which each site has its own."""


class SimulatedAcquisitionSettings(Frozen):
    """Whose spikes, and how noisy."""

    subject: PluginChoice = PluginChoice(name="v4_like")
    noise: Noise = "poisson"
    fano: float = Field(default=1.5, ge=1, le=20, description="variance / mean if overdispersed")
    sigma: float = Field(default=0.2, ge=0, le=5, description="of the factor if multiplicative")
    latency_ms: Latencies = Field(
        default=(50, 110), description="onset to response, of all; or range"
    )
    transient: float = Field(default=0.8, ge=0, le=1.5, description="first 40 ms above the mean")
    baseline_rate: float = Field(default=2, ge=0, le=1000, description="spikes/s without an image")
    drift: float = Field(default=0, ge=0, lt=1, description="slow gain change: 1 ± drift")
    drop_rate: float = Field(default=0, ge=0, le=1, description="presentations the recorder loses")


class SimulatedAcquisition:
    """Counts the spikes of a `stimloop.subjects` plug-in.

    Every count is seeded by the session and its cue: a restarted rig measures the same.

    Args:
        settings: Whose spikes.
        session: Whose seed.
        subject: Instead of the plug-in that `settings` name.
    """

    Settings = SimulatedAcquisitionSettings

    def __init__(
        self,
        settings: SimulatedAcquisitionSettings,
        session: SessionInfo,
        subject: SimulatedPopulation | None = None,
    ) -> None:
        self._settings = settings
        self._session = session
        self._subject = _subject(settings.subject) if subject is None else subject
        self._latency_s = _latency_s(settings.latency_ms, self._subject)
        self._block: Block | None = None
        self._known: dict[str, NDArray[np.float64]] = {}
        self._marked: set[Cue] = set()
        self._usual_place = Placement(size_deg=4)
        self._now_s: Callable[[], float] = time.perf_counter
        self._watching: Watching | None = None

    @property
    def site_ids(self) -> tuple[str, ...]:
        """Those of the subject."""
        return self._subject.site_ids

    def watch_on(self, display: Display) -> None:
        """Where images appear that have no place of their own; a subject that is placed sees it."""
        self._usual_place = display.describe().place
        self._now_s = display.now_s

    def stage(self, block: Block) -> None:
        """All rates of the block at once, so that nothing is computed while it is shown.

        Images that came before (references, conserved ones) are not computed again.
        """
        ids = block.stimulus_ids
        new = [i for i, name in enumerate(ids) if name not in self._known]
        if new:
            self._known.update(zip((ids[i] for i in new), self._rates(block, new), strict=True))
        self._block = block
        self._marked.clear()

    def mark(self, cue: Cue, onset_s: float, word: int) -> None:  # noqa: ARG002
        """Remembers that the image of `cue` appeared."""
        self._marked.add(cue)

    @property
    def is_simulated(self) -> bool:
        """True: nothing that it says was measured."""
        return True

    @property
    def tick_hz(self) -> float:
        """Ticks of spike times in a second; 0 where counts are no whole numbers: they have no times."""
        return 0.0 if self._settings.noise in WITHOUT_SPIKES else TICK_HZ

    def spike_counts(
        self,
        cue: Cue,
        window_s: tuple[float, float],
        kept_s: tuple[float, float] | None = None,
    ) -> Measurement:
        """Counts in `[start, stop)` after the onset of `cue`, `(n_sites,)`, and spike times.

        The count does not depend on `kept_s`: times are drawn for it, and for what surrounds it.

        Raises:
            RecorderGap: If this presentation is one of the lost ones.
            RigError: If it was never marked, or its block is not the staged one.
        """
        block = self._staged_block(cue)
        settings = self._settings
        if settings.drop_rate and self._stream("drop", cue).random() < settings.drop_rate:
            raise RecorderGap(
                "the simulated recorder lost this presentation",
                where=cue.in_words,
                got=f"drop_rate = {settings.drop_rate}",
                remedy="show it again",
            )
        gain = self._gain(cue, block)
        drive = Drive(
            rates=self._known[cue.stimulus_id] * gain,
            baseline=settings.baseline_rate * gain,
            on_s=block.timing.on_ms / 1000,
            latency_s=self._latency_s,
            transient=settings.transient,
        )
        counts = drawn_counts(
            drive.expected(window_s),
            settings.noise,
            fano=settings.fano,
            sigma=settings.sigma,
            random=self._stream("spikes", cue),
        )
        if kept_s is None or not self.tick_hz:
            return Measurement(counts)
        random = self._stream("spike times", cue)
        return Measurement(counts, None, drawn_ticks(drive, counts, window_s, kept_s, random))

    def see(self, screen: NDArray[np.uint8], place: Placement) -> None:
        """The whole screen from now on, for `fresh`: `(n, n, 3) uint8`, centred and large as `place`.

        Raises:
            SettingsError: If the subject does not see a screen, but only images.
        """
        self._watched().see(screen, place)

    def fresh(self) -> Fresh:
        """Spikes since this was last asked, until the screen was last seen.

        Raises:
            SettingsError: If the subject does not see a screen, but only images.
        """
        return self._watched().fresh()

    def _watched(self) -> Watching:
        if self._watching is None:
            if not isinstance(self._subject, PlacedPopulation):
                raise SettingsError(
                    "this simulated subject has no fields on the screen: nothing could be mapped",
                    where="rig.toml: acquisition.options.subject",
                    expected='subject = { name = "placed" }',
                    got=self._settings.subject.name,
                    remedy='subject = { name = "placed", options = { population = { name = "'
                    f'{self._settings.subject.name}" }} }} }}',
                )
            settings, random = self._settings, random_stream(self._session.seed, "watched spikes")
            self._watching = Watching(
                self._subject,
                self._latency_s,
                settings.noise,
                settings.fano,
                random,
                lambda: self._now_s(),
            )
        return self._watching

    def trouble(self) -> str:
        """None, ever."""
        return ""

    def close(self) -> None:
        """Nothing to release."""

    def _rates(self, block: Block, rows: list[int]) -> NDArray[np.float64]:
        """`(len(rows), n_sites)` spikes/s to images of the block, where they are shown."""
        if not isinstance(self._subject, PlacedPopulation):
            return self._subject.rates(block.images[rows])
        places = [block.stimuli[row].place or self._usual_place for row in rows]
        return self._subject.rates_on_screen(block.images[rows], places)

    def _gain(self, cue: Cue, block: Block) -> float:
        n_trials = len(block.order) / block.timing.presentations_per_trial
        return drift_gain(
            self._session.seed,
            block_index=cue.block_index,
            place=cue.trial / n_trials,
            amplitude=self._settings.drift,
        )

    def _stream(self, purpose: str, cue: Cue) -> np.random.Generator:
        return random_stream(self._session.seed, purpose, *cue.seed_path)

    def _staged_block(self, cue: Cue) -> Block:
        if self._block is None or self._block.index != cue.block_index:
            staged = "none" if self._block is None else self._block.index
            raise RigError(
                "counts were asked of a block that is not staged",
                where=cue.in_words,
                expected=f"stage(block {cue.block_index}) first",
                got=f"staged block: {staged}",
            )
        if cue not in self._marked:
            raise RigError(
                "counts were asked of a presentation that never began",
                where=cue.in_words,
                expected="mark(cue, onset_s, word) at its first flip, after stage(block)",
                got=f"{len(self._marked)} other presentations marked in this block",
            )
        return self._block


def _latency_s(given: Latencies, subject: SimulatedPopulation) -> float | NDArray[np.float64]:
    """Of all sites, or of each: the neurons' own, the same in every session."""
    if isinstance(given, tuple):
        return latencies(0, subject.site_ids, given)
    return given / 1000


def _subject(choice: PluginChoice) -> SimulatedPopulation:
    made = plugins.create("stimloop.subjects", choice)
    if not isinstance(made, SimulatedPopulation):
        raise PluginError(
            f"the plug-in {choice.name!r} of stimloop.subjects is no simulated population",
            expected="site_ids and rates(images)",
            got=type(made).__name__,
        )
    return made
