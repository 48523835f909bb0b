"""A session as if it had counted in another window: a copy of its log with counts from kept spike times.

Every reader then says what it would have said of such a session; no reader needs to know of windows.
What the session itself decided by its own counts (which images to show next) stays as it was.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from protocols.digests import canonical_json, document_digest
from protocols.documents import Event, EventKind
from protocols.errors import DataError, SettingsError
from protocols.spike_times import packed_counts
from protocols.vocabulary import Timing
from synth_server.session.log import GENESIS, SessionLog
from synth_server.session.products import products_folder

COUNTED = ("count_start_ms", "count_stop_ms")
Window = tuple[float, float]


def parsed_window(text: str, where: str) -> Window | None:
    """`START,STOP` in ms after onset, as `[start, stop)` in s; None of an empty text.

    Raises:
        SettingsError: If it is no window.
    """
    if not text:
        return None
    try:
        start, stop = (float(part) / 1000 for part in text.split(","))
    except ValueError:
        start, stop = 0.0, 0.0
    if not start < stop:
        raise SettingsError(
            "this is no window",
            where=where,
            expected="START,STOP in ms after onset, such as 70,170",
            got=text,
        )
    return start, stop


@contextlib.contextmanager
def recounted(log_path: Path, window_s: Window | None) -> Iterator[Path]:
    """The log's path; or, with a window, that of a copy with other counts, which is gone afterwards.

    Args:
        log_path: A session's log, finished or not.
        window_s: `[start, stop)` after onset.

    Raises:
        LogError: If there is no log, or it is damaged.
        DataError: If spike times of a completed presentation were not kept over the whole window.
    """
    if window_s is None:
        yield log_path
        return
    with tempfile.TemporaryDirectory(prefix="stimloop-window-") as folder:
        copy = Path(folder) / log_path.name
        _copy(log_path, copy)
        _count_again(copy, window_s)
        products = products_folder(log_path)
        if products.is_dir():
            with contextlib.suppress(OSError):
                products_folder(copy).symlink_to(products.resolve(), target_is_directory=True)
        yield copy


def _copy(log_path: Path, copy: Path) -> None:
    SessionLog(log_path).close()
    with (
        contextlib.closing(
            sqlite3.connect(f"{log_path.resolve().as_uri()}?mode=ro", uri=True)
        ) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)


def _count_again(copy: Path, window_s: Window) -> None:
    """Events anew, chained anew."""
    log = SessionLog(copy)
    try:
        rows, before = [], GENESIS
        spans: dict[int, Window] = {}
        for event in log.events():
            document = _changed(log, event, window_s, spans)
            fields: dict[str, Any] = {
                "seq": event.seq,
                "t_mono_ns": event.t_mono_ns,
                "t_wall_ns": event.t_wall_ns,
                "kind": event.kind.value,
                "document": document,
                "prev_hash": before,
            }
            hashed = document_digest(fields)
            rows.append((canonical_json(document).decode(), before, hashed, event.seq))
            before = hashed
    finally:
        log.close()
    with contextlib.closing(sqlite3.connect(copy)) as db, db:
        db.executemany("UPDATE events SET json = ?, prev_hash = ?, hash = ? WHERE seq = ?", rows)


def _changed(
    log: SessionLog, event: Event, window_s: Window, spans: dict[int, Window]
) -> dict[str, Any]:
    document = dict(event.document)
    window_ms = dict(zip(COUNTED, (round(1000 * edge, 6) for edge in window_s), strict=True))
    if event.kind is EventKind.SESSION_STARTED:
        settings = document["settings"]
        threads = [_thread(thread, window_ms) for thread in settings["threads"]]
        document["settings"] = {**settings, "threads": threads}
    elif event.kind is EventKind.BLOCK_PROPOSED:
        timing = Timing.model_validate(document["timing"])
        spans[document["index"]] = timing.kept_span_s
        document["timing"] = {**document["timing"], **window_ms}
    elif event.kind is EventKind.RESPONSES_RECEIVED:
        _check_kept(log, event, window_s, spans[document["block_index"]])
        responses = log.responses(event)
        n_sites = len(responses.site_ids)
        document["presentations"] = [
            each
            if each.get("spike_counts") is None
            else {
                **each,
                "spike_counts": packed_counts(
                    responses.arrays[each["times"]], n_sites, window_s, responses.tick_hz
                ).tolist(),
            }
            for each in document["presentations"]
        ]
    return document


def _thread(thread: dict[str, Any], window_ms: dict[str, float]) -> dict[str, Any]:
    settings = thread.get("settings", {})
    timing = settings.get("timing")
    if not isinstance(timing, dict):
        return thread
    return {**thread, "settings": {**settings, "timing": {**timing, **window_ms}}}


def _check_kept(log: SessionLog, event: Event, window_s: Window, span_s: Window) -> None:
    completed = [
        each for each in event.document["presentations"] if each.get("spike_counts") is not None
    ]
    n_bare = sum(each.get("times") is None for each in completed)
    start, stop = (1000 * edge for edge in window_s)
    if n_bare:
        raise DataError(
            "spikes cannot be counted in another window: their times were not kept",
            where=f"{log.path.name}, block {event.document['block_index']}",
            expected="a recorder that gives spike times",
            got=f"{n_bare} of {len(completed)} presentations with counts only",
            remedy="leave the window out",
        )
    if completed and not (span_s[0] <= window_s[0] and window_s[1] <= span_s[1]):
        raise DataError(
            "spikes cannot be counted in this window: less was kept around the images",
            where=f"{log.path.name}, block {event.document['block_index']}",
            expected=f"a window within {1000 * span_s[0]:g},{1000 * span_s[1]:g} ms after onset",
            got=f"{start:g},{stop:g} ms",
            remedy="choose a window within it; next time keep more (keep_start_ms, keep_stop_ms)",
        )
