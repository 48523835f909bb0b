"""The tables of a report, in cells of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from protocols.fields import FieldMap, SiteField
from protocols.vocabulary import Role
from synth_server.readers.control.gains import ControlSummary
from synth_server.readers.control.learning import LearningSummary
from synth_server.readers.evolution.results_document import Results
from synth_server.readers.evolution.thread_result import ThreadResult
from synth_server.readers.figures.paper import interval, probability
from synth_server.readers.statistics.bootstrap import Estimate
from synth_server.readers.summary.session_summary import Summary
from synth_server.report.quality import Quality


class Table(NamedTuple):
    """A caption, names of columns, and rows of text."""

    caption: str
    head: tuple[str, ...]
    rows: Sequence[Sequence[str]]


class Number(NamedTuple):
    """A figure at the head of the page."""

    name: str
    value: str
    note: str = ""


def headline(summary: Summary, results: Results | None, quality: Quality) -> list[Number]:
    """What is looked for first."""
    found = []
    if results is not None and results.n_gains:
        found.append(Number(*_evolution_gain(results)))
    for control in summary.control:
        above = (
            "" if control.share_above_1 is None else f"{100 * control.share_above_1:.0f} % above 1"
        )
        parts = [
            f"synthesised ÷ best natural image (best of {control.best_of}), median over sites",
            above,
            _bounds(control.median_gain),
        ]
        note = ", ".join(part for part in parts if part)
        found.append(Number("gain", _ratio(control.median_gain), note))
        if control.aim == Role.ONE_HOT_POPULATION:
            ratio = control.median_score_ratio
            found.append(Number("softmax ÷ best natural's", _ratio(ratio), _bounds(ratio)))
    done = quality.outcomes.get("completed", 0)
    share = f"{100 * done / max(quality.n_presentations, 1):.1f} % completed"
    found.append(Number("presentations", f"{quality.n_presentations:,}", share))
    n = len(summary.threads)
    if quality.at_rig.rewards or quality.at_rig.free_rewards:
        n = quality.at_rig.rewards + quality.at_rig.free_rewards
        ml = f"{quality.at_rig.ml:.1f} ml" if quality.at_rig.ml else "ml not known"
        found.append(Number("juice", f"{n:,}", ml))
    found.append(Number("blocks", f"{len(summary.blocks):,}", f"{n} thread{'s' * (n != 1)}"))
    return found


def _evolution_gain(results: Results) -> tuple[str, str, str]:
    compared = [each.comparison for each in results.threads if each.comparison]
    best_of = ", ".join(sorted({str(each.best_of) for each in compared}))
    note = (
        f"evolved ÷ best natural image (best of {best_of}), median of {results.n_gains} evolutions, "
        f"{_bounds(results.median_gain)}. Above 1 at {results.n_above_1}, with its whole interval at "
        f"{results.n_surely_above_1}."
    )
    return "gain", _ratio(results.median_gain), note


def evolution_table(results: Results) -> Table:
    """A row a thread."""
    head = (
        "thread", "evolved", "spikes/s", "best natural", "spikes/s", "gain", "p", "natural image",
        "best of", "measured in",
    )  # fmt: skip
    rows = []
    for thread in results.threads:
        found = thread.comparison
        if found is None:
            rows.append((thread.thread, *["–"] * (len(head) - 1)))
            continue
        rows.append(
            (
                thread.thread,
                interval(found.evolved),
                _rate(found.evolved.value, thread),
                interval(found.best_natural),
                _rate(found.best_natural.value, thread),
                interval(found.gain),
                probability(found.p_best_natural),
                " or ".join(found.best_natural_names),
                str(found.best_of),
                found.measured_in,
            )
        )
    return Table(
        "Evolution: mean spikes in the count window (95 % confidence interval), and as a rate; gain: "
        "evolved ÷ best natural image, which is chosen and scored on different counts",
        head,
        rows,
    )


def _rate(count: float | None, thread: ThreadResult) -> str:
    """A mean count in spikes/s."""
    window_s = (thread.count_stop_ms - thread.count_start_ms) / 1000
    return "–" if count is None else f"{count / window_s:.1f}"


def control_tables(summaries: Sequence[ControlSummary]) -> list[Table]:
    """For each thread with synthesised images: counts by what was shown; scores of one-hot images."""
    tables = []
    for thread in summaries:
        head = (
            "site", "synthesised", "best natural", "contrast raised", "noise", "made for others",
            "gain", "uniqueness",
        )  # fmt: skip
        rows = [
            (
                site.site,
                *map(
                    interval,
                    (
                        site.synthesised, site.best_natural, site.contrast_enhanced, site.noise,
                        site.others, site.gain, site.uniqueness,
                    ),
                ),
            )
            for site in thread.sites
        ]  # fmt: skip
        caption = (
            f"{thread.thread}: mean spikes (95 % confidence interval); gain: synthesised ÷ best"
        )
        tables.append(
            Table(f"{caption} natural, uniqueness: synthesised ÷ made for others", head, rows)
        )
        if thread.aim == Role.ONE_HOT_POPULATION:
            scores = [
                (s.site, *map(interval, (s.score, s.natural_score, s.score_ratio)))
                for s in thread.sites
            ]
            names = ("site", "synthesised", "best natural", "ratio")
            tables.append(Table(f"{thread.thread}: softmax score of the target", names, scores))
    return tables


def learning_tables(summaries: Sequence[LearningSummary]) -> list[Table]:
    """For each thread with rounds: mean spikes of each round's images, over sites."""
    tables = []
    for thread in summaries:
        rows = [
            (
                str(each.round),
                f"{each.n_presentations:,}",
                _over_sites([site.predicted for site in each.sites]),
                _over_sites([site.measured for site in each.sites]),
                _over_sites([site.from_best for site in each.sites]),
                _over_sites([site.from_scratch for site in each.sites]),
                "–" if each.median_gain is None else f"× {each.median_gain:.2f}",
            )
            for each in thread.rounds
        ]
        head = (
            "round", "presentations", "predicted", "measured", "from the best", "from scratch",
            "÷ best natural",
        )  # fmt: skip
        caption = f"{thread.thread}: rounds of learning; mean spikes, median over sites"
        tables.append(Table(caption, head, rows))
    return tables


