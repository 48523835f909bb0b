"""A whole session on one computer: server, rig and simulated neurons, as processes on loopback.

Everything but the animal is real: the same programs, sockets, log and spool as in the laboratory.
"""

from __future__ import annotations

import signal
from math import ceil
from pathlib import Path
from typing import Any

import tomli_w
from rich.console import Console

from protocols.documents import ThreadSettings
from protocols.errors import SettingsError
from protocols.experiments.control import ControlSettings
from protocols.experiments.evolve import EvolveSettings
from protocols.experiments.map_fields import MapFieldsSettings
from protocols.experiments.site_choice import BestTargets
from protocols.outputs import check_new_folder
from protocols.settings import validated
from synth_server.dry_run_processes import (
    LOG,
    await_end,
    await_news,
    check_alive,
    rig_process,
    server_process,
    stop_after_generation,
)
from synth_server.dry_run_settings import (
    CONTROL,
    VARIANTS,
    DryRunSettings,
    rig_settings,
    session_settings,
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
from synth_server.variants.writing import write_variants

SUMMARY = "summary.json"
EVOLUTION, RESPONSES, FIELDS = "evolution.png", "responses", "fields"


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
