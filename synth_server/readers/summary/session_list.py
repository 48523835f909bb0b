"""The sessions in a folder, one line each: protocols, state, progress and gain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from protocols.errors import LogError, SettingsError, StimloopError
from protocols.settings import Frozen
from synth_server.readers.log.session_record import EvolutionRecord, read_record
from synth_server.readers.summary.session_summary import Summary, evolution_gains, summarize
from synth_server.session.log_lock import is_being_written

LOGS = "*.sqlite"


class Gain(Frozen):
    """What a session gained, over sites or threads.

    Attributes:
        median: Of each one's gain: response to made images ÷ to the best natural image.
        n: How many have a gain.
        n_above_1: How many of these are above 1.
        measured_in: `test` (at an evolution's end), `generations` (its last ones, without a test), or
            `comparison` (of synthesised with natural images).
    """

    median: float
    n: int
    n_above_1: int
    measured_in: str


class ListedSession(Frozen):
    """One session log.

    Attributes:
        state: `running` (a server has it open), `interrupted` (it has no end, and no server),
            `finished`, `stopped`, `aborted`; or `broken`, and `problem` says why.
        generations: Measured in the thread that came furthest.
        presentations: Showings, whatever came of them.
        simulated: Parts of the rig that were not real; empty: all were.
    """

    path: str
    state: str
    size_bytes: int
    problem: str = ""
    session_id: str = ""
    protocols: tuple[str, ...] = ()
    n_threads: int = 0
    generations: int = 0
    blocks: int = 0
    presentations: int = 0
    simulated: tuple[str, ...] = ()
    gain: Gain | None = None
    started_unix_s: float | None = None
    duration_s: float = 0.0


def session_logs(folder: Path) -> list[Path]:
    """The files in `folder`, and in the folders within, that are called like session logs.

    Raises:
        SettingsError: If there is no such folder.
    """
    if not folder.is_dir():
        raise SettingsError("there is no such folder", where=str(folder))
    return sorted(
        path
        for path in folder.rglob(LOGS)
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def listed_sessions(paths: list[Path]) -> Iterator[ListedSession]:
    """One after the other; a file that cannot be read is named `broken`, and the next one read."""
    for path in paths:
        yield _listed(path)


def _listed(path: Path) -> ListedSession:
    size_bytes = sum(
        each.stat().st_size for each in (path, path.with_name(path.name + "-wal")) if each.exists()
    )
    try:
        record = read_record(path)
        if record.start is None:
            raise LogError("this is no session: the log is empty")
        return _told(path, size_bytes, record)
    except StimloopError as error:
        problem = f"{error.what}: {error.got}" if error.got else error.what
    except (KeyError, IndexError, TypeError, ValueError, OSError) as error:
        problem = f"an event does not fit: {type(error).__name__}: {error}"
    problem = " ".join(problem.split())[:300]
    return ListedSession(path=str(path), state="broken", size_bytes=size_bytes, problem=problem)


def _told(path: Path, size_bytes: int, record: EvolutionRecord) -> ListedSession:
    summary = summarize(record)
    state = summary.state
    if record.end is None:
        state = "running" if is_being_written(path) else "interrupted"
    return ListedSession(
        path=str(path),
        state=state,
        size_bytes=size_bytes,
        session_id=summary.session_id,
        protocols=tuple(sorted({thread.protocol for thread in summary.threads})),
        n_threads=len(summary.threads),
        generations=max((len(thread.generations) for thread in summary.threads), default=0),
        blocks=record.n_answered,
        presentations=record.tally.n_presentations,
        simulated=summary.simulated,
        gain=_gain(summary),
        started_unix_s=summary.started_unix_s,
        duration_s=summary.duration_s,
    )


def _gain(summary: Summary) -> Gain | None:
    """Of the strictest comparison that the session has."""
    # The same numbers as in results and report.
    sources = {
        "test": evolution_gains(summary, "test"),
        "comparison": [site.gain.value for thread in summary.control for site in thread.sites],
        "generations": evolution_gains(summary, "generations"),
    }
    for name, values in sources.items():
        known = [value for value in values if value is not None]
        if known:
            n_above_1 = sum(value > 1 for value in known)
            return Gain(median=median(known), n=len(known), n_above_1=n_above_1, measured_in=name)
    return None
