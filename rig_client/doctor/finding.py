"""What a check finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from protocols.errors import StimloopError
from protocols.settings import Frozen

Status: TypeAlias = Literal["pass", "warn", "fail", "skip"]


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
    """What `check` finds; an error is a failure, with its own remedy."""
    try:
        return check()
    except StimloopError as error:
        details = [error.what, error.where, f"got {error.got}" if error.got else ""]
        detail = "; ".join(part for part in details if part)
        return Finding(name=name, status="fail", detail=detail, remedy=error.remedy)
    except Exception as error:  # a driver's, a vendor's: one check that fails stops no other
        return Finding(name=name, status="fail", detail=f"{type(error).__name__}: {error}")


def worst(findings: list[Finding]) -> Status:
    """The worst status of all."""
    order: tuple[Status, ...] = ("fail", "warn", "pass")
    found = {finding.status for finding in findings}
    return next((status for status in order if status in found), "skip")
