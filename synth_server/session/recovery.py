"""Recovery and replay: a fresh plan, refilled from the log.

Nothing of an optimizer is ever stored. The plans are built anew and sent the logged responses; what
they propose must be what was logged, or the session is not the one that the log describes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from protocols.amendments import AddThread, Amended
from protocols.digests import array_digest
from protocols.documents import (
    Event,
    EventKind,
    ServerResumed,
    SessionEnded,
    SessionStarted,
)
from protocols.errors import LogCorrupted, LogError, ReplayMismatch
from protocols.interfaces import Guidance, ImageGenerator, Inversion
from protocols.settings import PluginChoice, validated
from protocols.vocabulary import Block, Codes, Images
from synth_server.session.build import (
    Workshop,
    build_plans,
    installed_versions,
)
from synth_server.session.conductor import Conductor
from synth_server.session.equipment import Equipment
from synth_server.session.log import SessionLog, check_log_version, image_of, verify_chain
from synth_server.session.placing import places_of
from synth_server.session.products import Products, products_folder
from synth_server.session.session import Session

PIXEL_TOLERANCE = 2
"""Largest difference (of 255) between an image drawn here and the one logged on other hardware."""


class LoggedImages:
    """An `ImageGenerator` that draws from the log what the log holds, and only the rest anew.

    Recovery is quick with it, and exact on any hardware.
    """

    def __init__(self, drawn: ImageGenerator, log: SessionLog) -> None:
        self.drawn = drawn
        self._log = log
        self._image_of: dict[str, str] = {}
        for event in log.events(EventKind.BLOCK_PROPOSED):
            digest = event.document["codes_digest"]
            if digest is not None:
                codes, stimuli = log.array(digest), event.document["stimuli"]
                for code, stimulus in zip(codes, stimuli, strict=False):
                    self._image_of[array_digest(code)] = image_of(stimulus)

    @property
    def code_dim(self) -> int:
        """As the generator's."""
        return self.drawn.code_dim

    @property
    def image_size_px(self) -> int:
        """As the generator's."""
        return self.drawn.image_size_px

    @property
    def digest(self) -> str:
        """As the generator's."""
        return self.drawn.digest

    def sample_codes(self, n: int, random: np.random.Generator) -> Codes:
        """As the generator's."""
        return self.drawn.sample_codes(n, random)

    def __call__(self, codes: Codes) -> Images:
        """Logged images where every code is known, else the generator's."""
        known = [self._image_of.get(array_digest(code)) for code in codes]
        if not all(known):
            return self.drawn(codes)
        return np.stack([self._log.array(digest) for digest in known if digest])


class LoggedEquipment(Equipment):
    """Equipment whose generators draw from the log."""

    def __init__(self, log: SessionLog) -> None:
        super().__init__(Products(products_folder(log.path)))
        self._log = log
        self._logged: dict[int, LoggedImages] = {}

    def generator(self, choice: PluginChoice) -> ImageGenerator:
        """The chosen generator, behind the log."""
        drawn = super().generator(choice)
        if id(drawn) not in self._logged:
            self._logged[id(drawn)] = LoggedImages(drawn, self._log)
        return self._logged[id(drawn)]

    def guidance(self, generator: ImageGenerator, n_steps: int) -> Guidance:
        """Of the generator behind the log."""
        return super().guidance(_behind(generator), n_steps)

    def inversion(self, generator: ImageGenerator) -> Inversion:
        """Of the generator behind the log."""
        return super().inversion(_behind(generator))


def _behind(generator: ImageGenerator) -> ImageGenerator:
    return generator.drawn if isinstance(generator, LoggedImages) else generator


def read_start(log: SessionLog) -> SessionStarted:
    """The first event of a log.

    Raises:
        LogError: If the log is empty, or of another version.
        LogCorrupted: If the first event is none.
    """
    first = next(log.events(), None)
    if first is None:
        raise LogError("the session log is empty", where=str(log.path))
    if first.kind is not EventKind.SESSION_STARTED:
        raise LogCorrupted("the first event is not the session's start", where=str(log.path))
    check_log_version(first, str(log.path))
    return validated(SessionStarted, first.document, where=f"{log.path}, event 0")


