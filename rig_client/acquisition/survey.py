"""What a recorder's stream has brought so far, for `doctor` and for whoever wonders."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable


class Survey(NamedTuple):
    """What is there, and how it comes.

    Attributes:
        units: Spikes of each unit, by the recorder's name for it; most first.
        mismatch: Sites that never came, and units that are no site; one sentence each.
        channels: Changes of each event channel, with its name; empty if there is only one.
        word_channel: The one that carries the words, if that had to be found.
        disorder: How far stragglers come behind, how long counts wait, and what that costs.
        is_measured: Whether enough was seen to say so.
        n_late: Presentations that were counted too early.
        alignment: How the words' stream is aligned to the spikes'; empty if they are one.
        limits: What this recorder cannot reveal; empty if it reveals what is lost.
    """

    units: dict[str, int]
    mismatch: tuple[str, ...]
    channels: dict[str, int]
    word_channel: str
    disorder: str
    is_measured: bool
    n_late: int
    alignment: str = ""
    limits: str = ""


@runtime_checkable
class Surveyed(Protocol):
    """A recorder that can say what its stream has brought."""

    def survey(self) -> Survey:
        """By now."""
        ...
