"""A whole session in one process: the same plan, log and responses as through sockets."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protocols import plugins
from protocols.documents import SessionSettings
from protocols.interfaces import SessionInfo, SimulatedPopulation
from protocols.rig_interfaces import RigInProcess
from protocols.settings import PluginChoice
from protocols.wire.messages import Attach
from synth_server.session.build import new_session
from synth_server.session.session import Session

LOG = "session.sqlite"


def play_session(
    settings: SessionSettings,
    rig: Mapping[str, Any],
    folder: Path,
    subject: SimulatedPopulation | None = None,
) -> Path:
    """Play a session to its end before the rig that `rig` describes; returns its log.

    Args:
        settings: The session's.
        rig: What `rig.toml` says.
        folder: Gets `session.sqlite`, and a spool; made if it is not there.
        subject: Simulated neurons in place of those that `rig` names; they are not made then.

    Raises:
        StimloopError: If settings, rig or plan fail.
    """
    folder.mkdir(parents=True, exist_ok=True)
    info = SessionInfo(session_id=settings.session_id, seed=settings.seed)
    choice = PluginChoice(name="in_process", options={"rig": dict(rig)})
    with contextlib.ExitStack() as stack:
        session = new_session(settings, folder / LOG)
        stack.callback(session.log.close)
        recorder = None
        if subject is not None:
            chosen = PluginChoice.model_validate(rig["acquisition"])
            recorder = plugins.create("stimloop.acquisitions", chosen, info, subject)
        made: RigInProcess = plugins.create(
            "stimloop.rigs", choice, info, folder / "spool", recorder
        )
        play(session, stack.enter_context(contextlib.closing(made)))
    return folder / LOG


def play(session: Session, rig: RigInProcess) -> None:
    """Play what is left of a session before a rig."""
    found = rig.attachment()
    session.attach(Attach(rig_id=found.rig_id, site_ids=found.site_ids, rig=found.rig))
    while session.n_answered < session.n_proposed:
        block = session.block(session.n_answered)
        if block is None:
            break
        responses = rig.present(block)
        session.record(responses)
        session.learn(responses)
        session.advance()
