"""The results of a session as tables (CSV), for any statistics program."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from synth_server.readers.evolution.comparison_documents import Comparison
from synth_server.readers.evolution.results_document import Results
from synth_server.readers.evolution.thread_result import ThreadResult
from synth_server.readers.log.rig_record import stamp
from synth_server.readers.statistics.bootstrap import Estimate

Row: TypeAlias = dict[str, Any]


def write_tables(results: Results, folder: Path) -> list[Path]:
    """Write a CSV file for each of `TABLES` that has rows; what is not known is an empty cell.

    Of a session that was not all real, each row says so in a last column, `simulated`.

    Returns:
        The files.
    """
    written = []
    for name, rows_of in TABLES.items():
        rows = [{"thread": each.thread} | row for each in results.threads for row in rows_of(each)]
        if mark := stamp(results.simulated):
            rows = [row | {"simulated": mark} for row in rows]
        if rows:
            written.append(folder / f"{name}.csv")
            with written[-1].open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
    return written


def image_file(thread: str, place: int) -> str:
    """Where an image of the last generation is, from the results' folder; places count from 1."""
    return f"images/{thread}/last-{place:03d}.png"


def _generations(result: ThreadResult) -> Iterator[Row]:
    for each in result.generations:
        for kind, score, count in (
            ("evolved", each.evolved_score, each.evolved_count),
            ("reference", each.reference_score, each.reference_count),
        ):
            yield {
                "generation": each.generation,
                "images": kind,
                "n": score.n,
                "mean_score": score.mean,
                "sem_score": score.sem,
                "best_score": score.best,
                "mean_count": count.mean,
                "sem_count": count.sem,
            }


def _gains(result: ThreadResult) -> Iterator[Row]:
    for found in (result.in_test, result.in_generations):
        if found is None:
            continue
        yield {
            "site": "+".join(result.sites),
            "measured_in": found.measured_in,
            **_sizes(found),
            **_estimate("evolved", found.evolved),
            **_estimate("best_natural", found.best_natural),
            **_estimate("gain", found.gain),
            "gain_over_highest": found.gain_over_highest,
            **_estimate("score_difference", found.score_difference),
            **_estimate("effect_size", found.effect_size),
            "p_best_natural": found.p_best_natural,
            "p_natural": found.p_natural,
        }


def _sizes(found: Comparison) -> Row:
    names = ("n_evolved", "n_evolved_showings", "n_natural", "best_of", "n_best_natural_showings")
    sizes = {name: getattr(found, name) for name in names}
    best = "; ".join(found.best_natural_names)
    return {**sizes, "best_natural_names": best, "chosen_by": found.chosen_by}


def _sites(result: ThreadResult) -> Iterator[Row]:
    for found in (result.in_test, result.in_generations):
        for site in found.sites if found else ():
            yield {
                "measured_in": found.measured_in if found else "",
                "site": site.site,
                **_estimate("evolved", site.evolved),
                **_estimate("best_natural", site.best_natural),
                **_estimate("gain", site.gain),
            }


def _last_generation(result: ThreadResult) -> Iterator[Row]:
    for place, each in enumerate(result.last_generation):
        yield {
            "place": place + 1,
            "id": each.id,
            "score": each.score,
            "mean_count": each.mean_count,
            "file": image_file(result.thread, place + 1),
        }


def _estimate(name: str, found: Estimate) -> Row:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _correlations(result: ThreadResult) -> Iterator[Row]:
    for each in result.similarity.correlations if result.similarity else ():
        yield {
            "measure": each.measure,
            "natural_set": each.natural_set,
            "n_images": each.n_images,
            **_estimate("pearson", each.pearson),
            **_estimate("spearman", each.spearman),
            "p": each.p,
        }


TABLES: dict[str, Callable[[ThreadResult], Iterable[Row]]] = {
    "generations": _generations,
    "gains": _gains,
    "sites": _sites,
    "last_generation": _last_generation,
    "references": lambda result: (each.model_dump(mode="json") for each in result.references),
    "test": lambda result: (each.model_dump(mode="json") for each in result.tested),
    "similarity": lambda result: (
        each.model_dump(mode="json")
        for each in (result.similarity.images if result.similarity else ())
    ),
    "correlations": _correlations,
}
"""File → the rows that a thread has in it."""
