"""Two processors of a recorder that use one name: their spikes must never be summed.

Open Ephys's detectors name their electrodes alike: two on one stream both send `Electrode 1`. A site
`Electrode 1` is then of neither; `101/Electrode 1` is the one of node 101.
"""

from __future__ import annotations

from collections.abc import Iterable

from rig_client.acquisition.names import plain
from rig_client.acquisition.stream import Misfit


class OneSender:
    """Remembers which node each site's electrode is of.

    Args:
        sources: The recorder's names of the sites.
    """

    def __init__(self, sources: Iterable[str]) -> None:
        self._sources = {plain(source) for source in sources}
        self._node_of: dict[str, int] = {}
        self._said: dict[frozenset[int], str] = {}

    def names(self, electrode: str, unit: int, node: int) -> tuple[str, ...]:
        """What a spike is called; its own name first.

        Raises:
            Misfit: If a site means it, and means an electrode of another node as well.
        """
        names = electrode, f"{electrode}#{unit}"
        for name in names:
            if (known := plain(name)) in self._sources:
                before = self._node_of.get(known, node)
                self._node_of[known] = node
                if before != node:
                    raise Misfit(self._told(name, *sorted((before, node))))
        return (*names, *(f"{node}/{name}" for name in names))

    def _told(self, name: str, one: int, other: int) -> str:
        """The same for all their electrodes, so that it stands on the screen once."""
        text = (
            f"nodes {one} and {other} both send spikes of {name!r}, which would be summed: name the "
            f"site {one}/{name} or {other}/{name}, or remove a detector"
        )
        return self._said.setdefault(frozenset((one, other)), text)
