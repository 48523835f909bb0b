"""Replay: the blocks of an earlier session, shown again whatever the responses."""

from __future__ import annotations

from protocols.experiments.experiment import experiment
from protocols.interfaces import Apparatus, Plan
from protocols.settings import Frozen
from protocols.vocabulary import Block


class ReplaySettings(Frozen):
    """Settings of a replay: the log of the session to show again."""

    session: str


@experiment(ReplaySettings, steers=())
def replay(settings: ReplaySettings, apparatus: Apparatus) -> Plan:
    """Every logged block, in the order of the log, images and timing unchanged."""
    for logged in apparatus.logged_blocks(settings.session):
        label = f"{logged.thread}: {logged.label}" if logged.label else logged.thread
        unmade = {"generation": None, "codes": None, "codes_digest": None}
        yield Block.model_validate({**dict(logged), "label": label[:200], **unmade})