def _over_sites(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{median(known):.1f}" if known else "–"


def outcome_table(quality: Quality) -> Table:
    """How presentations ended."""
    rows = [(name.replace("_", " "), str(n)) for name, n in quality.outcomes.items()]
    rows += [(f"recorder: {name.replace('_', ' ')}", str(n)) for name, n in quality.faults.items()]
    rows += [(f"onset on the clock: {name}", str(n)) for name, n in quality.onset_clocks.items()]
    rows += [
        ("shown again", str(quality.n_shown_again)),
        ("repetitions given up", str(quality.n_unmeasured)),
        ("dropped frames", str(quality.n_dropped_frames)),
        ("server restarts", str(quality.n_resumed)),
    ]
    return Table("Presentations", ("", "number"), rows)


def rig_table(quality: Quality) -> list[Table]:
    """Juice, misses, rests; nothing if the rig told of none."""
    found = quality.at_rig
    n_given = found.rewards + found.free_rewards
    if not (n_given or found.misses or found.rests or found.late_spikes or found.calibrations):
        return []
    juice = f"{n_given} ({found.free_rewards} free)" if found.free_rewards else str(n_given)
    rows = [
        ("rewards", juice),
        ("of them, ms in all", f"{found.reward_ms:,.0f}" if found.reward_ms else "not known"),
        ("of them, ml in all", f"{found.ml:.2f}" if found.ml else "not known"),
        ("fixation not acquired (misses)", str(found.misses)),
        ("rests after many misses", str(found.rests)),
        ("rested, minutes", f"{found.rest_s / 60:.1f}"),
        ("spikes after their count", str(found.late_spikes)),
        ("calibrations and corrections", str(len(found.calibrations))),
    ]
    tables = [Table("At the rig", ("", "number"), rows)]
    if found.calibrations:
        named = [(str(n), text) for n, text in enumerate(found.calibrations, start=1)]
        tables.append(Table("Calibrations of the eye tracker", ("", "result"), named))
    return tables


def clock_table(quality: Quality) -> list[Table]:
    """The recorder's clock; nothing if it had none of its own."""
    clock = quality.clock
    if clock is None:
        return []
    rows = [
        ("offset at first, ms", f"{1000 * clock.first_offset_s:.3f}"),
        ("offset at last, ms", f"{1000 * clock.last_offset_s:.3f}"),
        ("drift, ppm", f"{clock.drift_ppm:.2f}"),
        ("largest residual (RMS), ms", f"{1000 * clock.largest_residual_s:.3f}"),
        ("blocks", str(clock.n_blocks)),
    ]
    return [Table("Recorder's clock, against the rig's", ("", "value"), rows)]


def _ratio(estimate: Estimate) -> str:
    return "–" if estimate.value is None else f"× {estimate.value:.2f}"


def _bounds(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"95 % CI {estimate.low:.2f}–{estimate.high:.2f}"


def field_tables(fields: Mapping[str, FieldMap]) -> list[Table]:
    """Receptive fields, one table for each thread that mapped them."""
    return [
        Table(
            f"Receptive fields, {thread}: degrees right and up of the screen's centre (95 % interval)",
            ("site", "x", "y", "σ", "p", "reliability", "n", "remark"),
            [_field_row(field) for field in found.fields],
        )
        for thread, found in fields.items()
    ]


def _field_row(field: SiteField) -> tuple[str, ...]:
    return (
        field.site,
        _with_interval(field.x_deg, field.x_interval),
        _with_interval(field.y_deg, field.y_interval),
        _with_interval(field.sigma_deg, field.sigma_interval),
        "–" if field.p is None else f"{field.p:.4f}",
        "–" if field.reliability is None else f"{field.reliability:.2f}",
        str(field.n),
        "" if field.is_usable else field.why_not,
    )


def _with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" + (f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else "")
