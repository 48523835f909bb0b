"""`synth-server`: the server's commands. Heavy imports wait until a command needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from protocols import command_line
from protocols.command_line import check_not_ignored, progress_bar, stderr
from synth_server.commands import (
    campaign,
    compare,
    doctor,
    dry_run,
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
from synth_server.commands.dry_run import Out
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
    dry_run,
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
    campaign,
):
    command.register(app)


def main() -> None:
    """Entry point of the console script."""
    command_line.run(app)


if __name__ == "__main__":
    main()
