"""What a running server can be told: `synth-server status`, `pause`, `stop`, `annotate` …."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

Connect = Annotated[str, typer.Option(help="The server's control address.")]
SessionName = Annotated[str, typer.Option("--session", help="Needed if the server has several.")]
KeysFolder = Annotated[
    Path | None, typer.Option(help="Key folder; needed to listen or connect beyond loopback.")
]
CONTROL = "tcp://127.0.0.1:5571"
COMMANDS = {
    "status": "How the sessions of a running server are doing.",
    "pause": "Hand out no further block; the one on screen is finished.",
    "resume": "Go on after a pause.",
    "stop": "Stop after this generation: what is proposed is shown, then the session ends.",
    "abort": "End the session now; the rig stops after its current trial.",
}
"""All but `annotate`."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command, text in COMMANDS.items():
        _add(app, command, text)
    app.command()(annotate)


def annotate(
    text: Annotated[str, typer.Argument(help="What happened.")],
    connect: Connect = CONTROL,
    session: SessionName = "",
    keys: KeysFolder = None,
) -> None:
    """Write a line into the session log."""
    _control("annotate", connect, session, keys, text)


def tell(body: Any, connect: str, session: str, keys: Path | None) -> None:
    """Send one request to a running server, and print how its sessions are doing after it."""
    from synth_server.control_socket import request

    _print(request(body, connect, session, keys))


def _add(app: typer.Typer, command: str, text: str) -> None:
    @app.command(command, help=text)
    def control(
        connect: Connect = CONTROL, session: SessionName = "", keys: KeysFolder = None
    ) -> None:
        _control(command, connect, session, keys)


def _control(command: str, connect: str, session: str, keys: Path | None, text: str = "") -> None:
    from synth_server.control_socket import ask

    _print(ask(command, connect, session, keys, text))


def _print(lines: Sequence[Any]) -> None:
    from synth_server.readers.log.rig_record import stamp

    for line in lines:
        Console().print(
            f"{line.session_id}  {line.state}  blocks {line.blocks_answered} of "
            f"{line.blocks_proposed} proposed  rig {line.rig_id or '(none yet)'}",
            highlight=False,
        )
        if mark := stamp(line.simulated):
            Console().print(f"  {mark}", style="yellow", highlight=False, markup=False)
        if line.rig_says:
            Console().print(f"  rig says: {line.rig_says}", highlight=False, markup=False)
