"""One time axis for a session, seconds since its first event, from the clocks of rig and recorder.

A presentation's onset stands on the rig's clock, the recorder's, or a virtual one. The recorder's is
brought to the rig's by the logged fit. A rig's clock has some offset to the session that holds until
the rig is started again; it is bounded from both sides by events of the log: a block was shown after
it was proposed and before its responses came. The responses that came soonest after their last image
tell the offset best. So intervals within one run of a rig are as exact as its clock; the place of the
run in the session is late by at most the shortest time from a block's end to its responses' arrival.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.vocabulary import Presentation, RecorderClock

Seconds = NDArray[np.float64]

SLACK_S = 5.0
"""By how much the server's clock may have been set, or the rig's may drift, within one run."""
RESTARTED_S = 1.0
"""A clock that goes back by more than this was started again."""


class TimedBlock(NamedTuple):
    """An answered block.

    Attributes:
        proposed_s: When it was logged, in seconds since the session's start.
        answered_s: When its responses were.
        tail_s: From an onset to the end of its image and of its count window.
    """

    proposed_s: float
    answered_s: float
    tail_s: float
    shown: Sequence[Presentation]
    clock: RecorderClock | None


class Placed(NamedTuple):
    """A block's onsets on the session's axis.

    Attributes:
        onset_s: `(n,)`, seconds since the session's start.
        aligned_by: `(n,)`: which clock told: `rig`, `virtual`, `recorder`, `recorder fit`; or
            `order`, where an onset is on a clock that nothing ties to its neighbours', and is put
            between them.
        offset_s: Session minus clock, of the block's last presentation.
        clock: Which clock `offset_s` is against: `rig`, `virtual`; or `recorder`, if nothing ties
            the recorder's clock to the display's.
        runs_s: Session minus clock, for each run of the clock in the block, in order.
    """

    onset_s: Seconds
    aligned_by: list[str]
    offset_s: float
    clock: str = "rig"
    runs_s: tuple[float, ...] = ()

    def on_session(self, display_s: Seconds) -> Seconds:
        """Times `(n,)` on the display's clock, in the order of happening, on the session's axis.

        Where the clock goes back, the rig was started again. NaN where nothing ties the clock to the
        session: no image was shown in that run of it, or its onsets are on the recorder's alone.
        """
        if self.clock == "recorder" or not self.runs_s or not len(display_s):
            return np.full(len(display_s), np.nan)
        run = np.concatenate([[0], np.cumsum(np.diff(display_s) < -RESTARTED_S)]).astype(int)
        from_last = run - run[-1] - 1
        known = -from_last <= len(self.runs_s)
        offsets_s = np.array(self.runs_s)[np.where(known, from_last, -1)]
        return np.where(known, display_s + offsets_s, np.nan)


class _Piece(NamedTuple):
    """Presentations of a block between which no clock was started again."""

    block: int
    rows: slice
    onset_s: Seconds
    kind: str


def placed(blocks: Sequence[TimedBlock]) -> list[Placed]:
    """The presentations of `blocks`, in the order of the log, on the session's axis."""
    clocks = _nearest_clocks([block.clock for block in blocks])
    one_clock = [
        on_one_clock(block.shown, clock) for block, clock in zip(blocks, clocks, strict=True)
    ]
    pieces = [
        piece
        for number, (onset_s, _, kind) in enumerate(one_clock)
        for piece in _pieces(number, onset_s, kind)
    ]
    result = [
        Placed(onset_s.copy(), aligned_by, float("nan"), kind)
        for onset_s, aligned_by, kind in one_clock
    ]
    for piece, offset_s in zip(pieces, _offsets(pieces, blocks), strict=True):
        result[piece.block].onset_s[piece.rows] += offset_s
        runs_s = (*result[piece.block].runs_s, offset_s)
        result[piece.block] = result[piece.block]._replace(offset_s=offset_s, runs_s=runs_s)
    return result


def _nearest_clocks(fits: Sequence[RecorderClock | None]) -> list[RecorderClock | None]:
    """Each block's fit, or else the last before it, or else the first after it."""
    found: list[RecorderClock | None] = []
    known = next((fit for fit in fits if fit is not None), None)
    for fit in fits:
        known = fit or known
        found.append(known)
    return found


