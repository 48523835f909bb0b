"""A session's own log as a recording: every image that was shown, and what was counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from protocols.errors import DataError
from synth_server.readers.log.logged_session import read_session
from synth_server.readers.log.presentations import presentation_table
from synth_server.recordings.measured import UNITS, Measured
from synth_server.recordings.places import at_main_place, place_in_words
from synth_server.recordings.sizes import of_one_size
from synth_server.session.log import SessionLog


def window_in_words(window_s: tuple[float, float]) -> str:
    """A count window, for people."""
    return f"{1000 * window_s[0]:g}–{1000 * window_s[1]:g} ms"


def measured_session(path: Path) -> Measured:
    """Completed presentations of the session in the log `path`, in spikes/s, with their images.

    Raises:
        LogError: If it cannot be read.
        DataError: If nothing was counted yet.
    """
    log = SessionLog(path)
    try:
        session = read_session(log)
        table = presentation_table(session)
        completed = table.columns["outcome"] == "completed"
        n_failed = int((~completed).sum())
        if not completed.any():
            raise DataError("no presentation of this session was completed", where=str(path))
        here, elsewhere = at_main_place({n: c[completed] for n, c in table.columns.items()})
        completed[np.flatnonzero(completed)[~here]] = False
        names = table.columns["image_sha256"][completed]
        pixels = {name: log.array(name) for name in dict.fromkeys(names)}
    finally:
        log.close()
    start, stop = (table.columns[f"count_{end}_s"][completed] for end in ("start", "stop"))
    windows = sorted({(a, b) for a, b in zip(start.tolist(), stop.tolist(), strict=True)})
    images = of_one_size(pixels)
    said = ", ".join(window_in_words(each) for each in windows)
    return Measured(
        (table.counts[completed] / (stop - start)[:, None])[:, :, None].astype(np.float64),
        table.site_ids,
        {"image_sha256": tuple(str(name) for name in names)},
        images,
        UNITS,
        (
            f"{n_failed} presentations left out that were not completed",
            *([elsewhere] if elsewhere else []),
            f"count window {said}",
        ),
        {
            "count window": said,
            "place of images": place_in_words(
                {n: c[completed] for n, c in table.columns.items()},
                session.rig.rig.display if session.rig else None,
            ),
            "size of images": " × ".join(str(n) for n in images.images.shape[1:3]) + " px",
        },
    )
