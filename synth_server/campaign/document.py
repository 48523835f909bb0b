"""`campaign.toml`: which sessions a campaign is made of, and how they are compared."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import Field, field_validator

from protocols.errors import SettingsError
from protocols.settings import Frozen, merged, read_toml, validated
from synth_server.dry_run_settings import DryRunSettings

FREE = ("changes", "neurons")
"""Tables of a dry run whose entries its own settings do not name."""
MAX_CELLS = 1_000_000
Values: TypeAlias = dict[str, Any]


class Compare(Frozen):
    """Which setting is judged, and by what.

    Attributes:
        setting: A setting with several values, by its name in the table.
        baseline: The value that all others are compared with, as the table has it.
        measure: A column of results; larger is taken as better.
        units: Settings that make a unit, such as a neuron: it is resampled with all its runs. None:
            each pair by itself.
    """

    setting: str
    baseline: str | int | float | bool
    measure: str = "gain"
    units: tuple[str, ...] = ()


class CampaignSettings(Frozen):
    """Settings of a campaign.

    Attributes:
        name: Names the campaign in its results.
        shared: Of all cells: settings of a dry run.
        grid: Setting → its values; every combination is a cell.
        cells: Single cells, each with what differs from `shared`.
        compare: Which setting is judged.
        keep_logs: Whether each cell's log is kept in the campaign's folder.
    """

    name: str = Field(min_length=1, max_length=100)
    shared: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    cells: tuple[dict[str, Any], ...] = ()
    compare: Compare | None = None
    keep_logs: bool = False

    @field_validator("grid")
    @classmethod
    def _every_axis_has_values(cls, grid: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for name, values in grid.items():
            if not values:
                raise ValueError(f"{name} has no values: a grid without values has no cells")
        return grid

    @property
    def n_asked(self) -> int:
        """Cells by the file; some may be the same."""
        n = 1
        for values in self.grid.values():
            n *= len(values)
        return (n if self.grid or not self.cells else 0) + len(self.cells)

    def dry_runs(self) -> Iterator[DryRunSettings]:
        """The settings of every cell, the grid's first; its last axis changes fastest.

        Raises:
            SettingsError: If a cell's settings are none of a dry run.
        """
        if self.grid or not self.cells:
            for values in itertools.product(*self.grid.values()):
                yield self._dry_run(dict(zip(self.grid, values, strict=True)))
        for cell in self.cells:
            yield self._dry_run(cell)

    def _dry_run(self, changes: Mapping[str, Any]) -> DryRunSettings:
        values: Values = dict(self.shared)
        for name, value in changes.items():
            values = merged(values, nested(name, value))
        told = ", ".join(f"{name} = {label(value)}" for name, value in changes.items())
        return validated(DryRunSettings, values, where=f"campaign cell: {told or '(shared)'}")


def read_campaign(path: Path) -> CampaignSettings:
    """The campaign in a TOML file.

    Raises:
        SettingsError: If it is missing, is not TOML, does not fit, or has too many cells.
    """
    found = read_toml(CampaignSettings, path)
    if found.n_asked > MAX_CELLS:
        raise SettingsError(
            "this grid has too many combinations",
            where=str(path),
            expected=f"{MAX_CELLS:,} cells at most",
            got=f"{found.n_asked:,}",
            remedy="make several campaigns of it, or leave values out",
        )
    return found


def nested(name: str, value: Any) -> Values:
    """`a.b.c` and a value as tables within tables."""
    first, _, rest = name.partition(".")
    return {first: nested(rest, value) if rest else value}


def columns_of(settings: DryRunSettings) -> Values:
    """All settings of a cell as columns of the table; what lies in tables has dots in its name."""
    values = settings.model_dump(mode="json")
    flat: Values = {name: value for name, value in values.items() if name not in FREE}
    for name in FREE:
        flat.update(_flat(name, values[name]))
    return flat


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Leaves of tables; a plug-in with its options stays one value."""
    if isinstance(value, Mapping) and "name" not in value:
        for key, part in value.items():
            yield from _flat(f"{name}.{key}", part)
    else:
        yield name, value if isinstance(value, bool | int | float | str) else label(value)


def label(value: Any) -> str:
    """A value in a table, a figure or an error: `genetic(preset=xdream)` for a plug-in."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and set(value) <= {"name", "options"} and "name" in value:
        options = ", ".join(f"{k}={label(v)}" for k, v in value.get("options", {}).items())
        return f"{value['name']}({options})" if options else str(value["name"])
    return json.dumps(value, sort_keys=True)
