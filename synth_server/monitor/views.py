"""From what the monitor knows to what the page draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.documents import EventKind
from protocols.errors import DataError
from protocols.vocabulary import BlockResponses, Role
from synth_server.monitor.documents import (
    BlockDocument,
    DistributionsDocument,
    GenerationDocument,
    HeatMap,
    KindOfImage,
    ShownDocument,
    TargetDocument,
    ThreadDocument,
)
from synth_server.monitor.record import LoggedBlock, MonitorRecord
from synth_server.readers.control.gains import summary_of
from synth_server.readers.evolution.stability import stabilities
from synth_server.readers.log.evolved_thread import EvolvedThread
from synth_server.readers.log.synthesised_images import ControlThread, ShownImage
from synth_server.readers.statistics.scores import scores
from synth_server.session.log import SessionLog, image_of

SPIKES = ("site", "mean_of_sites")
"""Objectives whose score is a mean count."""
N_SITES = 128
"""Rows of a heat map, at most; driven sites come first."""


def thread_document(record: MonitorRecord, name: str) -> ThreadDocument:
    """One thread, all its generations and blocks.

    Raises:
        DataError: If the session has no such thread.
    """
    thread = record.thread(name)
    blocks = [block for block in record.blocks if block.line.thread == name]
    return ThreadDocument(
        name=name,
        protocol=thread.protocol,
        phase=record.phase(name),
        best_reference=_best_reference(thread),
        revision=record.revisions[name],
        unit="spikes" if _objective(record, name) in SPIKES else "score",
        count_window_ms=thread.count_window_ms,
        sites=thread.sites,
        recorded=thread.site_ids,
        generations=_generations(thread, blocks, record.evolution.images),
        stability=stabilities(thread),
        heat=_heat(thread, blocks),
        blocks=tuple(block.line for block in blocks),
    )


def _best_reference(thread: EvolvedThread) -> float | None:
    """By the objective, of mean counts over all showings; None without references."""
    names, counts = thread.mean_counts(Role.REFERENCE)
    if not names or thread.objective is None:
        return None
    found = thread.objective(counts, thread.site_ids)
    return known(float(np.nanmax(found))) if np.isfinite(found).any() else None


def _objective(record: MonitorRecord, name: str) -> str:
    thread = record.evolution.course.threads.get(name)
    choice: dict[str, Any] = thread.settings.get("objective", {}) if thread else {}
    return str(choice.get("name", ""))


def _generations(
    thread: EvolvedThread, blocks: Sequence[LoggedBlock], images: Mapping[str, str]
) -> tuple[GenerationDocument, ...]:
    first_block: dict[int, int] = {}
    for block in blocks:
        if block.line.generation is not None:
            first_block.setdefault(block.line.generation, block.line.index)
    return tuple(
        GenerationDocument(
            generation=number,
            evolved=scores(thread.generations[number].evolved),
            reference=scores(thread.generations[number].reference),
            best_id=(best := thread.generations[number].best_id),
            best_image=None if best is None else images[best],
            block=first_block[number],
        )
        for number in thread.measured
    )


def _heat(thread: EvolvedThread, blocks: Sequence[LoggedBlock]) -> HeatMap:
    others = [site for site in thread.site_ids if site not in thread.sites]
    sites = (*thread.sites, *others)[:N_SITES]
    rows = [thread.site_ids.index(site) for site in sites]
    answered = [block for block in blocks if block.counts is not None]
    return HeatMap(
        sites=sites,
        columns=tuple(
            block.line.label if block.line.generation is None else str(block.line.generation)
            for block in answered
        ),
        counts=_table([block.counts for block in answered], rows),
        reference=_table([block.reference_counts for block in answered], rows),
    )


def _table(
    columns: Sequence[NDArray[np.float64] | None], rows: Sequence[int]
) -> tuple[tuple[float | None, ...], ...]:
    """A row a site of `rows`, to three digits after the point."""
    return tuple(
        tuple(None if column is None else known(column[row]) for column in columns) for row in rows
    )


def known(value: float) -> float | None:
    """JSON has no NaN."""
    return round(float(value), 3) if np.isfinite(value) else None


def distributions(thread: ControlThread, revision: int, seed: int) -> DistributionsDocument:
    """Responses to synthesised images and their controls, target by target.

    Takes seconds for many targets: every interval is resampled.

    Args:
        thread: What was shown, and counted.
        revision: Of the thread's documents.
        seed: The session's.

    Raises:
        DataError: If the thread has shown no synthesised images.
    """
    aim = thread.aim
    if aim is None:
        raise DataError("no synthesised image was shown in this thread yet", where=thread.name)
    return DistributionsDocument(
        thread=thread.name,
        revision=revision,
        targets=tuple(_target(thread, aim, site) for site in thread.targets),
        summary=summary_of(thread, aim, seed),
    )


def _target(thread: ControlThread, aim: Role, site: str) -> TargetDocument:
    column = thread.site_ids.index(site)
    others = [image for image in thread.images(aim) if site not in image.targets]
    kinds = {
        "made for it": thread.images(aim, site),
        "best natural": thread.images(Role.BEST_NATURAL, site),
        "contrast raised": thread.images(Role.CONTRAST_ENHANCED, site),
        "noise": thread.images(Role.NOISE, site),
        "made for others": others,
        "natural": thread.images(Role.NATURAL),
    }
    return TargetDocument(
        site=site,
        kinds=tuple(_kind(name, images, column) for name, images in kinds.items() if images),
    )


def _kind(name: str, images: Sequence[ShownImage], column: int) -> KindOfImage:
    means = [float(np.concatenate(image.counts)[:, column].mean()) for image in images]
    return KindOfImage(
        role=name,
        ids=tuple(image.id for image in images),
        images=tuple(image.image for image in images),
        counts=tuple(round(m, 3) for m in means),
    )


def block_document(
    record: MonitorRecord, log: SessionLog, index: int, site: str = ""
) -> BlockDocument:
    """A block with its images; counts at `site` or, if none is named, where each image aims.

    That is: at its own targets, else at the sites that the thread's objective drives, else at all.

    Raises:
        DataError: If there is no such block, or no such site.
    """
    block = record.block(index)
    proposed = next(log.events(EventKind.BLOCK_PROPOSED, after=block.proposed_seq - 1))
    stimuli = proposed.document["stimuli"]
    responses = _responses(log, block)
    sites = responses.site_ids if responses else ()
    if site and responses and site not in sites:
        raise DataError("this site is not recorded", expected=", ".join(sites), got=site)
    driven = record.thread(block.line.thread).sites
    images = [
        _shown(
            stimulus, counts, _columns(sites, [site] if site else stimulus.get("targets", driven))
        )
        for stimulus, counts in zip(stimuli, _counts(stimuli, responses), strict=True)
    ]
    return BlockDocument(block=block.line, at=_at(site, stimuli, driven), images=tuple(images))


def _responses(log: SessionLog, block: LoggedBlock) -> BlockResponses | None:
    if block.answered_seq is None:
        return None
    event = next(log.events(EventKind.RESPONSES_RECEIVED, after=block.answered_seq - 1))
    return BlockResponses.model_validate(event.document)


def _counts(
    stimuli: Sequence[dict[str, Any]], responses: BlockResponses | None
) -> list[NDArray[np.float64]]:
    if responses is None:
        return [np.empty((0, 0))] * len(stimuli)
    return responses.counts_by_stimulus([each["id"] for each in stimuli])


def _columns(site_ids: Sequence[str], wanted: Sequence[str]) -> list[int]:
    return [site_ids.index(site) for site in wanted if site in site_ids] or list(
        range(len(site_ids))
    )


def _shown(
    stimulus: dict[str, Any], counts: NDArray[np.float64], columns: list[int]
) -> ShownDocument:
    return ShownDocument(
        id=stimulus["id"],
        image=image_of(stimulus),
        place=stimulus.get("place"),
        role=stimulus["role"],
        label=stimulus["label"],
        targets=tuple(stimulus.get("targets", ())),
        count=known(counts[:, columns].mean()) if len(counts) else None,
        n=len(counts),
    )


def _at(site: str, stimuli: Sequence[dict[str, Any]], driven: Sequence[str]) -> str:
    if site:
        return site
    if any(chain.from_iterable(each.get("targets", ()) for each in stimuli)):
        return "each image's target"
    if len(driven) == 1:
        return driven[0]
    return f"mean of {len(driven)} driven sites" if driven else "mean of all sites"
