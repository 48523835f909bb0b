"""`EyeTracking` of an NWB file: where the subject looked, on the session's axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth_server.readers.export.libraries import nwb
from synth_server.readers.log.logged_session import LoggedSession
from synth_server.readers.log.rig_in_words import part
from synth_server.readers.log.timeline import Placed
from synth_server.session.log import SessionLog

Floats = NDArray[np.float64]


def gaze_on_session(
    session: LoggedSession, timeline: Sequence[Placed], log: SessionLog
) -> tuple[Floats, Floats]:
    """Times `(n,)` in s, rising, and degrees `(n, 2)`, NaN where the tracker was not sure.

    Samples that nothing ties to the session's axis (no image was shown near them), and those before
    its beginning (on a virtual clock), are left out.

    Raises:
        LogCorrupted: If gaze is missing or was altered.
    """
    times, degrees = [np.empty(0)], [np.empty((0, 2))]
    for block, when in zip(session.answered, timeline, strict=True):
        trace = block.responses.gaze if block.responses else None
        if trace is None:
            continue
        samples = log.array(trace.digest).astype(np.float64)
        session_s = when.on_session(samples[:, 0] + trace.start_s)
        known = session_s >= 0
        times.append(session_s[known])
        degrees.append(np.where(samples[:, 3:] > 0, samples[:, 1:3], np.nan)[known])
    all_s, all_degrees = np.concatenate(times), np.concatenate(degrees)
    _, order = np.unique(all_s, return_index=True)
    return all_s[order], all_degrees[order]


def eye_tracking(
    session: LoggedSession, timeline: Sequence[Placed], log: SessionLog, timing: Any
) -> Any:
    """`EyeTracking`; None if no gaze was kept. `timing(times_s)`: a series' time axis."""
    session_s, degrees = gaze_on_session(session, timeline, log)
    if not len(session_s):
        return None
    rates = {b.responses.gaze.rate_hz for b in session.answered if b.responses and b.responses.gaze}
    series = nwb("pynwb.behavior").SpatialSeries(
        name="gaze",
        description=f"Where the subject looked while blocks were shown, by {tracker(session)}, kept "
        f"at {', '.join(f'{rate:g}' for rate in sorted(rates))} Hz: right (x) and above (y) of the "
        "screen's centre; NaN where the tracker had no valid sample.",
        comments="Taken on the display's clock and brought to the session's time as onsets are. The "
        "table 'clocks' ties the display's clock to the recorder's, block by block.",
        reference_frame="(0, 0) is the centre of the screen; x to the right, y upwards.",
        unit="degrees",
        data=degrees.astype(np.float32),
        **timing(session_s),
    )
    return nwb("pynwb.behavior").EyeTracking(name="EyeTracking", spatial_series=series)


def tracker(session: LoggedSession) -> str:
    """The eye tracker's plug-in, as the rig's settings name it."""
    named = part(session.rig.rig, "fixation") if session.rig else ""
    return named or "a tracker that the rig did not name"
