"""A whole session on one computer: server, rig and simulated neurons, as processes on loopback.

Everything but the animal is real: the same programs, sockets, log and spool as in the laboratory.
"""

from __future__ import annotations

import signal
from math import ceil
from pathlib import Path
from typing import Any, Literal, TypeAlias

import tomli_w
from pydantic import Field
from rich.console import Console

from encoders.units_name import names_units
from protocols import plugins
from protocols.documents import SessionSettings, ThreadSettings
from protocols.errors import SettingsError
from protocols.experiments.control import ControlSettings
from protocols.experiments.evolve import EvolveSettings
from protocols.experiments.map_fields import MapFieldsSettings
from protocols.experiments.site_choice import BestTargets
from protocols.outputs import check_new_folder
from protocols.settings import Frozen, merged, validated
from synth_server.dry_run_processes import (
    LOG,
    await_end,
    await_news,
    check_alive,
    rig_process,
    server_process,
    stop_after_generation,
)
from synth_server.interrupts import STOPPED_NOW, Interrupts
from synth_server.readers.fields.mapped_fields import fields_csv, mapped_fields
from synth_server.readers.figures.control import draw_control
from synth_server.readers.figures.dry_run import draw_evolution, draw_responses
from synth_server.readers.figures.learning import draw_learning
from synth_server.readers.figures.receptive_fields import draw_fields
from synth_server.readers.log.session_record import read_record
from synth_server.readers.summary.live_progress import LiveProgress
from synth_server.readers.summary.session_summary import Summary, summarize
from synth_server.session.log import SessionLog, fold
from synth_server.synthesis.optimizers.genetic import PRESETS
from synth_server.variants.writing import PROTOCOLS as VARIANTS
from synth_server.variants.writing import write_variants

CONTROL = ("stretch", "one_hot_population")
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
Noise: TypeAlias = Literal["none", "poisson", "overdispersed"]
UNPLACED = ("v4_like", "vone", "gabor_energy", "torch")
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
SUMMARY = "summary.json"
EVOLUTION, RESPONSES, FIELDS = "evolution.png", "responses", "fields"


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
    fixation_break_rate: float = 0.0
    drop_rate: float = 0.0

    @property
    def plan(self) -> str:
        """The protocol's name, as its entry point spells it."""
        return self.protocol.replace("-", "_")


def dry_run(settings: DryRunSettings, folder: Path, console: Console) -> Summary:
    """Run a session in `folder`; leaves its log, `summary.json` and a figure there.

    Raises:
        LogError: If there is a session in `folder` already.
        ProcessDied: If server or rig fails; the message holds the end of its output.
        SystemExit: After a second Ctrl-C, or SIGTERM; the first stops after the generation.
    """
    write_settings(settings, folder)
    threads = session_settings(settings).threads
    total = sum(expected_blocks(thread, settings.sites) for thread in threads) or None
    try:
        with Interrupts(_noted, _stop_now, _terminate) as interrupts:
            _run(folder, console, total, interrupts)
    except SystemExit:
        console.print(f"go on with: synth-server serve --resume {folder / LOG}", highlight=False)
        raise
    fold(folder / LOG)
    return write_results(folder)


def _run(folder: Path, console: Console, total: int | None, interrupts: Interrupts) -> None:
    with server_process(folder) as (server, events), rig_process(folder) as rig:
        log = SessionLog(folder / LOG)
        try:
            told = False
            with LiveProgress(console, total) as progress:
                while not progress.read(log):
                    if interrupts.n_interrupts and not told:
                        told = stop_after_generation(folder, console)
                    check_alive(server, rig, folder)
                    await_news(events)
        finally:
            log.close()
        await_end(rig, folder / "rig.log")
        await_end(server, folder / "server.log")


def _noted() -> None:
    """The loop sees it at its next turn."""


def _stop_now() -> None:
    raise SystemExit(STOPPED_NOW)


def _terminate() -> None:
    raise SystemExit(128 + signal.SIGTERM)


def write_results(folder: Path) -> Summary:
    """Write `summary.json`, and the figure of what was done, from the session log in `folder`."""
    record = read_record(folder / LOG)
    summary = summarize(record)
    (folder / SUMMARY).write_text(summary.model_dump_json(indent=2) + "\n", "utf-8")
    draw_evolution(record, summary, folder / LOG, folder / EVOLUTION)
    draw_responses(record, folder / LOG, folder / RESPONSES)
    _write_fields(folder, simulated=bool(summary.simulated))
    for thread in summary.control:
        shown = record.control.threads[thread.thread]
        draw_control(
            thread,
            shown,
            folder / LOG,
            folder / thread.aim,
            simulated=bool(summary.simulated),
        )
    if any(thread.protocol in VARIANTS for thread in record.started.settings.threads):
        write_variants(folder / LOG, folder)
    tests = {each.thread: each for each in summary.control}
    for learning in summary.learning:
        if learning.thread in tests:
            draw_learning(
                learning,
                tests[learning.thread],
                record.control.threads[learning.thread],
                folder / LOG,
                folder / "learning",
                simulated=bool(summary.simulated),
            )
    return summary


