"""No trigger line."""

from __future__ import annotations

from protocols.interfaces import SessionInfo
from protocols.settings import Frozen
from protocols.vocabulary import Block, Cue


class NoTrigger:
    """Words go nowhere: a simulated recorder needs none."""

    class Settings(Frozen):
        """Nothing to set."""

    def __init__(self, settings: Settings, session: SessionInfo) -> None:
        """See `protocols.plugins.GROUPS`."""

    def stage(self, block: Block) -> None:
        """Nothing to prepare."""

    def send(self, word: int, cue: Cue) -> None:
        """Nowhere."""

    def clear(self) -> None:
        """Nothing to clear."""

    def close(self) -> None:
        """Nothing to release."""
