"""`rig-client emulate`: a recorder that is none, for rehearsals."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from protocols.command_line import stderr
from protocols.endings import ending_signals
from protocols.replacing import replace_file


def emulate(
    kind: Annotated[
        str,
        typer.Argument(help="Which recorder: open-ephys-events, open-ephys-zmq, intan, cerebus …"),
    ],
    config: Annotated[
        Path | None, typer.Option(help="emulator.toml: the emulator's settings.")
    ] = None,
    subject: Annotated[str | None, typer.Option(help="Simulated neurons, such as v4_like.")] = None,
    sites: Annotated[int | None, typer.Option(min=1, help="How many of them.")] = None,
    noise: Annotated[str | None, typer.Option(help="none, poisson or overdispersed.")] = None,
    latency_ms: Annotated[
        float | None, typer.Option(help="From an event to the message about it.")
    ] = None,
    jitter_ms: Annotated[
        float | None, typer.Option(help="By how much more a message may be late.")
    ] = None,
    loss: Annotated[float | None, typer.Option(help="Fraction of messages that get lost.")] = None,
    drift_ppm: Annotated[
        float | None, typer.Option(help="By how many µs the recorder's clock gains in a second.")
    ] = None,
    restart_after_s: Annotated[
        float | None, typer.Option(help="It restarts, so long after the first trial word.")
    ] = None,
    any_port: Annotated[
        bool, typer.Option("--any-port", help="Let the system choose all ports.")
    ] = False,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE: any setting of the emulator, in TOML; repeatable."),
    ] = None,
    announce: Annotated[
        Path | None,
        typer.Option(help="Write there what belongs into rig.toml, once it can be reached (JSON)."),
    ] = None,
) -> None:
    """Emulate a recorder, until Ctrl-C.

    Prints what belongs into the rig's rig.toml: its acquisition, and the trigger `rehearsal`, which
    tells the emulator what is on the screen.
    """
    import tomli_w

    from protocols.settings import from_command_line, merged, validated
    from rig_client import emulators

    values = merged(_from_file(config), _neurons(subject, sites, noise))
    options = {
        "latency_ms": latency_ms,
        "jitter_ms": jitter_ms,
        "loss": loss,
        "drift_ppm": drift_ppm,
        "restart_after_s": restart_after_s,
        "any_port": any_port or None,
    }
    values = merged(values, {name: value for name, value in options.items() if value is not None})
    values = merged(values, from_command_line(change or []))
    settings = validated(emulators.loaded(kind).Settings, values, where=f"emulate {kind}")
    emulator = emulators.made(kind, settings)
    with contextlib.closing(emulator), _until_told() as stop:
        parts = emulator.announcement()
        typer.echo("# rig.toml\n" + tomli_w.dumps(parts))
        if announce is not None:
            unfinished = announce.with_name(announce.name + ".new")
            unfinished.write_text(json.dumps(parts, indent=2) + "\n", "utf-8")
            replace_file(unfinished, announce)
        stderr.print(f"emulating {kind}; Ctrl-C ends it", highlight=False)
        emulator.run(stop)


def _from_file(path: Path | None) -> dict[str, Any]:
    from pydantic import RootModel

    from protocols.settings import read_toml

    return read_toml(RootModel[dict[str, Any]], path).root if path else {}


def _neurons(subject: str | None, sites: int | None, noise: str | None) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if subject or sites:
        population = {"options": {"n_sites": sites}} if sites else {}
        options["subject"] = {"name": subject or "v4_like", **population}
    if noise:
        options["noise"] = noise
    return {"neurons": {"name": "simulated", "options": options}} if options else {}


@contextlib.contextmanager
def _until_told() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set."""
    stop = threading.Event()
    before = {
        sign: signal.signal(sign, lambda *_: stop.set())
        for sign in (signal.SIGINT, *ending_signals())
    }
    try:
        yield stop
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