def _write_fields(folder: Path, *, simulated: bool) -> None:
    """Receptive fields, if the session mapped any: as JSON, as CSV and as a figure."""
    for number, (thread, found) in enumerate(mapped_fields(folder / LOG).items()):
        name = f"{FIELDS}-{thread}" if number else FIELDS
        (folder / f"{name}.json").write_text(found.text(), "utf-8")
        (folder / f"{name}.csv").write_text(fields_csv(found), "utf-8")
        draw_fields(found, folder / name, simulated=simulated)


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


def expected_blocks(thread: ThreadSettings, n_sites: int) -> int:
    """How many blocks a thread will have, at most; 0 where it cannot be said beforehand."""
    if thread.protocol == "evolve":
        return _evolution_blocks(validated(EvolveSettings, thread.settings, where=thread.name))
    if thread.protocol == "map_fields":
        return _mapping_blocks(validated(MapFieldsSettings, thread.settings, where=thread.name))
    if thread.protocol not in CONTROL:
        return 0
    settings = validated(ControlSettings, _known(thread.settings), where=thread.name)
    mapping, comparison = settings.mapping, settings.comparison
    n_targets = len(settings.named_targets) or n_sites
    if isinstance(settings.targets, BestTargets):
        n_targets = min(settings.targets.best, n_sites)
    n_natural = comparison.best_natural * (2 if comparison.contrast_gain > 1 else 1)
    n_images = n_targets * (settings.n_seeds + n_natural) + settings.n_seeds * comparison.noise
    learning, is_taught = settings.learning, not settings.has_encoder
    n_made = n_targets * learning.n_images
    a_round = learning.repetitions * ceil(n_made / learning.images_per_block)
    return (
        mapping.repetitions * ceil(settings.n_images / mapping.images_per_block)
        + is_taught * learning.rounds * a_round
        + comparison.repetitions * ceil(n_images / comparison.images_per_block)
    )


def _mapping_blocks(settings: MapFieldsSettings) -> int:
    fine = settings.fine
    return settings.coarse.most_showings + (fine.most_showings if fine.showings else 0)


def _evolution_blocks(settings: EvolveSettings) -> int:
    start = settings.start
    n_start = start.repetitions * ceil(start.n_images / start.images_per_block) if start else 0
    return n_start + settings.n_generations + bool(settings.test_repetitions)


def _known(values: dict[str, Any]) -> dict[str, Any]:
    """The settings that all control protocols share."""
    return {name: value for name, value in values.items() if name in ControlSettings.model_fields}


def rig_settings(settings: DryRunSettings, server: str = "") -> dict[str, Any]:
    """`rig.toml` of a dry run: simulated neurons; no screen and a virtual clock, if not asked for."""
    plugins.entry("stimloop.displays", settings.display)
    subject: dict[str, Any] = {"name": settings.subject, "options": {"n_sites": settings.sites}}
    if settings.subject.startswith("torch:"):
        path = str(Path(settings.subject.removeprefix("torch:")).resolve())
        subject = {"name": "torch", "options": {"path": path}}
    if settings.plan == "map_fields" and not _sees_the_screen(settings.subject):
        subject = {"name": "placed", "options": {"population": subject}}
    return {
        "server": server or "tcp://127.0.0.1:0",
        "rig_id": "dry-run",
        "spool": "spool",
        "display": {"name": settings.display, "options": DISPLAYS.get(settings.display, {})},
        "acquisition": {
            "name": "simulated",
            "options": {
                "subject": subject,
                "noise": settings.noise,
                "drop_rate": settings.drop_rate,
            },
        },
        "fixation": {"name": "simulated", "options": {"break_rate": settings.fixation_break_rate}},
    }


def _sees_the_screen(subject: str) -> bool:
    """Whether a subject knows of places by itself; one that does not is put behind `placed`."""
    if subject.startswith("torch:") or subject in UNPLACED:
        return False
    return hasattr(plugins.load("stimloop.subjects", subject), "rates_on_screen")


def write_settings(settings: DryRunSettings, folder: Path) -> None:
    """Write `session.toml`; a session that is there already is left alone.

    Raises:
        SettingsError: If `folder` holds a session already.
    """
    check_new_folder(folder)
    if (folder / LOG).exists():
        raise SettingsError(
            "there is a session in this folder already, and logs are never overwritten",
            where=str(folder / LOG),
            remedy="choose another --out, or remove the folder",
        )
    folder.mkdir(parents=True, exist_ok=True)
    document = session_settings(settings).model_dump(mode="json", exclude_none=True)
    (folder / "session.toml").write_text(tomli_w.dumps(document), "utf-8")
    rig = {**rig_settings(settings), "spool": str((folder / "spool").absolute())}
    (folder / "rig.toml").write_text(tomli_w.dumps(rig), "utf-8")


def _optimizer(settings: DryRunSettings) -> dict[str, Any]:
    """A plug-in by name, or the genetic algorithm by the name of a preset."""
    options: dict[str, Any] = {"population": settings.population}
    if settings.optimizer in PRESETS:
        return {"name": "genetic", "options": {"preset": settings.optimizer, **options}}
    return {"name": settings.optimizer, "options": options}
