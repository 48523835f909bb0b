"""The session log: one SQLite file, append-only, hash-chained, with the images inside.

Committed (WAL, `synchronous=FULL`) before anything is sent or acknowledged, so that whatever
another computer has seen is in the log. Opened once for writing, as often as you like for reading.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from protocols.digests import array_digest, canonical_json, document_digest
from protocols.documents import LOG_VERSION, Event, EventKind, SessionStarted
from protocols.errors import LogCorrupted, LogError
from protocols.replacing import replace_file
from protocols.vocabulary import Block, BlockResponses
from synth_server.session.log_lock import lock_path, writer_lock

GENESIS = "0" * 64
_SCHEMA = """
PRAGMA page_size = 32768;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, t_mono_ns INTEGER NOT NULL, t_wall_ns INTEGER NOT NULL,
    kind TEXT NOT NULL, json TEXT NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE TABLE arrays (
    digest TEXT PRIMARY KEY, shape TEXT NOT NULL, dtype TEXT NOT NULL, data BLOB NOT NULL
) STRICT;
"""


class SessionLog:
    """An open session log. Safe to use from several threads.

    Args:
        path: The file; made anew by `create`, else it must exist.
        writable: Whether to append; one process at a time may.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        if not path.is_file():
            raise LogError("there is no session log here", where=str(path))
        self.path = path
        self._guard = threading.RLock()
        self._lock = writer_lock(path) if writable else None
        mode = "rw" if writable else "ro"
        self._db = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            if writable:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
            last: tuple[int, str] | None = self._db.execute(
                "SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1"
            ).fetchone()
            self.last_seq, self.last_hash = last or (-1, GENESIS)
        except sqlite3.DatabaseError as error:
            self.close()
            raise LogCorrupted("this is no session log", where=str(path), got=error) from None

    @classmethod
    def create(cls, path: Path, start: SessionStarted) -> SessionLog:
        """A new log that begins with `start`; there is never a log without its first event.

        Raises:
            LogError: If the file exists already, or cannot be made.
        """
        if path.exists():
            raise LogError(
                "there is a session log already, and logs are never overwritten",
                where=str(path),
                remedy=f"go on with it: synth-server serve --resume {path}; or choose another place",
            )
        unfinished = path.with_name(path.name + ".new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.unlink(missing_ok=True)
            db = sqlite3.connect(unfinished)
            db.executescript(_SCHEMA)
            db.close()
            log = cls(unfinished, writable=True)
            log.append(EventKind.SESSION_STARTED, start)
            log.close()
            lock_path(unfinished).unlink(missing_ok=True)
            replace_file(unfinished, path)
        except (OSError, sqlite3.Error) as error:
            raise LogError("the session log cannot be made", where=str(path), got=error) from None
        return cls(path, writable=True)

    def append(
        self,
        kind: EventKind,
        document: BaseModel | Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]] | None = None,
    ) -> Event:
        """Commit one event and the arrays that it names (by digest), durably, all or nothing.

        Raises:
            LogError: If it cannot be written (disk full, no permission); nothing is then changed.
        """
        values = document.model_dump(mode="json") if isinstance(document, BaseModel) else document
        with self._guard:
            fields: dict[str, Any] = {
                "seq": self.last_seq + 1,
                "t_mono_ns": time.monotonic_ns(),
                "t_wall_ns": time.time_ns(),
                "kind": kind.value,
                "document": dict(values),
                "prev_hash": self.last_hash,
            }
            event = Event(**fields, hash=document_digest(fields))
            try:
                self._commit(event, arrays or {})
            except sqlite3.Error as error:
                if self._db.in_transaction:
                    self._db.rollback()
                raise LogError(
                    "the session log cannot be written; nothing was lost, and nothing goes on "
                    "until it can",
                    where=str(self.path),
                    got=error,
                    remedy="free disk space or mend permissions; the rig keeps its responses",
                ) from None
            self.last_seq, self.last_hash = event.seq, event.hash
        return event

    def _commit(self, event: Event, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        for digest, array in arrays.items():
            self._db.execute(
                "INSERT OR IGNORE INTO arrays VALUES (?, ?, ?, ?)",
                (
                    digest,
                    json.dumps(array.shape),
                    array.dtype.name,
                    np.ascontiguousarray(array).data,
                ),
            )
        text = canonical_json(event.document).decode()
        self._db.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                event.seq,
                event.t_mono_ns,
                event.t_wall_ns,
                event.kind.value,
                text,
                event.prev_hash,
                event.hash,
            ),
        )
        self._db.execute("COMMIT")

    def events(self, *kinds: EventKind, after: int = -1) -> Iterator[Event]:
        """The events after `after`, in order; of all kinds, or of `kinds`.

        Every event is checked against its hash; the chain between them is checked by `verify`.

        Raises:
            LogCorrupted: At the first event that was altered; the message names it.
        """
        wanted = {kind.value for kind in kinds}
        seq = after
        while (row := self._row_after(seq)) is not None:
            event = _event(row, self.path)
            seq = event.seq
            if not wanted or event.kind.value in wanted:
                yield event

    def _row_after(self, seq: int) -> tuple[Any, ...] | None:
        with self._guard:
            try:
                row: tuple[Any, ...] | None = self._db.execute(
                    "SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT 1", (seq,)
                ).fetchone()
            except (sqlite3.Error, UnicodeDecodeError) as error:
                raise _corrupted(self.path, seq + 1, error) from None
        return row

    def array(self, digest: str) -> NDArray[Any]:
        """The array of that digest, checked against it.

        Raises:
            LogCorrupted: If it is missing or was altered.
        """
        with self._guard:
            try:
                row = self._db.execute(
                    "SELECT shape, dtype, data FROM arrays WHERE digest = ?", (digest,)
                ).fetchone()
                if row is None:
                    raise LogCorrupted("an array is missing", where=str(self.path), expected=digest)
                shape, dtype, data = row
                array = np.frombuffer(data, dtype=np.dtype(dtype)).reshape(json.loads(shape))
            except (sqlite3.Error, ValueError, TypeError) as error:
                raise LogCorrupted(
                    "an array cannot be read", where=f"{self.path}, array {digest}", got=error
                ) from None
        if array_digest(array) != digest:
            raise LogCorrupted(
                "an array was altered",
                where=str(self.path),
                expected=digest,
                got=array_digest(array),
            )
        return array

    def block(self, event: Event) -> Block:
        """The block of a `BLOCK_PROPOSED` event, with its images and codes.

        Raises:
            LogCorrupted: If one of its arrays is missing or altered; the message names the event.
        """
        document = event.document
        try:
            names = [image_of(stimulus) for stimulus in document["stimuli"]]
            known = {name: self.array(name) for name in names}
            images = np.stack([known[name] for name in names])
            digest = document["codes_digest"]
            codes = None if digest is None else self.array(digest)
            return Block.model_validate({**document, "images": images, "codes": codes})
        except (LogCorrupted, ValidationError, ValueError) as error:
            raise self._array_altered(event, error) from None

    def responses(self, event: Event) -> BlockResponses:
        """The responses of a `RESPONSES_RECEIVED` event, with their spike times and gaze.

        Raises:
            LogCorrupted: If one of their arrays is missing or altered; the message names the event.
        """
        try:
            responses = BlockResponses.model_validate(event.document)
            arrays = {digest: self.array(digest) for digest in responses.array_digests}
        except (LogCorrupted, ValidationError, ValueError) as error:
            raise self._array_altered(event, error) from None
        return responses.model_copy(update={"arrays": arrays})

    def _array_altered(self, event: Event, error: Exception) -> LogCorrupted:
        return LogCorrupted(
            f"event {event.seq} ({event.kind}) names an array that was altered or lost",
            where=str(self.path),
            got=error,
        )

    def close(self) -> None:
        """Close the file; a writer leaves it in one piece, its write-ahead log folded in."""
        with self._guard:
            if self._lock is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    self._db.execute("PRAGMA journal_mode=DELETE")
            self._db.close()
            if self._lock is not None:
                self._lock.close()


