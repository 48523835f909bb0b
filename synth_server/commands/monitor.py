"""`synth-server monitor`: look at a session while it runs, and after."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from protocols.command_line import stderr
from protocols.errors import InstallationError

PACKAGES = ("fastapi", "uvicorn", "plotly")
CONTROL = "tcp://127.0.0.1:5571"


def monitor(
    session: Annotated[
        Path | None,
        typer.Argument(help="A session log, finished or not; none: that of the running server."),
    ] = None,
    connect: Annotated[str, typer.Option(help="The server's control address.")] = CONTROL,
    session_name: Annotated[
        str, typer.Option("--session", help="Needed if the server has several.")
    ] = "",
    keys: Annotated[
        Path | None, typer.Option(help="Key folder; needed to connect beyond loopback.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the page; 0: let the system choose.")
    ] = 5575,
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in this computer's browser.")
    ] = True,
) -> None:
    """Show a session in the browser: curves, images, counts, health; pause, stop, annotate.

    A process of its own at low priority, which reads the log and writes nothing: it can be killed,
    and started again, at any time. The page is for this computer only; from another one:

        ssh -L 5575:127.0.0.1:5575 SERVER

    Try it, in two terminals:

        synth-server dry-run --generations 200 --out first

        synth-server monitor first/session.sqlite
    """
    check_installed()
    from synth_server.monitor.finding import by_log, by_server
    from synth_server.monitor.serving import open_in_browser, run_monitor

    if session is not None:
        found = by_log(session, connect, is_default=connect == CONTROL)
    else:
        found = by_server(connect, session_name, keys)

    def ready(url: str) -> None:
        sys.stdout.write(url + "\n")
        sys.stdout.flush()
        stderr.print(f"{found.session_id}: {found.log}; Ctrl-C ends it", highlight=False)
        if open_page:
            open_in_browser(url)

    run_monitor(found, port, keys, ready)


def check_installed() -> None:
    """Raise `InstallationError` if a package of the extra `monitor` is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InstallationError(
            "the monitor needs packages that are not installed",
            expected=", ".join(PACKAGES),
            got=f"without {', '.join(missing)}",
            remedy="pip install 'stimloop[monitor]'",
        )


def register(app: typer.Typer) -> None:
    """Add the command to `synth-server`."""
    app.command()(monitor)
