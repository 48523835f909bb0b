"""The spool: responses lie on the rig's disk until the server has made them durable.

Trial by trial while a block is shown, so that a rig that dies goes on within the block; then the
block as a whole, until it is acknowledged.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from protocols.errors import SpoolError
from protocols.replacing import replace_file
from protocols.vocabulary import Block, BlockResponses
from rig_client.lock import FolderLock
from rig_client.presented import responses_of
from rig_client.trial_record import TrialRecord, array_of, packed_text

SYNC_S = 1.0


class Spool:
    """The spool folder of one session.

    Args:
        folder: Common to all sessions; each has a folder of its own in it.
        session_id: Whose responses these are.

    Raises:
        SpoolError: If the folder cannot be made, or another rig client serves the session from it.
    """

    def __init__(self, folder: Path, session_id: str) -> None:
        self._folder = folder / session_id
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SpoolError(
                "the spool folder cannot be made",
                where=str(self._folder),
                got=error.strerror or error,
                remedy="set `spool` in rig.toml to a folder that this user may write",
            ) from None
        self._lock = FolderLock(self._folder)

    @property
    def folder(self) -> Path:
        """Of this session."""
        return self._folder

    def close(self) -> None:
        """Let another rig client have the folder."""
        self._lock.close()

    def journal(self, block: Block) -> Journal:
        """The trials of `block` that were shown so far; more can be added."""
        return Journal(self._folder / f"block-{block.index:06d}.trials", block.digest)

    def put(self, responses: BlockResponses, journal: Journal) -> None:
        """Keep the responses to a whole block; its journal is no longer needed."""
        path = self._path(responses.block_index)
        try:
            _write_whole(path, _spooled(responses))
        except OSError as error:
            raise _unwritable(path, error) from None
        journal.remove()

    def given_ml(self) -> float:
        """What the subject has drunk in this session, before this rig client was started."""
        try:
            return float(self._juice.read_text("ascii"))
        except (OSError, ValueError):
            return 0.0

    def keep_given_ml(self, given_ml: float) -> None:
        """For the next start; what cannot be written costs a number, never a trial."""
        with contextlib.suppress(OSError):
            draft = self._juice.with_suffix(".part")
            draft.write_text(f"{given_ml:.6f}", "ascii")
            replace_file(draft, self._juice)

    @property
    def _juice(self) -> Path:
        return self._folder / "given-ml.txt"

    def waiting(self) -> Iterator[BlockResponses]:
        """Responses that were never acknowledged, in the order of the blocks."""
        for path in sorted(self._folder.glob("block-*.json")):
            try:
                yield _unspooled(path.read_bytes())
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise SpoolError(
                    "spooled responses cannot be read back",
                    where=str(path),
                    got=error,
                    remedy="mend or move the file; the server lacks these responses",
                ) from None

    def unfinished(self, site_ids: tuple[str, ...], tick_hz: float) -> Iterator[BlockResponses]:
        """What was shown of blocks that will not be gone on with, in the order of the blocks."""
        for path in sorted(self._folder.glob("block-*.trials")):
            records = _read(path)
            if records:
                index = int(path.stem.removeprefix("block-"))
                yield responses_of(records, block_index=index, site_ids=site_ids, tick_hz=tick_hz)

    def acknowledged(self, block_index: int) -> None:
        """The server has them."""
        self._path(block_index).unlink(missing_ok=True)
        self._path(block_index).with_suffix(".trials").unlink(missing_ok=True)

    def refused(self, block_index: int) -> Path:
        """The server will not have them: keep them out of the way, for a person to look at."""
        path = self._path(block_index)
        kept = path.with_suffix(".refused")
        with contextlib.suppress(FileNotFoundError):
            replace_file(path, kept)
        return kept

    def _path(self, block_index: int) -> Path:
        return self._folder / f"block-{block_index:06d}.json"


class Journal:
    """The trials of a block that is being shown, one line each.

    A trial is with the operating system when `add` returns, so it survives the process; every
    `SYNC_S` it is forced to the disk, so that a power cut costs a second of trials at most.

    Args:
        path: The file; read if it is there.
        block_digest: Of the block; a journal of another block is refused.
    """

    def __init__(self, path: Path, block_digest: str) -> None:
        self._path = path
        self._records = _read(path, block_digest) if path.exists() else []
        self._synced_at = time.monotonic()
        lines = [json.dumps({"block_digest": block_digest}).encode()]
        lines += [_line(record) for record in self._records]
        try:
            _write_whole(path, b"".join(line + b"\n" for line in lines))
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise _unwritable(path, error) from None

    @property
    def records(self) -> Sequence[TrialRecord]:
        """The trials so far."""
        return tuple(self._records)

    def add(self, record: TrialRecord) -> None:
        """Append a trial."""
        try:
            line = _line(record) + b"\n"
            while line:  # a full disk takes a part of it
                line = line[self._file.write(line) :]
            if time.monotonic() > self._synced_at + SYNC_S:
                os.fsync(self._file.fileno())
                self._synced_at = time.monotonic()
        except OSError as error:
            raise _unwritable(self._path, error) from None
        self._records.append(record)

    def remove(self) -> None:
        """Delete the file: the block is spooled as a whole."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def _read(path: Path, block_digest: str | None = None) -> list[TrialRecord]:
    """The trials of a journal, up to a torn line; of any block if no digest is given."""
    head, *lines = path.read_bytes().split(b"\n")
    if not head:
        return []
    try:
        known = json.loads(head)["block_digest"]
    except (ValueError, KeyError, TypeError):
        known = "unreadable"
    if block_digest is not None and known != block_digest:
        raise SpoolError(
            "the spool holds trials of another block under this session's name",
            where=str(path),
            expected=block_digest,
            got=known,
            remedy="was the session's id used twice? Move the spool folder away",
        )
    records = []
    for line in lines:
        try:
            records.append(TrialRecord.of(json.loads(line)))
        except (ValueError, KeyError, TypeError):
            break
    return records


def _line(record: TrialRecord) -> bytes:
    return json.dumps(record.document(), separators=(",", ":")).encode()


def _spooled(responses: BlockResponses) -> bytes:
    """Responses and their arrays as one text."""
    arrays = {name: packed_text(responses.arrays[name]) for name in responses.array_digests}
    return json.dumps({"responses": responses.model_dump(mode="json"), "arrays": arrays}).encode()


def _unspooled(text: bytes) -> BlockResponses:
    spooled = json.loads(text)
    arrays = {name: array_of(array) for name, array in spooled["arrays"].items()}
    return BlockResponses.model_validate({**spooled["responses"], "arrays": arrays})


def _write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step: after a crash it is the old one or the new one."""
    unfinished = path.with_name(path.name + ".new")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    replace_file(unfinished, path)


def _unwritable(path: Path, error: OSError) -> SpoolError:
    return SpoolError(
        "the spool cannot be written",
        where=str(path),
        got=error.strerror or error,
        remedy="free disk space, then start the rig client again: it goes on where it was",
    )
