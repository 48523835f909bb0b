"""What a check finds, and how it is told: the words of `synth-server doctor` and `rig-client doctor`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protocols.errors import StimloopError
from protocols.settings import Frozen

Status: TypeAlias = Literal["pass", "warn", "fail", "skip"]
COLOURS: dict[Status, str] = {"pass": "green", "warn": "yellow", "fail": "red", "skip": "dim"}


class Finding(Frozen):
    """One line of the table.

    Attributes:
        name: Of the check.
        status: `fail`: a session would not work; `warn`: it would, but look at this; `skip`: there
            is nothing to check.
        detail: What was found, in figures.
        remedy: What to do about it.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


def tried(name: str, check: Callable[[], Finding]) -> Finding:
    """What `check` finds; an error is a failure, with its own remedy, and stops no other check."""
    try:
        return check()
    except StimloopError as error:
        details = [error.what, error.where, f"got {error.got}" if error.got else ""]
        detail = "; ".join(part for part in details if part)
        return Finding(name=name, status="fail", detail=detail, remedy=error.remedy)
    except Exception as error:  # a driver's, a vendor's
        return Finding(name=name, status="fail", detail=f"{type(error).__name__}: {error}")


def worst(findings: Sequence[Finding]) -> Status:
    """The worst status of all."""
    order: tuple[Status, ...] = ("fail", "warn", "pass")
    found = {finding.status for finding in findings}
    return next((status for status in order if status in found), "skip")


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """A table: check, status, what was found, what to do."""
    table = Table("check", "", "found", "what to do", box=None, pad_edge=False)
    for finding in findings:
        colour = COLOURS[finding.status]
        table.add_row(
            finding.name,
            f"[{colour}]{finding.status}[/]",
            escape(finding.detail),
            escape(finding.remedy),
        )
    console.print(table)
