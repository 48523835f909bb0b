"""Server and rig in one process: session, log, plans, presenter, spool; only sockets are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protocols.documents import SessionSettings
from protocols.interfaces import SimulatedPopulation
from synth_server.session.in_process import play_session


def rehearse(
    settings: SessionSettings,
    folder: Path,
    acquisition: dict[str, Any],
    subject: SimulatedPopulation | None = None,
) -> Path:
    """Play a session to its end; returns its log, `folder/session.sqlite`.

    Args:
        settings: The session's.
        folder: Made if it is not there.
        acquisition: Options of the recorder `simulated`.
        subject: Who is recorded, instead of the plug-in that `acquisition` names.
    """
    rig = {
        "rig_id": "rehearsal",
        "display": {"name": "headless", "options": {"clock": "virtual"}},
        "acquisition": {"name": "simulated", "options": acquisition},
    }
    return play_session(settings, rig, folder, subject)
