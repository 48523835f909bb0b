"""What a campaign comes to: the judged setting's values, and each against the baseline, paired."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from protocols.errors import SettingsError
from protocols.seeds import random_stream
from protocols.settings import Frozen
from synth_server.campaign.document import CampaignSettings, Compare, label
from synth_server.campaign.measures import NUMBERS
from synth_server.campaign.table import Table
from synth_server.readers.statistics.bootstrap import (
    N_RESAMPLES,
    UNKNOWN,
    Estimate,
    Sampled,
    estimate,
    mean_over,
)

SUMMARY_VERSION = 1


class Level(Frozen):
    """One value of the judged setting.

    Attributes:
        among: Values of the other varied settings that no pair or unit is made of; see `CampaignSummary`.
        value: The value.
        n: Cells with a result.
        mean: Of the measure over these cells.
        difference: This minus the baseline, mean over pairs that differ in this setting only; 95 %
            interval by a bootstrap over pairs, or over units and the pairs within.
        n_pairs: Pairs.
    """

    among: dict[str, str]
    value: str
    n: int
    mean: Estimate
    difference: Estimate
    n_pairs: int


class CampaignSummary(Frozen):
    """`campaign.json`.

    Attributes:
        n_cells, n_done, n_failed, n_missing: Cells, and how many came to what.
        setting: The judged one; empty: none was.
        levels: Its values, for each combination of the settings that are neither judged, nor units, nor
            `seed`.
    """

    summary_version: int = SUMMARY_VERSION
    name: str
    n_cells: int
    n_done: int
    n_failed: int
    n_missing: int
    setting: str = ""
    baseline: str = ""
    measure: str = ""
    levels: tuple[Level, ...] = ()
    errors: dict[str, int] = Field(default_factory=dict)


def check_compare(settings: CampaignSettings, table: Table) -> None:
    """Refuse a comparison that the cells cannot answer, before any is computed.

    Raises:
        SettingsError: If the setting, its baseline, a unit or the measure is unknown.
    """
    if (compare := settings.compare) is None:
        return
    for name in (compare.setting, *compare.units):
        if name not in table.settings:
            raise _unknown(f"setting {name!r}", table.varied() or table.settings, name)
    values = list(dict.fromkeys(label(v) for v in table.columns[compare.setting]))
    if label(compare.baseline) not in values:
        raise _unknown(f"baseline {compare.baseline!r}", values, compare.baseline)
    if compare.measure not in NUMBERS:
        raise _unknown(f"measure {compare.measure!r}", NUMBERS, compare.measure)


def _unknown(what: str, known: Sequence[str], got: object) -> SettingsError:
    return SettingsError(
        f"no cell of this campaign has the {what}",
        where="[compare]",
        expected=" or ".join(known),
        got=got,
    )


def summarise(settings: CampaignSettings, table: Table) -> CampaignSummary:
    """The summary of what is known by now."""
    states = table.columns["state"]
    errors: dict[str, int] = defaultdict(int)
    for text in table.columns["error"]:
        if text:
            errors[text.splitlines()[-1][:300]] += 1
    compare = settings.compare
    return CampaignSummary(
        name=settings.name,
        n_cells=len(table),
        n_done=states.count("done"),
        n_failed=states.count("failed"),
        n_missing=states.count("missing"),
        setting=compare.setting if compare else "",
        baseline=label(compare.baseline) if compare else "",
        measure=compare.measure if compare else "",
        levels=tuple(_levels(compare, table)) if compare else (),
        errors=dict(sorted(errors.items())),
    )


def _levels(compare: Compare, table: Table) -> list[Level]:
    """Each value in each combination of the settings that are neither paired over nor resampled."""
    within = {compare.setting, "seed", *compare.units}
    apart = [name for name in table.varied() if name not in within]
    rows: dict[tuple[str, ...], dict[str, _Runs]] = {}
    for place, value in enumerate(table.columns[compare.measure]):
        if value is None or not np.isfinite(value):
            continue
        at = tuple(_text(table, name, place) for name in apart)
        unit = tuple(_text(table, name, place) for name in compare.units)
        pair = tuple(_text(table, n, place) for n in table.settings if n != compare.setting)
        runs = rows.setdefault(at, defaultdict(dict))
        runs[_text(table, compare.setting, place)][pair] = (unit, float(value))
    order = list(dict.fromkeys(_text(table, compare.setting, p) for p in range(len(table))))
    return [
        _level(dict(zip(apart, at, strict=True)), value, runs, compare)
        for at, runs in rows.items()
        for value in order
        if value in runs
    ]


def _text(table: Table, name: str, place: int) -> str:
    return label(table.columns[name][place])


_Runs = dict[tuple[str, ...], tuple[tuple[str, ...], float]]
"""What a pair is known by → its unit, and the measure."""


def _level(among: dict[str, str], value: str, runs: dict[str, _Runs], compare: Compare) -> Level:
    own, base = runs[value], runs.get(label(compare.baseline), {})
    by_unit = bool(compare.units)
    pairs = [(own[key][0], own[key][1] - base[key][1]) for key in own if key in base]
    is_baseline = value == label(compare.baseline)
    return Level(
        among=among,
        value=value,
        n=len(own),
        mean=_estimate(list(own.values()), by_unit, "mean"),
        difference=UNKNOWN if is_baseline else _estimate(pairs, by_unit, "difference"),
        n_pairs=0 if is_baseline else len(pairs),
    )


def _estimate(values: Sequence[tuple[Any, float]], by_unit: bool, what: str) -> Estimate:
    """The mean; units are resampled, and the runs within each. With units, each weighs the same."""
    random = random_stream(0, "campaign", what)
    units: dict[Any, list[Sampled]] = defaultdict(list)
    for place, (unit, value) in enumerate(values):
        fixed = Sampled(value, np.full(N_RESAMPLES, value))
        units[unit if by_unit else place].append(fixed)
    means = [mean_over(each, random) for each in units.values()]
    return estimate(mean_over([each for each in means if each is not None], random))
