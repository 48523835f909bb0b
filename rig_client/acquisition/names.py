"""Whether the configured sites are those of the stream: what never comes, what nobody asked for.

A whole number may come as text of a float ("3.0" from streams of floats): it is that number.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches

N_FIRST = 20
"""After so many presentations, it is told which sites have not appeared."""
N_OTHERS = 5.0
"""A site is silent if the others had so many spikes in the block, on average."""
N_REMEMBERED = 4096
N_NAMED = 5
WHOLE = re.compile(r"([+-]?\d+)\.0*")


def plain(name: str) -> str:
    """A name without blanks around it; a whole number that is written as a float, as a number."""
    name = name.strip()
    return whole[1] if (whole := WHOLE.fullmatch(name)) else name


class Names:
    """Knows sites by the recorder's names for them, and what fired. Thread-safe.

    Args:
        sources: Site id → the recorder's name for it.
    """

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = dict(sources)
        self._site_of = {plain(source): site for site, source in sources.items()}
        self._lock = threading.Lock()
        self._found: dict[tuple[str, ...], list[str]] = {}
        self._strangers: Counter[str] = Counter()
        self._total: Counter[str] = Counter()
        self._block: Counter[str] = Counter()
        self._n_shown = 0
        self._is_told = False
        self._silent: set[str] = set()
        self._notes: list[str] = []

    def sites(self, names: tuple[str, ...]) -> list[str]:
        """The sites of one spike, which the recorder knows by any of these names."""
        with self._lock:
            sites = self._found.get(names)
            if sites is None:
                sites = self._remembered(names)
            for site in sites:
                self._total[site] += 1
                self._block[site] += 1
            if not sites and names and len(self._strangers) < N_REMEMBERED:
                self._strangers[names[0]] += 1
            return sites

    def shown(self) -> None:
        """A presentation has been; after the first ones, tell what never came."""
        with self._lock:
            self._n_shown += 1
            if self._n_shown >= N_FIRST and not self._is_told:
                self._is_told = True
                self._notes += self._mismatch()

    def block_begins(self) -> None:
        """A new block: tell who was silent through all of the last one while others fired."""
        with self._lock:
            silent = {site for site in self._sources if not self._block[site]}
            n_others = len(self._sources) - len(silent)
            if n_others and self._block.total() / n_others >= N_OTHERS:
                new = [site for site in self._sources if site in silent - self._silent]
                if new:
                    self._notes.append(
                        f"{_listed(new)} had no spike in the whole block before, while "
                        f"{n_others} others fired {self._block.total()} times"
                    )
                self._silent = silent
            self._block.clear()

    def notes(self) -> list[str]:
        """What was noticed since this was last asked."""
        with self._lock:
            said, self._notes = self._notes, []
            return said

    def mismatch(self) -> list[str]:
        """Sites that never came, and units of the stream that are no site, by now."""
        with self._lock:
            return self._mismatch()

    def seen(self) -> dict[str, int]:
        """How many spikes each of the stream's units had, by the recorder's name; most first."""
        with self._lock:
            ours = Counter({self._sources[site]: n for site, n in self._total.items()})
            return dict((ours + self._strangers).most_common())

    def _remembered(self, names: tuple[str, ...]) -> list[str]:
        if len(self._found) > N_REMEMBERED:
            self._found.clear()
        sites = [self._site_of[plain(name)] for name in names if plain(name) in self._site_of]
        self._found[names] = sites
        return sites

    def _mismatch(self) -> list[str]:
        notes = []
        missing = [site for site in self._sources if not self._total[site]]
        strangers = [name for name, _ in self._strangers.most_common()]
        if missing:
            named = [f"{site} ({self._sources[site]!r})" for site in missing]
            note = f"no spike has come of {_listed(named)}"
            asked = self._sources[missing[0]]
            if close := get_close_matches(asked, strangers, 1, 0.6):
                note += f"; the stream has {close[0]!r}, which is no site: is {asked!r} that?"
            notes.append(note)
        if strangers:
            named = [repr(name) for name in strangers]
            notes.append(f"the stream has units that are no site of rig.toml: {_listed(named)}")
        return notes


def _listed(names: list[str]) -> str:
    """The first few, and how many more."""
    more = len(names) - N_NAMED
    listed = ", ".join(names[:N_NAMED])
    return f"{listed} and {more} more" if more > 0 else listed