def resumed_session(path: Path, *, advance: bool = True) -> Session:
    """The session of a log, ready to go on where it stopped.

    Args:
        path: The log.
        advance: Whether to compute what comes next; if not, the first `Session.advance` does.

    Raises:
        LogCorrupted: If the log was altered.
        ReplayMismatch: If the plans do not propose what was logged.
        LogError: If another server is writing it.
    """
    log = SessionLog(path, writable=True)
    try:
        session = _refilled(log)
        if not session.has_ended:
            log.append(EventKind.SERVER_RESUMED, ServerResumed(versions=installed_versions()))
            if advance:
                session.advance()
        return session
    except BaseException:
        log.close()
        raise


def _refilled(log: SessionLog) -> Session:
    verify_chain(log)
    start = read_start(log)
    equipment = LoggedEquipment(log)
    conductor = Conductor(build_plans(start.settings, equipment), places_of(start.settings))
    _check_equipment(start, equipment, log.path)
    workshop = Workshop(start.settings.seed, equipment)
    session = Session(start.settings, log, conductor, equipment.objectives, workshop)
    equipment.products.interrupted = session.is_told_to_end
    last_block = _last_block(log)
    unanswered = []
    for event in log.events(after=0):
        session.restore(event)
        _check_added(event, equipment, log.path)
        if event.seq > last_block and event.kind is EventKind.RESPONSES_RECEIVED:
            unanswered.append(log.responses(event))
            continue
        for logged, proposed in driven(session, event):
            if proposed.digest != logged.digest:
                raise _mismatch(event, "the block", logged.digest, proposed.digest)
    if not session.has_ended and not session.is_told_to_end():
        for responses in unanswered:
            session.learn_later(responses)
    return session


def _last_block(log: SessionLog) -> int:
    """Of all events; what plans make of later responses is not in the log, and may take long."""
    return max((event.seq for event in log.events(EventKind.BLOCK_PROPOSED)), default=-1)


def driven(session: Session, event: Event) -> Iterator[tuple[Block, Block]]:
    """Drive the plans by one restored event; yields (logged, proposed) where it is a block.

    Responses bring the amendments that were logged before them, as they did live.

    Raises:
        ReplayMismatch: If the plans propose nothing where a block was logged.
    """
    if event.kind is EventKind.RESPONSES_RECEIVED:
        responses = session.log.responses(event)
        told = session.amendments_with(responses.block_index)
        session.conductor.accept(responses, told)
    elif event.kind is EventKind.BLOCK_PROPOSED:
        proposed = session.conductor.propose()
        if proposed is None:
            raise _mismatch(event, "a block", event.document["label"], "nothing")
        yield session.log.block(event), proposed


@dataclass
class Verification:
    """What `verify_replay` found."""

    n_events: int
    n_blocks: int = 0
    n_images: int = 0
    images_within_tolerance: int = 0
    largest_difference: int = 0
    end: str = ""
    notes: list[str] = field(default_factory=list)


