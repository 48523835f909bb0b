"""`rig-client doctor`: a table of what works, and what to do about the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def doctor(
    config: Annotated[Path, typer.Option(help="This rig's settings.")] = Path("rig.toml"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the findings on standard output as JSON.")
    ] = False,
    skip: Annotated[
        list[str] | None, typer.Option(help="A check to leave out, such as server; repeatable.")
    ] = None,
    photodiode_site: Annotated[
        str, typer.Option(help="The recorder's site that has the photodiode.")
    ] = "",
    wait_s: Annotated[
        float, typer.Option(min=0.1, max=600, help="For server, recorder and eye tracker.")
    ] = 10,
) -> None:
    """Check this rig before a session: screen, recorder, words, clock, server, disk, keys.

    Shows twenty squares, and sends twenty trial words. Ends with status 1 if a check has failed.
    """
    from rich.console import Console

    from protocols.checkup import print_findings, worst
    from rig_client.doctor.examination import examine
    from rig_client.settings import read_settings

    settings = read_settings(config)
    checks = examine(
        settings, wait_s=wait_s, photodiode_site=photodiode_site, skip=tuple(skip or ())
    )
    findings = list(checks)
    status = worst(findings)
    if as_json:
        document = {"status": status, "findings": [f.model_dump() for f in findings]}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print_findings(findings, Console())
    if status == "fail":
        raise typer.Exit(1)
