"""Server and rig in one process: session, log, plans, presenter, spool; only the sockets are left out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from protocols.documents import SessionSettings
from protocols.interfaces import SessionInfo
from protocols.settings import PluginChoice
from protocols.wire.messages import Attach
from rig_client.apparatus import Apparatus, apparatus_of
from rig_client.client import described
from rig_client.presenter import Presenter
from rig_client.settings import RigSettings
from rig_client.spool import Spool
from synth_server.session.build import new_session

VIRTUAL = PluginChoice(name="headless", options={"clock": "virtual"})


def rehearse(
    settings: SessionSettings,
    folder: Path,
    acquisition: dict[str, Any],
    change: Callable[[Apparatus], Apparatus] = lambda apparatus: apparatus,
) -> Path:
    """Play a session to its end; returns its log, `folder/session.sqlite`.

    Args:
        settings: The session's.
        folder: Made if it is not there.
        acquisition: Options of the recorder `simulated`.
        change: Puts another part into the apparatus.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rig = RigSettings(
        rig_id="rehearsal",
        display=VIRTUAL,
        acquisition=PluginChoice(name="simulated", options=acquisition),
    )
    session = new_session(settings, folder / "session.sqlite")
    info = SessionInfo(session_id=settings.session_id, seed=settings.seed)
    with contextlib.ExitStack() as stack:
        stack.callback(session.log.close)
        apparatus = change(stack.enter_context(contextlib.closing(apparatus_of(rig, info))))
        spool = stack.enter_context(contextlib.closing(Spool(folder / "spool", info.session_id)))
        session.attach(
            Attach(
                rig_id=rig.rig_id,
                site_ids=apparatus.acquisition.site_ids,
                rig=described(rig, apparatus),
            )
        )
        presenter = Presenter(apparatus, seed=settings.seed)
        while session.n_answered < session.n_proposed:
            block = session.block(session.n_answered)
            if block is None:
                break
            responses = presenter.present(block, spool.journal(block), lambda: False)
            session.record(responses)
            session.learn(responses)
            session.advance()
    return folder / "session.sqlite"
