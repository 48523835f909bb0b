"""Server and rig in one process: session, log, plans, presenter, spool; only sockets are left out."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from protocols.documents import SessionSettings
from protocols.interfaces import SessionInfo, SimulatedPopulation
from protocols.settings import PluginChoice
from protocols.wire.messages import Attach
from rig_client.apparatus import apparatus_of
from rig_client.client import described
from rig_client.presenter import Presenter
from rig_client.settings import RigSettings
from rig_client.spool import Spool
from simulated_neurons.acquisition import SimulatedAcquisition, SimulatedAcquisitionSettings
from synth_server.session.build import new_session

VIRTUAL = PluginChoice(name="headless", options={"clock": "virtual"})


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
        apparatus = stack.enter_context(contextlib.closing(apparatus_of(rig, info)))
        if subject is not None:
            chosen = SimulatedAcquisitionSettings.model_validate(acquisition)
            recorder = SimulatedAcquisition(chosen, info, subject)
            recorder.watch_on(apparatus.display)
            apparatus = replace(apparatus, acquisition=recorder)
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
