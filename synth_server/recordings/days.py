"""Several days of one animal as one recording: images by hash, sites by name, one scale.

A name is no proof: overnight an electrode moves, and records another cell under the old name. Images that
were shown on both days tell. A site's mean answers to them on one day are correlated with those on the
other; noise alone limits that to the geometric mean of the two reliabilities. A site that stays below half
of it is another site, and what it did before is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError
from protocols.experiments.site_choice import correlation, reliabilities
from protocols.seeds import random_stream
from protocols.vocabulary import Images
from synth_server.readers.log.recounted import Window, recounted
from synth_server.recordings.measured import Measured
from synth_server.recordings.session_log import measured_session, window_in_words
from synth_server.recordings.sizes import of_one_size

LEAST_SHARED = 20
"""Images that two days must have in common."""
LEAST_OF_CEILING = 0.5
"""Of the highest correlation that noise allows: below it, a site is another site."""
NAMED = 6


class Joined(NamedTuple):
    """Days as one recording, at the scale of the last.

    Attributes:
        images: `(n_images, h, w, 3) uint8`, all different.
        responses: `(n_sites, n_images, n_repetitions)` spikes/s, NaN where not measured.
        site_ids: Those of the last day, in its order.
        lines: What was done, for people.
        days: Of each earlier day, what its sites turned out to be.
    """

    images: Images
    responses: NDArray[np.float64]
    site_ids: tuple[str, ...]
    lines: tuple[str, ...]
    days: tuple[Day, ...]


class Day(NamedTuple):
    """An earlier day against the last.

    Attributes:
        n_shared: Images that both days showed.
        sites: Those that both recorded.
        r: Of each, the correlation between the days over these images; NaN if it cannot be said.
        ceiling: Of each, what noise allows.
        gain: Of each, what its answers were multiplied by: the last day's mean ÷ its own.
        same: Of each, whether it is pooled.
    """

    path: Path
    n_shared: int
    sites: tuple[str, ...]
    r: NDArray[np.float64]
    ceiling: NDArray[np.float64]
    gain: NDArray[np.float64]
    same: NDArray[np.bool_]

    @property
    def line(self) -> str:
        """What was found, for people."""
        other = [
            f"{site} (r {r:.2f} of {c:.2f})" if np.isfinite(r) and np.isfinite(c) else site
            for site, r, c, same in zip(self.sites, self.r, self.ceiling, self.same, strict=True)
            if not same
        ]
        gains = self.gain[self.same]
        said = f"{self.path}: {self.n_shared} images shared; {int(self.same.sum())} sites joined"
        if len(gains):
            said += f", gains {gains.min():.2f}–{gains.max():.2f}"
        if other:
            more = " …" if len(other) > NAMED else ""
            said += f"; other sites under the same name, left out: {', '.join(other[:NAMED])}{more}"
        return said


def joined_days(
    paths: Sequence[Path],
    *,
    mixed: bool = False,
    window_s: Window | None = None,
    today_s: Window | None = None,
) -> Joined:
    """Logs of several days, the last of which is the reference.

    Args:
        paths: Session logs, in the order of the days.
        mixed: Whether other count windows, places and sizes of images are let pass.
        window_s: In which spikes are counted, from the kept spike times; None: as each session counted.
        today_s: In which they are counted today; other windows are refused.

    Raises:
        LogError: If a log cannot be read.
        DataError: If conditions differ, two days share fewer than 20 images, or spike times are missing.
    """
    if len(set(paths)) < len(paths):
        raise DataError(
            "a session is given twice", where="--session", got=", ".join(map(str, paths))
        )
    found = [_measured(path, window_s) for path in paths]
    if not mixed:
        _check_alike(paths, found, today_s)
    *earlier, last = found
    names, counts = zip(*(_by_image(each) for each in found), strict=True)
    days = tuple(
        compared(path, (each.site_ids, names[n], counts[n]), (last.site_ids, names[-1], counts[-1]))
        for n, (path, each) in enumerate(zip(paths[:-1], earlier, strict=True))
    )
    return _joined(found, names, counts, days)


Table = tuple[tuple[str, ...], tuple[str, ...], NDArray[np.float64]]
"""Sites, images, and `(n_sites, n_images, n_repetitions)` spikes/s."""


def compared(path: Path, day: Table, last: Table) -> Day:
    """Which sites of a day are the last day's.

    Raises:
        DataError: If they share fewer than 20 images.
    """
    shared = [name for name in last[1] if name in set(day[1])]
    if len(shared) < LEAST_SHARED:
        raise DataError(
            "two days have too few images in common to tell whether their sites are the same",
            where=str(path),
            expected=f"at least {LEAST_SHARED} images that both showed",
            got=len(shared),
            remedy="map the same images each day; or fit to one day alone",
        )
    sites = tuple(site for site in last[0] if site in day[0])
    before, now = (_chosen(table, sites, shared) for table in (day, last))
    random = random_stream(0, "days", "reliability")
    limits = [reliabilities(each, random) for each in (before, now)]
    means = [_means(each) for each in (before, now)]
    r = np.array([correlation(a, b) for a, b in zip(*means, strict=True)])
    with np.errstate(invalid="ignore"):
        ceiling = np.sqrt(np.clip(limits[0], 0, 1) * np.clip(limits[1], 0, 1))
        same = (r >= LEAST_OF_CEILING * ceiling) & (r > 0)
    levels = [np.nan_to_num(np.nanmean(each, axis=1)) for each in means]
    gain = np.where(levels[0] > 0, levels[1] / np.where(levels[0] > 0, levels[0], 1), 1.0)
    gain = np.where(gain > 0, gain, 1.0)
    return Day(path, len(shared), sites, r, ceiling, gain, same)


def _measured(path: Path, window_s: Window | None) -> Measured:
    with recounted(path, window_s) as log:
        return measured_session(log)


def _check_alike(paths: Sequence[Path], found: Sequence[Measured], today_s: Window | None) -> None:
    if today_s is not None:
        counted, now = found[-1].conditions["count window"], window_in_words(today_s)
        if counted != now:
            raise DataError(
                "spikes are counted in another window today",
                where=f"sessions: {paths[-1]}",
                expected=f"{counted}, as on that day",
                got=f"timing: {now}",
                remedy="count alike (count_start_ms, count_stop_ms); or, if you know what you do: "
                "mixed = true",
            )
    for name in found[-1].conditions:
        said = [each.conditions.get(name, "") for each in found]
        if len(set(said)) > 1:
            raise DataError(
                f"the days differ in the {name}",
                where="--session",
                expected=f"{said[-1]}, as in {paths[-1]}",
                got="; ".join(f"{path}: {what}" for path, what in zip(paths, said, strict=True)),
                remedy="fit to days that are alike; or, if you know what you do: --mixed "
                "(session.toml: mixed = true)",
            )


def _by_image(found: Measured) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Images, and `(n_sites, n_images, n_repetitions)` of them."""
    shown = found.image_names["image_sha256"]
    names = tuple(dict.fromkeys(shown))
    rows: dict[str, list[int]] = {name: [] for name in names}
    for row, name in enumerate(shown):
        rows[name].append(row)
    values = found.values[:, :, 0]
    counts = np.full((values.shape[1], len(names), max(map(len, rows.values()))), np.nan)
    for place, name in enumerate(names):
        counts[:, place, : len(rows[name])] = values[rows[name]].T
    return names, counts