def on_one_clock(
    shown: Sequence[Presentation], fit: RecorderClock | None
) -> tuple[Seconds, list[str], str]:
    """Onsets on one clock, how each came there, and which clock it is."""
    onset_s = np.array([each.onset_s for each in shown], dtype=np.float64)
    names = [each.onset_clock for each in shown]
    on_recorder = np.array([name == "recorder" for name in names], dtype=bool)
    if not on_recorder.any():
        return onset_s, names, "virtual" if "virtual" in names else "rig"
    if fit is not None:
        last_s = onset_s[on_recorder][-1]
        since_last_s = (onset_s[on_recorder] - last_s) / (1 + fit.drift_ppm * 1e-6)
        onset_s[on_recorder] = last_s - fit.offset_s + since_last_s
        kind = "virtual" if "virtual" in names else "rig"
        return onset_s, ["recorder fit" if own == "recorder" else own for own in names], kind
    places = np.arange(len(shown))
    onset_s = np.interp(places, places[on_recorder], onset_s[on_recorder])
    return onset_s, ["recorder" if own == "recorder" else "order" for own in names], "recorder"


def _pieces(block: int, onset_s: Seconds, kind: str) -> Iterator[_Piece]:
    cuts = np.flatnonzero(np.diff(onset_s) < -RESTARTED_S) + 1
    edges = [0, *cuts.tolist(), len(onset_s)]
    for begin, end in pairwise(edges):
        if end > begin:
            yield _Piece(block, slice(begin, end), onset_s[begin:end], kind)


def _offsets(pieces: Sequence[_Piece], blocks: Sequence[TimedBlock]) -> list[float]:
    """Session minus clock, for each piece; all pieces of one run of a clock have the same."""
    offsets: list[float] = []
    before: _Run | None = None
    for run in _runs(pieces, blocks):
        offset_s = run.high_s if run.pieces[0].kind != "virtual" else _virtual_offset(run, before)
        if before is not None and before.pieces[-1].block != run.pieces[0].block:
            offset_s = max(offset_s, before.end_s - run.pieces[0].onset_s[0])
        before = run._replace(high_s=offset_s)
        offsets += [offset_s] * len(run.pieces)
    for place in range(len(pieces) - 2, -1, -1):
        piece, following = pieces[place], pieces[place + 1]
        if piece.block == following.block:
            latest_s = following.onset_s[0] + offsets[place + 1] - piece.onset_s[-1]
            offsets[place] = min(offsets[place], latest_s)
    return offsets


class _Run(NamedTuple):
    """Pieces between which a clock went on; session minus clock lies between `low_s` and `high_s`."""

    pieces: list[_Piece]
    low_s: float
    high_s: float

    @property
    def end_s(self) -> float:
        """When its last presentation began, at the latest."""
        return float(self.pieces[-1].onset_s[-1] + self.high_s)

    def with_piece(self, piece: _Piece, low_s: float, high_s: float) -> _Run | None:
        """The run, longer by `piece`; None if `piece` cannot belong to it."""
        low_s, high_s = max(self.low_s, low_s), min(self.high_s, high_s)
        last = self.pieces[-1]
        if piece.kind != last.kind or low_s > high_s + SLACK_S:
            return None
        if piece.kind == "virtual" and piece.onset_s[0] < last.onset_s[-1]:
            return None
        self.pieces.append(piece)
        return _Run(self.pieces, low_s, high_s)


def _runs(pieces: Sequence[_Piece], blocks: Sequence[TimedBlock]) -> list[_Run]:
    runs: list[_Run] = []
    for piece in pieces:
        block = blocks[piece.block]
        low_s, high_s = -np.inf, np.inf
        if piece.kind != "virtual":
            low_s = block.proposed_s - piece.onset_s[0]
            high_s = block.answered_s - block.tail_s - piece.onset_s[-1]
        longer = runs[-1].with_piece(piece, low_s, high_s) if runs else None
        if longer is None:
            runs.append(_Run([piece], low_s, high_s))
        else:
            runs[-1] = longer
    return runs


def _virtual_offset(run: _Run, before: _Run | None) -> float:
    """A virtual clock is the session's own, unless something came before: then it goes on."""
    if before is None:
        return 0.0
    return before.end_s + RESTARTED_S - float(run.pieces[0].onset_s[0])
