"""`summary.json`: a session in numbers; the schema stands in `docs/reference/summary.md`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.settings import Frozen
from protocols.vocabulary import Outcome, Role
from synth_server.readers.control.gains import ControlSummary, summaries
from synth_server.readers.control.learning import LearningSummary, learned
from synth_server.readers.evolution.comparison_documents import Comparison
from synth_server.readers.evolution.gains import (
    FINAL_GENERATIONS,
    compare_in_generations,
    compare_in_test,
)
from synth_server.readers.evolution.stability import SiteStability, stabilities
from synth_server.readers.log.rig_record import AtRig
from synth_server.readers.log.session_record import EvolutionRecord, EvolvedThread, Generation
from synth_server.readers.statistics.scores import Scores, scores

SUMMARY_VERSION = 1


class GenerationSummary(Frozen):
    """One generation: its evolved images, and the references shown among them."""

    generation: int
    evolved: Scores
    reference: Scores


class ThreadSummary(Frozen):
    """One thread of the session."""

    thread: str
    protocol: str
    generations: tuple[GenerationSummary, ...]


class SiteGain(Frozen):
    """What evolution gained at a site.

    Attributes:
        evolved: Mean count over all images of the last generations.
        best_reference: Mean count of the best reference image, over all its showings.
        over_best_reference: `evolved / best_reference`; None where the reference drew no spikes. Not
            the gain: the best of many references is high by luck, and the images may be too.
    """

    thread: str
    site: str
    evolved: float
    best_reference: float
    best_reference_name: str
    over_best_reference: float | None


class EvolutionGain(Frozen):
    """Evolved against natural images, the best of these chosen on other counts than it is scored on.

    Attributes:
        in_test: In the test at the end; None if there was none.
        in_generations: From the generations alone.
    """

    thread: str
    in_test: Comparison | None
    in_generations: Comparison | None

    @property
    def comparison(self) -> Comparison | None:
        """Behind the thread's gain: the test's, if there was one."""
        return self.in_test or self.in_generations


class BlockSummary(Frozen):
    """One block that was answered."""

    index: int
    thread: str
    label: str
    block_digest: str
    responses_digest: str


class Presentations(Frozen):
    """How many presentations ended how."""

    completed: int
    fixation_break: int
    dropped_frame: int
    aborted: int
    reshown: int
    unmeasured: int


class Summary(Frozen):
    """A session in figures.

    Attributes:
        simulated: Parts of the rig that were not real; empty: all were.
        at_rig: What happened besides showing images.
    """

    summary_version: int = SUMMARY_VERSION
    session_id: str
    seed: int
    state: str
    simulated: tuple[str, ...] = ()
    threads: tuple[ThreadSummary, ...]
    sites: tuple[SiteGain, ...]
    evolution: tuple[EvolutionGain, ...]
    control: tuple[ControlSummary, ...]
    learning: tuple[LearningSummary, ...] = ()
    stability: tuple[SiteStability, ...]
    presentations: Presentations
    at_rig: AtRig = AtRig()
    blocks: tuple[BlockSummary, ...]
    session_digest: str
    started_unix_s: float
    duration_s: float
    versions: dict[str, str]


def summarize(record: EvolutionRecord) -> Summary:
    """The summary of a session, finished or not.

    Raises:
        DataError: If the record holds no session.
    """
    start, counted = record.started, record.tally.outcomes
    control = summaries(record.control)
    return Summary(
        session_id=start.settings.session_id,
        seed=start.settings.seed,
        state=record.end.state if record.end else "running",
        simulated=record.at_rig.simulated,
        threads=tuple(_thread(thread) for thread in record.threads.values()),
        sites=tuple(gain for thread in record.threads.values() for gain in _gains(thread, record)),
        evolution=_evolution(record),
        control=control,
        learning=learned(record.control, control),
        stability=tuple(site for thread in record.threads.values() for site in stabilities(thread)),
        presentations=Presentations(
            completed=counted[Outcome.COMPLETED],
            fixation_break=counted[Outcome.FIXATION_BREAK],
            dropped_frame=counted[Outcome.DROPPED_FRAME],
            aborted=counted[Outcome.ABORTED],
            reshown=record.tally.n_shown_again,
            unmeasured=record.tally.n_unmeasured,
        ),
        at_rig=record.at_rig.counted,
        blocks=tuple(
            BlockSummary(
                index=block["index"],
                thread=block["thread"],
                label=block["label"],
                block_digest=digest,
                responses_digest=answer,
            )
            for block, digest, answer in record.digests
        ),
        session_digest=record.end.session_digest if record.end else "",
        started_unix_s=record.started_ns / 1e9,
        duration_s=(record.last_ns - record.started_ns) / 1e9,
        versions=start.versions,
    )


def evolution_gains(summary: Summary, measured_in: str = "") -> list[float | None]:
    """Each evolution's gain: the test's, or that of the generations if there was none.

    Args:
        measured_in: `test` or `generations`: of these only.
    """
    found = [each.comparison for each in summary.evolution if each.comparison]
    return [each.gain.value for each in found if measured_in in ("", each.measured_in)]


def _thread(thread: EvolvedThread) -> ThreadSummary:
    return ThreadSummary(
        thread=thread.name,
        protocol=thread.protocol,
        generations=tuple(
            _generation(number, thread.generations[number]) for number in sorted(thread.generations)
        ),
    )


def _generation(number: int, generation: Generation) -> GenerationSummary:
    return GenerationSummary(
        generation=number,
        evolved=scores(generation.evolved),
        reference=scores(generation.reference),
    )


def _evolution(record: EvolutionRecord) -> tuple[EvolutionGain, ...]:
    seed = record.started.settings.seed
    return tuple(
        EvolutionGain(
            thread=thread.name,
            in_test=compare_in_test(thread, seed),
            in_generations=compare_in_generations(thread, seed),
        )
        for thread in record.threads.values()
        if thread.measured
    )


def _gains(thread: EvolvedThread, record: EvolutionRecord) -> list[SiteGain]:
    names, reference = thread.mean_counts(Role.REFERENCE)
    if record.rig is None or not names or not thread.measured:
        return []
    last = [thread.generations[n] for n in thread.measured[-FINAL_GENERATIONS:]]
    evolved = np.concatenate([repeats for each in last for repeats in each.evolved_counts])
    return [
        _gain(thread, site, evolved[:, column].mean(), reference[:, column], names)
        for column, site in enumerate(record.rig.site_ids)
        if site in thread.sites
    ]


def _gain(
    thread: EvolvedThread,
    site: str,
    evolved: float,
    reference: NDArray[np.float64],
    names: list[str],
) -> SiteGain:
    best = int(reference.argmax())
    return SiteGain(
        thread=thread.name,
        site=site,
        evolved=float(evolved),
        best_reference=float(reference[best]),
        best_reference_name=thread.labels[names[best]],
        over_best_reference=float(evolved / reference[best]) if reference[best] > 0 else None,
    )