def _chosen(table: Table, sites: Sequence[str], images: Sequence[str]) -> NDArray[np.float64]:
    rows = [table[0].index(site) for site in sites]
    place = {name: n for n, name in enumerate(table[1])}
    return table[2][rows][:, [place[name] for name in images]]


def _means(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over repetitions; NaN where nothing was measured."""
    known = np.isfinite(counts)
    n = known.sum(axis=2)
    total = np.where(known, counts, 0.0).sum(axis=2)
    means: NDArray[np.float64] = np.where(n > 0, total / np.maximum(n, 1), np.nan)
    return means


def _joined(
    found: Sequence[Measured],
    names: Sequence[tuple[str, ...]],
    counts: Sequence[NDArray[np.float64]],
    days: tuple[Day, ...],
) -> Joined:
    site_ids = found[-1].site_ids
    every = tuple(dict.fromkeys(name for each in (names[-1], *names[:-1]) for name in each))
    place = {name: n for n, name in enumerate(every)}
    parts = []
    for number, values in enumerate(counts):
        part = np.full((len(site_ids), len(every), values.shape[2]), np.nan)
        columns = [place[name] for name in names[number]]
        if number == len(counts) - 1:
            part[:, columns] = values
        else:
            day, own = days[number], found[number].site_ids
            for site, gain, same in zip(day.sites, day.gain, day.same, strict=True):
                if same:
                    part[site_ids.index(site), columns] = gain * values[own.index(site)]
        parts.append(part)
    pixels: dict[str, NDArray[np.uint8]] = {}
    for each in found:
        if each.images is not None:
            pixels |= dict(zip(each.images.names, each.images.images, strict=True))
    images = of_one_size({name: pixels[name] for name in every}).images
    gone = sorted({site for each in found[:-1] for site in each.site_ids} - set(site_ids))
    lines = [day.line for day in days]
    if gone:
        lines.append(f"left out, not recorded on the last day: {', '.join(gone)}")
    return Joined(images, np.concatenate(parts, axis=2), site_ids, tuple(lines), days)
