"""What a dry run is made of: its options, and the session and the rig that they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import Field

from encoders.units_name import names_units
from protocols import plugins
from protocols.documents import SessionSettings, ThreadSettings
from protocols.errors import SettingsError
from protocols.settings import Frozen, merged
from synth_server.synthesis.optimizers.genetic import PRESETS
from synth_server.variants.documents import PROTOCOLS

CONTROL = ("stretch", "one_hot_population")
VARIANTS = PROTOCOLS
REHEARSAL_TAPS = (
    ("efficientnet_lite0", "blocks.2"),
    ("efficientnet_lite0", "blocks.3"),
    ("efficientnet_lite1", "blocks.3"),
)
"""Fewer than an encoder for an animal deserves; and not `v4_like`'s own network."""
REHEARSAL_PX = 88
REHEARSAL_LEARNING: dict[str, Any] = {
    "rounds": 3,
    "n_images": 6,
    "from_scratch": {"name": "quick", "options": {"n_steps": 60}},
    "from_best": {"name": "short"},
}
REHEARSAL_STEPS = {"n_steps": 70, "refinement": {"n_steps": 50}}
Noise: TypeAlias = Literal["none", "poisson", "overdispersed", "multiplicative"]
UNPLACED = ("v4_like", "vone", "gabor_energy", "torch", "units")
"""Subjects of ours that see images without a place; known, so that none need be imported to ask it."""
DISPLAYS: dict[str, dict[str, Any]] = {
    "headless": {"clock": "virtual"},
    "psychopy": {
        "full_screen": False,
        "check_refresh": False,
        "paced": False,
        "virtual_screen": True,
        "photodiode": "bottom_left",
    },
}
"""Options of displays in a rehearsal: nobody counts late frames there, and nobody waits for any."""


class DryRunSettings(Frozen):
    """What a dry run is made of; see `synth-server dry-run --help`."""

    protocol: str = "evolve"
    seed: int = 0
    generations: int = 40
    population: int = 30
    sites: int = 4
    noise: Noise = "poisson"
    subject: str = "v4_like"
    generator: str = "deep"
    optimizer: str = "sphere_ascent"
    display: str = "headless"
    images: Path | None = None
    encoder: Path | None = None
    changes: dict[str, Any] = Field(default_factory=dict)
    neurons: dict[str, Any] = Field(default_factory=dict)
    fixation_break_rate: float = 0.0
    drop_rate: float = 0.0

    @property
    def plan(self) -> str:
        """The protocol's name, as its entry point spells it."""
        return self.protocol.replace("-", "_")


def session_settings(settings: DryRunSettings) -> SessionSettings:
    """One thread a site, each driving its own; or the one thread of another protocol.

    Raises:
        SettingsError: If a choice does not go with the protocol.
    """
    if settings.plan == "evolve":
        chosen = {
            f"site-{number:02d}": _evolution(settings, number) for number in range(settings.sites)
        }
    elif settings.plan in CONTROL:
        synthesis = {"synthesis": {"name": "stimloop", "options": REHEARSAL_STEPS}}
        chosen = {settings.plan: {**synthesis, **_encoder(settings)}}
    elif settings.plan in VARIANTS:
        chosen = {settings.plan: _encoder(settings)}
    else:
        chosen = {settings.plan: {}}
    if settings.plan not in (*CONTROL, *VARIANTS) and (settings.images or settings.encoder):
        raise SettingsError(
            "--images and --encoder are for protocols that need an encoder",
            expected=", ".join((*CONTROL, *VARIANTS)),
            got=settings.protocol,
            remedy="choose another --protocol; or, for other settings, --set NAME=VALUE",
        )
    threads = tuple(
        ThreadSettings(name=name, protocol=settings.plan, settings=merged(values, settings.changes))
        for name, values in chosen.items()
    )
    return SessionSettings(
        session_id=f"dry-run-{settings.seed}", seed=settings.seed, threads=threads
    )


def _evolution(settings: DryRunSettings, number: int) -> dict[str, Any]:
    return {
        "n_generations": settings.generations,
        "generator": {"name": settings.generator},
        "optimizer": _optimizer(settings),
        "objective": {"name": "site", "options": {"site": f"site-{number:02d}"}},
    }


def _encoder(settings: DryRunSettings) -> dict[str, Any]:
    """An encoder that sees through other networks than `v4_like` neurons, and takes minutes."""
    if settings.plan == "one_hot_population" and settings.sites < 2:
        raise SettingsError(
            "one site has nobody to be told apart from", expected="--sites 2 or more", got=1
        )
    chosen: dict[str, Any] = {}
    if settings.images is not None:
        chosen["images"] = str(settings.images.resolve())
    if settings.encoder is not None:
        file = settings.encoder
        return {**chosen, "encoder": str(file if names_units(file) else file.resolve())}
    taps = [
        {"backbone": name, "layer": layer, "input_px": REHEARSAL_PX, "weights": "robust"}
        for name, layer in REHEARSAL_TAPS
    ]
    fit = {"name": "two_stage", "options": {"taps": taps}}
    return {**chosen, "fit": fit, "learning": REHEARSAL_LEARNING}


def rig_settings(settings: DryRunSettings, server: str = "") -> dict[str, Any]:
    """`rig.toml` of a dry run: simulated neurons; no screen and a virtual clock, if not asked for."""
    plugins.entry("stimloop.displays", settings.display)
    subject: dict[str, Any] = {"name": settings.subject, "options": {"n_sites": settings.sites}}
    if settings.subject.startswith("torch:"):
        path = str(Path(settings.subject.removeprefix("torch:")).resolve())
        subject = {"name": "torch", "options": {"path": path}}
    if settings.plan == "map_fields" and not _sees_the_screen(settings.subject):
        subject = {"name": "placed", "options": {"population": subject}}
    recorder = {"subject": subject, "noise": settings.noise, "drop_rate": settings.drop_rate}
    return {
        "server": server or "tcp://127.0.0.1:0",
        "rig_id": "dry-run",
        "spool": "spool",
        "display": {"name": settings.display, "options": DISPLAYS.get(settings.display, {})},
        "acquisition": {
            "name": "simulated",
            "options": merged(recorder, settings.neurons),
        },
        "fixation": {"name": "simulated", "options": {"break_rate": settings.fixation_break_rate}},
    }


def _sees_the_screen(subject: str) -> bool:
    """Whether a subject knows of places by itself; one that does not is put behind `placed`."""
    if subject.startswith("torch:") or subject in UNPLACED:
        return False
    return hasattr(plugins.load("stimloop.subjects", subject), "rates_on_screen")


def _optimizer(settings: DryRunSettings) -> dict[str, Any]:
    """A plug-in by name, or the genetic algorithm by the name of a preset."""
    options: dict[str, Any] = {"population": settings.population}
    if settings.optimizer in PRESETS:
        return {"name": "genetic", "options": {"preset": settings.optimizer, **options}}
    return {"name": settings.optimizer, "options": options}