def verify_replay(
    path: Path,
    tolerance: int = PIXEL_TOLERANCE,
    *,
    products: bool = True,
    step: Callable[[int, int], None] = lambda _done, _total: None,
) -> Verification:
    """Check the log's hashes, then draw the whole session anew and compare.

    Codes must be equal; images must have the logged digests or, on other hardware, differ by at
    most `tolerance` of 255 at any pixel.

    Args:
        path: The log.
        tolerance: In gray levels.
        products: Whether fits and syntheses that lie beside the log are taken from there. If not,
            or if they are gone, they are computed anew: minutes, and other hardware may come to
            other images.
        step: Told of (events done, events in all).

    Raises:
        LogCorrupted: If the log was altered; names the event.
        ReplayMismatch: If the session comes out otherwise; names the event.
    """
    log = SessionLog(path)
    try:
        report = Verification(n_events=verify_chain(log))
        start = read_start(log)
        kept = Products(products_folder(path) if products else None, writable=False)
        equipment = Equipment(kept)
        conductor = Conductor(build_plans(start.settings, equipment), places_of(start.settings))
        _check_equipment(start, equipment, path)
        workshop = Workshop(start.settings.seed, equipment)
        session = Session(start.settings, log, conductor, maker=workshop)
        last_block = _last_block(log)
        for event in log.events(after=0):
            step(event.seq, log.last_seq)
            session.restore(event)
            _check_added(event, equipment, path)
            if event.seq < last_block or event.kind is not EventKind.RESPONSES_RECEIVED:
                for logged, proposed in driven(session, event):
                    _compare(event, logged, proposed, tolerance, report)
            if event.kind is EventKind.SESSION_ENDED:
                _check_end(event, session, report)
        report.notes += [f"{name} was taken from {products_folder(path)}" for name in kept.found]
        if not report.end:
            report.notes.append("the session has not ended: its log may be longer elsewhere")
    finally:
        log.close()
    return report


def _compare(
    event: Event, logged: Block, proposed: Block, tolerance: int, report: Verification
) -> None:
    if logged.codes_digest != proposed.codes_digest:
        raise _mismatch(event, "the codes", logged.codes_digest, proposed.codes_digest)
    difference = np.abs(logged.images.astype(np.int16) - proposed.images.astype(np.int16))
    largest = int(difference.max()) if logged.images.shape == proposed.images.shape else 255
    if largest > tolerance:
        raise _mismatch(event, "an image", f"a difference up to {tolerance}", largest)
    rest = ("thread", "label", "generation", "order", "timing", "image_shape")
    for name in rest:
        if getattr(logged, name) != getattr(proposed, name):
            raise _mismatch(event, f"the {name}", getattr(logged, name), getattr(proposed, name))
    same = [a == b for a, b in zip(logged.stimulus_ids, proposed.stimulus_ids, strict=True)]
    report.n_blocks += 1
    report.n_images += len(same)
    report.images_within_tolerance += same.count(False)
    report.largest_difference = max(report.largest_difference, largest)


def _check_end(event: Event, session: Session, report: Verification) -> None:
    ended = SessionEnded.model_validate(event.document)
    if ended.session_digest != session.digest:
        raise _mismatch(event, "the session digest", ended.session_digest, session.digest)
    report.end = ended.state


def _check_added(event: Event, equipment: Equipment, path: Path) -> None:
    """If the event added a thread: what it uses."""
    if event.kind is not EventKind.AMENDED:
        return
    amendment = Amended.model_validate(event.document).amendment
    if isinstance(amendment, AddThread):
        _check_digests(amendment.equipment, equipment, f"{path}, event {event.seq}", "")


def _check_equipment(start: SessionStarted, equipment: Equipment, path: Path) -> None:
    versions = ", ".join(f"{name} {number}" for name, number in start.versions.items())
    _check_digests(start.equipment, equipment, f"{path}, event 0", f"; versions then: {versions}")


def _check_digests(
    logged: Mapping[str, str], equipment: Equipment, where: str, versions: str
) -> None:
    for name, digest in logged.items():
        if equipment.digests.get(name) != digest:
            raise ReplayMismatch(
                f"{name} is not what the session was made with",
                where=where,
                expected=digest,
                got=equipment.digests.get(name, "nothing of that name"),
                remedy=f"bring back the same weights, images and versions{versions}",
            )


def _mismatch(event: Event, what: str, expected: object, got: object) -> ReplayMismatch:
    return ReplayMismatch(
        f"event {event.seq} ({event.kind}, {event.document.get('label', '')}): "
        f"{what} comes out otherwise than logged",
        expected=expected,
        got=got,
        remedy="were settings, weights or versions changed since? See event 0",
    )
