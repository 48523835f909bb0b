"""NWB files as recordings: stimloop's own exports, and those of other laboratories.

Three layouts are known: a table of presentations with counts (our own, or a column of vectors); a
table of presentations beside `Units` with spike times (Allen Institute and most others), from which
spikes are counted in a window; and a histogram in `scratch` (DiCarlo laboratory, Brain-Score).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError
from protocols.vocabulary import Placement, Timing
from synth_server.readers.export.libraries import nwb
from synth_server.recordings.csv_files import pandas
from synth_server.recordings.matching import match
from synth_server.recordings.measured import UNITS, Measured, Wanted
from synth_server.recordings.nwb_histograms import histogram
from synth_server.recordings.nwb_images import own_images
from synth_server.recordings.nwb_series import onset_column, series_table
from synth_server.recordings.places import at_main_place
from synth_server.recordings.table_shapes import holds_vectors
from synth_server.recordings.tables import KEPT, measured_table
from synth_server.recordings.words import IMAGES, SITES, named_as, plain

OWN = "presentations"
SILENCE_S = 1.0
"""A window that begins so long after the last spike of all units is after the recording."""
PLACES = frozenset(Placement.model_fields)


def measured_nwb(path: Path, wanted: Wanted) -> Measured:
    """Responses in an NWB file.

    Raises:
        DataError: If it holds none, or in more than one way; the message lists what there is.
        InstallationError: If pynwb is not installed.
    """
    io_class = nwb("pynwb").NWBHDF5IO
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with io_class(str(path), "r", load_namespaces=True) as io:
                return _read(io.read(), str(path), wanted).named(wanted.site_names)
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            "the NWB file cannot be read", where=str(path), got=f"{type(error).__name__}: {error}"
        ) from None


def _read(file: Any, where: str, wanted: Wanted) -> Measured:
    if _is_own(file):
        return _own(file)
    if (found := histogram(file, where, wanted)) is not None:
        return found
    name, table = _presentations(file, where, wanted)
    where = f"{where}, {name}"
    has_spikes = file.units is not None and "spike_times" in file.units.colnames
    if not has_spikes or any(map(holds_vectors, (table[c] for c in table.columns))):
        return measured_table(table, where, wanted)
    return _counted(file, table, where, wanted)


def _is_own(file: Any) -> bool:
    return OWN in file.intervals and "image_sha256" in file.intervals[OWN].colnames


def _own(file: Any) -> Measured:
    table = file.intervals[OWN]
    counts = np.asarray(table["spike_counts"].data[:], dtype=np.float64)
    outcome = np.asarray(table["outcome"].data[:]).astype(str)
    start, stop = (np.asarray(table[f"count_{end}_s"].data[:]) for end in ("start", "stop"))
    names = tuple(np.asarray(table["image_sha256"].data[:]).astype(str))
    sites = tuple(map(str, file.processing["ecephys"]["sites"]["site_id"].data[:]))
    completed = outcome == "completed"
    n_failed = int((~completed).sum())
    columns = {n: np.asarray(table[n].data[:])[completed] for n in table.colnames if n in PLACES}
    here, elsewhere = at_main_place({"outcome": outcome[completed], **columns})
    completed[np.flatnonzero(completed)[~here]] = False
    return Measured(
        (counts / (stop - start)[:, None])[completed][:, :, None],
        sites,
        {"image_sha256": tuple(np.array(names)[completed])},
        own_images(file),
        UNITS,
        (
            f"a session of stimloop, {n_failed} presentations left out that were not completed",
            *([elsewhere] if elsewhere else []),
            f"count window {1000 * start[0]:g}–{1000 * stop[0]:g} ms",
        ),
    )


def _presentations(file: Any, where: str, wanted: Wanted) -> tuple[str, Any]:
    """The table of intervals that says which image was shown when."""
    tables = dict(_tables(file)) | dict(series_table(file))
    if wanted.array:
        if wanted.array not in tables:
            raise _no_table("no table of presentations has this name", where, tables, wanted.array)
        return wanted.array, tables[wanted.array]
    naming = {n: t for n, t in tables.items() if named_as(IMAGES, map(str, t.columns))}
    if len(naming) > 1 and wanted.image_names:
        fitting = {n: t for n, t in naming.items() if _names_fit(t, wanted.image_names)}
        naming = fitting or naming
    if len(naming) == 1:
        return next(iter(naming.items()))
    what = "several tables name images" if naming else "no table says which image was shown when"
    raise _no_table(what, where, naming or tables, ", ".join(naming or tables))


def _tables(file: Any) -> Iterator[tuple[str, Any]]:
    """Every table of intervals as a data frame, those with spike times left out."""
    found = dict(file.intervals or {})
    for name, trials in (("trials", file.trials), ("epochs", file.epochs)):
        if trials is not None:
            found.setdefault(name, trials)
    for module in file.processing.values():
        for name, item in module.data_interfaces.items():
            if "start_time" in (getattr(item, "colnames", None) or ()):
                found.setdefault(name, item)
    for name, table in found.items():
        left = {"timeseries", "tags", "timeseries_index"}
        columns = [c for c in table.colnames if c not in left]
        yield name, pandas().DataFrame({c: list(table[c][:]) for c in columns})


def _names_fit(table: Any, images: tuple[str, ...]) -> bool:
    columns = named_as(IMAGES, map(str, table.columns))
    return any(match([str(n) for n in table[c]], images) is not None for c in columns)


def _no_table(what: str, where: str, tables: dict[str, Any], got: str) -> DataError:
    there = ", ".join(f"{n} ({', '.join(map(str, t.columns))})" for n, t in tables.items())
    return DataError(
        what,
        where=where,
        expected="one table of intervals with a column of images, chosen with --array NAME",
        got=(got + (f"; there are: {there}" if there else ""))[:900] or "no table of intervals",
    )


def _counted(file: Any, table: Any, where: str, wanted: Wanted) -> Measured:
    """Spikes of every unit in the window after each onset, in spikes/s; NaN where not observed."""
    window = wanted.window_s or Timing().count_window_s
    onset = onset_column(table, where)
    start = table[onset].to_numpy(dtype=np.float64)
    edges = start[:, None] + np.array(window)
    units = file.units
    rates = np.empty((len(start), len(units)))
    last_spike = -np.inf
    for unit in range(len(units)):
        spikes = np.sort(np.asarray(units["spike_times"][unit], dtype=np.float64))
        last_spike = max([last_spike, *spikes[-1:]])
        first, last = (np.searchsorted(spikes, edges[:, end], side="left") for end in (0, 1))
        rates[:, unit] = (last - first) / (window[1] - window[0])
        rates[~_observed(units, unit, edges), unit] = np.nan
    invalid = _overlaps(file.invalid_times, edges)
    after = ~(edges[:, 0] <= last_spike + SILENCE_S) & np.isfinite(start)
    left_out = {
        "in invalid_times": invalid,
        f"no {onset}": ~np.isfinite(start),
        "after the last spike of all units: the recording was over": after & ~invalid,
    }
    names = _unit_names(units)
    prefixed = pandas().DataFrame(rates, columns=[f"rate_{name}" for name in names])
    images = named_as(IMAGES, map(str, table.columns))
    kept = table[[c for c in table.columns if str(c) in images or plain(str(c)) in KEPT]]
    prefixed[np.any(list(left_out.values()), axis=0)] = np.nan
    both = pandas().concat([kept, prefixed], axis=1)[~invalid]
    found = measured_table(both, where, Wanted(image_names=wanted.image_names))
    said = "by default; --window-ms START,STOP" if wanted.window_s is None else "as asked"
    notes = [
        f"spikes counted from spike times in {1000 * window[0]:g}–{1000 * window[1]:g} ms after "
        f"{onset} ({said})",
        f"images named by {', '.join(images)}",
    ]
    notes += [note for note in found.notes if "left out" in note]
    for why, rows in left_out.items():
        if rows.any():
            notes.append(f"{int(rows.sum())} presentations left out: {why}")
    return Measured(found.values, names, found.image_names, unit=UNITS, notes=tuple(notes))


def _observed(units: Any, unit: int, edges: NDArray[np.float64]) -> NDArray[np.bool_]:
    if "obs_intervals" not in units.colnames:
        return np.ones(len(edges), dtype=bool)
    seen = np.asarray(units["obs_intervals"][unit], dtype=np.float64).reshape(-1, 2)
    if not len(seen):
        return np.ones(len(edges), dtype=bool)
    inside = (edges[:, :1] >= seen[:, 0]) & (edges[:, 1:] <= seen[:, 1])
    return np.asarray(inside.any(axis=1))


def _overlaps(intervals: Any, edges: NDArray[np.float64]) -> NDArray[np.bool_]:
    if intervals is None or not len(intervals):
        return np.zeros(len(edges), dtype=bool)
    start, stop = (np.asarray(intervals[f"{end}_time"][:]) for end in ("start", "stop"))
    return np.asarray(((edges[:, :1] < stop) & (edges[:, 1:] > start)).any(axis=1))


def _unit_names(units: Any) -> tuple[str, ...]:
    """A column of names that are all different, or the ids."""
    for column in named_as(SITES, units.colnames):
        names = tuple(str(name) for name in units[column][:])
        if len(set(names)) == len(names) and column not in ("electrodes", "electrode"):
            return names
    return tuple(str(name) for name in units.id[:])
