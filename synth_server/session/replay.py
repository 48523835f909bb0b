"""Show a logged session again: its blocks, image for image, as a session of its own."""

from __future__ import annotations

from pathlib import Path

from protocols.documents import SessionSettings, ThreadSettings
from synth_server.session.build import new_session
from synth_server.session.log import SessionLog
from synth_server.session.recovery import read_start
from synth_server.session.session import Session


def replayed_session(source: Path, path: Path) -> Session:
    """A new session that proposes the blocks logged in `source`.

    Raises:
        LogError, LogCorrupted: If `source` is no log, or was altered.
    """
    log = SessionLog(source)
    try:
        start = read_start(log)
    finally:
        log.close()
    thread = ThreadSettings(
        name="replay", protocol="replay", settings={"session": str(source.resolve())}
    )
    settings = SessionSettings(
        session_id=f"{start.settings.session_id[:55]}-replay",
        seed=start.settings.seed,
        threads=(thread,),
    )
    return new_session(settings, path)
