"""`synth-server doctor`: is this computer ready to host a session?"""

from __future__ import annotations

import json as json_text
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from protocols.command_line import stderr


def doctor(
    folder: Annotated[Path, typer.Option(help="Where session logs shall lie.")] = Path(),
    keys: Annotated[
        Path | None, typer.Option(help="The server's keys, if rigs are on other computers.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the findings on stdout and nothing else.")
    ] = False,
) -> None:
    """Check this computer before a session: torch, device, weights, disk, ports, keys, packages.

    Each line says what was found, and what to do about it. Ends with status 1 if a check has failed:
    a session would not work; warnings are worth a look. On the rig: rig-client doctor.
    """
    from protocols.checkup import print_findings, worst
    from synth_server.doctor import examine

    findings = []
    with stderr.status("checking") as status:
        for finding in examine(folder, keys):
            findings.append(finding)
            status.update(f"checked: {finding.name}")
    state = worst(findings)
    if json:
        document = {"status": state, "findings": [each.model_dump() for each in findings]}
        sys.stdout.write(json_text.dumps(document, indent=2, ensure_ascii=False) + "\n")
    else:
        print_findings(findings, Console())
    if state == "fail":
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the command to `synth-server`."""
    app.command()(doctor)
