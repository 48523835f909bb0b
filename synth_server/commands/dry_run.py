"""`synth-server dry-run`: a whole session on one computer, with simulated neurons."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console

from protocols.command_line import check_not_ignored

Out = Annotated[Path, typer.Option(help="Folder for the results; made if it is not there.")]


class Noise(StrEnum):
    """How simulated neurons spike."""

    none = "none"
    poisson = "poisson"
    overdispersed = "overdispersed"
    multiplicative = "multiplicative"


def dry_run(
    context: typer.Context,
    protocol: Annotated[
        str,
        typer.Option(
            help="evolve, map_fields, map_responses, stretch, one-hot-population, perturb or "
            "reduction."
        ),
    ] = "evolve",
    seed: Annotated[int, typer.Option(min=0, help="One seed gives one session.")] = 0,
    generations: Annotated[int, typer.Option(min=1, max=100_000)] = 40,
    population: Annotated[int, typer.Option(min=2, max=1000, help="Images a generation.")] = 30,
    sites: Annotated[int, typer.Option(min=1, max=100, help="Each gets images of its own.")] = 4,
    noise: Annotated[Noise, typer.Option(help="Of the spike counts.")] = Noise.poisson,
    subject: Annotated[
        str,
        typer.Option(
            help="v4_like, units, vone, gabor_energy, or torch:FILE for a model of your own."
        ),
    ] = "v4_like",
    generator: Annotated[
        str, typer.Option(help="deep, fourier, pixels, or an image generator of your own.")
    ] = "deep",
    optimizer: Annotated[
        str,
        typer.Option(
            help="sphere_ascent; as published: sphere_cma, cholesky_cma, diagonal_cma, xdream, "
            "poncelab, wang_ponce; or random_search."
        ),
    ] = "sphere_ascent",
    display: Annotated[
        str, typer.Option(help="headless; or psychopy: a window, in memory if there is no screen.")
    ] = "headless",
    images: Annotated[
        Path | None, typer.Option(help="Photographs (zip or folder) to fit an encoder with.")
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="Written by `synth-server fit`, instead of fitting one.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the protocol; repeatable."),
    ] = None,
    neuron: Annotated[
        list[str] | None,
        typer.Option(
            "--neurons",
            metavar="NAME=VALUE",
            help="An option of the recorder `simulated`, such as fano=3 or subject.options.seed=1; "
            "repeatable.",
        ),
    ] = None,
    out: Out = Path("dry-run"),
    json: Annotated[
        bool, typer.Option("--json", help="Print the summary on stdout and nothing else.")
    ] = False,
) -> None:
    """Run a whole session here: server, rig and simulated neurons, as processes on loopback.

    Leaves session.sqlite (the log), summary.json and figures in the output folder.
    """
    from protocols.settings import from_command_line
    from synth_server.dry_run import dry_run as run
    from synth_server.dry_run_settings import DryRunSettings

    if protocol != "evolve":
        evolving = ("generations", "population", "generator", "optimizer")
        check_not_ignored(context, evolving, "--protocol evolve, whose images evolve")
    settings = DryRunSettings(
        protocol=protocol,
        seed=seed,
        generations=generations,
        population=population,
        sites=sites,
        noise=noise.value,
        subject=subject,
        generator=generator,
        optimizer=optimizer,
        display=display,
        images=images,
        encoder=encoder,
        changes=from_command_line(change or ()),
        neurons=from_command_line(neuron or (), "--neurons"),
    )
    console = Console(stderr=json)
    summary = run(settings, out, console)
    if json:
        sys.stdout.write(summary.model_dump_json(indent=2) + "\n")
        return
    _tell(console, summary, out)


def _tell(console: Console, summary: Any, out: Path) -> None:
    from synth_server.readers.control.gains_table import print_control, print_learning

    _tell_gains(console, summary)
    for thread in summary.control:
        print_control(thread, console)
    for learning in summary.learning:
        print_learning(learning, console)
    for each in summary.stability:
        if each.warning:
            console.print(f"[yellow]{each.thread}, {each.site}:[/] {each.warning}")
    console.print(f"session digest  {summary.session_digest}", highlight=False)
    for figure in sorted(out.glob("*.png")):
        console.print(f"figure          {figure}", highlight=False)
    console.print(f"summary         {out / 'summary.json'}", highlight=False)
    console.print("\nNext: draw it anew from its log and compare, byte by byte:")
    console.print(f"  synth-server replay {out / 'session.sqlite'} --verify", highlight=False)
    console.print("and for one page with figures, tables and Methods:")
    command = f"  synth-server report {out / 'session.sqlite'}"
    console.print(command, highlight=False, soft_wrap=True)


def _tell_gains(console: Console, summary: Any) -> None:
    """The median gain, as results and report have it, and what it was measured against."""
    found = [each.comparison for each in summary.evolution if each.comparison]
    known = [each for each in found if each.gain.value is not None]
    if not known:
        return
    gain = median(each.gain.value for each in known)
    above = sum(each.gain.value > 1 for each in known)
    surely = sum(each.gain.low is not None and each.gain.low > 1 for each in known)
    n_tested = sum(each.measured_in == "test" for each in known)
    where = "In the test at the end" if n_tested == len(known) else "In the last generations"
    counts = ", ".join(sorted({f"{each.best_of}" for each in known}))
    console.print(
        f"\n{where}, evolved images drive [bold]{above} of {len(known)}[/] sites beyond the best "
        f"natural image (best of {counts}): median gain [bold]× {gain:.2f}[/]. The 95 % interval "
        f"is above 1 at {surely}."
    )


def register(app: typer.Typer) -> None:
    """Add this command to `synth-server`."""
    app.command("dry-run")(dry_run)
