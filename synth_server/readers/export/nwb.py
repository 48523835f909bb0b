"""A session as one file of Neurodata Without Borders (NWB 2), for archives and for other tools.

What stands where is described in `docs/how-to/export-to-nwb.md`. The file holds counts and spike times
as they were reported; of recorders that only count, no spike times are made up.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.digests import canonical_json
from protocols.names import nwb_name
from protocols.rig_description import DisplayDescription
from synth_server.readers.export import nwb_tables
from synth_server.readers.export.libraries import nwb
from synth_server.readers.export.new_file import new_file
from synth_server.readers.export.nwb_fields import receptive_fields
from synth_server.readers.export.nwb_gaze import eye_tracking
from synth_server.readers.export.nwb_images import SEPARATE_AT_MOST, ImageStore
from synth_server.readers.export.nwb_subject import SubjectSettings
from synth_server.readers.export.nwb_units import units
from synth_server.readers.fields.mapped_fields import mapped_fields
from synth_server.readers.log.logged_session import LoggedSession, read_session
from synth_server.readers.log.presentations import PresentationTable, presentation_table
from synth_server.readers.log.rig_in_words import part, said_of_display
from synth_server.readers.log.rig_record import SIMULATED, stamp
from synth_server.session.log import SessionLog

REGULAR_DECIMALS = 9
"""Times that are evenly spaced to so many decimals (a virtual clock's) are stored as a rate."""
Step = Callable[[str, int, int], None]
"""Called with what is done, how much of it is, and how much there is."""


def export_nwb(
    session: Path,
    out: Path,
    subject: SubjectSettings | None = None,
    *,
    force: bool = False,
    step: Step = lambda _what, _done, _total: None,
    separate_at_most: int = SEPARATE_AT_MOST,
) -> LoggedSession:
    """Write the session in the log `session` to the NWB file `out`.

    Args:
        session: The log, of a session that may still run, or was aborted.
        out: Ends with `.nwb`.
        subject: Whom it was recorded from; without, archives will not take the file.
        force: Whether to replace `out`.
        step: Told of the progress.
        separate_at_most: If there are more images, they are stacked, see `nwb_images`.

    Raises:
        InstallationError: If pynwb is not installed.
        LogCorrupted: If the log was altered or cut.
        SettingsError: If `out` is there already.
    """
    io_class = nwb("pynwb").NWBHDF5IO
    with new_file(out, ".nwb", force=force) as unfinished:
        log = SessionLog(session)
        try:
            found = read_session(log, lambda done, total: step("reading the log", done, total))
            nwbfile, store = _assembled(found, log, subject, separate_at_most)
            step("laying out the file", 0, 1)
            with _quietly(), io_class(str(unfinished), "w") as io:
                io.write(nwbfile)
                step("laying out the file", 1, 1)
                store.fill(log, _counting(step, len(found.shapes)))
        finally:
            log.close()
    return found


def _counting(step: Step, total: int) -> Callable[[], None]:
    done = 0

    def after_image() -> None:
        nonlocal done
        done += 1
        step("copying images", done, total)

    return after_image


@contextmanager
def _quietly() -> Iterator[None]:
    """hdmf tells of every integer that it widens."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="hdmf")
        yield


def _assembled(
    session: LoggedSession, log: SessionLog, subject: SubjectSettings | None, separate_at_most: int
) -> tuple[Any, ImageStore]:
    timeline = session.timeline()
    shown = presentation_table(session, timeline)
    nwbfile = _empty_file(session, subject)
    recording = nwbfile.create_processing_module(
        "ecephys", "Recorded sites, and the clocks that their counts were taken by."
    )
    behavior = nwbfile.create_processing_module("behavior", "Where the subject looked.")
    _add_displays(nwbfile, session)
    synthesis = nwbfile.create_processing_module(
        "misc", "Images, the codes that they were made from, and their scores."
    )
    if session.site_ids:
        _add_electrodes(nwbfile, session, subject)
        recording.add(nwb_tables.sites(session, nwbfile.electrodes))
        if (fields := receptive_fields(mapped_fields(session.path))) is not None:
            recording.add(fields)
        nwbfile.units = units(session, timeline, log, nwbfile.electrodes)
    if (clocks := nwb_tables.clocks(session, timeline)) is not None:
        recording.add(clocks)
    if (gaze := eye_tracking(session, timeline, log, _timing)) is not None:
        behavior.add(gaze)
    store = ImageStore(session, separate_at_most=separate_at_most)
    images = store.add_to(nwbfile, synthesis)
    if len(shown):
        nwbfile.add_time_intervals(nwb_tables.presentations(shown))
        nwbfile.trials = nwb_tables.trials(shown)
        nwbfile.add_stimulus(_shown_when(shown, images))
    for table in (
        nwb_tables.images(session, store.labels, shown) if session.shapes else None,
        nwb_tables.scores(session),
        nwb_tables.events(session),
        nwb_tables.rig_events(session, timeline),
        *nwb_tables.codes(session, log),
    ):
        if table is not None:
            synthesis.add(table)
    _add_configuration(nwbfile, session)
    for module in (recording, behavior, synthesis):
        if not module.data_interfaces:
            nwbfile.processing.pop(module.name)
    return nwbfile, store


def _empty_file(session: LoggedSession, subject: SubjectSettings | None) -> Any:
    settings = session.start.settings
    protocols = ", ".join(sorted({thread.protocol for thread in settings.threads}))
    about: dict[str, Any] = {}
    if subject is not None:
        named = ("institution", "lab", "experimenter", "related_publications")
        about = {name: getattr(subject, name) for name in named if getattr(subject, name)}
    described = subject.experiment_description if subject else ""
    mark = stamp(session.simulated)
    return nwb("pynwb.file").NWBFile(
        session_description=f"{mark}. "
        * bool(mark)
        + f"stimloop session {settings.session_id} ({protocols}), "
        f"{len(settings.threads)} threads, {session.state}",
        identifier=f"{settings.session_id} {session.last_hash}",
        session_start_time=_utc(session.started_ns),
        session_id=settings.session_id,
        experiment_description=described
        or "Closed-loop stimulus synthesis: images are generated, shown, and improved by the "
        f"spike counts that they draw. Protocols: {protocols}.",
        keywords=(
            *((SIMULATED,) if mark else ()),
            *((subject.keywords if subject else ()) or _keywords(session)),
        ),
        **({"notes": mark} if mark else {}),
        source_script=f"stimloop {version('stimloop')}, synth-server export-nwb; "
        f"log written by stimloop {session.start.versions.get('stimloop', 'unknown')}",
        source_script_file_name="synth_server/readers/export/nwb.py",
        subject=None if subject is None else _subject(subject),
        **about,
    )


def _keywords(session: LoggedSession) -> tuple[str, ...]:
    protocols = {thread.protocol for thread in session.start.settings.threads}
    return ("closed-loop stimulus synthesis", *sorted(protocols))


def _subject(subject: SubjectSettings) -> Any:
    named = ("subject_id", "species", "sex", "age", "description", "weight")
    values = {name: getattr(subject, name) for name in named if getattr(subject, name)}
    if subject.date_of_birth is not None:
        values["date_of_birth"] = datetime.combine(subject.date_of_birth, time(), UTC)
    return nwb("pynwb.file").Subject(**values)


def _add_electrodes(nwbfile: Any, session: LoggedSession, subject: SubjectSettings | None) -> None:
    area = subject.brain_area if subject else "unknown"
    rig = session.rig
    recorder = (subject.recorder if subject else "") or _recorder(session)
    mark = stamp(session.simulated)
    device = nwbfile.create_device(
        name=nwb_name(rig.rig_id) if rig else "rig",
        description=f"Recorder: {recorder}. Rig software: {rig.software if rig else 'unknown'}."
        + f" {mark}." * bool(mark),
    )
    group = nwbfile.create_electrode_group(
        name="sites",
        description="The recorded sites; which of them share an electrode is not known here.",
        location=area,
        device=device,
    )
    nwbfile.add_electrode_column("site_id", "Name of the site that is recorded there.")
    for site in session.site_ids:
        nwbfile.add_electrode(location=area, group=group, site_id=site)


def _recorder(session: LoggedSession) -> str:
    """The recorder's plug-in, as the rig's settings name it."""
    return (part(session.rig.rig, "acquisition") if session.rig else "") or "not described"


def _add_displays(nwbfile: Any, session: LoggedSession) -> None:
    """The display as a device; several, if the experimenter accepted that it changed."""
    found = [rig.rig.display for rig in session.at_rig.attached if rig.rig.display is not None]
    distinct: list[DisplayDescription] = []
    for display in found:
        if not distinct or distinct[-1].differences(display):
            distinct.append(display)
    for number, display in enumerate(distinct, start=1):
        nwbfile.create_device(
            name="display" if number == 1 else f"display_{number}",
            description=said_of_display(display),
        )


def _shown_when(shown: PresentationTable, images: Any) -> Any:
    """Which image appeared when: an `IndexSeries`, or a plain series if the images are stacked."""
    index = shown.columns["image_index"].astype(np.uint32)
    what = {
        "name": "presented_images",
        "description": "Image (row of the table 'images') at each onset, whatever came of it.",
        "data": index,
        **_timing(shown.columns["session_s"]),
    }
    if images is None:
        return nwb("pynwb.base").TimeSeries(unit="image index", **what)
    return nwb("pynwb.image").IndexSeries(unit="N/A", indexed_images=images, **what)


def _timing(onset_s: NDArray[np.float64]) -> dict[str, Any]:
    steps = np.unique(np.round(np.diff(onset_s), REGULAR_DECIMALS))
    if len(steps) == 1 and len(onset_s) > 2 and steps[0] > 0:
        return {"starting_time": float(onset_s[0]), "rate": 1 / float(steps[0])}
    return {"timestamps": onset_s}


def _add_configuration(nwbfile: Any, session: LoggedSession) -> None:
    """The first event of the log, whole, and what else says which log this was."""
    log = {
        "n_events": session.n_events,
        "last_hash": session.last_hash,
        "state": session.state,
        "session_digest": session.end.session_digest if session.end else "",
    }
    documents: Sequence[tuple[str, Any, str]] = (
        (
            "session_configuration",
            session.start.model_dump(mode="json"),
            "JSON: settings, digests of equipment, versions; the first event of the session log.",
        ),
        ("session_log", log, "JSON: the session log that this file was made from."),
    )
    for name, document, description in documents:
        text = canonical_json(document).decode()
        nwbfile.add_scratch(text, name=name, description=description)


def _utc(unix_ns: int) -> datetime:
    return datetime.fromtimestamp(unix_ns / 1e9, UTC)
