"""Keeps up with a session's log: reads what is new, again and again, and says when something changed.

The log is opened for reading for each look and closed again, so that its writer can fold it into one
file when the session ends. Whatever goes wrong here is said on the page and tried again.
"""

from __future__ import annotations

import contextlib
import copy
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from protocols.errors import LogError
from synth_server.monitor.documents import (
    BlockDocument,
    Disk,
    DistributionsDocument,
    GazeDocument,
    Link,
    Overview,
    ThreadDocument,
)
from synth_server.monitor.gaze_view import gaze_document
from synth_server.monitor.link import ServerLink
from synth_server.monitor.record import MonitorRecord
from synth_server.monitor.sites_view import SitesView
from synth_server.monitor.views import block_document, distributions, thread_document
from synth_server.session.log import SessionLog
from synth_server.session.products import products_folder, read_progress

LOOK_EVERY_S = 0.5
EVENTS_AT_ONCE = 50
"""After so many events the page may be told what is known so far."""
DISK_STEP = 10_000_000
"""Bytes; finer changes of the free space are no news."""


class Watcher:
    """What is known of a session now; any thread may ask.

    Args:
        path: The session's log.
        link: To the server.

    Attributes:
        revision: Grows whenever `overview` changes.
    """

    def __init__(self, path: Path, link: ServerLink) -> None:
        self.path = path
        self.revision = 0
        self._link = link
        self._record = MonitorRecord()
        self._guard, self._resampling = threading.Lock(), threading.Lock()
        self._threads: dict[str, ThreadDocument] = {}
        self._distributions: dict[str, DistributionsDocument] = {}
        self._sites: SitesView | None = None
        self._stopped = threading.Event()
        self._is_reading = True
        self._problem = ""
        with self._log() as log:
            self._take(log, 1)
        self._overview = self._made_overview()

    def keep_up(self) -> None:
        """Read until `stop`."""
        while not self._stopped.is_set():
            self.look()
            self._stopped.wait(LOOK_EVERY_S)

    def look(self) -> None:
        """Take in what is new; says so through `revision`. Nothing is raised for a log that is away."""
        try:
            self._problem = ""
            with self._log() as log:
                while not self._stopped.is_set() and self._take(log, EVENTS_AT_ONCE):
                    self._refresh()
            self._is_reading = False
        except (LogError, OSError, sqlite3.Error) as error:
            self._problem = error.what if isinstance(error, LogError) else str(error)
        self._refresh()

    def stop(self) -> None:
        """End `keep_up`."""
        self._stopped.set()

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more will be told."""
        return self._stopped.is_set()

    def is_over(self) -> bool:
        """Whether the session has ended."""
        return self._overview.ended_unix_s is not None

    @property
    def overview(self) -> Overview:
        """The session at a glance."""
        return self._overview

    def thread(self, name: str) -> ThreadDocument:
        """See `thread_document`; made once for each revision."""
        with self._guard:
            known = self._threads.get(name)
            if known is None or known.revision != self._record.revisions[name]:
                known = self._threads[name] = thread_document(self._record, name)
            return known

    def distributions(self, name: str) -> DistributionsDocument:
        """See `distributions`; made once for each revision, from a copy, while the log is read on."""
        with self._resampling:
            with self._guard:
                self._record.thread(name)
                revision, seed = self._record.revisions[name], self._overview.seed
                known = self._distributions.get(name)
                if known is not None and known.revision == revision:
                    return known
                thread = copy.deepcopy(self._record.evolution.control.threads[name])
            made = self._distributions[name] = distributions(thread, revision, seed)
            return made

    def block(self, index: int, site: str = "") -> BlockDocument:
        """See `block_document`."""
        with self._log() as log, self._guard:
            return block_document(self._record, log, index, site)

    def gaze(self, index: int) -> GazeDocument:
        """See `gaze_document`."""
        with self._log() as log, self._guard:
            return gaze_document(self._record, log, index)

    def sites(self) -> SitesView:
        """See `SitesView`; made once for each answered block, while the log is read on."""
        with self._resampling:
            n = self._overview.n_answered
            if self._sites is None or self._sites.document.n_answered != n:
                self._sites = SitesView(self.path, n)
            return self._sites

    def _take(self, log: SessionLog, n: int) -> int:
        """Take in up to `n` new events; returns how many there were."""
        with self._guard:
            taken = 0
            for event in islice(log.events(after=self._record.last_seq), n):
                self._record.feed(event)
                taken += 1
            return taken

    def _refresh(self) -> None:
        overview = self._made_overview()
        if overview != self._overview:
            self._overview = overview
            self.revision += 1

    def _made_overview(self) -> Overview:
        with self._guard:
            return self._record.overview(
                reading=self._is_reading,
                problem=self._problem,
                computing=read_progress(products_folder(self.path)),
                link=Link() if self._is_reading else self._link.link,
                disk=self._disk(),
            )

    def _disk(self) -> Disk | None:
        files = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        try:
            free = shutil.disk_usage(self.path.parent).free
            written = sum(file.stat().st_size for file in files if file.exists())
        except OSError:
            return None
        return Disk(free_bytes=free - free % DISK_STEP, log_bytes=written)

    @contextlib.contextmanager
    def _log(self) -> Iterator[SessionLog]:
        log = SessionLog(self.path)
        try:
            yield log
        finally:
            log.close()
