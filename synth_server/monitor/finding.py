"""Which session to look at: the one whose log is named, or the one that a running server has."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from protocols.documents import EventKind, SessionStarted
from protocols.errors import LogCorrupted, SettingsError
from protocols.wire.messages import SessionStatus
from synth_server.control_socket import ask
from synth_server.session.log import SessionLog

ANNOUNCEMENT = "server.json"
"""What a dry run's server writes its addresses to, beside the log."""


@dataclass(frozen=True)
class Found:
    """A session's id, its log, and its server's control address."""

    session_id: str
    log: Path
    address: str


def by_log(log: Path, address: str, *, is_default: bool) -> Found:
    """The session of that log; a dry run's server is known by the announcement beside it.

    Args:
        log: A session log.
        address: Control address.
        is_default: Whether nobody chose `address`.

    Raises:
        LogError: If it is no session log.
    """
    if is_default:
        address = _announced(log) or address
    return Found(_session_id(log), log, address)


def by_server(address: str, session: str, keys: Path | None) -> Found:
    """The session of a running server; its log must lie on this computer.

    Raises:
        LinkLost: If the server does not answer.
        SettingsError: If it has several, and none was chosen; or if the log is not here.
    """
    statuses = ask("status", address, session, keys)
    if len(statuses) != 1:
        names = ", ".join(status.session_id for status in statuses)
        raise SettingsError(
            "the server has several sessions", expected=f"--session, one of: {names}"
        )
    return Found(statuses[0].session_id, _log_of(statuses[0]), address)


def _log_of(status: SessionStatus) -> Path:
    if not status.log or not Path(status.log).is_file():
        raise SettingsError(
            "the session's log is not on this computer",
            expected=status.log,
            remedy="run the monitor on the server's computer, and look at it from here with: "
            "ssh -L 5575:127.0.0.1:5575 SERVER",
        )
    return Path(status.log)


def _session_id(path: Path) -> str:
    log = SessionLog(path)
    try:
        first = next(log.events(), None)
    finally:
        log.close()
    if first is None or first.kind is not EventKind.SESSION_STARTED:
        raise LogCorrupted("the log does not begin with a session's start", where=str(path))
    return SessionStarted.model_validate(first.document).settings.session_id


def _announced(log: Path) -> str:
    try:
        announced = json.loads(log.with_name(ANNOUNCEMENT).read_text("utf-8"))
        return str(announced["control"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
