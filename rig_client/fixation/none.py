"""Fixation without an eye tracker."""

from __future__ import annotations

from protocols.interfaces import SessionInfo
from protocols.settings import Frozen
from protocols.vocabulary import Cue


class NoFixation:
    """Every trial starts at once and is never broken: no eye tracker, or an anaesthetised subject."""

    class Settings(Frozen):
        """Nothing to set."""

    def __init__(self, settings: Settings, session: SessionInfo) -> None:
        """See `protocols.plugins.GROUPS`."""

    def acquire(self, cue: Cue) -> bool:  # noqa: ARG002
        """Always."""
        return True

    def held(self, cue: Cue) -> bool:  # noqa: ARG002
        """Always."""
        return True

    def close(self) -> None:
        """Nothing to release."""
