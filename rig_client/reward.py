"""Rewards for trials whose fixation was held."""

from __future__ import annotations

from protocols.interfaces import SessionInfo
from protocols.settings import Frozen


class NoReward:
    """Nothing to drink."""

    class Settings(Frozen):
        """Nothing to set."""

    def __init__(self, settings: Settings, session: SessionInfo) -> None:
        """See `protocols.plugins.GROUPS`."""

    def give(self, trial: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing to release."""