def image_of(stimulus: Mapping[str, Any]) -> str:
    """Under which digest the pixels of a logged stimulus lie; its id is another if it has a place."""
    return str(stimulus.get("pixels") or stimulus["id"])


def check_log_version(start: Event, where: str = "") -> None:
    """Raise `LogError` unless the log whose first event this is has today's version."""
    version = start.document.get("log_version")
    if version != LOG_VERSION:
        raise LogError(
            "the log was written by another version of stimloop",
            where=where,
            expected=f"log version {LOG_VERSION}",
            got=version,
            remedy=f"use stimloop {start.document.get('versions', {}).get('stimloop', '?')}",
        )


def fold(path: Path) -> None:
    """Leave a finished log in one piece, should a reader have kept its writer from doing so."""
    SessionLog(path, writable=True).close()


def verify_chain(log: SessionLog) -> int:
    """Check every event's hash, the chain, the numbering, and every array that a block names.

    Returns:
        The number of events.

    Raises:
        LogCorrupted: Naming the first event that is wrong.
    """
    n_events = 0
    for event in chained_events(log):
        if event.kind is EventKind.BLOCK_PROPOSED:
            log.block(event)
        elif event.kind is EventKind.RESPONSES_RECEIVED:
            log.responses(event)
        n_events += 1
    return n_events


def chained_events(log: SessionLog) -> Iterator[Event]:
    """All events in order, each checked against its hash and the one before; arrays are not read.

    Raises:
        LogCorrupted: Naming the first event that is wrong.
    """
    expected, seq = GENESIS, -1
    for event in log.events():
        if event.seq != seq + 1 or event.prev_hash != expected:
            raise LogCorrupted(
                f"event {event.seq} does not follow event {seq}: something between was removed "
                "or altered",
                where=str(log.path),
                expected=expected,
                got=event.prev_hash,
            )
        yield event
        expected, seq = event.hash, event.seq


def _event(row: tuple[Any, ...], path: Path) -> Event:
    seq, t_mono_ns, t_wall_ns, kind, text, prev_hash, stored = row
    try:
        fields = {
            "seq": seq,
            "t_mono_ns": t_mono_ns,
            "t_wall_ns": t_wall_ns,
            "kind": kind,
            "document": json.loads(text),
            "prev_hash": prev_hash,
        }
        if canonical_json(fields["document"]).decode() != text:
            raise ValueError("the text is not the one that was written")
        event = Event(**fields, hash=stored)
    except (ValueError, TypeError) as error:
        raise _corrupted(path, seq, error) from None
    if document_digest(fields) != stored:
        raise LogCorrupted(
            f"event {seq} ({kind}) was altered after it was written",
            where=str(path),
            expected=stored,
            got=document_digest(fields),
        )
    return event


def _corrupted(path: Path, seq: int, error: Exception) -> LogCorrupted:
    return LogCorrupted(f"event {seq} cannot be read", where=str(path), got=error)


def remove_log(path: Path) -> None:
    """Remove a log that this process made and nobody was shown anything of, with what lies beside.

    A start that failed leaves nothing: the same command works once its cause is mended. Folders go
    only if they are empty by then.
    """
    sidecars = [path.with_name(path.name + end) for end in ("", "-wal", "-shm", ".new")]
    for file in (*sidecars, lock_path(path)):
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()
