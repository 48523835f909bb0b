"""`synth-server`: the server's commands. Heavy imports wait until a command needs them."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console

from protocols import command_line
from protocols.command_line import check_not_ignored, progress_bar, stderr
from synth_server.commands import (
    compare,
    doctor,
    encoders,
    explain,
    export,
    host_encoders,
    monitor,
    report,
    results,
    running_server,
    sessions,
    steering,
    variants,
    windows,
)
from synth_server.commands.running_server import KeysFolder

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Invents images, hosts sessions, keeps their logs.\n\n"
    "Begin with a dry run, which needs no rig and no animal:\n\n"
    "    synth-server dry-run --out my-first-run\n\n"
    "Then [bold]serve[/] a session.toml here, and on the rig: rig-client run --config rig.toml.",
)
Out = Annotated[Path, typer.Option(help="Folder for the results; made if it is not there.")]

Host = Annotated[str, typer.Option(help="Interface; beyond loopback --keys is needed.")]
WorkPort = Annotated[
    int, typer.Option(help="For rigs; 0: let the system choose. The other ports move with it.")
]
ControlPort = Annotated[
    int | None,
    typer.Option(help="For status, pause, stop …; not given: the work port's number + 1."),
]
EventsPort = Annotated[
    int | None, typer.Option(help="For watchers; not given: the work port's number + 2.")
]
Announce = Annotated[Path | None, typer.Option(help="Write the addresses there (JSON) when ready.")]
ExitWhenOver = Annotated[bool, typer.Option("--exit-when-over", help="End with the last session.")]


class Noise(StrEnum):
    """How simulated neurons spike."""

    none = "none"
    poisson = "poisson"
    overdispersed = "overdispersed"


@app.command("dry-run")
def dry_run_command(
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
        typer.Option(help="v4_like, vone, gabor_energy, or torch:FILE for a model of your own."),
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
    out: Out = Path("dry-run"),
    json: Annotated[
        bool, typer.Option("--json", help="Print the summary on stdout and nothing else.")
    ] = False,
) -> None:
    """Run a whole session here: server, rig and simulated neurons, as processes on loopback.

    Leaves session.sqlite (the log), summary.json and figures in the output folder.
    """
    from protocols.settings import from_command_line
    from synth_server.dry_run import DryRunSettings, dry_run

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
    )
    console = Console(stderr=json)
    summary = dry_run(settings, out, console)
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


@app.command()
def serve(
    context: typer.Context,
    settings: Annotated[
        list[Path] | None, typer.Argument(help="session.toml files, one for each new session.")
    ] = None,
    resume: Annotated[
        list[Path] | None, typer.Option(help="Logs of sessions to go on with; may be repeated.")
    ] = None,
    log: Annotated[
        list[Path] | None, typer.Option(help="Where a new session's log goes; one for each.")
    ] = None,
    host: Host = "127.0.0.1",
    work_port: WorkPort = 5570,
    control_port: ControlPort = None,
    events_port: EventsPort = None,
    keys: KeysFolder = None,
    announce: Announce = None,
    exit_when_over: ExitWhenOver = False,
    encoder: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="Host it beside; repeatable.")
    ] = None,
    encoders_port: Annotated[
        int | None,
        typer.Option(help="For clients of the encoders; not given: the work port's number + 3."),
    ] = None,
) -> None:
    """Serve sessions to rigs: new ones from session.toml, interrupted ones from their logs.

    Encoders are hosted by a process of their own, for any client, while the sessions run.
    """
    import contextlib

    from protocols.documents import SessionSettings
    from protocols.errors import SettingsError
    from protocols.settings import read_toml
    from synth_server.encoder_service.process import EncoderProcess
    from synth_server.serve import Listening, NewSessions, beside_work
    from synth_server.serve import serve as run
    from synth_server.session.build import new_session
    from synth_server.session.recovery import resumed_session

    ports = work_port, *beside_work(work_port, control_port, events_port)
    listening = Listening.checked(host, ports, keys, announce)
    if not encoder:
        check_not_ignored(context, ["encoders_port"], "--encoder NAME=FILE, to host one")
    files, logs = settings or [], log or []
    if not files and not resume:
        raise SettingsError(
            "nothing to serve",
            expected="session.toml files, or --resume session.sqlite",
            remedy="for encoders without a session: synth-server host-encoders NAME=FILE",
        )
    if logs and len(logs) != len(files):
        raise SettingsError(
            "one --log for each new session", expected=len(files), got=f"{len(logs)} --log"
        )
    with contextlib.ExitStack() as beside, NewSessions() as new:
        address = ""
        if encoder:
            *_, port = beside_work(work_port, None, None, encoders_port)
            hosting = EncoderProcess(encoder, host=host, port=port, keys=keys)
            address = beside.enter_context(hosting).address
        sessions = [resumed_session(path, advance=False) for path in resume or []]
        for place, file in enumerate(files):
            chosen = read_toml(SessionSettings, file)
            path = logs[place] if logs else Path(chosen.session_id) / "session.sqlite"
            stderr.print(f"{chosen.session_id}: preparing the first images …", highlight=False)
            sessions.append(new.add(new_session(chosen, path)))
        for session in sessions:
            stderr.print(f"{session.session_id}: {session.log.path}", highlight=False)
        run(
            sessions,
            listening,
            exit_when_over=exit_when_over,
            encoders=address,
            started=new.started,
            ready=lambda: _tell_ready(address, encoder or []),
        )


@app.command()
def replay(
    context: typer.Context,
    session: Annotated[Path, typer.Argument(help="A session log, session.sqlite.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Draw the session anew and compare with the log.")
    ] = False,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="With --verify: fit and synthesise anew, too.")
    ] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Show the same blocks again, as a new session.")
    ] = False,
    out: Out = Path("replay"),
    host: Host = "127.0.0.1",
    work_port: WorkPort = 5570,
    control_port: ControlPort = None,
    events_port: EventsPort = None,
    keys: KeysFolder = None,
    announce: Announce = None,
    exit_when_over: ExitWhenOver = False,
) -> None:
    """Verify a logged session, or show it again (the options after --out are as for serve).

    Codes must come out equal and images bit for bit; on other hardware, images may differ by 2 of
    255 at a pixel, which is reported.
    """
    from protocols.errors import SettingsError

    if verify == serve:
        raise SettingsError("choose one", expected="--verify or --serve")
    serving = ("out", "host", "work_port", "control_port", "events_port", "keys", "announce")
    unused = (*serving, "exit_when_over") if verify else ("recompute",)
    check_not_ignored(context, unused, "--serve" if verify else "--verify")
    if verify:
        _verify(session, recompute=recompute)
        return
    from synth_server.serve import Listening, NewSessions, beside_work
    from synth_server.serve import serve as run
    from synth_server.session.replay import replayed_session

    ports = work_port, *beside_work(work_port, control_port, events_port)
    listening = Listening.checked(host, ports, keys, announce)
    with NewSessions() as new:
        again = new.add(replayed_session(session, out / "session.sqlite"))
        stderr.print(f"{again.session_id}: {again.log.path}", highlight=False)
        run(
            [again],
            listening,
            exit_when_over=exit_when_over,
            started=new.started,
            ready=lambda: _tell_ready("", []),
        )


def _tell_ready(encoders: str, hosted: list[str]) -> None:
    """What else can be reached, and that the server waits."""
    if hosted:
        stderr.print(f"encoders: {', '.join(hosted)} at {encoders}", highlight=False)
    stderr.print("waiting for a rig: rig-client run --config rig.toml; Ctrl-C ends the server")


def _verify(session: Path, *, recompute: bool) -> None:
    from synth_server.session.recovery import verify_replay

    with progress_bar("drawing the session anew") as step:
        found = verify_replay(session, products=not recompute, step=step)
    console = Console()
    console.print(
        f"[green]verified[/] {found.n_events} events, {found.n_blocks} blocks, "
        f"{found.n_images} images; session {found.end or 'not ended'}"
    )
    if found.images_within_tolerance:
        console.print(
            f"{found.images_within_tolerance} images differ from those logged, by at most "
            f"{found.largest_difference} of 255: other hardware or versions?"
        )
    for note in found.notes:
        console.print(f"note: {note}")


@app.command()
def keys(
    folder: Annotated[Path, typer.Argument(help="Where the server's keys lie, or shall lie.")],
    client: Annotated[
        list[str] | None, typer.Option(help="Admit a rig or watcher of this name; repeatable.")
    ] = None,
) -> None:
    """Make CURVE keys: needed wherever server and rig are not the same computer.

    Carry the folder for-NAME to the client's computer (by hand, not by mail) and name it in its
    rig.toml as `keys`. Secrets are written with mode 0600, and refused if others can read them.
    """
    from protocols.wire.security import SERVER_SECRET, make_client_keys, make_server_keys

    if not (folder / SERVER_SECRET).exists():
        make_server_keys(folder)
        stderr.print(f"server keys: {folder}", highlight=False)
    for name in client or []:
        stderr.print(f"for {name}: {make_client_keys(folder, name)}", highlight=False)


for command in (
    running_server,
    steering,
    results,
    monitor,
    report,
    doctor,
    export,
    sessions,
    windows,
    encoders,
    compare,
    explain,
    variants,
    host_encoders,
):
    command.register(app)


def main() -> None:
    """Entry point of the console script."""
    command_line.run(app)


if __name__ == "__main__":
    main()
