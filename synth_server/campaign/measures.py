"""What a session comes to, as one row of numbers: measured gains, and the neurons' noise-free answers."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeAlias

import numpy as np

from protocols.interfaces import SimulatedPopulation
from synth_server.readers.log.session_record import EvolutionRecord, EvolvedThread, read_record
from synth_server.readers.summary.session_summary import Summary, evolution_gains, summarize
from synth_server.session.log import SessionLog

Measures: TypeAlias = dict[str, float | int | str | None]
MEANINGS: Mapping[str, str] = {
    "session_digest": "over all blocks and responses: that of a dry run with these settings",
    "n_blocks": "blocks that were shown",
    "n_presentations": "completed presentations",
    "gain": "evolved or synthesised ÷ best natural image, as measured; median over sites",
    "true_last": "spikes/s without noise: mean over the images of the last generation; mean over sites",
    "true_chosen": "spikes/s without noise, of the evolved image that measured best; mean over sites",
    "true_natural": "spikes/s without noise, of the best natural image shown; mean over sites",
}
"""Column of results → what it says. Null where a session has none."""
NUMBERS = tuple(name for name in MEANINGS if name != "session_digest")
"""Columns of results that can be judged."""
UNITS = {
    "gain": "×",
    "true_last": "spikes/s",
    "true_chosen": "spikes/s",
    "true_natural": "spikes/s",
}
"""Column of results → its unit."""


class Driven(NamedTuple):
    """Noise-free answers of the site that an evolution drives, spikes/s; NaN where unknown."""

    last: float
    chosen: float
    natural: float


def measure(path: Path, subject: SimulatedPopulation) -> Measures:
    """The results of the session with the log at `path`.

    Args:
        path: Of a session that is over.
        subject: Whose spikes they were.
    """
    record = read_record(path)
    summary = summarize(record)
    gains = [value for value in _gains(summary) if value is not None]
    with contextlib.closing(SessionLog(path)) as log:
        driven = _driven(record, log, subject)
    return {
        "session_digest": summary.session_digest,
        "n_blocks": len(summary.blocks),
        "n_presentations": summary.presentations.completed,
        "gain": median(gains) if gains else None,
        "true_last": _mean([each.last for each in driven]),
        "true_chosen": _mean([each.chosen for each in driven]),
        "true_natural": _mean([each.natural for each in driven]),
    }


def _gains(summary: Summary) -> list[float | None]:
    made = [site.gain.value for thread in summary.control for site in thread.sites]
    return [*evolution_gains(summary), *made]


def _mean(values: list[float]) -> float | None:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else None


def _driven(record: EvolutionRecord, log: SessionLog, subject: SimulatedPopulation) -> list[Driven]:
    """What the neurons say without noise; one entry for each evolution that drives one site."""
    if hasattr(subject, "rates_on_screen"):
        return []  # its rates depend on where images are
    return [
        _noise_free(thread, _Answers(record, log, subject, thread.sites[0]))
        for thread in record.threads.values()
        if thread.objective is not None and len(thread.sites) == 1 and thread.measured
    ]


def _noise_free(thread: EvolvedThread, answers: _Answers) -> Driven:
    measured = [thread.generations[number] for number in thread.measured]
    best = max(measured, key=lambda each: float(np.max(each.evolved)))
    natural = sorted({each.id for each in thread.natural})
    return Driven(
        last=float(np.mean(answers.to(measured[-1].evolved_ids))),
        chosen=answers.to([best.best_id or ""])[0],
        natural=max(answers.to(natural), default=float("nan")),
    )


class _Answers:
    """Rates of one site, spikes/s; images come from the log."""

    def __init__(
        self, record: EvolutionRecord, log: SessionLog, subject: SimulatedPopulation, site: str
    ) -> None:
        self._record, self._log, self._subject = record, log, subject
        self._column = list(subject.site_ids).index(site)

    def to(self, ids: Sequence[str]) -> list[float]:
        """To the images with these ids."""
        if not ids:
            return []
        images = np.stack([self._log.array(self._record.images[each]) for each in ids])
        return [float(rate) for rate in self._subject.rates(images)[:, self._column]]
