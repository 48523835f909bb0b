"""Histograms of spikes in an NWB file's `scratch`, as the DiCarlo laboratory writes them.

Files of Brain-Score's data (dandisets 000781 and 000788) hold arrays (images, repetitions, time bins,
channels) whose description ends with `[start_time_ms, stop_time_ms, tb_ms]: [a b c]`: where the first
bin begins, where the last one ends, and how long each is.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError
from protocols.vocabulary import Timing
from synth_server.recordings.axes import NamedArray, measured
from synth_server.recordings.measured import Measured, Wanted
from synth_server.recordings.words import IMAGES, REPEATS, SITES

BINS = re.compile(
    r"start_time_ms,\s*stop_time_ms,\s*tb_ms\]?:?\s*\[?\s*"
    r"(-?[\d.]+)[\s,]+(-?[\d.]+)[\s,]+([\d.]+)"
)


def histogram(file: Any, where: str, wanted: Wanted) -> Measured | None:
    """The mean over the window's bins of a histogram in `scratch`; None if the file has none.

    Raises:
        DataError: If there are several, or the window is not made of whole bins.
    """
    scratch = dict(file.scratch or {})
    binned = {name: item for name, item in scratch.items() if _bins(item) is not None}
    if not binned or (wanted.array and wanted.array not in binned):
        return None
    if not wanted.array and len(binned) > 1:
        raise DataError(
            "several histograms may be the responses",
            where=f"{where}, scratch",
            expected="one, chosen with --array NAME",
            got=", ".join(binned),
        )
    name = wanted.array or next(iter(binned))
    values = np.asarray(binned[name].data[:], dtype=np.float64)
    where = f"{where}, {name}"
    return _mean(values, _bins(binned[name]) or (0, 0, 0), file, where, wanted)


def _mean(
    values: NDArray[np.float64],
    bins: tuple[float, float, float],
    file: Any,
    where: str,
    wanted: Wanted,
) -> Measured:
    first, last, width = bins
    starts = np.arange(first, last - 1e-6, width)
    if values.ndim != 4 or values.shape[2] != len(starts):
        raise DataError(
            "the histogram has another shape than its description says",
            where=where,
            expected=f"(images, repetitions, {len(starts)} time bins, channels)",
            got=values.shape,
        )
    window_s = wanted.window_s or Timing().count_window_s
    start, stop = (1000 * each for each in window_s)
    chosen = (starts >= start - 1e-6) & (starts + width <= stop + 1e-6)
    if not np.isclose(chosen.sum() * width, stop - start):
        raise DataError(
            "the window is not made of whole bins of the histogram",
            where=f"{where}, --window-ms",
            expected=f"multiples of {width:g} ms from {first:g} to {last:g}",
            got=f"{start:g},{stop:g}",
        )
    array = NamedArray(
        values[:, :, chosen].mean(axis=2), where, (IMAGES, REPEATS, SITES), _names(file, values)
    )
    found = measured(array, wanted)
    said = f"mean of the bins from {start:g} to {stop:g} ms, in the histogram's unit"
    return Measured(**{**vars(found), "notes": (*found.notes, said)})


def _names(file: Any, values: NDArray[np.float64]) -> dict[str, tuple[str, ...]]:
    """Labels of the electrodes, if there are as many as channels and they differ."""
    electrodes = file.electrodes
    if electrodes is None or len(electrodes) != values.shape[3]:
        return {}
    for column in ("label", "channel_name", "id"):
        if column in electrodes.colnames:
            names = tuple(str(each) for each in electrodes[column][:])
            if len(set(names)) == len(names):
                return {SITES: names}
    return {}


def _bins(item: Any) -> tuple[float, float, float] | None:
    found = BINS.search(str(getattr(item, "description", "") or ""))
    if found is None or not hasattr(item, "data"):
        return None
    first, last, width = (float(each) for each in found.groups())
    return first, last, width
