"""`synth-server sessions`: the sessions whose logs are in a folder."""

from __future__ import annotations

import json as json_text
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from protocols.command_line import stderr

_COLOURS = {"running": "green", "interrupted": "yellow", "aborted": "yellow", "broken": "red"}


def sessions(
    folder: Annotated[Path, typer.Argument(help="Folder; the folders within are searched, too.")],
    json: Annotated[
        bool, typer.Option("--json", help="Print a list on stdout and nothing else.")
    ] = False,
) -> None:
    """List the session logs in a folder: what they are, how far they came, what they gained.

    A session is running if a server has its log open, and interrupted if it has no end and no server:
    go on with that one by synth-server serve --resume. A file that can't be read is named, with the
    reason.

    The gain is the response to made images divided by that to the best natural image, median over
    sites; how many are above 1; and whether it was measured in the test at an evolution's end, in a
    comparison of synthesised with natural images, or in the last generations.
    """
    from synth_server.readers.summary.session_list import listed_sessions, session_logs

    logs = session_logs(folder)
    found = []
    with stderr.status("") as status:
        for session in listed_sessions(logs):
            found.append(session)
            status.update(f"{len(found)} of {len(logs)} logs")
    if json:
        document = [session.model_dump(mode="json") for session in found]
        sys.stdout.write(json_text.dumps(document, indent=2) + "\n")
        return
    if not found:
        stderr.print(f"no session logs (*.sqlite) in {folder}", highlight=False)
        return
    _tell(found, folder)


def register(app: typer.Typer) -> None:
    """Add the command to `synth-server`."""
    app.command()(sessions)


def _tell(found: list[Any], folder: Path) -> None:
    """Two lines a session, so that nothing is cut at 80 columns: where and what, then how far."""
    from synth_server.readers.log.rig_record import SIMULATED

    console = Console()
    for session in found:
        colour = _COLOURS.get(session.state)
        state = f"[{colour}]{session.state}[/]" if colour else session.state
        if session.simulated:
            state += f", {SIMULATED}"
        name = escape(str(Path(session.path).relative_to(folder)))
        console.print(f"[bold]{name}[/]  {state}", highlight=False, soft_wrap=True)
        console.print(f"  {_about(session)}", highlight=False)


def _about(session: Any) -> str:
    if session.problem:
        return f"[red]{escape(session.problem)}[/]"
    parts = [", ".join(session.protocols) or "no protocol", _size(session.size_bytes)]
    if session.started_unix_s is not None:
        parts.insert(1, f"began {datetime.fromtimestamp(session.started_unix_s):%Y-%m-%d %H:%M}")
    counted = (
        (session.n_threads, "thread"),
        (session.generations, "generation"),
        (session.presentations, "presentation"),
    )
    parts += [f"{n:,} {what}{'s' * (n != 1)}" for n, what in counted]
    if session.gain is not None:
        parts.append(_gain(session.gain))
    return "; ".join(parts)


def _gain(gain: Any) -> str:
    return f"gain × {gain.median:.2f} ({gain.n_above_1} of {gain.n} above 1, {gain.measured_in})"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB"
